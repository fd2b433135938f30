//! Since when the node lacks what it lacks.

use std::time::Instant;

use super::PendingSet;
use super::reconcile::Reconcile;
use crate::path::RelPath;
use crate::sync::fold::{Pending, Scope};

impl PendingSet {
    /// When the oldest change was seen that the node does not have; `None` if it has everything.
    pub fn oldest(&self) -> Option<Instant> {
        let out = self.leases.iter().filter_map(|(_, pending)| pending.lacking_since());
        out.chain(self.waiting.oldest()).chain(self.owed_since).chain(self.owed_next).min()
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
        let is_old = |pending: &Pending| pending.since.is_none_or(|since| since <= at);
        let has = |path: &RelPath, is_so: &dyn Fn(&Pending) -> bool| {
            self.waiting.get(path).is_some_and(is_so) || self.leases.any(path, is_so)
        };
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

    /// Whether the node may lack anything that was seen until `at`, because a comparison of everything is owed to it, or
    /// runs: what is sent beside it may be overtaken by it.
    pub fn owes(&self, at: Instant) -> bool {
        let owed = [self.owed_since, self.owed_next].into_iter().flatten().any(|since| since <= at);
        matches!(self.reconcile, Reconcile::Running { .. }) || owed
    }

    /// Whether the node may lack anything that was seen until `at`.
    pub fn lacks_any(&self, at: Instant) -> bool {
        self.owes(at) || self.oldest().is_some_and(|since| since <= at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::messages::Change;
    use crate::sync::lease::Lane;
    use crate::sync::pending::Fate;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn touched(path: &str) -> Change {
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
    fn a_node_may_lack_anything_while_a_reconcile_is_owed_or_runs() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_resync();
        assert!(!set.owes(start) && !set.lacks_any(start));
        set.want_reconcile();
        assert!(!set.owes(start) && set.owes(Instant::now()) && set.lacks_any(Instant::now()));
        assert!(set.lease_reconcile(start) && set.owes(start));
        set.settle_reconcile(start);
        assert!(!set.owes(Instant::now()));
    }

    #[test]
    fn a_path_is_concerned_by_itself_and_by_what_is_compared_around_it() {
        let (set, _) = changed(&[touched("a/b"), Change::Subtree { path: rel("d") }]);
        for (path, expected) in [("a/b", true), ("a", false), ("a/c", false), ("d/x/y", true), ("e", false)] {
            assert_eq!(set.concerns(&rel(path)), expected, "{path}");
        }
    }
}
