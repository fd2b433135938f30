//! The comparison of the whole tree: who asks for it, when it is due, and what it settles. A plain data structure.

use std::time::{Duration, Instant};

use crate::outbox::fold::Fold;
use crate::outbox::need::{Pending, earlier};
use crate::outbox::retry::FAILS;
use crate::path::RelPath;

/// The longest wait of a reconcile that failed, and may wait for a day, once something else asks for one.
const SOON: Duration = Duration::from_secs(60);
/// The delay with which the watcher may report a change that was made while a directory was compared.
pub(super) const LATE_REPORTS: Duration = Duration::from_secs(2);

/// The reconcile of one node, and what is owed to the node by it.
///
/// While anything is owed, a reconcile is wanted or runs.
#[derive(Debug)]
pub(super) struct NodeReconcile {
    state: ReconcileState,
    /// Reconciles that failed on their own account since one succeeded.
    tries: u32,
    last: Option<Instant>,
    /// The time since which the node may lack anything, so that a reconcile is owed to it.
    owed_since: Option<Instant>,
    /// The time since which there is no mirror, so that the node lacks everything: until a reconcile that began later.
    bare: Option<Instant>,
    /// A mount in the source does not answer: the whole tree cannot be compared.
    is_cut: bool,
}

#[derive(Debug)]
enum ReconcileState {
    /// Nothing asks for one.
    Idle,
    /// A reconcile is to be started, not before that time. `broken_off`: one has begun that came to nothing, and may
    /// have done a part.
    Wanted { not_before: Option<Instant>, broken_off: bool },
    /// A reconcile runs, beside which batches go on.
    Running(RunningReconcile),
}

/// A reconcile that runs, or has just ended.
#[derive(Debug)]
pub(super) struct RunningReconcile {
    /// Another reconcile was asked for meanwhile.
    pub(super) again: bool,
    /// The time since which it may have missed something, so that the next one is owed.
    owed_next: Option<Instant>,
    /// The paths that were delivered beside it: they may be overtaken, and are looked at again.
    pub(super) beside: Fold,
    /// The number of moves that were remembered when it began: it settles those.
    pub(super) moves: u64,
    pub(super) began: Instant,
}

impl NodeReconcile {
    /// The state of a node that was never compared: no reconcile is wanted.
    pub(super) fn new(now: Instant) -> Self {
        let state = ReconcileState::Idle;
        NodeReconcile { state, tries: 0, last: None, owed_since: None, bare: Some(now), is_cut: false }
    }

    /// Starts the reconcile that is wanted.
    pub(super) fn start(&mut self, beside: Fold, moves: u64, began: Instant) {
        let running = RunningReconcile { again: false, owed_next: None, beside, moves, began };
        self.state = ReconcileState::Running(running);
    }

    /// Ends the reconcile that runs, which succeeded. Returns it, and since when the node may lack what failed in it
    /// alone.
    pub(super) fn succeed(&mut self, now: Instant) -> Option<(RunningReconcile, Instant)> {
        let running = self.take_running()?;
        let since = self.owed_since.map_or(running.began, |since| since.min(running.began));
        self.last = Some(now);
        self.tries = 0;
        self.owed_since = running.owed_next;
        self.bare.take_if(|since| *since <= running.began);
        Some((running, since))
    }

    /// Ends the reconcile that runs, which failed on its own account. Returns it, and how often it has failed so.
    pub(super) fn postpone(
        &mut self,
        now: Instant,
        retry: impl Fn(u32) -> Duration,
    ) -> Option<(RunningReconcile, u32)> {
        let running = self.break_off()?;
        let not_before = Some(now + retry(self.tries));
        self.state = ReconcileState::Wanted { not_before, broken_off: true };
        self.tries += 1;
        Some((running, self.tries))
    }

    /// Ends the reconcile that runs, which came to nothing.
    pub(super) fn break_off(&mut self) -> Option<RunningReconcile> {
        let running = self.take_running()?;
        // The next one covers what this one would have missed.
        self.owed_since = earlier(self.owed_since, running.owed_next);
        self.state = ReconcileState::Wanted { not_before: None, broken_off: true };
        Some(running)
    }

