//! Makes a script from a seed. It keeps a rough idea of what the tree holds, so that most operations find what they need;
//! the disk is never asked, so the same seed makes the same script.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::faults::Fault;
use crate::operation::{Operation, Verb};
use crate::script::Step;
use crate::settings::hard_links;

/// Few names, so that operations meet, and most of them such as break programs.
const NAMES: [&[u8]; 22] = [
    b"a",
    b"b",
    b"c d",
    b"#e",
    b"a",
    b"b",
    b"-n",
    b"new\nline",
    b"\xff\xfe",
    b"[x]*?",
    b";s",
    b"back\\slash",
    b"\\#012",
    b".dot",
    b" ",
    b"~",
    b"q'\"$(id)`",
    b"%s",
    "é\u{301}".as_bytes(),
    b"*",
    b"..x",
    b"--delete",
];
const DEPTH: usize = 5;
/// The tree grows for so many operations, then shrinks for as many.
const SEASON: usize = 1000;

/// How often an operation is chosen while the tree grows, and while it shrinks.
const WEIGHTS: [(Verb, u32, u32); 21] = [
    (Verb::Write, 40, 12),
    (Verb::Append, 5, 5),
    (Verb::Truncate, 3, 3),
    (Verb::SameSize, 5, 5),
    (Verb::InPlace, 4, 4),
    (Verb::Replace, 8, 4),
    (Verb::Rename, 8, 8),
    (Verb::MakeDirs, 12, 3),
    (Verb::RemoveDir, 2, 6),
    (Verb::RemoveFile, 4, 16),
    (Verb::RemoveAll, 1, 3),
    (Verb::Symlink, 4, 2),
    (Verb::Retarget, 2, 2),
    (Verb::HardLink, 2, 2),
    (Verb::Chmod, 6, 6),
    (Verb::Utimes, 6, 6),
    (Verb::Retype, 3, 3),
    (Verb::Swap, 3, 3),
    (Verb::Chain, 3, 3),
    (Verb::Flash, 4, 4),
    (Verb::Plant, 5, 1),
];

/// How much more often a hard link is made where they are compared.
const MORE_LINKS: u32 = 5;

/// What a script is made of beside its seed.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub operations: usize,
    pub faults: Vec<Fault>,
    pub moves: Moves,
}

/// What is done with whole directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// They are not renamed.
    None,
    /// They are, which is not mirrored until the whole tree is compared (`dir_moves: Log`).
    Logged,
    /// They are, which is mirrored (`dir_moves: Replicate`).
    Mirrored,
}

/// The script of a seed.
pub fn script(seed: u64, recipe: &Recipe) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let mut world = World { files: Vec::new(), dirs: vec![PathBuf::new()], moves: recipe.moves };
    let mut steps = Vec::new();
    let mut until_pause = 0;
    for at in 0..recipe.operations {
        if until_pause == 0 {
            until_pause = rng.usize(1..40);
            // Mostly a moment, at times long enough for everything to come to rest.
            let longest = if rng.u8(..10) == 0 { 150 } else { 10 };
            steps.push(Step::pause(rng.u64(..longest)));
        }
        until_pause -= 1;
        steps.push(Step::Do(world.operation(&mut rng, (at / SEASON).is_multiple_of(2))));
    }
    with_faults(steps, &recipe.faults, &mut rng)
}

struct World {
    files: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
    moves: Moves,
}

