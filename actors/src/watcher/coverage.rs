//! The coverage of the tree by watches, for others to read at any moment, even while the watcher is busy with a scan.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::path::RelPath;

/// Unwatched directories that are named.
const NAMED: usize = 20;

/// The coverage of the tree by watches. Clones share it: the watcher writes, others read.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchCoverage {
    view: Arc<Mutex<View>>,
    steps: Arc<AtomicU64>,
}

/// The number of watched and of unwatched directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Directories that are watched.
    pub watched: usize,
    /// Directories that are not, each with all that is below it.
    pub unwatched: usize,
    /// The first unwatched directories.
    pub first: Vec<RelPath>,
}

impl WatchCoverage {
    /// Returns the coverage as it is now.
    pub(crate) fn read(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts another directory that was looked at: whoever waits for the watcher sees that it goes on.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the directories that were looked at.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Replaces the coverage by this one.
    pub(crate) fn write<'p>(&self, watched: usize, unwatched: usize, names: impl IntoIterator<Item = &'p RelPath>) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        // Written after each batch of events: nothing is gathered where there is nothing.
        let first = if unwatched == 0 { Vec::new() } else { names.into_iter().take(NAMED).cloned().collect() };
        *view = View { watched, unwatched, first };
    }
}
