//! The file systems that the source is on: the facts. They come from the kernel's list of mounts, and from looks that a file
//! system which does not answer cannot hold up. `docs/sources.md` has the reasons for all of it.

mod told;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use inosync_actors::mounts::{MountTable, Mounted};
use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::root::reach::Reach;
use inosync_actors::site::Site;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The longest wait for an answer of the source: longer than the mounts in it are given.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file systems of the source.
#[derive(Debug)]
pub struct FileSystems {
    table: MountTable,
    /// The path `wpath` with its symlinks resolved.
    wpath: PathBuf,
    /// The mount of `wpath`.
    own: Option<Mounted>,
    /// Those that are mounted in it and mirrored.
    inside: BTreeMap<RelPath, (Mounted, MountContent)>,
    /// The mirrors on this machine that a mount shows in it: the mirror, and its place there.
    mirrors: Vec<(PathBuf, RelPath)>,
    /// Encrypted by its file system (fscrypt).
    is_encrypted: bool,
    has_marker: bool,
    resync_every: Option<Duration>,
}

/// The kind of entry at the place of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MountContent {
    Directory,
    File,
    /// Has no content of its own.
    Other,
}

impl FileSystems {
    /// Those of a site; `None` if `wpath` does not answer.
    pub async fn of(site: &Site, reach: &Reach) -> Option<FileSystems> {
        let wpath = site.wpath.clone();
        let asked = move || {
            let wpath = wpath.canonicalize().unwrap_or(wpath);
            (is_encrypted(&wpath), wpath)
        };
        let (is_encrypted, wpath) = in_time(asked).await?;
        let local: Vec<&Path> = site.nodes.iter().filter_map(|node| node.local_path()).collect();
        let mut mounts = FileSystems::read(MountTable::read().unwrap_or_default(), wpath, &site.excludes, &local);
        mounts.is_encrypted = is_encrypted;
        (mounts.has_marker, mounts.resync_every) = (site.marker.is_some(), site.resync_every);
        mounts.look(reach);
        Some(mounts)
    }

    /// Looks for this directory, which is without symlinks, and these mirrors in the list.
    fn read(table: MountTable, wpath: PathBuf, excludes: &Excludes, mirrors: &[&Path]) -> FileSystems {
        let root = wpath.as_os_str().as_bytes();
        let own = table.at(root).cloned();
        let inside = table.below(root).into_iter().filter(|(place, _)| !excludes.excludes(place, true));
        let inside = inside.map(|(place, mount)| (place, (mount.clone(), MountContent::Directory))).collect();
        let is_encrypted = false;
        let has_marker = false;
        let resync_every = None;
        let mut mounts =
            FileSystems { table, own, inside, mirrors: Vec::new(), is_encrypted, has_marker, resync_every, wpath };
        for mirror in mirrors {
            let shown = mounts.shown(mirror).into_iter().filter(|place| !excludes.excludes(place, true));
            let shown: Vec<_> = shown.map(|place| (mirror.to_path_buf(), place)).collect();
            mounts.mirrors.extend(shown);
        }
        mounts
    }

    /// The places in `wpath` at which a mount shows a directory that lies elsewhere.
    fn shown(&self, path: &Path) -> Vec<RelPath> {
        let path = path.as_os_str().as_bytes();
        let Some((mount, inside)) = self.table.at(path).and_then(|mount| Some((mount, mount.inside(path)?))) else {
            return Vec::new();
        };
        let by = self.all().filter(|by| by.shares_with(mount)).filter_map(|by| Some((by, by.outside(&inside)?)));
        let leads_there = by.filter(|(by, place)| self.table.at(place) == Some(by));
        leads_there.filter_map(|(_, place)| self.place(&place)).filter(|place| !place.is_root()).collect()
    }

    /// The mount of `wpath`, and those in it.
    fn all(&self) -> impl Iterator<Item = &Mounted> {
        self.own.iter().chain(self.inside.values().map(|(mount, _)| mount))
    }

    /// An absolute path as one in `wpath`; `None` if it lies outside.
    fn place(&self, path: &[u8]) -> Option<RelPath> {
        let rest = path.strip_prefix(self.wpath.as_os_str().as_bytes())?;
        match rest.strip_prefix(b"/") {
            Some(below) => RelPath::new(below).ok(),
            None if rest.is_empty() => Some(RelPath::root()),
            None => self.wpath.parent().is_none().then(|| RelPath::new(rest).ok())?,
        }
    }

    /// Looks what there is at the place of each mount.
    fn look(&mut self, reach: &Reach) {
        for (place, (_, answer)) in &mut self.inside {
            *answer = match reach.look(place) {
                Ok(meta) if meta.is_file() => MountContent::File,
                Ok(meta) if !meta.is_dir() => MountContent::Other,
                Ok(_) | Err(_) => MountContent::Directory,
            };
        }
    }

    /// Tells whether a part of it is on a btrfs, which has directories of its own kind.
    pub fn has_btrfs(&self) -> bool {
        self.all().any(|mount| mount.kind == b"btrfs")
    }

    /// Tells whether something is mounted on this path.
    pub fn has(&self, path: &RelPath) -> bool {
        self.inside.contains_key(path)
    }
}

/// Asks a question on a thread of its own; `None` where the answer takes too long.
pub async fn in_time<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().spawn(move || drop(tell.send(question()))).ok()?;
    timeout(PATIENCE, told).await.ok()?.ok()
}

fn is_encrypted(path: &Path) -> bool {
    statx(CWD, path, AtFlags::empty(), StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::ENCRYPTED))
}
