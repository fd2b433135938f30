//! Puts the actors together and hands out what the command needs of them: transports to reload and to stop, and the
//! end.
//!
//! # The start
//! 1. `src/main.rs`: options, then the configuration as a checked `Site`, the log, the version of the local rsync.
//! 2. `Daemon::start` remembers the identity of `wpath` (`root/identity.rs`) and starts supervisor, filter and watcher. When that
//!    was an empty directory and one with content takes its place, the daemon ends as `Superseded`, and `src/service/run.rs` starts
//!    the next one in the same process.
//! 3. The watcher puts a watch on the root, starts the reader, then for each directory: watch first, list second
//!    (`watcher/dirs/first_scan.rs`). Files that changed since the start are told at once, and need not wait for a reconcile.
//!    Too few watches or no inotify instance ends the start (exit 69).
//! 4. `Watching` reaches the supervisor. Where the state of the last run can be taken up, each outbox gets what its node
//!    lacked, and the StateActor looks for what changed meanwhile (`Compare`); else it asks for a reconcile in every outbox
//!    (`initial_sync`). It starts one SyncActor for each node. The filter learns whom to wake (`Serve`).
//! 5. Each SyncActor runs its reconcile, and beside it the batches of live changes.

mod node_threads;
mod starter;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, warn};
use tokio::sync::{mpsc, oneshot, watch};

use self::node_threads::NodeThreads;
use self::starter::Starter;
use crate::children::Children;
use crate::ending::{Ending, EndsDaemon};
use crate::messages::commands::{AskBehind, AskGathered, NodeDeed, NodeOrder};
use crate::messages::{AskPath, AskStatus, Compared, Reached, Reload, Stop};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::path::RelPath;
use crate::reload::ConfigSnapshot;
use crate::root::{Root, RootError};
use crate::rsync::audience::Audience;
use crate::rsync::staging::Staging;
use crate::rsync::{Rsync, Shared};
use crate::site::Site;
use crate::site::version::Version;
use crate::state::memory::Memory;
use crate::state::store::StoreError;
use crate::status::{NodeBehind, OrderOutcome, PathInfo, Status};
use crate::supervisor::TransportFactory;
use crate::supervisor::paused::Paused;
use crate::supervisor::watchdog::{DaemonMonitor, DaemonProgress};
use crate::supervisor::{SupervisorActor, SupervisorParts};
use crate::transport::Transport;
use crate::transport::handle::TransportHandle;

