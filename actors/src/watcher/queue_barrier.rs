//! Lets a barrier pass through the kernel's event queue: a watch on a directory that is not in the tree is given up, and
//! its last event (IGNORED, inotify(7)) comes behind all that was reported before. Nothing is written to any file system.

use std::path::PathBuf;

use inotify::{EventMask, WatchMask};

use crate::watcher::watches::{WatchDescriptor, Watches};

/// Nothing of what happens in the directory itself is of interest.
const MASK: WatchMask = WatchMask::DELETE_SELF.union(WatchMask::ONLYDIR);

/// A directory outside of the tree, with a watch that can be given up to mark a moment in the queue.
pub(crate) struct QueueBarrier {
    directory: PathBuf,
    watches: Watches,
    watch: Option<WatchDescriptor>,
    /// The watch that was given up, and the number of the mark that waits for it.
    waits: Option<(i32, u64)>,
}

impl QueueBarrier {
    /// Uses this directory, which must not be in the tree.
    pub(crate) fn new(directory: PathBuf, watches: Watches) -> Self {
        let watch = watches.add(&directory, MASK).ok();
        QueueBarrier { directory, watches, watch, waits: None }
    }

    /// The number of its watch.
    pub(crate) fn number(&self) -> Option<i32> {
        self.watch.as_ref().map(WatchDescriptor::get_watch_descriptor_id)
    }

    /// Marks this moment as `id`, and forgets an earlier mark. Returns `true` if that was possible.
    pub(crate) fn mark(&mut self, id: u64) -> bool {
        self.waits = None;
        let watch = self.watch.take().or_else(|| self.watches.add(&self.directory, MASK).ok());
        let Some(watch) = watch else { return false };
        let number = watch.get_watch_descriptor_id();
        if self.watches.remove(watch).is_err() {
            return false;
        }
        self.waits = Some((number, id));
        // In time for the next one: later there may be no watch left.
        self.watch = self.watches.add(&self.directory, MASK).ok();
        true
    }

    /// Tells if this event is the mark or belongs to the directory of the mark, and returns the number of the mark.
    pub(crate) fn take(&mut self, watch: i32, mask: EventMask) -> (bool, Option<u64>) {
        if let Some((number, id)) = self.waits.take_if(|(number, _)| *number == watch) {
            if mask.contains(EventMask::IGNORED) {
                return (true, Some(id));
            }
            self.waits = Some((number, id));
            return (true, None);
        }
        let own = self.watch.as_ref().is_some_and(|own| own.get_watch_descriptor_id() == watch);
        if own && mask.contains(EventMask::IGNORED) {
            self.watch = None;
        }
        (own, None)
    }

    /// Returns the mark that waits, after events were lost: the mark may be among them.
    pub(crate) fn lose(&mut self) -> Option<u64> {
        self.waits.take().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use inotify::Inotify;

    use super::*;

    #[test]
    fn a_mark_is_passed_by_the_end_of_its_watch_and_by_nothing_that_comes_before() {
        let (inotify, dir) = (Inotify::init().unwrap(), tempfile::tempdir().unwrap());
        let mut barrier = QueueBarrier::new(dir.path().to_owned(), Watches::of(&inotify).unwrap());
        let watch = barrier.number().unwrap();
        assert!(barrier.mark(7));
        assert_ne!(barrier.number(), Some(watch));
        for (mask, expected) in [
            // The directory was deleted just before.
            (EventMask::DELETE_SELF, (true, None)),
            (EventMask::IGNORED, (true, Some(7))),
            (EventMask::DELETE_SELF, (false, None)),
        ] {
            assert_eq!(barrier.take(watch, mask), expected, "{mask:?}");
        }
        assert_eq!(barrier.take(barrier.number().unwrap(), EventMask::IGNORED), (true, None));
        assert_eq!(barrier.number(), None);
    }
}
