//! The comparison of the whole tree: when it is due, and what it settles.

use std::time::{Duration, Instant};

use crate::outbox::fold::Fold;
use crate::outbox::need::earlier;
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;

/// One that failed may wait for a day. Where something else asks for one, it waits for no longer than this.
const SOON: Duration = Duration::from_secs(60);

/// The comparison of the whole tree.
#[derive(Debug)]
pub(super) enum Reconcile {
    /// Nothing asks for one.
    Idle,
    /// One is to be started, not before that time. `tries` counts those that failed since one succeeded. `broken_off`: one
    /// has begun that came to nothing, and may have done a part.
    Wanted { not_before: Option<Instant>, tries: u32, broken_off: bool },
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

impl PendingSet {
    /// Takes the reconcile that is wanted, if it may start now.
    pub fn lease_reconcile(&mut self, now: Instant) -> bool {
        let Reconcile::Wanted { tries, .. } = self.reconcile else { return false };
        if self.reconcile_due(now).is_some_and(|at| at > now) {
            return false;
        }
        let beside = Fold::new(self.waiting.cap());
        // It covers what one that came to nothing would have missed.
        self.owed_since = earlier(self.owed_since, self.owed_next.take());
        // It changes what the node has by any name.
        self.origins.clear();
        self.away.unmirrored.begins_all();
        self.reconcile = Reconcile::Running { tries, again: false, beside, moves: self.away.count(), started: now };
        true
    }

    /// The reconcile that is out is out no more. One that is only wanted stays so.
    fn take_running(&mut self) -> Option<Reconcile> {
        let is_out = matches!(self.reconcile, Reconcile::Running { .. });
        is_out.then(|| std::mem::replace(&mut self.reconcile, Reconcile::Idle))
    }

    /// The reconcile that was out succeeded. Returns since when the node may lack what failed in it alone.
    pub fn settle_reconcile(&mut self, now: Instant) -> Instant {
        let Some(Reconcile::Running { again, beside, moves, started, .. }) = self.take_running() else { return now };
        let since = self.owed_since.map_or(started, |since| since.min(started));
        self.last_reconcile = Some(now);
        self.unset.took_everything();
        self.owed_since = self.owed_next.take();
        self.away.forget_first(moves);
        self.careful.take_if(|since| *since <= started);
        self.bare.take_if(|since| *since <= started);
        // What was missing before it began, it has dealt with.
        self.waiting.retain(|_, pending| pending.retry.unreported.is_none_or(|since| since >= started));
        self.was_compared(RelPath::root(), now);
        self.look_again(beside, again);
        since
    }

    /// The reconcile that was out failed on its own account, not the node's: it is tried again after a while. Returns how
    /// often it has failed so.
    pub fn postpone_reconcile(&mut self, now: Instant, retry: impl Fn(u32) -> Duration) -> u32 {
        let Some(Reconcile::Running { tries, again, beside, .. }) = self.take_running() else {
            return 0;
        };
        self.reconcile = Reconcile::Wanted { not_before: Some(now + retry(tries)), tries: tries + 1, broken_off: true };
        self.look_again(beside, again);
        tries + 1
    }

    /// The reconcile that was out came to nothing.
    pub fn roll_back_reconcile(&mut self) {
        if let Some(Reconcile::Running { tries, beside, .. }) = self.take_running() {
            self.reconcile = Reconcile::Wanted { not_before: None, tries, broken_off: true };
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

    pub(super) fn look_again(&mut self, mut beside: Fold, again: bool) {
        let now = Instant::now();
        if again {
            self.want_resync();
        }
        if beside.take_everything() {
            self.owe(beside.filled_since().unwrap_or(now));
        }
        // What was delivered is only looked at.
        let beside = beside.iter().map(|(path, pending)| (path.clone(), pending.only_looked_at(now)));
        let out = self.leases.iter().map(|(path, pending)| (path.clone(), *pending));
        for (path, pending) in beside.chain(out).collect::<Vec<_>>() {
            self.waiting.put_back(path, pending.after_reconcile());
        }
    }

    /// If so much waits that only the whole tree covers it, that is to be compared.
    pub(super) fn fold_up(&mut self) {
        if self.waiting.take_everything() {
            self.unfit.clear();
            self.owe(self.waiting.filled_since().unwrap_or_else(Instant::now));
        }
    }

    /// The whole tree is to be compared: the node may lack anything of it.
    pub fn want_reconcile(&mut self) {
        self.owe(Instant::now());
    }

    /// The mirror did not exist: whatever the node had is lost.
    pub fn mirror_lost(&mut self, now: Instant) {
        self.bare = Some(now);
        self.owe(now);
    }

    /// The node may lack anything, since this time.
    pub(super) fn owe(&mut self, since: Instant) {
        let owed = match self.reconcile {
            // It may have passed what it lacks.
            Reconcile::Running { .. } => &mut self.owed_next,
            Reconcile::Idle | Reconcile::Wanted { .. } => &mut self.owed_since,
        };
        *owed = earlier(*owed, Some(since));
        self.want_resync();
    }

    /// The whole tree is to be compared, although nothing is known that the node lacks.
    pub fn want_resync(&mut self) {
        match &mut self.reconcile {
            Reconcile::Idle => self.reconcile = Reconcile::Wanted { not_before: None, tries: 0, broken_off: false },
            Reconcile::Wanted { not_before: Some(not_before), .. } => {
                *not_before = (*not_before).min(Instant::now() + SOON)
            }
            Reconcile::Wanted { not_before: None, .. } => (),
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
}
