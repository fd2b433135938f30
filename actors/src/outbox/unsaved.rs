//! Paths that may differ from the saved tree: filled by the FilterActor, emptied by the StateActor at each save.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::change::Change;
use crate::outbox::fold::{CAP, Fold};
use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::site::DirMoves;

/// The paths that are to be saved, and the bell that says so. Clones share both.
#[derive(Clone)]
pub(crate) struct Unsaved(Arc<UnsavedPaths>);

struct UnsavedPaths {
    paths: Mutex<Fold>,
    unsure: Mutex<Unsure>,
    /// Tells if the nodes follow when a directory is moved.
    moves: DirMoves,
    bell: Notify,
    /// The reason for which the state cannot be kept, while it cannot.
    trouble: Mutex<Option<String>>,
}

/// Names of which the nodes may have something else than what is on disk: see [`Unsaved::unsure`].
#[derive(Default)]
struct Unsure {
    /// Names that stay unsure until the run ends.
    names: BTreeSet<RelPath>,
    /// Names that directories were moved away from, until it is told where to; only if the nodes follow.
    halves: BTreeSet<RelPath>,
}

/// Names that are remembered so; past it the whole tree is.
const UNSURE: usize = 1000;

impl Default for Unsaved {
    fn default() -> Self {
        Unsaved::new(DirMoves::default())
    }
}

impl Unsaved {
    /// An empty set. `moves` says if the nodes follow when a directory is moved.
    pub(crate) fn new(moves: DirMoves) -> Self {
        let paths = Mutex::new(Fold::new(CAP));
        let unsure = Mutex::default();
        Unsaved(Arc::new(UnsavedPaths { paths, unsure, moves, bell: Notify::new(), trouble: Mutex::default() }))
    }

    /// Adds changes that the state does not have yet.
    pub(crate) fn add(&self, changes: &[Change]) {
        let mut paths = self.lock();
        for change in changes {
            match change {
                Change::Subtree { path } if path.is_root() => paths.fill(),
                Change::Subtree { path }
                | Change::Created { path }
                | Change::Made { path, .. }
                | Change::FoundMoved { to: path, .. } => {
                    paths.insert(path.clone(), Pending::new(Scope::Subtree));
                }
                Change::Touched { path, .. }
                | Change::Closed { path }
                | Change::Renamed { to: path, .. }
                | Change::Level { path } => {
                    paths.insert(path.clone(), Pending::new(Scope::Entry));
                }
                Change::Removed { path, is_dir } => {
                    if *is_dir {
                        paths.drop_below(path);
                    }
                    paths.insert(path.clone(), Pending::removal());
                }
                Change::MovedAway { .. } | Change::MovedOut { .. } | Change::MovedTo { .. } => match self.0.moves {
                    DirMoves::Log => self.doubt_move(change),
                    DirMoves::Replicate => self.follow_move(change, &mut paths),
                },
                Change::Retaken { path, is_dir } => {
                    if self.0.moves == DirMoves::Log {
                        let scope = if *is_dir { Scope::Subtree } else { Scope::Entry };
                        paths.insert(path.clone(), Pending::new(scope));
                    }
                }
                // A comparison of the directory follows.
                Change::Mounted { .. } | Change::LinksWait(_) | Change::ComparedWithState => (),
                Change::Unmounted { path } => {
                    paths.drop_below(path);
                    self.doubt(path);
                }
            }
        }
        drop(paths);
        self.ring();
    }

    /// Notes a move that the nodes do not follow.
    fn doubt_move(&self, change: &Change) {
        if let Change::MovedAway { path } | Change::MovedOut { path } | Change::MovedTo { to: path, .. } = change {
            self.doubt(path);
        }
    }

    /// Notes a move that the nodes follow: the removal of the old name and all that is at the new one is in the
    /// outboxes, as soon as both names are known.
    fn follow_move(&self, change: &Change, paths: &mut Fold) {
        let mut unsure = self.unsure_names();
        match change {
            Change::MovedAway { path } => {
                unsure.halves.insert(path.clone());
                if unsure.halves.len() > CAP {
                    unsure.halves.clear();
                    unsure.names = BTreeSet::from([RelPath::root()]);
                }
            }
            Change::MovedOut { path: from } | Change::MovedTo { from, .. } => {
                unsure.halves.remove(from);
                paths.drop_below(from);
                paths.insert(from.clone(), Pending::removal());
            }
            _ => (),
        }
        if let Change::MovedTo { from, to } = change {
            // What was in doubt below the old name is so below the new one.
            let moved: Vec<RelPath> = unsure.names.iter().filter_map(|name| name.rebase(from, to)).collect();
            drop(unsure);
            moved.iter().for_each(|name| self.doubt(name));
            paths.insert(to.clone(), Pending::new(Scope::Subtree));
        }
    }

