//! Puts the actors together and hands out what the command needs of them: a way to stop, and the end.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use slog::{Logger, o};
use tokio::sync::oneshot;

use crate::filter::{self, FilterActor};
use crate::messages::Stop;
use crate::root::{Root, RootError};
use crate::rsync::children::Children;
use crate::rsync::version::Version;
use crate::rsync::{Rsync, Shared};
use crate::site::Site;
use crate::supervisor::{Front, SupervisorActor};
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
    /// The source cannot be watched; the log says why.
    Unwatchable,
    /// An actor that cannot be restarted panicked.
    Crashed,
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
}

impl Daemon {
    /// Starts mirroring a site by rsync. Within an actix system, on its main thread: rsync processes end with the thread
    /// that started them.
    ///
    /// # Errors
    /// When the source is not there.
    pub fn start(site: Site, version: Version, log: &Logger) -> Result<Daemon, RootError> {
        let children = Children::default();
        let (one_site, root) = (Rc::new(site.clone()), Root::of(&site.wpath)?);
        let shared = Shared::new(children.clone(), &site, log);
        let transport =
            |node| -> Rc<dyn Transport> { Rsync::new(one_site.clone(), root.clone(), node, version, shared.clone()) };
        let nodes = site.nodes.iter().map(|node| (node.name().to_owned(), transport(node.clone()))).collect();
        Ok(Daemon::start_with(&site, root.clone(), nodes, children.clone(), log))
    }

    /// Starts mirroring a site from `root` over given ways to its nodes, each with the node's name.
    pub fn start_with(
        site: &Site,
        root: Root,
        nodes: Vec<(String, Rc<dyn Transport>)>,
        children: Children,
        log: &Logger,
    ) -> Daemon {
        let links: Vec<Link> = nodes
            .into_iter()
            .enumerate()
            .map(|(slot, (name, transport))| Link {
                slot,
                outbox: Outbox::default(),
                transport,
                bulk_size: site.bulk_size,
                root: root.clone(),
                excludes: site.excludes.clone(),
                log: log.new(o!("node" => name)),
            })
            .collect();
        let (guard, announced) = EndsDaemon::new();
        let supervisor = SupervisorActor::create(|ctx| {
            let front = start_front(site, root, &links, &ctx.address(), log, &guard);
            SupervisorActor::new(links, front, site.initial_sync, site.stop_timeout, log.clone(), guard)
        });
        Daemon { supervisor, announced, ending: None, children }
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
    log: &Logger,
    guard: &EndsDaemon,
) -> Front {
    let arbiter = Arbiter::new();
    let outboxes = links.iter().map(|link| link.outbox.clone()).collect();
    let outlets = filter::Outlets {
        rescans: supervisor.clone().recipient(),
        moves: supervisor.clone().recipient(),
        flushed: supervisor.clone().recipient(),
    };
    let filter_actor = FilterActor::new(site.excludes.clone(), outboxes, outlets, log.clone(), guard.clone());
    let filter = FilterActor::start_in_arbiter(&arbiter.handle(), |_| filter_actor);
    let outlets = watcher::Outlets {
        changes: filter.clone().recipient(),
        rescans: filter.clone().recipient(),
        moves: filter.clone().recipient(),
        flush: filter.clone().recipient(),
        reports: supervisor.clone().recipient(),
    };
    let watcher_actor = WatcherActor::new(root, site.excludes.clone(), outlets, guard.clone());
    let watcher = WatcherActor::start_in_arbiter(&arbiter.handle(), |_| watcher_actor);
    Front { filter: filter.recipient(), watcher: watcher.recipient() }
}
