//! Why a directory is not watched: errno and kernel limits, translated once, each with its cure.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::errno::is_gone;

/// Where the kernel keeps its limits.
const SETTINGS: &str = "/proc/sys";

/// A limit of the kernel, and the setting that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// As sysctl(8) names it.
    pub setting: &'static str,
    /// What may be had.
    pub value: usize,
}

/// The settings that limit watches, and instances: that of the machine (inotify(7), "/proc interfaces"), and that of the user
/// namespace (namespaces(7)). In the first namespace they are one.
const WATCHES: [&str; 2] = ["fs.inotify.max_user_watches", "user.max_inotify_watches"];
const INSTANCES: [&str; 2] = ["fs.inotify.max_user_instances", "user.max_inotify_instances"];

/// A directory, or the whole tree, cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user has no inotify instance left.
    #[error("no inotify instance is left: {} is {}; raise it: {}", .0.setting, .0.value, .0.raised_to(256))]
    Instances(Limit),
    /// The user has no watch left. inotify_add_watch(2) says "no space left on device", which it is not.
    #[error("{}", limit_text(limit, *needed))]
    Limit {
        /// The limit in force, shared by all programs of the user.
        limit: Limit,
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
            Some(Errno::MFILE) => WatchError::Instances(binding(INSTANCES).unwrap_or(Limit::unknown(INSTANCES))),
            _ => WatchError::System { path: PathBuf::from("inotify"), source },
        }
    }

    /// What inotify_add_watch(2) or the listing of a directory means; `None` if the directory is not there any more.
    pub fn of_directory(path: &Path, source: io::Error) -> Option<Self> {
        let path = path.to_owned();
        match Errno::from_io_error(&source) {
            Some(error) if is_gone(error) => None,
            Some(Errno::NOSPC) => Some(WatchError::no_watch_left()),
            Some(Errno::ACCESS | Errno::PERM) => Some(WatchError::Access { path, source }),
            _ => Some(WatchError::System { path, source }),
        }
    }
}

impl WatchError {
    /// The limit of watches is reached.
    pub(super) fn no_watch_left() -> Self {
        WatchError::Limit { limit: watch_limit().unwrap_or(Limit::unknown(WATCHES)), needed: None }
    }

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
pub fn watch_limit() -> Option<Limit> {
    binding(WATCHES)
}

impl Limit {
    fn unknown([setting, _]: [&'static str; 2]) -> Limit {
        Limit { setting, value: 0 }
    }

    /// The command that makes room for a tree of so many directories, and keeps it over a restart of the machine.
    pub fn raised_for(&self, needed: usize) -> String {
        // Twice the need: trees grow, and other programs of the same user hold watches too.
        self.raised_to(needed.saturating_mul(2).next_power_of_two().max(524_288))
    }

    /// The command that sets it to so much, and to more than it is, and keeps it over a restart of the machine.
    fn raised_to(&self, value: usize) -> String {
        let value = value.max(self.value.saturating_mul(2));
        format!("echo {}={value} >>/etc/sysctl.d/60-inosync.conf && sysctl --system", self.setting)
    }
}

/// The smaller of two settings: that one is reached first.
fn binding(settings: [&'static str; 2]) -> Option<Limit> {
    settings
        .into_iter()
        .filter_map(|setting| Some(Limit { setting, value: read(setting)? }))
        .min_by_key(|limit| limit.value)
}

fn read(setting: &str) -> Option<usize> {
    std::fs::read_to_string(Path::new(SETTINGS).join(setting.replace('.', "/"))).ok()?.trim().parse().ok()
}

fn limit_text(limit: &Limit, needed: Option<usize>) -> String {
    let Limit { setting, value } = limit;
    let cure = limit.raised_for(needed.unwrap_or(*value));
    match needed {
        Some(needed) => format!(
            "the watch limit is reached: the tree has {needed} directories, one watch each, and {setting} is {value} for \
             all programs of this user; raise it: {cure}"
        ),
        None => format!("the watch limit is reached: {setting} is {value}; raise it: {cure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advised_names_the_setting_and_is_never_less_than_there_is() {
        let limit = |value| Limit { setting: "user.max_inotify_watches", value };
        for (value, needed, expected) in [
            (100, 10, 524_288),
            (100, 1_000_000, 2_097_152),
            (8_000_000, 10, 16_000_000),
            (524_288, 300_000, 1_048_576),
        ] {
            let advice = limit(value).raised_for(needed);
            assert!(advice.starts_with(&format!("echo user.max_inotify_watches={expected} >>")), "{advice}");
        }
    }

    #[test]
    fn where_two_settings_limit_the_smaller_one_binds_and_what_is_missing_does_not() {
        let limit = binding(["kernel.pid_max", "fs.nr_open"]).unwrap();
        assert_eq!((limit.setting, Some(limit.value)), ("kernel.pid_max", read("kernel.pid_max")));
        assert_eq!(binding(["kernel.none", "fs.nr_open"]).map(|limit| limit.setting), Some("fs.nr_open"));
        assert_eq!(binding(["kernel.none", "fs.none"]), None);
    }
}
