//! Puts the actors together and hands out what the command needs of them: a way to stop, and the end.

use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use slog::{Logger, o};
use tokio::sync::oneshot;

use crate::filter::{self, FilterActor};
use crate::messages::{Leave, Stop};
use crate::root::{Root, RootError};
use crate::rsync::children::Children;
use crate::rsync::version::Version;
use crate::rsync::{Rsync, Shared};
use crate::site::Site;
use crate::state::memory::Memory;
use crate::state::store::StoreError;
use crate::state::{self, StateActor};
use crate::supervisor::{Front, Recall, SupervisorActor};
use crate::sync::{Link, Outbox, Transport};
use crate::watcher::{self, WatcherActor};

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it was told to; so many paths are not on their nodes.
    Stopped {
        /// The sum over all nodes.
        pending: usize,
    },
    /// The source was empty, and another directory with content is in its place: to be started anew on that one.
    Superseded,
    /// The source cannot be watched; the log says why.
    Unwatchable,
    /// An actor that cannot be restarted panicked.
    Crashed,
}

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

/// Announces the end of the daemon, once. An actor that holds one and panics ends the daemon.
#[derive(Debug, Clone)]
pub struct EndsDaemon(Arc<Mutex<Option<oneshot::Sender<Ending>>>>);

impl EndsDaemon {
    /// A guard, and where the end is announced.
    pub fn new() -> (Self, oneshot::Receiver<Ending>) {
        let (sender, receiver) = oneshot::channel();
        (EndsDaemon(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Announces the end. Only the first announcement counts.
    pub fn end(&self, ending: Ending) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody listens any more when the command ends on its own account.
            let _ = sender.send(ending);
        }
    }
}

impl Drop for EndsDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(Ending::Crashed);
        }
    }
}

/// A running daemon.
pub struct Daemon {
    supervisor: Addr<SupervisorActor>,
    announced: oneshot::Receiver<Ending>,
    /// `Some` once the end was announced.
    ending: Option<Ending>,
    children: Children,
    threads: Threads,
}

/// The threads beside the main thread.
struct Threads {
    /// Of watcher and filter: neither waits for rsync, nor rsync for them.
    front: ArbiterHandle,
    /// Of the StateActor, if there is one: it writes to the disk, and looks at the whole tree.
    state: Option<ArbiterHandle>,
}

impl Daemon {
    /// Starts mirroring a site by rsync. Within an actix system, on its main thread: rsync processes end with the thread
    /// that started them.
    ///
    /// # Errors
    /// When the source is not there, or another process keeps the state of this site.
    pub fn start(site: Site, version: Version, log: &Logger) -> Result<Daemon, StartError> {
        let root = site.root()?;
        Daemon::start_at(root, site, version, log)
    }

    /// As [`Daemon::start`], after the end of a daemon as [`Ending::Superseded`].
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_superseding(site: Site, version: Version, log: &Logger) -> Result<Daemon, StartError> {
        let root = site.root()?.superseding();
        Daemon::start_at(root, site, version, log)
    }

    fn start_at(root: Root, site: Site, version: Version, log: &Logger) -> Result<Daemon, StartError> {
        let children = Children::default();
        let one_site = Rc::new(site.clone());
        let shared = Shared::new(children.clone(), &site, log);
        let transport =
            |node| -> Rc<dyn Transport> { Rsync::new(one_site.clone(), root.clone(), node, version, shared.clone()) };
        let nodes = site.nodes.iter().map(|node| (node.name().to_owned(), transport(node.clone()))).collect();
        let memory = Memory::open(&site, &root, log)?;
        Ok(Daemon::start_with(&site, root.clone(), nodes, children.clone(), memory, log))
    }

