//! Removals, and what waits for them or is protected from them.

use super::super::outcome::REPORT_TIME;
use super::*;
use crate::outbox::fate::Fate;
use crate::transport::blame::Blame;

#[test]
fn a_missing_path_waits_for_the_report_of_its_removal() {
    assert_eq!(planned(&[], &[], &[touched("d/x")]), "?d/x");
    assert_eq!(planned(&["d/"], &[], &[touched("d/x")]), "?d/x");
}

#[test]
fn a_directory_that_was_moved_away_is_never_deleted() {
    let away = |path| Change::MovedAway { path: rel(path) };
    let out = |path| Change::MovedOut { path: rel(path) };
    assert_eq!(planned(&[], &[], &[touched("d/x"), away("d")]), "?d/x", "the other half may come");
    assert_eq!(planned(&[], &[], &[touched("d/x"), away("d"), out("d")]), "");
    let left_inside = [away("d/e"), out("d/e"), removed("d")];
    assert_eq!(planned(&[], &[], &left_inside), "-d !d/e", "the rest of the directory is deleted around it");
    assert_eq!(planned(&["d/"], &[], &[away("d/e"), out("d/e"), subtree("d")]), "/d !d/e");
}

#[test]
fn a_name_that_exists_again_is_not_protected() {
    let changes = [Change::MovedAway { path: rel("d/e") }, Change::MovedOut { path: rel("d/e") }, subtree("d")];
    assert_eq!(planned(&["d/", "d/e/"], &[], &changes), "/d");
}

#[test]
fn many_moved_directories_are_protected_by_those_that_held_them() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    for n in 0..=PROTECTED {
        set.add(&Change::MovedAway { path: rel(&format!("d/e/{n}")) }, now);
    }
    set.add(&removed("d"), now);
    let batch = set.lease(Lane::Fast, 9, 999, now + PAUSE).paths;
    let plan = plan(
        &batch,
        PlanGround {
            set: &set,
            excludes: &Excludes::default(),
            disk: &mut Table(vec![]),
            room: None,
            now: now + PAUSE,
        },
    );
    assert_eq!(plan.run.protected, BTreeSet::from([rel("d/e")]));
}

#[test]
fn what_an_unmount_hides_is_not_deleted() {
    let unmounted = Change::Unmounted { path: rel("mnt") };
    assert_eq!(planned(&["mnt/"], &[], &[touched("mnt/x"), unmounted.clone()]), "");
    assert_eq!(planned(&["mnt/"], &[], &[unmounted.clone(), touched("mnt/x")]), "");
    assert_eq!(planned(&["mnt/"], &[], &[unmounted.clone(), removed("mnt/x")]), "", "it was below the mount");
    assert_eq!(planned(&[], &[], &[unmounted.clone(), removed("mnt")]), "-mnt", "the directory itself is removed");
    let disk = ["d/", "d/mnt/", "mnt/", "mnt/new/"];
    let in_d = Change::Unmounted { path: rel("d/mnt") };
    assert_eq!(planned(&disk, &[], &[in_d.clone(), unmounted.clone(), subtree("d")]), "/d =d/mnt", "one below");
    assert_eq!(planned(&disk, &[], &[unmounted.clone(), subtree("mnt")]), "/mnt =mnt", "itself");
    assert_eq!(planned(&disk, &[], &[unmounted, subtree("mnt/new")]), "/mnt/new =mnt", "one above");
    assert_eq!(planned(&disk, &[], &[in_d, subtree("mnt")]), "/mnt");
}

#[test]
fn while_the_content_may_be_on_its_way_no_comparison_deletes() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.source_emptied();
    set.source_returned(now);
    let mut planned = |change| {
        set.add(&change, now);
        let batch = set.lease(Lane::Fast, 9, 999, now + PAUSE);
        let disk = &mut Table(vec!["d/", "f"]);
        let plan = plan(
            &batch.paths,
            PlanGround { set: &set, excludes: &Excludes::default(), disk, room: None, now: now + PAUSE },
        );
        set.settle(batch.id, now, |_| Fate::Delivered, |_| PAUSE);
        plan.run.kept.iter().map(RelPath::to_string).collect::<Vec<_>>().concat()
    };
    assert_eq!([planned(subtree("d")), planned(touched("f")), planned(removed("x"))], [".", "", ""]);
}

#[test]
fn what_lies_below_a_removal_that_waits_goes_with_it() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&removed("d"), now);
    set.add(&touched("d/x"), now);
    let batch = set.lease(Lane::Fast, 9, 999, now).paths;
    assert_eq!(batch.len(), 1);
    let plan = plan(
        &batch,
        PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut Table(vec![]), room: None, now },
    );
    assert!(plan.run.is_empty() && plan.paths.unreported.is_empty(), "{plan:?}");
    assert!(set.is_reported_removed(&rel("d")));
}

#[test]
fn a_removal_that_is_never_reported_is_looked_for() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&touched("d/x"), now);
    let mut plan_at = |now| {
        let batch = set.lease(Lane::Fast, 9, 999, now);
        let plan = plan(
            &batch.paths,
            PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut Table(vec!["d/"]), room: None, now },
        );
        set.settle(batch.id, now, |path| plan.fate(path, &Blame::default(), &Since::default()), |_| Duration::ZERO);
        (plan.paths.lost.into_iter().collect::<Vec<_>>(), set.len())
    };
    assert_eq!(plan_at(now), (vec![], 1));
    assert_eq!(plan_at(now + REPORT_TIME), (vec![], 1));
    assert_eq!(plan_at(now + REPORT_AT_LATEST), (vec![rel("d")], 0));
}

