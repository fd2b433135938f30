//! Since when the node lacks what it lacks.

use std::time::Instant;

use crate::outbox::need::{FAILS, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::outbox::pending::reconcile::Reconcile;
use crate::outbox::unmirrored::Unmirrored;
use crate::outbox::unset::UnsetPaths;
use crate::path::RelPath;

/// Names of failing paths that are told.
const TOLD: usize = 3;

/// What failed again although nothing changed, while the rest arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failing {
    /// How many paths.
    pub paths: usize,
    /// Whether the comparison of everything failed so.
    pub reconcile: bool,
    /// When the oldest change of it was seen.
    pub oldest: Option<Instant>,
    /// The first of the paths.
    pub first: Vec<RelPath>,
}

impl Failing {
    /// How much of what is pending it is.
    pub fn count(&self) -> usize {
        self.paths + usize::from(self.reconcile)
    }
}

impl PendingSet {
    /// When the oldest change was seen that the node does not have; `None` if it has everything.
    pub fn oldest(&self) -> Option<Instant> {
        let out = self.leases.iter().filter_map(|(_, pending)| pending.age.lacking_since());
        out.chain(self.waiting.oldest()).chain(self.owed_since).chain(self.owed_next).min()
    }

    /// Since when the oldest change is on its way that can still arrive by itself; `None` if there is none.
    pub fn on_its_way_since(&self) -> Option<Instant> {
        let out = self.leases.iter().filter_map(|(_, pending)| pending.on_its_way_since());
        let owed = match self.reconcile {
            Reconcile::Wanted { tries: FAILS.., .. } => [None, None],
            // It covers what was owed to it when it began, and the next one the rest.
            Reconcile::Running { tries: FAILS.., .. } => [None, self.owed_next],
            _ => [self.owed_since, self.owed_next],
        };
        out.chain(self.waiting.on_its_way_since()).chain(owed.into_iter().flatten()).min()
    }

    /// What failed again although nothing changed, whether it waits for its next try or has it now.
    pub fn failing(&self) -> Failing {
        let all = || self.waiting.iter().chain(self.leases.iter()).filter(|(_, pending)| pending.is_failing());
        let tried = matches!(self.reconcile, Reconcile::Wanted { tries, .. } | Reconcile::Running { tries, .. } if tries >= FAILS);
        let owed = self.owed_since.filter(|_| tried);
        Failing {
            paths: all().count(),
            reconcile: tried,
            oldest: all().filter_map(|(_, pending)| pending.age.lacking_since()).chain(owed).min(),
            first: all().map(|(path, _)| path.clone()).take(TOLD).collect(),
        }
    }

    /// Since when the node lacks this path, if it is failing, and when it is tried again; `None` while it is tried.
    pub fn failing_since(&self, path: &RelPath) -> Option<(Option<Instant>, Option<Instant>)> {
        let waiting = self.waiting.get(path).map(|pending| (pending, pending.retry.not_before));
        let (pending, next) = waiting.or_else(|| Some((self.leases.get(path)?, None)))?;
        pending.is_failing().then(|| (pending.age.lacking_since(), next))
    }

    /// What the node has without some of its attributes.
    pub(crate) fn unset(&mut self) -> &mut UnsetPaths {
        &mut self.unset
    }

    /// The directory moves that the node does not follow.
    pub(crate) fn unmirrored(&mut self) -> &mut Unmirrored {
        &mut self.away.unmirrored
    }

    /// Since when the node lacks what is in flight with a directory above this path.
    pub fn out_since(&self, path: &RelPath) -> Option<Instant> {
        path.ancestors().filter_map(|dir| self.leases.get(&dir)?.age.seen()).min()
    }

    /// Whether the node may lack something of this path: because of what waits at it or above it, or below it, with which
    /// the directories above are sent.
    pub fn concerns(&self, path: &RelPath) -> bool {
        let any = |path: &RelPath, is_so: Condition<'_>| {
            self.waiting.get(path).is_some_and(is_so) || self.leases.any(path, is_so)
        };
        self.reconciles()
            || is_covered(path, &|_| true, any)
            || self.waiting.entries_below(path).next().is_some()
            || self.leases.iter().any(|(out, _)| out.is_below(path))
    }

    /// Whether a change of this path that was seen until `at` is known not to be at the node. What a reconcile may find is
    /// not known: see [`PendingSet::owes`].
    pub fn lacks(&self, path: &RelPath, at: Instant) -> bool {
        let any = |path: &RelPath, is_so: Condition<'_>| {
            self.waiting.get(path).is_some_and(is_so) || self.leases.any(path, is_so)
        };
        is_covered(path, &|pending| pending.is_seen_until(at), any)
    }

    /// Whether a change of this path that was seen until `at` was sent beside the reconcile that runs, which may overtake
    /// it. What the node had before that began cannot be overtaken.
    pub fn may_be_overtaken(&self, path: &RelPath, at: Instant) -> bool {
        let Reconcile::Running { beside, .. } = &self.reconcile else { return false };
        let is_old = beside.filled_since().is_none_or(|since| since <= at);
        beside.is_everything() && is_old
            || is_covered(path, &|pending| pending.is_seen_until(at), |path, is_so| beside.get(path).is_some_and(is_so))
    }

    /// Whether the node may lack anything that was seen until `at`, because a comparison of everything is owed to it. One
    /// that has had none since there was no mirror lacks what is older, too.
    pub fn owes(&self, at: Instant) -> bool {
        let mut owed = [self.owed_since, self.owed_next].into_iter().flatten();
        owed.any(|since| since <= at || self.bare.is_some())
    }

    /// Whether the node may lack anything that was seen until `at`.
    pub fn lacks_any(&self, at: Instant) -> bool {
        let overtaken = match &self.reconcile {
            Reconcile::Running { beside, .. } if beside.is_everything() => beside.filled_since(),
            Reconcile::Running { beside, .. } => beside.oldest(),
            Reconcile::Idle | Reconcile::Wanted { .. } => None,
        };
        self.owes(at) || self.oldest().into_iter().chain(overtaken).any(|since| since <= at)
    }
}

/// What a pending path may be.
type Condition<'a> = &'a dyn Fn(&Pending) -> bool;

/// Whether a path, or what covers it, is among some that meet a condition.
fn is_covered(path: &RelPath, is_so: Condition<'_>, has: impl Fn(&RelPath, Condition<'_>) -> bool) -> bool {
    if has(path, is_so) {
        return true;
    }
    let Some(parent) = path.parent() else { return false };
    let covers = |dir: &RelPath| {
        let scope = if *dir == parent { Scope::Level } else { Scope::Subtree };
        has(dir, &|pending| (pending.is_removal() || pending.scope >= scope) && is_so(pending))
    };
    path.ancestors().any(|dir| covers(&dir)) || parent.is_root() && covers(&parent)
}

#[cfg(test)]
pub(super) mod tests;
