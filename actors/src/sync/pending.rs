//! The pending set of one node: what it does not have yet. It outlives the SyncActor that works on it, so a path leaves
//! it only after rsync succeeded on it: a batch is a lease, ended by [`PendingSet::settle`] or
//! [`PendingSet::roll_back_batch`].

pub mod backlog;
mod restless;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::away::{Away, MovedAway};
use super::calm::Calm;
use super::fold::{Fold, Pending, Scope};
use super::lease::{Lane, LeaseId, Leases};
use crate::filter::settle::Settle;
use crate::messages::Change;
use crate::path::RelPath;

mod guards;
mod moves;

/// Paths that may wait for one node, some 150 bytes each; past it they collapse to subtrees.
pub const CAP: usize = 20_000;
/// How late the watcher may report what happened while a directory was compared.
const LATE_REPORTS: Duration = Duration::from_secs(2);

/// Paths that go to the node together.
#[derive(Debug)]
pub struct Batch {
    /// To be named when it ends.
    pub id: LeaseId,
    /// The paths, in order.
    pub paths: Vec<(RelPath, Pending)>,
}

/// What became of one path of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The node has it.
    Delivered,
    /// The node may have something of it: it changed while it was sent.
    Changed,
    /// It failed.
    Failed,
    /// It is missing, and nobody reported its removal yet.
    Unreported {
        /// How long to leave it alone.
        retry_in: Duration,
    },
}

/// The comparison of the whole tree.
#[derive(Debug)]
enum Reconcile {
    /// Nothing asks for one.
    Idle,
    /// One is to be started, not before that time. `tries` counts those that failed since one succeeded.
    Wanted { not_before: Option<Instant>, tries: u32 },
    /// One runs. What is delivered beside it, or in flight when it ends, may be overtaken by it and is looked at again.
    Running {
        tries: u32,
        /// Whether another one was asked for meanwhile.
        again: bool,
        beside: Fold,
        /// How many moves were remembered when it began: it settles those.
        moves: u64,
        started: Instant,
    },
}

