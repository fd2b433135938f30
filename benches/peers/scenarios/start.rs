//! The start on a large tree whose mirror is up to date: until the watches stand, until the first change is mirrored,
//! and the memory that it takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::sizes::Sizes;
use crate::stats::median;
use crate::trouble::{At, Outcome};
use crate::{mirror, process, rsync, scenarios};

/// The kernel clears away given-up watches in the background, which must not slow down the next one.
const AFTERWARDS: Duration = Duration::from_millis(500);
const MIB: f64 = 1024.0 * 1024.0;

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    measure(ground, sizes.rounds, sizes.start_dirs, 15.0, report)
}

pub fn run_many(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    measure(ground, sizes.rounds, sizes.many_start_dirs, 35.0, report)
}

/// One contestant: milliseconds and bytes.
#[derive(Default)]
struct Samples {
    watching: Vec<f64>,
    first_change: Vec<f64>,
    memory: Vec<f64>,
    memory_empty: Vec<f64>,
}

fn measure(ground: &Ground, rounds: usize, dirs: usize, memory_limit: f64, report: &mut Report) -> Outcome<()> {
    let (arena, empty) = (ground.arena()?, ground.arena()?);
    mirror::make_directories(&arena.source(), dirs)?;
    for arena in [&arena, &empty] {
        rsync::mirror(ground, &arena.source(), &arena.node(Way::Local))?;
    }

    // The first walk of a fresh tree finds the kernel's caches cold.
    walk(&arena.source())?;
    let mut walks = Vec::new();
    let daemons = scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0)]);
    let mut samples: Vec<(Who, Samples)> = daemons.into_iter().map(|who| (who, Samples::default())).collect();
    for round in 1..=rounds {
        ground.say(&format!("  watching by hand, round {round}"));
        walks.push(walk(&arena.source())?);
        for (who, samples) in &mut samples {
            ground.say(&format!("  {who}, round {round}"));
            start(ground, &arena, *who, samples)?;
            let mut without = Samples::default();
            start(ground, &empty, *who, &mut without)?;
            samples.memory_empty.extend(without.memory);
        }
    }

    let mut watching = Row::new(format!("start on {dirs} directories, watches stand"), Unit::Milliseconds);
    let mut first = Row::new("the same, first change mirrored", Unit::Milliseconds);
    let mut memory = Row::new("the same, memory at rest (RSS)", Unit::MiB);
    let mut each = Row::new("the same, memory per directory", Unit::Bytes);
    watching.median(Who::ByHand, &walks);
    for (who, samples) in &samples {
        watching.median(*who, &samples.watching);
        first.median(*who, &samples.first_change);
        memory.figure(*who, &samples.memory, |samples| Some(median(samples)? / MIB));
        let without = median(&samples.memory_empty);
        each.figure(*who, &samples.memory, |samples| Some((median(samples)? - without?) / dirs as f64));
    }
    report.add("start", watching.compared(Who::ByHand, 1.5, "≤ 1.5x by hand"));
    report.add("start", first.compared(Who::Lsyncd(0), 0.5, "≤ 1/2 of lsyncd"));
    report.add("start", memory.at_most(memory_limit));
    report.add("start", each.at_most(150.0));
    Ok(())
}

fn start(ground: &Ground, arena: &Arena, who: Who, samples: &mut Samples) -> Outcome<()> {
    let mut daemon = Contestant::start(who, ground, arena, &Job::new(arena, &[Way::Local]))?;
    let arrived = daemon.first_change(arena, &arena.mirror(Way::Local))?;
    let since_start = |at: Instant| (at - daemon.started).as_secs_f64() * 1000.0;
    samples.first_change.push(since_start(arrived));
    samples.watching.extend(daemon.logged("watching").map(since_start));
    daemon.settle();
    samples.memory.push(process::rss(daemon.id()) as f64);
    drop(daemon);
    thread::sleep(AFTERWARDS);
    Ok(())
}

/// The least that watching can cost: one thread that lists each directory and adds a watch. In milliseconds.
fn walk(root: &Path) -> Outcome<f64> {
    let start = Instant::now();
    let queue = inotify::init(CreateFlags::CLOEXEC).at("inotify")?;
    let events = WatchFlags::CREATE | WatchFlags::CLOSE_WRITE | WatchFlags::MOVE | WatchFlags::DELETE;
    let mut dirs: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        inotify::add_watch(&queue, &dir, events).at(dir.display())?;
        for entry in fs::read_dir(&dir).at(dir.display())? {
            let entry = entry.at(dir.display())?;
            if entry.file_type().at(dir.display())?.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    // Only now the watches are given up, which takes time, too.
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    drop(queue);
    thread::sleep(AFTERWARDS);
    Ok(milliseconds)
}
