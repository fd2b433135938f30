//! Relays that fail: the daemon of one is killed, the machine of one is gone for a while, and one comes back with an empty disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::describe;
use crate::ground::Ground;
use crate::mirror;
use crate::relays::{Node, Relays, Shape, Station, until_all, until_equal};
use crate::report::{Table, number};
use crate::trouble::{At, Outcome};

/// Files of the tree: small ones, and some that take a while.
const FILES: usize = 2000;
const LARGE: usize = 5;
const LARGE_BYTES: usize = 4 << 20;
/// Files that are made, overwritten and deleted while a relay is not there, so many each.
const CHANGED: usize = 50;
/// How long a relay is gone, at least.
const GONE: Duration = Duration::from_secs(10);
/// How long all is at rest before.
const SAVED: Duration = Duration::from_secs(5);
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(60);
/// Between two looks at what a leaf has.
const LOOK: Duration = Duration::from_millis(20);

pub fn measure(ground: &Ground, shape: &Shape) -> Outcome<Table> {
    let mut tree = Relays::start(ground, shape, |source| {
        mirror::make_files(source, 20, FILES)?;
        fs::create_dir(source.join("change")).at("change")?;
        (0..2 * CHANGED).try_for_each(|file| mirror::write(&source.join(format!("change/{file}")), 1024).map(drop))?;
        (0..LARGE).try_for_each(|file| fill(&source.join(format!("large{file}"))))
    })?;
    equal_all(&tree)?;
    let heads =
        ["outage", "relay equal", "its leaves equal", "bytes to the relay", "bytes to its leaves", "lost meanwhile"];
    let title = format!(
        "{}, heartbeats each 10 s; {CHANGED} files made, {CHANGED} overwritten, {CHANGED} deleted and one of {} MiB renamed \
         meanwhile; of {FILES} files and {LARGE} of {} MiB",
        describe(shape),
        LARGE_BYTES >> 20,
        LARGE_BYTES >> 20
    );
    let mut table = Table::new(title, &heads);
    for (number, outage) in [Outage::Daemon, Outage::Machine, Outage::Disk, Outage::Everything].into_iter().enumerate()
    {
        ground.say(&format!("  {}", outage.name()));
        let cells = outage.measure(ground, &mut tree, number)?;
        table.line([vec![outage.name().to_owned()], cells].concat());
        equal_all(&tree)?;
    }
    ground.say("  nothing happens");
    thread::sleep(QUIET / 4);
    let before = tree.bytes();
    thread::sleep(QUIET);
    let after = tree.bytes();
    let per_minute = |hop: usize, nodes: usize| number((after[hop] - before[hop]) as f64 / nodes as f64);
    let (relays, leaves) = (shape.relays, shape.relays * shape.leaves);
    table.line(vec![
        format!("none: {} s in which nothing happens, for each node", QUIET.as_secs()),
        "–".into(),
        "–".into(),
        per_minute(0, relays),
        per_minute(1, leaves),
        "–".into(),
    ]);
    Ok(table)
}

fn fill(path: &Path) -> Outcome<()> {
    let content: Vec<u8> = (0..LARGE_BYTES).map(|_| fastrand::u8(..)).collect();
    fs::write(path, content).at(path.display())
}

fn equal_all(tree: &Relays) -> Outcome<()> {
    until_equal(Instant::now(), &tree.first.source, tree.first.nodes.iter().chain(tree.leaves())).map(drop)
}

/// Waits until the heartbeat of each node says that it is complete.
fn complete_all(tree: &Relays) -> Outcome<()> {
    let is_complete = |mirror: &Path| {
        let heartbeat = fs::read_to_string(mirror.join(mirror::HEARTBEAT)).unwrap_or_default();
        heartbeat.contains("\"state\":\"complete\"")
    };
    until_all(Instant::now(), tree.first.nodes.iter().chain(tree.leaves()), is_complete).map(drop)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// Of the relay's daemon alone: its mirror is still written.
    Daemon,
    /// Of the whole machine.
    Machine,
    /// Of the disk with the mirror: an empty one is in its place.
    Disk,
    /// Of the machine for good: a new one, with nothing, is in its place.
    Everything,
}

