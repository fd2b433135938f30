//! A SyncActor that panics at any moment of its work, again and again, loses nothing, and the other node keeps up.
//!
//! `INOSYNC_TEST_SEED` chooses other panics, `INOSYNC_TEST_OPERATIONS` more operations.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod trees;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use inosync_actors::children::Children;
use inosync_actors::daemon::Daemon;
use inosync_actors::ending::Ending;
use inosync_actors::node::Node;
use inosync_actors::path::RelPath;
use inosync_actors::reload::ConfigSnapshot;
use inosync_actors::root::Root;
use inosync_actors::rsync::{Rsync, Shared, local_version};
use inosync_actors::transport::Lane;
use inosync_actors::transport::plan::Plan;
use inosync_actors::transport::progress::Latest;
use inosync_actors::transport::{Running, Transport, Worked};
use slog::{Discard, Logger, o};

use trees::Trees;

const DEADLINE: Duration = Duration::from_secs(90);
const OPERATIONS: usize = 3000;
/// Operations between two looks at the clock of the actors.
const AT_ONCE: usize = 25;
const NAMES: [&str; 6] = ["a", "b", "c d", "#e", "new\nline", "-n"];

/// A way to a node on which a quarter of the calls ends in a panic: before rsync is started, while it runs, or after it
/// has succeeded.
struct Panics {
    way: Rc<dyn Transport>,
    rng: RefCell<Rng>,
    counts: Cell<[u32; 3]>,
    /// Whether it is over.
    healed: Cell<bool>,
}

impl Panics {
    fn upset(self: Rc<Self>, run: impl FnOnce() -> Running) -> Running {
        let (kind, wait) = {
            let mut rng = self.rng.borrow_mut();
            (rng.usize(..12), rng.u64(..60))
        };
        if self.healed.get() || kind > 2 {
            return run();
        }
        let mut counts = self.counts.get();
        counts[kind] += 1;
        self.counts.set(counts);
        if kind == 0 {
            panic!("forced, before");
        }
        let running = run();
        Box::pin(async move {
            if kind == 1 {
                // What was started is dropped as it is.
                let _ = tokio::time::timeout(Duration::from_millis(wait), running).await;
                panic!("forced, meanwhile");
            }
            let _ = running.await;
            panic!("forced, afterwards");
        })
    }
}

impl Transport for Panics {
    fn deliver(self: Rc<Self>, plan: Rc<Plan>, lane: Lane, worked: Worked) -> Running {
        let way = self.way.clone();
        self.upset(|| way.deliver(plan, lane, worked))
    }

    fn reconcile(self: Rc<Self>, kept: Vec<RelPath>, gauge: Latest) -> Running {
        let way = self.way.clone();
        self.upset(|| way.reconcile(kept, gauge))
    }

    fn warm(self: Rc<Self>) {
        self.way.clone().warm();
    }

    fn rest(&self) {
        self.way.rest();
    }
}

