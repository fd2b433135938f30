//! Each kind of change: until the last relay and the last leaf have it, and what it costs on the lines.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::describe;
use crate::ground::Ground;
use crate::mirror::{self, version};
use crate::relays::{Relays, Shape, until_all};
use crate::report::{Table, number};
use crate::sizes::Sizes;
use crate::stats::median;
use crate::trouble::{At, Outcome};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The part of a file that is changed: where, and how much.
const PART: (u64, usize) = (512 * KIB, 4096);
/// Files of a moved directory.
const MOVED_FILES: u64 = 40;
/// Directories of a new tree, and files in each.
const TREE: (usize, usize) = (10, 100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Make,
    Overwrite,
    Part,
    Delete,
    Tree,
    Rename,
    Move,
}

impl Change {
    const ALL: [Change; 7] =
        [Change::Make, Change::Overwrite, Change::Part, Change::Delete, Change::Tree, Change::Rename, Change::Move];

    fn name(self, sizes: &Sizes) -> String {
        let size = sizes.move_file / MIB;
        match self {
            Change::Make => "a file of 1 KiB made".into(),
            Change::Overwrite => "a file of 1 KiB overwritten".into(),
            Change::Part => "4 KiB changed in a file of 1 MiB".into(),
            Change::Delete => "a file deleted".into(),
            Change::Tree => "a tree of 1,000 files, 2.6 MB in all, made".into(),
            Change::Rename => format!("a file of {size} MiB renamed"),
            Change::Move => format!("a directory of {} MiB moved", 2 * size),
        }
    }

    /// Makes what the changes are made to, so many of each kind.
    fn prepare(self, source: &Path, sizes: &Sizes, count: usize) -> Outcome<()> {
        let make = |dir: &str| fs::create_dir_all(source.join(dir)).at(dir);
        match self {
            Change::Make => make("made"),
            Change::Tree => make("trees"),
            Change::Overwrite => {
                make("over")?;
                (0..5).try_for_each(|number| mirror::write(&source.join(format!("over/{number}")), 1024).map(drop))
            }
            Change::Delete => {
                make("gone")?;
                (0..count).try_for_each(|number| mirror::write(&source.join(format!("gone/{number}")), 1024).map(drop))
            }
            Change::Part => fs::write(source.join("part"), random(MIB as usize)).at("part"),
            Change::Rename => {
                make("names")?;
                hollow(&source.join("names/0"), sizes.move_file)
            }
            Change::Move => {
                make("moved/0")?;
                let size = 2 * sizes.move_file / MOVED_FILES;
                (0..MOVED_FILES).try_for_each(|file| hollow(&source.join(format!("moved/0/{file}")), size))
            }
        }
    }

    fn make(self, number: usize, source: &Path) -> Outcome<()> {
        let next = number + 1;
        let rename = |dir: &str| {
            let (old, new) = (source.join(format!("{dir}/{number}")), source.join(format!("{dir}/{next}")));
            fs::rename(old, new).at(dir)
        };
        match self {
            Change::Make => mirror::write(&source.join(format!("made/{number}")), 1024).map(drop),
            Change::Overwrite => mirror::write(&source.join(format!("over/{}", number % 5)), 1024).map(drop),
            Change::Part => {
                let file = File::options().write(true).open(source.join("part")).at("part")?;
                file.write_all_at(&random(PART.1), PART.0).at("part")
            }
            Change::Delete => fs::remove_file(source.join(format!("gone/{number}"))).at("gone"),
            Change::Tree => mirror::make_files(&source.join(format!("trees/{number}")), TREE.0, TREE.0 * TREE.1),
            Change::Rename => rename("names"),
            Change::Move => rename("moved"),
        }
    }

