//! Files that change while they are sent, and files that settle.

use super::*;

#[test]
fn a_file_that_changes_whenever_it_is_sent_is_sent_at_growing_intervals() {
    let (mut set, mut now) = (set(&[touched("log")]), Instant::now());
    let mut pauses = Vec::new();
    for round in 0..12 {
        assert_eq!(set.lease(Lane::Fast, 99, 9999, now).paths.len(), 1);
        if round == 4 {
            // The watcher tells of it, too.
            set.add(&touched("log"), now);
        }
        settle(&mut set, now, |_| Fate::Changed, |_| SOON);
        let due = set.next_due(Lane::Fast, now).unwrap();
        pauses.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 0, 32, 64, 128, 256, 320, 320, 320], "what is reported goes at once");
}

#[test]
fn a_file_that_may_be_written_in_flight_is_new_and_one_of_which_the_mode_changes_is_not() {
    let closed = Change::Closed { path: rel("a") };
    for (change, leased, rewritten) in
        [(&closed, true, true), (&closed, false, false), (&touched("a"), true, false), (&touched("a"), false, false)]
    {
        let mut set = set(&[touched("a")]);
        if leased {
            lease(&mut set);
        }
        set.add(change, Instant::now());
        let waits = set.waiting.get(&rel("a")).unwrap();
        assert_eq!((waits.proof.rewritten, waits.proof.closed), (rewritten, change == &closed), "{change} {leased}");
    }
}

#[test]
fn a_file_that_may_have_been_written_through_a_mapping_is_new_by_another_name_and_after_a_restart() {
    let closed = Change::Closed { path: rel("a") };
    let mut next = PendingSet::default();
    next.resume(&set(std::slice::from_ref(&closed)).backlog());
    let removed = Change::Removed { path: rel("a"), is_dir: false };
    let renamed = set(&[closed, removed, Change::Renamed { from: rel("a"), to: rel("b") }]);
    for (set, name) in [(next, "a"), (renamed, "b")] {
        assert!(set.waiting.get(&rel(name)).unwrap().proof.rewritten, "{set:?}");
    }
}

/// A set in which `*.part` settles for the time of `SOON`.
fn settling(changes: &[Change], now: Instant) -> PendingSet {
    let mut set = PendingSet::default();
    set.set_settle(Settle::new(vec![(crate::patterns::excludes::Pattern::parse("*.part").unwrap(), SOON)]));
    changes.iter().for_each(|change| set.add(change, now));
    set
}

#[test]
fn a_file_settles_before_it_is_sent_and_each_event_begins_anew() {
    let start = Instant::now();
    let mut set = settling(&[touched("d/a.part"), touched("b")], start);
    assert_eq!(lease(&mut set), ["b"]);
    settle(&mut set, start, |_| Fate::Delivered, |_| SOON);
    set.add(&touched("d/a.part"), start + SOON / 2);
    assert_eq!(set.next_due(Lane::Fast, start), Some(start + SOON * 3 / 2));
    set.add(&Change::Removed { path: rel("d/a.part"), is_dir: false }, start);
    assert_eq!(lease(&mut set), ["d/a.part"], "deletions do not wait");
}

#[test]
fn a_subtree_does_not_swallow_what_settles_below_it() {
    let start = Instant::now();
    let subtree = Change::Subtree { path: rel("d") };
    for changes in [[subtree.clone(), touched("d/a.part")], [touched("d/a.part"), subtree]] {
        let mut set = settling(&changes, start);
        assert_eq!(lease(&mut set), ["d"]);
        assert_eq!(set.settling_below(&rel("d"), start, 9), [rel("d/a.part")]);
        settle(&mut set, start, |_| Fate::Delivered, |_| SOON);
        assert_eq!(names(&set.lease(Lane::Fast, 99, 9999, start + SOON)), ["d/a.part"]);
    }
}
