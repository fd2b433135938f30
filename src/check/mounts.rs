//! The file systems that the source is on: the facts. They come from the kernel's list of mounts, and a file system that may
//! not answer is asked by a thread that nobody waits for without end. `docs/sources.md` has the reasons for all of it.

mod told;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use inosync_actors::mounts::{Mounted, Table as MountTable};
use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::site::Site;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The time that file systems have to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Mounts that are asked at the same time, each by a thread of its own. Of others a directory is expected.
const AT_ONCE: usize = 64;

/// The file systems of the source.
#[derive(Debug)]
pub struct FileSystems {
    table: MountTable,
    /// `wpath` without symlinks.
    wpath: PathBuf,
    /// The mount of `wpath`.
    own: Option<Mounted>,
    /// Those that are mounted in it and mirrored.
    inside: BTreeMap<RelPath, (Mounted, Answer)>,
    /// The mirrors on this machine that a mount shows in it: the mirror, and its place there.
    mirrors: Vec<(PathBuf, RelPath)>,
    /// Encrypted by its file system (fscrypt).
    is_encrypted: bool,
    has_marker: bool,
    resync_every: Option<Duration>,
}

/// The kind of entry at the place of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Directory,
    File,
    /// Has no content of its own.
    Other,
    /// Nothing was said in time.
    Silence,
}

impl FileSystems {
    /// Those of a site; `None` if `wpath` does not answer.
    pub async fn of(site: &Site) -> Option<FileSystems> {
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
        mounts.ask().await;
        Some(mounts)
    }

    /// Looks for this directory, which is without symlinks, and these mirrors in the list.
    fn read(table: MountTable, wpath: PathBuf, excludes: &Excludes, mirrors: &[&Path]) -> FileSystems {
        let root = wpath.as_os_str().as_bytes();
        let own = table.at(root).cloned();
        let inside = table.below(root).into_iter().filter(|(place, _)| !excludes.excludes(place, true));
        let inside = inside.map(|(place, mount)| (place, (mount.clone(), Answer::Directory))).collect();
        let (is_encrypted, has_marker, resync_every) = (false, false, None);
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

    /// Asks what there is at the place of each mount: at once where nothing can keep it from answering.
    async fn ask(&mut self) {
        let may_hang: Vec<RelPath> = self
            .inside
            .iter()
            .filter(|(_, (mount, _))| told::may_hang(mount))
            .map(|(place, _)| place.clone())
            .collect();
        let hangs = |place: &RelPath| may_hang.iter().any(|top| top == place || place.is_below(top));
        let (far, near): (Vec<_>, Vec<_>) = self.inside.keys().cloned().partition(hangs);
        for place in near {
            let answer = answer(&place.under(&self.wpath));
            self.inside.entry(place).and_modify(|(_, known)| *known = answer);
        }
        let far: Vec<RelPath> = far.into_iter().take(AT_ONCE).collect();
        let questions = far.iter().map(|place| {
            let path = place.under(&self.wpath);
            move || answer(&path)
        });
        let answers = ask(questions.collect()).await;
        for (place, answer) in far.into_iter().zip(answers) {
            self.inside.entry(place).and_modify(|(_, known)| *known = answer.unwrap_or(Answer::Silence));
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

    /// Tells whether all of it answers.
    pub fn answers(&self) -> bool {
        self.inside.values().all(|(_, answer)| *answer != Answer::Silence)
    }
}

/// Asks a question; `None` where it takes too long.
pub async fn in_time<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    ask(vec![question]).await.pop()?
}

/// Asks questions side by side. The answers are in their order, `None` where one takes too long. The thread of one that is never answered
/// ends with this process.
async fn ask<T: Send + 'static>(questions: Vec<impl FnOnce() -> T + Send + 'static>) -> Vec<Option<T>> {
    let until = Instant::now() + PATIENCE;
    let asked = questions.into_iter().map(|question| {
        let (tell, told) = oneshot::channel();
        let started = thread::Builder::new().spawn(move || drop(tell.send(question())));
        started.ok().map(|_| told)
    });
    let mut answers = Vec::new();
    for told in asked.collect::<Vec<_>>() {
        answers.push(match told {
            Some(told) => timeout_at(until, told).await.ok().and_then(Result::ok),
            None => None,
        });
    }
    answers
}

fn answer(path: &Path) -> Answer {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Answer::File,
        Ok(meta) if !meta.is_dir() => Answer::Other,
        Ok(_) | Err(_) => {
            // The attributes may be remembered, where a listing is not.
            let _ = fs::read_dir(path).map(|mut entries| entries.next());
            Answer::Directory
        }
    }
}

fn is_encrypted(path: &Path) -> bool {
    statx(CWD, path, AtFlags::empty(), StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::ENCRYPTED))
}
