//! What may differ from the saved tree: filled by the FilterActor, emptied by the StateActor at each save.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::messages::Change;
use crate::path::RelPath;
use crate::sync::fold::{Fold, Pending, Scope};
use crate::sync::pending::CAP;

/// The paths that are to be saved, and the bell that says so. Clones share both.
#[derive(Clone)]
pub struct Unsaved(Arc<Inner>);

struct Inner {
    paths: Mutex<Fold>,
    /// Names of which the nodes may have something else than what is on disk: see [`Unsaved::unsure`].
    unsure: Mutex<BTreeSet<RelPath>>,
    bell: Notify,
}

/// Names that are remembered so; past it the whole tree is.
const UNSURE: usize = 1000;

impl Default for Unsaved {
    fn default() -> Self {
        let (paths, unsure) = (Mutex::new(Fold::new(CAP)), Mutex::default());
        Unsaved(Arc::new(Inner { paths, unsure, bell: Notify::new() }))
    }
}

impl Unsaved {
    /// Something changed.
    pub fn add(&self, changes: &[Change]) {
        let mut paths = self.lock();
        for change in changes {
            match change {
                Change::Subtree { path } if path.is_root() => paths.fill(),
                Change::Subtree { path } => paths.insert(path.clone(), Pending::new(Scope::Subtree, false)),
                Change::Touched { path, .. } | Change::Closed { path } | Change::Level { path } => {
                    paths.insert(path.clone(), Pending::new(Scope::Entry, false));
                }
                Change::Removed { path, is_dir } => {
                    if *is_dir {
                        paths.drop_below(path);
                    }
                    paths.insert(path.clone(), Pending::new(Scope::Entry, true));
                }
                Change::MovedAway { path } | Change::MovedOut { path } | Change::MovedTo { to: path, .. } => {
                    self.doubt(path);
                }
                // A comparison of the directory follows.
                Change::Mounted { .. } => (),
                Change::Unmounted { path } => {
                    paths.drop_below(path);
                    self.doubt(path);
                }
            }
        }
        drop(paths);
        self.ring();
    }

    fn doubt(&self, path: &RelPath) {
        let mut unsure = self.0.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        unsure.insert(path.clone());
        if unsure.len() > UNSURE {
            *unsure = BTreeSet::from([RelPath::root()]);
        }
    }

    /// Names of which the nodes may have something else than what is on disk, although nothing is pending: directories were
    /// moved to or from them, which is not mirrored, or a file system was unmounted there. Until the run ends nothing is
    /// saved of them and of what is below, so that the next one compares it.
    pub fn unsure(&self) -> Vec<RelPath> {
        self.0.unsure.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Everything may differ.
    pub fn fill(&self) {
        self.lock().fill();
        self.ring();
    }

    /// A node may have got, or may lack, something that the saved state does not tell.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// Waits until something is to be saved.
    pub async fn rung(&self) {
        self.0.bell.notified().await;
    }

    /// Takes all paths.
    pub fn take(&self) -> Fold {
        std::mem::replace(&mut *self.lock(), Fold::new(CAP))
    }

    /// Whether no path is to be saved.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// A save came to nothing.
    pub fn put_back(&self, mut taken: Fold) {
        let mut paths = self.lock();
        if taken.take_everything() {
            paths.fill();
        }
        for (path, pending) in taken.iter() {
            paths.put_back(path.clone(), *pending);
        }
    }

    /// These were too fresh to be saved.
    pub fn put_back_entries(&self, entries: Vec<RelPath>) {
        let mut paths = self.lock();
        for path in entries {
            paths.put_back(path, Pending::new(Scope::Entry, false));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fold> {
        self.0.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
