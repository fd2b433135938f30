//! The comparison of the whole tree: when it is due, and what it settles.

use std::time::{Duration, Instant};

use super::PendingSet;
use crate::path::RelPath;
use crate::sync::fold::{Fold, Pending};

/// The comparison of the whole tree.
#[derive(Debug)]
pub(super) enum Reconcile {
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

impl PendingSet {
    /// Takes the reconcile that is wanted, if it may start now.
    pub fn lease_reconcile(&mut self, now: Instant) -> bool {
        let Reconcile::Wanted { tries, .. } = self.reconcile else { return false };
        if self.reconcile_due(now).is_some_and(|at| at > now) {
            return false;
        }
        let beside = Fold::new(self.waiting.cap());
        // It changes what the node has by any name.
        self.origins.clear();
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
        self.owed_since = None;
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

    pub(super) fn look_again(&mut self, mut beside: Fold, again: bool) {
        if again || beside.take_everything() {
            self.want_reconcile();
        }
        let beside: Vec<_> =
            beside.iter().chain(self.leases.iter()).map(|(path, pending)| (path.clone(), *pending)).collect();
        for (path, pending) in beside {
            self.waiting.put_back(path, Pending { rewritten: false, unreported: None, ..pending });
        }
    }

    /// The whole tree is to be compared: the node may lack anything of it.
    pub fn want_reconcile(&mut self) {
        self.owed_since = self.owed_since.or_else(|| Some(Instant::now()));
        self.want_resync();
    }

    /// The whole tree is to be compared, although nothing is known that the node lacks.
    pub fn want_resync(&mut self) {
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
}
