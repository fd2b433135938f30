//! Decides which changes reach the nodes, and puts them into every node's outbox. Never touches the disk.

use std::collections::BTreeMap;
use std::time::Instant;

use actix::prelude::*;
use slog::{Logger, debug};

use crate::change::Change;
use crate::ending::EndsDaemon;
use crate::messages::{
    Alive, Compare, DirMove, Exclude, Flush, Flushed, Observed, Passed, Reason, Rescan, Serve, Vacate, Wake,
};
use crate::outbox::Outbox;
use crate::outbox::unsaved::Unsaved;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;

/// One node as the filter sees it.
struct Seat {
    outbox: Outbox,
    /// The SyncActor that serves it, `None` before the first.
    wake: Option<Recipient<Wake>>,
}

/// Where the filter passes on what is not a change.
#[derive(Clone)]
pub struct Outlets {
    /// Subtrees of which track was lost.
    pub rescans: Recipient<Rescan>,
    /// Directory moves, for the log.
    pub moves: Recipient<DirMove>,
    /// The end of a flush.
    pub flushed: Recipient<Flushed>,
    /// Other patterns hold.
    pub excluded: Recipient<Exclude>,
}

/// The StateActor as the filter sees it.
#[derive(Clone)]
pub struct Keeper {
    /// What it is to save.
    pub unsaved: Unsaved,
    /// Finds out what was missed.
    pub compare: Recipient<Compare>,
    /// Is asked whether all that was found is on its way.
    pub flush: Recipient<Flush>,
    /// Hears when a barrier was passed.
    pub passed: Recipient<Passed>,
}

/// SupervisorActor -> FilterActor: from now on the state of the site is kept.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Kept(pub Keeper);

/// Drops what is excluded and hands the rest to every node.
///
/// Receives: [`Observed`], [`Rescan`], [`DirMove`], [`Flush`], [`Passed`], [`Exclude`], [`Serve`], [`Vacate`], [`Kept`].
/// Sends: [`Wake`], to the StateActor what concerns the [`Keeper`], and to the supervisor what is no change. A change is
/// stored before the SyncActor is woken, so a SyncActor that dies loses nothing. A panic ends the daemon.
pub struct FilterActor {
    excludes: Excludes,
    /// By the number of the node.
    seats: BTreeMap<usize, Seat>,
    /// `None` if no state is kept.
    keeper: Option<Keeper>,
    outlets: Outlets,
    /// The last directory that was asked about, with its verdict: changes come in runs.
    verdict: Option<(RelPath, bool)>,
    log: Logger,
    _guard: EndsDaemon,
}

impl FilterActor {
    /// A filter in front of these outboxes, each with the number of its node.
    pub fn new(
        excludes: Excludes,
        outboxes: impl IntoIterator<Item = (usize, Outbox)>,
        outlets: Outlets,
        log: Logger,
        guard: EndsDaemon,
    ) -> Self {
        let seats = outboxes.into_iter().map(|(slot, outbox)| (slot, Seat { outbox, wake: None })).collect();
        FilterActor { excludes, seats, keeper: None, outlets, verdict: None, log, _guard: guard }
    }

    fn passes(&mut self, change: &Change) -> bool {
        match change {
            Change::Touched { path, is_dir, .. }
            | Change::Removed { path, is_dir }
            | Change::Retaken { path, is_dir } => !self.is_excluded(path, *is_dir),
            Change::Closed { path } | Change::Renamed { to: path, .. } => !self.is_excluded(path, false),
            Change::Subtree { path } | Change::Created { path } | Change::Level { path } => {
                !self.is_excluded(path, true)
            }
            // The watcher does not watch excluded directories: it reports none of these for one.
            Change::MovedAway { .. }
            | Change::MovedTo { .. }
            | Change::MovedOut { .. }
            | Change::Unmounted { .. }
            | Change::Mounted { .. }
            | Change::ComparedWithState => true,
        }
    }

    /// What had an excluded name is new to the nodes.
    fn forget_excluded_name(&mut self, change: &mut Change) {
        if let Change::Renamed { from, to } = change
            && self.is_excluded(from, false)
        {
            *change = Change::Touched { path: to.clone(), is_dir: false, rewritten: true };
        }
    }

