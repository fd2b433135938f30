//! The changes that a node does not have yet: a plain data structure without disk, rsync or actor.
//!
//! Each change has the time at which it was added to all outboxes. The time is the same in each outbox, and no later change
//! has an earlier one. So a node has all changes up to a time, but for those that are pending with an earlier time.

pub(crate) mod away;
pub(crate) mod backlog;
mod calm;
pub mod fate;
pub(crate) mod fold;
mod guards;
pub mod lease;
pub(crate) mod links;
pub mod need;
pub(crate) mod origins;
pub mod pending;
pub(crate) mod readiness;
mod reconcile;
pub(crate) mod retry;
pub(crate) mod second_looks;
mod unfit;
pub(crate) mod unmirrored;
pub(crate) mod unsaved;
pub(crate) mod unset;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::pending::PendingSet;
use crate::change::Change;
use crate::site::Site;

/// The pending set of one node, shared by the FilterActor that fills it, the SyncActor that works it off, and the
/// supervisor, which keeps it when the SyncActor dies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    set: Arc<Mutex<PendingSet>>,
    rung: Arc<AtomicBool>,
}

impl Outbox {
    /// An empty outbox for a node of this site.
    pub(crate) fn of(site: &Site) -> Self {
        let outbox = Outbox::default();
        outbox.lock().set_settle(site.settle.clone());
        outbox.lock().set_dir_moves(site.dir_moves);
        outbox
    }

    /// An empty outbox of another node, which knows as much of the source.
    pub(crate) fn beside(&self) -> Self {
        Outbox { set: Arc::new(Mutex::new(self.lock().beside())), rung: Arc::default() }
    }

    /// Locks the set. No two are locked at once but by [`Outbox::add_to_all`]. A panic while the set was locked left it whole: its operations do not call out.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PendingSet> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds changes to all of these outboxes at once: whoever finds one of them in an outbox finds it in the others.
    pub(crate) fn add_to_all<'o>(outboxes: impl Iterator<Item = &'o Outbox>, changes: &[Change]) {
        let mut sets: Vec<_> = outboxes.map(Outbox::lock).collect();
        let now = Instant::now();
        sets.iter_mut().for_each(|set| changes.iter().for_each(|change| set.add(change, now)));
    }

    /// Notes that something was added. Returns true if the SyncActor has to be told: not if it has still to hear of an
    /// earlier addition.
    pub(crate) fn ring(&self) -> bool {
        !self.rung.swap(true, Ordering::AcqRel)
    }

    /// Notes that the SyncActor is about to look: it has to be told of all that is added from now on.
    pub(crate) fn hear(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::path::RelPath;

    #[test]
    fn a_change_that_is_found_in_one_outbox_is_in_all() {
        let changes = [Change::Subtree { path: RelPath::new(b"d").unwrap() }];
        for _ in 0..20 {
            let outboxes: Vec<Outbox> = (0..200).map(|_| Outbox::default()).collect();
            let (first, last) = (outboxes[0].clone(), outboxes[199].clone());
            thread::scope(|scope| {
                scope.spawn(|| Outbox::add_to_all(outboxes.iter(), &changes));
                while first.lock().is_empty() {
                    thread::yield_now();
                }
                assert!(!last.lock().is_empty());
            });
        }
    }
}