impl World {
    fn operation(&mut self, rng: &mut Rng, grows: bool) -> Operation {
        let verb = self.verb(rng, grows);
        let paths = match verb {
            Verb::MakeDirs | Verb::Plant | Verb::Symlink => vec![self.fresh(rng)],
            Verb::Write | Verb::Replace => vec![if rng.u8(..3) == 0 { self.file(rng) } else { self.fresh(rng) }],
            Verb::RemoveDir | Verb::RemoveAll => vec![self.deep_dir(rng)],
            Verb::Retype => vec![if rng.u8(..10) == 0 { self.deep_dir(rng) } else { self.file(rng) }],
            Verb::Chmod | Verb::Utimes => {
                vec![if rng.u8(..4) == 0 { self.dir(rng) } else { self.file(rng) }]
            }
            Verb::Rename | Verb::HardLink => {
                vec![self.file(rng), if rng.bool() { self.fresh(rng) } else { self.file(rng) }]
            }
            Verb::Swap => vec![self.file(rng), self.file(rng)],
            Verb::Chain => vec![self.file(rng), self.fresh(rng), self.fresh(rng)],
            Verb::Flash => vec![self.fresh(rng), self.fresh(rng)],
            Verb::MoveDir => vec![self.dir(rng), if rng.u8(..4) == 0 { self.dir(rng) } else { self.fresh(rng) }],
            Verb::SwapDirs => vec![self.dir(rng), self.dir(rng)],
            Verb::ChainDirs => vec![self.dir(rng), self.fresh(rng), self.fresh(rng)],
            Verb::MoveOut => vec![self.dir(rng), self.fresh(rng)],
            _ => vec![self.file(rng)],
        };
        let number = rng.u64(..u64::from(u32::MAX));
        self.remember(verb, &paths, number);
        Operation { verb, paths, number }
    }

    fn verb(&self, rng: &mut Rng, grows: bool) -> Verb {
        if self.moves != Moves::None && rng.u8(..20) == 0 {
            return *rng
                .choice(&[Verb::MoveDir, Verb::MoveDir, Verb::SwapDirs, Verb::ChainDirs, Verb::MoveOut])
                .unwrap();
        }
        let more = if hard_links() { MORE_LINKS } else { 1 };
        let weight = |(verb, growing, shrinking): &(Verb, u32, u32)| {
            let factor = if *verb == Verb::HardLink { more } else { 1 };
            factor * if grows { *growing } else { *shrinking }
        };
        let mut left = rng.u32(..WEIGHTS.iter().map(weight).sum::<u32>());
        let chosen = WEIGHTS.iter().find(|entry| {
            let found = left < weight(entry);
            left = left.saturating_sub(weight(entry));
            found
        });
        chosen.map_or(Verb::Write, |(verb, ..)| *verb)
    }

    fn fresh(&self, rng: &mut Rng) -> PathBuf {
        let mut dir = self.dirs[rng.usize(..self.dirs.len())].clone();
        if dir.components().count() >= DEPTH {
            dir = PathBuf::new();
        }
        if rng.u8(..200) == 0 {
            return dir.join("L".repeat(255));
        }
        dir.join(OsStr::from_bytes(NAMES[rng.usize(..NAMES.len())]))
    }

    fn file(&self, rng: &mut Rng) -> PathBuf {
        if self.files.is_empty() { self.fresh(rng) } else { self.files[rng.usize(..self.files.len())].clone() }
    }

    /// Never the root.
    fn dir(&self, rng: &mut Rng) -> PathBuf {
        match self.dirs.len() {
            1 => self.fresh(rng),
            count => self.dirs[rng.usize(1..count)].clone(),
        }
    }

    /// One of two, the deeper: what is removed is mostly small.
    fn deep_dir(&self, rng: &mut Rng) -> PathBuf {
        let (one, other) = (self.dir(rng), self.dir(rng));
        if one.components().count() < other.components().count() { other } else { one }
    }

