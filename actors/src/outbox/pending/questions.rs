//! Questions that others ask a pending set: the planner's, the age of what the node lacks, and those of a stop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::outbox::away::MovedAway;
use crate::outbox::backlog::Backlog;
use crate::outbox::fold::Fold;
use crate::outbox::lease::LeaseId;
use crate::outbox::links::removes;
use crate::outbox::need::{Pending, Scope, earlier};
use crate::outbox::pending::PendingSet;
use crate::outbox::readiness::NameTurn;
use crate::outbox::retry::{FAILS, Retry};
use crate::outbox::unmirrored::Unmirrored;
use crate::outbox::unset::UnsetPaths;
use crate::path::RelPath;
use crate::transport::Lane;
use crate::transport::plan::Leads;
use crate::transport::rename::Origin;

/// Names of failing paths that are told.
const TOLD: usize = 3;

/// Paths that failed again although nothing changed, while the rest arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FailingPaths {
    /// The number of paths.
    pub paths: usize,
    /// The comparison of everything failed so.
    pub reconcile: bool,
    /// The time at which the oldest change of it was seen.
    pub oldest: Option<Instant>,
    /// The first of the paths.
    pub first: Vec<RelPath>,
}

impl FailingPaths {
    /// The part of the pending paths that fails, with the reconcile as one.
    pub(crate) fn count(&self) -> usize {
        self.paths + usize::from(self.reconcile)
    }
}

/// The planner's questions. The batch is the one that was leased last.
impl PendingSet {
    /// The paths of a batch that the node lacked, each with the time until rsync had done its work on it, or until now.
    pub(crate) fn waited(&self, id: LeaseId, now: Instant) -> impl Iterator<Item = (&RelPath, Duration)> {
        self.leases.waited(id, now)
    }

    /// Tells if the removal of this path was reported, and nothing since.
    pub(crate) fn is_reported_removed(&self, path: &RelPath) -> bool {
        self.waiting.get(path).or_else(|| self.leases.get(path)).is_some_and(Pending::is_removal)
    }

    /// Tells if this very path is a removal that still waits, for a pause or for symlinks.
    pub(crate) fn is_waiting_removal(&self, path: &RelPath, now: Instant) -> bool {
        self.waiting.get(path).is_some_and(|pending| {
            self.guards.holds(pending, now).is_some() || pending.is_removal() && self.readiness().links_wait()
        })
    }

    /// Tells if a path that is to be listed must wait for another batch that is being worked on.
    pub(crate) fn is_blocked(&self, path: &RelPath) -> bool {
        self.leases.blocks(path, self.leases.newest())
    }

    /// Tells if this directory was moved away and has not been seen since. Where moves are not mirrored, its old
    /// name on the node is neither sent nor deleted, until the name exists again or the whole tree was reconciled.
    pub(crate) fn moved_away(&self, path: &RelPath) -> Option<MovedAway> {
        self.away.get(path)
    }

    /// The directories strictly below `dir` that were moved away.
    pub(crate) fn moved_away_below(&self, dir: &RelPath) -> Vec<RelPath> {
        self.away.below(dir)
    }

    /// The first `most` files below a directory that still settle: a comparison of the directory leaves them out.
    pub(crate) fn settling_below(&self, dir: &RelPath, now: Instant, most: usize) -> Vec<RelPath> {
        let settles = |retry: &Retry| retry.settles && !retry.is_due(now);
        let settling = self.waiting.entries_below(dir).filter(|(_, pending)| settles(&pending.retry));
        settling.map(|(path, _)| path.clone()).take(most).collect()
    }

    /// Tells if the content of the source may be on its way still, so that a comparison must not delete.
    pub(crate) fn is_careful(&self) -> bool {
        self.guards.is_careful()
    }

    /// The directories below which a comparison of everything must not delete.
    pub(crate) fn kept_in_reconcile(&self) -> BTreeSet<RelPath> {
        if self.guards.is_incomplete() {
            BTreeSet::from([RelPath::root()])
        } else {
            self.hidden_about(&RelPath::root())
        }
    }

