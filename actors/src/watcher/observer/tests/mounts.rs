//! Directories that stand at several names, in a mount namespace of the thread. Mounting takes root: where it is forbidden,
//! these tests say so and pass.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_move,
    unmount,
};

use super::*;
use crate::proptests::config;

/// Runs a test where what it mounts is seen by nobody else, and is gone at the end. No program is started for it: that would
/// hold the files of the tests beside this one open for a moment.
fn in_a_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let is_private = unshare(CloneFlags::CLONE_NEWNS).is_ok()
                && mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).is_ok();
            if is_private { test() } else { println!("not tested, no mounts here") }
        });
    });
}

fn tmpfs(at: &Path) -> rustix::io::Result<()> {
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), None)
}

fn umount(at: &Path) -> rustix::io::Result<()> {
    unmount(at, UnmountFlags::DETACH)
}

impl Watched {
    fn bind(&mut self, from: &str, to: &str) {
        mount_bind(self.at(from), self.at(to)).unwrap();
        self.observer.mounts_changed(self.now);
    }

    fn umount(&mut self, at: &str) {
        umount(&self.at(at)).unwrap();
        self.observer.mounts_changed(self.now);
    }

    /// Each change once, whatever their order is.
    fn once(&mut self) -> BTreeSet<String> {
        self.changes().into_iter().collect()
    }

    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.once(), expected.iter().map(|change| (*change).to_owned()).collect());
    }
}

#[test]
fn a_change_in_a_directory_that_stands_at_two_names_counts_at_both() {
    in_a_namespace(|| {
        let mut tree = Watched::new(&["data/deep", "jail"], &[]);
        tree.bind("data", "jail");
        tree.expect(&["mounted jail/"]);
        for by in ["data", "jail"] {
            fs::write(tree.at(by).join("deep/f"), "x").unwrap();
            tree.expect(&["written data/deep/f", "written jail/deep/f"]);
            fs::create_dir(tree.at(by).join("new")).unwrap();
            tree.expect(&["subtree data/new/", "subtree jail/new/"]);
            fs::write(tree.at(by).join("new/f"), "x").unwrap();
            tree.expect(&["written data/new/f", "written jail/new/f"]);
            fs::rename(tree.at(by).join("new/f"), tree.at(by).join("g")).unwrap();
            tree.expect(&[
                "removed data/new/f",
                "removed jail/new/f",
                "renamed data/new/f to data/g",
                "renamed jail/new/f to jail/g",
            ]);
            fs::rename(tree.at(by).join("new"), tree.at(by).join("deep/moved")).unwrap();
            tree.expect(&[
                "moved away data/new/",
                "moved away jail/new/",
                "moved data/new/ to data/deep/moved/",
                "moved jail/new/ to jail/deep/moved/",
            ]);
            fs::write(tree.at("data/deep/moved/h"), "x").unwrap();
            tree.expect(&["written data/deep/moved/h", "written jail/deep/moved/h"]);
            fs::remove_dir_all(tree.at(by).join("deep/moved")).unwrap();
            tree.changes();
        }
        assert_eq!((tree.observer.directories(), tree.kernel()), (3, 3));
    });
}

#[test]
fn a_name_that_goes_leaves_the_other_watched() {
    in_a_namespace(|| {
        for gone in ["mount", "directory"] {
            let mut tree = Watched::new(&["data/deep", "jail"], &[]);
            tree.bind("data", "jail");
            tree.changes();
            let (by, left) = if gone == "mount" {
                tree.umount("jail");
                tree.expect(&["subtree jail/"]);
                ("data", 4)
            } else {
                // What it holds is gone, and the directory itself is not while it is mounted.
                fs::remove_dir_all(tree.at("data")).unwrap();
                tree.changes();
                fs::create_dir_all(tree.at("jail")).unwrap();
                ("jail", 2)
            };
            assert_eq!((tree.observer.directories(), tree.kernel()), (left, left), "{gone}");
            if gone == "mount" {
                fs::write(tree.at(by).join("deep/f"), "x").unwrap();
                tree.expect(&["written data/deep/f"]);
            }
            let _ = umount(&tree.at("jail"));
        }
    });
}

