mod failing;
mod guards;
mod made;
mod names;
mod questions;
mod restless;
mod stop;

use std::collections::BTreeSet;

use super::*;
use crate::change::Change;
use crate::outbox::away::MovedAway;
use crate::outbox::fate::Fate;
use crate::outbox::lease::Batch;
use crate::outbox::reconcile::LATE_REPORTS;
use crate::transport::Lane;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn touched(path: &str) -> Change {
    Change::Touched { path: rel(path), is_dir: false, rewritten: false }
}

fn removed_dir(path: &str) -> Change {
    Change::Removed { path: rel(path), is_dir: true }
}

fn set(changes: &[Change]) -> PendingSet {
    let mut set = PendingSet::default();
    changes.iter().for_each(|change| set.add(change, Instant::now()));
    set
}

/// After the pause for which removals wait.
fn lease(set: &mut PendingSet) -> Vec<String> {
    names(&set.lease(Lane::Fast, 99, 9999, Instant::now() + Duration::from_secs(1)))
}

fn names(batch: &Batch) -> Vec<String> {
    batch.paths.iter().map(|(path, _)| path.to_string()).collect()
}

/// Ends the newest batch.
fn settle(
    set: &mut PendingSet,
    now: Instant,
    fate: impl Fn(&RelPath) -> Fate,
    retry: impl Fn(u32) -> Duration,
) -> Vec<RelPath> {
    let id = set.leases.newest().unwrap();
    set.settle(id, now, fate, retry)
}

const SOON: Duration = Duration::from_secs(9);

#[test]
fn a_path_leaves_only_when_it_was_delivered() {
    let mut set = set(&[touched("a"), touched("b"), touched("c")]);
    let now = Instant::now();
    assert_eq!(lease(&mut set), ["a", "b", "c"]);
    settle(&mut set, now, |path| if path.as_bytes() == b"b" { Fate::Failed } else { Fate::Delivered }, |_| SOON);
    assert_eq!((set.len(), set.next_due(Lane::Fast, now)), (1, Some(now + SOON)));
    assert!(lease(&mut set).is_empty());
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    set.add(&touched("b"), now);
    assert_eq!(lease(&mut set), ["b"], "a new change is due at once");
}

#[test]
fn a_directory_is_compared_once_more_whatever_happens_in_it_meanwhile_and_holds_nothing_up() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    let (early, until) = (start + SOON / 9, start + SOON);
    let batch = |set: &mut PendingSet, at| {
        let taken = names(&set.lease(Lane::Fast, 99, 9999, at));
        settle(set, at, |_| Fate::Delivered, |_| SOON);
        taken
    };
    set.put_apart(rel("d"), Pending::new(Scope::Subtree));
    for dir in ["d", "gone", "gone/below"] {
        set.look_once_more(rel(dir), until);
    }
    assert_eq!(batch(&mut set, start), ["d"]);
    assert_eq!((set.next_due(Lane::Fast, start), set.next_due(Lane::Bulk, start)), (Some(until), None));
    set.add(&Change::Touched { path: rel("d/a"), is_dir: false, rewritten: true }, early);
    assert!(set.waiting.get(&rel("d/a")).unwrap().proof.rewritten);
    assert_eq!(batch(&mut set, early), ["d/a"], "a change goes by itself");
    set.add(&removed_dir("gone"), early);
    assert_eq!(batch(&mut set, early + SOON / 2), ["gone"]);
    assert_eq!((set.len(), set.next_due(Lane::Fast, early)), (1, Some(until)));
    assert_eq!(set.backlog().paths.len(), 1, "the next start compares it");
    assert_eq!(batch(&mut set, until), ["d"]);
    assert!(set.is_empty());
}

#[test]
fn what_waits_for_longest_goes_first_where_not_everything_goes_at_once() {
    let (mut set, start) = (PendingSet::default(), Instant::now());
    for (seconds, name) in (0..).zip(["z", "b", "a", "c", "b"]) {
        set.add(&touched(name), start + Duration::from_secs(seconds));
    }
    for (paths, bytes, expected) in [(2, 9, vec!["b", "z"]), (9, 2, vec!["a", "c"]), (9, 9, vec![])] {
        let batch = set.lease(Lane::Fast, paths, bytes, start);
        assert_eq!(names(&batch), expected);
        set.settle(batch.id, start, |_| Fate::Delivered, |_| SOON);
    }
}