    /// Starts mirroring a site from `root` over given ways to its nodes, each with the node's name. `memory` is `None` if
    /// nothing is known of earlier runs, nor kept for later ones.
    pub fn start_with(
        site: &Site,
        root: Root,
        nodes: Vec<(String, Rc<dyn Transport>)>,
        children: Children,
        memory: Option<Memory>,
        log: &Logger,
    ) -> Daemon {
        let unsaved = memory.as_ref().map(|memory| memory.unsaved.clone()).unwrap_or_default();
        let links: Vec<Link> = nodes
            .into_iter()
            .enumerate()
            .map(|(slot, (name, transport))| Link {
                slot,
                key: state::key(site, &name),
                outbox: Outbox::settling(site.settle.clone()),
                unsaved: unsaved.clone(),
                transport,
                bulk_size: site.bulk_size,
                root: root.clone(),
                excludes: site.excludes.clone(),
                log: log.new(o!("node" => name)),
            })
            .collect();
        if root.supersedes() {
            links.iter().for_each(|link| link.outbox.lock().source_emptied());
        }
        let state = memory.is_some().then(|| Arbiter::new().handle());
        let (threads, (guard, announced)) = (Threads { front: Arbiter::new().handle(), state }, EndsDaemon::new());
        let supervisor = SupervisorActor::create(|ctx| {
            let front = start_front(site, root, &links, &ctx.address(), (memory, &threads), log, &guard);
            SupervisorActor::new(links, front, site.initial_sync, site.stop_timeout, log.clone(), guard)
        });
        Daemon { supervisor, announced, ending: None, children, threads }
    }

    /// Asks for an orderly stop; a second time, for an immediate one.
    pub fn stop(&self) {
        self.supervisor.do_send(Stop);
    }

    /// Waits for the end; may be dropped and called again. All rsync processes are gone when it returns.
    pub async fn ended(&mut self) -> Ending {
        let ending = match self.ending {
            Some(ending) => ending,
            None => *self.ending.insert((&mut self.announced).await.unwrap_or(Ending::Crashed)),
        };
        self.supervisor.do_send(Leave);
        self.threads.front.stop();
        self.threads.state.as_ref().map(ArbiterHandle::stop);
        self.children.end_all().await;
        ending
    }
}

/// Starts the watcher and the filter, which report to the supervisor, on a thread of their own: neither waits for rsync,
/// nor rsync for them.
fn start_front(
    site: &Site,
    root: Root,
    links: &[Link],
    supervisor: &Addr<SupervisorActor>,
    (memory, threads): (Option<Memory>, &Threads),
    log: &Logger,
    guard: &EndsDaemon,
) -> Front {
    let outboxes = links.iter().map(|link| link.outbox.clone()).collect();
    let outlets = filter::Outlets {
        rescans: supervisor.clone().recipient(),
        moves: supervisor.clone().recipient(),
        flushed: supervisor.clone().recipient(),
    };
    let filter_actor = FilterActor::new(site.excludes.clone(), outboxes, outlets, log.clone(), guard.clone());
    let filter = FilterActor::start_in_arbiter(&threads.front, |_| filter_actor);
    let outlets = watcher::Outlets {
        changes: filter.clone().recipient(),
        rescans: filter.clone().recipient(),
        moves: filter.clone().recipient(),
        flush: filter.clone().recipient(),
        passed: filter.clone().recipient(),
        reports: supervisor.clone().recipient(),
    };
    let aside = memory.as_ref().and(site.state_file.as_deref()).and_then(Path::parent).map(Path::to_owned);
    let watcher_actor = WatcherActor::new(root.clone(), site.excludes.clone(), outlets, aside, guard.clone());
    let watcher_actor = watcher_actor.polling(site.watch_poll).settling(site.settle.clone());
    let watcher = WatcherActor::start_in_arbiter(&threads.front, |_| watcher_actor);
    let state = memory.zip(threads.state.as_ref()).map(|(Memory { store, past, unsaved }, thread)| {
        let outlets = state::Outlets {
            changes: filter.clone().recipient(),
            flushed: filter.clone().recipient(),
            barrier: watcher.clone().recipient(),
            saved: supervisor.clone().recipient(),
        };
        let kept = (store, unsaved.clone());
        let actor = StateActor::new(site, root, kept, outlets, log.clone(), guard.clone());
        let state = StateActor::start_in_arbiter(thread, |_| actor);
        filter.do_send(filter::Kept(filter::Keeper {
            unsaved,
            compare: state.clone().recipient(),
            flush: state.clone().recipient(),
            passed: state.clone().recipient(),
        }));
        Recall { past, keep: state.clone().recipient(), compare: state.clone().recipient(), save: state.recipient() }
    });
    Front { filter: filter.recipient(), watcher: watcher.recipient(), state }
}
