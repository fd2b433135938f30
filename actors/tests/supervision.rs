//! SyncActors that panic, stop or fail lose nothing, and their neighbours notice nothing.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod trees;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inosync_actors::children::Children;
use inosync_actors::daemon::Daemon;
use inosync_actors::ending::Ending;
use inosync_actors::node::Node;
use inosync_actors::path::RelPath;
use inosync_actors::reload::ConfigSnapshot;
use inosync_actors::root::Root;
use inosync_actors::rsync::{Rsync, Shared, local_version};
use inosync_actors::transport::Lane;
use inosync_actors::transport::failure::{Cause, Failure};
use inosync_actors::transport::plan::Plan;
use inosync_actors::transport::progress::Latest;
use inosync_actors::transport::{Running, Transport, Worked};
use slog::{Discard, Logger, o};

use trees::Trees;

const DEADLINE: Duration = Duration::from_secs(30);

/// A way to a node on which half of the calls go wrong, each in another way.
struct Unreliable {
    way: Rc<dyn Transport>,
    calls: Cell<u32>,
}

impl Unreliable {
    fn goes_wrong(&self) -> Option<Running> {
        self.calls.set(self.calls.get() + 1);
        match self.calls.get() % 6 {
            1 => panic!("forced, in a handler of the SyncActor"),
            2 => Some(Box::pin(async { panic!("forced, in what the SyncActor waits for") })),
            // The SyncActor stops when rsync cannot be started.
            3 => Some(Box::pin(async { Err(Failure::new(Cause::NotStarted, "forced")) })),
            _ => None,
        }
    }
}

impl Transport for Unreliable {
    fn deliver(self: Rc<Self>, plan: Rc<Plan>, lane: Lane, worked: Worked) -> Running {
        self.goes_wrong().unwrap_or_else(|| self.way.clone().deliver(plan, lane, worked))
    }

    fn reconcile(self: Rc<Self>, kept: Vec<RelPath>, gauge: Latest) -> Running {
        self.goes_wrong().unwrap_or_else(|| self.way.clone().reconcile(kept, gauge))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "in vain: {what}");
        actix::clock::sleep(Duration::from_millis(2)).await;
    }
}

#[actix::test]
async fn a_sync_actor_that_panics_or_stops_loses_nothing_and_disturbs_nobody() {
    let trees = Trees::new("unreliable");
    let site = trees.site();
    let (children, root) = (Children::default(), Root::of(&site.wpath).unwrap());
    let version = local_version(&children, &site.rsync).await.expect("rsync is missing: run `make test`");
    let log = Logger::root(Discard, o!());
    let config = ConfigSnapshot { site: Arc::new(site.clone()), version };
    let shared = Shared::new(children.clone(), &site, &log);
    let way = |name| Rsync::new(config.site.clone(), root.clone(), trees.node(name), version, shared.clone());
    let unreliable = Rc::new(Unreliable { way: way("unreliable"), calls: Cell::new(0) });
    let (steady, shaky) = (way("steady"), unreliable.clone());
    let ways = move |_: &ConfigSnapshot, node: &Node| -> Rc<dyn Transport> {
        if node.dest().to_string_lossy().contains("unreliable") { shaky.clone() } else { steady.clone() }
    };
    let mut daemon = Daemon::start_with(config, root.clone(), Box::new(ways), children.clone(), &log);

    let (source, steady) = (trees.path("source"), trees.path("steady"));
    // Each way of going wrong at least once.
    for round in (0..).take_while(|round| *round < 12 || unreliable.calls.get() <= 6) {
        fs::write(source.join(format!("file {round}")), "content").unwrap();
        assert!(round < 1000, "the unreliable node is not tried");
        until("the steady node follows at once", || names(&steady) == names(&source)).await;
    }
    fs::remove_file(source.join("file 3")).unwrap();
    until("the unreliable node becomes equal", || names(&trees.path("unreliable")) == names(&source)).await;

    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }));
}
