use super::*;
use crate::root::arriving::Arriving;
use crate::watcher::quiet::NAMELESS;

const TEMPORARY: &str = "d/.f.a1B2c3";
const DAY: Duration = Duration::from_secs(86_400);

/// A tree with a directory `d`, in which `made` was made before, and in which what is arriving waits for its name.
fn awaiting(made: impl FnOnce(&PathBuf)) -> Watched {
    awaiting_with(made, Arriving::default())
}

fn awaiting_with(made: impl FnOnce(&PathBuf), arriving: Arriving) -> Watched {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    made(&root.join("d"));
    let inotify = Inotify::init().unwrap();
    let watches = crate::watcher::Watches::of(&inotify).unwrap();
    let source = Root::of(&root).unwrap();
    let dirs = Dirs::new(root, Excludes::default(), watches).unwrap().awaiting_names(arriving);
    let mut observer = Observer::new(source, dirs, &mut |_| ());
    observer.await_names();
    observer.take();
    Watched { dir, inotify, observer, now: Instant::now(), lost: Vec::new() }
}

impl Watched {
    fn writes(&self, path: &str) {
        fs::write(self.at(path), "content").unwrap();
    }

    fn renames(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }
}

#[test]
fn a_file_of_a_temporary_name_counts_by_its_own_and_nothing_is_told_of_the_first() {
    let mut tree = awaiting(|_| ());
    tree.writes(TEMPORARY);
    assert!(tree.later(QUIET_TIME * 2).is_empty());
    tree.renames(TEMPORARY, "d/f");
    assert_eq!(tree.changes(), ["touched d/", "written d/f"]);
    tree.writes(TEMPORARY);
    fs::remove_file(tree.at(TEMPORARY)).unwrap();
    assert_eq!(tree.changes(), ["touched d/"], "it came to nothing");
}

#[test]
fn a_file_that_keeps_a_temporary_name_counts_after_a_minute_and_is_like_any_other_from_then_on() {
    let mut tree = awaiting(|_| ());
    tree.writes(TEMPORARY);
    assert!(tree.changes().is_empty());
    assert_eq!(tree.later(NAMELESS), [format!("written {TEMPORARY}")]);
    tree.renames(TEMPORARY, "d/f");
    assert_eq!(tree.changes(), [format!("removed {TEMPORARY}"), format!("renamed {TEMPORARY} to d/f")]);
}

#[test]
fn a_file_that_was_there_before_may_be_at_the_nodes_by_its_temporary_name() {
    let mut tree = awaiting(|dir| fs::write(dir.join(".f.a1B2c3"), "half").unwrap());
    assert!(tree.later(QUIET_TIME * 2).is_empty());
    tree.renames(TEMPORARY, "d/f");
    assert_eq!(tree.changes(), [format!("removed {TEMPORARY}"), "written d/f".to_owned()]);
}

#[test]
fn a_file_that_was_made_while_its_directory_was_compared_may_be_at_a_node() {
    let arriving = Arriving::default();
    let mut tree = awaiting_with(|_| (), arriving.clone());
    let comparison = arriving.pass_over([RelPath::new(b"d").unwrap()]);
    tree.writes(TEMPORARY);
    assert!(tree.changes().is_empty());
    drop(comparison);
    fs::remove_file(tree.at(TEMPORARY)).unwrap();
    assert_eq!(tree.changes(), [format!("removed {TEMPORARY}")]);
}

#[test]
fn what_rsync_keeps_in_a_directory_counts_by_the_names_that_it_gets_outside() {
    let mut tree = awaiting(|_| ());
    fs::create_dir(tree.at("d/.~tmp~")).unwrap();
    tree.writes("d/.~tmp~/f");
    assert!(tree.changes().is_empty());
    tree.renames("d/.~tmp~/f", "d/f");
    fs::remove_dir(tree.at("d/.~tmp~")).unwrap();
    assert_eq!(tree.changes(), ["written d/f", "touched d/"]);
}

#[test]
fn a_directory_of_such_a_name_waits_as_long_as_something_changes_in_it() {
    let mut tree = awaiting(|dir| fs::create_dir(dir.join(".rsync-partial")).unwrap());
    assert_eq!(tree.observer.directories(), 2);
    assert!(tree.later(DAY).is_empty(), "it is young on disk");
    assert!(tree.observer.next_tick().is_some_and(|at| at > Instant::now()));
    fs::remove_dir(tree.at("d/.rsync-partial")).unwrap();
    assert_eq!(tree.changes(), ["removed d/.rsync-partial/"], "the nodes may have it from before");
}