#[test]
fn a_path_that_changes_in_flight_stays() {
    let mut set = set(&[touched("a")]);
    lease(&mut set);
    set.add(&touched("a"), Instant::now());
    settle(&mut set, Instant::now(), |_| Fate::Delivered, |_| SOON);
    assert_eq!(lease(&mut set), ["a"]);
}

#[test]
fn a_batch_that_came_to_nothing_waits_again() {
    let mut set = set(&[touched("a"), touched("b")]);
    lease(&mut set);
    set.add(&touched("c"), Instant::now());
    set.roll_back();
    assert_eq!(lease(&mut set), ["a", "b", "c"]);
}

#[test]
fn a_batch_is_bounded_by_paths_and_by_bytes() {
    let mut set = set(&[touched("aaa"), touched("bbb"), touched("ccc")]);
    assert_eq!(set.lease(Lane::Fast, 2, 99, Instant::now()).paths.len(), 2);
    set.roll_back();
    assert_eq!(set.lease(Lane::Fast, 9, 4, Instant::now()).paths.len(), 2);
}

#[test]
fn a_removed_directory_takes_what_waited_below_it_along() {
    let mut set = set(&[touched("d/x"), touched("d/y"), removed_dir("d")]);
    assert_eq!(lease(&mut set), ["d"]);
    assert!(set.is_reported_removed(&rel("d")));
    set.add(&Change::Subtree { path: rel("d") }, Instant::now());
    set.roll_back();
    assert!(!set.is_reported_removed(&rel("d")), "it was made again meanwhile");
}

#[test]
fn pending_paths_follow_a_moved_directory() {
    let mut set = set(&[touched("a/flying")]);
    lease(&mut set);
    let now = Instant::now();
    for change in
        [touched("a/waiting"), Change::MovedAway { path: rel("a") }, Change::MovedTo { from: rel("a"), to: rel("b/c") }]
    {
        set.add(&change, now);
    }
    assert_eq!(set.moved_away(&rel("a")), Some(MovedAway::Known));
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    assert_eq!(lease(&mut set), ["b/c/flying", "b/c/waiting"]);
}

#[test]
fn a_directory_that_moves_while_it_is_sent_as_new_is_sent_again() {
    let mut set = set(&[Change::Subtree { path: rel("new") }]);
    lease(&mut set);
    for change in [Change::MovedAway { path: rel("new/x") }, Change::MovedTo { from: rel("new/x"), to: rel("y") }] {
        set.add(&change, Instant::now());
    }
    settle(&mut set, Instant::now(), |_| Fate::Delivered, |_| SOON);
    assert_eq!(lease(&mut set), ["y"]);
    assert_eq!(set.moved_away_below(&rel("new")), [rel("new/x")]);
}

#[test]
fn a_moved_away_name_is_remembered_until_it_exists_again_or_a_reconcile_ran() {
    let away = [Change::MovedAway { path: rel("a") }, Change::MovedOut { path: rel("a") }];
    let mut again = set(&away);
    again.add(&Change::Subtree { path: rel("a") }, Instant::now());
    assert_eq!(again.moved_away(&rel("a")), None);
    again.add(&away[1], Instant::now());
    assert_eq!(again.moved_away(&rel("a")), None, "the move is told late");

    let mut removed = set(&away);
    removed.add(&removed_dir("a"), Instant::now());
    assert_eq!(removed.moved_away(&rel("a")), None, "it came with a directory above it, and was removed");

    let mut reconciled = set(&away);
    reconciled.want_reconcile();
    assert!(reconciled.lease_reconcile(Instant::now()));
    reconciled.add(&Change::MovedAway { path: rel("later") }, Instant::now());
    reconciled.settle_reconcile(Instant::now());
    assert_eq!(reconciled.moved_away(&rel("a")), None);
    assert_eq!(reconciled.moved_away(&rel("later")), Some(MovedAway::Unknown));
}

