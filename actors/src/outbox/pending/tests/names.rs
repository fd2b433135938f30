use super::*;
use crate::outbox::readiness::NameTurn;

fn written(path: &str) -> Change {
    Change::Touched { path: rel(path), is_dir: false, rewritten: true }
}

#[test]
fn a_name_goes_along_unless_the_other_lane_has_it_or_it_waits_as_a_part_of_something() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&written("big"), now);
    let bulk = set.lease(Lane::Fast, 9, 99, now);
    set.defer(bulk.id, &BTreeSet::from([rel("big")]));
    set.settle(bulk.id, now, |_| Fate::Delivered, |_| Duration::ZERO);
    let bulk = set.lease(Lane::Bulk, 9, 99, now).id;
    set.add(&Change::Created { path: rel("new") }, now);
    set.add(&Change::Removed { path: rel("gone"), is_dir: true }, now);
    set.add(&written("written"), now);
    set.add(&Change::Touched { path: rel("waits"), is_dir: false, rewritten: false }, now);
    let fast = set.lease(Lane::Fast, 0, 0, now).id;
    for (name, batch, expected) in [
        ("quiet", fast, NameTurn::Now),
        ("waits", fast, NameTurn::Now),
        ("written", fast, NameTurn::Alone),
        ("big", fast, NameTurn::After),
        ("big", bulk, NameTurn::Now),
        ("new/name", fast, NameTurn::Alone),
        ("gone/name", fast, NameTurn::Alone),
    ] {
        assert_eq!(set.name_turn(&rel(name), batch), expected, "{name} {batch:?}");
    }
}

#[test]
fn a_name_that_a_batch_takes_along_waits_in_the_other_lane_until_it_ends() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&written("a"), now);
    let batch = set.lease(Lane::Fast, 9, 99, now);
    set.takes_along(batch.id, [rel("b")].iter());
    let other = set.lease(Lane::Bulk, 0, 0, now).id;
    assert_eq!(set.name_turn(&rel("b"), other), NameTurn::After);
    set.settle(batch.id, now, |_| Fate::Delivered, |_| Duration::ZERO);
    assert_eq!(set.name_turn(&rel("b"), other), NameTurn::Now);
}

#[test]
fn names_are_given_up_by_the_try_after_which_they_are_not_taken_along() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&written("a"), now);
    for expected in [false, true] {
        let batch = set.lease(Lane::Fast, 9, 99, now);
        assert!(batch.paths[0].1.takes_names());
        assert_eq!(set.gives_up_names(batch.id), expected);
        set.settle(batch.id, now, |_| Fate::Failed, |_| Duration::ZERO);
    }
    assert!(!set.lease(Lane::Fast, 9, 99, now).paths[0].1.takes_names());
}

#[test]
fn what_is_let_wait_is_in_no_batch_and_due_later() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    ["a", "b"].iter().for_each(|path| set.add(&written(path), now));
    let batch = set.lease(Lane::Fast, 9, 99, now);
    let until = now + Duration::from_secs(1);
    set.let_wait(batch.id, &BTreeSet::from([rel("a")]), until);
    set.settle(batch.id, now, |_| Fate::Delivered, |_| Duration::ZERO);
    let early = set.lease(Lane::Fast, 9, 99, now);
    assert_eq!(early.paths, []);
    set.roll_back_batch(early.id);
    let later = set.lease(Lane::Fast, 9, 99, until).paths;
    assert_eq!(later.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [rel("a")]);
    assert!(later[0].1.proof.rewritten);
}
