//! Batches of the fast lane that go beside others. Over a long line rsync needs round trips until it says that its work is
//! done: changes that have nothing to do with what is worked on need not wait for that.
//!
//! Only the content of files and the attributes of directories go beside. As soon as something else is due that could go, no
//! further batch is taken: so the lane gets free, and that goes alone. So it is with a directory above what is worked on,
//! once it has waited for long.

use std::time::Instant;

use crate::outbox::fold::longest_waiting;
use crate::outbox::lease::Batch;
use crate::outbox::need::{PathNeed, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::outbox::retry::Retry;
use crate::path::RelPath;
use crate::transport::Lane;

/// Where more paths are due, no batch goes beside others: they fill the next one.
const MANY: usize = 1000;

/// What follows from a path that is due while batches of the fast lane are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It may go beside them.
    Beside,
    /// It waits for one of them, or something else, which ends whatever goes beside.
    Later,
    /// It goes when none is worked on.
    Alone,
}

impl PendingSet {
    /// The number of batches of the fast lane that are being worked on.
    pub(crate) fn fast_at_work(&self) -> usize {
        self.leases.working(Lane::Fast)
    }

    /// The time at which another batch of the fast lane may be taken beside those that are worked on, as far as it
    /// depends on what waits; `None` if there is none.
    pub fn next_beside(&self, now: Instant) -> Option<Instant> {
        let mut soonest = None;
        let mut due = 0;
        for (path, pending) in self.waiting.iter().filter(|(_, pending)| pending.lane == Lane::Fast) {
            let at = self.due_beside(path, pending, now);
            due += usize::from(at <= now);
            if due > MANY {
                return None;
            }
            match if at <= now { self.turn(path, pending) } else { Turn::Beside } {
                Turn::Beside => soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at))),
                Turn::Later => (),
                Turn::Alone => return None,
            }
        }
        soonest
    }

    /// Takes a batch for the fast lane beside those that are worked on.
    pub fn lease_beside(&mut self, paths: usize, bytes: usize, now: Instant) -> Batch {
        let is_due = |path: &RelPath, pending: &Pending| self.due_beside(path, pending, now) <= now;
        let due = self.waiting.iter().filter(|(path, pending)| pending.lane == Lane::Fast && is_due(path, pending));
        let goes = |path: &RelPath, pending: &Pending| self.turn(path, pending) == Turn::Beside;
        let mut paths = longest_waiting(due, goes, paths, bytes);
        // A directory that goes before its time is one that waits no longer, whatever becomes of the batch.
        for (_, pending) in &mut paths {
            pending.retry.not_before = None;
        }
        self.leases.goes_beside();
        self.take(Lane::Fast, paths, now)
    }

    /// Takes back a batch of which nothing was sent.
    pub fn take_back(&mut self, batch: &Batch) {
        let paths = batch.paths.iter().map(|(path, _)| path.clone()).collect();
        let out = self.leases.withdraw(batch.id, &paths);
        self.leases.end(batch.id);
        for (path, pending) in out.paths {
            self.waiting.put_back(path, pending);
        }
        out.origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
        self.fold_up();
    }

    /// Lets the directories go that waited to be sent once more, if no batch of the fast lane is worked on.
    pub(super) fn let_touch_ups_go(&mut self) {
        for (dir, until) in self.leases.touch_ups() {
            self.waiting.change(&dir, |pending| {
                // Something else may have become of it.
                if pending.retry.not_before == Some(until) {
                    pending.retry.not_before = None;
                }
            });
        }
    }

    /// The time at which a path is due. A directory that is to be sent once more is so as soon as nothing below it is
    /// worked on.
    fn due_beside(&self, path: &RelPath, pending: &Pending, now: Instant) -> Instant {
        match self.due(pending, now) {
            at if at > now && self.leases.is_touch_up(path, at) && self.is_free(path, pending) => now,
            at => at,
        }
    }

    fn turn(&self, path: &RelPath, pending: &Pending) -> Turn {
        match self.is_free(path, pending) {
            true if self.is_plain(path, pending) => Turn::Beside,
            true => Turn::Alone,
            false if self.leases.starves(path) => Turn::Alone,
            false => Turn::Later,
        }
    }

    /// Tells if a path may be a file of which the content changed, or a directory with other attributes, and nothing else is
    /// to be done about it.
    fn is_plain(&self, path: &RelPath, pending: &Pending) -> bool {
        let Pending { scope, need, departed, retry: Retry { tries, unreported, .. }, .. } = *pending;
        !path.is_root()
            && (scope, need) == (Scope::Entry, PathNeed::Update)
            && !departed
            && (tries, unreported) == (0, None)
            && self.origins.get(path).is_none()
            && !self.links.know(path)
    }
}