#[test]
fn what_is_delivered_beside_a_reconcile_is_looked_at_again() {
    let mut set = set(&[touched("a")]);
    set.want_reconcile();
    assert!(set.lease_reconcile(Instant::now()));
    lease(&mut set);
    settle(&mut set, Instant::now(), |_| Fate::Delivered, |_| SOON);
    assert_eq!(set.len(), 1, "the reconcile");
    set.add(&touched("b"), Instant::now());
    assert_eq!(lease(&mut set), ["b"]);
    set.settle_reconcile(Instant::now());
    settle(&mut set, Instant::now(), |_| Fate::Delivered, |_| SOON);
    assert_eq!(lease(&mut set), ["a", "b"], "b was in flight when it ended");
}

#[test]
fn a_reconcile_that_came_to_nothing_is_wanted_again() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(now));
    assert_eq!(set.reconcile_due(now), None);
    set.roll_back();
    assert_eq!(set.reconcile_due(now), Some(now));
    assert!(set.lease_reconcile(now));
    set.add(&Change::Subtree { path: RelPath::root() }, now);
    set.settle_reconcile(Instant::now());
    assert_eq!(set.reconcile_due(now), Some(now), "track was lost while it ran");
}

#[test]
fn the_last_reconcile_is_the_last_that_compared_everything() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(now));
    set.postpone_reconcile(now, |_| Duration::ZERO);
    assert!(set.lease_reconcile(now));
    set.roll_back_reconcile();
    assert_eq!((set.last_reconcile(), set.reconciles()), (None, true));
    assert!(set.lease_reconcile(now));
    set.settle_reconcile(now + SOON);
    assert_eq!((set.last_reconcile(), set.reconciles()), (Some(now + SOON), false));
}

#[test]
fn a_reconcile_that_fails_by_itself_is_postponed_and_holds_up_no_path() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(now));
    set.postpone_reconcile(now, |tries| SOON * (tries + 1));
    assert_eq!((set.reconcile_due(now), set.lease_reconcile(now)), (Some(now + SOON), false));
    set.add(&touched("a"), now);
    assert_eq!(lease(&mut set), ["a"]);
    assert!(set.lease_reconcile(now + SOON));
    set.postpone_reconcile(now, |tries| SOON * (tries + 1));
    assert_eq!(set.reconcile_due(now), Some(now + SOON * 2));
}

#[test]
fn too_many_paths_collapse_until_the_whole_tree_is_compared() {
    let mut set = PendingSet::new(4);
    (0..5).for_each(|n| set.add(&touched(&n.to_string()), Instant::now()));
    assert!(set.reconcile_due(Instant::now()).is_some());
    assert!(lease(&mut set).is_empty());
}

#[test]
fn a_path_missing_without_a_report_waits_and_a_reconcile_settles_it() {
    let mut set = set(&[touched("d/x")]);
    lease(&mut set);
    let now = Instant::now();
    settle(&mut set, now, |_| Fate::Unreported { retry_in: SOON }, |_| SOON);
    assert_eq!(set.next_due(Lane::Fast, now), Some(now + SOON));
    set.want_reconcile();
    set.lease_reconcile(now + SOON);
    set.settle_reconcile(now + SOON);
    assert!(set.is_empty());
}

#[test]
fn a_move_that_is_told_just_after_a_comparison_sends_the_new_name_whole() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(now));
    set.settle_reconcile(now);
    let moved = [Change::MovedAway { path: rel("a") }, Change::MovedTo { from: rel("a"), to: rel("b") }];
    moved.iter().for_each(|change| set.add(change, now + LATE_REPORTS / 2));
    assert_eq!(lease(&mut set), ["b"], "the comparison may have seen neither name");
}

#[test]
fn a_directory_that_comes_to_a_name_left_by_another_is_sent_whole() {
    let away = [Change::MovedAway { path: rel("a") }, Change::MovedTo { from: rel("a"), to: rel("b") }];
    let mut set = set(&away);
    assert!(set.is_empty());
    let comes = [Change::MovedAway { path: rel("c") }, Change::MovedTo { from: rel("c"), to: rel("a") }];
    comes.iter().for_each(|change| set.add(change, Instant::now()));
    assert_eq!(lease(&mut set), ["a"]);
}

#[test]
fn what_is_missed_while_a_reconcile_runs_is_not_settled_by_it() {
    let (mut set, now) = (set(&[touched("d/x")]), Instant::now());
    set.want_reconcile();
    set.lease_reconcile(now);
    lease(&mut set);
    settle(&mut set, now + SOON, |_| Fate::Unreported { retry_in: SOON }, |_| SOON);
    set.settle_reconcile(now + SOON);
    assert_eq!(set.len(), 1);
}