/// Type, mode, mtime and content of every path.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut left) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(path) = left.pop() {
        let full = root.join(&path);
        let Ok(meta) = full.symlink_metadata() else { continue };
        let content = if meta.is_dir() {
            left.extend(fs::read_dir(&full).into_iter().flatten().flatten().map(|entry| path.join(entry.file_name())));
            "directory".to_owned()
        } else if meta.is_symlink() {
            format!("{:?}", fs::read_link(&full).ok())
        } else {
            format!("{:?}", fs::read(&full).ok())
        };
        // What a receiver was writing when it was killed stays until the next start.
        if !is_leftover(path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default()) {
            found.insert(path, format!("{:o} {}.{} {content}", meta.mode(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    found
}

/// `.NAME.XXXXXX`, as rsync names what it writes.
fn is_leftover(name: &[u8]) -> bool {
    let Some((head, tail)) = name.split_last_chunk::<7>() else { return false };
    head.starts_with(b".") && tail[0] == b'.' && tail[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// One operation; that it fails, because what it needs is not there, is part of the game.
fn operate(source: &Path, rng: &mut Rng, step: usize) -> std::io::Result<()> {
    let mut path = || -> PathBuf { (0..=rng.usize(..3)).map(|_| NAMES[rng.usize(..NAMES.len())]).collect() };
    let (path, other) = (source.join(path()), source.join(path()));
    let content = format!("{step:>width$}", width = 4 + step % 3);
    match rng.u8(..12) {
        0..=3 => fs::write(path, content),
        4 => fs::write(path, content.repeat(20_000)),
        5 | 6 => fs::create_dir_all(path),
        7 => fs::remove_file(path),
        8 if path.symlink_metadata()?.is_dir() => fs::remove_dir_all(path),
        8 => symlink("a", path),
        9 if path.symlink_metadata()?.is_dir() => Ok(()),
        9 => fs::rename(path, other),
        10 => fs::set_permissions(path, fs::Permissions::from_mode([0o755, 0o700, 0o775][step % 3])),
        _ => {
            fs::write(&path, content)?;
            fs::rename(path, other)
        }
    }
}

async fn expect_equal(trees: &Trees, mirror: &str) {
    let start = Instant::now();
    loop {
        let (source, mirror_tree) = (tree(&trees.path("source")), tree(&trees.path(mirror)));
        if source == mirror_tree {
            return;
        }
        let differ = || {
            let one = source.iter().filter(|(path, entry)| mirror_tree.get(*path) != Some(*entry));
            one.chain(mirror_tree.iter().filter(|(path, _)| !source.contains_key(*path))).take(10).collect::<Vec<_>>()
        };
        assert!(start.elapsed() < DEADLINE, "{mirror} differs: {:#?}", differ());
        actix::clock::sleep(Duration::from_millis(20)).await;
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[actix::test]
async fn a_sync_actor_that_panics_at_any_moment_loses_nothing_and_the_other_node_keeps_up() {
    let seed = variable("INOSYNC_TEST_SEED").unwrap_or(1);
    let operations = variable("INOSYNC_TEST_OPERATIONS").map_or(OPERATIONS, |count| count as usize);
    let (trees, mut rng) = (Trees::new("upset"), Rng::with_seed(seed));
    let site = trees.site();
    let (children, root) = (Children::default(), Root::of(&site.wpath).unwrap());
    let version = local_version(&children, &site.rsync).await.expect("rsync is missing: run `make test`");
    let log = Logger::root(Discard, o!());
    let config = ConfigSnapshot { site: Arc::new(site.clone()), version };
    let shared = Shared::new(children.clone(), &site, &log);
    let way = |name| -> Rc<dyn Transport> {
        Rsync::new(config.site.clone(), root.clone(), trees.node(name), version, shared.clone())
    };
    let (panics, counts) = (RefCell::new(rng.fork()), Cell::default());
    let upset = Rc::new(Panics { way: way("upset"), rng: panics, counts, healed: Cell::new(false) });
    let (steady, panicking) = (way("steady"), upset.clone());
    let ways = move |_: &ConfigSnapshot, node: &Node| -> Rc<dyn Transport> {
        if node.dest().to_string_lossy().contains("upset") { panicking.clone() } else { steady.clone() }
    };
    let mut daemon = Daemon::start_with(config, root.clone(), Box::new(ways), children.clone(), &log);

    // On a busy machine there are fewer runs, and on with it until each of these has met one.
    let all_happened = || upset.counts.get().iter().all(|&count| count > 0);
    for step in (0..operations * 20).take_while(|step| *step < operations || !all_happened()) {
        // Whether it failed or not, the trees have to become equal.
        let _ = operate(&site.wpath, &mut rng, step);
        if step % AT_ONCE == 0 {
            actix::clock::sleep(Duration::from_millis(rng.u64(..60))).await;
        }
    }
    expect_equal(&trees, "steady").await;
    let counts = upset.counts.get();
    println!("INOSYNC_TEST_SEED={seed}: {operations} operations; panics before, during and after a run: {counts:?}");
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    upset.healed.set(true);
    expect_equal(&trees, "upset").await;
    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }));
}
