//! Batches: paths that are taken, worked on, and settled or rolled back.
//!
//! A batch may have names beside its paths: other names of its files, which it takes along since rsync links what is in one
//! list (one that fails is added by itself); and names that it makes at the node for a while
//! ([`detour`](crate::transport::rename::detour)), whose removals empty no source, so that none waits for another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::outbox::fate::Fate;
use crate::outbox::lease::{Batch, EndedLease, LeaseId};
use crate::outbox::links::Behind;
use crate::outbox::need::{Age, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::transport::Lane;

/// The longest time for which the times of a directory are not set, as the batches of the fast lane do not end.
const TIMES_AT_LATEST: Duration = Duration::from_secs(5);

impl PendingSet {
    /// Takes the next batch for a lane: paths that are due, up to `paths` of them and `bytes` of names. Not while the
    /// lane works on another.
    pub fn lease(&mut self, lane: Lane, paths: usize, bytes: usize, now: Instant) -> Batch {
        debug_assert!(!self.leases.works(lane), "one batch at a time");
        for dir in self.compared.second.take_due(now) {
            self.waiting.put_back(dir, Pending::new(Scope::Subtree).only_looked_at(now));
        }
        let paths = self.readiness().batch(lane, paths, bytes, now);
        self.take(lane, paths)
    }

    /// Takes a batch for the fast lane beside those that are worked on.
    pub fn lease_beside(&mut self, paths: usize, bytes: usize, now: Instant) -> Batch {
        let paths = self.readiness().batch_beside(paths, bytes, now);
        self.take(Lane::Fast, paths)
    }

    fn take(&mut self, lane: Lane, paths: Vec<(RelPath, Pending)>) -> Batch {
        let origins = self.origins.take_for(&paths, &self.waiting);
        for (path, pending) in &paths {
            self.waiting.take(path);
            if !path.is_root() || pending.scope != Scope::Entry {
                self.away.unmirrored.begins(path);
            }
        }
        let id = self.leases.add(lane, paths.iter().cloned().collect(), origins);
        Batch { id, paths }
    }

    /// Moves some paths of a batch into the bulk lane.
    pub fn defer(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>) {
        let EndedLease { paths: out, origins, .. } = self.leases.withdraw(id, paths);
        for (path, pending) in out {
            self.waiting.put_back(path, Pending { lane: Lane::Bulk, ..pending });
        }
        origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
        if !paths.is_empty() {
            // A removed path may be the old name of one in the bulk lane: it goes after that.
            self.waiting.amend(|pending| {
                if pending.is_removal() {
                    pending.lane = Lane::Bulk;
                }
            });
        }
    }

    /// Notes that a batch takes these names along: until it ends, nobody else works on them.
    pub(crate) fn takes_along<'n>(&mut self, id: LeaseId, names: impl Iterator<Item = &'n RelPath>) {
        for name in names {
            // What the node has by this name will be something else, perhaps.
            self.origins.disclaim(name, false);
            self.origins.doubt(name);
            self.leases.take_along(id, name.clone());
        }
    }

    /// Notes that the batch makes `via` at the node for a while: it is deleted when the batch has ended.
    pub fn make_for_a_while(&mut self, id: LeaseId, via: RelPath, now: Instant) {
        self.leases.need(id, via.clone());
        // As old as what it is made for: a stop waits for it.
        self.waiting.at(self.leases.oldest(id).unwrap_or(now));
        self.removed(&via, false);
        self.waiting.at(now);
    }

    /// Notes that a batch sends symlinks.
    pub fn sends_links(&mut self, id: LeaseId) {
        self.leases.has_links(id);
    }

    /// Takes what must not go yet out of a batch.
    pub fn hold_back(&mut self, id: LeaseId, behind: &BTreeMap<RelPath, Behind>, now: Instant) {
        if behind.is_empty() {
            return;
        }
        let EndedLease { paths, origins, .. } = self.leases.withdraw(id, &behind.keys().cloned().collect());
        for (path, mut pending) in paths {
            let until = behind.get(&path).and_then(|behind| self.links.held_back(&path, behind, now));
            pending.retry.not_before = until.or(pending.retry.not_before);
            self.waiting.put_back(path, pending);
        }
        origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
    }

    /// Takes paths out of a batch: they wait until then.
    pub(crate) fn let_wait(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>, until: Instant) {
        let EndedLease { paths, origins, .. } = self.leases.withdraw(id, paths);
        for (path, mut pending) in paths {
            pending.retry.not_before = pending.retry.not_before.max(Some(until));
            self.waiting.put_back(path, pending);
        }
        origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
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

    /// Notes that rsync has done its work on a batch: its lane is free, and the paths that waited for it may go. The
    /// outcome is said later.
    pub fn worked(&mut self, id: LeaseId) {
        self.leases.worked(id);
        self.let_times_go();
    }

    /// Notes if the node is behind a long line.
    pub fn set_far(&mut self, is_far: bool) {
        self.leases.set_far(is_far);
    }

    /// Directories that exist again although they were moved away, and those that are found in the place of something
    /// else and are compared as a whole.
    pub fn forget_moves<'p>(&mut self, returned: &BTreeSet<RelPath>, found: impl Iterator<Item = &'p RelPath>) {
        for path in returned {
            self.away.forget(path);
        }
        found.for_each(|path| self.away.unmirrored.compared(path));
    }

    /// Ends a batch, path by path. `retry` says how long a path is left alone that failed so often before. Returns the
    /// paths that failed for the second time since they last changed, and those that do not fit.
    pub fn settle(
        &mut self,
        id: LeaseId,
        now: Instant,
        fate: impl Fn(&RelPath) -> Fate,
        retry: impl Fn(u32) -> Duration,
    ) -> Vec<RelPath> {
        let mut failing = Vec::new();
        let mut sends_failed = false;
        self.unfit.batch_ended();
        let paths = self.end_lease(id, |path, tries| fate(path).keeps_origin(tries));
        for (path, pending) in paths {
            match fate(&path) {
                Fate::Delivered => self.delivered(id, path, pending, now),
                // The newer batch has read what it is now.
                Fate::Changed if self.leases.sent_since(&path, id) => (),
                Fate::Changed => self.put_back(id, path, pending.changed(now)),
                // What came to the name since is on its way, or waits.
                Fate::Spared if self.leases.sent_since(&path, id) || self.waiting.get(&path).is_some() => (),
                Fate::Returned | Fate::Spared => self.put_back(id, path, pending.returned(now)),
                Fate::Left => {
                    self.links.left(&path);
                    self.put_back(id, path, pending);
                }
                Fate::Failed => {
                    sends_failed |= !pending.is_removal();
                    failing.extend((pending.retry.tries == 1).then(|| path.clone()));
                    self.put_back(id, path, pending.failed(now, &retry));
                }
                Fate::Unfit { retry_in } => {
                    failing.extend((!pending.is_failing()).then(|| path.clone()));
                    self.unfit.add(path.clone());
                    self.put_back(id, path, pending.unfit(now, retry_in));
                }
                Fate::Untried { retry_in } => {
                    self.unfit.make_room();
                    self.put_back(id, path, pending.untried(now + retry_in));
                }
                Fate::Unreported { retry_in } => {
                    self.put_back(id, path, pending.missing(now, now + retry_in));
                }
            }
        }
        if sends_failed {
            self.removals_follow_failed(now, retry);
        }
        self.fold_up();
        failing
    }

    /// Notes that the node has a path of a batch.
    fn delivered(&mut self, id: LeaseId, path: RelPath, pending: Pending, now: Instant) {
        match pending.is_removal() {
            true => self.leases.forget_older(&path, id),
            false => self.leases.sent(&path, &pending, id),
        }
        if pending.scope == Scope::Subtree {
            self.compared.recent.add(path.clone(), now);
        }
        self.unfit.took(&path);
        self.unset.took(&path, pending.is_removal() || pending.scope == Scope::Subtree);
        self.reconcile.delivered(path, pending);
    }

    /// Rolls back all batches and the reconcile: everything waits again.
    pub fn roll_back(&mut self) {
        while let Some(newest) = self.leases.newest() {
            self.roll_back_batch(newest);
        }
        self.roll_back_reconcile();
    }

    /// Rolls back a batch that came to nothing.
    pub fn roll_back_batch(&mut self, id: LeaseId) {
        for (path, pending) in self.end_lease(id, |_, _| true) {
            self.put_back(id, path, pending);
        }
        self.fold_up();
    }

    /// `keeps` is asked for each path, with its failed tries, whether its origins are of use for another try.
    fn end_lease(&mut self, id: LeaseId, keeps: impl Fn(&RelPath, u32) -> bool) -> BTreeMap<RelPath, Pending> {
        let EndedLease { paths, shared, origins } = self.leases.end(id);
        paths.keys().for_each(|path| self.links.forget(path, &self.waiting));
        // As old as what made it necessary.
        let age = Age::oldest(paths.values());
        let waits = self.leases.works(Lane::Fast);
        let not_before = waits.then(|| Instant::now() + TIMES_AT_LATEST);
        for dir in shared {
            let pending = match self.leases.are_far() {
                true => Pending::times(age, not_before),
                // It is soon done.
                false => Pending { age, ..Pending::new(Scope::Entry) },
            };
            self.put_back(id, dir, pending);
        }
        self.let_times_go();
        self.origins.keep(origins, &paths, &self.waiting, keeps);
        paths
    }

    /// Lets the directories go of which the times are to be set, if no batch of the fast lane is worked on.
    fn let_times_go(&mut self) {
        if self.leases.are_far() && !self.leases.works(Lane::Fast) {
            self.waiting.amend(|pending| {
                if pending.is_untried_times() {
                    pending.retry.not_before = None;
                }
            });
        }
    }

    /// Puts a path of a batch back, unless a newer batch has deleted it.
    fn put_back(&mut self, id: LeaseId, path: RelPath, pending: Pending) {
        if !self.leases.removed_since(&path, id) {
            self.waiting.put_back(path, pending);
        }
    }

    /// Tries removals again together with a path that has just failed: a removed path may be the old name of it.
    fn removals_follow_failed(&mut self, now: Instant, retry: impl Fn(u32) -> Duration) {
        self.waiting.amend(|pending| *pending = pending.with_what_failed(now, &retry));
    }
}