#[test]
fn small_changes_overtake_bulk_but_not_on_the_same_path() {
    let (mut set, now) = (set(&[touched("d/big"), touched("d/small")]), Instant::now());
    let batch = set.lease(Lane::Fast, 99, 9999, now);
    set.defer(batch.id, &BTreeSet::from([rel("d/big")]));
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    assert_eq!((set.next_due(Lane::Fast, now), set.next_due(Lane::Bulk, now)), (None, Some(now)));
    let bulk = set.lease(Lane::Bulk, 99, 9999, now);
    assert_eq!(names(&bulk), ["d/big"]);
    for path in ["d", "d/big", "d/small"] {
        set.add(&touched(path), now);
    }
    assert_eq!(lease(&mut set), ["d/small"]);
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    assert_eq!(set.next_due(Lane::Fast, now), None, "the others wait for the bulk lane");
    set.worked(bulk.id);
    assert_eq!(lease(&mut set), ["d", "d/big"]);
}

#[test]
fn a_path_that_fails_late_does_not_come_back_when_its_directory_was_deleted_meanwhile() {
    let (mut set, now) = (set(&[touched("d/x")]), Instant::now());
    let first = set.lease(Lane::Fast, 99, 9999, now);
    set.worked(first.id);
    set.add(&removed_dir("d"), now);
    assert_eq!(lease(&mut set), ["d"]);
    set.settle(first.id, now, |_| Fate::Failed, |_| SOON);
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    assert!(set.is_empty());
}

#[test]
fn a_path_that_was_deleted_before_an_older_batch_ends_does_not_come_back() {
    let (mut set, now) = (set(&[touched("d/x")]), Instant::now());
    let first = set.lease(Lane::Fast, 99, 9999, now);
    set.worked(first.id);
    set.add(&removed_dir("d"), now);
    assert_eq!(lease(&mut set), ["d"]);
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    set.settle(first.id, now, |_| Fate::Unreported { retry_in: SOON }, |_| SOON);
    assert!(set.is_empty());
}

#[test]
fn a_directory_above_two_runs_that_is_removed_meanwhile_stays_reported() {
    let (mut set, now) = (set(&[touched("d/big")]), Instant::now());
    let batch = set.lease(Lane::Fast, 99, 9999, now);
    set.defer(batch.id, &BTreeSet::from([rel("d/big")]));
    set.settle(batch.id, now, |_| Fate::Delivered, |_| SOON);
    let bulk = set.lease(Lane::Bulk, 99, 9999, now);
    set.add(&touched("d/small"), now);
    assert_eq!(lease(&mut set), ["d/small"]);
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    set.add(&removed_dir("d"), now);
    set.settle(bulk.id, now, |_| Fate::Delivered, |_| SOON);
    assert_eq!(lease(&mut set), ["d"]);
    assert!(set.is_reported_removed(&rel("d")));
}

#[test]
fn what_was_given_up_as_missing_beside_a_reconcile_does_not_ask_for_the_next_one() {
    let (mut set, now) = (set(&[touched("a")]), Instant::now());
    lease(&mut set);
    settle(&mut set, now, |_| Fate::Unreported { retry_in: Duration::ZERO }, |_| SOON);
    set.want_reconcile();
    assert!(set.lease_reconcile(now + SOON));
    lease(&mut set);
    settle(&mut set, now + SOON, |_| Fate::Delivered, |_| SOON);
    set.settle_reconcile(now + SOON);
    // Otherwise it were lost at once, and everything compared again, without end.
    assert_eq!(set.waiting.get(&rel("a")).map(|pending| pending.retry.unreported), Some(None));
}

#[test]
fn a_file_that_changed_while_it_was_sent_and_is_sent_by_a_newer_batch_is_done_with_that() {
    let (mut set, now) = (set(&[touched("a")]), Instant::now());
    let older = set.lease(Lane::Fast, 99, 9999, now).id;
    set.worked(older);
    set.add(&touched("a"), now);
    let newer = set.lease(Lane::Fast, 99, 9999, now).id;
    set.settle(older, now, |_| Fate::Changed, |_| SOON);
    set.settle(newer, now, |_| Fate::Delivered, |_| SOON);
    assert!(set.is_empty(), "{set:?}");
}
