//! Many new files at full speed: how long until they are all mirrored, and what that costs.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::sizes::Sizes;
use crate::trouble::{At, Outcome};
use crate::{mirror, process, rsync, scenarios, server};

const LIMIT: Duration = Duration::from_secs(120);
/// What a daemon does after the mirror is equal, such as looking again, belongs to the cost.
const AFTERWARDS: Duration = Duration::from_millis(1500);

#[derive(Default)]
struct Samples {
    /// From the first file until the mirror is equal: for plain rsync the writer, and then one run.
    milliseconds: Vec<f64>,
    /// From the first file until the last one is written.
    writer: Vec<f64>,
    cpu: Vec<f64>,
    runs: Vec<f64>,
}

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let mut samples: BTreeMap<Who, Samples> = BTreeMap::new();
    let daemons = scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0), Who::Lsyncd(1)]);
    // One burst says little on a few processors.
    for round in 1..=2 * sizes.rounds {
        ground.say(&format!("  {}, round {round}", Who::Rsync));
        by_rsync(ground, sizes, samples.entry(Who::Rsync).or_default())?;
        for &who in &daemons {
            ground.say(&format!("  {who}, round {round}"));
            by_daemon(ground, sizes, who, samples.entry(who).or_default())?;
        }
    }
    for &who in &daemons {
        ground.say(&format!("  {who}, counting its rsync runs"));
        samples.entry(who).or_default().runs.push(count_runs(ground, sizes, who)?);
    }
    samples.entry(Who::Rsync).or_default().runs.push(1.0);

    let work = format!("burst of {} files in {} directories", sizes.burst_files, sizes.burst_dirs);
    let mut time = Row::new(format!("{work}, from the first one until identical"), Unit::Milliseconds);
    let mut writer = Row::new("the same, until all are written", Unit::Milliseconds);
    let mut cpu = Row::new("the same, CPU of all processes", Unit::Milliseconds);
    let mut runs = Row::new("the same, rsync runs", Unit::Runs);
    for (who, samples) in &samples {
        time.median(*who, &samples.milliseconds);
        writer.median(*who, &samples.writer);
        cpu.median(*who, &samples.cpu);
        runs.median(*who, &samples.runs);
    }
    report.add("burst", time.compared(Who::Rsync, 1.0, "≤ 1x the writer and then rsync"));
    report.add("burst", writer.compared(Who::Rsync, 1.3, "≤ 1.3x the writer alone"));
    report.add("burst", cpu.compared(Who::Rsync, 1.5, "≤ 1.5x plain rsync"));
    report.add("burst", runs);
    Ok(())
}

/// A tree without a daemon, and then to an empty directory.
fn by_rsync(ground: &Ground, sizes: &Sizes, samples: &mut Samples) -> Outcome<()> {
    let arena = ground.arena()?;
    let written = write(&arena, sizes)?;
    let cost = rsync::mirror(ground, &arena.source(), &arena.node(Way::Local))?;
    samples.writer.push(written);
    samples.milliseconds.push(written + cost.seconds * 1000.0);
    samples.cpu.push(cost.cpu.as_secs_f64() * 1000.0);
    Ok(())
}

fn by_daemon(ground: &Ground, sizes: &Sizes, who: Who, samples: &mut Samples) -> Outcome<()> {
    let arena = ground.arena()?;
    let to = arena.mirror(Way::Local);
    let daemon = Contestant::start_settled(who, ground, &arena, &Job::new(&arena, &[Way::Local]), &to)?;
    mirror::pause();
    let before = process::tree_cpu(daemon.id());
    let start = Instant::now();
    samples.writer.push(write(&arena, sizes)?);
    let identical = mirror::identical(&arena.source(), &to, LIMIT)?;
    samples.milliseconds.push((identical - start).as_secs_f64() * 1000.0);
    thread::sleep(AFTERWARDS);
    samples.cpu.push((process::tree_cpu(daemon.id()) - before).as_secs_f64() * 1000.0);
    Ok(())
}

/// Writes the burst. Returns the milliseconds that it took.
fn write(arena: &Arena, sizes: &Sizes) -> Outcome<f64> {
    let start = Instant::now();
    mirror::make_files(&arena.source(), sizes.burst_dirs, sizes.burst_files)?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// In a burst of its own: counting takes time.
fn count_runs(ground: &Ground, sizes: &Sizes, who: Who) -> Outcome<f64> {
    let arena = ground.arena()?;
    let (to, counter) = (arena.mirror(Way::Local), arena.path().join("runs"));
    let mut job = Job::new(&arena, &[Way::Local]);
    job.rsync = arena.path().join("rsync");
    server::script(&job.rsync, &format!("printf . >>{}\nexec /usr/bin/rsync \"$@\"", counter.display()))?;
    let _daemon = Contestant::start_settled(who, ground, &arena, &job, &to)?;
    mirror::pause();
    let count = || fs::metadata(&counter).at(counter.display()).map(|meta| meta.len() as f64);
    let before = count()?;
    mirror::make_files(&arena.source(), sizes.burst_dirs, sizes.burst_files)?;
    mirror::identical(&arena.source(), &to, LIMIT)?;
    thread::sleep(AFTERWARDS);
    Ok(count()? - before)
}
