//! One change to many nodes.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, RPATH, Way};
use crate::report::{Report, Row, Unit};
use crate::sizes::Sizes;
use crate::trouble::{At, Outcome};
use crate::{mirror, process, scenarios};

const LIMIT: Duration = Duration::from_secs(60);
/// Between two changes: so many standbys take a while to be there again.
const PAUSE: Duration = Duration::from_millis(1500);
const MIB: f64 = 1024.0 * 1024.0;

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let mut time =
        Row::new(format!("one change to {} local nodes, 1.5 s apart, on all", sizes.nodes), Unit::Milliseconds);
    let mut memory = Row::new("the same, memory of the daemon (RSS)", Unit::MiB);
    for who in scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0), Who::Lsyncd(1)]) {
        ground.say(&format!("  {who}"));
        match measure(ground, sizes, who) {
            Ok(Figures { milliseconds, rss, processes }) => {
                time.median(who, &milliseconds);
                memory.median(who, &[rss]);
                time.note(format!("{who} has {processes} processes at rest"));
            }
            Err(why) if who == Who::Inosync => return Err(why),
            // What the others cannot do takes nothing from the row.
            Err(why) => time.note(format!("{who}: {why}")),
        }
    }
    report.add("nodes", time.compared(Who::Lsyncd(0), 0.75, "≤ 0.75x lsyncd, delay 0"));
    report.add("nodes", memory);
    Ok(())
}

/// The figures of one daemon.
struct Figures {
    /// For each change, until it is on all nodes.
    milliseconds: Vec<f64>,
    /// In MiB.
    rss: f64,
    processes: usize,
}

fn measure(ground: &Ground, sizes: &Sizes, who: Who) -> Outcome<Figures> {
    let arena = ground.arena()?;
    let mirrors: Vec<PathBuf> = (0..sizes.nodes).map(|node| mirror(&arena, node)).collect();
    let mut job = Job::new(&arena, &[Way::Local]);
    job.nodes = (0..sizes.nodes).map(|node| dir(&arena, node).display().to_string()).collect();
    for node in 0..sizes.nodes {
        fs::create_dir_all(dir(&arena, node)).at("a node")?;
    }
    mirror::make_files(&arena.source(), 10, 100)?;
    let last = mirrors.last().at("no nodes")?;
    let daemon = Contestant::start_settled(who, ground, &arena, &job, last)?;
    let change = |number: usize| {
        thread::sleep(PAUSE);
        let path = format!("g0/d0/change{number}");
        let written = mirror::write(&arena.at(&path), 1024)?;
        let one = |mirror: &PathBuf| mirror::latency(&mirror.join(&path), written, LIMIT);
        mirrors.iter().map(one).try_fold(0.0, |latest: f64, one| one.map(|one| latest.max(one)))
    };
    // The first one waits for the start to be over on all nodes.
    change(0)?;
    let milliseconds = (1..=sizes.slow_changes).map(change).collect::<Outcome<_>>()?;
    let rss = process::rss(daemon.id()) as f64 / MIB;
    daemon.settle();
    Ok(Figures { milliseconds, rss, processes: process::family(daemon.id()).len() })
}

fn dir(arena: &Arena, node: usize) -> PathBuf {
    arena.path().join(format!("node{node:03}"))
}

fn mirror(arena: &Arena, node: usize) -> PathBuf {
    dir(arena, node).join(&RPATH[1..])
}