#[test]
fn the_tree_may_be_mounted_into_itself() {
    in_a_namespace(|| {
        let mut tree = Watched::new(&["a/b", "jail/under"], &[]);
        tree.bind("", "jail");
        tree.changes();
        fs::write(tree.at("jail/a/b/f"), "x").unwrap();
        tree.expect(&["written a/b/f", "written jail/a/b/f"]);
        fs::write(tree.at("f"), "x").unwrap();
        tree.expect(&["written f", "written jail/f"]);
        fs::write(tree.at("jail/jail/under/f"), "x").unwrap();
        tree.expect(&["written jail/jail/under/f"]);
        tree.umount("jail");
        tree.expect(&["subtree jail/"]);
        fs::write(tree.at("jail/under/f"), "x").unwrap();
        tree.expect(&["written jail/under/f"]);
        assert_eq!((tree.observer.directories(), tree.kernel()), (5, 5));
        fs::rename(tree.at(""), tree.beside("away")).unwrap();
        tree.changes();
        assert!(tree.observer.take().root_lost.is_some() || tree.observer.next_tick().is_some());
    });
}

#[test]
fn what_is_mounted_twice_and_unmounted_twice_at_once_is_hidden() {
    in_a_namespace(|| {
        let mut tree = Watched::new(&["p", "q"], &[]);
        tmpfs(&tree.at("p")).unwrap();
        tree.bind("p", "q");
        tree.changes();
        ["p", "q"].iter().for_each(|at| umount(&tree.at(at)).unwrap());
        tree.observer.mounts_changed(tree.now);
        tree.expect(&["unmounted p/", "subtree p/", "unmounted q/", "subtree q/"]);
    });
}

#[test]
fn a_file_system_that_is_mounted_again_before_anybody_looks_is_looked_at() {
    in_a_namespace(|| {
        let mut tree = Watched::new(&["m"], &[]);
        tmpfs(&tree.at("m")).unwrap();
        fs::create_dir_all(tree.at("m/d/e")).unwrap();
        tree.observer.mounts_changed(tree.now);
        tree.changes();
        umount(&tree.at("m")).unwrap();
        tmpfs(&tree.at("m")).unwrap();
        fs::create_dir(tree.at("m/new")).unwrap();
        tree.expect(&["unmounted m/", "subtree m/", "mounted m/"]);
        assert_eq!(tree.observer.take().unmounted.len(), 0, "told once");
        fs::write(tree.at("m/new/f"), "x").unwrap();
        tree.expect(&["written m/new/f"]);
        assert_eq!((tree.observer.directories(), tree.kernel()), (3, 3));
    });
}

#[test]
fn a_mounted_file_stays_watched_though_the_name_goes_by_which_it_was_watched_before() {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    use std::os::fd::AsRawFd;

    in_a_namespace(|| {
        let mut tree = Watched::new(&["d", "e"], &[]);
        fs::write(tree.at("e/g"), "under").unwrap();
        tree.changes();
        let Ok(unnamed) = open(tree.at("d"), OFlags::TMPFILE | OFlags::RDWR, Mode::RWXU) else {
            return println!("not tested, no files without a name here");
        };
        let itself = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
        linkat(CWD, itself, CWD, tree.at("d/f"), AtFlags::SYMLINK_FOLLOW).unwrap();
        tree.changes();
        tree.now += QUIET_TIME * 3;
        tree.observer.tick(tree.now);
        assert_eq!((tree.once().len(), tree.kernel()), (1, 4), "the file has a watch of its own");
        tree.bind("d/f", "e/g");
        tree.changes();
        fs::remove_file(tree.at("d/f")).unwrap();
        assert!(tree.once().contains("removed d/f"));
        rustix::io::write(&unnamed, b"x").unwrap();
        drop(unnamed);
        tree.expect(&["written e/g"]);
    });
}

#[test]
fn a_mounted_file_is_watched_by_itself_and_what_it_covered_counts_after_it() {
    in_a_namespace(|| {
        let mut tree = Watched::new(&["d"], &[]);
        fs::write(tree.at("d/f"), "under").unwrap();
        fs::write(tree.beside("f"), "over").unwrap();
        tree.changes();
        mount_bind(tree.beside("f"), tree.at("d/f")).unwrap();
        tree.observer.mounts_changed(tree.now);
        tree.expect(&["written d/f"]);
        for by in [tree.beside("f"), tree.at("d/f")] {
            fs::write(by, "new").unwrap();
            tree.expect(&["written d/f"]);
        }
        fs::rename(tree.at("d"), tree.at("e")).unwrap();
        tree.changes();
        fs::write(tree.beside("f"), "newer").unwrap();
        tree.expect(&["written e/f"]);
        fs::create_dir(tree.at("over")).unwrap();
        tree.changes();
        tree.bind("over", "e");
        assert_eq!((tree.observer.directories(), tree.kernel()), (2, 2), "it is covered itself");
        tree.umount("e");
        tree.changes();
        fs::remove_dir(tree.at("over")).unwrap();
        fs::write(tree.beside("f"), "after").unwrap();
        tree.expect(&["removed over/", "written e/f"]);
        tree.umount("e/f");
        tree.expect(&["written e/f"]);
        fs::write(tree.beside("f"), "newest").unwrap();
        tree.expect(&[]);
        assert_eq!((tree.observer.directories(), tree.kernel()), (2, 2));
    });
}

