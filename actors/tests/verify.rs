//! `verify_every` in a running daemon: what differs is told in the status, and nothing else comes of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod trees;

use std::cell::Cell;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use inosync_actors::children::Children;
use inosync_actors::daemon::{Daemon, Handle};
use inosync_actors::ending::Ending;
use inosync_actors::node::Node;
use inosync_actors::path::RelPath;
use inosync_actors::reload::ConfigSnapshot;
use inosync_actors::root::Root;
use inosync_actors::rsync::{Rsync, Shared, local_version};
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;
use inosync_actors::status::{self, OrderOutcome, Verdict};
use inosync_actors::transport::Lane;
use inosync_actors::transport::comparison::{Comparison, Difference};
use inosync_actors::transport::plan::Plan;
use inosync_actors::transport::progress::Latest;
use inosync_actors::transport::{Delivery, Running, Transport, Verifying, Worked};
use slog::{Discard, Drain, Logger, Never, o};

use trees::Trees;

const DEADLINE: Duration = Duration::from_secs(60);

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "in vain: {what}");
        actix::clock::sleep(Duration::from_millis(5)).await;
    }
}

/// A log of which only the messages are kept.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl Drain for Messages {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), Never> {
        self.0.lock().unwrap().push(format!("{} {}", record.level().as_short_str(), record.msg()));
        Ok(())
    }
}

impl Messages {
    fn have(&self, line: &str) -> bool {
        self.0.lock().unwrap().iter().any(|said| said == line)
    }
}

/// The status of the node with this word in its destination, when it is as wanted.
async fn expect(
    handle: &Handle,
    node: &str,
    what: &str,
    is_so: impl Fn(&status::NodeStatus) -> bool,
) -> status::NodeStatus {
    let attempt = || async {
        let status = handle.status(false).await?;
        status.nodes.into_iter().find(|found| found.dest.contains(node) && is_so(found))
    };
    until(what, attempt).await
}

fn drift(node: &status::NodeStatus) -> Option<u64> {
    node.verified.map(|verified| verified.drift)
}

/// Writes other content of the same size, and leaves the times as they are.
fn rot(file: &Path) {
    let modified = file.metadata().unwrap().modified().unwrap();
    fs::write(file, "#######").unwrap();
    let times = FileTimes::new().set_modified(modified);
    File::options().write(true).open(file).unwrap().set_times(times).unwrap();
}

#[actix::test]
async fn a_daemon_finds_what_rotted_at_a_node_tells_it_and_repairs_nothing() {
    let trees = Trees::new("rotten");
    ["same", "rots"].iter().for_each(|file| fs::write(trees.path("source").join(file), "content").unwrap());
    let site = Site { verify_every: Some(Duration::from_secs(2)), ..trees.site() };
    let messages = Messages::default();
    let (root, log) = (Root::of(&site.wpath).unwrap(), Logger::root(messages.clone(), o!()));
    let children = Children::default();
    let version = local_version(&children, &site.rsync).await.expect("rsync is missing: run `make test`");
    let config = ConfigSnapshot { site: Arc::new(site.clone()), version };
    let (shared, source) = (Shared::new(children.clone(), &site, &log), root.clone());
    let ways = move |config: &ConfigSnapshot, node: &Node| -> Rc<dyn Transport> {
        Rsync::new(config.site.clone(), source.clone(), node.clone(), config.version, shared.clone())
    };
    let mut daemon = Daemon::start_with(config, root, Box::new(ways), children, &log);
    let handle = daemon.handle();
    for node in ["steady", "rotten"] {
        let found = expect(&handle, node, "it is verified", |node| drift(node) == Some(0)).await;
        assert_eq!(found.verdict(), Verdict::Well, "{found:?}");
    }
    assert!(messages.have("INFO verified") && !messages.have("WARN node differs from the source"));
    let file = trees.path("rotten").join("rots");
    rot(&file);
    let found = expect(&handle, "rotten", "it is found", |node| drift(node) == Some(1)).await;
    assert_eq!(found.verdict(), Verdict::Attention, "{found:?}");
    assert!(found.recent.iter().any(|event| event.text == "verified: 1 entry differs" && event.is_error), "{found:?}");
    assert!(messages.have("WARN node differs from the source"));
    assert_eq!(fs::read(&file).unwrap(), b"#######");
    expect(&handle, "steady", "the other one is well", |node| drift(node) == Some(0)).await;
    // Touched in the source, it is sent.
    let touched = File::options().write(true).open(trees.path("source").join("rots")).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    expect(&handle, "rotten", "it is well again", |node| drift(node) == Some(0)).await;
    assert_eq!(fs::read(&file).unwrap(), b"content");
    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }));
}

