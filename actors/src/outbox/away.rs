//! Names that directories were moved away from. Where moves are not mirrored, such a name on the node is neither
//! sent nor deleted, until it exists again or the whole tree was reconciled. What differs by that is counted in
//! `Unmirrored`. A plain data structure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::outbox::unmirrored::Unmirrored;
use crate::path::RelPath;

/// Names that are remembered, the latest.
const REMEMBERED: usize = 10_000;

/// The whereabouts of a directory that was moved away from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MovedAway {
    /// The other half of the move has not come yet.
    Unknown,
    /// Its paths wait at the new name, or left the tree.
    Known,
}

/// The names that directories were moved away from.
#[derive(Debug, Default)]
pub(crate) struct Away {
    /// The names, with the order in which directories left them.
    names: BTreeMap<RelPath, (MovedAway, u64)>,
    moves: u64,
    /// The moves that the node does not follow.
    pub(crate) unmirrored: Unmirrored,
}

impl Away {
    /// Tells if a directory was moved away from this name, which has not been seen since.
    pub(crate) fn get(&self, path: &RelPath) -> Option<MovedAway> {
        self.names.get(path).map(|(state, _)| *state)
    }

    /// The names strictly below `dir`.
    pub(crate) fn below(&self, dir: &RelPath) -> Vec<RelPath> {
        if dir.is_root() {
            return self.names.keys().cloned().collect();
        }
        self.names.range(dir.below()).map(|(path, _)| path.clone()).collect()
    }

    /// Notes that a directory was moved away from here.
    pub(crate) fn remember(&mut self, path: &RelPath, state: MovedAway) {
        // A name that exists again is no longer moved away, whatever is said of the move later.
        if state == MovedAway::Known && !self.names.contains_key(path) {
            return;
        }
        let order = self.next();
        self.names.insert(path.clone(), (state, order));
        if self.names.len() > REMEMBERED {
            let oldest = self.names.iter().min_by_key(|(_, (_, order))| *order).map(|(path, _)| path.clone());
            oldest.map(|path| self.names.remove(&path));
        }
    }

    /// Notes that a directory has another name, and the node keeps the old one.
    pub(crate) fn not_followed(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        let orders = [self.next(), self.next()];
        self.unmirrored.moved(from, to, orders, now);
        self.check_old(from);
    }

    /// Notes that a directory left the tree, and the node keeps it.
    pub(crate) fn not_deleted(&mut self, from: &RelPath, now: Instant) {
        let order = self.next();
        self.unmirrored.moved_out(from, order, now);
        self.check_old(from);
    }

    /// Ends a move that was reported late: the name exists again.
    fn check_old(&mut self, from: &RelPath) {
        if !self.names.contains_key(from) {
            self.unmirrored.returned(from);
        }
    }

    /// Takes up a move that an earlier run did not mirror.
    pub(crate) fn resume(&mut self, old: Option<RelPath>, new: Option<RelPath>) {
        let order = self.next();
        self.unmirrored.resume(old, new, order);
    }

    fn next(&mut self) -> u64 {
        self.moves += 1;
        self.moves
    }

    /// Notes that the name exists again. Returns true if it was remembered.
    pub(crate) fn forget(&mut self, path: &RelPath) -> bool {
        self.unmirrored.returned(path);
        self.names.remove(path).is_some()
    }

    /// The number of moves so far.
    pub(crate) fn count(&self) -> u64 {
        self.moves
    }

    /// Settles the first `count` moves.
    pub(crate) fn forget_first(&mut self, count: u64) {
        self.names.retain(|_, (_, order)| *order > count);
        self.unmirrored.forget_first(count);
    }
}
