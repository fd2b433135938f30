//! The pending set of one node: what it does not have yet. It outlives the SyncActor that works on it, so a path leaves
//! it only after rsync succeeded on it: a batch is a lease, ended by [`PendingSet::settle`] or
//! [`PendingSet::roll_back_batch`].
//!
//! Here is what becomes of paths in a batch and of a reconcile. What a report does is in `changes`, what others ask in
//! `questions`.

mod beside;
mod changes;
mod detours;
pub(crate) mod names;
mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::outbox::away::Away;
use crate::outbox::fate::Fate;
use crate::outbox::fold::{Fold, longest_waiting};
use crate::outbox::guards::DeletionGuards;
use crate::outbox::lease::{Batch, EndedLease, LeaseId, Leases};
use crate::outbox::links::{Behind, WaitingLinks};
use crate::outbox::need::{Age, Pending, Scope};
use crate::outbox::origins::Origins;
use crate::outbox::reconcile::{NodeReconcile, RecentComparisons};
use crate::outbox::retry::Retry;
use crate::outbox::unfit::UnfitPaths;
use crate::outbox::unset::UnsetPaths;
use crate::path::RelPath;
use crate::patterns::settle::Settle;
use crate::site::DirMoves;
use crate::transport::Lane;
use crate::transport::rename::is_detour;

/// Paths that may wait for one node, some 150 bytes each; past it they collapse to subtrees.
pub(crate) const CAP: usize = 20_000;

/// All that one node does not have yet.
///
/// Between two calls:
/// - at most as many paths wait as the fold has room for: more become a reconcile;
/// - only a subtree holds removals;
/// - at most one batch of the bulk lane is worked on, and no path by two batches of the fast one;
/// - while a comparison of everything is owed, a reconcile is wanted or runs;
/// - of two names that were renamed from the same one, at most one has it as its origin;
/// - no unmounted directory lies below another.
#[derive(Debug)]
pub struct PendingSet {
    waiting: Fold,
    /// The batches that are out.
    leases: Leases,
    reconcile: NodeReconcile,
    away: Away,
    /// The paths that the node has without some of their attributes.
    unset: UnsetPaths,
    /// The names at which the node has the renamed paths that wait.
    origins: Origins,
    /// The symlinks that wait for what they lead to.
    links: WaitingLinks,
    /// The paths that did not fit at the node when they were tried last.
    unfit: UnfitPaths,
    dir_moves: DirMoves,
    /// Directories that were compared as a whole a moment ago.
    compared: RecentComparisons,
    /// All that speaks against deleting.
    guards: DeletionGuards,
    /// The files that wait until they are left alone.
    settle: Settle,
}

impl Default for PendingSet {
    fn default() -> Self {
        PendingSet::new(CAP)
    }
}

impl PendingSet {
    /// An empty set in which up to `cap` paths wait.
    pub fn new(cap: usize) -> Self {
        PendingSet {
            waiting: Fold::new(cap),
            leases: Leases::default(),
            reconcile: NodeReconcile::new(Instant::now()),
            away: Away::default(),
            unset: UnsetPaths::default(),
            origins: Origins::default(),
            links: WaitingLinks::default(),
            unfit: UnfitPaths::default(),
            dir_moves: DirMoves::default(),
            compared: RecentComparisons::default(),
            guards: DeletionGuards::default(),
            settle: Settle::default(),
        }
    }

    /// An empty set of another node, which knows as much of the source.
    pub(crate) fn beside(&self) -> PendingSet {
        PendingSet {
            settle: self.settle.clone(),
            guards: self.guards.beside(),
            dir_moves: self.dir_moves,
            ..PendingSet::new(self.waiting.cap())
        }
    }
}

/// Batches: taken, worked on, settled or rolled back.
impl PendingSet {
    /// Takes the next batch for a lane: paths that are due, up to `paths` of them and `bytes` of names. Not while the
    /// lane works on another.
    pub fn lease(&mut self, lane: Lane, paths: usize, bytes: usize, now: Instant) -> Batch {
        debug_assert!(!self.leases.works(lane), "one batch at a time");
        let due = self.waiting.iter().filter(|(_, pending)| pending.lane == lane && self.due(pending, now) <= now);
        let mut paths = longest_waiting(due, |path, pending| self.is_free(path, pending), paths, bytes);
        self.add_old_names(&mut paths, lane, now);
        self.take(lane, paths, now)
    }

