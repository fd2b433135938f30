//! Since when the node lacks what it lacks.

use std::time::Instant;

use super::PendingSet;
use super::reconcile::Reconcile;
use crate::path::RelPath;
use crate::sync::fold::{Pending, Scope};

/// Tries after which a path that failed is no matter of a moment.
const FAILS: u32 = 3;

impl PendingSet {
    /// When the oldest change was seen that the node does not have; `None` if it has everything.
    pub fn oldest(&self) -> Option<Instant> {
        let out = self.leases.iter().filter_map(|(_, pending)| pending.lacking_since());
        out.chain(self.waiting.oldest()).chain(self.owed_since).chain(self.owed_next).min()
    }

    /// How many paths have failed again and again by themselves.
    pub fn failing(&self) -> usize {
        let fails = |(_, pending): &(&RelPath, &Pending)| pending.tries >= FAILS;
        self.waiting.iter().chain(self.leases.iter()).filter(fails).count()
    }

    /// Since when the node lacks what is in flight with a directory above this path.
    pub fn out_since(&self, path: &RelPath) -> Option<Instant> {
        path.ancestors().filter_map(|dir| self.leases.get(&dir)?.since).min()
    }

    /// Whether the node may lack something at or above this path.
    pub fn concerns(&self, path: &RelPath) -> bool {
        let waits = self.waiting.get(path).is_some() || self.waiting.is_swallowed(path);
        waits || self.reconciles() || self.leases.holds(path)
    }

    /// Whether a change of this path that was seen until `at` is known not to be at the node. What a reconcile may find is
    /// not known: see [`PendingSet::owes`].
    pub fn lacks(&self, path: &RelPath, at: Instant) -> bool {
        is_covered(path, at, |path, is_so| self.waiting.get(path).is_some_and(is_so) || self.leases.any(path, is_so))
    }

    /// Whether a change of this path that was seen until `at` was sent beside the reconcile that runs, which may overtake
    /// it. What the node had before that began cannot be overtaken.
    pub fn may_be_overtaken(&self, path: &RelPath, at: Instant) -> bool {
        let Reconcile::Running { beside, .. } = &self.reconcile else { return false };
        let is_old = beside.filled_since().is_none_or(|since| since <= at);
        beside.is_everything() && is_old || is_covered(path, at, |path, is_so| beside.get(path).is_some_and(is_so))
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

/// Whether a path, or what covers it, `is` among some with a change that was seen until `at`.
fn is_covered(path: &RelPath, at: Instant, has: impl Fn(&RelPath, &dyn Fn(&Pending) -> bool) -> bool) -> bool {
    let is_old = |pending: &Pending| pending.is_seen_until(at);
    if has(path, &is_old) {
        return true;
    }
    let Some(parent) = path.parent() else { return false };
    let covers = |dir: &RelPath| {
        let scope = if *dir == parent { Scope::Level } else { Scope::Subtree };
        has(dir, &|pending| (pending.removed || pending.scope >= scope) && is_old(pending))
    };
    path.ancestors().any(|dir| covers(&dir)) || parent.is_root() && covers(&parent)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::messages::Change;
    use crate::sync::lease::Lane;
    use crate::sync::pending::Fate;

    pub fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    pub fn touched(path: &str) -> Change {
        Change::Touched { path: rel(path), is_dir: false, rewritten: true }
    }

    /// A set with these changes, one a second, and when it began.
    fn changed(changes: &[Change]) -> (PendingSet, Instant) {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        for (seconds, change) in (0..).zip(changes) {
            set.add(change, start + Duration::from_secs(seconds));
        }
        (set, start)
    }

    /// A set of a node that has everything, and when it had.
    pub fn reconciled() -> (PendingSet, Instant) {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_reconcile();
        assert!(set.lease_reconcile(start));
        set.settle_reconcile(start);
        (set, start)
    }

    #[test]
    fn the_oldest_change_is_the_first_that_the_node_lacks_however_often_it_is_repeated() {
        let (set, start) = changed(&[touched("a"), touched("b"), touched("a")]);
        assert_eq!(set.oldest(), Some(start));
        assert_eq!(PendingSet::default().oldest(), None);
    }

    #[test]
    fn a_subtree_is_as_old_as_what_it_swallows() {
        let (set, start) = changed(&[touched("d/x"), Change::Subtree { path: rel("d") }]);
        assert_eq!((set.len(), set.oldest()), (1, Some(start)));
    }

    #[test]
    fn what_is_in_flight_is_not_at_the_node_and_what_failed_keeps_its_age() {
        let (mut set, start) = changed(&[touched("a")]);
        let batch = set.lease(Lane::Fast, 9, 9999, start);
        set.add(&touched("b"), start + Duration::from_secs(5));
        assert_eq!(set.oldest(), Some(start));
        set.settle(batch.id, start, |_| Fate::Failed, |_| Duration::from_secs(1));
        assert_eq!(set.oldest(), Some(start));
    }

    #[test]
    fn what_changed_while_it_was_sent_is_as_old_as_that_change() {
        let (mut set, start) = changed(&[touched("a")]);
        let (batch, later) = (set.lease(Lane::Fast, 9, 9999, start), start + Duration::from_secs(9));
        set.settle(batch.id, later, |_| Fate::Changed, |_| Duration::ZERO);
        assert_eq!(set.oldest(), Some(later));
    }

    #[test]
    fn a_reconcile_that_is_owed_has_an_age_and_one_that_only_looks_has_none() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_resync();
        assert_eq!(set.oldest(), None);
        set.want_reconcile();
        assert!(set.oldest().is_some());
        assert!(set.lease_reconcile(start) && set.oldest().is_some());
        set.settle_reconcile(start);
        assert_eq!(set.oldest(), None);
    }

    #[test]
    fn what_is_owed_while_a_reconcile_runs_is_owed_when_it_has_ended() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_reconcile();
        assert!(set.lease_reconcile(start));
        set.want_reconcile();
        set.settle_reconcile(start);
        let owed = set.oldest();
        assert!(owed.is_some_and(|since| since >= start));
        assert!(set.lease_reconcile(Instant::now()) && set.oldest() == owed, "it runs");
        set.settle_reconcile(start);
        assert_eq!(set.oldest(), None);
    }

