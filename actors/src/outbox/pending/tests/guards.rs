//! Removals that wait, removals that are not believed, and what an unmount hides.

use std::collections::BTreeSet;

use super::{rel, touched};
use crate::change::Change;
use crate::outbox::fate::Fate;
use crate::outbox::guards::RETURN_TIME;
use crate::outbox::pending::*;
use crate::transport::Lane;

const PAUSE: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(9);

fn removed(path: &str) -> Change {
    Change::Removed { path: rel(path), is_dir: false }
}

fn unmounted(path: &str) -> Change {
    Change::Unmounted { path: rel(path) }
}

fn lease(set: &mut PendingSet, lane: Lane, now: Instant) -> Vec<String> {
    set.lease(lane, 99, 9999, now).paths.iter().map(|(path, _)| path.to_string()).collect()
}

/// Ends the newest batch.
fn settle(set: &mut PendingSet, now: Instant, fate: Fate) {
    let id = set.leases.newest().unwrap();
    set.settle(id, now, |_| fate, |_| SOON);
}

#[test]
fn removals_wait_for_a_pause_and_nothing_else_does() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&removed("old"), now);
    set.add(&touched("new"), now);
    set.add(&removed("again"), now);
    set.add(&touched("again"), now);
    assert_eq!(lease(&mut set, Lane::Fast, now), ["again", "new"], "what exists again is sent at once");
    settle(&mut set, now, Fate::Delivered);
    assert_eq!(set.next_due(Lane::Fast, now), Some(now + PAUSE));
    set.add(&removed("older"), now + PAUSE / 2);
    assert!(lease(&mut set, Lane::Fast, now + PAUSE).is_empty(), "it went on");
    settle(&mut set, now, Fate::Delivered);
    assert_eq!(lease(&mut set, Lane::Fast, now + PAUSE * 2), ["old", "older"]);
}

#[test]
fn a_removal_that_stays_alone_waits_for_a_moment_and_what_may_delete_more_for_a_pause() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&removed("old"), now);
    set.want_reconcile();
    set.add(&Change::Level { path: rel("d") }, now);
    let moment = set.next_due(Lane::Fast, now).unwrap();
    assert!(moment - now < PAUSE / 5, "{:?}", moment - now);
    assert_eq!(lease(&mut set, Lane::Fast, moment), ["old"]);
    settle(&mut set, moment, Fate::Delivered);
    assert_eq!((set.next_due(Lane::Fast, moment), set.reconcile_due(moment)), (Some(now + PAUSE), Some(now + PAUSE)));
    for is_dir in [false, true] {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&removed("a"), now);
        assert_eq!(lease(&mut set, Lane::Fast, moment + PAUSE), ["a"]);
        settle(&mut set, moment, Fate::Delivered);
        set.add(&Change::Removed { path: rel("b"), is_dir }, now + PAUSE / 2);
        let due = set.next_due(Lane::Fast, now + PAUSE / 2);
        assert_eq!(due, Some(now + PAUSE / 2 + PAUSE), "the second within a pause");
    }
}

#[test]
fn an_old_name_waits_for_no_pause_and_what_left_the_tree_does() {
    let renamed = |from: String, to: String| Change::Renamed { from: rel(&from), to: rel(&to) };
    let (mut set, now) = (PendingSet::default(), Instant::now());
    for n in 0..3 {
        set.add(&removed(&format!("old{n}")), now);
        set.add(&renamed(format!("old{n}"), format!("new{n}")), now);
    }
    while set.next_due(Lane::Fast, now) == Some(now) {
        lease(&mut set, Lane::Fast, now);
        settle(&mut set, now, Fate::Delivered);
    }
    assert!(set.is_empty(), "all of it goes at once: {set:?}");
    set.set_dir_moves(DirMoves::Replicate);
    set.add(&Change::MovedAway { path: rel("d") }, now);
    set.add(&Change::MovedTo { from: rel("d"), to: rel("e") }, now);
    assert_eq!(set.reconcile_due(now), None);
    set.want_reconcile();
    assert_eq!(set.reconcile_due(now), Some(now), "the directory is in the source");
    set.add(&Change::MovedAway { path: rel("e") }, now);
    set.add(&Change::MovedOut { path: rel("e") }, now);
    assert_eq!(set.reconcile_due(now), Some(now + PAUSE), "it is not any more");
}

#[test]
fn a_stop_waits_for_no_pause() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&removed("old"), now);
    set.hurry();
    assert_eq!(lease(&mut set, Lane::Fast, now), ["old"]);
}

