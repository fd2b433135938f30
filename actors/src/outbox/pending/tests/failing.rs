//! What becomes of paths that fail, and of what does not fit.

use super::*;

#[test]
fn a_path_that_fails_again_without_a_change_is_told_once() {
    let (mut set, now) = (set(&[touched("a")]), Instant::now());
    let mut told = Vec::new();
    for round in 0..6 {
        if round == 3 {
            set.add(&touched("a"), now);
        }
        lease(&mut set);
        told.push(settle(&mut set, now, |_| Fate::Failed, |_| Duration::ZERO).len());
    }
    assert_eq!(told, [0, 1, 0, 0, 1, 0]);
}

#[test]
fn what_does_not_fit_is_failing_at_once_and_holds_up_no_removal() {
    let (mut set, now) =
        (set(&[touched("large"), Change::Removed { path: rel("old"), is_dir: false }]), Instant::now());
    for expected in [1, 0] {
        let batch = set.lease(Lane::Fast, 1, 99, now);
        assert_eq!(names(&batch), ["large"]);
        let told = set.settle(batch.id, now, |_| Fate::Unfit { retry_in: Duration::ZERO }, |_| SOON);
        assert_eq!((told.len(), set.failing().paths, set.needs_room()), (expected, 1, true));
    }
    assert_eq!(lease(&mut set), ["large", "old"]);
    settle(
        &mut set,
        now,
        |path| if path.as_bytes() == b"old" { Fate::Delivered } else { Fate::Unfit { retry_in: SOON } },
        |_| SOON,
    );
    // The third time.
    assert_eq!((set.len(), set.next_due(Lane::Fast, now)), (1, Some(now + SOON * 4)));
    assert!(!set.set_aside(rel("large"), false, now, now), "it is known to fail");
    assert_eq!(set.next_due(Lane::Fast, now), Some(now + SOON * 4));
    // After something was deleted it is tried soon, and later each time.
    for seconds in [4, 8, 16] {
        set.room_was_made(now);
        let due = now + Duration::from_secs(seconds);
        assert_eq!(set.next_due(Lane::Fast, now), Some(due));
        let batch = set.lease(Lane::Fast, 9, 99, due);
        set.settle(batch.id, now, |_| Fate::Unfit { retry_in: SOON }, |_| SOON);
    }
    set.add(&touched("large"), now);
    assert_eq!((lease(&mut set), set.failing().paths), (vec!["large".to_owned()], 0), "it may be smaller now");
    settle(&mut set, now, |_| Fate::Delivered, |_| SOON);
    assert!(set.unfit.names().is_empty());
}

#[test]
fn what_does_not_fit_is_forgotten_with_the_file() {
    for gone in [Change::Removed { path: rel("d/large"), is_dir: false }, removed_dir("d")] {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        for path in ["d/large", "other"] {
            assert!(set.set_aside(rel(path), false, now, now + SOON));
        }
        set.add(&gone, now);
        assert_eq!(set.unfit.names(), ["other"], "{gone:?}");
    }
}

#[test]
fn what_was_not_tried_is_not_told_to_fail_and_holds_up_no_removal() {
    let (mut set, now) = (set(&[touched("large")]), Instant::now());
    for _ in 0..3 {
        assert_eq!(lease(&mut set), ["large"]);
        assert_eq!(settle(&mut set, now, |_| Fate::Untried { retry_in: Duration::ZERO }, |_| SOON), [] as [RelPath; 0]);
        assert_eq!((set.failing().paths, set.needs_room()), (0, true));
    }
    lease(&mut set);
    settle(&mut set, now, |_| Fate::Untried { retry_in: SOON }, |_| Duration::ZERO);
    assert_eq!(set.next_due(Lane::Fast, now), Some(now + SOON));
}

#[test]
fn a_comparison_that_waits_for_a_day_comes_soon_when_something_else_asks_for_it() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.want_reconcile();
    assert!(set.lease_reconcile(now));
    set.postpone_reconcile(now, |_| Duration::from_secs(86_400));
    assert_eq!(set.reconcile_due(now), Some(now + Duration::from_secs(86_400)));
    set.want_resync();
    let is_soon = |set: &PendingSet| set.reconcile_due(now).is_some_and(|at| at < now + Duration::from_secs(70));
    assert!(is_soon(&set));
    assert!(set.lease_reconcile(now + Duration::from_secs(70)));
    set.want_reconcile();
    set.postpone_reconcile(now, |_| Duration::from_secs(86_400));
    assert!(is_soon(&set), "it was asked for while the one before ran");
}
