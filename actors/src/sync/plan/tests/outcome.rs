//! The paths that a batch which failed in part, or found something else, keeps.

use super::*;
use crate::outbox::fate::Fate;
use crate::transport::blame::Blame;

#[test]
fn a_failure_keeps_the_paths_that_it_concerns() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    for change in [touched("a"), touched("b"), touched("d/x"), subtree("s")] {
        set.add(&change, now);
    }
    let batch = set.lease(Lane::Fast, 9, 999, now).paths;
    let mut disk = Table(vec!["a", "b", "d/", "d/x", "s/"]);
    let plan = plan(&batch, PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut disk, room: None, now });
    let blamed = Blame::Paths(vec![rel("a"), rel("d"), rel("s/deep/y")]);
    let kept = |path: &&str, blamed| plan.fate(&rel(path), blamed, &Since::default()) != Fate::Delivered;
    let all = ["a", "b", "d/x", "s"];
    assert_eq!(all.iter().filter(|p| kept(p, &blamed)).collect::<Vec<_>>(), [&"a", &"d/x", &"s"]);
    assert!(all.iter().all(|path| kept(path, &Blame::Anything)));
    let gone = plan.since(&mut Table(vec!["b", "d/", "d/x", "s/"]));
    assert_eq!(gone.gone, BTreeSet::from([rel("a")]));
    assert!(matches!(plan.fate(&rel("a"), &Blame::default(), &gone), Fate::Unreported { .. }));
    assert_eq!(plan.fate(&rel("b"), &Blame::default(), &gone), Fate::Delivered);
}

#[test]
fn what_is_there_again_after_it_was_deleted_is_sent_as_another_file() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    let renamed = Change::Renamed { from: rel("large"), to: rel("large 1") };
    [removed("large"), renamed].iter().for_each(|change| set.add(change, now));
    let lease = |set: &mut PendingSet, disk: &[&'static str], at| {
        let batch = set.lease(Lane::Fast, 99, 9999, at);
        let plan = plan(
            &batch.paths,
            PlanGround { set, excludes: &Excludes::default(), disk: &mut Table(disk.to_vec()), room: None, now: at },
        );
        (batch.id, plan)
    };
    let (batch, plan) = lease(&mut set, &["large 1"], now);
    assert_eq!(plan.run.missing, BTreeSet::from([rel("large")]));
    let since = plan.since(&mut Table(vec!["large", "large 1"]));
    assert_eq!(plan.fate(&rel("large"), &Blame::default(), &since), Fate::Returned);
    set.settle(batch, now, |path| plan.fate(path, &Blame::default(), &since), |_| Duration::ZERO);
    let (_, plan) = lease(&mut set, &["large", "large 1"], now);
    assert_eq!(plan.run.anew, BTreeSet::from([rel("large")]), "the node has one inode by both names: {plan:?}");
}

#[test]
fn a_file_that_is_another_one_after_it_was_sent_is_sent_again() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    [touched("a"), touched("b")].iter().for_each(|change| set.add(change, now));
    let batch = set.lease(Lane::Fast, 99, 9999, now).paths;
    let plan = plan(
        &batch,
        PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut Table(vec!["a", "b"]), room: None, now },
    );
    /// Everything is a file that was written later.
    struct Later;
    impl Disk for Later {
        fn look(&mut self, path: &RelPath) -> EntryOnDisk {
            let mtime = (0, i64::from(path.as_bytes() == b"a"));
            EntryOnDisk::File(FileVersion { size: LARGE, mtime })
        }
        fn fits(&mut self, _: &RelPath, _: &mut BatchRoom) -> bool {
            true
        }
    }
    let since = plan.since(&mut Later);
    let fate = |path: &str, blamed: &Blame| plan.fate(&rel(path), blamed, &since);
    assert_eq!(["a", "b"].map(|path| fate(path, &Blame::default())), [Fate::Changed, Fate::Delivered]);
    assert_eq!(fate("a", &Blame::Paths(vec![rel("a")])), Fate::Failed);
}

#[test]
fn what_failed_below_a_listed_subtree_holds_up_only_itself() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    [subtree("d"), touched("f"), Change::Level { path: rel("l") }].iter().for_each(|change| set.add(change, now));
    let batch = set.lease(Lane::Fast, 9, 99, now).paths;
    let plan = plan(
        &batch,
        PlanGround {
            set: &set,
            excludes: &Excludes::default(),
            disk: &mut Table(vec!["d/", "d/x", "f", "l/"]),
            room: None,
            now,
        },
    );
    let paths = |names: &[&str]| names.iter().map(|name| rel(name)).collect::<Vec<_>>();
    let set_aside = |path: &RelPath| ["l/unfit", "l/untried", "d/x"].map(rel).contains(path);
    for (blamed, apart, rest) in [
        (&["d/x", "f"][..], &["d/x"][..], &["f"][..]),
        (&["d", "d/x"], &[], &["d", "d/x"]),
        (&["dx"], &[], &["dx"]),
        (&["l/failed", "l/unfit"], &["l/unfit"], &["l/failed"]),
        (&["l/unfit", "l/untried"], &["l/unfit", "l/untried"], &[]),
    ] {
        let (found, left) = plan.apart(&Blame::Paths(paths(blamed)), set_aside);
        assert_eq!(found.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), paths(apart), "{blamed:?}");
        assert_eq!(left, Blame::Paths(paths(rest)), "{blamed:?}");
    }
    assert_eq!(plan.apart(&Blame::Anything, set_aside), (vec![], Blame::Anything));
}
