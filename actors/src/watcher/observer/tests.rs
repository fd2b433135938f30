//! Real directories and a real inotify queue; the time alone is made up.

mod arriving;
mod linked;
mod mounts;
mod races;
mod unwatched;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use inotify::Inotify;

use super::lost_events::{CALM, CALM_AT_LATEST};
use super::root::ROOT_POLL;
use super::*;

use crate::change::Change;
use crate::patterns::excludes::Excludes;
use crate::root::RootError;
use crate::watcher::RawEvent;
use crate::watcher::moves::PAIRING_TIME;
use crate::watcher::quiet::QUIET_TIME;

mod fuzz;

struct Watched {
    dir: tempfile::TempDir,
    inotify: Inotify,
    observer: Observer,
    now: Instant,
    /// Why the root was lost, each time.
    lost: Vec<RootError>,
}

impl Watched {
    /// A watched tree with these directories, and a place beside it.
    fn new(directories: &[&str], excludes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        directories.iter().for_each(|name| fs::create_dir_all(root.join(name)).unwrap());
        fs::create_dir_all(dir.path().join("beside")).unwrap();
        fs::create_dir_all(&root).unwrap();
        Watched::over(dir, excludes)
    }

    /// A tree that is there already, in the directory `root`.
    fn over(dir: tempfile::TempDir, excludes: &[&str]) -> Self {
        Watched::arriving(dir, excludes, |dirs| dirs)
    }

    /// A tree that is there already, in which something may be arriving.
    fn arriving(dir: tempfile::TempDir, excludes: &[&str], awaits: impl FnOnce(Dirs) -> Dirs) -> Self {
        let root = dir.path().join("root");
        let inotify = Inotify::init().unwrap();
        let excludes = Excludes::new(excludes.iter().map(|pattern| pattern.to_string()).collect()).unwrap();
        let dirs = Dirs::new(root.clone(), excludes, crate::watcher::Watches::of(&inotify).unwrap()).unwrap();
        let observer = Observer::new(Root::of(&root).unwrap(), awaits(dirs), &mut |_| ());
        Watched { dir, inotify, observer, now: Instant::now(), lost: Vec::new() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.dir.path().join("beside").join(path)
    }

    /// How many watches the kernel has for this queue.
    fn kernel(&self) -> usize {
        use std::os::fd::{AsFd, AsRawFd};
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.inotify.as_fd().as_raw_fd())).unwrap();
        info.lines().filter(|line| line.starts_with("inotify wd")).count()
    }

    /// All events that the kernel has, seen at once.
    fn events(&mut self) -> Vec<RawEvent> {
        let (mut buffer, mut events) = ([0; 4096], Vec::new());
        while let Ok(read) = self.inotify.read_events(&mut buffer) {
            events.extend(read.map(RawEvent::from));
        }
        events
    }

    /// The changes that follow from what happened since the last call.
    fn changes(&mut self) -> Vec<String> {
        for event in self.events() {
            self.observer.handle(event, self.now);
        }
        self.observer.tick(self.now);
        let found = self.observer.take();
        self.lost.extend(found.root_lost);
        let is_of_tree = |change: &&Change| !matches!(change, Change::LinksWait(_));
        found.changes.iter().filter(is_of_tree).map(Change::to_string).collect()
    }

    fn later(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.changes()
    }
}

#[test]
fn a_file_counts_when_it_is_closed_and_not_before() {
    let mut tree = Watched::new(&["d"], &[]);
    let mut file = File::create(tree.at("d/f")).unwrap();
    file.write_all(b"half").unwrap();
    assert!(tree.changes().is_empty());
    drop(file);
    assert_eq!(tree.changes(), ["written d/f"]);
    drop(OpenOptions::new().write(true).open(tree.at("d/f")).unwrap());
    assert_eq!(tree.changes(), ["closed d/f"], "no write was seen");
}

#[test]
fn a_file_that_stays_open_counts_after_a_quiet_time() {
    let mut tree = Watched::new(&[], &[]);
    let _file = File::create(tree.at("f")).unwrap();
    assert!(tree.changes().is_empty());
    assert_eq!(tree.later(QUIET_TIME), ["written f"]);
}

