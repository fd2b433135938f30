//! The watches of an inotify queue, which may be set by another process that has the queue, too.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use inotify::{Inotify, WatchMask};
use rustix::fs::inotify::remove_watch;

use crate::path::RelPath;
use crate::root::reach::Reach;
use crate::root::reach::look::{Look, Place};

/// Sets and ends watches. Clones are of the same queue, which ends with the last of them and its reader.
#[derive(Debug, Clone)]
pub struct Watches(Arc<OwnedFd>);

/// A watch, by its number in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WatchDescriptor(i32);

impl WatchDescriptor {
    /// The kernel's number of the watch.
    pub(crate) fn get_watch_descriptor_id(&self) -> i32 {
        self.0
    }
}

impl Watches {
    /// Those of this queue.
    ///
    /// # Errors
    /// When no further file can be opened.
    pub fn of(queue: &Inotify) -> io::Result<Watches> {
        Ok(Watches(Arc::new(queue.as_fd().try_clone_to_owned()?)))
    }

    /// Watches what is at a path that is known not to hang.
    ///
    /// # Errors
    /// What inotify_add_watch(2) says.
    pub(crate) fn add(&self, path: impl Into<PathBuf>, mask: WatchMask) -> io::Result<WatchDescriptor> {
        let found = self.look(Place::at(path), mask).carry_out()?;
        Ok(WatchDescriptor(found.watch()))
    }

    /// Watches what is at `place`, which lies at `path` of the source.
    ///
    /// # Errors
    /// What inotify_add_watch(2) says; `TimedOut` if the file system does not answer.
    pub(crate) fn add_within(
        &self,
        reach: &Reach,
        path: &RelPath,
        place: Place,
        mask: WatchMask,
    ) -> io::Result<WatchDescriptor> {
        let found = reach.carry_out(path, self.look(place, mask))?;
        Ok(WatchDescriptor(found.watch()))
    }

    fn look(&self, place: Place, mask: WatchMask) -> Look {
        Look::Watch { place, queue: self.0.clone(), mask: mask.bits() }
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// When the kernel has ended it already.
    pub(crate) fn remove(&self, watch: WatchDescriptor) -> io::Result<()> {
        Ok(remove_watch(&self.0, watch.0)?)
    }
}
