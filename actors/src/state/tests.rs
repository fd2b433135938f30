//! Stamps of a real tree, saved and compared after changes.

use std::fs;
use std::path::{Path, PathBuf};

use super::store::{Past, Store};
use super::*;
use crate::outbox::backlog::Backlog;
use crate::outbox::fold::Fold;
use crate::outbox::need::{Pending, Scope};
use crate::root::reach::Reach;
use crate::state::compare::DirDoubt;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// A temporary tree with its state.
struct Ground {
    dir: tempfile::TempDir,
    store: Option<Store>,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tree/d/e")).unwrap();
        for file in ["a", "d/b", "d/e/c", "d-"] {
            fs::write(dir.path().join("tree").join(file), file).unwrap();
        }
        let mut ground = Ground { dir, store: None };
        assert!(ground.open("tree").is_none());
        ground
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn open(&mut self, subject: &str) -> Option<Past> {
        self.store = None;
        let (store, past) = Store::open(&self.dir.path().join("state/file"), subject.as_bytes(), false).unwrap();
        self.store = Some(store);
        past
    }

    /// Saves these paths, as soon as nothing in the tree is fresh.
    fn save(&self, paths: &Fold, closed: bool) {
        let store = self.store.as_ref().unwrap();
        let writing = loop {
            let writing = store.write().unwrap();
            let fresh =
                stamping::record(&Reach::of(&self.tree()), &excludes(), writing.entries().unwrap(), paths).unwrap();
            if fresh.is_empty() {
                break writing;
            }
            writing.abort();
        };
        let backlog = Backlog { reconcile: true, paths: Vec::new() };
        writing.save(store.subject(), &[("node".into(), backlog)], &BTreeSet::from([rel("d")]), closed).unwrap();
    }

    fn save_all(&self) {
        let mut everything = Fold::new(9);
        everything.fill();
        self.save(&everything, true);
    }

    fn save_one(&self, path: &str, scope: Scope, removed: bool) {
        let mut paths = Fold::new(9);
        paths.insert(rel(path), if removed { Pending { scope, ..Pending::removal() } } else { Pending::new(scope) });
        self.save(&paths, false);
    }

    /// Returns the differences, without directories whose times alone may have changed.
    fn differences(&self, is_in_doubt: bool) -> Vec<String> {
        let known = self.store.as_ref().unwrap().known().unwrap();
        let mut found = Vec::new();
        let (reach, excludes) = (&Reach::of(&self.tree()), &excludes());
        let doubt = if is_in_doubt { DirDoubt::All } else { DirDoubt::None };
        let ground = ComparisonGround { reach, known: &known, excludes, doubt, deletes: true };
        let told = compare::compare(ground, &mut |change| {
            if !matches!(change, Change::Touched { is_dir: true, .. }) {
                found.push(change.to_string());
            }
        });
        told.unwrap();
        found.sort();
        found
    }
}