/// What one node does not have yet.
#[derive(Debug)]
pub struct PendingSet {
    waiting: Fold,
    /// The batches that are out.
    leases: Leases,
    reconcile: Reconcile,
    last_reconcile: Option<Instant>,
    away: Away,
    /// Directories that were compared as a whole a moment ago: a move in them may be reported only now.
    compared: Vec<(RelPath, Instant)>,
    /// Directories from which a file system was unmounted: what was below them is hidden, not deleted. None lies below
    /// another.
    unmounted: BTreeSet<RelPath>,
    /// When removals may go.
    calm: Calm,
    /// Whether the source was found without its content, and has not been found with it since.
    emptied: bool,
    /// The content came back: until a reconcile that began after this, a comparison deletes nothing.
    careful: Option<Instant>,
    /// Which files wait until they are left alone.
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
        let (waiting, reconcile) = (Fold::new(cap), Reconcile::Idle);
        let (leases, away, unmounted) = (Leases::default(), Away::default(), BTreeSet::new());
        let (compared, calm, emptied, careful, settle) = (Vec::new(), Calm::default(), false, None, Settle::default());
        PendingSet {
            waiting,
            leases,
            reconcile,
            last_reconcile: None,
            away,
            compared,
            unmounted,
            calm,
            emptied,
            careful,
            settle,
        }
    }

    /// Something changed.
    pub fn add(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Touched { path, is_dir: true, rewritten } => self.insert(path, Scope::Entry, *rewritten, None),
            Change::Touched { path, rewritten, .. } => {
                self.insert(path, Scope::Entry, *rewritten, self.settles_until(path, now));
            }
            // In flight, rsync may have read it before, and equal size and time prove nothing then.
            Change::Closed { path } => {
                let in_flight = self.leases.get(path).is_some();
                self.insert(path, Scope::Entry, in_flight, self.settles_until(path, now));
            }
            Change::Subtree { path } if path.is_root() => self.want_reconcile(),
            Change::Subtree { path } => self.insert(path, Scope::Subtree, false, None),
            Change::Level { path } => self.insert(path, Scope::Level, false, None),
            Change::Removed { path, is_dir } => {
                // It was there: whatever was moved away from this name was an earlier one.
                self.away.forget(path);
                self.calm.removed(now);
                if *is_dir {
                    self.unhide(path);
                    self.waiting.drop_below(path);
                }
                self.waiting.insert(path.clone(), Pending::new(Scope::Entry, true));
            }
            Change::MovedAway { path } => self.away.remember(path, MovedAway::Unknown),
            Change::MovedOut { path } => self.away.remember(path, MovedAway::Known),
            Change::MovedTo { from, to } => self.moved(from, to, now),
            Change::Unmounted { path } => self.hide(path),
            Change::Mounted { path } => self.unhide(path),
        }
        if self.waiting.take_everything() {
            self.want_reconcile();
        }
    }

    /// The whole tree is to be compared.
    pub fn want_reconcile(&mut self) {
        match &mut self.reconcile {
            Reconcile::Idle => self.reconcile = Reconcile::Wanted { not_before: None, tries: 0 },
            Reconcile::Wanted { .. } => (),
            Reconcile::Running { again, .. } => *again = true,
        }
    }

    /// When the last reconcile that compared everything ended; `None` before the first.
    pub fn last_reconcile(&self) -> Option<Instant> {
        self.last_reconcile
    }

    /// Whether a reconcile is wanted or runs.
    pub fn reconciles(&self) -> bool {
        !matches!(self.reconcile, Reconcile::Idle)
    }

    /// The number of paths that are not on the node yet; a reconcile counts as one.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.leases.paths() + usize::from(self.reconciles())
    }

    /// Whether the node has everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next batch for a lane: paths that are due, in order, up to `paths` of them and `bytes` of names. Not
    /// while the lane works on another.
    pub fn lease(&mut self, lane: Lane, paths: usize, bytes: usize, now: Instant) -> Batch {
        debug_assert!(!self.leases.works(lane), "one batch at a time");
        let mut room = bytes;
        let due = self.waiting.iter().filter(|(path, pending)| self.may_go(path, pending, lane, now)).take(paths);
        let paths: Vec<(RelPath, Pending)> = due
            .take_while(|(path, _)| {
                let fits = room > 0;
                room = room.saturating_sub(path.as_bytes().len());
                fits
            })
            .map(|(path, pending)| (path.clone(), *pending))
            .collect();
        for (path, _) in &paths {
            self.waiting.take(path);
        }
        let id = self.leases.add(lane, paths.iter().cloned().collect());
        Batch { id, paths }
    }

    /// Some paths of a batch belong into the bulk lane.
    pub fn defer(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>) {
        for (path, pending) in self.leases.withdraw(id, paths) {
            self.waiting.put_back(path, Pending { bulk: true, ..pending });
        }
        if !paths.is_empty() {
            self.removals_follow_bulk();
        }
    }

    /// rsync has done its work on a batch: its lane is free, and what waited for it may go. Whether it succeeded is said
    /// later.
    pub fn worked(&mut self, id: LeaseId) {
        self.leases.worked(id);
    }

    /// Whether a path that is to be listed must wait, in this lane, for what the other one works on.
    pub fn is_blocked(&self, path: &RelPath, lane: Lane) -> bool {
        self.leases.blocks(path, lane)
    }

    /// Whether a batch of this lane is being worked on.
    pub fn works(&self, lane: Lane) -> bool {
        self.leases.works(lane)
    }

    fn may_go(&self, path: &RelPath, pending: &Pending, lane: Lane, now: Instant) -> bool {
        pending.is_due(now)
            && pending.bulk == (lane == Lane::Bulk)
            && !self.waits_for_calm(pending, now)
            && !self.leases.blocks(path, lane)
    }

    /// Whether the removal of this path was reported, and nothing since.
    pub fn is_reported_removed(&self, path: &RelPath) -> bool {
        self.waiting.get(path).or_else(|| self.leases.get(path)).is_some_and(|pending| pending.removed)
    }

    /// Whether this directory was moved away and has not been seen since. Mirroring moves is not our business, so its old
    /// name on the node is neither sent nor deleted, until the name exists again or the whole tree was reconciled.
    pub fn moved_away(&self, path: &RelPath) -> Option<MovedAway> {
        self.away.get(path)
    }

    /// Directories that exist again although they were moved away.
    pub fn forget_moves(&mut self, returned: &BTreeSet<RelPath>) {
        for path in returned {
            self.away.forget(path);
        }
    }

    /// The directories strictly below `dir` that were moved away.
    pub fn moved_away_below(&self, dir: &RelPath) -> Vec<RelPath> {
        self.away.below(dir)
    }

    /// Ends a batch, path by path. `retry` says how long a path is left alone that failed so often before. Returns the
    /// paths that failed for the second time since they last changed.
    pub fn settle(
        &mut self,
        id: LeaseId,
        now: Instant,
        fate: impl Fn(&RelPath) -> Fate,
        retry: impl Fn(u32) -> Duration,
    ) -> Vec<RelPath> {
        let (mut failing, mut sends_failed) = (Vec::new(), false);
        for (path, pending) in self.end_lease(id) {
            match fate(&path) {
                Fate::Delivered => {
                    if pending.removed {
                        self.leases.forget_older(&path, id);
                    }
                    if pending.scope == Scope::Subtree {
                        self.was_compared(path.clone(), now);
                    }
                    if let Reconcile::Running { beside, .. } = &mut self.reconcile {
                        beside.insert(path, pending);
                    }
                }
                // The newer batch has read what it is now.
                Fate::Changed if self.leases.sent_since(&path, id) => (),
                Fate::Changed => {
                    let not_before = Some(now + restless::pause(pending.unrest));
                    let unrest = pending.unrest + 1;
                    let old = Pending { unrest, not_before, rewritten: false, tries: 0, ..pending };
                    self.put_back(id, path, old);
                }
                Fate::Failed => {
                    sends_failed |= !pending.removed;
                    failing.extend((pending.tries == 1).then(|| path.clone()));
                    let mut pause = retry(pending.tries);
                    if pending.removed && pending.tries >= guards::TOGETHER {
                        pause /= 2;
                    }
                    let not_before = Some(now + pause);
                    self.put_back(id, path, Pending { tries: pending.tries + 1, not_before, ..pending });
                }
                Fate::Unreported { retry_in } => {
                    let unreported = pending.unreported.or(Some(now));
                    let not_before = Some(now + retry_in);
                    self.put_back(id, path, Pending { unreported, not_before, ..pending });
                }
            }
        }
        if sends_failed {
            self.removals_follow_failed(now, retry);
        }
        if self.waiting.take_everything() {
            self.want_reconcile();
        }
        failing
    }

    /// All batches and the reconcile that were out came to nothing: everything waits again.
    pub fn roll_back(&mut self) {
        while let Some(newest) = self.leases.newest() {
            self.roll_back_batch(newest);
        }
        self.roll_back_reconcile();
    }

    /// A batch came to nothing.
    pub fn roll_back_batch(&mut self, id: LeaseId) {
        for (path, pending) in self.end_lease(id) {
            self.put_back(id, path, pending);
        }
        if self.waiting.take_everything() {
            self.want_reconcile();
        }
    }

    fn end_lease(&mut self, id: LeaseId) -> BTreeMap<RelPath, Pending> {
        let (paths, shared) = self.leases.end(id);
        for dir in shared {
            self.put_back(id, dir, Pending::new(Scope::Entry, false));
        }
        paths
    }

    /// A path of a batch waits again, unless a newer batch has deleted it.
    fn put_back(&mut self, id: LeaseId, path: RelPath, pending: Pending) {
        if !self.leases.removed_since(&path, id) {
            self.waiting.put_back(path, pending);
        }
    }

    /// Takes the reconcile that is wanted, if it may start now.
    pub fn lease_reconcile(&mut self, now: Instant) -> bool {
        let Reconcile::Wanted { tries, .. } = self.reconcile else { return false };
        if self.reconcile_due(now).is_some_and(|at| at > now) {
            return false;
        }
        let beside = Fold::new(self.waiting.cap());
        self.reconcile = Reconcile::Running { tries, again: false, beside, moves: self.away.count(), started: now };
        true
    }

    /// The reconcile that was out succeeded.
    pub fn settle_reconcile(&mut self, now: Instant) {
        let Reconcile::Running { again, beside, moves, started, .. } =
            std::mem::replace(&mut self.reconcile, Reconcile::Idle)
        else {
            return;
        };
        self.last_reconcile = Some(now);
        self.away.forget_first(moves);
        self.careful.take_if(|since| *since <= started);
        // What was missing before it began, it has dealt with.
        self.waiting.retain(|_, pending| pending.unreported.is_none_or(|since| since >= started));
        self.was_compared(RelPath::root(), now);
        self.look_again(beside, again);
    }

    /// The reconcile that was out failed on its own account, not the node's: it is tried again after a while. Returns how
    /// often it has failed so.
    pub fn postpone_reconcile(&mut self, now: Instant, retry: impl Fn(u32) -> Duration) -> u32 {
        let Reconcile::Running { tries, beside, .. } = std::mem::replace(&mut self.reconcile, Reconcile::Idle) else {
            return 0;
        };
        self.reconcile = Reconcile::Wanted { not_before: Some(now + retry(tries)), tries: tries + 1 };
        self.look_again(beside, false);
        tries + 1
    }

    /// The reconcile that was out came to nothing.
    pub fn roll_back_reconcile(&mut self) {
        if let Reconcile::Running { tries, beside, .. } = std::mem::replace(&mut self.reconcile, Reconcile::Idle) {
            self.reconcile = Reconcile::Wanted { not_before: None, tries };
            self.look_again(beside, false);
        }
    }

    /// When the reconcile that is wanted may start; `None` if none is wanted.
    pub fn reconcile_due(&self, now: Instant) -> Option<Instant> {
        match self.reconcile {
            Reconcile::Wanted { not_before, .. } => {
                // It mirrors all removals that it finds, reported or not.
                [not_before, self.calm.until(now), self.careful].into_iter().flatten().max().or(Some(now))
            }
            Reconcile::Idle | Reconcile::Running { .. } => None,
        }
    }

    /// When a path is due that may take this lane and need not wait for the other; `None` if there is none.
    pub fn next_due(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let ready = |(path, pending): &(&RelPath, &Pending)| {
            pending.bulk == (lane == Lane::Bulk) && !self.leases.blocks(path, lane)
        };
        let (mut soonest, calm) = (None, self.calm.until(now));
        for (_, pending) in self.waiting.iter().filter(ready) {
            let calm = calm.filter(|_| pending.deletes());
            let at = pending.not_before.max(calm).unwrap_or(now);
            if at <= now {
                return Some(now);
            }
            soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at)));
        }
        soonest
    }

    fn look_again(&mut self, mut beside: Fold, again: bool) {
        if again || beside.take_everything() {
            self.want_reconcile();
        }
        let beside: Vec<_> =
            beside.iter().chain(self.leases.iter()).map(|(path, pending)| (path.clone(), *pending)).collect();
        for (path, pending) in beside {
            self.waiting.put_back(path, Pending { rewritten: false, unreported: None, ..pending });
        }
    }

    fn insert(&mut self, path: &RelPath, scope: Scope, rewritten: bool, settled_at: Option<Instant>) {
        let replaced = self.away.forget(path) || self.leases.get(path).is_some_and(|p| p.removed);
        let rewritten = rewritten || replaced;
        let (not_before, settles) = (settled_at, settled_at.is_some());
        self.waiting.insert(path.clone(), Pending { rewritten, not_before, settles, ..Pending::new(scope, false) });
    }

    fn was_compared(&mut self, path: RelPath, now: Instant) {
        self.compared.retain(|(_, at)| now < *at + LATE_REPORTS);
        self.compared.push((path, now));
    }
}

#[cfg(test)]
mod tests;
