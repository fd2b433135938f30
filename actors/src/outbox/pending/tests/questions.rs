//! What the node lacks, and since when.

use super::*;
use crate::outbox::pending::questions::FailingPaths;
use crate::outbox::retry::FAILS;

pub(crate) fn touched(path: &str) -> Change {
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
pub(crate) fn reconciled() -> (PendingSet, Instant) {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(start));
    set.settle_reconcile(start);
    (set, start)
}

#[test]
fn the_oldest_change_is_the_first_that_the_node_lacks_however_often_it_is_repeated() {
    let (set, start) = changed(&[touched("a"), touched("b"), touched("a")]);
    assert_eq!(set.on_its_way_since(), Some(start));
    assert_eq!(PendingSet::default().on_its_way_since(), None);
}

#[test]
fn a_subtree_is_as_old_as_what_it_swallows() {
    let (set, start) = changed(&[touched("d/x"), Change::Subtree { path: rel("d") }]);
    assert_eq!((set.len(), set.on_its_way_since()), (1, Some(start)));
}

#[test]
fn what_is_in_flight_is_not_at_the_node_and_what_failed_keeps_its_age() {
    let (mut set, start) = changed(&[touched("a")]);
    let batch = set.lease(Lane::Fast, 9, 9999, start);
    set.add(&touched("b"), start + Duration::from_secs(5));
    assert_eq!(set.on_its_way_since(), Some(start));
    set.settle(batch.id, start, |_| Fate::Failed, |_| Duration::from_secs(1));
    assert_eq!(set.on_its_way_since(), Some(start));
}

#[test]
fn what_changed_while_it_was_sent_is_as_old_as_that_change() {
    let (mut set, start) = changed(&[touched("a")]);
    let (batch, later) = (set.lease(Lane::Fast, 9, 9999, start), start + Duration::from_secs(9));
    set.settle(batch.id, later, |_| Fate::Changed, |_| Duration::ZERO);
    assert_eq!(set.on_its_way_since(), Some(later));
}

#[test]
fn a_reconcile_that_is_owed_has_an_age_and_one_that_only_looks_has_none() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    set.want_resync();
    assert_eq!(set.on_its_way_since(), None);
    set.want_reconcile();
    assert!(set.on_its_way_since().is_some());
    assert!(set.lease_reconcile(start) && set.on_its_way_since().is_some());
    set.settle_reconcile(start);
    assert_eq!(set.on_its_way_since(), None);
}

#[test]
fn what_is_owed_while_a_reconcile_runs_is_owed_when_it_has_ended() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(start));
    set.want_reconcile();
    set.settle_reconcile(start);
    let owed = set.on_its_way_since();
    assert!(owed.is_some_and(|since| since >= start));
    assert!(set.lease_reconcile(Instant::now()) && set.on_its_way_since() == owed, "it runs");
    set.settle_reconcile(start);
    assert_eq!(set.on_its_way_since(), None);
}

#[test]
fn what_is_folded_into_everything_keeps_its_age() {
    let (mut set, start) = (PendingSet::new(4), Instant::now());
    for name in ["a", "b", "c", "d", "e", "f"] {
        set.add(&touched(name), start);
    }
    assert!(set.reconciles(), "{set:?}");
    assert_eq!(set.on_its_way_since(), Some(start));
}

#[test]
fn a_directory_that_is_removed_is_as_old_as_what_waited_in_it() {
    let (set, start) = changed(&[touched("d/x"), Change::Removed { path: rel("d"), is_dir: true }]);
    assert_eq!(set.on_its_way_since(), Some(start));
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
    assert!(set.on_its_way_since().is_some_and(|since| since > start));
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
    let since = set.in_flight_above_since(&rel("d/x")).unwrap();
    assert_eq!((since, set.in_flight_above_since(&rel("e"))), (start, None));
    set.settle(batch.id, later, |_| Fate::Delivered, |_| Duration::ZERO);
    set.put_apart(rel("d/x"), Pending::new(Scope::Entry).tried_apart(since, later));
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
    assert!(!set.reconcile.owes(later) && !set.may_lack_any(later));
    assert!(set.lease_reconcile(later) && !set.reconcile.owes(later) && !set.may_lack_any(later), "it only looks");
    set.settle_reconcile(later);
    set.reconcile.owe(later);
    assert!(!set.reconcile.owes(start) && set.reconcile.owes(later) && set.may_lack_any(later));
    assert!(set.lease_reconcile(later) && !set.reconcile.owes(start) && set.reconcile.owes(later));
    set.settle_reconcile(later);
    assert!(!set.reconcile.owes(later));
}