impl Outage {
    fn name(self) -> &'static str {
        match self {
            Outage::Daemon => "the daemon of a relay is killed and starts again",
            Outage::Machine => "the machine of a relay dies and returns",
            Outage::Disk => "a relay returns with an empty disk",
            Outage::Everything => "a new relay, with nothing, is in its place",
        }
    }

    /// Lets the first relay fail, changes the source and lets the relay return.
    fn measure(self, ground: &Ground, tree: &mut Relays, number_of_all: usize) -> Outcome<Vec<String>> {
        // Each daemon has compared its nodes, and saved its state.
        complete_all(tree)?;
        thread::sleep(SAVED);
        let began = Instant::now();
        let Relays { first, relays, arena } = tree;
        let (relay, others) = relays.split_first_mut().at("no relay")?;
        let node = first.nodes.first().at("no relay")?;
        relay.kill();
        if self != Outage::Daemon {
            node.line.cut();
        }
        change(&first.source, number_of_all)?;
        until_equal(began, &first.source, others.iter().flat_map(|other| &other.nodes))?;
        thread::sleep(GONE.saturating_sub(began.elapsed()));
        if self == Outage::Daemon {
            until_equal(began, &first.source, [node].into_iter())?;
        }
        if matches!(self, Outage::Disk | Outage::Everything) {
            empty(&node.mirror)?;
        }
        if self == Outage::Everything {
            relay.forget(arena)?;
        }
        let had = names(&node_of(relay)?.mirror);
        let (near, far) = (node.line.bytes(), relay.bytes());
        let start = Instant::now();
        node.line.mend();
        relay.start(ground, arena)?;
        let lost = AtomicBool::new(false);
        let is_over = AtomicBool::new(false);
        let (equal, all_equal) = thread::scope(|scope| {
            scope.spawn(|| watch(relay, &first.source, &had, &lost, &is_over));
            let equal = until_equal(start, &first.source, [node].into_iter());
            let all_equal = until_equal(start, &first.source, relay.nodes.iter());
            is_over.store(true, Ordering::SeqCst);
            (equal, all_equal)
        });
        // The connections that wait for the next change are there again.
        thread::sleep(Duration::from_secs(3));
        let seconds = |outcome: Outcome<f64>| outcome.map(|seconds| format!("{seconds:.1} s"));
        Ok(vec![
            if self == Outage::Daemon { "–".into() } else { seconds(equal)? },
            seconds(all_equal)?,
            number((node.line.bytes() - near) as f64),
            number((relay.bytes() - far) as f64),
            if lost.load(Ordering::SeqCst) { "**something**" } else { "nothing" }.into(),
        ])
    }
}

fn node_of(relay: &Station) -> Outcome<&Node> {
    relay.nodes.first().at("no leaf")
}

/// Makes, overwrites, deletes and renames.
fn change(source: &Path, round: usize) -> Outcome<()> {
    for file in 0..CHANGED {
        mirror::write(&source.join(format!("change/new{round}-{file}")), 1024)?;
        mirror::write(&source.join(format!("change/{file}")), 1024)?;
        let old = match round {
            0 => format!("change/{}", CHANGED + file),
            _ => format!("change/new{}-{file}", round - 1),
        };
        fs::remove_file(source.join(&old)).at(old)?;
    }
    let name = |round: usize| if round == 0 { "large0".to_owned() } else { format!("change/large{round}") };
    fs::rename(source.join(name(round)), source.join(name(round + 1))).at("large0")
}

/// Removes what is in a directory.
fn empty(dir: &Path) -> Outcome<()> {
    fs::remove_dir_all(dir).and_then(|()| fs::create_dir(dir)).at(dir.display())
}

/// The files in the directories of the tree that nobody changes.
fn names(mirror: &Path) -> Vec<PathBuf> {
    let dirs = (0..20).map(|dir| Path::new("g0").join(format!("d{dir}")));
    let files = |dir: PathBuf| {
        let entries = fs::read_dir(mirror.join(&dir)).into_iter().flatten().flatten();
        entries.map(move |entry| dir.join(entry.file_name())).collect::<Vec<_>>()
    };
    dirs.flat_map(files).collect()
}

/// Looks if a leaf loses a file that it had, and that the source has.
fn watch(relay: &Station, source: &Path, had: &[PathBuf], lost: &AtomicBool, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let lacks = |node: &Node| had.iter().any(|file| !node.mirror.join(file).exists() && source.join(file).exists());
        if relay.nodes.iter().any(lacks) {
            lost.store(true, Ordering::SeqCst);
        }
        thread::sleep(LOOK);
    }
}