    fn has_arrived(self, number: usize, source: &Path, mirror: &Path) -> bool {
        let next = number + 1;
        let is_same = |path: String| version(&source.join(&path)) == version(&mirror.join(&path));
        match self {
            Change::Make => is_same(format!("made/{number}")),
            Change::Overwrite => is_same(format!("over/{}", number % 5)),
            Change::Part => part(&source.join("part")) == part(&mirror.join("part")),
            Change::Delete => !mirror.join(format!("gone/{number}")).exists(),
            Change::Tree => {
                let dirs = (0..TREE.0).map(|dir| mirror.join(format!("trees/{number}/g0/d{dir}")));
                dirs.map(|dir| entries(&dir)).all(|count| count == TREE.1)
            }
            Change::Rename => {
                mirror.join(format!("names/{next}")).exists() && !mirror.join(format!("names/{number}")).exists()
            }
            Change::Move => {
                entries(&mirror.join(format!("moved/{next}"))) == MOVED_FILES as usize
                    && !mirror.join(format!("moved/{number}")).exists()
            }
        }
    }
}

/// The entries of a directory; what rsync is writing has a name with a dot.
fn entries(dir: &Path) -> usize {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| !name.as_encoded_bytes().starts_with(b".")).count()
}

fn part(path: &Path) -> Option<Vec<u8>> {
    let mut part = vec![0; PART.1];
    File::open(path).ok()?.read_exact_at(&mut part, PART.0).ok()?;
    Some(part)
}

fn random(size: usize) -> Vec<u8> {
    (0..size).map(|_| fastrand::u8(..)).collect()
}

/// A file whose beginning is that of no other one; the rest is a hole, which takes no room here. rsync sends it whole.
fn hollow(path: &Path, size: u64) -> Outcome<()> {
    mirror::write(path, 16)?;
    File::options().write(true).open(path).at(path.display())?.set_len(size).at(path.display())
}

#[derive(Default)]
struct Samples {
    milliseconds: [Vec<f64>; 2],
    bytes: [Vec<f64>; 2],
}

pub fn measure(ground: &Ground, sizes: &Sizes, shape: &Shape) -> Outcome<Table> {
    ground.say(&format!("  {}", describe(shape)));
    let rounds = sizes.relayed_changes;
    let tree = Relays::start(ground, shape, |source| {
        Change::ALL.into_iter().try_for_each(|change| change.prepare(source, sizes, rounds + 1))
    })?;
    let heads = ["change", "at the last relay", "at the last leaf", "bytes to each relay", "bytes to each leaf"];
    let mut table = Table::new(format!("{}, medians of {rounds}", describe(shape)), &heads);
    for change in Change::ALL {
        let name = change.name(sizes);
        ground.say(&format!("  {name}"));
        let mut samples = Samples::default();
        for number in 0..=rounds {
            let sample = one(&tree, change, number)?;
            // By the first of a kind all get to know it.
            if number > 0 {
                add(&mut samples, shape, sample);
            }
        }
        let shown = |samples: &Vec<f64>| number(median(samples).unwrap_or(f64::NAN));
        let [near, far] = samples.milliseconds.each_ref().map(|samples| format!("{} ms", shown(samples)));
        let [relay, leaf] = samples.bytes.each_ref().map(shown);
        table.line(vec![name, near, far, relay, leaf]);
    }
    Ok(table)
}

/// The milliseconds until a change is at all relays, and at all leaves; and the bytes on each hop.
fn one(tree: &Relays, change: Change, number: usize) -> Outcome<([f64; 2], [u64; 2])> {
    let before = tree.rest()?;
    thread::sleep(Duration::from_millis(fastrand::u64(0..300)));
    let (source, start) = (&tree.first.source, Instant::now());
    change.make(number, source)?;
    let has = |mirror: &Path| change.has_arrived(number, source, mirror);
    let near = until_all(start, tree.first.nodes.iter(), has)?;
    let far = until_all(start, tree.leaves(), has)?;
    let after = tree.rest()?;
    Ok(([near, far], [after[0] - before[0], after[1] - before[1]]))
}

fn add(samples: &mut Samples, shape: &Shape, (milliseconds, bytes): ([f64; 2], [u64; 2])) {
    let nodes = [shape.relays, shape.relays * shape.leaves];
    for hop in 0..2 {
        samples.milliseconds[hop].push(milliseconds[hop]);
        samples.bytes[hop].push(bytes[hop] as f64 / nodes[hop] as f64);
    }
}