/// A way to a node of which each comparison by content goes on until it is given up.
#[derive(Default)]
struct Endless {
    started: Cell<u32>,
    running: Rc<Cell<u32>>,
    reconciles: Cell<u32>,
}

/// Counts what goes on.
struct Runs(Rc<Cell<u32>>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Transport for Endless {
    fn deliver(self: Rc<Self>, _: Rc<Plan>, _: Lane, _: Worked) -> Running {
        Box::pin(async { Ok(Delivery::default()) })
    }

    fn reconcile(self: Rc<Self>, _: Vec<RelPath>, _: Latest) -> Running {
        self.reconciles.set(self.reconciles.get() + 1);
        assert_eq!(self.running.get(), 0, "a comparison goes on beside the reconcile");
        Box::pin(async { Ok(Delivery::default()) })
    }

    fn verify(self: Rc<Self>, _: Vec<RelPath>, _: Box<dyn Fn(&RelPath) -> bool>) -> Verifying {
        self.started.set(self.started.get() + 1);
        self.running.set(self.running.get() + 1);
        let runs = Runs(self.running.clone());
        Box::pin(async move {
            let _runs = runs;
            std::future::pending().await
        })
    }
}

/// A daemon with one node, over a way that never comes to an end of a comparison.
fn endless(trees: &Trees, change: impl FnOnce(&mut Site)) -> (Daemon, Rc<Endless>, ConfigSnapshot) {
    fs::write(trees.path("source").join("file"), "content").unwrap();
    let nodes = vec![trees.node("steady")];
    let mut site = Site { verify_every: Some(Duration::from_millis(100)), nodes, ..trees.site() };
    change(&mut site);
    let root = Root::of(&site.wpath).unwrap();
    let config = ConfigSnapshot { site: Arc::new(site), version: Version::OLDEST };
    let way = Rc::new(Endless::default());
    let shared = way.clone();
    let ways = move |_: &ConfigSnapshot, _: &Node| -> Rc<dyn Transport> { shared.clone() };
    let log = Logger::root(Discard, o!());
    let daemon = Daemon::start_with(config.clone(), root, Box::new(ways), Children::default(), &log);
    (daemon, way, config)
}

async fn expect_running(way: &Endless, running: u32) {
    until("a comparison goes on, or none", || async { (way.running.get() == running).then_some(()) }).await;
}

#[actix::test]
async fn a_pause_ends_a_comparison_and_another_one_is_made_when_the_node_goes_on() {
    let trees = Trees::new("other");
    let (mut daemon, way, _) = endless(&trees, |_| ());
    expect_running(&way, 1).await;
    let before = way.started.get();
    assert_eq!(daemon.handle().pause("local".into(), true).await, Some(OrderOutcome::Done));
    expect_running(&way, 0).await;
    // Turns pass meanwhile.
    actix::clock::sleep(Duration::from_millis(300)).await;
    assert_eq!(way.started.get(), before);
    assert_eq!(daemon.handle().pause("local".into(), false).await, Some(OrderOutcome::Done));
    expect_running(&way, 1).await;
    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }), "a stop does not wait for it");
}