    fn is_excluded(&mut self, path: &RelPath, is_dir: bool) -> bool {
        let Some(dir) = path.parent() else { return false };
        let known = self.verdict.take().filter(|(known, _)| *known == dir).map(|(_, verdict)| verdict);
        let verdict = known.unwrap_or_else(|| self.excludes.excludes(&dir, true));
        self.verdict = Some((dir, verdict));
        verdict || self.excludes.matching(path, is_dir).is_some()
    }

    fn hand_out(&self, changes: &[Change]) {
        let now = Instant::now();
        for seat in self.seats.values() {
            let mut outbox = seat.outbox.lock();
            changes.iter().for_each(|change| outbox.add(change, now));
            drop(outbox);
            if let Some(wake) = seat.wake.as_ref().filter(|_| seat.outbox.ring()) {
                wake.do_send(Wake);
            }
        }
        // After the outboxes: what is saved of the tree must not be ahead of what is saved of them.
        if let Some(keeper) = &self.keeper {
            keeper.unsaved.add(changes);
        }
    }
}

impl Actor for FilterActor {
    type Context = Context<Self>;
}

impl Handler<Observed> for FilterActor {
    type Result = ();

    fn handle(&mut self, Observed(mut changes): Observed, _: &mut Self::Context) {
        changes.iter_mut().for_each(|change| self.forget_excluded_name(change));
        changes.retain(|change| {
            let passes = self.passes(change);
            debug!(self.log, "change"; "what" => %change, "excluded" => !passes);
            passes
        });
        if !changes.is_empty() {
            self.hand_out(&changes);
        }
    }
}

impl Handler<Alive> for FilterActor {
    type Result = bool;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> bool {
        true
    }
}

impl Handler<Rescan> for FilterActor {
    type Result = ();

    fn handle(&mut self, rescan: Rescan, _: &mut Self::Context) {
        match &self.keeper {
            // The state tells what differs; without it all has to be compared at the nodes.
            Some(keeper) if matches!(rescan.reason, Reason::Overflow | Reason::UnknownWatch | Reason::Outrun) => {
                keeper.compare.do_send(Compare { unsaved_names: true });
            }
            _ => self.hand_out(&[Change::Subtree { path: rescan.subtree.clone() }]),
        }
        self.outlets.rescans.do_send(rescan);
    }
}

impl Handler<DirMove> for FilterActor {
    type Result = ();

    fn handle(&mut self, moved: DirMove, _: &mut Self::Context) {
        self.outlets.moves.do_send(moved);
    }
}

impl Handler<Flush> for FilterActor {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        match &self.keeper {
            Some(keeper) => keeper.flush.do_send(Flush),
            None => self.outlets.flushed.do_send(Flushed),
        }
    }
}

impl Handler<Flushed> for FilterActor {
    type Result = ();

    /// What the StateActor had found has come before this.
    fn handle(&mut self, _: Flushed, _: &mut Self::Context) {
        self.outlets.flushed.do_send(Flushed);
    }
}

impl Handler<Exclude> for FilterActor {
    type Result = ();

    fn handle(&mut self, exclude: Exclude, _: &mut Self::Context) {
        self.excludes = exclude.0.clone();
        self.verdict = None;
        self.outlets.excluded.do_send(exclude);
    }
}

impl Handler<Passed> for FilterActor {
    type Result = ();

    fn handle(&mut self, passed: Passed, _: &mut Self::Context) {
        if let Some(keeper) = &self.keeper {
            keeper.passed.do_send(passed);
        }
    }
}

impl Handler<Kept> for FilterActor {
    type Result = ();

    fn handle(&mut self, Kept(keeper): Kept, _: &mut Self::Context) {
        self.keeper = Some(keeper);
    }
}

impl Handler<Serve> for FilterActor {
    type Result = ();

    fn handle(&mut self, Serve { slot, outbox, wake }: Serve, _: &mut Self::Context) {
        // What came while nobody served the node is waiting.
        wake.iter().for_each(|wake| wake.do_send(Wake));
        self.seats.insert(slot, Seat { outbox, wake });
    }
}

impl Handler<Vacate> for FilterActor {
    type Result = ();

    fn handle(&mut self, Vacate { slot }: Vacate, _: &mut Self::Context) {
        self.seats.remove(&slot);
    }
}