    fn doubt(&self, path: &RelPath) {
        let names = &mut self.unsure_names().names;
        names.insert(path.clone());
        if names.len() > UNSURE {
            *names = BTreeSet::from([RelPath::root()]);
        }
    }

    /// Names of which the nodes may have something else than what is on disk, although nothing is pending: directories
    /// were moved to or from them, which is not mirrored, or a file system was unmounted there. Until the run ends
    /// nothing is saved of them and of what is below, so that the next one compares it. Where the nodes follow moves,
    /// it is so only for a name that a directory left, until it is told where to: before that no outbox has its
    /// removal.
    pub(crate) fn unsure(&self) -> Vec<RelPath> {
        let unsure = self.unsure_names();
        unsure.names.union(&unsure.halves).cloned().collect()
    }

    fn unsure_names(&self) -> MutexGuard<'_, Unsure> {
        self.0.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that everything may differ.
    pub(crate) fn fill(&self) {
        self.lock().fill();
        self.ring();
    }

    /// Notes the reason for which the state cannot be kept, or that it can.
    pub(crate) fn set_trouble(&self, why: Option<String>) {
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// The reason for which the state cannot be kept now.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a node may have got, or may lack, something that the saved state does not tell.
    pub(crate) fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// Waits until something is to be saved.
    pub(crate) async fn rung(&self) {
        self.0.bell.notified().await;
    }

    /// Takes all paths, and leaves none.
    pub(crate) fn take(&self) -> Fold {
        std::mem::replace(&mut *self.lock(), Fold::new(CAP))
    }

    /// Returns the number of paths.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Tells if no path is to be saved.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Puts the paths of a save back that came to nothing.
    pub(crate) fn put_back(&self, taken: Fold) {
        let mut paths = self.lock();
        if taken.is_everything() {
            paths.fill();
        }
        for (path, pending) in taken.iter() {
            paths.put_back(path.clone(), *pending);
        }
    }

    /// Puts paths back that were too fresh to be saved.
    pub(crate) fn put_back_entries(&self, entries: Vec<RelPath>) {
        let mut paths = self.lock();
        for path in entries {
            paths.put_back(path, Pending::new(Scope::Entry));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fold> {
        self.0.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn away(path: &str) -> Change {
        Change::MovedAway { path: rel(path) }
    }

    fn moved(from: &str, to: &str) -> Change {
        Change::MovedTo { from: rel(from), to: rel(to) }
    }

    fn saved(unsaved: &Unsaved) -> Vec<(RelPath, Scope, bool)> {
        unsaved.take().iter().map(|(path, pending)| (path.clone(), pending.scope, pending.is_removal())).collect()
    }

    #[test]
    fn where_moves_are_only_logged_nothing_is_saved_of_their_names() {
        let unsaved = Unsaved::default();
        unsaved.add(&[away("a"), moved("a", "b"), away("c"), Change::MovedOut { path: rel("c") }]);
        assert_eq!(unsaved.unsure(), [rel("a"), rel("b"), rel("c")]);
        assert_eq!(saved(&unsaved), []);
    }

    #[test]
    fn where_the_nodes_follow_both_names_are_saved_as_soon_as_both_are_known() {
        let unsaved = Unsaved::new(DirMoves::Replicate);
        unsaved.add(&[Change::Closed { path: rel("a/x") }, away("a")]);
        assert_eq!(unsaved.unsure(), [rel("a")], "no outbox has its removal");
        unsaved.add(&[moved("a", "b")]);
        assert_eq!(unsaved.unsure(), []);
        assert_eq!(saved(&unsaved), [(rel("a"), Scope::Entry, true), (rel("b"), Scope::Subtree, false)]);
    }

    #[test]
    fn where_the_nodes_follow_a_directory_that_left_the_tree_is_removed() {
        let unsaved = Unsaved::new(DirMoves::Replicate);
        unsaved.add(&[away("a"), away("b"), Change::MovedOut { path: rel("a") }]);
        assert_eq!(unsaved.unsure(), [rel("b")]);
        assert_eq!(saved(&unsaved), [(rel("a"), Scope::Entry, true)]);
    }

    #[test]
    fn what_was_unmounted_in_a_directory_stays_in_doubt_where_that_was_moved_to() {
        let unsaved = Unsaved::new(DirMoves::Replicate);
        unsaved.add(&[Change::Unmounted { path: rel("a/m") }, away("a"), moved("a", "b")]);
        assert_eq!(unsaved.unsure(), [rel("a/m"), rel("b/m")]);
    }
}