#[actix::test]
async fn a_periodic_reconcile_waits_for_a_comparison() {
    let trees = Trees::new("other");
    let every = Duration::from_millis(350);
    let (mut daemon, way, _) = endless(&trees, |site| site.resync_every = Some(every));
    until("a comparison goes on", || async { (way.started.get() > 0).then_some(()) }).await;
    let (before, begun) = (way.reconciles.get(), Instant::now());
    until("it was their turn", || async { (begun.elapsed() > every * 4).then_some(()) }).await;
    assert_eq!((way.reconciles.get(), way.started.get()), (before, 1));
    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }));
}

#[actix::test]
async fn a_comparison_does_not_delay_a_reload_and_comes_again_after_it() {
    let trees = Trees::new("other");
    let (mut daemon, way, config) = endless(&trees, |_| ());
    expect_running(&way, 1).await;
    let before = way.started.get();
    daemon.reload(Site { rspeed: 7.into(), ..(*config.site).clone() }, config.version, Vec::new());
    until("another one is made", || async { (way.started.get() > before).then_some(()) }).await;
    expect_running(&way, 1).await;
    daemon.reload(Site { verify_every: None, rspeed: 8.into(), ..(*config.site).clone() }, config.version, Vec::new());
    expect_running(&way, 0).await;
    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }));
}

/// A way to a node of which everything differs, if it is not on its way.
struct Differing {
    asked: Cell<bool>,
}

impl Transport for Differing {
    fn deliver(self: Rc<Self>, _: Rc<Plan>, _: Lane, _: Worked) -> Running {
        Box::pin(async { Ok(Delivery::default()) })
    }

    fn reconcile(self: Rc<Self>, _: Vec<RelPath>, _: Latest) -> Running {
        Box::pin(async { Ok(Delivery::default()) })
    }

    fn verify(self: Rc<Self>, _: Vec<RelPath>, is_pending: Box<dyn Fn(&RelPath) -> bool>) -> Verifying {
        self.asked.set(true);
        Box::pin(async move {
            let file = RelPath::new(b"file").unwrap();
            // What changes while the comparison goes on is known to do so.
            until("it was sent meanwhile", || async { is_pending(&file).then_some(()) }).await;
            let other = RelPath::new(b"other").unwrap();
            let still = [file, other].into_iter().filter(|path| !is_pending(path));
            let differing = still.map(|path| (path, Difference::Content)).collect();
            Ok(Comparison { differing, ..Comparison::default() })
        })
    }
}

#[actix::test]
async fn what_is_sent_while_a_comparison_goes_on_is_known_to_be_on_its_way() {
    let trees = Trees::new("other");
    let other = trees.path("source").join("other");
    fs::write(&other, "content").unwrap();
    let written = fs::metadata(&other).unwrap().modified().unwrap();
    // What changed a moment before the start is sent at the start.
    let is_old = || written.elapsed().is_ok_and(|age| age > Duration::from_millis(100));
    until("the file is older than the start", || async { is_old().then_some(()) }).await;
    let site =
        Site { verify_every: Some(Duration::from_millis(100)), nodes: vec![trees.node("steady")], ..trees.site() };
    let root = Root::of(&site.wpath).unwrap();
    let config = ConfigSnapshot { site: Arc::new(site), version: Version::OLDEST };
    let way = Rc::new(Differing { asked: Cell::new(false) });
    let shared = way.clone();
    let ways = move |_: &ConfigSnapshot, _: &Node| -> Rc<dyn Transport> { shared.clone() };
    let log = Logger::root(Discard, o!());
    let mut daemon = Daemon::start_with(config, root, Box::new(ways), Children::default(), &log);
    until("it is verified", || async { way.asked.get().then_some(()) }).await;
    fs::write(trees.path("source").join("file"), "content").unwrap();
    let found = expect(&daemon.handle(), "steady", "it is verified", |node| node.verified.is_some()).await;
    assert_eq!(drift(&found), Some(1), "{found:?}");
    daemon.stop();
    assert!(matches!(daemon.ended().await, Ending::Stopped { .. }));
}