/// The longest wait of a new start for the watches and the state of the daemon before.
const LETS_GO: Duration = Duration::from_secs(10);

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The source cannot be watched.
    #[error("the source cannot be watched: {0}")]
    Source(#[from] RootError),
    /// Another process keeps the state of this site.
    #[error("{0}")]
    State(#[from] StoreError),
}

/// Values of the process that survive a restart of the daemon.
#[derive(Clone)]
pub struct ProcessContext {
    /// Hears how far reconciles are.
    pub audience: Arc<dyn Audience>,
    /// The nodes that are paused.
    pub paused: Paused,
}

/// A daemon that runs in this process.
pub struct Daemon {
    supervisor: Addr<SupervisorActor>,
    announced: oneshot::Receiver<Ending>,
    progress: watch::Receiver<DaemonProgress>,
    /// `Some` once the end was announced.
    ending: Option<Ending>,
    children: Children,
    /// The directory in which renamed files are linked, until the end.
    staging: Option<Arc<Staging>>,
    threads: Threads,
}

/// The threads beside the main one: watcher and filter wait for no rsync, nor rsync for them; the StateActor writes to
/// the disk, and looks at the whole tree.
struct Threads {
    front: Arbiter,
    /// Started when there are nodes for them.
    nodes: NodeThreads,
    /// `None` if no state is kept.
    state: Option<Arbiter>,
    /// Closed when the watches and the state are given up.
    held: mpsc::Receiver<()>,
}

impl Threads {
    /// Ends them, and waits until they have given up what a new start needs: the number of watches is limited, and the
    /// state is of one process.
    async fn end(&mut self) {
        self.front.stop();
        self.state.as_ref().map(Arbiter::stop);
        // A long scan is not waited for: what is lacking then ends the new start with a message of its own.
        let _ = tokio::time::timeout(LETS_GO, self.held.recv()).await;
    }
}

/// The parts of a daemon.
struct DaemonParts {
    config: ConfigSnapshot,
    root: Root,
    transports: TransportFactory,
    node_threads: NodeThreads,
    children: Children,
    /// `None` if no state is kept.
    memory: Option<Memory>,
    paused: Paused,
}

impl Daemon {
    /// Starts mirroring a site by rsync. Within an actix system, on its main thread, which lives as long as the daemon: rsync
    /// processes end with the thread that started them, this one or one of the nodes.
    ///
    /// # Errors
    /// The source is not there, or another process keeps the state of this site.
    pub fn start(site: Site, version: Version, context: ProcessContext, log: &Logger) -> Result<Daemon, StartError> {
        let root = site.root()?;
        Daemon::start_at(root, site, version, context, log)
    }

    /// Starts as [`Daemon::start`] does, after the end of a daemon as [`Ending::Superseded`].
    ///
    /// # Errors
    /// Those of [`Daemon::start`].
    pub fn start_superseding(
        site: Site,
        version: Version,
        context: ProcessContext,
        log: &Logger,
    ) -> Result<Daemon, StartError> {
        let root = site.root()?.superseding();
        Daemon::start_at(root, site, version, context, log)
    }

    fn start_at(
        root: Root,
        site: Site,
        version: Version,
        ProcessContext { audience, paused }: ProcessContext,
        log: &Logger,
    ) -> Result<Daemon, StartError> {
        let children = Children::default();
        let memory = Memory::open(&site, &root, log)?;
        let mut shared = Shared::new(children.clone(), &site, log).heard_by(audience, log);
        let staging = shared.staging.clone();
        let source = root.clone();
        let node_threads = NodeThreads::default();
        let threads = node_threads.clone();
        let transports = Box::new(move |config: &ConfigSnapshot, node: &Node, slot: usize| {
            let ConfigSnapshot { site, version } = config.clone();
            shared.adapt(&site);
            let thread = threads.of(slot, site.nodes.len(), site.node_threads).unwrap_or_else(|why| {
                warn!(shared.log, "the main thread serves a node: there can be no other thread"; "why" => %why);
                None
            });
            let (source, node, shared) = (source.clone(), node.clone(), shared.clone());
            TransportHandle::new(thread, move || -> Rc<dyn Transport> {
                Rsync::new(site.clone(), source.clone(), node.clone(), version, shared.clone())
            })
        });
        let config = ConfigSnapshot { site: Arc::new(site), version };
        let parts = DaemonParts { config, root, transports, node_threads, children, memory, paused };
        Ok(Daemon { staging, ..Daemon::of(parts, log) })
    }

    /// Starts mirroring a site from `root` over transports of any kind. Nothing is known of earlier runs, and nothing is
    /// kept for later ones. All of it is on this thread.
    pub fn start_with(
        config: ConfigSnapshot,
        root: Root,
        mut transports: impl FnMut(&ConfigSnapshot, &Node) -> Rc<dyn Transport> + 'static,
        children: Children,
        log: &Logger,
    ) -> Daemon {
        let node_threads = NodeThreads::default();
        let transports =
            Box::new(move |config: &ConfigSnapshot, node: &Node, _: usize| transports(config, node).into());
        let parts =
            DaemonParts { config, root, transports, node_threads, children, memory: None, paused: Paused::default() };
        Daemon::of(parts, log)
    }

    fn of(parts: DaemonParts, log: &Logger) -> Daemon {
        let DaemonParts { config, root, transports, node_threads, children, memory, paused } = parts;
        let (guard, announced) = EndsDaemon::new();
        let outboxes: Vec<Outbox> = config.site.nodes.iter().map(|node| Outbox::of(&config.site.at(node))).collect();
        if root.supersedes() {
            outboxes.iter().for_each(|outbox| outbox.lock().source_emptied());
        }
        let (tell, progress) = watch::channel(DaemonProgress::default());
        let (holds, held) = mpsc::channel(1);
        let threads = Threads {
            front: Arbiter::new(),
            nodes: node_threads,
            state: memory.as_ref().map(|_| Arbiter::new()),
            held,
        };
        let processes = children.clone();
        let supervisor = SupervisorActor::create(|ctx| {
            let starter = Starter { site: &config.site, root: &root, supervisor: ctx.address(), log, guard: &guard };
            let upstream = starter.start(&outboxes, memory, &threads, holds);
            let heard_by = ctx.address().downgrade();
            root.reach().listen(move |heard| {
                if let Some(supervisor) = heard_by.upgrade() {
                    supervisor.do_send(Reached(heard.clone()));
                }
            });
            SupervisorActor::new(SupervisorParts {
                config,
                root,
                transports,
                children: processes,
                outboxes,
                upstream,
                progress: tell,
                paused,
                log: log.clone(),
                guard,
            })
        });
        Daemon { supervisor, announced, progress, ending: None, children, staging: None, threads }
    }

    /// Goes by another reading of the configuration from now on. Ends in [`Ending::Restart`] where that takes a new
    /// start. `beside` are keys that changed as well, and that others go by: for the log.
    pub fn reload(&self, site: Site, version: Version, beside: Vec<&'static str>) {
        self.supervisor.do_send(Reload { site, version, beside });
    }

    /// The handle by which others ask the daemon while it runs.
    pub fn handle(&self) -> Handle {
        Handle(self.supervisor.clone())
    }

    /// The monitor of the daemon: its progress, and that it is not stuck.
    pub fn monitor(&self) -> DaemonMonitor {
        DaemonMonitor::new(self.supervisor.clone(), self.progress.clone())
    }

    /// Asks for an orderly stop; a second time, for an immediate one.
    pub fn stop(&self) {
        self.supervisor.do_send(Stop);
    }

    /// Waits for the end; may be dropped and called again. All rsync processes are gone when it returns, and before a
    /// new start the watches.
    pub async fn ended(&mut self) -> Ending {
        let ending = match self.ending {
            Some(ending) => ending,
            None => *self.ending.insert((&mut self.announced).await.unwrap_or(Ending::Crashed)),
        };
        self.children.end_all().await;
        // A new start takes it, although the actors of this one may still be there.
        self.staging.take().inspect(|staging| staging.close());
        // The directories that they hold are removed with them.
        self.threads.nodes.end().await;
        if matches!(ending, Ending::Restart { .. } | Ending::Superseded) {
            self.threads.end().await;
        }
        ending
    }
}

/// Asks a daemon, and pauses its nodes. A daemon that has ended does not answer.
#[derive(Clone)]
pub struct Handle(Addr<SupervisorActor>);

impl Handle {
    /// The status. `ask_nodes`: nodes are first asked for their rsync, where it is not known; that takes up to two
    /// seconds.
    pub async fn status(&self, ask_nodes: bool) -> Option<Status> {
        self.0.send(AskStatus { ask_nodes }).await.ok().flatten()
    }

    /// The facts that are known of a path.
    pub async fn path_info(&self, path: RelPath) -> Option<PathInfo> {
        self.0.send(AskPath(path)).await.ok()
    }

    /// Another process made a node equal to the tree, by a comparison of everything that began so long ago. `dest`: its
    /// destination, as the status has it.
    pub fn compared(&self, dest: String, began_ago: Duration) {
        if let Some(began) = Instant::now().checked_sub(began_ago) {
            self.0.do_send(Compared { dest, began });
        }
    }

    /// Pauses a node, or lets it go on.
    pub async fn pause(&self, node: String, paused: bool) -> Option<OrderOutcome> {
        self.order(Some(node), if paused { NodeDeed::Pause } else { NodeDeed::Resume }).await
    }

    /// Tries at once what failed at a node, or at all. A paused node stays so.
    pub async fn retry(&self, node: Option<String>) -> Option<OrderOutcome> {
        self.order(node, NodeDeed::Retry).await
    }

    /// Lets the reconcile of a node that is held by `max_delete` delete what it takes, once.
    pub async fn allow_deletions(&self, node: String) -> Option<OrderOutcome> {
        self.order(Some(node), NodeDeed::AllowDeletions).await
    }

    async fn order(&self, node: Option<String>, deed: NodeDeed) -> Option<OrderOutcome> {
        self.0.send(NodeOrder { node, deed }).await.ok().flatten()
    }

    /// Waits until all that has changed in the source until now is known to the nodes. Returns false if that cannot be
    /// told: the watches do not stand yet, or the daemon is ending.
    pub async fn gathered(&self) -> bool {
        self.0.send(AskGathered).await.unwrap_or(false)
    }

    /// The nodes, or the one of this name, and what they lack of the changes until then.
    pub async fn behind(&self, node: Option<String>, until: Instant) -> Option<Vec<NodeBehind>> {
        self.0.send(AskBehind { node, until }).await.ok().flatten()
    }
}