    #[test]
    fn what_is_folded_into_everything_keeps_its_age() {
        let (mut set, start) = (PendingSet::new(4), Instant::now());
        for name in ["a", "b", "c", "d", "e", "f"] {
            set.add(&touched(name), start);
        }
        assert!(set.reconciles(), "{set:?}");
        assert_eq!(set.oldest(), Some(start));
    }

    #[test]
    fn a_directory_that_is_removed_is_as_old_as_what_waited_in_it() {
        let (set, start) = changed(&[touched("d/x"), Change::Removed { path: rel("d"), is_dir: true }]);
        assert_eq!(set.oldest(), Some(start));
    }

    #[test]
    fn what_was_delivered_beside_a_reconcile_is_only_looked_at_again() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_reconcile();
        assert!(set.lease_reconcile(start));
        set.add(&touched("a"), start);
        let batch = set.lease(Lane::Fast, 9, 9999, start);
        set.settle(batch.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
        set.settle_reconcile(start);
        assert!(set.oldest().is_some_and(|since| since > start));
    }

    #[test]
    fn a_node_lacks_what_was_seen_of_a_path_and_of_what_covers_it_until_it_was_sent() {
        let removed = Change::Removed { path: rel("gone"), is_dir: true };
        let (mut set, start) =
            changed(&[touched("a/b"), Change::Subtree { path: rel("d") }, Change::Level { path: rel("l") }, removed]);
        let lacks = |set: &PendingSet, path: &str, after| set.lacks(&rel(path), start + Duration::from_secs(after));
        for (path, after, expected) in [
            ("a/b", 0, true),
            ("a", 9, false),
            ("a/b/c", 9, false),
            ("d", 1, true),
            ("d/x/y", 1, true),
            ("d/x/y", 0, false),
            ("l/x", 2, true),
            ("l/x/y", 9, false),
            ("gone/x", 3, true),
            ("gone", 2, false),
            ("", 9, false),
        ] {
            assert_eq!(lacks(&set, path, after), expected, "{path} after {after} s");
        }
        let later = start + Duration::from_secs(9);
        let batch = set.lease(Lane::Fast, 9, 9999, later);
        set.add(&touched("a/b"), later);
        assert!(lacks(&set, "a/b", 0) && lacks(&set, "d/x", 1), "they are in flight");
        set.settle(batch.id, later, |_| Fate::Delivered, |_| Duration::ZERO);
        assert!(!lacks(&set, "a/b", 8) && lacks(&set, "a/b", 9) && !lacks(&set, "d/x", 9));
    }

    #[test]
    fn what_failed_within_a_comparison_is_lacked_since_before_it() {
        let (mut set, start) = changed(&[Change::Subtree { path: rel("d") }]);
        let (began, later) = (start + Duration::from_secs(1), start + Duration::from_secs(9));
        let batch = set.lease(Lane::Fast, 9, 9999, began);
        let since = set.out_since(&rel("d/x")).unwrap();
        assert_eq!((since, set.out_since(&rel("e"))), (start, None));
        set.settle(batch.id, later, |_| Fate::Delivered, |_| Duration::ZERO);
        set.try_later(rel("d/x"), Scope::Entry, false, since, later);
        assert!(set.lacks(&rel("d/x"), began) && !set.lacks(&rel("d/y"), began));
        set.want_resync();
        assert!(set.lease_reconcile(began));
        let since = set.settle_reconcile(later);
        set.add_since(&touched("y"), since, later);
        set.add(&touched("z"), later);
        assert!(set.lacks(&rel("y"), began) && !set.lacks(&rel("z"), began) && set.lacks(&rel("z"), later));
    }