    /// Tells if a file system was unmounted above this path, so that it is hidden and not deleted.
    pub(crate) fn is_hidden(&self, path: &RelPath) -> bool {
        self.guards.is_hidden(path)
    }

    /// The directories whose content at the node is hidden here by an unmount, as far as a comparison of `top` meets
    /// them.
    pub(crate) fn hidden_about(&self, top: &RelPath) -> BTreeSet<RelPath> {
        self.guards.hidden_about(top)
    }

    /// The name at which the node has a path of the batch.
    pub(crate) fn origin(&self, path: &RelPath) -> Option<&Origin> {
        self.leases.origin(path)
    }

    /// The origins of all that is strictly below a directory.
    pub(crate) fn origins_below(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Origin)> {
        self.leases.origins_below(dir)
    }

    /// Tells if something of what a symlink of the batch leads to is not at the node, beside what is in that batch.
    pub(crate) fn awaits(&self, link: &RelPath, leads: &Leads) -> bool {
        self.links.awaits(link, leads, &self.waiting, &self.leases)
    }

    /// The time since which a symlink has waited while it said the same.
    pub(crate) fn link_waits_since(&self, link: &RelPath, text: &[u8]) -> Option<Instant> {
        self.links.since(link, text)
    }

    /// Tells if removals need not wait for symlinks, as they make room.
    pub(crate) fn needs_room(&self) -> bool {
        self.unfit.needs_room()
    }
}

/// Questions of the lanes: which paths may go, and when.
impl PendingSet {
    /// Tells if a batch of this lane is being worked on.
    pub fn works(&self, lane: Lane) -> bool {
        self.leases.works(lane)
    }

    /// The number of batches of the fast lane that are being worked on.
    pub(crate) fn fast_at_work(&self) -> usize {
        self.leases.working(Lane::Fast)
    }

    /// The time at which a path is due that may take this lane and need not wait for what is worked on; `None` if there
    /// is none.
    pub fn next_due(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let looks = self.compared.second.next().filter(|_| lane == Lane::Fast);
        earlier(self.readiness().next_due(lane, now), looks)
    }

    /// The time at which another batch of the fast lane may be taken beside those that are worked on, as far as it
    /// depends on what waits; `None` if there is none.
    pub fn next_beside(&self, now: Instant) -> Option<Instant> {
        self.readiness().next_beside(now)
    }

    /// Decides if a batch takes a name along.
    pub(crate) fn name_turn(&self, name: &RelPath, batch: LeaseId) -> NameTurn {
        self.readiness().name_turn(name, batch)
    }

    /// Tells if a path of a batch goes without the other names of its file when it has failed once more.
    pub(crate) fn gives_up_names(&self, id: LeaseId) -> bool {
        self.leases.of(id).any(|pending| pending.retry.tries + 1 >= FAILS)
    }

    /// The time at which the wanted reconcile may start; `None` if none is wanted.
    pub(crate) fn reconcile_due(&self, now: Instant) -> Option<Instant> {
        self.reconcile.due(self.guards.holds_reconcile(now), now)
    }
}

/// Questions of lack. A change is known by the time `at` which it was seen; a comparison of everything that is
/// owed may find any change.
impl PendingSet {
    /// The number of paths that are not on the node yet; a reconcile counts as one.
    pub(crate) fn len(&self) -> usize {
        let looks = self.compared.second.len();
        self.waiting.len() + looks + self.leases.paths() + usize::from(self.reconciles())
    }

    /// Tells if the node has everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of paths that the node is known to lack: without a reconcile that only looks for what it lacks.
    pub(crate) fn lacking(&self) -> usize {
        self.len() - usize::from(self.reconcile.only_looks())
    }

    /// All paths that wait or are in flight.
    fn pending(&self) -> impl Iterator<Item = (&RelPath, &Pending)> {
        self.waiting.iter().chain(self.leases.iter())
    }

