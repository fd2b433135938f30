//! The reasons why a directory is not watched. Error numbers and kernel limits are translated here, each with its cure.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::errno::is_gone;

/// Directory in which the kernel shows its settings.
const SETTINGS: &str = "/proc/sys";

/// A kernel limit and the setting that defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Name of the setting, as sysctl(8) uses it.
    pub setting: &'static str,
    /// Value of the setting.
    pub value: usize,
}

/// Settings that limit the watches and, in the next list, the instances: the first setting is for the machine
/// (inotify(7), "/proc interfaces"), the second for the user namespace (namespaces(7)). In the initial namespace both
/// are the same.
const WATCHES: [&str; 2] = ["fs.inotify.max_user_watches", "user.max_inotify_watches"];
const INSTANCES: [&str; 2] = ["fs.inotify.max_user_instances", "user.max_inotify_instances"];

/// The reason why a directory, or the whole tree, cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user has no inotify instance left.
    #[error("no inotify instance is left: {} is {}; raise it: {}", .0.setting, .0.value, .0.raised_to(256))]
    Instances(Limit),
    /// The user has no watch left. inotify_add_watch(2) reports this as "no space left on device".
    #[error("{}", limit_text(limit, *needed))]
    Limit {
        /// The limit in force, which all programs of the user share.
        limit: Limit,
        /// Number of directories in the tree, if they were counted.
        needed: Option<usize>,
    },
    /// The user may not read the directory.
    #[error("{} may not be read by this user ({source}); grant read and search permission, or exclude it", path.display())]
    Access {
        /// Path of the directory.
        path: PathBuf,
        /// The error that the kernel returned.
        source: io::Error,
    },
    /// The file system that it is on does not answer.
    #[error("{} cannot be watched: its file system does not answer", path.display())]
    Silent {
        /// The directory that could not be watched.
        path: PathBuf,
    },
    /// Any other error of the kernel.
    #[error("{} cannot be watched: {source}", path.display())]
    System {
        /// Path of the directory.
        path: PathBuf,
        /// The error that the kernel returned.
        source: io::Error,
    },
}

impl WatchError {
    /// Translates an error of inotify_init(2).
    pub(crate) fn of_init(source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::MFILE) => WatchError::Instances(binding(INSTANCES).unwrap_or(Limit::unknown(INSTANCES))),
            _ => WatchError::System { path: PathBuf::from("inotify"), source },
        }
    }

    /// Translates an error of inotify_add_watch(2) or of listing a directory; `None` if the directory no longer exists.
    pub(crate) fn of_directory(path: &Path, source: io::Error) -> Option<Self> {
        let path = path.to_owned();
        match Errno::from_io_error(&source) {
            Some(error) if is_gone(error) => None,
            None if source.kind() == io::ErrorKind::TimedOut => Some(WatchError::Silent { path }),
            Some(Errno::NOSPC) => Some(WatchError::no_watch_left()),
            Some(Errno::ACCESS | Errno::PERM) => Some(WatchError::Access { path, source }),
            _ => Some(WatchError::System { path, source }),
        }
    }
}

impl WatchError {
    /// Reports that the limit of watches is reached.
    pub(super) fn no_watch_left() -> Self {
        WatchError::Limit { limit: watch_limit().unwrap_or(Limit::unknown(WATCHES)), needed: None }
    }

    /// Replaces the path in the error, for a directory that was looked at by another name.
    pub(super) fn about(self, path: PathBuf) -> Self {
        match self {
            WatchError::Access { source, .. } => WatchError::Access { path, source },
            WatchError::System { source, .. } => WatchError::System { path, source },
            WatchError::Silent { .. } => WatchError::Silent { path },
            other => other,
        }
    }
}

/// Returns the number of watches that all programs of one user may hold; `None` if the kernel does not tell.
pub fn watch_limit() -> Option<Limit> {
    binding(WATCHES)
}

impl Limit {
    fn unknown([setting, _]: [&'static str; 2]) -> Limit {
        Limit { setting, value: 0 }
    }

    /// Returns the command that makes room for a tree of `needed` directories and that keeps the setting after a
    /// reboot.
    pub fn raised_for(&self, needed: usize) -> String {
        // Twice the need: trees grow, and other programs of the user hold watches too.
        self.raised_to(needed.saturating_mul(2).next_power_of_two().max(524_288))
    }

    /// Returns the command that raises the setting to `value`, and to at least twice the current value.
    fn raised_to(&self, value: usize) -> String {
        let value = value.max(self.value.saturating_mul(2));
        format!("echo {}={value} >>/etc/sysctl.d/60-inosync.conf && sysctl --system", self.setting)
    }
}

/// Returns the smaller of two settings, which is reached first.
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
