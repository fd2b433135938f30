use super::outcome::REPORT_TIME;
use super::*;
use crate::change::Change;
use crate::outbox::fate::Fate;
use crate::transport::Lane;
use crate::transport::blame::Blame;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// A disk on which these directories (with a trailing slash) and files exist.
struct Table(Vec<&'static str>);

impl Disk for Table {
    fn look(&mut self, path: &RelPath) -> EntryOnDisk {
        let directory = format!("{path}/");
        match self.0.iter().find(|entry| **entry == path.to_string() || **entry == directory) {
            Some(entry) if entry.ends_with('/') => EntryOnDisk::Directory,
            Some(entry) if entry.starts_with("large") => {
                EntryOnDisk::File(FileVersion { size: LARGE + 1, ..FileVersion::default() })
            }
            Some(_) => EntryOnDisk::File(FileVersion { size: LARGE, ..FileVersion::default() }),
            None => EntryOnDisk::Missing,
        }
    }

    fn fits(&mut self, dir: &RelPath, room: &mut BatchRoom) -> bool {
        self.0.iter().filter(|entry| entry.starts_with(&format!("{dir}/"))).all(|_| room.take(LARGE))
    }
}

fn touched(path: &str) -> Change {
    Change::Touched { path: rel(path), is_dir: false, rewritten: false }
}

fn written(path: &str) -> Change {
    Change::Touched { path: rel(path), is_dir: false, rewritten: true }
}

fn removed(path: &str) -> Change {
    Change::Removed { path: rel(path), is_dir: false }
}

fn subtree(path: &str) -> Change {
    Change::Subtree { path: rel(path) }
}

/// For which removals wait.
const PAUSE: Duration = Duration::from_secs(1);

/// The plan in short: `+present`, `*large`, `~closed`, `#subtrees_rewritten`, `/subtree`, `%level`, `-missing`, `!protected`, `=kept`,
/// `?unreported`.
fn planned(disk: &[&'static str], excludes: &[&str], changes: &[Change]) -> String {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    changes.iter().for_each(|change| set.add(change, now));
    let now = now + PAUSE;
    let batch = set.lease(Lane::Fast, 99, 9999, now).paths;
    let excludes = Excludes::new(excludes.iter().map(|p| p.to_string()).collect()).unwrap();
    let plan =
        plan(&batch, PlanGround { set: &set, excludes: &excludes, disk: &mut Table(disk.to_vec()), room: None, now });
    let lists = [
        ('+', &plan.run.present),
        ('*', &plan.run.large),
        ('~', &plan.run.closed),
        ('/', &plan.run.subtrees),
        ('#', &plan.run.subtrees_rewritten),
        ('%', &plan.run.levels),
        ('-', &plan.run.missing),
        ('!', &plan.run.protected),
        ('=', &plan.run.kept),
        ('?', &plan.paths.unreported),
    ];
    let words = lists.iter().flat_map(|(mark, list)| list.iter().map(move |path| format!("{mark}{path}")));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_exists_is_sent_and_what_was_removed_is_deleted() {
    assert_eq!(planned(&["a", "d/", "d/x"], &[], &[touched("a"), touched("d/x"), removed("d/y")]), "+a +d/x -d/y");
}

#[test]
fn new_content_is_sent_whatever_size_and_time_say() {
    assert_eq!(planned(&["a", "large"], &[], &[written("large"), touched("a")]), "+a +large");
    assert_eq!(planned(&["a", "large"], &[], &[written("a"), touched("large")]), "+a *large");
    assert_eq!(planned(&["large"], &[], &[removed("large"), touched("large")]), "+large", "made again");
    assert_eq!(planned(&["d/"], &[], &[removed("d"), subtree("d")]), "#d", "made again");
}

#[test]
fn a_large_file_that_was_closed_is_compared_by_content_unless_it_is_sent() {
    let closed = |path: &str| Change::Closed { path: rel(path) };
    assert_eq!(planned(&["a", "large"], &[], &[closed("a"), closed("large")]), "+a ~large");
    assert_eq!(planned(&["large"], &[], &[closed("large"), touched("large")]), "~large", "and its mode was set");
    assert_eq!(planned(&["large"], &[], &[closed("large"), written("large")]), "+large");
    assert_eq!(planned(&["d/", "d/large"], &[], &[closed("d/large"), subtree("d")]), "/d");
}

#[test]
fn of_a_missing_directory_only_the_topmost_is_listed() {
    assert_eq!(planned(&["d/"], &[], &[removed("d/e/f/x"), removed("d/e")]), "-d/e");
}

#[test]
fn nothing_below_a_file_or_symlink_is_listed() {
    assert_eq!(planned(&["d"], &[], &[touched("d/x"), touched("d/e/y")]), "+d");
}

#[test]
fn nothing_excluded_is_listed() {
    let disk = ["cache/", "cache/x", "d/", "d/y.bin", "d/z", "gone/"];
    let changes = [touched("cache/x"), touched("d/y.bin"), touched("d/z"), removed("d/old.bin"), subtree("cache")];
    assert_eq!(planned(&disk, &["*.bin", "cache/"], &changes), "+d/z");
}

#[test]
fn a_directory_is_listed_as_entry_or_as_subtree() {
    assert_eq!(planned(&["d/", "e/", "f"], &[], &[touched("d"), subtree("e"), subtree("f")]), "+d +f /e");
}

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
fn what_the_fast_lane_has_no_room_for_belongs_into_the_bulk_lane() {
    let changes = ["large 1", "large 2", "small", "tree", "bush", "gone"];
    let disk = || Table(vec!["large 1", "large 2", "small", "bush/", "bush/x", "tree/", "tree/x", "tree/y"]);
    let batch: Vec<_> = changes.iter().map(|path| (rel(path), Pending::new(Scope::Subtree))).collect();
    let (set, now) = (PendingSet::default(), Instant::now());
    let lists = |room| {
        let plan = plan(&batch, PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut disk(), room, now });
        [&plan.run.large, &plan.run.present, &plan.run.subtrees, &plan.paths.bulk]
            .map(|list| list.iter().map(RelPath::to_string).collect::<Vec<_>>())
    };
    let room = BatchRoom { bytes: LARGE * 3 / 2, entries: 2 };
    assert_eq!(lists(Some(room)), [vec!["large 1"], vec!["small"], vec![], vec!["bush", "large 2", "tree"]]);
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
fn a_level_is_listed_as_such_unless_more_of_it_is() {
    let level = |path: &str| Change::Level { path: rel(path) };
    let disk = &["d/", "d/e/", "f"];
    for (changes, expected) in [
        (&[level("d"), touched("d/x")][..], "%d ?d/x"),
        (&[level("d"), subtree("d")], "/d"),
        (&[level("d/e"), subtree("d")], "/d"),
        (&[level("f")], "+f"),
        (&[level("")], "%."),
    ] {
        assert_eq!(planned(disk, &[], changes), expected, "{changes:?}");
    }
}

#[test]
fn a_level_takes_the_bulk_lane() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.add(&Change::Level { path: rel("d") }, now);
    let batch = set.lease(Lane::Fast, 9, 99, now).paths;
    let room = BatchRoom { bytes: 1 << 30, entries: 99 };
    let plan = plan(
        &batch,
        PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut Table(vec!["d/"]), room: Some(room), now },
    );
    assert_eq!((plan.run.is_empty(), plan.paths.bulk), (true, BTreeSet::from([rel("d")])));
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

#[test]
fn a_directory_that_holds_a_mount_which_does_not_answer_is_taken_apart_as_what_it_is() {
    /// A disk on which nothing below `m` answers.
    struct Hangs(Table);
    impl Disk for Hangs {
        fn look(&mut self, path: &RelPath) -> EntryOnDisk {
            self.0.look(path)
        }
        fn fits(&mut self, dir: &RelPath, room: &mut BatchRoom) -> bool {
            self.0.fits(dir, room)
        }
        fn is_silent_below(&mut self, dir: &RelPath) -> bool {
            *dir == rel("m")
        }
    }
    let removed = Change::Removed { path: rel("m"), is_dir: true };
    for (changes, expected) in [
        (vec![subtree("m")], vec![("m", false)]),
        // Another directory is there now.
        (vec![removed], vec![("m", true)]),
        (vec![touched("m")], vec![]),
        (vec![subtree("d")], vec![]),
    ] {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        changes.iter().for_each(|change| set.add(change, now));
        let batch = set.lease(Lane::Fast, 99, 9999, now + PAUSE).paths;
        let mut disk = Hangs(Table(vec!["m/", "d/"]));
        let plan = plan(
            &batch,
            PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut disk, room: None, now: now + PAUSE },
        );
        let expected: BTreeMap<RelPath, bool> = expected.into_iter().map(|(path, new)| (rel(path), new)).collect();
        assert_eq!(plan.paths.split, expected, "{changes:?}");
    }
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