    /// Ends the running reconcile. A requested one that has not started is kept.
    fn take_running(&mut self) -> Option<RunningReconcile> {
        match std::mem::replace(&mut self.state, ReconcileState::Idle) {
            ReconcileState::Running(running) => Some(running),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Asks for a comparison of the whole tree: the node may lack anything since this time.
    pub(super) fn owe(&mut self, since: Instant) {
        let owed = match &mut self.state {
            // It may have passed what it lacks.
            ReconcileState::Running(running) => &mut running.owed_next,
            ReconcileState::Idle | ReconcileState::Wanted { .. } => &mut self.owed_since,
        };
        *owed = earlier(*owed, Some(since));
        self.want();
    }

    /// Notes that the mirror did not exist: whatever the node had is lost. Returns true if that is a surprise: not if the
    /// first reconcile is still to come, or to end.
    pub(super) fn mirror_lost(&mut self, now: Instant) -> bool {
        let is_first = self.bare.is_some() && !matches!(self.state, ReconcileState::Idle);
        self.bare = Some(now);
        self.owe(now);
        !is_first
    }

    /// Asks for a comparison of the whole tree, although nothing is known that the node lacks.
    pub(super) fn want(&mut self) {
        match &mut self.state {
            ReconcileState::Idle => {
                self.state = ReconcileState::Wanted { not_before: None, broken_off: false };
            }
            ReconcileState::Wanted { not_before: Some(not_before), .. } => {
                *not_before = (*not_before).min(Instant::now() + SOON);
            }
            ReconcileState::Wanted { not_before: None, .. } => (),
            ReconcileState::Running(running) => running.again = true,
        }
    }

    /// Notes that a mount in the source does not answer, or that all of them do.
    pub(super) fn cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
    }

    /// Makes the wanted reconcile due now.
    pub(super) fn try_now(&mut self) {
        if let ReconcileState::Wanted { not_before, .. } = &mut self.state {
            *not_before = None;
        }
    }

    /// Notes what was delivered while a reconcile runs.
    pub(super) fn delivered(&mut self, path: RelPath, pending: Pending) {
        let ReconcileState::Running(running) = &mut self.state else { return };
        running.beside.insert(path, pending);
        if let Some(age) = running.beside.take_everything() {
            self.owe(age.seen().unwrap_or_else(Instant::now));
        }
    }

    /// The time at which the wanted reconcile may start, not before `earliest`; `None` if none is wanted.
    pub(super) fn due(&self, earliest: Option<Instant>, now: Instant) -> Option<Instant> {
        match self.state {
            ReconcileState::Wanted { .. } if self.is_cut => None,
            ReconcileState::Wanted { not_before, .. } => not_before.max(earliest).or(Some(now)),
            ReconcileState::Idle | ReconcileState::Running(_) => None,
        }
    }

    /// The time at which the last reconcile that compared everything ended; `None` before the first.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Tells if one is wanted or runs.
    pub(super) fn is_pending(&self) -> bool {
        !matches!(self.state, ReconcileState::Idle)
    }

    /// Tells if one runs.
    pub(super) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    fn running(&self) -> Option<&RunningReconcile> {
        match &self.state {
            ReconcileState::Running(running) => Some(running),
            ReconcileState::Idle | ReconcileState::Wanted { .. } => None,
        }
    }

    /// Tells if the reconcile failed again although nothing changed, or cannot be made.
    pub(super) fn is_failing(&self) -> bool {
        let is_held_up = self.is_cut && matches!(self.state, ReconcileState::Wanted { .. });
        is_held_up || self.tries >= FAILS
    }

    /// Tells if something may be lost without it: one that has begun may have found anything.
    pub(super) fn is_needed(&self) -> bool {
        match &self.state {
            ReconcileState::Idle => false,
            ReconcileState::Wanted { broken_off, .. } => *broken_off || self.is_owed(),
            ReconcileState::Running(_) => true,
        }
    }

    /// Tells if the reconcile only looks for differences that nobody knows of.
    pub(super) fn only_looks(&self) -> bool {
        match &self.state {
            ReconcileState::Idle => false,
            ReconcileState::Wanted { .. } => !self.is_needed(),
            ReconcileState::Running(running) => !self.is_owed() && self.tries == 0 && running.beside.is_empty(),
        }
    }

    fn is_owed(&self) -> bool {
        self.oldest().is_some()
    }

    /// The time at which the oldest change was seen of all that is owed.
    pub(super) fn oldest(&self) -> Option<Instant> {
        earlier(self.owed_since, self.running().and_then(|running| running.owed_next))
    }

    /// The time at which the oldest change was seen that is owed to the failing reconcile.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.owed_since.filter(|_| self.is_failing())
    }

    /// The time since which the oldest owed change is on its way.
    pub(super) fn on_its_way_since(&self) -> Option<Instant> {
        match &self.state {
            _ if !self.is_failing() => self.oldest(),
            // It covers what was owed to it when it began, and the next one the rest.
            ReconcileState::Running(running) => running.owed_next,
            ReconcileState::Idle | ReconcileState::Wanted { .. } => None,
        }
    }

    /// Tells if the node may lack anything that was seen until `at`, because a comparison of everything is owed to it.
    /// One that has had none since there was no mirror lacks what is older, too.
    pub(super) fn owes(&self, at: Instant) -> bool {
        self.oldest().is_some_and(|since| since <= at || self.bare.is_some())
    }

    /// The paths that were delivered beside the running reconcile, which may overtake them.
    pub(super) fn beside(&self) -> Option<&Fold> {
        self.running().map(|running| &running.beside)
    }

    /// Tells if the rules of the type hold.
    pub(super) fn is_sound(&self) -> bool {
        self.is_pending() || !self.is_owed()
    }
}

/// Directories that were compared as a whole a moment ago: a move in them may be reported only now.
#[derive(Debug, Default)]
pub(crate) struct RecentComparisons(Vec<(RelPath, Instant)>);

impl RecentComparisons {
    pub(super) fn add(&mut self, dir: RelPath, now: Instant) {
        self.0.retain(|(_, at)| now < *at + LATE_REPORTS);
        self.0.push((dir, now));
    }

    /// Tells if one of them holds this path.
    pub(super) fn holds(&self, path: &RelPath, now: Instant) -> bool {
        self.0.iter().any(|(dir, at)| now < *at + LATE_REPORTS && path.is_below(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_did_not_exist_is_no_surprise_until_the_first_reconcile_has_ended() {
        let mut now = Instant::now();
        let mut later = || {
            now += Duration::from_secs(1);
            now
        };
        let mut reconcile = NodeReconcile::new(later());
        // No reconcile is to come: `initial_sync: Off`, or a restart that has its state.
        assert!(reconcile.mirror_lost(later()));
        let mut reconcile = NodeReconcile::new(later());
        reconcile.want();
        assert!(!reconcile.mirror_lost(later()), "wanted");
        reconcile.start(Fold::new(9), 0, later());
        assert!(!reconcile.mirror_lost(later()), "runs");
        // It may have begun before, so that another one is owed, which is still the first.
        assert!(reconcile.succeed(later()).is_some_and(|(running, _)| running.again));
        reconcile.want();
        reconcile.start(Fold::new(9), 0, later());
        assert!(reconcile.succeed(later()).is_some());
        assert!(reconcile.mirror_lost(later()), "has ended");
    }
}
