//! What others may know of the watches at any moment, also while the watcher is busy with a scan.

use std::sync::{Arc, Mutex, PoisonError};

use crate::path::RelPath;

/// Unwatched directories that are named.
const NAMED: usize = 20;

/// How much of the tree is watched. Clones share it: the watcher writes, others read.
#[derive(Debug, Clone, Default)]
pub struct Sight(Arc<Mutex<Seen>>);

/// What is watched, and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Directories that are watched.
    pub watched: usize,
    /// Directories that are not, each with all that is below it.
    pub unwatched: usize,
    /// The first of them.
    pub first: Vec<RelPath>,
}

impl Sight {
    /// What is known now.
    pub fn read(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This is so now.
    pub fn write<'p>(&self, watched: usize, unwatched: usize, names: impl IntoIterator<Item = &'p RelPath>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Written after each batch of events: nothing is gathered where there is nothing.
        let first = if unwatched == 0 { Vec::new() } else { names.into_iter().take(NAMED).cloned().collect() };
        *seen = Seen { watched, unwatched, first };
    }
}
