//! Latency while changes come all the time, and whether they pile up. The mirror is watched by inotify: looking at a
//! thousand files again and again would take the processor from those who work.

use std::collections::VecDeque;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::mirror::Version;
use crate::report::{Report, Row, Unit};
use crate::scenarios::LINES;
use crate::sizes::Sizes;
use crate::stats::percentile;
use crate::trouble::{At, Outcome};
use crate::{mirror, rsync, scenarios};

/// Between two changes: 200 in a second.
const EVERY: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_micros(300);
/// How long after the last change the mirror may take.
const DRAIN: Duration = Duration::from_secs(60);
const PER_DIR: usize = 100;

/// Round trips until the mirror has a change, p95.
const ROUND_TRIPS: f64 = 3.0;

pub fn run_over_lines(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let line = match ground.line() {
        Ok(line) => line,
        Err(why) => {
            report.skip(format!("load over a long line: {why}"));
            return Ok(());
        }
    };
    for round_trip in LINES {
        line.set(Duration::from_millis(round_trip));
        let mut p95 = Row::new(format!("over a round trip of {round_trip} ms: 200 changes/s, p95"), Unit::Milliseconds);
        for who in scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0)]) {
            let mut latencies = Vec::new();
            for round in 1..=sizes.rounds {
                ground.say(&format!("  {round_trip} ms: {who}, round {round}"));
                let arena = ground.arena()?;
                prepare(&arena, sizes)?;
                rsync::mirror(ground, &arena.source(), &arena.node(Way::Ssh))?;
                let job = Job { nodes: vec![arena.distant_node()], ..Job::new(&arena, &[]) };
                let _daemon = Contestant::start_settled(who, ground, &arena, &job, &arena.mirror(Way::Ssh))?;
                latencies.extend(measure(&arena, sizes)?.latencies);
            }
            p95.figure(who, &latencies, |samples| percentile(samples, 0.95));
        }
        report.add("line", p95.at_most(ROUND_TRIPS * round_trip as f64));
    }
    Ok(())
}

fn prepare(arena: &Arena, sizes: &Sizes) -> Outcome<()> {
    for file in 0..sizes.load_files {
        let path = arena.at(&name(file));
        fs::create_dir_all(path.parent().unwrap_or(&path)).at(path.display())?;
        mirror::write(&path, 100)?;
    }
    Ok(())
}

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    if let Some(why) = ground.lacks(Way::Ssh) {
        report.skip(format!("load: {why}"));
        return Ok(());
    }
    let mut p95 = Row::new("latency under 200 changes/s, ssh, p95", Unit::Milliseconds);
    let mut growth = Row::new("the same, last third of the time : first third", Unit::Times);
    let arena = ground.arena()?;
    prepare(&arena, sizes)?;
    rsync::mirror(ground, &arena.source(), &arena.node(Way::Ssh))?;
    for who in scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0), Who::Lsyncd(1)]) {
        ground.say(&format!("  {who}"));
        let job = Job::new(&arena, &[Way::Ssh]);
        let _daemon = Contestant::start_settled(who, ground, &arena, &job, &arena.mirror(Way::Ssh))?;
        let Measured { latencies, missing } = measure(&arena, sizes)?;
        if missing > 0 {
            p95.note(format!("{who} had not mirrored {missing} changes {} s after the last", DRAIN.as_secs()));
        }
        let third = latencies.len() / 3;
        let first = latencies.get(..third).and_then(|first| percentile(first, 0.95));
        let last = latencies.get(latencies.len() - third..).and_then(|last| percentile(last, 0.95));
        p95.figure(who, &latencies, |samples| percentile(samples, 0.95));
        growth.figure(who, &latencies, |_| first.zip(last).map(|(first, last)| last / first));
    }
    let grown = growth.value(Who::Inosync);
    report.add("load", p95.at_most(60.0));
    report.add("load", growth.check("≤ 1.5x", grown, 1.5));
    Ok(())
}

fn name(file: usize) -> String {
    format!("d{}/file{file}", file / PER_DIR)
}

struct Measured {
    /// In milliseconds, in the order in which the changes were made.
    latencies: Vec<f64>,
    /// Changes that never came; they count with the time they were waited for.
    missing: usize,
}

fn measure(arena: &Arena, sizes: &Sizes) -> Outcome<Measured> {
    let mut eyes = Eyes::open(arena, sizes.load_files)?;
    let total = usize::try_from(Duration::from_secs(sizes.load_seconds).as_millis() / EVERY.as_millis()).unwrap_or(0);
    let mut written: Vec<Version> = Vec::with_capacity(total);
    let mut latencies = vec![None; total];
    let mut waiting: Vec<VecDeque<usize>> = vec![VecDeque::new(); sizes.load_files];
    let mut open = 0;
    let start = Instant::now();
    while written.len() < total || open > 0 {
        let next = start + EVERY * u32::try_from(written.len()).unwrap_or(u32::MAX);
        if written.len() < total && Instant::now() >= next {
            let file = written.len() % sizes.load_files;
            written.push(mirror::write(&arena.at(&name(file)), 100)?);
            if let Some(waiting) = waiting.get_mut(file) {
                waiting.push_back(written.len() - 1);
                open += 1;
            }
        }
        for (file, version, at) in eyes.look()? {
            let Some(waiting) = waiting.get_mut(file) else { continue };
            while let Some(&change) = waiting.front() {
                let Some(own) = written.get(change).filter(|own| own.number <= version) else { break };
                latencies[change] = Some((at - own.closed).as_secs_f64() * 1000.0);
                waiting.pop_front();
                open -= 1;
            }
        }
        if start.elapsed() > EVERY * u32::try_from(total).unwrap_or(0) + DRAIN {
            break;
        }
        thread::sleep(LOOK);
    }
    let waited = |change: usize| written.get(change).map_or(0.0, |own| own.closed.elapsed().as_secs_f64() * 1000.0);
    let missing = latencies.iter().filter(|latency| latency.is_none()).count();
    let latencies =
        latencies.into_iter().enumerate().map(|(change, latency)| latency.unwrap_or_else(|| waited(change))).collect();
    Ok(Measured { latencies, missing })
}

/// Sees which files of the mirror are replaced.
struct Eyes {
    queue: rustix::fd::OwnedFd,
    dirs: Vec<(i32, PathBuf)>,
}

impl Eyes {
    fn open(arena: &Arena, files: usize) -> Outcome<Eyes> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).at("inotify")?;
        let mut dirs = Vec::new();
        for dir in 0..files.div_ceil(PER_DIR) {
            let path = arena.mirror(Way::Ssh).join(format!("d{dir}"));
            let watch = inotify::add_watch(&queue, &path, WatchFlags::MOVED_TO).at(path.display())?;
            dirs.push((watch, path));
        }
        Ok(Eyes { queue, dirs })
    }

    /// The files that were replaced, with their versions, and when that was seen.
    fn look(&mut self) -> Outcome<Vec<(usize, u64, Instant)>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(self.queue.as_fd(), &mut buffer);
        let mut seen = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(seen),
                Err(error) => return Err(error).at("reading inotify"),
            };
            let now = Instant::now();
            let name = event.file_name().and_then(|name| name.to_str().ok());
            let dir = self.dirs.iter().find(|(watch, _)| *watch == event.wd());
            if let (Some(name), Some((_, dir))) = (name, dir) {
                let file = name.strip_prefix("file").and_then(|number| number.parse().ok());
                seen.extend(file.zip(mirror::version(&dir.join(name))).map(|(file, version)| (file, version, now)));
            }
        }
    }
}