#[test]
fn links_count_at_once() {
    let mut tree = Watched::new(&[], &[]);
    std::os::unix::fs::symlink("nowhere", tree.at("symlink")).unwrap();
    assert_eq!(tree.changes(), ["touched symlink"]);
    File::create(tree.beside("f")).unwrap();
    fs::hard_link(tree.beside("f"), tree.at("hard link")).unwrap();
    assert_eq!(tree.changes(), ["touched hard link"]);
}

#[test]
fn a_new_directory_is_watched_before_it_is_reported() {
    let mut tree = Watched::new(&[], &[]);
    fs::create_dir_all(tree.at("a/b/c")).unwrap();
    fs::write(tree.at("a/b/c/early"), "x").unwrap();
    assert_eq!(tree.changes()[0], "subtree a/");
    tree.changes();
    fs::write(tree.at("a/b/c/late"), "x").unwrap();
    assert_eq!(tree.changes(), ["written a/b/c/late"]);
    assert_eq!(tree.observer.directories(), 4);
}

#[test]
fn a_directory_that_is_gone_before_it_is_watched_is_reported_all_the_same() {
    let mut tree = Watched::new(&[], &[]);
    fs::create_dir(tree.at("a")).unwrap();
    fs::remove_dir(tree.at("a")).unwrap();
    assert_eq!(tree.changes(), ["subtree a/", "removed a/"]);
    assert_eq!(tree.observer.directories(), 1);
}

#[test]
fn watches_follow_moved_directories_across_interleaved_moves() {
    let mut tree = Watched::new(&["a/sub", "b"], &[]);
    fs::rename(tree.at("a"), tree.at("tmp")).unwrap();
    fs::rename(tree.at("b"), tree.at("a")).unwrap();
    fs::rename(tree.at("tmp"), tree.at("b")).unwrap();
    let moves = [
        ["moved away a/", "moved a/ to tmp/", "retaken a/"],
        ["moved away b/", "moved b/ to a/", "retaken b/"],
        ["moved away tmp/", "moved tmp/ to b/", ""],
    ];
    let moves: Vec<&str> = moves.into_iter().flatten().filter(|change| !change.is_empty()).collect();
    assert_eq!(tree.changes(), moves);
    fs::write(tree.at("b/sub/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written b/sub/f"]);
    assert_eq!(tree.observer.directories(), 4);
}

#[test]
fn a_directory_that_leaves_the_tree_is_no_longer_watched() {
    let mut tree = Watched::new(&["a/sub"], &[]);
    fs::rename(tree.at("a"), tree.beside("a")).unwrap();
    assert_eq!(tree.changes(), ["moved away a/"]);
    assert_eq!(tree.later(PAIRING_TIME), ["moved out a/"]);
    fs::write(tree.beside("a/sub/f"), "x").unwrap();
    assert!(tree.changes().is_empty());
    assert_eq!(tree.observer.directories(), 1);
    fs::rename(tree.beside("a"), tree.at("back")).unwrap();
    assert_eq!(tree.changes(), ["subtree back/"]);
    fs::write(tree.at("back/sub/f"), "y").unwrap();
    assert_eq!(tree.changes(), ["written back/sub/f"]);
}

#[test]
fn excluded_directories_are_not_watched_under_any_name() {
    let mut tree = Watched::new(&["cache/x", "d/x"], &["cache"]);
    assert_eq!(tree.observer.directories(), 3);
    fs::rename(tree.at("d"), tree.at("e")).unwrap();
    fs::rename(tree.at("cache"), tree.at("d")).unwrap();
    assert_eq!(tree.changes(), ["moved away d/", "moved d/ to e/", "retaken d/", "subtree d/"]);
    fs::rename(tree.at("e"), tree.at("cache")).unwrap();
    assert_eq!(tree.changes(), ["moved away e/", "moved out e/"]);
    fs::write(tree.at("cache/x/f"), "x").unwrap();
    assert!(tree.changes().is_empty());
    assert_eq!(tree.observer.directories(), 3);
}

#[test]
fn after_a_move_patterns_are_matched_against_the_new_place() {
    let mut tree = Watched::new(&["a/cache", "b"], &["/a/cache"]);
    assert_eq!(tree.observer.directories(), 3);
    fs::rename(tree.at("a"), tree.at("c")).unwrap();
    tree.changes();
    assert_eq!(tree.observer.directories(), 4, "c/cache is not excluded");
    fs::rename(tree.at("c"), tree.at("a")).unwrap();
    tree.changes();
    assert_eq!(tree.observer.directories(), 3);
}