    #[test]
    fn a_node_may_lack_anything_while_a_reconcile_is_owed_and_not_merely_because_one_runs() {
        let (mut set, start) = reconciled();
        let later = start + Duration::from_secs(1);
        set.want_resync();
        assert!(!set.owes(later) && !set.lacks_any(later));
        assert!(set.lease_reconcile(later) && !set.owes(later) && !set.lacks_any(later), "it only looks");
        set.settle_reconcile(later);
        set.owe(later);
        assert!(!set.owes(start) && set.owes(later) && set.lacks_any(later));
        assert!(set.lease_reconcile(later) && !set.owes(start) && set.owes(later));
        set.settle_reconcile(later);
        assert!(!set.owes(later));
    }

    #[test]
    fn a_node_without_a_mirror_lacks_what_was_seen_before_until_it_was_compared() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!set.owes(at(9)), "nobody wants one");
        set.owe(at(5));
        assert!(set.owes(start) && set.lease_reconcile(at(6)) && set.owes(start));
        set.owe(at(7));
        set.settle_reconcile(at(8));
        assert!(!set.owes(start) && set.owes(at(7)));
        assert!(set.lease_reconcile(at(8)));
        set.mirror_lost(at(9));
        set.settle_reconcile(at(10));
        assert!(set.owes(start), "it began before");
        assert!(set.lease_reconcile(at(11)));
        set.settle_reconcile(at(12));
        assert!(!set.owes(at(99)));
    }

    #[test]
    fn what_was_sent_beside_a_reconcile_may_be_overtaken_by_it_and_nothing_else() {
        let (mut set, start) = reconciled();
        let at = |seconds| start + Duration::from_secs(seconds);
        set.want_resync();
        set.add(&touched("before"), start);
        let batch = set.lease(Lane::Fast, 9, 9999, start);
        set.settle(batch.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
        assert!(set.lease_reconcile(at(1)));
        set.add(&touched("a"), at(2));
        set.add(&Change::Subtree { path: rel("d") }, at(2));
        let batch = set.lease(Lane::Fast, 9, 9999, at(3));
        set.settle(batch.id, at(4), |_| Fate::Delivered, |_| Duration::ZERO);
        for (path, seconds, expected) in
            [("a", 2, true), ("a", 1, false), ("d/x/y", 9, true), ("before", 9, false), ("b", 9, false)]
        {
            assert_eq!(set.may_be_overtaken(&rel(path), at(seconds)), expected, "{path} {seconds}");
            assert!(!set.lacks(&rel(path), at(seconds)), "{path}");
        }
        assert!(!set.lacks_any(at(1)) && set.lacks_any(at(2)));
        set.settle_reconcile(at(5));
        assert!(!set.may_be_overtaken(&rel("a"), at(9)) && set.lacks(&rel("a"), at(2)), "it is looked at again");
    }

    #[test]
    fn a_reconcile_that_waits_is_still_wanted_when_its_sync_actor_is_gone() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_reconcile();
        set.roll_back();
        assert!(set.reconciles() && set.oldest().is_some());
        assert!(set.lease_reconcile(start));
        set.postpone_reconcile(start, |_| Duration::from_secs(60));
        set.roll_back();
        assert!(set.reconciles(), "{set:?}");
        assert_eq!(set.reconcile_due(start), Some(start + Duration::from_secs(60)));
    }

    #[test]
    fn a_path_that_fails_again_and_again_is_counted_until_it_arrives() {
        let (mut set, start) = changed(&[touched("a")]);
        for (failed, expected) in [(true, 0), (true, 0), (true, 1), (true, 1), (false, 0)] {
            let batch = set.lease(Lane::Fast, 9, 9999, start);
            let fate = if failed { Fate::Failed } else { Fate::Delivered };
            set.settle(batch.id, start, |_| fate, |_| Duration::ZERO);
            assert_eq!(set.failing(), expected);
        }
    }

    #[test]
    fn a_path_is_concerned_by_itself_and_by_what_is_compared_around_it() {
        let (set, _) = changed(&[touched("a/b"), Change::Subtree { path: rel("d") }]);
        for (path, expected) in [("a/b", true), ("a", false), ("a/c", false), ("d/x/y", true), ("e", false)] {
            assert_eq!(set.concerns(&rel(path)), expected, "{path}");
        }
    }
}
