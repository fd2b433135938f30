//! The pending set of one node: what it does not have yet. It outlives the SyncActor that works on it, so a path leaves
//! it only after rsync succeeded on it: a batch is a lease, ended by [`PendingSet::settle`] or
//! [`PendingSet::roll_back_batch`].
//!
//! Here is what becomes of a reconcile, and what events other than reports do. What becomes of paths in a batch is in
//! `batches`, what a report does in `changes`, what others ask in `questions`.

mod batches;
mod changes;
mod questions;

use std::time::{Duration, Instant};

use crate::outbox::away::Away;
use crate::outbox::backlog::Backlog;
use crate::outbox::fold::{CAP, Fold};
use crate::outbox::guards::DeletionGuards;
use crate::outbox::lease::Leases;
use crate::outbox::links::WaitingLinks;
use crate::outbox::need::{Pending, Scope};
use crate::outbox::origins::Origins;
use crate::outbox::readiness::Readiness;
use crate::outbox::reconcile::NodeReconcile;
use crate::outbox::retry::FAILS;
use crate::outbox::second_looks::Comparisons;
use crate::outbox::unfit::UnfitPaths;
use crate::outbox::unset::UnsetPaths;
use crate::path::RelPath;
use crate::patterns::settle::Settle;
use crate::site::DirMoves;
use crate::transport::rename::is_detour;

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
    /// Directories that were compared as a whole a moment ago, and those that are compared once more.
    compared: Comparisons,
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
            compared: Comparisons::default(),
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

    /// The parts that decide which paths go, and when.
    fn readiness(&self) -> Readiness<'_> {
        let PendingSet { waiting, leases, origins, links, unfit, guards, .. } = self;
        Readiness { waiting, leases, origins, links, unfit, guards }
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
        self.compared.recent.add(RelPath::root(), now);
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

/// Differences at the node that nobody reported.
impl PendingSet {
    /// Asks for a comparison of the whole tree: the node may lack anything of it.
    pub fn want_reconcile(&mut self) {
        self.reconcile.owe(Instant::now());
    }

    /// Lets removals wait while the source is a mirror that is not complete, or go. Returns true if they had waited: what
    /// was compared meanwhile is compared again.
    pub(crate) fn hold_removals(&mut self, incomplete: bool) -> bool {
        let released = self.guards.hold_removals(incomplete);
        if released {
            self.want_reconcile();
        }
        released
    }

    /// Asks for a comparison of the whole tree, although nothing is known that the node lacks.
    pub(crate) fn want_resync(&mut self) {
        self.reconcile.want();
    }

    /// Notes that the mirror did not exist: whatever the node had is lost. Returns true if that is a surprise.
    pub(crate) fn mirror_lost(&mut self, now: Instant) -> bool {
        self.reconcile.mirror_lost(now)
    }

    /// Adds a part of what was sent, which is to be looked at by itself.
    pub(crate) fn put_apart(&mut self, path: RelPath, pending: Pending) {
        self.waiting.put_back(path, pending);
    }

    /// Adds a directory that is compared once more at that time, whatever is found before: until then the node's kernel may
    /// report entries that the node does not have.
    pub(crate) fn look_once_more(&mut self, dir: RelPath, at: Instant) {
        if !self.compared.second.add(dir, at) {
            self.reconcile.want();
        }
    }

    /// Adds a file that a comparison of more found not to fit at the node: it is tried by itself, not before that time.
    /// Returns true if that is news.
    pub(crate) fn set_aside(&mut self, path: RelPath, rewritten: bool, since: Instant, not_before: Instant) -> bool {
        if self.waiting.get(&path).is_some_and(Pending::is_failing) {
            return false;
        }
        self.unfit.add(path.clone());
        self.put_apart(path, Pending::new(Scope::Entry).rewritten(rewritten).lacked(since, FAILS, not_before));
        true
    }

    /// Notes that the node is full: removals may make room, whatever links lead to the removed paths.
    pub(crate) fn make_room(&mut self) {
        self.unfit.make_room();
    }

    /// Makes the unfit paths due soon, as something was deleted at the node.
    pub(crate) fn room_was_made(&mut self, now: Instant) {
        self.unfit.room_was_made(&mut self.waiting, &self.leases, now);
    }

    /// Adds the root: its attributes are to be sent.
    pub(crate) fn touch_root(&mut self) {
        self.waiting.insert(RelPath::root(), Pending::new(Scope::Entry));
    }

    /// Takes up the backlog of an earlier run. What it did not mirror of directory moves counts until all that differs
    /// is told ([`ComparedWithState`](crate::change::Change::ComparedWithState)): then that is pending.
    pub(crate) fn resume(&mut self, backlog: &Backlog) {
        self.waiting.at(Instant::now());
        if backlog.reconcile {
            self.want_reconcile();
        }
        for (path, pending) in backlog.pending() {
            self.waiting.insert(path.clone(), pending);
        }
        for (old, new) in backlog.moves() {
            self.away.resume(old.cloned(), new.cloned());
        }
        self.fold_up();
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
