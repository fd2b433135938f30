//! Why a directory is not watched: errno and kernel limits, translated once, each with its cure.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Where the kernel keeps its inotify limits (inotify(7), "/proc interfaces").
const LIMITS: &str = "/proc/sys/fs/inotify";

/// A directory, or the whole tree, cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user has no inotify instance left.
    #[error(
        "no inotify instance is left: fs.inotify.max_user_instances is {limit}; raise it: {}",
        keep_setting("max_user_instances", limit.saturating_mul(2).max(256))
    )]
    Instances {
        /// The limit in force.
        limit: usize,
    },
    /// The user has no watch left. inotify_add_watch(2) says "no space left on device", which it is not.
    #[error("{}", limit_text(*limit, *needed))]
    Limit {
        /// The limit in force, shared by all programs of the user.
        limit: usize,
        /// The directories of the tree, if they were counted.
        needed: Option<usize>,
    },
    /// The directory may not be read.
    #[error("{} may not be read by this user ({source}); grant read and search permission, or exclude it", path.display())]
    Access {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{} cannot be watched: {source}", path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl WatchError {
    /// What inotify_init(2) means.
    pub fn of_init(source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::MFILE) => WatchError::Instances { limit: limit("max_user_instances").unwrap_or(0) },
            _ => WatchError::System { path: PathBuf::from("inotify"), source },
        }
    }

    /// What inotify_add_watch(2) or the listing of a directory means; `None` if the directory is not there any more.
    pub fn of_directory(path: &Path, source: io::Error) -> Option<Self> {
        let path = path.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Some(Errno::NOSPC) => Some(WatchError::Limit { limit: watch_limit().unwrap_or(0), needed: None }),
            Some(Errno::ACCESS | Errno::PERM) => Some(WatchError::Access { path, source }),
            _ => Some(WatchError::System { path, source }),
        }
    }
}

impl WatchError {
    /// The same about a directory that was looked at by another name.
    pub(super) fn about(self, path: PathBuf) -> Self {
        match self {
            WatchError::Access { source, .. } => WatchError::Access { path, source },
            WatchError::System { source, .. } => WatchError::System { path, source },
            other => other,
        }
    }
}

/// The number of watches that all programs of one user may hold, `None` if the kernel does not say.
pub fn watch_limit() -> Option<usize> {
    limit("max_user_watches")
}

/// The command that makes room for a tree of so many directories, and keeps it over a restart of the machine.
pub fn raise_watch_limit(needed: usize) -> String {
    // Twice the need: trees grow, and other programs of the same user hold watches too.
    let value = needed.saturating_mul(2).next_power_of_two().max(524_288);
    keep_setting("max_user_watches", value)
}

/// The command that sets a limit, and keeps it over a restart of the machine.
fn keep_setting(name: &str, value: usize) -> String {
    format!("echo fs.inotify.{name}={value} >>/etc/sysctl.d/60-inosync.conf && sysctl --system")
}

fn limit(name: &str) -> Option<usize> {
    std::fs::read_to_string(Path::new(LIMITS).join(name)).ok()?.trim().parse().ok()
}

fn limit_text(limit: usize, needed: Option<usize>) -> String {
    let cure = raise_watch_limit(needed.unwrap_or(limit));
    match needed {
        Some(needed) => format!(
            "the watch limit is reached: the tree has {needed} directories, one watch each, and \
             fs.inotify.max_user_watches is {limit} for all programs of this user; raise it: {cure}"
        ),
        None => format!("the watch limit is reached: fs.inotify.max_user_watches is {limit}; raise it: {cure}"),
    }
}