fn excludes() -> Excludes {
    Excludes::new(vec!["*.tmp".into()]).unwrap()
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

#[test]
fn a_tree_that_was_saved_differs_in_nothing() {
    let ground = Ground::new();
    write(&ground.tree().join("x.tmp"), "excluded");
    ground.save_all();
    assert_eq!(ground.differences(false), [""; 0]);
    assert_eq!(ground.differences(true), [""; 0]);
}

#[test]
fn every_kind_of_change_is_found_and_told_by_its_topmost_path() {
    let ground = Ground::new();
    ground.save_all();
    let tree = ground.tree();
    write(&tree.join("a"), "A");
    fs::remove_dir_all(tree.join("d/e")).unwrap();
    write(&tree.join("d/e"), "now a file");
    fs::create_dir_all(tree.join("new/deep")).unwrap();
    write(&tree.join("new/deep/file"), "");
    fs::remove_file(tree.join("d-")).unwrap();
    let expected = ["removed d-", "subtree new/", "written a", "written d/e"];
    assert_eq!(ground.differences(false), expected);
    let expected = ["level ./", "removed d-", "subtree d/", "subtree new/", "written a", "written d/e"];
    assert_eq!(ground.differences(true), expected, "the names in what changed are in doubt");
}

#[test]
fn a_directory_that_may_have_been_away_since_the_last_save_is_in_doubt_as_a_whole() {
    let ground = Ground::new();
    ground.save_all();
    let (d, aside) = (ground.tree().join("d"), ground.dir.path().join("aside"));
    write(&d.join("new"), "");
    assert_eq!(ground.differences(true), ["level d/", "written d/new"], "no name came or went beside it");
    ground.save_all();
    fs::rename(&d, &aside).unwrap();
    fs::rename(&aside, &d).unwrap();
    assert_eq!(ground.differences(true), ["level ./", "subtree d/"]);
    assert_eq!(ground.differences(false), [""; 0], "the run that ended well has saved all that it did");
    write(&d.join("newer"), "");
    assert_eq!(ground.differences(true), ["level ./", "subtree d/", "written d/newer"]);
    ground.save_all();
    let modified = fs::metadata(ground.tree()).unwrap().modified().unwrap();
    fs::rename(&d, &aside).unwrap();
    fs::rename(&aside, &d).unwrap();
    fs::File::open(ground.tree()).unwrap().set_modified(modified).unwrap();
    assert_eq!(ground.differences(true), ["level ./", "subtree d/"], "whoever sets the time of the directory back");
}

#[test]
fn other_attributes_are_told_from_other_content() {
    use std::os::unix::fs::PermissionsExt;
    let ground = Ground::new();
    ground.save_all();
    fs::set_permissions(ground.tree().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ground.differences(false), ["touched a"]);
}

#[test]
fn what_was_removed_is_forgotten_only_if_it_was_reported() {
    let ground = Ground::new();
    ground.save_all();
    fs::remove_dir_all(ground.tree().join("d")).unwrap();
    ground.save_one("d", Scope::Entry, false);
    assert_eq!(ground.differences(false), ["removed d/"]);
    ground.save_one("d", Scope::Entry, true);
    assert_eq!(ground.differences(false), [""; 0]);
    fs::create_dir_all(ground.tree().join("d/e")).unwrap();
    assert_eq!(ground.differences(false), ["subtree d/"], "nothing of the old one is known");
}

#[test]
fn a_subtree_is_saved_as_it_is_now() {
    let ground = Ground::new();
    ground.save_all();
    fs::remove_dir_all(ground.tree().join("d")).unwrap();
    fs::create_dir(ground.tree().join("d")).unwrap();
    write(&ground.tree().join("d/other"), "");
    ground.save_one("d", Scope::Subtree, false);
    assert_eq!(ground.differences(false), [""; 0]);
}

#[test]
fn nothing_is_saved_through_a_symlink() {
    let ground = Ground::new();
    ground.save_all();
    fs::rename(ground.tree().join("d"), ground.dir.path().join("outside")).unwrap();
    std::os::unix::fs::symlink("../outside", ground.tree().join("d")).unwrap();
    ground.save_one("d/b", Scope::Entry, true);
    ground.save_one("d", Scope::Entry, false);
    assert_eq!(ground.differences(false), [""; 0]);
    fs::remove_file(ground.tree().join("d")).unwrap();
    fs::rename(ground.dir.path().join("outside"), ground.tree().join("d")).unwrap();
    assert_eq!(ground.differences(false), ["subtree d/"]);
}

#[test]
fn a_state_belongs_to_its_subject_and_tells_how_the_run_ended() {
    let mut ground = Ground::new();
    ground.save_all();
    let past = ground.open("tree").unwrap();
    assert!(past.closed && past.backlogs["node"].reconcile);
    assert_eq!(past.mounts, BTreeSet::from([rel("d")]));
    assert!(!ground.open("tree").unwrap().closed, "that run did not say that it was over");
    assert_eq!(ground.differences(false), [""; 0]);
    ground.store = None;
    let spared = Store::open(&ground.dir.path().join("state/file"), b"another", true);
    assert!(matches!(spared, Err(StoreError::Foreign)));
    assert!(ground.open("tree").is_some(), "it was spared");
    assert!(ground.open("another").is_none());
    assert!(ground.open("tree").is_none(), "and now nothing is known");
}

#[test]
fn a_file_that_was_deleted_while_it_was_closed_is_known_to_have_nothing() {
    let mut ground = Ground::new();
    ground.save_all();
    let (store, is_known) = ground.store.take().unwrap().close().open().unwrap();
    assert!(is_known);
    let closed = store.close();
    fs::remove_file(ground.dir.path().join("state/file")).unwrap();
    let (store, is_known) = closed.open().unwrap();
    assert!(!is_known, "what is saved next must be everything");
    ground.store = Some(store);
    ground.save_all();
    assert_eq!(ground.differences(false), [""; 0]);
}

#[test]
fn a_source_that_is_not_there_is_not_taken_for_one_in_which_nothing_changed() {
    let ground = Ground::new();
    ground.save_all();
    fs::rename(ground.tree(), ground.dir.path().join("aside")).unwrap();
    let known = ground.store.as_ref().unwrap().known().unwrap();
    let mut told = 0;
    let (reach, excludes) = (&Reach::of(&ground.tree()), &excludes());
    let ground = ComparisonGround { reach, known: &known, excludes, doubt: DirDoubt::All, deletes: true };
    let result = compare::compare(ground, &mut |_| told += 1);
    assert!(matches!(result, Err(StoreError::Source(_))));
    assert_eq!(told, 0, "above all no removal");
}

#[test]
fn whatever_is_in_the_file_it_is_read_as_it_was_saved_or_begun_anew() {
    let mut ground = Ground::new();
    ground.save_all();
    ground.store = None;
    let file = ground.dir.path().join("state/file");
    let whole = fs::read(&file).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..60 {
        let mut bytes = whole.clone();
        match round % 3 {
            // The first pages say where all others are.
            0 => (0..4).for_each(|_| bytes[random.usize(..512)] ^= 1 << random.u8(..8)),
            1 => (0..64).for_each(|_| bytes[random.usize(..whole.len())] = random.u8(..)),
            _ => bytes.truncate(random.usize(..whole.len())),
        }
        fs::write(&file, &bytes).unwrap();
        let past = ground.open("tree");
        assert!(past.is_none_or(|past| past.backlogs.keys().all(|key| key == "node")), "round {round}");
        assert!(ground.store.as_ref().unwrap().known().is_ok(), "round {round}");
    }
}

#[test]
fn a_file_of_another_form_is_begun_anew_and_says_so() {
    let mut ground = Ground::new();
    ground.save_all();
    ground.store = None;
    let file = ground.dir.path().join("state/file");
    // The table of a version that kept each stamp by itself, which may have run in between.
    let stamps = redb::TableDefinition::<&[u8], &[u8]>::new("entries");
    let database = redb::Database::open(&file).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(stamps).unwrap().insert(&b"\0a"[..], &[0; 41][..]).unwrap();
    write.commit().unwrap();
    drop(database);
    assert!(ground.open("tree").is_none());
    let store = ground.store.as_ref().unwrap();
    assert_eq!(store.useless(), Some("another version of inosync wrote the file, in another form"));
    assert_eq!(store.known().unwrap().children(&RelPath::root()).unwrap().iter().count(), 0);
    ground.save_all();
    assert!(ground.open("tree").is_some());
}

/// Makes a directory of links to the files of another.
fn link_all(tree: &Path) {
    fs::create_dir_all(tree.join("new/e")).unwrap();
    for file in ["b", "e/c"] {
        fs::hard_link(tree.join("d").join(file), tree.join("new").join(file)).unwrap();
    }
}

#[test]
fn what_has_another_name_is_told_to_be_moved_and_what_else_is_in_it_by_its_stamps() {
    type Deed = fn(&Path);
    let deeds: [(&str, Deed, &[&str]); 12] = [
        (
            "a file",
            |tree| fs::rename(tree.join("a"), tree.join("d/new")).unwrap(),
            &["removed a", "renamed a to d/new"],
        ),
        (
            "a link and the removal of the other name",
            |tree| {
                fs::hard_link(tree.join("a"), tree.join("new")).unwrap();
                fs::remove_file(tree.join("a")).unwrap();
            },
            &["removed a", "renamed a to new"],
        ),
        (
            "a directory",
            |tree| fs::rename(tree.join("d"), tree.join("new")).unwrap(),
            &["moved d/ to new/, as was found", "removed d/"],
        ),
        (
            "a directory in which a file was written and another one came",
            |tree| {
                fs::rename(tree.join("d"), tree.join("new")).unwrap();
                write(&tree.join("new/e/c"), "other");
                fs::rename(tree.join("new/b"), tree.join("new/e/b")).unwrap();
            },
            &[
                "moved d/ to new/, as was found",
                "removed d/",
                "removed d/b",
                "renamed d/b to new/e/b",
                "written new/e/c",
            ],
        ),
        (
            "a directory out of one that was moved",
            |tree| {
                fs::rename(tree.join("d/e"), tree.join("e")).unwrap();
                fs::rename(tree.join("d"), tree.join("new")).unwrap();
            },
            &["moved d/ to new/, as was found", "moved d/e/ to e/, as was found", "removed d/", "removed d/e/"],
        ),
        (
            "a directory that was made anew of links",
            |tree| {
                link_all(tree);
                fs::remove_dir_all(tree.join("d")).unwrap();
            },
            &["moved d/ to new/, as was found", "removed d/", "touched new/b", "touched new/e/c"],
        ),
        (
            "the same, in which the first file is another one",
            |tree| {
                link_all(tree);
                fs::remove_dir_all(tree.join("d")).unwrap();
                fs::remove_file(tree.join("new/b")).unwrap();
                fs::write(tree.join("new/b"), "other").unwrap();
            },
            &["moved d/ to new/, as was found", "removed d/", "touched new/e/c", "written new/b"],
        ),
        ("a copy of a directory by links", link_all, &["subtree new/", "touched d/b", "touched d/e/c"]),
        (
            "a file that was written since",
            |tree| {
                fs::rename(tree.join("a"), tree.join("new")).unwrap();
                write(&tree.join("new"), "other");
            },
            &["removed a", "written new"],
        ),
        (
            "another name of a file",
            |tree| fs::hard_link(tree.join("a"), tree.join("new")).unwrap(),
            &["touched a", "written new"],
        ),
        (
            "a copy with the same times",
            |tree| {
                let made = fs::metadata(tree.join("a")).unwrap().modified().unwrap();
                fs::remove_file(tree.join("a")).unwrap();
                fs::write(tree.join("new"), "A").unwrap();
                fs::File::options().write(true).open(tree.join("new")).unwrap().set_modified(made).unwrap();
            },
            &["removed a", "written new"],
        ),
        (
            "two that changed places",
            |tree| {
                fs::rename(tree.join("a"), tree.join("x")).unwrap();
                fs::rename(tree.join("d-"), tree.join("a")).unwrap();
                fs::rename(tree.join("x"), tree.join("d-")).unwrap();
            },
            &["written a", "written d-"],
        ),
    ];
    for (what, deed, expected) in deeds {
        let ground = Ground::new();
        ground.save_all();
        deed(&ground.tree());
        assert_eq!(ground.differences(false), expected, "{what}");
    }
}

#[test]
fn where_nothing_is_deleted_nothing_is_paired_with_what_is_gone() {
    let ground = Ground::new();
    ground.save_all();
    fs::rename(ground.tree().join("a"), ground.tree().join("new")).unwrap();
    let known = ground.store.as_ref().unwrap().known().unwrap();
    let (reach, excludes) = (&Reach::of(&ground.tree()), &excludes());
    let mut found = Vec::new();
    let ground = ComparisonGround { reach, known: &known, excludes, doubt: DirDoubt::None, deletes: false };
    compare::compare(ground, &mut |change| found.push(change.to_string())).unwrap();
    assert_eq!(found, ["touched ./", "written new", "removed a"]);
}
