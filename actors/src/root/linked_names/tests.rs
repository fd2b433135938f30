use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn set(names: &[&str]) -> BTreeSet<RelPath> {
    names.iter().map(|name| rel(name)).collect()
}

struct World {
    dir: tempfile::TempDir,
    root: Root,
    links: HardLinks,
}

impl World {
    /// A tree in which the names of each group are one file.
    fn of(groups: &[&[&str]]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for names in groups {
            make(&tree, names[0]);
            names[1..].iter().for_each(|other| link(&tree, names[0], other));
        }
        World { root: Root::of(&tree).unwrap(), links: HardLinks::default(), dir }
    }

    fn tree(&self) -> std::path::PathBuf {
        self.dir.path().join("tree")
    }

    fn groups(&self, excludes: &[&str], files: &[&str], trees: &[&str]) -> Vec<BTreeSet<RelPath>> {
        let excludes = Excludes::new(excludes.iter().map(|pattern| (*pattern).to_owned()).collect()).unwrap();
        let question = LinkQuestion { files: set(files), trees: set(trees), ..LinkQuestion::default() };
        let ground = LinkGround { root: &self.root, excludes: &excludes, is_waiting: &|| true };
        let mut groups = self.links.groups(ground, &question).groups;
        groups.sort();
        groups
    }
}

fn make(tree: &Path, name: &str) {
    fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
    fs::write(tree.join(name), name).unwrap();
}

fn link(tree: &Path, name: &str, other: &str) {
    fs::create_dir_all(tree.join(other).parent().unwrap()).unwrap();
    fs::hard_link(tree.join(name), tree.join(other)).unwrap();
}

#[test]
fn a_file_is_found_by_all_its_names_wherever_they_are() {
    let world = World::of(&[&["a", "d/b", "d/e/c"], &["x", "y"], &["alone"]]);
    let all = set(&["a", "d/b", "d/e/c"]);
    for name in ["a", "d/b", "d/e/c"] {
        assert_eq!(world.groups(&[], &[name], &[]), std::slice::from_ref(&all), "{name}");
    }
    assert_eq!(world.groups(&[], &["a", "y", "alone", "gone"], &[]), [all.clone(), set(&["x", "y"])]);
    assert_eq!(world.groups(&[], &[], &["d"]), [all]);
    assert_eq!(world.groups(&["e/"], &["a"], &[]), [set(&["a", "d/b"])]);
}

#[test]
fn names_that_moved_came_or_went_are_found_as_they_are() {
    let world = World::of(&[&["a", "d/b"]]);
    let tree = world.tree();
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "d/b"])]);
    fs::rename(tree.join("d"), tree.join("moved")).unwrap();
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "moved/b"])]);
    link(&tree, "a", "c");
    assert_eq!(world.groups(&[], &["c"], &[]), [set(&["a", "c", "moved/b"])]);
    fs::remove_file(tree.join("a")).unwrap();
    assert_eq!(world.groups(&[], &["c"], &[]), [set(&["c", "moved/b"])]);
    // Another file has the name, perhaps by the number of the first.
    fs::remove_file(tree.join("c")).unwrap();
    make(&tree, "c");
    assert_eq!(world.groups(&[], &["moved/b", "c"], &[]), Vec::<BTreeSet<RelPath>>::new());
}

#[test]
fn a_name_below_a_symlink_is_none() {
    let world = World::of(&[&["a", "d/b"]]);
    let tree = world.tree();
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "d/b"])]);
    fs::rename(tree.join("d"), tree.join("real")).unwrap();
    std::os::unix::fs::symlink("real", tree.join("d")).unwrap();
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "real/b"])]);
}

#[test]
fn a_name_outside_of_the_tree_is_not_searched_for_again() {
    let world = World::of(&[&["a", "b"]]);
    fs::hard_link(world.tree().join("a"), world.dir.path().join("outside")).unwrap();
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "b"])]);
    // Nothing but a search would find this one.
    fs::rename(world.dir.path().join("outside"), world.tree().join("c")).unwrap();
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "b"])]);
    assert_eq!(world.groups(&[], &["c"], &[]), [set(&["a", "b", "c"])], "its own event tells of it");
}

