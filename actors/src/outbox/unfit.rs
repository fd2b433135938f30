//! Paths that did not fit at the node when they were tried last, and if something must be deleted there first. A plain
//! data structure.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::outbox::fold::Fold;
use crate::outbox::lease::Leases;
use crate::outbox::need::Pending;
use crate::path::RelPath;

/// The paths that did not fit.
#[derive(Debug, Default)]
pub(super) struct UnfitPaths {
    paths: BTreeSet<RelPath>,
    /// The node was full: removals may make room, whatever links lead to the removed paths.
    needs_room: bool,
}

impl UnfitPaths {
    /// Notes a path that does not fit.
    pub(super) fn add(&mut self, path: RelPath) {
        self.paths.insert(path);
        self.needs_room = true;
    }

    /// Notes that the node is full.
    pub(super) fn make_room(&mut self) {
        self.needs_room = true;
    }

    /// Notes that a batch ended, which may say anew that the node is full.
    pub(super) fn batch_ended(&mut self) {
        self.needs_room = false;
    }

    /// Tells if the node is full.
    pub(super) fn needs_room(&self) -> bool {
        self.needs_room
    }

    /// Forgets a path that the node has.
    pub(super) fn took(&mut self, path: &RelPath) {
        self.paths.remove(path);
    }

    /// Forgets an entry that is gone, and all below it: if they fit is no matter any more.
    pub(super) fn removed(&mut self, path: &RelPath) {
        self.paths.retain(|unfit| unfit != path && !unfit.is_below(path));
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.paths.clear();
    }

    /// Makes the unfit paths due soon, as something was deleted at the node. Where much comes and goes, each further
    /// try is later.
    pub(super) fn room_was_made(&mut self, waiting: &mut Fold, leases: &Leases, now: Instant) {
        self.paths.retain(|path| {
            let is_unfit = waiting.get(path).is_some_and(Pending::is_failing);
            if is_unfit {
                waiting.change(path, |pending| pending.retry.hurry_after_removals(now));
            }
            is_unfit || leases.get(path).is_some()
        });
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        self.paths.iter().map(RelPath::to_string).collect()
    }
}