    /// What the operation leaves if it finds what it needs.
    fn remember(&mut self, verb: Verb, paths: &[PathBuf], number: u64) {
        let (first, last) = (&paths[0], &paths[paths.len() - 1]);
        match verb {
            Verb::Write | Verb::Replace | Verb::Symlink | Verb::Retarget => self.add_file(first),
            Verb::Rename | Verb::HardLink | Verb::Chain if !self.is_dir(last) => {
                self.files.retain(|file| file != first);
                self.add_file(last);
            }
            Verb::MakeDirs => self.add_dir(first),
            Verb::Plant => self.add_planted(first),
            Verb::Retype => {
                let was_dir = self.is_dir(first);
                self.forget(first);
                match (was_dir, number % 3) {
                    (true, _) | (_, 0) => self.add_file(first),
                    (_, 1) => self.add_dir(first),
                    _ => self.add_planted(first),
                }
            }
            Verb::RemoveFile => self.files.retain(|file| file != first),
            Verb::RemoveDir if self.is_empty(first) => self.forget(first),
            Verb::RemoveAll => self.forget(first),
            Verb::SwapDirs if self.is_dir(first) && self.is_dir(last) => {
                for dir in [first, last] {
                    self.forget(dir);
                    self.add_dir(dir);
                }
            }
            Verb::MoveOut if self.is_dir(first) && !number.is_multiple_of(2) => self.forget(first),
            Verb::MoveDir | Verb::ChainDirs | Verb::MoveOut if self.is_dir(first) && !last.starts_with(first) => {
                self.forget(first);
                self.add_dir(last);
            }
            _ => (),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.dirs.iter().any(|dir| dir == path)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file == path)
    }

    fn is_empty(&self, dir: &Path) -> bool {
        !self.files.iter().chain(&self.dirs).any(|path| path != dir && path.starts_with(dir))
    }

    fn add_file(&mut self, path: &Path) {
        if !self.is_file(path) && !self.is_dir(path) {
            self.files.push(path.to_owned());
        }
    }

    fn add_dir(&mut self, path: &Path) {
        if !self.is_file(path) && !self.is_dir(path) {
            self.dirs.push(path.to_owned());
        }
    }

    fn add_planted(&mut self, path: &Path) {
        self.add_dir(path);
        if self.is_dir(path) {
            ["a", "a/b", "a/b/c d"].iter().for_each(|below| self.add_dir(&path.join(below)));
            ["link", "a/b/c d/#e"].iter().for_each(|below| self.add_file(&path.join(below)));
        }
    }

    fn forget(&mut self, top: &Path) {
        self.files.retain(|file| !file.starts_with(top));
        self.dirs.retain(|dir| !dir.starts_with(top) || dir.as_os_str().is_empty());
    }
}

/// Puts faults between the steps: some at one moment, others for a while; two of one group never at once.
fn with_faults(steps: Vec<Step>, faults: &[Fault], rng: &mut Rng) -> Vec<Step> {
    let count = steps.len();
    // Before the step of that number; the order of what comes before the same one is that in which it was added.
    let mut added: Vec<(usize, Step)> = Vec::new();
    let mut groups: Vec<(u8, Vec<Fault>)> = Vec::new();
    for &fault in faults {
        match groups.iter_mut().find(|(group, _)| *group == fault.group()) {
            Some((_, members)) => members.push(fault),
            None => groups.push((fault.group(), vec![fault])),
        }
    }
    for (_, members) in groups {
        // Each fault of a group has a turn of its own, again and again.
        let turns = members.len() * (count / 3000).max(1);
        let length = count / turns;
        for turn in 0..turns {
            let fault = members[turn % members.len()];
            let start = turn * length;
            if fault.is_a_moment() {
                (0..length / 60)
                    .for_each(|_| added.push((start + rng.usize(..length), Step::Begin(fault, rng.u64(..1000)))));
                continue;
            }
            let begin = start + rng.usize(..length / 2);
            let end = begin + rng.usize(1..length / 2);
            added.push((begin, Step::Begin(fault, rng.u64(..1000))));
            if fault == Fault::Stop {
                let paths = vec![PathBuf::from("flood")];
                added.push((begin + 1, Step::Do(Operation { verb: Verb::Flood, paths, number: rng.u64(..1000) })));
            } else {
                added.push((begin + (end - begin) / 2, Step::pause(rng.u64(100..900))));
            }
            added.push((end, Step::End(fault)));
        }
    }
    added.sort_by_key(|(at, _)| *at);
    let mut added = added.into_iter().peekable();
    let mut all = Vec::with_capacity(count);
    for (at, step) in steps.into_iter().enumerate() {
        while let Some((_, step)) = added.next_if(|(before, _)| *before <= at) {
            all.push(step);
        }
        all.push(step);
    }
    all.extend(added.map(|(_, step)| step));
    all
}
