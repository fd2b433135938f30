//! The probe on this machine: the files that are sent, and the process that removes them.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::path::RelPath;
use crate::rsync::examine::apart::Apart;
use crate::site::Site;
use crate::transport::comparison::Link;

/// The time that a process has to end after nobody waits for it any more.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of the file: a block, so that a file system without room says so.
const SIZE: usize = 4096;
/// The targets of the symlinks, such as a daemon without chroot would rewrite.
const TARGETS: [&str; 2] = ["/inosync-probe", "../inosync-probe"];

/// The probe on this machine, for all nodes: two directories outside of the source. They are gone with the process, however
/// it ends.
#[derive(Debug)]
pub struct Probe {
    directory: Directory,
    /// The file, then the symlinks.
    names: Vec<RelPath>,
    sweeper: Apart,
}

impl Probe {
    /// Makes it.
    ///
    /// # Errors
    /// When there is no place for it on this machine, or rsync cannot be started.
    pub fn new(site: &Site) -> io::Result<Probe> {
        let parent = place(site);
        // What removes it is there first: it may be killed at any moment.
        let directory = parent.join(format!("inosync-check-{:016x}", fastrand::u64(..)));
        let sweeper = sweeper(site, &directory)?;
        DirBuilder::new().mode(0o700).create(&directory)?;
        let directory = Directory(directory);
        let name = name(site);
        let names: Vec<RelPath> = ["", "-absolute", "-outside"]
            .iter()
            .filter_map(|end| RelPath::new(format!("{name}{end}").as_bytes()).ok())
            .collect();
        let sent = directory.0.join("sent");
        let nowhere = directory.0.join("nowhere");
        fs::create_dir(&sent)?;
        fs::create_dir(nowhere)?;
        for (at, name) in names.iter().enumerate() {
            match at.checked_sub(1).and_then(|at| TARGETS.get(at)) {
                None => fs::write(name.under(&sent), [b'\n'; SIZE])?,
                Some(target) => symlink(target, name.under(&sent))?,
            }
        }
        Ok(Probe { directory, names, sweeper })
    }

    /// Removes it from this machine.
    pub async fn close(mut self) {
        // The directory itself goes with `self`, whatever comes of this.
        let _ = tokio::time::timeout(GRACE, self.sweeper.release()).await;
    }

    pub(super) fn links(&self) -> Vec<Link> {
        let links = self.names.iter().skip(1).zip(TARGETS);
        links.map(|(path, target)| Link { path: path.clone(), target: target.into() }).collect()
    }

    pub(in crate::rsync::examine) fn names(&self) -> &[RelPath] {
        &self.names
    }

    pub(in crate::rsync::examine) fn sent(&self) -> PathBuf {
        self.directory.0.join("sent")
    }

    pub(super) fn nowhere(&self) -> PathBuf {
        self.directory.0.join("nowhere")
    }
}

/// A directory that is removed with all that is in it.
#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left the sweeper removes.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The process that removes a directory from this machine when inosync was killed, whether it was made by then or not.
fn sweeper(site: &Site, directory: &Path) -> io::Result<Apart> {
    const OPTIONS: [&str; 8] =
        ["--dirs", "--no-recursive", "--from0", "--files-from=-", "--delete-missing-args", "--delete", "--force", "--"];
    let name = directory.file_name().unwrap_or_default().as_encoded_bytes();
    let list = [b"/", name, b"\0"].concat();
    let mut arguments: Vec<std::ffi::OsString> = OPTIONS.iter().map(Into::into).collect();
    let parent = directory.parent().unwrap_or(directory);
    arguments.extend([".".into(), parent.join("").into_os_string()]);
    // There is no such name in there, so the receiver deletes what has it.
    Apart::waiting(&site.rsync, File::open("/")?.into(), &arguments, &list)
}

/// A directory for it which nobody watches.
fn place(site: &Site) -> PathBuf {
    let root = site.wpath.canonicalize().unwrap_or_else(|_| site.wpath.clone());
    let is_watched = |path: &Path| {
        let below =
            path.strip_prefix(&root).ok().and_then(|below| RelPath::new(below.as_os_str().as_encoded_bytes()).ok());
        below.is_some_and(|below| !site.excludes.excludes(&below, true))
    };
    let fits = |path: &PathBuf| path.is_dir() && path.canonicalize().is_ok_and(|path| !is_watched(&path));
    let state = site.state_file.as_ref().and_then(|file| file.parent()).map(Path::to_owned);
    let usual = ["/var/tmp", "/dev/shm", "/run"].map(PathBuf::from);
    let mut places = [std::env::temp_dir()].into_iter().chain(state).chain(usual);
    places.find(fits).unwrap_or_else(std::env::temp_dir)
}

/// The same at each check of this source from this machine.
fn name(site: &Site) -> String {
    let mut hasher = DefaultHasher::new();
    fs::read("/proc/sys/kernel/hostname").unwrap_or_default().hash(&mut hasher);
    site.wpath.hash(&mut hasher);
    format!(".inosync-probe-{:016x}", hasher.finish())
}
