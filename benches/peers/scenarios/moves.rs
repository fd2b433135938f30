//! Renamed files and directories: how long until the mirror is as the source is, and the bytes that it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::meter::Meter;
use crate::report::{Report, Row, Unit};
use crate::sizes::Sizes;
use crate::trouble::{At, Outcome};
use crate::{mirror, rsync, scenarios};

const MIB: u64 = 1 << 20;
const CONTESTANTS: [Who; 3] = [Who::Inosync, Who::Lsyncd(1), Who::LsyncdSsh(1)];

/// The file that is removed before.
const REMOVED: &str = "removed";

/// What is moved, always from the directory `from` to the directory `to`.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// One file, which gets another name.
    File,
    /// A directory, which gets another name, with so many files.
    Directory(u64),
    /// So many files, one after the other; their names stay.
    Files(u64),
}

impl Work {
    fn describe(self, bytes: u64) -> String {
        let size = bytes / MIB;
        match self {
            Work::File => format!("a file of {size} MiB moved and renamed, ssh"),
            Work::Directory(files) => format!("a directory of {files} files and {size} MiB moved, ssh"),
            Work::Files(files) => format!("{files} files of {} MiB moved one by one, ssh", size / files),
        }
    }

    /// How long it may take. lsyncd's mode rsyncssh connects anew for each file.
    fn limit(self) -> Duration {
        Duration::from_secs(if matches!(self, Work::Files(_)) { 600 } else { 90 })
    }

    fn prepare(self, arena: &Arena, bytes: u64) -> Outcome<()> {
        for dir in ["from", "to"] {
            fs::create_dir(arena.at(dir)).at(dir)?;
        }
        let (dir, files) = match self {
            Work::File => ("from", 1),
            Work::Directory(files) => ("from/dir", files),
            Work::Files(files) => ("from", files),
        };
        fs::create_dir_all(arena.at(dir)).at(dir)?;
        mirror::write(&arena.at(REMOVED), 16)?;
        (0..files).try_for_each(|file| make_file(arena, &format!("{dir}/file{file}"), bytes / files))
    }

    fn move_it(self, arena: &Arena) -> Outcome<()> {
        let rename = |from: &str, to: &str| fs::rename(arena.at(from), arena.at(to)).at(from);
        match self {
            Work::File => rename("from/file0", "to/renamed"),
            Work::Directory(_) => rename("from/dir", "to/renamed"),
            Work::Files(files) => {
                (0..files).try_for_each(|file| rename(&format!("from/file{file}"), &format!("to/file{file}")))
            }
        }
    }
}

/// Its beginning is that of no other file, the rest is a hole: it takes no room here, and rsync sends it whole.
fn make_file(arena: &Arena, path: &str, size: u64) -> Outcome<()> {
    let path = arena.at(path);
    mirror::write(&path, 16)?;
    let file = File::options().write(true).open(&path).at(path.display())?;
    file.set_len(size).at(path.display())
}

#[derive(Default)]
struct Samples {
    milliseconds: Vec<f64>,
    bytes: Vec<f64>,
}

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let meter = match ground.meter() {
        Ok(meter) => meter,
        Err(why) => {
            report.skip(format!("moves: {why}"));
            return Ok(());
        }
    };
    let (size, files) = (sizes.move_file, sizes.move_files);
    for (work, bytes) in [(Work::File, size), (Work::Directory(files), 2 * size), (Work::Files(files), files * MIB)] {
        measure(ground, meter, sizes.rounds, work, bytes, report);
    }
    Ok(())
}

fn measure(ground: &Ground, meter: &Meter, rounds: usize, work: Work, bytes: u64, report: &mut Report) {
    let mut time = Row::new(format!("{}, until identical", work.describe(bytes)), Unit::Milliseconds);
    let mut wire = Row::new("the same, bytes on the wire", Unit::Bytes);
    let mut samples: BTreeMap<Who, Samples> = BTreeMap::new();
    let mut done: BTreeSet<Who> = BTreeSet::new();
    for round in 1..=rounds {
        for who in scenarios::present(ground, &CONTESTANTS) {
            if done.contains(&who) {
                continue;
            }
            ground.say(&format!("  {}: {who}, round {round}", work.describe(bytes)));
            // One that does not get there is a result, too.
            if let Err(trouble) = turn(ground, meter, who, work, bytes, samples.entry(who).or_default()) {
                ground.say(&format!("  {who}: {trouble}"));
                time.note(format!("{who}: {trouble}"));
                done.insert(who);
            }
            if matches!((who, work), (Who::LsyncdSsh(_), Work::Files(_))) {
                // It takes minutes.
                done.insert(who);
            }
        }
    }
    for (who, samples) in &samples {
        time.median(*who, &samples.milliseconds);
        wire.median(*who, &samples.bytes);
    }
    report.add("moves", time);
    report.add("moves", wire.compared(Who::Lsyncd(1), 0.01, "≤ 1/100 of lsyncd"));
}

fn turn(ground: &Ground, meter: &Meter, who: Who, work: Work, bytes: u64, samples: &mut Samples) -> Outcome<()> {
    let arena = ground.arena()?;
    let to = arena.mirror(Way::Ssh);
    work.prepare(&arena, bytes)?;
    rsync::mirror(ground, &arena.source(), &arena.node(Way::Ssh))?;
    let mut job = Job::new(&arena, &[]);
    job.nodes = vec![arena.metered_node()];
    job.inosync_keys = "dir_moves: Replicate, ";
    let _daemon = Contestant::start_settled(who, ground, &arena, &job, &to)?;
    // Before its first removal inosync asks a node once, as long as it runs.
    fs::remove_file(arena.at(REMOVED)).at(REMOVED)?;
    mirror::identical(&arena.source(), &to, work.limit())?;
    let before = meter.rest()?;
    work.move_it(&arena)?;
    let moved = Instant::now();
    let identical = mirror::identical(&arena.source(), &to, work.limit())?;
    samples.milliseconds.push((identical - moved).as_secs_f64() * 1000.0);
    samples.bytes.push((meter.rest()? - before) as f64);
    Ok(())
}
