//! The state of the daemon for a service manager: its progress, and if supervisor, watcher and filter still answer.
//! Dead SyncActors are restarted by `Handler<Died>` in `supervisor.rs`.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tokio::time::timeout;

use super::SupervisorActor;
use super::parts::Upstream;
use crate::ending::{Ending, EndsDaemon};
use crate::messages::Alive;

/// A watcher that lists directories starts on the next one within this time.
const STEP: Duration = Duration::from_secs(1);

/// The progress of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DaemonProgress {
    /// Directories that the first scan has come to, if it takes long.
    pub scanned: usize,
    /// Watched directories, once all watches stand.
    pub watching: Option<usize>,
    /// The nodes of the site.
    pub nodes: usize,
    /// Reloads that were carried out.
    pub reloads: u64,
}

/// The supervisor's line to whoever holds the daemon.
pub(super) struct DaemonLine {
    progress: watch::Sender<DaemonProgress>,
    guard: EndsDaemon,
}

impl DaemonLine {
    /// The line to whoever listens to both.
    pub(super) fn new(progress: watch::Sender<DaemonProgress>, guard: EndsDaemon) -> Self {
        DaemonLine { progress, guard }
    }

    /// Tells that the daemon is further, and has so many nodes.
    pub(super) fn tell(&self, nodes: usize, change: impl FnOnce(&mut DaemonProgress)) {
        self.progress.send_modify(|progress| {
            progress.nodes = nodes;
            change(progress);
        });
    }

    /// Tells that the daemon ends.
    pub(super) fn end(&mut self, ending: Ending) {
        self.guard.end(ending);
    }
}

/// Follows a daemon as long as it runs.
#[derive(Clone)]
pub struct DaemonMonitor {
    supervisor: Addr<SupervisorActor>,
    progress: watch::Receiver<DaemonProgress>,
}

impl DaemonMonitor {
    /// Follows the daemon of this supervisor.
    pub(crate) fn new(supervisor: Addr<SupervisorActor>, progress: watch::Receiver<DaemonProgress>) -> Self {
        DaemonMonitor { supervisor, progress }
    }

    /// Waits until it is further than at the last call. `None` when the daemon is gone.
    pub async fn progress(&mut self) -> Option<DaemonProgress> {
        self.progress.changed().await.ok()?;
        Some(*self.progress.borrow_and_update())
    }

    /// Waits until supervisor, watcher and filter have answered. Returns false if one of them is gone.
    pub async fn is_alive(&self) -> bool {
        self.supervisor.send(Alive).await.unwrap_or(false)
    }
}

/// Waits until watcher and filter have answered. Returns false if one of them is gone.
pub(super) fn upstream_is_alive(upstream: &Upstream) -> ResponseFuture<bool> {
    let [watcher, filter] = &upstream.alive;
    let watcher = watcher.send(Alive);
    let filter = filter.send(Alive);
    let coverage = upstream.coverage.clone();
    let mut steps = coverage.steps();
    Box::pin(async move {
        let answer = async { watcher.await.unwrap_or(false) && filter.await.unwrap_or(false) };
        tokio::pin!(answer);
        loop {
            match timeout(STEP, &mut answer).await {
                Ok(alive) => return alive,
                // It lists a large tree, and answers nothing meanwhile.
                Err(_) if coverage.steps() != steps => return true,
                Err(_) => steps = coverage.steps(),
            }
        }
    })
}