#[test]
fn a_node_without_a_mirror_lacks_what_was_seen_before_until_it_was_compared() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(!set.reconcile.owes(at(9)), "nobody wants one");
    set.reconcile.owe(at(5));
    assert!(set.reconcile.owes(start) && set.lease_reconcile(at(6)) && set.reconcile.owes(start));
    set.reconcile.owe(at(7));
    set.settle_reconcile(at(8));
    assert!(!set.reconcile.owes(start) && set.reconcile.owes(at(7)));
    assert!(set.lease_reconcile(at(8)));
    set.mirror_lost(at(9));
    set.settle_reconcile(at(10));
    assert!(set.reconcile.owes(start), "it began before");
    assert!(set.lease_reconcile(at(11)));
    set.settle_reconcile(at(12));
    assert!(!set.reconcile.owes(at(99)));
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
        assert_eq!(set.may_lack(&rel(path), at(seconds)), expected, "{path} {seconds}");
        assert!(!set.lacks(&rel(path), at(seconds)), "{path}");
    }
    assert!(!set.may_lack_any(at(1)) && set.may_lack_any(at(2)));
    set.settle_reconcile(at(5));
    assert!(!set.may_lack(&rel("a"), at(1)) && set.lacks(&rel("a"), at(2)), "it is looked at again");
}

#[test]
fn what_was_sent_beside_a_reconcile_and_is_too_much_to_remember_is_owed_at_once() {
    let (mut set, start) = (PendingSet::new(4), Instant::now());
    set.want_resync();
    assert!(set.lease_reconcile(start));
    set.settle_reconcile(start);
    set.want_resync();
    assert!(set.lease_reconcile(start));
    for name in ["a", "b", "c", "d", "e"] {
        assert!(!set.may_lack(&rel("other"), start));
        set.add(&touched(name), start);
        let batch = set.lease(Lane::Fast, 9, 9999, start);
        set.settle(batch.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
    }
    assert!(set.may_lack(&rel("other"), start) && set.may_lack_any(start) && set.is_sending(start));
    set.settle_reconcile(start);
    assert!(set.reconciles() && set.may_lack(&rel("a"), start), "{set:?}");
}

#[test]
fn a_reconcile_that_waits_is_still_wanted_when_its_sync_actor_is_gone() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    set.roll_back();
    assert!(set.reconciles() && set.on_its_way_since().is_some());
    assert!(set.lease_reconcile(start));
    set.postpone_reconcile(start, |_| Duration::from_secs(60));
    set.roll_back();
    assert!(set.reconciles(), "{set:?}");
    assert_eq!(set.reconcile_due(start), Some(start + Duration::from_secs(60)));
}

#[test]
fn a_path_is_failing_from_the_second_failure_on_until_it_arrives_also_while_it_is_tried() {
    let (mut set, start) = changed(&[touched("a")]);
    for (failed, expected) in [(true, 0), (true, 1), (true, 1), (false, 0)] {
        let before = set.failing().count();
        let batch = set.lease(Lane::Fast, 9, 9999, start);
        assert_eq!(set.failing().count(), before, "it is in flight");
        let fate = if failed { Fate::Failed } else { Fate::Delivered };
        set.settle(batch.id, start, |_| fate, |_| Duration::ZERO);
        assert_eq!(set.failing().count(), expected);
        assert_eq!(set.on_its_way_since(), (failed && expected == 0).then_some(start));
    }
}

/// A set in which these paths changed at the start and are failing, and when that was.
fn failing(names: &[&str]) -> (PendingSet, Instant) {
    let (mut set, start) = reconciled();
    for name in names {
        set.add(&touched(name), start);
    }
    for _ in 0..FAILS {
        let batch = set.lease(Lane::Fast, 99, 9999, start);
        set.settle(batch.id, start, |_| Fate::Failed, |_| Duration::ZERO);
    }
    assert_eq!((set.failing().paths, set.on_its_way_since()), (names.len(), None));
    (set, start)
}

#[test]
fn what_a_failing_path_becomes_a_part_of_is_on_its_way_since_it_changed() {
    let removed = |path: &str| Change::Removed { path: rel(path), is_dir: true };
    let renamed =
        [Change::Removed { path: rel("d/x"), is_dir: false }, Change::Renamed { from: rel("d/x"), to: rel("y") }];
    for (changes, failing_left) in [
        (&[touched("d/x")][..], 0),
        (&[Change::Subtree { path: rel("d") }], 0),
        (&[removed("d")], 0),
        (&[touched("d/x"), removed("d/x")], 0),
        (&renamed, 0),
        (&[touched("other")], 1),
        (&[Change::Level { path: rel("d") }], 1),
    ] {
        let (mut set, start) = failing(&["d/x"]);
        let later = start + Duration::from_secs(1000);
        changes.iter().for_each(|change| set.add(change, later));
        assert_eq!((set.failing().paths, set.on_its_way_since()), (failing_left, Some(later)), "{changes:?}");
        assert!(set.may_lack_any(start), "what it lacked, it lacks: {changes:?}");
    }
}