    /// The time since which the oldest change is on its way that can still arrive by itself; `None` if there is none.
    /// The node has whatever was seen before, but for what fails.
    pub(crate) fn on_its_way_since(&self) -> Option<Instant> {
        let paths = self.pending().filter_map(|(_, pending)| pending.on_its_way_since());
        paths.chain(self.reconcile.on_its_way_since()).min()
    }

    /// The paths that failed again although nothing changed, waiting for their next try or having it now.
    pub(crate) fn failing(&self) -> FailingPaths {
        let all = || self.pending().filter(|(_, pending)| pending.is_failing());
        let oldest = all().filter_map(|(_, pending)| pending.age.lacking_since());
        FailingPaths {
            paths: all().count(),
            reconcile: self.reconcile.is_failing(),
            oldest: oldest.chain(self.reconcile.failing_since()).min(),
            first: all().map(|(path, _)| path.clone()).take(TOLD).collect(),
        }
    }

    /// The time since which the node lacks this path, if it is failing, and that of its next try; `None` while it is
    /// tried.
    pub(crate) fn failing_since(&self, path: &RelPath) -> Option<(Option<Instant>, Option<Instant>)> {
        let waiting = self.waiting.get(path).map(|pending| (pending, pending.retry.not_before));
        let (pending, next) = waiting.or_else(|| Some((self.leases.get(path)?, None)))?;
        pending.is_failing().then(|| (pending.age.lacking_since(), next))
    }

    /// The time since which the node lacks the oldest directory above this path that is in flight.
    pub(crate) fn in_flight_above_since(&self, path: &RelPath) -> Option<Instant> {
        path.ancestors().filter_map(|dir| self.leases.get(&dir)?.age.seen()).min()
    }

    /// Tells if anything is pending about this path: at it, above it, or below it, with which the directories above are
    /// sent.
    pub(crate) fn is_pending(&self, path: &RelPath) -> bool {
        self.reconciles()
            || self.covers(path, |_| true)
            || self.waiting.entries_below(path).next().is_some()
            || self.leases.iter().any(|(out, _)| out.is_below(path))
    }

    /// Tells if a change of this path that was seen until `at` is known not to be at the node.
    pub(crate) fn lacks(&self, path: &RelPath, at: Instant) -> bool {
        self.covers(path, |pending| pending.is_seen_until(at))
    }

    /// Tells if a change of this path that was seen until `at` may not be at the node: the node lacks it, or a
    /// reconcile that is owed may find it, or one that runs may overtake it, as it was sent beside that.
    pub(crate) fn may_lack(&self, path: &RelPath, at: Instant) -> bool {
        let is_overtaken = |beside: &Fold| {
            covering(path).any(|(dir, least)| {
                beside.get(&dir).is_some_and(|pending| pending.reaches(least) && pending.is_seen_until(at))
            })
        };
        self.lacks(path, at) || self.reconcile.owes(at) || self.reconcile.beside().is_some_and(is_overtaken)
    }

    /// Tells if a path that was seen until `at` can still arrive by itself, whatever becomes of a reconcile.
    pub(crate) fn brings_any(&self, at: Instant) -> bool {
        self.pending().any(|(_, pending)| pending.is_seen_until(at) && !pending.is_failing())
    }

    /// Tells if any change that was seen until `at` may not be at the node.
    pub(crate) fn may_lack_any(&self, at: Instant) -> bool {
        let beside = self.reconcile.beside().into_iter().flat_map(Fold::iter);
        self.reconcile.owes(at) || self.pending().chain(beside).any(|(_, pending)| pending.is_seen_until(at))
    }

    /// Tells if a path, or what covers it, waits or is in flight and meets a condition.
    fn covers(&self, path: &RelPath, is_so: impl Fn(&Pending) -> bool) -> bool {
        covering(path).any(|(dir, least)| {
            let mut entries = self.waiting.get(&dir).into_iter().chain(self.leases.all(&dir));
            entries.any(|pending| pending.reaches(least) && is_so(pending))
        })
    }

    /// The time at which the last reconcile that compared everything ended; `None` before the first.
    pub(crate) fn last_reconcile(&self) -> Option<Instant> {
        self.reconcile.last()
    }

