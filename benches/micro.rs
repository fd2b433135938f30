//! What the daemon computes for a burst of changes, without disk, kernel and rsync: `cargo bench -p inosync-benches --bench micro`.

#![expect(clippy::expect_used, reason = "what is measured is written here; if it is wrong, a panic says where")]

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use inosync_actors::change::Change;
use inosync_actors::outbox::fate::Fate;
use inosync_actors::outbox::pending::PendingSet;
use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::patterns::rules;
use inosync_actors::root::Root;
use inosync_actors::rsync::report::output::Line;
use inosync_actors::sync::disk::{BatchRoom, Disk, EntryOnDisk, FileVersion};
use inosync_actors::sync::plan::{PlanGround, plan};
use inosync_actors::transport::Lane;
use inosync_actors::transport::Tally;
use inosync_actors::watcher::{Dirs, Observer, RawEvent};
use inotify::Inotify;

/// A burst, in directories of ten files.
const CHANGES: usize = 20_000;
/// What one rsync run gets at most, in paths and in bytes of their names.
const BATCH: (usize, usize) = (2_000, 200_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    observing(&mut criterion);
    folding(&mut criterion);
    planning(&mut criterion);
    filtering(&mut criterion);
    reading_rsync(&mut criterion);
    criterion.final_summary();
}

/// Files of one directory are written, as the kernel tells it.
fn observing(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("the temporary directory works");
    let mut inotify = Inotify::init().expect("inotify is there");
    let watched = Dirs::new(
        dir.path().to_owned(),
        Excludes::default(),
        inosync_actors::watcher::Watches::of(&inotify).expect("a file can be opened"),
    )
    .expect("it was just made");
    let root = Root::of(dir.path()).expect("it was just made");
    let mut observer = Observer::new(root, watched, &mut |_| ());
    let mut buffer = vec![0; 1 << 20];
    let names: Vec<_> = (0..1_000).map(|number| dir.path().join(format!("file{number}"))).collect();
    let mut read = || -> Vec<RawEvent> {
        names.iter().for_each(|name| fs::write(name, "content").expect("the directory is writable"));
        inotify.read_events(&mut buffer).expect("events are waiting").map(RawEvent::from).collect()
    };
    let _created = read();
    let events = read();
    let mut group = criterion.benchmark_group("observing");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("events of 1,000 files that are written again", |bencher| {
        bencher.iter_batched(|| events.clone(), |events| observe(&mut observer, events), BatchSize::LargeInput);
    });
    group.finish();
}

fn observe(observer: &mut Observer, events: Vec<RawEvent>) {
    let now = Instant::now();
    events.into_iter().for_each(|event| observer.handle(event, now));
    observer.tick(now);
    black_box(observer.take());
}

/// A burst comes, is sent batch by batch, and succeeds.
fn folding(criterion: &mut Criterion) {
    let changes = burst(CHANGES);
    let mut group = criterion.benchmark_group("folding");
    group.throughput(Throughput::Elements(CHANGES as u64));
    group.bench_function("add, lease and settle 20,000 changes", |bencher| {
        bencher.iter_batched_ref(PendingSet::default, |set| work_off(set, &changes), BatchSize::LargeInput);
    });
    group.bench_function("add 20,000 changes past a cap of 5,000", |bencher| {
        let add_all = |set: &mut PendingSet| changes.iter().for_each(|change| set.add(change, Instant::now()));
        bencher.iter_batched_ref(|| PendingSet::new(5_000), add_all, BatchSize::LargeInput);
    });
    group.finish();
}

fn work_off(set: &mut PendingSet, changes: &[Change]) {
    let now = Instant::now();
    changes.iter().for_each(|change| set.add(change, now));
    while !set.is_empty() {
        let batch = black_box(set.lease(Lane::Fast, BATCH.0, BATCH.1, now));
        set.settle(batch.id, now, |_| Fate::Delivered, |_| Duration::ZERO);
    }
}

/// A full batch against a disk that is a table.
fn planning(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut set = PendingSet::default();
    burst(BATCH.0).iter().for_each(|change| set.add(change, now));
    let batch = set.lease(Lane::Fast, BATCH.0, BATCH.1, now).paths;
    let mut disk = Table::default();
    for (path, _) in &batch {
        disk.0.insert(path.clone(), EntryOnDisk::File(FileVersion { size: 200, ..FileVersion::default() }));
        disk.0.extend(path.ancestors().map(|dir| (dir, EntryOnDisk::Directory)));
    }
    let mut group = criterion.benchmark_group("planning");
    group.throughput(Throughput::Elements(batch.len() as u64));
    for (name, excludes) in [("2,000 paths", Excludes::default()), ("2,000 paths, 50 patterns", patterns())] {
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| plan(&batch, PlanGround { set: &set, excludes: &excludes, disk: &mut disk, room: None, now }))
        });
    }
    group.finish();
}

#[derive(Default)]
struct Table(HashMap<RelPath, EntryOnDisk>);

impl Disk for Table {
    fn look(&mut self, path: &RelPath) -> EntryOnDisk {
        self.0.get(path).copied().unwrap_or(EntryOnDisk::Missing)
    }

    fn fits(&mut self, _: &RelPath, room: &mut BatchRoom) -> bool {
        room.entries > 0
    }
}

fn filtering(criterion: &mut Criterion) {
    let (excludes, paths) = (patterns(), paths(2_000));
    let mut group = criterion.benchmark_group("filtering");
    group.throughput(Throughput::Elements(paths.len() as u64));
    group.bench_function("2,000 paths that none of 50 patterns matches", |bencher| {
        bencher.iter(|| paths.iter().filter(|path| excludes.excludes(path, false)).count());
    });
    group.throughput(Throughput::Elements(excludes.patterns().len() as u64));
    group.bench_function("rules of rsync for 50 patterns", |bencher| bencher.iter(|| rules::rules(&excludes)));
    group.finish();
}

/// The lines that rsync prints for a batch.
fn reading_rsync(criterion: &mut Criterion) {
    let line = |(number, path): (usize, RelPath)| match number % 10 {
        0 => format!("cd+++++++++|4096|0|{path}/"),
        1 => format!("*deleting  |0|0|{path}"),
        2 => format!("<f+++++++++|200|243|{path}\\#012\\#303\\#274"),
        _ => format!("<f.st......|200|243|{path}"),
    };
    let lines: Vec<String> = paths(2_000).into_iter().enumerate().map(line).collect();
    let mut group = criterion.benchmark_group("output of rsync");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("2,000 lines", |bencher| {
        bencher.iter(|| {
            let mut tally = Tally::default();
            lines.iter().for_each(|line| Line::parse(line.as_bytes()).count_in(&mut tally));
            tally
        });
    });
    group.finish();
}

fn paths(count: usize) -> Vec<RelPath> {
    let path = |number: usize| format!("projects/group{}/dir{}/file{number}.txt", number / 500, number / 10);
    (0..count).map(|number| RelPath::new(path(number).as_bytes()).expect("a path inside")).collect()
}

fn burst(count: usize) -> Vec<Change> {
    let written = |path| Change::Touched { path, is_dir: false, rewritten: true };
    paths(count).into_iter().map(written).collect()
}

/// Ten of each kind; none of them matches [`paths`].
fn patterns() -> Excludes {
    let kinds = |number: usize| {
        [
            format!("*.bak{number}"),
            format!("cache{number}/"),
            format!("/var/run{number}/*"),
            format!("exact{number}"),
            format!("*/build{number}/?x"),
        ]
    };
    Excludes::new((0..10).flat_map(kinds).collect()).expect("patterns that are accepted")
}
