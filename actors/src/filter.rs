//! Decides which changes reach the nodes, and puts them into every node's outbox. Never touches the disk.

use std::collections::BTreeMap;

use actix::prelude::*;
use slog::{Logger, debug};

use crate::change::{Change, Reason};
use crate::ending::EndsDaemon;
use crate::messages::{
    Alive, AskReported, Compare, DirMove, Exclude, Flush, Flushed, Observed, Passed, Rescan, Serve, Vacate, Wake,
};
use crate::outbox::Outbox;
use crate::outbox::unsaved::Unsaved;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;

/// Changes that are handed out together. Removals wait for a pause of 50 ms: what the kernel has told must not wait longer
/// than that for what came with it.
const AT_ONCE: usize = 200;

/// A node from the filter's point of view.
struct Seat {
    outbox: Outbox,
    /// The SyncActor that serves the node; `None` before the first one.
    wake: Option<Recipient<Wake>>,
}

/// Recipients of the messages that are not changes.
#[derive(Clone)]
pub(crate) struct FilterOutlets {
    /// Receives the rescans, for the log and the counters.
    pub rescans: Recipient<Rescan>,
    /// Receives directory moves, for the log.
    pub moves: Recipient<DirMove>,
    /// Receives the end of a flush.
    pub flushed: Recipient<Flushed>,
    /// Receives new exclude patterns once the filter applies them.
    pub excluded: Recipient<Exclude>,
}

/// The StateActor from the filter's point of view.
#[derive(Clone)]
pub(crate) struct Keeper {
    /// The paths that the StateActor is to save.
    pub unsaved: Unsaved,
    /// Finds the changes that were missed when events were lost.
    pub compare: Recipient<Compare>,
    /// Sends all differences found so far ahead of the answer.
    pub flush: Recipient<Flush>,
    /// Receives the answers to barriers.
    pub passed: Recipient<Passed>,
}

/// SupervisorActor -> FilterActor: from now on, a state of the site is kept.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StateKept(pub Keeper);

/// Drops excluded changes and hands the others to every node.
///
/// Receives: [`Observed`], [`Rescan`], [`DirMove`], [`Flush`], [`Passed`], [`Exclude`], [`Serve`], [`Vacate`],
/// [`AskReported`], [`StateKept`]. Sends: [`Wake`] to the SyncActors, the messages of [`Keeper`] to the StateActor, and those of [`FilterOutlets`]
/// to the supervisor. A change is stored before the SyncActor is woken, so a SyncActor that dies loses no change. A
/// panic ends the daemon.
pub(crate) struct FilterActor {
    excludes: Excludes,
    /// Nodes by their numbers.
    seats: BTreeMap<usize, Seat>,
    /// `None` if no state is kept.
    keeper: Option<Keeper>,
    outlets: FilterOutlets,
    /// The last directory that was checked against the patterns, and if it is excluded: changes often come from one
    /// directory.
    verdict: Option<(RelPath, bool)>,
    log: Logger,
    _guard: EndsDaemon,
}

impl FilterActor {
    /// Makes a filter for these outboxes, each with the number of its node.
    pub(crate) fn new(
        excludes: Excludes,
        outboxes: impl IntoIterator<Item = (usize, Outbox)>,
        outlets: FilterOutlets,
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
            Change::Subtree { path }
            | Change::Created { path }
            | Change::Level { path }
            | Change::FoundMoved { to: path, .. } => !self.is_excluded(path, true),
            // The watcher does not watch excluded directories, and so reports none of these for them.
            Change::MovedAway { .. }
            | Change::MovedTo { .. }
            | Change::MovedOut { .. }
            | Change::Unmounted { .. }
            | Change::Mounted { .. }
            | Change::ComparedWithState => true,
        }
    }

    /// Turns a rename from an excluded name into a new file: the nodes do not have the old name.
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
        Outbox::add_to_all(self.seats.values().map(|seat| &seat.outbox), changes);
        for seat in self.seats.values() {
            if let Some(wake) = seat.wake.as_ref().filter(|_| seat.outbox.ring()) {
                wake.do_send(Wake);
            }
        }
        // After the outboxes: the saved tree must never be ahead of the saved outboxes.
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

    fn handle(&mut self, Observed(changes): Observed, _: &mut Self::Context) {
        let mut left = changes.into_iter();
        loop {
            let mut changes: Vec<Change> = left.by_ref().take(AT_ONCE).collect();
            if changes.is_empty() {
                return;
            }
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

    /// Passes the answer on; all differences that the StateActor had found came before it.
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

impl Handler<AskReported> for FilterActor {
    type Result = ();

    fn handle(&mut self, AskReported(answer): AskReported, _: &mut Self::Context) {
        // Nobody listens any more when it took too long.
        let _ = answer.send(());
    }
}

impl Handler<StateKept> for FilterActor {
    type Result = ();

    fn handle(&mut self, StateKept(keeper): StateKept, _: &mut Self::Context) {
        self.keeper = Some(keeper);
    }
}

impl Handler<Serve> for FilterActor {
    type Result = ();

    fn handle(&mut self, Serve { slot, outbox, wake }: Serve, _: &mut Self::Context) {
        // Changes may have arrived while nobody served the node.
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
