mod outcome;
mod removals;

use super::*;
use crate::change::Change;
use crate::transport::Lane;

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