#[test]
fn whatever_a_row_of_removals_folds_into_waits_too() {
    let (mut set, now) = (PendingSet::new(8), Instant::now());
    (0..9).for_each(|n| set.add(&removed(&format!("d/{}/{n}", n % 3)), now));
    assert_eq!((set.len(), set.next_due(Lane::Fast, now)), (3, Some(now + PAUSE)), "the directories that held them");
    let (mut set, now) = (PendingSet::new(8), Instant::now());
    (0..9).for_each(|n| set.add(&removed(&n.to_string()), now));
    assert_eq!((set.len(), set.reconcile_due(now)), (1, Some(now + PAUSE)), "the tree");
    assert!(!set.lease_reconcile(now) && set.lease_reconcile(now + PAUSE));
}

#[test]
fn a_removal_goes_after_what_may_be_its_new_name() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&removed("old"), now);
    set.add(&touched("large"), now);
    let batch = set.lease(Lane::Fast, 99, 9999, now);
    set.defer(batch.id, &BTreeSet::from([rel("large")]));
    set.settle(batch.id, now, |_| Fate::Delivered, |_| SOON);
    assert_eq!(set.next_due(Lane::Fast, now + PAUSE), None, "it takes the same lane");
    assert_eq!(lease(&mut set, Lane::Bulk, now), ["large"]);
    settle(&mut set, now, Fate::Failed);
    assert_eq!(set.next_due(Lane::Bulk, now + PAUSE), Some(now + SOON), "it waits for what failed");
    assert_eq!(lease(&mut set, Lane::Bulk, now + SOON), ["large", "old"], "and goes with it");
}

#[test]
fn what_was_removed_before_the_content_came_back_is_not_believed() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&removed("a"), now);
    set.want_reconcile();
    assert!(!set.source_returned(now), "it was never gone");
    set.source_emptied();
    set.add(&touched("b"), now);
    assert!(set.source_returned(now) && !set.source_returned(now));
    assert!(set.is_careful());
    assert_eq!(lease(&mut set, Lane::Fast, now + PAUSE), ["b"]);
    settle(&mut set, now, Fate::Delivered);
    assert_eq!(set.reconcile_due(now), Some(now + RETURN_TIME), "the content may come back file by file");
    set.add(&removed("c"), now + PAUSE);
    assert_eq!(lease(&mut set, Lane::Fast, now + PAUSE * 2), ["c"], "what is removed from now on is");
    settle(&mut set, now, Fate::Delivered);
    assert!(!set.lease_reconcile(now + RETURN_TIME / 2) && set.lease_reconcile(now + RETURN_TIME));
    set.settle_reconcile(now + RETURN_TIME);
    assert!(!set.is_careful() && set.is_empty());
}

#[test]
fn a_reconcile_that_ran_while_the_content_was_gone_does_not_count() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(now));
    set.source_emptied();
    set.source_returned(now);
    set.settle_reconcile(now + PAUSE);
    assert!(set.is_careful());
    assert_eq!(set.reconcile_due(now), Some(now + RETURN_TIME));
}

#[test]
fn what_an_unmount_hides_stays_hidden_until_it_is_mounted_or_removed() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    let mut hidden = |change: Change| {
        set.add(&change, now);
        set.hidden_about(&RelPath::root()).iter().map(RelPath::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(hidden(unmounted("d/m/deep")), "d/m/deep");
    assert_eq!(hidden(unmounted("d/m")), "d/m", "the topmost covers the rest");
    assert_eq!(hidden(unmounted("d/m/other")), "d/m");
    assert_eq!(hidden(unmounted("n")), "d/m n");
    assert_eq!(hidden(Change::Subtree { path: rel("d") }), "d/m n", "a comparison is not a mount");
    assert_eq!(hidden(Change::Subtree { path: rel("d/m") }), "d/m n");
    assert_eq!(hidden(Change::MovedAway { path: rel("d") }), "d/m n");
    assert_eq!(hidden(Change::MovedTo { from: rel("d"), to: rel("e") }), "e/m n");
    assert_eq!(hidden(Change::Mounted { path: rel("n") }), "e/m");
    assert_eq!(hidden(Change::Removed { path: rel("e"), is_dir: true }), "");
    for n in 0..201 {
        hidden(unmounted(&format!("many/{n}")));
    }
    assert_eq!(hidden(unmounted("one/more")), "many one", "a run cannot name them all");
}