#[test]
fn other_patterns_move_the_watches_and_events_of_what_is_excluded_now_are_expected() {
    let mut tree = Watched::new(&["a/x", "b/x/y"], &["b"]);
    assert_eq!(tree.observer.directories(), 3);
    fs::write(tree.at("a/x/before"), "x").unwrap();
    tree.observer.exclude(Excludes::new(vec!["a".into()]).unwrap());
    assert_eq!(tree.observer.directories(), 4);
    fs::write(tree.at("a/x/after"), "x").unwrap();
    fs::write(tree.at("b/x/y/f"), "x").unwrap();
    fs::create_dir(tree.at("b/x/new")).unwrap();
    fs::create_dir(tree.at("a/x/new")).unwrap();
    assert_eq!(tree.changes(), ["written b/x/y/f", "subtree b/x/new/"]);
    tree.observer.tick(tree.now + CALM_AT_LATEST);
    assert!(tree.observer.take().rescans.is_empty(), "no track was lost");
}

#[test]
fn other_patterns_that_come_while_the_root_is_away_hold_when_it_is_back() {
    let mut tree = Watched::new(&["a/x", "b/x"], &["b"]);
    fs::rename(tree.at(""), tree.beside("root")).unwrap();
    fs::create_dir_all(tree.at("c/d/e/f")).unwrap();
    tree.changes();
    tree.observer.exclude(Excludes::new(vec!["a".into()]).unwrap());
    assert_eq!(tree.observer.directories(), 3, "another directory is not looked through");
    fs::remove_dir_all(tree.at("")).unwrap();
    fs::rename(tree.beside("root"), tree.at("")).unwrap();
    tree.changes();
    tree.observer.tick(tree.now + ROOT_POLL);
    assert_eq!(tree.observer.directories(), 3);
    fs::write(tree.at("b/x/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written b/x/f"]);
}

#[test]
fn an_overflow_is_repaired_once_when_it_is_calm() {
    let mut tree = Watched::new(&["a"], &[]);
    fs::rename(tree.at("a"), tree.at("b")).unwrap();
    fs::create_dir_all(tree.at("new/deep")).unwrap();
    tree.events();
    let overflow = || RawEvent { watch: -1, mask: EventMask::Q_OVERFLOW, cookie: 0, name: None };
    tree.observer.handle(overflow(), tree.now);
    tree.observer.handle(overflow(), tree.now + CALM / 2);
    tree.observer.tick(tree.now + CALM);
    assert!(tree.observer.take().rescans.is_empty(), "not calm yet");
    tree.observer.tick(tree.now + CALM * 2);
    let Findings { rescans, unseen, .. } = tree.observer.take();
    assert_eq!((rescans.len(), rescans[0].reason), (1, Reason::Overflow));
    assert!(matches!(&unseen[..], [Unseen::Found { count: 3, expected: true, .. }]), "b, new, new/deep: {unseen:?}");
    assert_eq!(tree.observer.directories(), 4);
    fs::write(tree.at("b/f"), "x").unwrap();
    fs::write(tree.at("new/deep/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written b/f", "written new/deep/f"]);
}

#[test]
fn a_root_that_comes_back_is_watched_and_compared_again() {
    let mut tree = Watched::new(&["d"], &[]);
    fs::rename(tree.at(""), tree.beside("root")).unwrap();
    tree.changes();
    assert!(tree.observer.next_tick().is_some(), "it is looked for");
    fs::rename(tree.beside("root"), tree.at("")).unwrap();
    tree.changes();
    tree.observer.tick(tree.now + ROOT_POLL);
    assert_eq!(tree.observer.take().rescans.len(), 1);
    fs::write(tree.at("d/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written d/f"]);
}

#[test]
fn what_changed_before_its_directory_was_watched_is_among_the_first_changes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    let inotify = Inotify::init().unwrap();
    let watches = crate::watcher::Watches::of(&inotify).unwrap();
    let dirs = Dirs::new(root.clone(), Excludes::default(), watches).unwrap();
    let dirs = dirs.telling_since(std::time::SystemTime::now() - std::time::Duration::from_millis(20));
    fs::write(root.join("a/b/file"), "new").unwrap();
    let mut observer = Observer::new(Root::of(&root).unwrap(), dirs, &mut |_| ());
    let changes: Vec<_> = observer.take().changes.iter().map(Change::to_string).collect();
    assert_eq!(changes, ["written a/b/file"]);
}