    /// Tells if a reconcile is wanted or runs.
    pub(crate) fn reconciles(&self) -> bool {
        self.reconcile.is_pending()
    }

    /// The paths that the node has without some of their attributes.
    pub(crate) fn unset(&mut self) -> &mut UnsetPaths {
        &mut self.unset
    }

    /// The directory moves that the node does not follow.
    pub(crate) fn unmirrored(&mut self) -> &mut Unmirrored {
        &mut self.away.unmirrored
    }
}

/// The rules of the type.
impl PendingSet {
    /// Names the rules of the type that do not hold: none, whatever was called.
    #[doc(hidden)]
    pub fn broken_rules(&self) -> Vec<&'static str> {
        let is_sound = |(_, pending): (&RelPath, &Pending)| !pending.holds_removals || pending.scope == Scope::Subtree;
        let rules = [
            (self.waiting.len() <= self.waiting.cap() && !self.waiting.is_everything(), "more waits than has room"),
            (self.pending().all(is_sound), "what is no subtree holds removals"),
            (self.leases.is_sound(), "two batches are worked on that must not"),
            (self.reconcile.is_sound(), "a reconcile is owed, and none is wanted"),
            (self.origins.is_sound(), "two names have the same origin"),
            (self.guards.is_sound(), "an unmounted directory lies below another"),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, broken)| broken).collect()
    }
}

/// Questions of a stop.
impl PendingSet {
    /// Tells if something that was seen until `at` is on its way to the node, or may be overtaken by what is.
    pub(crate) fn is_sending(&self, at: Instant) -> bool {
        let is_seen = |(_, pending): (&RelPath, &Pending)| pending.is_seen_until(at);
        let beside = self.reconcile.beside();
        beside.is_some_and(|beside| self.reconcile.owes(at) || beside.iter().any(is_seen))
            || self.leases.iter().any(is_seen)
    }

    /// Tells if something that was seen until `at` can go to the node by `soon`, or waits for nothing but what is in
    /// flight.
    pub(crate) fn is_to_go(&self, at: Instant, now: Instant, soon: Instant) -> bool {
        if self.reconcile.owes(at) && self.reconcile_due(now).is_some_and(|due| due <= soon) {
            return true;
        }
        let ready = self.readiness();
        self.waiting.iter().any(|(path, pending)| {
            let due = ready.due(pending, now);
            let waits_for_links = || removes(pending) && self.leases.has_links_at_work();
            pending.is_seen_until(at)
                && (due <= soon || pending.is_untried_times())
                && (ready.is_free(path, pending) || ready.waits_for_leases(path, pending) || waits_for_links())
        })
    }

    /// All that the node does not have yet: what waits and what is in flight.
    pub(crate) fn backlog(&self) -> Backlog {
        // It is tried again then.
        let reconcile = self.reconcile.is_needed() || self.unset.has_more();
        let entry = |path: &RelPath| (path.clone(), Pending::new(Scope::Entry));
        let mut paths: BTreeMap<RelPath, Pending> = self.unset.paths().map(entry).collect();
        let look = |dir: &RelPath| (dir.clone(), Pending::new(Scope::Subtree));
        paths.extend(self.compared.second.dirs().map(look));
        // What waits is newer than what is in flight.
        for (path, pending) in self.leases.iter().chain(self.waiting.iter()) {
            let merged = paths.get(path).map_or(*pending, |older| older.followed_by(*pending));
            paths.insert(path.clone(), merged);
        }
        Backlog::new(reconcile, paths, &self.away)
    }
}

/// The entries that are about a path: its own, and each above it with the least part that holds the path.
fn covering(path: &RelPath) -> impl Iterator<Item = (RelPath, Scope)> {
    let parent = path.parent();
    let top = parent.clone().filter(RelPath::is_root);
    let above = path.ancestors().chain(top).map(move |dir| {
        let least = if parent.as_ref() == Some(&dir) { Scope::Level } else { Scope::Subtree };
        (dir, least)
    });
    [(path.clone(), Scope::Entry)].into_iter().chain(above)
}
