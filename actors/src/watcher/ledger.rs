//! Compares what is watched with what the kernel counts: a watch that it has and nobody knows of keeps a deleted directory on
//! disk, and one that it has no more sees nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// The difference between the kernel's watches and the known ones, as numbers of watches.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct WatchDifference {
    /// The kernel has them, and nobody knows of them.
    pub surplus: BTreeSet<i32>,
    /// The kernel does not have them.
    pub missing: BTreeSet<i32>,
}

impl WatchDifference {
    /// Tells if there is no difference.
    pub(crate) fn is_empty(&self) -> bool {
        self.surplus.is_empty() && self.missing.is_empty()
    }

    /// Keeps the part that both differences have: a watch may be given up, or end, while one of them is taken.
    pub(crate) fn and(&self, other: &WatchDifference) -> WatchDifference {
        let both = |one: &BTreeSet<i32>, other: &BTreeSet<i32>| one.intersection(other).copied().collect();
        WatchDifference { surplus: both(&self.surplus, &other.surplus), missing: both(&self.missing, &other.missing) }
    }
}

/// The kernel's account of an inotify queue.
pub(crate) struct Ledger(Arc<OwnedFd>);

impl Ledger {
    /// That of this queue.
    pub(crate) fn of(queue: Arc<OwnedFd>) -> Self {
        Ledger(queue)
    }

    /// Compares the kernel's watches with `known`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn difference(&self, known: &BTreeSet<i32>) -> io::Result<WatchDifference> {
        let mut difference = WatchDifference { missing: known.clone(), surplus: BTreeSet::new() };
        let info = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        for line in BufReader::new(File::open(info)?).lines() {
            if let Some(watch) = number(&line?)
                && !difference.missing.remove(&watch)
            {
                difference.surplus.insert(watch);
            }
        }
        Ok(difference)
    }

    /// Gives up watches that nobody knows of.
    pub(crate) fn give_up(&self, watches: &BTreeSet<i32>) {
        for &watch in watches {
            // It may have ended meanwhile.
            let _ = rustix::fs::inotify::remove_watch(self.0.as_fd(), watch);
        }
    }
}

/// The watch that a line tells of: proc(5), `/proc/pid/fdinfo`.
fn number(line: &str) -> Option<i32> {
    let digits = line.strip_prefix("inotify wd:")?.split(' ').next()?;
    i32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify::{Inotify, WatchMask};

    #[test]
    fn a_watch_that_nobody_knows_of_and_one_that_is_gone_are_found() {
        let inotify = Inotify::init().unwrap();
        let ledger = Ledger::of(Arc::new(inotify.as_fd().try_clone_to_owned().unwrap()));
        let dirs = [(); 12].map(|()| tempfile::tempdir().unwrap());
        let watch = |dir: &tempfile::TempDir| {
            crate::watcher::Watches::of(&inotify)
                .unwrap()
                .add(dir.path(), WatchMask::CREATE)
                .unwrap()
                .get_watch_descriptor_id()
        };
        let known: BTreeSet<i32> = dirs.iter().map(watch).collect();
        assert!(ledger.difference(&known).unwrap().is_empty());
        let (first, others) = (*known.first().unwrap(), known.iter().copied().skip(1).collect::<BTreeSet<_>>());
        let surplus = ledger.difference(&others).unwrap();
        assert_eq!(surplus, WatchDifference { surplus: [first].into(), missing: BTreeSet::new() });
        ledger.give_up(&surplus.surplus);
        let missing = ledger.difference(&known).unwrap();
        assert_eq!(missing, WatchDifference { surplus: BTreeSet::new(), missing: [first].into() });
        assert!(missing.and(&surplus).is_empty() && ledger.difference(&others).unwrap().is_empty());
    }
}
