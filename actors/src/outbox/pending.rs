//! The pending set of one node: what it does not have yet. It outlives the SyncActor that works on it, so a path leaves
//! it only after rsync succeeded on it: a batch is a lease, ended by [`PendingSet::settle`] or
//! [`PendingSet::roll_back_batch`].

pub mod backlog;
mod guards;
pub(crate) mod links;
mod moves;
mod oldest;
mod reconcile;
mod renames;
mod restless;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::change::Change;
use crate::outbox::away::{Away, MovedAway};
use crate::outbox::calm::Calm;
use crate::outbox::fold::Fold;
use crate::outbox::lease::{Ended, LeaseId, Leases};
use crate::outbox::need::{Age, Pending, Retry, Scope};
use crate::outbox::origins::Origins;
use crate::outbox::pending::links::Links;
use crate::outbox::pending::reconcile::Reconcile;
use crate::outbox::unset::UnsetPaths;
use crate::path::RelPath;
use crate::patterns::settle::Settle;
use crate::site::DirMoves;
use crate::transport::Lane;

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
    /// It was missing, and is there again: the node may have what it was.
    Returned,
    /// It is a symlink that was not sent: what it leads to failed, or it leads elsewhere now.
    Left,
    /// It failed.
    Failed,
    /// It does not fit at the node.
    Unfit {
        /// How long to leave it alone at first: each time, twice as long.
        retry_in: Duration,
    },
    /// It was not tried: what is beside it does not fit at the node, and is no larger.
    Untried {
        /// How long to leave it alone.
        retry_in: Duration,
    },
    /// It is missing, and nobody reported its removal yet.
    Unreported {
        /// How long to leave it alone.
        retry_in: Duration,
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
    /// Since when the node may lack anything, so that a reconcile is owed to it.
    owed_since: Option<Instant>,
    /// The same, of what the reconcile that runs may have missed.
    owed_next: Option<Instant>,
    /// It lacks everything since then, for there was no mirror: until a reconcile that began after this.
    bare: Option<Instant>,
    away: Away,
    /// What it has without some of its attributes.
    unset: UnsetPaths,
    /// Where the node has what waits under another name.
    origins: Origins,
    /// The symlinks that wait for what they lead to.
    links: Links,
    /// What did not fit at the node when it was tried last.
    unfit: BTreeSet<RelPath>,
    dir_moves: DirMoves,
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
        let (origins, links, dir_moves) = (Origins::default(), Links::default(), DirMoves::default());
        PendingSet {
            waiting,
            leases,
            reconcile,
            last_reconcile: None,
            owed_since: None,
            owed_next: None,
            bare: Some(Instant::now()),
            away,
            unset: UnsetPaths::default(),
            origins,
            links,
            unfit: BTreeSet::new(),
            dir_moves,
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
        self.waiting.at(now);
        self.change(change, now);
    }

    /// Something is to be sent that the node lacks since an earlier time.
    pub fn add_since(&mut self, change: &Change, since: Instant, now: Instant) {
        let before =
            change.path().and_then(|path| self.waiting.get(path)).filter(|before| before.is_failing()).copied();
        self.waiting.at(since);
        self.change(change, now);
        self.waiting.at(now);
        // Nothing changed by which it might arrive.
        if let (Some(path), Some(before)) = (change.path(), before) {
            let Retry { tries, not_before, .. } = before.retry;
            self.waiting.change(path, |pending| pending.retry = Retry { tries, not_before, ..pending.retry });
        }
    }

    fn change(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Touched { path, is_dir: true, rewritten } => self.insert(path, Scope::Entry, *rewritten, None),
            Change::Touched { path, rewritten, .. } => {
                self.insert(path, Scope::Entry, *rewritten, self.settles_until(path, now));
            }
            // In flight, rsync may have read it before, and equal size and time prove nothing then.
            Change::Closed { path } => {
                let in_flight = self.leases.get(path).is_some();
                self.insert(path, Scope::Entry, in_flight, self.settles_until(path, now));
                self.waiting.change(path, |pending| pending.proof.closed = true);
            }
            Change::Renamed { from, to } => self.renamed(from, to, now),
            Change::Subtree { path } if path.is_root() => self.want_reconcile(),
            Change::Subtree { path } => self.insert(path, Scope::Subtree, false, None),
            Change::Created { path } => {
                let is_fresh = self.is_unknown(path);
                self.insert(path, Scope::Subtree, false, None);
                self.compares(path, is_fresh);
            }
            Change::Level { path } => self.insert(path, Scope::Level, false, None),
            Change::Removed { path, is_dir } => self.removed(path, *is_dir, now),
            Change::MovedAway { path } => self.away.remember(path, MovedAway::Unknown),
            Change::MovedOut { path } => self.moved_out(path, now),
            Change::MovedTo { from, to } => match self.dir_moves {
                DirMoves::Log => self.moved(from, to, now),
                DirMoves::Replicate => self.replicate(from, to, now),
            },
            Change::Retaken { path, is_dir } => {
                if self.dir_moves == DirMoves::Log {
                    self.insert(path, if *is_dir { Scope::Subtree } else { Scope::Entry }, true, None);
                }
            }
            Change::ComparedWithState => self.away.unmirrored.forget_resumed(),
            Change::Unmounted { path } => self.hide(path),
            Change::Mounted { path } => self.unhide(path),
        }
        self.fold_up();
    }

    /// The number of paths that are not on the node yet; a reconcile counts as one.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.leases.paths() + usize::from(self.reconciles())
    }

    /// Whether the node has everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next batch for a lane: paths that are due, up to `paths` of them and `bytes` of names. Not while the lane
    /// works on another.
    pub fn lease(&mut self, lane: Lane, paths: usize, bytes: usize, now: Instant) -> Batch {
        debug_assert!(!self.leases.works(lane), "one batch at a time");
        let is_calm = self.calm.until(now).is_none();
        let due = self.waiting.iter().filter(|(_, pending)| {
            pending.retry.is_due(now) && pending.lane == lane && (is_calm || !pending.deletes())
        });
        let paths = longest_waiting(due, |path, pending| self.is_free(path, pending, lane), paths, bytes);
        let origins = self.take_origins(&paths);
        for (path, pending) in &paths {
            self.waiting.take(path);
            if !path.is_root() || pending.scope != Scope::Entry {
                self.away.unmirrored.begins(path);
            }
        }
        let id = self.leases.add(lane, paths.iter().cloned().collect(), origins);
        Batch { id, paths }
    }

    /// Some paths of a batch belong into the bulk lane.
    pub fn defer(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>) {
        let Ended { paths: out, origins, .. } = self.leases.withdraw(id, paths);
        for (path, pending) in out {
            self.waiting.put_back(path, Pending { lane: Lane::Bulk, ..pending });
        }
        origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
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

    /// Whether nothing that is out, or waits for another name of it, keeps a path from going.
    fn is_free(&self, path: &RelPath, pending: &Pending, lane: Lane) -> bool {
        let is_source = pending.is_removal() && self.is_to_be_copied(path);
        !is_source && !self.waits_for_leases(path, pending, lane) && !self.waits_for_links(path, pending, lane)
    }

    /// Whether what is out keeps a path from going.
    fn waits_for_leases(&self, path: &RelPath, pending: &Pending, lane: Lane) -> bool {
        let old = self.origins.get(path).map(|origin| &origin.old);
        let is_blocked = |path: &RelPath| self.leases.blocks(path, lane);
        is_blocked(path) || old.is_some_and(is_blocked) || pending.is_removal() && self.leases.needs(path)
    }

    /// Whether the removal of this path was reported, and nothing since.
    pub fn is_reported_removed(&self, path: &RelPath) -> bool {
        self.waiting.get(path).or_else(|| self.leases.get(path)).is_some_and(Pending::is_removal)
    }

    /// Whether this directory was moved away and has not been seen since. Where moves are not mirrored, its old
    /// name on the node is neither sent nor deleted, until the name exists again or the whole tree was reconciled.
    pub fn moved_away(&self, path: &RelPath) -> Option<MovedAway> {
        self.away.get(path)
    }

    /// Directories that exist again although they were moved away, and those that are found in the place of something else
    /// and are compared as a whole.
    pub fn forget_moves<'p>(&mut self, returned: &BTreeSet<RelPath>, found: impl Iterator<Item = &'p RelPath>) {
        for path in returned {
            self.away.forget(path);
        }
        found.for_each(|path| self.away.unmirrored.compared(path));
    }

    /// The directories strictly below `dir` that were moved away.
    pub fn moved_away_below(&self, dir: &RelPath) -> Vec<RelPath> {
        self.away.below(dir)
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
        let (mut failing, mut sends_failed) = (Vec::new(), false);
        self.links.needs_no_room();
        let paths = self.end_lease(id, |path, tries| match fate(path) {
            // What failed twice is sent as it is: the old name is needed no more.
            Fate::Failed | Fate::Unfit { .. } => tries == 0,
            Fate::Untried { .. } | Fate::Unreported { .. } => true,
            Fate::Delivered | Fate::Changed | Fate::Returned | Fate::Left => false,
        });
        for (path, pending) in paths {
            match fate(&path) {
                Fate::Delivered => {
                    if pending.is_removal() {
                        self.leases.forget_older(&path, id);
                    }
                    if pending.scope == Scope::Subtree {
                        self.was_compared(path.clone(), now);
                    }
                    self.unfit.remove(&path);
                    self.unset.took(&path, pending.is_removal() || pending.scope == Scope::Subtree);
                    if let Reconcile::Running { beside, .. } = &mut self.reconcile {
                        beside.insert(path, pending);
                    }
                }
                // The newer batch has read what it is now.
                Fate::Changed if self.leases.sent_since(&path, id) => (),
                Fate::Changed => self.put_back(id, path, pending.changed(now)),
                Fate::Returned => self.put_back(id, path, pending.returned(now)),
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
                    self.unfit.insert(path.clone());
                    self.put_back(id, path, pending.unfit(now, retry_in));
                    self.make_room();
                }
                Fate::Untried { retry_in } => {
                    self.put_back(id, path, pending.untried(now + retry_in));
                    self.make_room();
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

    /// All batches and the reconcile that were out came to nothing: everything waits again.
    pub fn roll_back(&mut self) {
        while let Some(newest) = self.leases.newest() {
            self.roll_back_batch(newest);
        }
        self.roll_back_reconcile();
    }

    /// A batch came to nothing.
    pub fn roll_back_batch(&mut self, id: LeaseId) {
        for (path, pending) in self.end_lease(id, |_, _| true) {
            self.put_back(id, path, pending);
        }
        self.fold_up();
    }

    /// `keeps` is asked for each path, with its failed tries, whether its origins are of use for another try.
    fn end_lease(&mut self, id: LeaseId, keeps: impl Fn(&RelPath, u32) -> bool) -> BTreeMap<RelPath, Pending> {
        let Ended { paths, shared, origins } = self.leases.end(id);
        paths.keys().for_each(|path| self.forget_link(path));
        // As old as what made it necessary.
        let age = paths.values().filter_map(|pending| pending.age.seen()).min().map(Age::since).unwrap_or_default();
        for dir in shared {
            self.put_back(id, dir, Pending { age, ..Pending::new(Scope::Entry) });
        }
        self.keep_origins(origins, &paths, keeps);
        paths
    }

    /// A path of a batch waits again, unless a newer batch has deleted it.
    fn put_back(&mut self, id: LeaseId, path: RelPath, pending: Pending) {
        if !self.leases.removed_since(&path, id) {
            self.waiting.put_back(path, pending);
        }
    }

    /// When a path is due that may take this lane and need not wait for the other; `None` if there is none.
    pub fn next_due(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let ready = |(path, pending): &(&RelPath, &Pending)| pending.lane == lane && self.is_free(path, pending, lane);
        let (mut soonest, calm) = (None, self.calm.until(now));
        for (_, pending) in self.waiting.iter().filter(ready) {
            let calm = calm.filter(|_| pending.deletes());
            let at = pending.retry.not_before.max(calm).unwrap_or(now);
            if at <= now {
                return Some(now);
            }
            soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at)));
        }
        soonest
    }

    fn insert(&mut self, path: &RelPath, scope: Scope, rewritten: bool, settled_at: Option<Instant>) {
        let replaced = self.away.forget(path) || self.leases.get(path).is_some_and(Pending::is_removal);
        let rewritten = rewritten || replaced;
        self.link_changed(path);
        // Of another kind, or of other content below, it is not what was renamed.
        let is_new = self.waiting.get(path).is_some_and(Pending::is_removal);
        self.origins.doubt(path);
        if scope == Scope::Subtree {
            self.away.unmirrored.compared(path);
        }
        if scope != Scope::Entry || is_new || rewritten && self.waiting.is_swallowed(path) {
            self.origins.take(path);
        }
        let retry = Retry::settling(settled_at);
        self.waiting.insert(path.clone(), Pending { retry, ..Pending::new(scope).rewritten(rewritten) });
    }

    fn was_compared(&mut self, path: RelPath, now: Instant) {
        self.compared.retain(|(_, at)| now < *at + LATE_REPORTS);
        self.compared.push((path, now));
    }
}

/// Of those that are free, the ones that the node has lacked for longest, by name: up to `most` of them and about `bytes` of
/// names. Where there are more changes than can be sent, each has its turn.
fn longest_waiting<'a>(
    due: impl Iterator<Item = (&'a RelPath, &'a Pending)>,
    is_free: impl Fn(&RelPath, &Pending) -> bool,
    most: usize,
    bytes: usize,
) -> Vec<(RelPath, Pending)> {
    let mut due: Vec<_> = due.collect();
    let length = |path: &RelPath| path.as_bytes().len();
    if due.len() > most || due.iter().map(|(path, _)| length(path)).sum::<usize>() > bytes {
        due.sort_by_key(|(_, pending)| pending.age.seen());
    }
    let mut room = bytes;
    // Asked last, and of no more than are taken: it takes the time.
    let free = due.into_iter().filter(|(path, pending)| is_free(path, pending)).take(most).take_while(|(path, _)| {
        let fits = room > 0;
        room = room.saturating_sub(length(path));
        fits
    });
    let mut free: Vec<_> = free.map(|(path, pending)| (path.clone(), *pending)).collect();
    free.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    free
}

#[cfg(test)]
mod tests;