#[test]
fn a_failing_path_that_changes_while_it_is_tried_begins_anew() {
    let (mut set, start) = failing(&["a"]);
    let (batch, later) = (set.lease(Lane::Fast, 9, 9999, start), start + Duration::from_secs(1000));
    assert_eq!(set.on_its_way_since(), None);
    set.add(&touched("a"), later);
    assert_eq!(set.on_its_way_since(), Some(later));
    set.settle(batch.id, later, |_| Fate::Failed, |_| Duration::ZERO);
    assert_eq!((set.failing().paths, set.on_its_way_since(), set.may_lack_any(start)), (0, Some(later), true));
    for _ in 0..FAILS {
        let batch = set.lease(Lane::Fast, 9, 9999, later);
        set.settle(batch.id, later, |_| Fate::Failed, |_| Duration::ZERO);
    }
    assert_eq!(set.failing(), FailingPaths { paths: 1, reconcile: false, oldest: Some(start), first: vec![rel("a")] });
}

#[test]
fn a_path_that_fails_in_a_comparison_too_stays_failing() {
    let (mut set, start) = failing(&["a"]);
    set.want_resync();
    assert!(set.lease_reconcile(start));
    let since = set.settle_reconcile(start);
    set.add_since(&Change::Touched { path: rel("a"), is_dir: false, rewritten: false }, since, start);
    set.add_since(&touched("b"), since, start);
    assert_eq!((set.failing().paths, set.len()), (1, 2));
}

#[test]
fn removals_that_only_wait_for_what_failed_are_not_failing() {
    let (mut set, start) = failing(&["a"]);
    set.hurry();
    set.add(&Change::Removed { path: rel("b"), is_dir: false }, start);
    for expected in [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
        assert_eq!(set.failing().paths, expected);
        let later = start + Duration::from_secs(1000);
        let batch = set.lease(Lane::Fast, 1, 9999, later);
        set.settle(batch.id, start, |_| Fate::Failed, |_| Duration::ZERO);
    }
    let later = start + Duration::from_secs(1000);
    for _ in 0..9 {
        let batch = set.lease(Lane::Fast, 9, 9999, later);
        set.settle(batch.id, start, |_| Fate::Failed, |_| Duration::ZERO);
    }
    assert_eq!(set.failing().paths, 2, "it fails by itself");
}

#[test]
fn a_comparison_of_everything_that_fails_again_by_itself_is_failing_until_it_succeeds() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    set.reconcile.owe(start);
    for expected in [false, false, true, true] {
        assert_eq!((set.failing().reconcile, set.failing().count()), (expected, usize::from(expected)));
        assert_eq!(set.on_its_way_since(), (!expected).then_some(start));
        assert!(set.lease_reconcile(start));
        assert_eq!((set.failing().reconcile, set.on_its_way_since()), (expected, (!expected).then_some(start)));
        set.postpone_reconcile(start, |_| Duration::ZERO);
    }
    assert_eq!(set.failing().oldest, Some(start));
    assert!(set.lease_reconcile(start));
    set.settle_reconcile(start);
    assert_eq!((set.failing(), set.on_its_way_since()), (FailingPaths::default(), None));
}

#[test]
fn a_failing_path_is_told_with_its_next_try() {
    let (mut set, start) = failing(&["a"]);
    let next = set.failing_since(&rel("a")).unwrap();
    assert_eq!((next, set.failing_since(&rel("b"))), ((Some(start), Some(start)), None));
    set.lease(Lane::Fast, 9, 9999, start);
    assert_eq!(set.failing_since(&rel("a")), Some((Some(start), None)), "it is tried");
}

#[test]
fn a_path_is_concerned_by_itself_by_what_covers_it_and_by_what_is_sent_with_it() {
    let (mut set, start) = changed(&[
        touched("a/b"),
        Change::Subtree { path: rel("d") },
        Change::Level { path: rel("level") },
        Change::Removed { path: rel("gone"), is_dir: true },
    ]);
    for leased in [false, true] {
        for (path, expected) in [
            ("a/b", true),
            ("a", true),
            ("a/c", false),
            ("d/x/y", true),
            ("e", false),
            ("gone/x/y", true),
            ("gone", true),
            ("level/x", true),
            ("level/x/y", false),
        ] {
            assert_eq!(set.is_pending(&rel(path)), expected, "{path}, in flight: {leased}");
        }
        if !leased {
            set.lease(Lane::Fast, 9, 9999, start + Duration::from_secs(9));
        }
    }
}
