//! For a service manager: how far the daemon is, and whether the actors that everything depends on still answer.

use actix::prelude::*;
use tokio::sync::watch;

use super::slots::Stage;
use super::{Phase, SupervisorActor};
use crate::messages::Alive;

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Directories that the first scan has come to, if it takes long.
    pub scanned: usize,
    /// Watched directories, once all watches stand.
    pub watching: Option<usize>,
    /// The nodes of the site.
    pub nodes: usize,
    /// Reloads that were carried out.
    pub reloads: u64,
}

/// Follows a daemon as long as it runs.
#[derive(Clone)]
pub struct Pulse {
    supervisor: Addr<SupervisorActor>,
    progress: watch::Receiver<Standing>,
}

impl Pulse {
    /// That of the daemon with this supervisor.
    pub fn new(supervisor: Addr<SupervisorActor>, progress: watch::Receiver<Standing>) -> Self {
        Pulse { supervisor, progress }
    }

    /// Waits until it is further than at the last call. `None` when the daemon is gone.
    pub async fn progress(&mut self) -> Option<Standing> {
        self.progress.changed().await.ok()?;
        Some(*self.progress.borrow_and_update())
    }

    /// Waits until supervisor, watcher and filter have answered. Whether they did: not if one is gone.
    pub async fn beats(&self) -> bool {
        self.supervisor.send(Alive).await.unwrap_or(false)
    }
}

impl SupervisorActor {
    /// The same, which tells how far it is.
    pub fn telling(mut self, progress: watch::Sender<Standing>) -> Self {
        self.progress = progress;
        self
    }

    /// Tells that it is further.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Standing)) {
        let nodes = self.slots.iter().filter(|slot| slot.stage != Stage::Leaving).count();
        self.progress.send_modify(|progress| {
            progress.nodes = nodes;
            change(progress);
        });
    }
}

impl Handler<Alive> for SupervisorActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> Self::Result {
        let [watcher, filter] = &self.front.alive;
        let (watcher, filter) = (watcher.send(Alive), filter.send(Alive));
        // At the end they are not needed any more.
        let ended = self.phase == Phase::Ended;
        Box::pin(async move { ended || watcher.await.unwrap_or(false) && filter.await.unwrap_or(false) })
    }
}