#[test]
fn the_attributes_of_what_is_mounted_count() {
    use std::os::unix::fs::PermissionsExt;
    in_a_namespace(|| {
        let mut tree = Watched::new(&["data", "m"], &[]);
        tree.bind("data", "m");
        tree.changes();
        fs::set_permissions(tree.at("data"), fs::Permissions::from_mode(0o700)).unwrap();
        tree.expect(&["touched data/", "touched m/"]);
    });
}

// === whatever is mounted ===

const PLACES: [&str; 7] = ["a", "b", "a/b", "a/c", "b/a", "c", "c/d"];

#[derive(Debug, Clone)]
enum Step {
    MakeDirs(usize),
    Remove(usize),
    Rename(usize, usize),
    Bind { from: usize, to: usize, rec: bool },
    Tmpfs(usize),
    Move(usize, usize),
    Unmount(usize),
    Look,
    Events,
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..PLACES.len();
    prop_oneof![
        3 => at().prop_map(Step::MakeDirs),
        1 => at().prop_map(Step::Remove),
        3 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        4 => (at(), at(), any::<bool>()).prop_map(|(from, to, rec)| Step::Bind { from, to, rec }),
        1 => at().prop_map(Step::Tmpfs),
        1 => (at(), at()).prop_map(|(from, to)| Step::Move(from, to)),
        3 => at().prop_map(Step::Unmount),
        3 => Just(Step::Look),
        3 => Just(Step::Events),
    ]
}

impl Watched {
    /// Does it if it can be done.
    fn take_step(&mut self, step: &Step) {
        let at = |number: &usize| self.at(PLACES[*number]);
        match step {
            Step::MakeDirs(path) => drop(fs::create_dir_all(at(path))),
            Step::Remove(path) => drop(fs::remove_dir(at(path))),
            Step::Rename(from, to) => drop(fs::rename(at(from), at(to))),
            Step::Bind { from, to, rec: false } => drop(mount_bind(at(from), at(to))),
            Step::Bind { from, to, rec: true } => drop(mount_bind_recursive(at(from), at(to))),
            Step::Tmpfs(path) => drop(tmpfs(&at(path))),
            Step::Move(from, to) => drop(mount_move(at(from), at(to))),
            Step::Unmount(path) => drop(umount(&at(path))),
            Step::Look => self.observer.mounts_changed(self.now),
            Step::Events => drop(self.later(Duration::from_millis(50))),
        }
    }

    /// Comes to rest: all is read, and the mounts are looked at.
    fn rest(&mut self) {
        for _ in 0..4 {
            self.later(Duration::from_millis(700));
            self.observer.mounts_changed(self.now);
        }
        self.changes();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..config(60) })]

    #[test]
    fn whatever_is_mounted_and_moved_each_directory_is_watched_at_each_of_its_names(
        steps in proptest::collection::vec(step(), 1..25),
    ) {
        in_a_namespace(|| {
            let mut tree = Watched::new(&["a/b", "c/d"], &[]);
            steps.iter().for_each(|step| tree.take_step(step));
            tree.rest();
            let directories = tree.directories();
            assert_eq!(tree.observer.directories(), tree.kernel(), "as the kernel counts");
            let watched: BTreeSet<String> = tree.observer.watched().iter().map(|path| {
                if path.is_root() { String::new() } else { path.to_string() }
            }).collect();
            assert_eq!(watched, directories, "on disk");
            // What is made in a directory is seen at each name at which it can be read.
            for dir in directories {
                if fs::write(tree.at(&dir).join("f"), "x").is_err() {
                    // It was deleted by its other name.
                    continue;
                }
                let shown = tree.directories().into_iter().filter(|name| tree.at(name).join("f").exists());
                let path = |name: String| if name.is_empty() { "f".to_owned() } else { format!("{name}/f") };
                let expected: BTreeSet<String> = shown.map(|name| format!("written {}", path(name))).collect();
                assert_eq!(tree.once(), expected);
                fs::remove_file(tree.at(&dir).join("f")).unwrap();
                tree.changes();
            }
        });
    }
}
