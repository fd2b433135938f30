//! Small changes while a large file is on its way to the same node: do they wait for it?

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::sizes::Sizes;
use crate::stats::{median, percentile};
use crate::trouble::{At, Outcome};
use crate::{mirror, rsync, scenarios};

const LIMIT: Duration = Duration::from_secs(120);
/// How long the large file may take until it is on its way.
const DEPARTURE: Duration = Duration::from_secs(20);

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    for way in [Way::Ssh, Way::Local] {
        if let Some(why) = ground.lacks(way) {
            report.skip(format!("bulk, {}: {why}", way.name()));
            continue;
        }
        let work = format!("1 KB while {} MiB are in flight, {}, p95", sizes.bulk >> 20, way.name());
        let mut row = Row::new(work, Unit::Milliseconds);
        ground.say(&format!("  {}: {}, the large file alone", way.name(), Who::Rsync));
        row.note(format!("by plain rsync, the large file alone takes {:.1} s", alone(ground, way, sizes.bulk)?));
        let contestants = scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0)]);
        let mut samples: BTreeMap<Who, Measured> = BTreeMap::new();
        for round in 1..=sizes.rounds {
            for &who in &contestants {
                ground.say(&format!("  {}: {who}, round {round}", way.name()));
                measure(ground, way, who, sizes.bulk, samples.entry(who).or_default())?;
            }
        }
        for (who, Measured { latencies, overtook, flights }) in samples {
            row.figure(who, &latencies, |samples| percentile(samples, 0.95));
            let (changes, flight) = (latencies.len(), median(&flights).unwrap_or_default());
            row.note(format!(
                "{who}: {overtook} of {changes} changes were mirrored before the large file, which took {flight:.1} s"
            ));
        }
        report.add("bulk", row.at_most(100.0));
    }
    Ok(())
}

#[derive(Default)]
struct Measured {
    /// Of all changes that were made while the large file was on its way.
    latencies: Vec<f64>,
    /// Those that were mirrored before it.
    overtook: usize,
    /// Seconds that the large file took, each time.
    flights: Vec<f64>,
}

/// Seconds. It also makes the machine find the memory, which on some virtual ones takes longer the first time.
fn alone(ground: &Ground, way: Way, size: u64) -> Outcome<f64> {
    let arena = ground.arena()?;
    fs::create_dir(arena.at("bulk")).at("bulk")?;
    make_large(&arena, size)?;
    rsync::mirror(ground, &arena.source(), &arena.node(way)).map(|cost| cost.seconds)
}

fn measure(ground: &Ground, way: Way, who: Who, size: u64, measured: &mut Measured) -> Outcome<()> {
    let arena = ground.arena()?;
    fs::create_dir(arena.at("bulk")).at("bulk")?;
    fs::create_dir(arena.at("small")).at("small")?;
    let to = arena.mirror(way);
    let _daemon = Contestant::start_settled(who, ground, &arena, &Job::new(&arena, &[way]), &to)?;
    mirror::pause();
    make_large(&arena, size)?;
    let start = Instant::now();
    while !in_flight(&to) {
        (start.elapsed() < DEPARTURE).then_some(()).at("the large file is not sent")?;
        thread::sleep(Duration::from_millis(2));
    }
    let departed = Instant::now();
    while in_flight(&to) {
        let path = format!("small/change{}", measured.latencies.len() % 7);
        let written = mirror::write(&arena.at(&path), 1024)?;
        measured.latencies.push(mirror::latency(&to.join(&path), written, LIMIT)?);
        measured.overtook += usize::from(in_flight(&to));
        thread::sleep(Duration::from_millis(fastrand::u64(20..60)));
    }
    measured.flights.push(departed.elapsed().as_secs_f64());
    let whole = fs::metadata(to.join("bulk/large")).at("the large file's transfer was broken off")?.len() == size;
    whole.then_some(()).at("the large file is mirrored in part")
}

/// A file of zeros that takes no room here; rsync sends it whole.
fn make_large(arena: &Arena, size: u64) -> Outcome<()> {
    let file = File::create(arena.at("bulk/large")).at("bulk/large")?;
    file.set_len(size).at("bulk/large")
}

/// Whether rsync's temporary file is there. The final one may be too, for a moment.
fn in_flight(mirror: &Path) -> bool {
    let Ok(entries) = fs::read_dir(mirror.join("bulk")) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(".large."))
}
