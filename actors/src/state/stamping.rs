//! Saves the stamps of paths as they are on disk now, except stamps that could hide a later change.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::listing::{Dir, errno, is_gone};
use super::stamp::Stamp;
use super::store::{Entries, StoreError};
use rustix::io::Errno;

use crate::outbox::fold::Fold;
use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::open_dirs::OpenDirs;
use crate::root::reach::Reach;

/// Writes down how these paths of the tree are now. Returns those that changed too shortly before they were
/// looked at: they are to be looked at again.
///
/// # Errors
/// When the state cannot be written.
pub(crate) fn record(
    reach: &Reach,
    excludes: &Excludes,
    entries: Entries<'_>,
    paths: &Fold,
) -> Result<Vec<RelPath>, StoreError> {
    let mut recorder = Recorder { reach, open: OpenDirs::new(reach), excludes, entries, fresh: Vec::new() };
    if paths.is_everything() {
        // First, as it drops what is damaged.
        recorder.record_below(&RelPath::root())?;
        recorder.record_root()?;
    }
    // In the order of the state's keys, first the entries and then what is below them: so each block is opened once.
    let mut entries: Vec<(&RelPath, &Pending)> = paths.iter().collect();
    entries.sort_by_cached_key(|(path, _)| (path.parent(), path.name().to_vec()));
    let mut trees = Vec::new();
    for (path, pending) in entries {
        let is_dir = recorder.record(path, pending)?;
        trees.extend((is_dir && pending.scope == Scope::Subtree).then_some(path));
    }
    trees.into_iter().try_for_each(|top| recorder.record_below(top))?;
    recorder.entries.finish()?;
    Ok(recorder.fresh)
}

struct Recorder<'a> {
    reach: &'a Reach,
    open: OpenDirs<'a>,
    excludes: &'a Excludes,
    entries: Entries<'a>,
    fresh: Vec<RelPath>,
}

impl<'a> Recorder<'a> {
    /// Writes down how the entry at a path is, without what is below it. Returns true if it is a directory.
    fn record(&mut self, path: &RelPath, pending: &Pending) -> Result<bool, StoreError> {
        let Some(parent) = path.parent() else { return self.record_root().map(|()| false) };
        let now = SystemTime::now();
        let found = self.open(&parent).and_then(|dir| dir.look(path.name()));
        match found {
            Ok(Some(stamp)) if self.excludes.excludes(path, stamp.is_dir()) => self.entries.forget(path)?,
            Ok(Some(stamp)) => {
                self.set(path, &stamp, now)?;
                return Ok(stamp.is_dir());
            }
            // No removal was reported: the old stamp stays, so that the next comparison finds the removal.
            Ok(None) if !pending.is_removal() => (),
            Err(error) if is_gone(error) && !pending.is_removal() => (),
            // What does not answer may be as it was delivered, or gone meanwhile: the next comparison looks again.
            Err(Errno::TIMEDOUT) => self.fresh.push(path.clone()),
            Ok(None) | Err(_) => self.entries.forget(path)?,
        }
        Ok(false)
    }

    fn record_root(&mut self) -> Result<(), StoreError> {
        let now = SystemTime::now();
        match self.open(&RelPath::root()).and_then(|dir| dir.stamp()) {
            Ok(stamp) => self.set(&RelPath::root(), &stamp, now),
            Err(_) => Ok(()),
        }
    }

    fn record_below(&mut self, top: &RelPath) -> Result<(), StoreError> {
        self.entries.forget_below(top)?;
        // In the order of the state's keys: so the blocks of the file are full.
        let mut left = BTreeSet::from([top.clone()]);
        while let Some(dir) = left.pop_first() {
            let now = SystemTime::now();
            // Unreadable directories get no stamps.
            let listed = self.open(&dir).and_then(|dir| dir.entries(self.excludes));
            for entry in listed.unwrap_or_default() {
                self.set(&entry.path, &entry.stamp, now)?;
                left.extend(entry.stamp.is_dir().then_some(entry.path));
            }
        }
        Ok(())
    }

    fn open(&mut self, dir: &RelPath) -> Result<Dir<'a>, Errno> {
        let opened = self.open.open(dir).map_err(errno)?;
        Ok(Dir::of_opened(self.reach, dir, &opened))
    }

    /// Saves a stamp unless it is too fresh; `now` is a time from before the stamp was taken.
    fn set(&mut self, path: &RelPath, stamp: &Stamp, now: SystemTime) -> Result<(), StoreError> {
        if stamp.is_fresh(now) {
            self.fresh.push(path.clone());
            return Ok(());
        }
        self.entries.set(path, stamp)
    }
}