#[test]
fn what_goes_waits_for_what_came_with_it_and_takes_the_bulk_lane() {
    let mut set = PendingSet::default();
    let now = Instant::now();
    set.add(&Change::Removed { path: rel("old"), is_dir: false }, now);
    set.add(&touched("large 1"), now);
    set.add(&touched("small"), now);
    let now = now + PAUSE;
    let batch = set.lease(Lane::Fast, 10, 1000, now).paths;
    let disk = || Table(vec!["large 1", "small"]);
    let lists = |bytes| {
        let room = BatchRoom { bytes, entries: 2 };
        let plan = plan(
            &batch,
            PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut disk(), room: Some(room), now },
        );
        [&plan.run.present, &plan.run.large, &plan.run.missing, &plan.paths.bulk]
            .map(|list| list.iter().map(RelPath::to_string).collect::<Vec<_>>())
    };
    let none = Vec::<String>::new;
    assert_eq!(lists(LARGE), [vec!["small".to_owned()], none(), none(), vec!["large 1".into(), "old".into()]]);
    assert_eq!(lists(LARGE * 2)[2], ["old"]);
}

#[test]
fn what_settles_is_left_out_of_the_comparison_of_its_directory() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    let pattern = crate::patterns::excludes::Pattern::parse("*.part").unwrap();
    set.set_settle(crate::patterns::settle::Settle::new(vec![(pattern, Duration::from_secs(9))]));
    [subtree("d"), touched("d/x.part"), touched("d/y")].iter().for_each(|change| set.add(change, now));
    let batch = set.lease(Lane::Fast, 99, 9999, now).paths;
    let disk = &mut Table(vec!["d/", "d/x.part", "d/y"]);
    let plan = plan(&batch, PlanGround { set: &set, excludes: &Excludes::default(), disk, room: None, now });
    assert_eq!((&plan.run.subtrees, &plan.run.protected), (&[rel("d")].into(), &[rel("d/x.part")].into()));
}

#[test]
fn a_removal_that_is_reported_after_its_path_was_taken_goes_by_its_own_rules() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&touched("a"), now);
    let batch = set.lease(Lane::Fast, 99, 9999, now + PAUSE).paths;
    let removed = Change::Removed { path: rel("a"), is_dir: false };
    let missing = |set: &PendingSet, now| {
        let (excludes, mut disk) = (Excludes::default(), Table(vec![]));
        plan(&batch, PlanGround { set, excludes: &excludes, disk: &mut disk, room: None, now }).run.missing.len()
    };
    set.add(&removed, now + PAUSE);
    assert_eq!(missing(&set, now + PAUSE), 0, "more of the tree may be about to go");
}

#[test]
fn a_name_that_is_taken_again_before_its_removal_keeps_what_came_to_it() {
    let removed = |path: &str| Change::Removed { path: rel(path), is_dir: false };
    let renamed = |from: &str, to: &str| Change::Renamed { from: rel(from), to: rel(to) };
    for first_ends_first in [true, false] {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        let plan_on = |set: &mut PendingSet, disk: &[&'static str]| {
            let batch = set.lease(Lane::Fast, 99, 9999, now);
            let ground =
                PlanGround { set, excludes: &Excludes::default(), disk: &mut Table(disk.to_vec()), room: None, now };
            (batch.id, plan(&batch.paths, ground))
        };
        [removed("large 1"), renamed("large 1", "large 2")].iter().for_each(|change| set.add(change, now));
        let (first, older) = plan_on(&mut set, &["large", "large 2"]);
        assert_eq!(older.run.missing, BTreeSet::from([rel("large 1")]));
        set.worked(first);
        [removed("large"), renamed("large", "large 1")].iter().for_each(|change| set.add(change, now));
        let since = Since { spared: older.run.missing.clone(), ..older.since(&mut Table(vec!["large 1", "large 2"])) };
        let (second, newer) = plan_on(&mut set, &["large 1", "large 2"]);
        assert!(newer.run.renamed.contains_key(&rel("large 1")), "{newer:?}");
        let fate = |path: &RelPath| older.fate(path, &Blame::default(), &since);
        if first_ends_first {
            set.settle(first, now, fate, |_| Duration::ZERO);
        }
        set.settle(second, now, |_| Fate::Delivered, |_| Duration::ZERO);
        if !first_ends_first {
            set.settle(first, now, fate, |_| Duration::ZERO);
        }
        assert!(set.is_empty(), "nothing is sent again");
    }
}

#[test]
fn a_file_that_is_written_anew_while_its_old_name_is_removed_is_another_file() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    let plan_on = |set: &mut PendingSet, disk: &[&'static str]| {
        let batch = set.lease(Lane::Fast, 99, 9999, now);
        let ground =
            PlanGround { set, excludes: &Excludes::default(), disk: &mut Table(disk.to_vec()), room: None, now };
        (batch.id, plan(&batch.paths, ground).run)
    };
    set.add(&Change::Removed { path: rel("large"), is_dir: false }, now);
    set.add(&Change::Renamed { from: rel("large"), to: rel("large 1") }, now);
    let (first, run) = plan_on(&mut set, &["large 1"]);
    assert_eq!(run.missing, BTreeSet::from([rel("large")]));
    set.worked(first);
    set.add(&Change::Touched { path: rel("large"), is_dir: false, rewritten: false }, now);
    let (_, run) = plan_on(&mut set, &["large", "large 1"]);
    assert_eq!(run.anew, BTreeSet::from([rel("large")]), "the node may have one inode by both names");
}
