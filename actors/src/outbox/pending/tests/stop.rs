//! What a stop waits for.

use super::questions::{reconciled, touched};
use super::*;

/// Of what was seen until so many seconds after the start: whether something is on its way, and whether something is to
/// go within 20 s.
fn awaited(set: &PendingSet, start: Instant, seconds: u64) -> (bool, bool) {
    let [at, soon] = [seconds, 20].map(|seconds| start + Duration::from_secs(seconds));
    (set.is_sending(at), set.is_to_go(at, start, soon))
}

#[test]
fn a_stop_waits_for_what_was_changed_before_however_much_is_changed_later() {
    let (mut set, start) = reconciled();
    let at = |seconds| start + Duration::from_secs(seconds);
    set.add(&touched("a"), at(1));
    set.add(&touched("b"), at(3));
    assert_eq!(awaited(&set, start, 0), (false, false));
    assert_eq!(awaited(&set, start, 2), (false, true));
    let batch = set.lease(Lane::Fast, 1, 9999, at(4));
    set.add(&touched("a"), at(5));
    assert_eq!(awaited(&set, start, 2), (true, false), "`a` is in flight, and is changed again");
    set.settle(batch.id, at(6), |_| Fate::Failed, |_| Duration::from_secs(60));
    assert_eq!(awaited(&set, start, 2), (false, true), "the change that came later may go at once");
    let batch = set.lease(Lane::Fast, 1, 9999, at(7));
    set.settle(batch.id, at(8), |_| Fate::Failed, |_| Duration::from_secs(60));
    assert_eq!(awaited(&set, start, 2), (false, false), "it is left alone for longer than that");
    assert_eq!(awaited(&set, start, 3), (false, true));
    let batch = set.lease(Lane::Fast, 1, 9999, at(9));
    set.settle(batch.id, at(9), |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(awaited(&set, start, 3), (false, false), "{set:?}");
}

#[test]
fn a_stop_waits_for_what_waits_for_something_in_flight() {
    let (mut set, start) = reconciled();
    set.add(&touched("dir/a"), start);
    let batch = set.lease(Lane::Fast, 9, 9999, start);
    set.defer(batch.id, &BTreeSet::from([rel("dir/a")]));
    let batch = set.lease(Lane::Bulk, 9, 9999, start);
    let later = start + Duration::from_secs(1);
    set.add(&Change::Removed { path: rel("dir"), is_dir: true }, start);
    set.hurry();
    assert!(set.next_due(Lane::Fast, later).is_none() && awaited(&set, start, 0) == (true, true), "{set:?}");
    set.settle(batch.id, later, |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(awaited(&set, start, 0), (false, true));
}

#[test]
fn a_stop_waits_for_what_a_batch_leaves_behind() {
    let (mut set, start) = reconciled();
    let at = |seconds| start + Duration::from_secs(seconds);
    set.hurry();
    set.add(&touched("d/large"), start);
    let batch = set.lease(Lane::Fast, 9, 9999, start);
    set.defer(batch.id, &BTreeSet::from([rel("d/large")]));
    set.settle(batch.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
    let bulk = set.lease(Lane::Bulk, 9, 9999, start);
    set.add(&touched("d/a"), start);
    let fast = set.lease(Lane::Fast, 9, 9999, start);
    set.make_for_a_while(fast.id, rel("detour"), at(1));
    set.add(&touched("other"), at(2));
    set.settle(fast.id, at(3), |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(awaited(&set, start, 1), (true, true), "the detour is to be removed");
    let fast = set.lease(Lane::Fast, 9, 9999, at(3));
    set.settle(fast.id, at(3), |_| Fate::Delivered, |_| Duration::ZERO);
    set.settle(bulk.id, at(4), |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(awaited(&set, start, 1), (false, true), "the time of `d` may be wrong");
}

#[test]
fn a_stop_does_not_wait_for_an_old_name_whose_new_one_waits() {
    let (mut set, start) = reconciled();
    let pattern = crate::patterns::excludes::Pattern::parse("*.part").unwrap();
    set.set_settle(crate::patterns::settle::Settle::new(vec![(pattern, Duration::from_secs(3600))]));
    set.hurry();
    set.add(&Change::Removed { path: rel("old"), is_dir: false }, start);
    set.add(&Change::Renamed { from: rel("old"), to: rel("new.part") }, start);
    let later = start + Duration::from_secs(1);
    set.add(&touched("other"), later);
    assert_eq!(names(&set.lease(Lane::Fast, 9, 9999, later)), ["other"]);
    assert_eq!(awaited(&set, start, 0), (false, false));
}

#[test]
fn a_reconcile_that_only_looks_is_nothing_that_a_node_lacks_until_it_finds_something() {
    let (mut set, start) = reconciled();
    let lacking = |set: &PendingSet| (set.lacking(), set.backlog().reconcile);
    set.want_resync();
    assert_eq!((set.len(), lacking(&set)), (1, (0, false)));
    assert!(set.lease_reconcile(start));
    assert_eq!(lacking(&set), (0, true), "if it is broken off, it may have done a part");
    set.add(&touched("a"), start);
    let batch = set.lease(Lane::Fast, 9, 9999, start);
    set.settle(batch.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(lacking(&set), (1, true), "it may overtake `a`");
    set.settle_reconcile(start);
    set.want_resync();
    assert!(set.lease_reconcile(start));
    set.postpone_reconcile(start, |_| Duration::ZERO);
    assert!(lacking(&set).1, "it is held");
    let (mut set, start) = reconciled();
    set.want_resync();
    assert!(set.lease_reconcile(start));
    set.roll_back_reconcile();
    assert_eq!(lacking(&set), (1, true), "it broke");
    let (mut set, _) = reconciled();
    set.reconcile.owe(start);
    assert_eq!(lacking(&set), (1, true));
}

#[test]
fn a_stop_waits_for_a_reconcile_that_is_owed_or_overtakes_and_not_for_one_that_only_looks() {
    let (mut set, start) = reconciled();
    let at = |seconds| start + Duration::from_secs(seconds);
    set.want_resync();
    assert_eq!(awaited(&set, start, 9), (false, false));
    assert!(set.lease_reconcile(at(10)));
    assert_eq!(awaited(&set, start, 9), (false, false));
    set.add(&touched("a"), at(11));
    let batch = set.lease(Lane::Fast, 9, 9999, at(11));
    set.settle(batch.id, at(12), |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(awaited(&set, start, 10), (false, false));
    assert_eq!(awaited(&set, start, 11), (true, false), "it may be overtaken");
    set.settle_reconcile(at(13));
    assert_eq!(awaited(&set, start, 11), (false, true), "it is looked at again");
    set.reconcile.owe(at(14));
    assert_eq!(awaited(&set, start, 14), (false, true));
    assert!(set.lease_reconcile(at(15)) && awaited(&set, start, 14).0);
}

#[test]
fn a_stop_waits_for_the_turn_of_times_that_are_to_be_set_and_not_for_those_that_fail() {
    let (mut set, start) = reconciled();
    set.set_far(true);
    let [a, b] = ["d/a", "d/b"].map(|name| {
        set.add(&touched(name), start);
        set.lease_beside(1, 9999, start)
    });
    set.settle(a.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
    set.settle(b.id, start, |_| Fate::Delivered, |_| Duration::ZERO);
    for failed in [false, true] {
        assert_eq!(set.is_to_go(start, start, start), !failed, "{set:?}");
        if !failed {
            let times = set.lease(Lane::Fast, 9, 9999, start);
            assert_eq!(times.paths.len(), 1);
            set.settle(times.id, start, |_| Fate::Failed, |_| Duration::from_secs(60));
        }
    }
}
