//! How long it takes until one change is on the mirror, when nothing else happens.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::rsync::{self, Warm};
use crate::sizes::Sizes;
use crate::stats::percentile;
use crate::trouble::Outcome;
use crate::{mirror, scenarios};

const LIMIT: Duration = Duration::from_secs(30);
/// Of a changed file.
const BYTES: usize = 1024;

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    for way in Way::ALL {
        match ground.lacks(way) {
            None => add_rows(report, way, &measure(ground, sizes, way)?),
            Some(why) => report.skip(format!("latency, {}: {why}", way.name())),
        }
    }
    Ok(())
}

fn measure(ground: &Ground, sizes: &Sizes, way: Way) -> Outcome<BTreeMap<Who, Vec<f64>>> {
    let arena = ground.arena()?;
    mirror::make_files(&arena.source(), 10, 100)?;
    rsync::mirror(ground, &arena.source(), &arena.node(way))?;
    let mut samples: BTreeMap<Who, Vec<f64>> = BTreeMap::new();
    for round in 1..=sizes.rounds {
        for who in contestants(ground, way) {
            ground.say(&format!("  {}: {who}, round {round}", way.name()));
            let slow = way == Way::Ssh && who == Who::Rsync || who == Who::Lsyncd(1);
            let changes = if slow { sizes.slow_changes } else { sizes.changes };
            let turn = match who {
                Who::ByHand | Who::Rsync => by_rsync(ground, &arena, way, who, changes)?,
                _ => by_daemon(ground, &arena, way, who, changes)?,
            };
            samples.entry(who).or_default().extend(turn);
        }
    }
    Ok(samples)
}

fn contestants(ground: &Ground, way: Way) -> Vec<Who> {
    let all = [Who::ByHand, Who::Inosync, Who::Lsyncd(0), Who::Lsyncd(1), Who::Rsync];
    let all = scenarios::present(ground, &all);
    all.into_iter().filter(|who| way != Way::Daemon || !matches!(who, Who::Lsyncd(_))).collect()
}

/// Some names are new and some are there.
fn name(number: usize) -> String {
    format!("g0/d{}/change{}", number % 10, number % 15)
}

fn by_daemon(ground: &Ground, arena: &Arena, way: Way, who: Who, changes: usize) -> Outcome<Vec<f64>> {
    let to = arena.mirror(way);
    let _daemon = Contestant::start_settled(who, ground, arena, &Job::new(arena, &[way]), &to)?;
    let change = |number| {
        mirror::pause();
        let path = name(number);
        let written = mirror::write(&arena.at(&path), BYTES)?;
        mirror::latency(&to.join(&path), written, LIMIT)
    };
    (0..changes).map(change).collect()
}

fn by_rsync(ground: &Ground, arena: &Arena, way: Way, who: Who, changes: usize) -> Outcome<Vec<f64>> {
    let to = arena.mirror(way);
    let change = |number| {
        let path = name(number);
        let warm = if who == Who::ByHand { Some(Warm::start(ground, arena, way)?) } else { None };
        mirror::pause();
        let written = mirror::write(&arena.at(&path), BYTES)?;
        let run = match warm {
            Some(mut warm) => warm.feed(&path).map(|()| warm)?,
            None => rsync::send(ground, arena, way, &path)?,
        };
        let latency = mirror::latency(&to.join(&path), written, LIMIT)?;
        run.finish().map(|()| latency)
    };
    (0..changes).map(change).collect()
}

fn add_rows(report: &mut Report, way: Way, samples: &BTreeMap<Who, Vec<f64>>) {
    let row = |share: f64| {
        let work = format!("visible latency, {}, p{:.0}", way.name(), share * 100.0);
        let mut row = Row::new(work, Unit::Milliseconds);
        for (who, samples) in samples {
            row.figure(*who, samples, |samples| percentile(samples, share));
        }
        row
    };
    let p50 = row(0.5).at_most(5.0);
    let p50 = match way {
        Way::Daemon => p50,
        _ => {
            p50.compared(Who::ByHand, 2.5, "≤ 2.5x by hand").compared(Who::Lsyncd(1), 1.0 / 150.0, "≤ 1/150 of delay 1")
        }
    };
    let p50 = match way {
        Way::Local => p50.compared(Who::Lsyncd(0), 0.5, "≤ 1/2 of delay 0"),
        Way::Ssh => p50.compared(Who::Lsyncd(0), 1.0 / 40.0, "≤ 1/40 of delay 0"),
        Way::Daemon => p50,
    };
    report.add("latency", p50);
    report.add("latency", row(0.95));
}
