//! Whether one change costs more in a directory with many other files.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::process;
use crate::report::{Report, Row, Unit};
use crate::rsync::{self, Warm};
use crate::sizes::Sizes;
use crate::stats::percentile;
use crate::trouble::{At, Outcome};
use crate::{mirror, scenarios, stats};

const LIMIT: Duration = Duration::from_secs(30);
const DIRS: [&str; 2] = ["empty", "large"];

/// One contestant in one directory: latencies, and processor milliseconds per change of each turn.
#[derive(Default)]
struct Samples {
    latency: Vec<f64>,
    cpu: Vec<f64>,
}

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let arena = ground.arena()?;
    for dir in DIRS {
        fs::create_dir(arena.at(dir)).at(dir)?;
    }
    for number in 0..sizes.siblings {
        let path = arena.at(&format!("large/sibling{number}"));
        fs::write(&path, "x").at(path.display())?;
    }
    rsync::mirror(ground, &arena.source(), &arena.node(Way::Local))?;

    let mut samples: BTreeMap<(Who, &str), Samples> = BTreeMap::new();
    for who in scenarios::present(ground, &[Who::ByHand, Who::Inosync, Who::Lsyncd(0)]) {
        let to = arena.mirror(Way::Local);
        let job = Job::new(&arena, &[Way::Local]);
        let daemon = match who {
            Who::ByHand => None,
            _ => Some(Contestant::start_settled(who, ground, &arena, &job, &to)?),
        };
        for round in 1..=sizes.rounds {
            for dir in DIRS {
                ground.say(&format!("  {who}, {dir} directory, round {round}"));
                let samples = samples.entry((who, dir)).or_default();
                turn(ground, &arena, daemon.as_ref(), dir, sizes.changes, samples)?;
            }
        }
    }
    add_rows(report, &samples, sizes.siblings);
    Ok(())
}

fn turn(
    ground: &Ground,
    arena: &Arena,
    daemon: Option<&Contestant>,
    dir: &str,
    changes: usize,
    samples: &mut Samples,
) -> Outcome<()> {
    let cpu = || daemon.map_or(Duration::ZERO, |daemon| process::tree_cpu(daemon.id()));
    mirror::pause();
    let before = cpu();
    for number in 0..changes {
        let path = format!("{dir}/change{}", number % 3);
        let mut warm = if daemon.is_none() { Some(Warm::start(ground, arena, Way::Local)?) } else { None };
        mirror::pause();
        let written = mirror::write(&arena.at(&path), 100)?;
        if let Some(warm) = &mut warm {
            warm.feed(&path)?;
        }
        samples.latency.push(mirror::latency(&arena.mirror(Way::Local).join(&path), written, LIMIT)?);
        if let Some(warm) = warm {
            warm.finish()?;
        }
    }
    mirror::pause();
    if daemon.is_some() {
        samples.cpu.push((cpu() - before).as_secs_f64() * 1000.0 / changes as f64);
    }
    Ok(())
}

fn add_rows(report: &mut Report, samples: &BTreeMap<(Who, &str), Samples>, siblings: usize) {
    let p50 =
        |who: Who, dir: &'static str| samples.get(&(who, dir)).and_then(|samples| percentile(&samples.latency, 0.5));
    for dir in DIRS {
        let place = if dir == "large" { format!("{siblings} siblings") } else { "an empty directory".to_owned() };
        let mut latency = Row::new(format!("one change, {place}, p50"), Unit::Milliseconds);
        let mut cpu = Row::new(format!("one change, {place}, CPU"), Unit::Milliseconds);
        for ((who, at), samples) in samples {
            if *at == dir {
                latency.figure(*who, &samples.latency, |samples| percentile(samples, 0.5));
                cpu.figure(*who, &samples.cpu, stats::median);
            }
        }
        if dir == "large" {
            let ratio = p50(Who::Inosync, "large").zip(p50(Who::Inosync, "empty")).map(|(large, empty)| large / empty);
            latency = latency.check("≤ 1.2x of an empty directory", ratio, 1.2);
        }
        report.add("siblings", latency);
        report.add("siblings", cpu);
    }
}
