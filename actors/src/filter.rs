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

/// Changes that are handed out together. Removals wait for others (`outbox/calm.rs`): what the kernel has told must not wait
/// longer than that for what came with it.
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
/// Receives: [`Observed`], [`Rescan`], [`DirMove`], [`Flush`], [`Passed`], [`Compare`], [`Exclude`], [`Serve`], [`Vacate`],
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
    /// Comparisons with the state that have not ended.
    comparing: usize,
    /// Questions that are answered when these have ended: what they find has changed before.
    asked: Vec<AskReported>,
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
        FilterActor {
            excludes,
            seats,
            keeper: None,
            outlets,
            comparing: 0,
            asked: Vec::new(),
            verdict: None,
            log,
            _guard: guard,
        }
    }

    fn passes(&mut self, change: &Change) -> bool {
        match change {
            Change::Touched { path, is_dir, .. }
            | Change::Removed { path, is_dir }
            | Change::Retaken { path, is_dir } => !self.is_excluded(path, *is_dir),
            Change::Closed { path } | Change::Renamed { to: path, .. } => !self.is_excluded(path, false),
            Change::Subtree { path }
            | Change::Created { path }
            | Change::Made { path, .. }
            | Change::Level { path }
            | Change::FoundMoved { to: path, .. } => !self.is_excluded(path, true),
            // The watcher does not watch excluded directories, and so reports none of these for them.
            Change::MovedAway { .. }
            | Change::MovedTo { .. }
            | Change::MovedOut { .. }
            | Change::Unmounted { .. }
            | Change::Mounted { .. }
            | Change::LinksWait(_)
            | Change::ComparedWithState => true,
        }
    }

    /// Turns a new directory of which each entry is told into one that is compared, while a comparison with the state goes
    /// on: what that finds there is told later.
    fn compare_made(&self, change: &mut Change) {
        if let Change::Made { path, .. } = change
            && self.comparing > 0
        {
            *change = Change::Created { path: path.clone() };
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

    /// Notes that comparisons with the state have ended: their differences are in the outboxes.
    fn compared(&mut self, comparisons: usize) {
        self.comparing = self.comparing.saturating_sub(comparisons);
        if self.comparing == 0 {
            self.asked.drain(..).for_each(answer);
        }
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
        let comparisons = changes.iter().filter(|change| **change == Change::ComparedWithState).count();
        let mut left = changes.into_iter();
        loop {
            let mut changes: Vec<Change> = left.by_ref().take(AT_ONCE).collect();
            if changes.is_empty() {
                break;
            }
            for change in &mut changes {
                self.forget_excluded_name(change);
                self.compare_made(change);
            }
            changes.retain(|change| {
                let passes = self.passes(change);
                debug!(self.log, "change"; "what" => %change, "excluded" => !passes);
                passes
            });
            if !changes.is_empty() {
                self.hand_out(&changes);
            }
        }
        if comparisons > 0 {
            self.compared(comparisons);
        }
    }
}

impl Handler<Compare> for FilterActor {
    type Result = ();

    fn handle(&mut self, compare: Compare, _: &mut Self::Context) {
        if let Some(keeper) = &self.keeper {
            self.comparing += 1;
            keeper.compare.do_send(compare);
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

    fn handle(&mut self, rescan: Rescan, ctx: &mut Self::Context) {
        // The state tells what differs; without it all has to be compared at the nodes.
        if self.keeper.is_some() && matches!(rescan.reason, Reason::Overflow | Reason::UnknownWatch | Reason::Outrun) {
            self.handle(Compare { unsaved_names: true }, ctx);
        } else {
            self.hand_out(&[Change::Subtree { path: rescan.subtree.clone() }]);
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

    fn handle(&mut self, asked: AskReported, _: &mut Self::Context) {
        if self.comparing == 0 { answer(asked) } else { self.asked.push(asked) }
    }
}

fn answer(AskReported(asked): AskReported) {
    // Nobody listens any more when it took too long.
    let _ = asked.send(());
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// Takes the place of all that the filter sends to, and does nothing.
    struct Deaf;

    impl Actor for Deaf {
        type Context = Context<Self>;
    }

    macro_rules! hears {
        ($($message:ty),*) => {
            $(impl Handler<$message> for Deaf {
                type Result = ();

                fn handle(&mut self, _: $message, _: &mut Self::Context) {}
            })*
        };
    }

    hears!(Rescan, DirMove, Flushed, Exclude, Compare, Flush, Passed);

    fn outlets(deaf: &Addr<Deaf>) -> FilterOutlets {
        FilterOutlets {
            rescans: deaf.clone().recipient(),
            moves: deaf.clone().recipient(),
            flushed: deaf.clone().recipient(),
            excluded: deaf.clone().recipient(),
        }
    }

    fn filter(is_state_kept: bool) -> Addr<FilterActor> {
        let deaf = Deaf.start();
        let outlets = outlets(&deaf);
        let log = Logger::root(slog::Discard, slog::o!());
        let filter = FilterActor::new(Excludes::default(), [], outlets, log, EndsDaemon::new().0).start();
        if is_state_kept {
            filter.do_send(StateKept(Keeper {
                unsaved: Unsaved::default(),
                compare: deaf.clone().recipient(),
                flush: deaf.clone().recipient(),
                passed: deaf.recipient(),
            }));
        }
        filter
    }

    #[actix::test]
    async fn a_new_directory_is_compared_while_the_state_is() {
        let path = || RelPath::new(b"d").unwrap();
        for comparing in [0, 1] {
            let outlets = outlets(&Deaf.start());
            let log = Logger::root(slog::Discard, slog::o!());
            let mut filter = FilterActor::new(Excludes::default(), [], outlets, log, EndsDaemon::new().0);
            filter.comparing = comparing;
            let mut change = Change::Made { path: path(), is_new: true };
            filter.compare_made(&mut change);
            assert_eq!(change == Change::Created { path: path() }, comparing > 0);
        }
    }

    enum Sent {
        Overflow,
        Mount,
        Compare,
        Change,
        Compared,
    }

    impl Sent {
        fn to(&self, filter: &Addr<FilterActor>) {
            let rescan = |reason| Rescan { subtree: RelPath::root(), reason };
            match self {
                Sent::Overflow => filter.do_send(rescan(Reason::Overflow)),
                Sent::Mount => filter.do_send(rescan(Reason::Mounted)),
                Sent::Compare => filter.do_send(Compare { unsaved_names: false }),
                Sent::Change => filter.do_send(Observed(vec![Change::Subtree { path: RelPath::root() }])),
                Sent::Compared => filter.do_send(Observed(vec![Change::ComparedWithState])),
            }
        }
    }

    #[actix::test]
    async fn all_is_reported_only_when_what_the_state_tells_is_in_the_outboxes() {
        use Sent::{Change, Compare, Compared, Mount, Overflow};
        let cases: [(bool, &[Sent], bool); 8] = [
            (true, &[], true),
            (true, &[Overflow], false),
            (true, &[Overflow, Change], false),
            (true, &[Overflow, Change, Compared], true),
            (true, &[Compare, Overflow, Compared], false),
            (true, &[Compare, Overflow, Compared, Compared], true),
            (true, &[Mount], true),
            (false, &[Overflow], true),
        ];
        for (number, (is_state_kept, before, expected)) in cases.into_iter().enumerate() {
            let filter = filter(is_state_kept);
            before.iter().for_each(|sent| sent.to(&filter));
            let (tell, mut answer) = oneshot::channel();
            filter.do_send(AskReported(tell));
            assert!(filter.send(Alive).await.unwrap());
            assert_eq!(answer.try_recv().is_ok(), expected, "case {number}");
            if !expected {
                Compared.to(&filter);
                assert!(filter.send(Alive).await.unwrap());
                assert!(answer.try_recv().is_ok(), "case {number}, at the end");
            }
        }
    }
}
