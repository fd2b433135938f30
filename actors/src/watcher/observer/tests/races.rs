//! Programs that are faster than the watching: whatever they do, in the end each directory is watched under its name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// How long the programs run.
const ROUNDS: usize = 300;

/// A small generator (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// One of a few directories, so that the programs meet.
    fn dir(&mut self, root: &Path) -> PathBuf {
        let names = ["a", "b", "c"];
        (0..=self.below(3)).fold(root.to_owned(), |dir, _| dir.join(names[self.below(3) as usize]))
    }
}

fn directories(root: &Path, path: &RelPath, found: &mut BTreeSet<RelPath>) {
    found.insert(path.clone());
    for entry in fs::read_dir(path.under(root)).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            directories(root, &path.join(&entry.file_name()), found);
        }
    }
}

impl Watched {
    /// Takes in all that the kernel has, at the time that it is.
    fn pump(&mut self) {
        for event in self.events() {
            self.observer.handle(event, Instant::now());
        }
        self.observer.tick(Instant::now());
    }

    /// Runs the programs, and watches what they do. Nothing may be left to an overflow.
    fn watch(&mut self, programs: Vec<Box<dyn FnOnce() + Send>>) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let running: Vec<_> = programs.into_iter().map(|program| scope.spawn(program)).collect();
            let done = &done;
            scope.spawn(move || {
                running.into_iter().for_each(|program| program.join().unwrap());
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                self.pump();
            }
        });
        self.pump();
        let start = Instant::now();
        // The halves of moves out of the tree wait a moment, as repairs do.
        while self.observer.next_tick().is_some_and(|at| at < start + PAIRING_TIME * 3) {
            self.pump();
        }
        let rescans = self.observer.take().rescans;
        assert!(rescans.iter().all(|rescan| rescan.reason != Reason::Overflow), "the test itself is too fast");
    }

    /// Each directory on disk is watched under its name, and nothing else is.
    #[track_caller]
    fn expect_all_watched(&mut self) {
        let mut on_disk = BTreeSet::new();
        directories(&self.at(""), &RelPath::root(), &mut on_disk);
        assert_eq!(self.observer.watched(), on_disk);
        assert_eq!(self.observer.directories(), on_disk.len());
        // By the watches themselves: two names may have been exchanged.
        self.observer.audit(Instant::now());
        let found: Vec<_> = self.observer.take().changes.iter().map(Change::to_string).collect();
        assert_eq!(found, [""; 0], "watched under another name");
    }
}

fn program(
    seed: u64,
    root: PathBuf,
    mut step: impl FnMut(&Path, &mut Random) + Send + 'static,
) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        let mut random = Random(seed);
        (0..ROUNDS).for_each(|_| step(&root, &mut random));
    })
}

/// What fails meets the work of another program: that is part of the game.
fn build(root: &Path, random: &mut Random) {
    let dir = random.dir(root);
    let _ = fs::create_dir_all(&dir);
    let _ = fs::write(dir.join("file"), "x");
}

fn destroy(root: &Path, random: &mut Random) {
    let _ = fs::remove_dir_all(random.dir(root));
}

fn rename(root: &Path, random: &mut Random) {
    let _ = fs::rename(random.dir(root), random.dir(root));
}

#[test]
fn directories_that_are_made_renamed_and_deleted_faster_than_watched_end_watched() {
    for seed in 1..6_u64 {
        let mut tree = Watched::new(&["a/b", "b/c", "c"], &[]);
        let root = tree.at("");
        let programs = vec![
            program(seed * 77, root.clone(), build),
            program(seed * 131, root.clone(), destroy),
            program(seed * 251, root.clone(), rename),
            program(seed * 509, root, rename),
        ];
        tree.watch(programs);
        tree.expect_all_watched();
    }
}

#[test]
fn a_directory_that_is_renamed_while_it_is_scanned_is_watched_under_its_new_name() {
    let mut tree = Watched::new(&[], &[]);
    let make = |name: PathBuf| (0..50).for_each(|n| fs::create_dir_all(name.join(format!("{n}/x"))).unwrap());
    let (from, to, other) = (tree.beside("big"), tree.at("big"), tree.at("other"));
    make(from.clone());
    tree.watch(vec![Box::new(move || {
        fs::rename(from, &to).unwrap();
        for _ in 0..ROUNDS {
            fs::rename(&to, &other).unwrap();
            fs::rename(&other, &to).unwrap();
        }
    })]);
    tree.expect_all_watched();
}

#[test]
fn chains_and_swaps_of_names_end_with_the_right_ones() {
    let mut tree = Watched::new(&["a/in a", "b/in b", "c"], &[]);
    let [a, b, c, tmp] = ["a", "b", "c/c", "tmp"].map(|name| tree.at(name));
    tree.watch(vec![Box::new(move || {
        for _ in 0..ROUNDS {
            for (from, to) in [(&a, &tmp), (&b, &a), (&tmp, &b), (&a, &c), (&c, &tmp), (&tmp, &a)] {
                fs::rename(from, to).unwrap();
            }
        }
    })]);
    tree.expect_all_watched();
}

#[test]
fn a_directory_that_a_symlink_replaces_is_not_watched_any_more() {
    let mut tree = Watched::new(&["d/sub"], &[]);
    let (dir, away, link) = (tree.at("d"), tree.beside("d"), tree.beside("elsewhere"));
    fs::create_dir_all(link.join("sub")).unwrap();
    tree.watch(vec![Box::new(move || {
        for _ in 0..ROUNDS / 3 {
            fs::rename(&dir, &away).unwrap();
            std::os::unix::fs::symlink(&link, &dir).unwrap();
            fs::remove_file(&dir).unwrap();
            fs::rename(&away, &dir).unwrap();
        }
        fs::rename(&dir, &away).unwrap();
        std::os::unix::fs::symlink(&link, &dir).unwrap();
    })]);
    tree.expect_all_watched();
    assert_eq!(tree.observer.directories(), 1);
}

#[test]
fn a_directory_that_leaves_the_tree_and_comes_back_is_watched() {
    let mut tree = Watched::new(&["d/sub", "e"], &[]);
    let (dir, away, back) = (tree.at("d"), tree.beside("d"), tree.at("e/d"));
    tree.watch(vec![Box::new(move || {
        for round in 0..ROUNDS {
            fs::rename(&dir, &away).unwrap();
            fs::create_dir_all(away.join(format!("sub/{}", round % 3))).unwrap();
            fs::rename(&away, &back).unwrap();
            fs::rename(&back, &dir).unwrap();
        }
    })]);
    tree.expect_all_watched();
    fs::write(tree.at("d/sub/0/f"), "x").unwrap();
    tree.pump();
    let found: Vec<_> = tree.observer.take().changes.iter().map(Change::to_string).collect();
    assert_eq!(found, ["written d/sub/0/f"]);
}