#[test]
fn groups_with_names_elsewhere_come_first_and_what_is_too_much_is_told() {
    let many = |number: usize, at: &str| -> LinkedFiles {
        let names = (0..number).map(|name| rel(&format!("{at}/{name}"))).collect();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), at).unwrap();
        let meta = Root::of(dir.path()).unwrap().look_at(&rel("f")).unwrap();
        // The directories are gone by the next call: the number may be given again.
        std::mem::forget(dir);
        [(meta.file_id(), FoundFile { links: 2, names })].into()
    };
    let question = LinkQuestion { trees: set(&["d"]), ..LinkQuestion::default() };
    for (groups, expected, cut) in [
        (vec![(2, "d"), (3, "e")], 2, false),
        (vec![(MOST_IN_BATCH, "d"), (3, "e")], 1, false),
        (vec![(MOST_IN_BATCH, "x"), (3, "e")], 1, true),
    ] {
        let mut found = LinkedFiles::new();
        groups.iter().for_each(|(number, at)| merge(&mut found, many(*number, at)));
        let answer = grouped(found, &question);
        assert_eq!((answer.groups.len(), answer.cut), (expected, cut), "{groups:?}");
    }
}

#[test]
fn a_search_ends_when_nobody_waits_for_it_and_the_next_one_finds_all() {
    let world = World::of(&[&["a", "d/b"]]);
    let excludes = Excludes::default();
    let ground = LinkGround { root: &world.root, excludes: &excludes, is_waiting: &|| false };
    let question = LinkQuestion { files: set(&["a"]), ..LinkQuestion::default() };
    assert_eq!(world.links.groups(ground, &question), LinkGroups::default());
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "d/b"])]);
}

#[test]
fn a_name_that_somebody_tells_of_during_a_search_stays_known_although_the_search_was_there_before() {
    let world = World::of(&[&["d/a", "d/b", "z"]]);
    let excludes = Excludes::default();
    let question = |files: &[&str]| LinkQuestion { files: set(files), ..LinkQuestion::default() };
    let calls = AtomicUsize::new(0);
    // Asked once before the search, and then at each directory that it comes to.
    let is_waiting = || {
        match calls.fetch_add(1, Ordering::Relaxed) {
            1 => fs::remove_file(world.tree().join("z")).unwrap(),
            2 => {
                link(&world.tree(), "d/a", "z");
                assert_eq!(world.groups(&[], &["d/a", "d/b", "z"], &[]), [set(&["d/a", "d/b", "z"])]);
            }
            _ => (),
        }
        true
    };
    let ground = LinkGround { root: &world.root, excludes: &excludes, is_waiting: &is_waiting };
    world.links.groups(ground, &question(&["d/a"]));
    assert!(calls.into_inner() > 2);
    assert_eq!(world.groups(&[], &["d/a"], &[]), [set(&["d/a", "d/b", "z"])]);
}

#[test]
fn a_question_has_what_another_one_is_about_if_it_names_it_or_a_tree_above_it() {
    let asked = LinkQuestion { files: set(&["a", "b/c"]), trees: set(&["d"]), levels: set(&["e"]) };
    let [files, trees, levels] = [0, 1, 2].map(|kind| {
        move |names: &[&str]| match kind {
            0 => LinkQuestion { files: set(names), ..LinkQuestion::default() },
            1 => LinkQuestion { trees: set(names), ..LinkQuestion::default() },
            _ => LinkQuestion { levels: set(names), ..LinkQuestion::default() },
        }
    });
    for (other, expected) in [
        (LinkQuestion::default(), true),
        (files(&["a", "b/c", "d/e/f"]), true),
        (files(&["a", "b"]), false),
        (files(&["e/f"]), false),
        (trees(&["d", "d/e"]), true),
        (trees(&["b"]), false),
        (trees(&["e"]), false),
        (levels(&["e", "d", "d/e"]), true),
        (levels(&["b"]), false),
    ] {
        assert_eq!(asked.has_all_of(&other), expected, "{other:?}");
    }
}

#[test]
fn who_needs_no_search_does_not_wait_for_one() {
    let world = World::of(&[&["a", "d/b"]]);
    assert_eq!(world.groups(&[], &["a"], &[]), [set(&["a", "d/b"])]);
    let _searching = world.links.0.searching.lock().unwrap();
    assert_eq!(world.groups(&[], &["d/b"], &[]), [set(&["a", "d/b"])]);
}
