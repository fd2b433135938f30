//! Single changes that are no new content: a file is deleted, or renamed; and overwrites with a pause between them. Near, and
//! over long lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::scenarios::LINES;
use crate::sizes::Sizes;
use crate::stats::percentile;
use crate::trouble::{At, Outcome};
use crate::{mirror, rsync, scenarios};

const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at the mirror.
const LOOK: Duration = Duration::from_micros(50);
/// Between two changes: a standby has to be there again. Over a long line that takes round trips.
const PAUSE: Duration = Duration::from_millis(600);
const PAUSE_ROUND_TRIPS: u32 = 5;
/// Bytes of a renamed file, near and over a long line.
const RENAMED: (usize, usize) = (200_000, 20 << 20);

/// The changes of each kind that are made at one kind of node.
struct Series<'a> {
    way: Way,
    /// So many of each kind in a round.
    changes: usize,
    renamed_bytes: usize,
    pause: Duration,
    node: &'a dyn Fn(&Arena) -> String,
}

/// One kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edit {
    Overwrite,
    Delete,
    Rename,
}

impl Edit {
    const ALL: [Edit; 3] = [Edit::Overwrite, Edit::Delete, Edit::Rename];

    fn name(self) -> &'static str {
        match self {
            Edit::Overwrite => "overwritten, 0.6 s apart",
            Edit::Delete => "deleted",
            Edit::Rename => "renamed, until the old name is gone",
        }
    }

    /// The time until the mirror should have it, near and in round trips: p50 and p95.
    fn aims(self) -> ((f64, f64), f64) {
        match self {
            Edit::Overwrite => ((5.0, 5.0), 1.6),
            Edit::Delete => ((8.0, 25.0), 1.0),
            Edit::Rename => ((8.0, 25.0), 2.5),
        }
    }

    /// Makes the change `number`. Returns the milliseconds until the mirror has it.
    fn make(self, number: usize, arena: &Arena, to: &Path) -> Outcome<f64> {
        let start = Instant::now();
        match self {
            Edit::Overwrite => {
                let path = format!("g0/d1/file{}", number % 5);
                let written = mirror::write(&arena.at(&path), 1024)?;
                mirror::latency(&to.join(&path), written, LIMIT)
            }
            Edit::Delete => {
                let path = format!("gone/file{number}");
                fs::remove_file(arena.at(&path)).at(&path)?;
                until(start, || !to.join(&path).exists())
            }
            Edit::Rename => {
                let (old, new) = (renamed(number), renamed(number + 1));
                fs::rename(arena.at(&old), arena.at(&new)).at(&old)?;
                until(start, || to.join(&new).exists() && !to.join(&old).exists())
            }
        }
    }
}

/// The name of the renamed file after so many renames: in another directory each time.
fn renamed(times: usize) -> String {
    format!("g0/d{}/renamed{times}", times % 4)
}

fn until(start: Instant, is_so: impl Fn() -> bool) -> Outcome<f64> {
    while !is_so() {
        (start.elapsed() < LIMIT).then_some(()).at("the mirror does not follow")?;
        thread::sleep(LOOK);
    }
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    for way in [Way::Local, Way::Ssh] {
        if let Some(why) = ground.lacks(way) {
            report.skip(format!("edits, {}: {why}", way.name()));
            continue;
        }
        // The 95th percentile of fewer is the one that waited longest for a processor.
        let series = Series {
            way,
            changes: sizes.changes,
            renamed_bytes: RENAMED.0,
            pause: PAUSE,
            node: &|arena| arena.node(way),
        };
        let samples = measure(ground, sizes.rounds, &series)?;
        for (edit, samples) in samples {
            let ((p50, p95), _) = edit.aims();
            for (share, aim) in [(0.5, p50), (0.95, p95)] {
                let work = format!("a file {}, {}, p{:.0}", edit.name(), way.name(), share * 100.0);
                report.add("edits", row(work, &samples, share).at_most(aim));
            }
        }
    }
    Ok(())
}

pub fn run_over_lines(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let line = match ground.line() {
        Ok(line) => line,
        Err(why) => {
            report.skip(format!("line: {why}"));
            return Ok(());
        }
    };
    for round_trip in LINES {
        let takes = Duration::from_millis(round_trip);
        line.set(takes);
        let samples = measure(
            ground,
            sizes.rounds,
            &Series {
                way: Way::Ssh,
                changes: sizes.slow_changes,
                renamed_bytes: RENAMED.1,
                pause: PAUSE.max(takes * PAUSE_ROUND_TRIPS),
                node: &Arena::distant_node,
            },
        )?;
        for (edit, samples) in samples {
            let work = format!("over a round trip of {round_trip} ms: a file {}, p50", edit.name());
            report.add("line", row(work, &samples, 0.5).at_most(edit.aims().1 * round_trip as f64));
        }
    }
    Ok(())
}

fn row(work: String, samples: &BTreeMap<Who, Vec<f64>>, share: f64) -> Row {
    let mut row = Row::new(work, Unit::Milliseconds);
    for (who, samples) in samples {
        row.figure(*who, samples, |samples| percentile(samples, share));
    }
    row
}

/// The milliseconds of all changes, by their kind and by who mirrored them.
fn measure(ground: &Ground, rounds: usize, series: &Series) -> Outcome<BTreeMap<Edit, BTreeMap<Who, Vec<f64>>>> {
    let Series { way, changes, renamed_bytes, pause, node } = *series;
    let mut samples: BTreeMap<Edit, BTreeMap<Who, Vec<f64>>> = BTreeMap::new();
    for round in 1..=rounds {
        for who in scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0)]) {
            ground.say(&format!("  {}: {who}, round {round}", way.name()));
            let arena = ground.arena()?;
            let to = arena.mirror(way);
            prepare(&arena, changes, renamed_bytes)?;
            rsync::mirror(ground, &arena.source(), &arena.node(way))?;
            let job = Job { nodes: vec![node(&arena)], ..Job::new(&arena, &[]) };
            let _daemon = Contestant::start_settled(who, ground, &arena, &job, &to)?;
            for number in 0..=changes {
                for edit in Edit::ALL {
                    thread::sleep(pause);
                    let latency = edit.make(number, &arena, &to)?;
                    // After the first of a kind a standby waits for the next.
                    if number > 0 {
                        samples.entry(edit).or_default().entry(who).or_default().push(latency);
                    }
                }
            }
        }
    }
    Ok(samples)
}

fn prepare(arena: &Arena, changes: usize, size: usize) -> Outcome<()> {
    mirror::make_files(&arena.source(), 10, 50)?;
    let gone: PathBuf = arena.at("gone");
    fs::create_dir(&gone).at(gone.display())?;
    (0..=changes).try_for_each(|number| mirror::write(&gone.join(format!("file{number}")), 100).map(drop))?;
    mirror::write(&arena.at(&renamed(0)), size).map(drop)
}