    fn take(&mut self, lane: Lane, paths: Vec<(RelPath, Pending)>, now: Instant) -> Batch {
        let origins = self.origins.take_for(&paths, &self.waiting);
        for (path, pending) in &paths {
            self.waiting.take(path);
            if !path.is_root() || pending.scope != Scope::Entry {
                self.away.unmirrored.begins(path);
            }
        }
        let id = self.leases.add(
            lane,
            paths.iter().map(|(path, pending)| (path.clone(), pending.taken(now))).collect(),
            origins,
        );
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

    /// Notes that rsync has done its work on a batch: its lane is free, and the paths that waited for it may go. The
    /// outcome is said later.
    pub fn worked(&mut self, id: LeaseId) {
        self.leases.worked(id);
        self.let_touch_ups_go();
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
            false => self.leases.forget_older_removal(&path, id),
        }
        if pending.scope == Scope::Subtree {
            self.compared.add(path.clone(), now);
        }
        self.unfit.took(&path);
        self.unset.took(&path, pending.is_removal() || pending.scope == Scope::Subtree);
        if let Some(once_more) = pending.delivered(now) {
            self.put_back(id, path.clone(), once_more);
        }
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
        let now = Instant::now();
        for dir in shared {
            let retry = Retry { not_before: self.leases.touch_up_at(&dir, now), ..Retry::default() };
            self.put_back(id, dir, Pending { age, retry, ..Pending::new(Scope::Entry) });
        }
        self.let_touch_ups_go();
        self.origins.keep(origins, &paths, &self.waiting, keeps);
        paths
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

/// The reconcile, which compares the whole tree.
impl PendingSet {
    /// Takes the reconcile that is wanted, if it may start now.
    pub fn lease_reconcile(&mut self, now: Instant) -> bool {
        let may_start = self.reconcile_due(now).is_some_and(|at| at <= now);
        if may_start {
            // It changes what the node has by any name.
            self.origins.clear();
            self.away.unmirrored.begins_all();
            self.reconcile.start(Fold::new(self.waiting.cap()), self.away.count(), now);
        }
        may_start
    }

    /// Notes that a mount in the source does not answer, or that all of them do: meanwhile a comparison of the whole tree
    /// waits.
    pub(crate) fn cut(&mut self, is_cut: bool) {
        self.reconcile.cut(is_cut);
    }

    /// Ends the reconcile, which succeeded. Returns the time since which the node may lack the paths that failed in it
    /// alone.
    pub fn settle_reconcile(&mut self, now: Instant) -> Instant {
        let Some((ended, since)) = self.reconcile.succeed(now) else { return now };
        self.unset.took_everything();
        self.away.forget_first(ended.moves);
        self.guards.compared(ended.began);
        // What was missing before it began, it has dealt with.
        self.waiting.retain(|_, pending| pending.retry.unreported.is_none_or(|since| since >= ended.began));
        self.compared.add(RelPath::root(), now);
        self.look_again(&ended.beside, ended.again);
        since
    }

    /// Ends the reconcile, which failed on its own account, not the node's: it is tried again after a while. Returns
    /// how often it has failed so.
    pub(crate) fn postpone_reconcile(&mut self, now: Instant, retry: impl Fn(u32) -> Duration) -> u32 {
        let Some((ended, tries)) = self.reconcile.postpone(now, retry) else { return 0 };
        self.look_again(&ended.beside, ended.again);
        tries
    }

    /// Rolls back the reconcile that came to nothing.
    pub fn roll_back_reconcile(&mut self) {
        if let Some(ended) = self.reconcile.break_off() {
            self.look_again(&ended.beside, false);
        }
    }

    /// Looks again at all that was delivered beside a reconcile, or is in flight when it ends: the reconcile may have
    /// overtaken it.
    fn look_again(&mut self, beside: &Fold, again: bool) {
        let now = Instant::now();
        if again {
            self.reconcile.want();
        }
        // What was delivered is only looked at.
        let beside = beside.iter().map(|(path, pending)| (path.clone(), pending.only_looked_at(now)));
        let out = self.leases.iter().map(|(path, pending)| (path.clone(), *pending));
        for (path, pending) in beside.chain(out).collect::<Vec<_>>() {
            self.waiting.put_back(path, pending.after_reconcile());
        }
    }

    /// Asks for a reconcile if so much waits that only the whole tree covers it.
    fn fold_up(&mut self) {
        if let Some(age) = self.waiting.take_everything() {
            self.unfit.clear();
            self.reconcile.owe(age.seen().unwrap_or_else(Instant::now));
        }
    }
}

/// Events of the source, the node and the daemon.
impl PendingSet {
    /// Makes all that failed due now, and all that lacks attributes.
    pub(crate) fn try_now(&mut self) {
        let (unset, more) = self.unset.take();
        for path in unset {
            self.waiting.put_back(path, Pending::new(Scope::Entry));
        }
        if more {
            self.reconcile.want();
        }
        self.waiting.amend(|pending| {
            if pending.retry.tries > 0 {
                pending.retry.not_before = None;
            }
        });
        self.reconcile.try_now();
    }

    /// Ends the pauses of removals and of files that changed while they were sent: the daemon stops.
    pub(crate) fn hurry(&mut self) {
        self.guards.lift_calm();
        self.waiting.amend(|pending| {
            if pending.retry.unrest > 0 {
                pending.retry.not_before = None;
            }
        });
    }

    /// Notes that the source is without its content: no removal is believed that was reported before the content is
    /// back.
    pub(crate) fn source_emptied(&mut self) {
        self.guards.emptied();
    }

    /// Notes that the source is as it must be. If it was not, removals that wait are dropped, and the tree is compared
    /// after a while: until then nothing is deleted but what is reported removed from now on. Returns true if it was
    /// not.
    pub(crate) fn source_returned(&mut self, now: Instant) -> bool {
        let was_emptied = self.guards.returned(now);
        if was_emptied {
            // What the source never had is not missing in it.
            self.waiting.retain(|path, pending| !pending.is_removal() || is_detour(path));
            self.want_reconcile();
        }
        was_emptied
    }
}

#[cfg(test)]
mod tests;
