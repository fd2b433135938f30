//! Keeps the nodes served: starts a SyncActor for each, restarts those that fail, logs directory moves, and leads the
//! orderly stop.

mod unseen;

use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, debug, error, info, warn};

use crate::daemon::{Ending, EndsDaemon};
use crate::messages::{
    Compare, Died, DirMove, Drain, Drained, Flush, Flushed, Leave, Reason, Rescan, Save, Saved, Serve, SourceLost, Stop,
    Succeeded, WatchReport,
};
use crate::site::InitialSync;
use crate::state::memory::Resumed;
use crate::state::{Keep, Kept};
use crate::sync::health::backoff;
use crate::sync::{Link, Superior, SyncActor};

/// How long the last save may take when the time for a stop is up.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// One node.
struct Slot {
    link: Link,
    /// `None` if and only if its SyncActor died and the next one has not been started.
    actor: Option<Addr<SyncActor>>,
    /// SyncActors that died since the last success.
    deaths: u32,
    /// Whether nothing more is expected of it before the end.
    drained: bool,
}

/// How far the stop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first scan is not complete.
    Starting,
    /// Nobody asked for a stop.
    Running,
    /// The watcher hands over what it still has.
    Flushing,
    /// The SyncActors work off what is pending.
    Draining,
    /// The state is saved.
    Saving,
    /// The end has been announced.
    Ended,
}

/// Starts, restarts and stops the SyncActors.
///
/// Receives: [`WatchReport`], [`Died`], [`Succeeded`], [`Rescan`], [`DirMove`], [`Stop`], [`Flushed`], [`Drained`], [`Leave`].
/// Sends: [`Serve`] to the filter, [`Flush`] to the watcher, [`Drain`] and [`SourceLost`] to the SyncActors, and to the
/// StateActor what concerns the [`Recall`]. It owns the outboxes, so what
/// is pending outlives every SyncActor; `actix::Supervisor` would not survive a panic. A panic of its own ends the
/// daemon.
pub struct SupervisorActor {
    slots: Vec<Slot>,
    initial_sync: InitialSync,
    stop_timeout: Duration,
    front: Front,
    phase: Phase,
    /// Whether it ends because another source is to be mirrored.
    superseded: bool,
    log: Logger,
    guard: EndsDaemon,
}

/// The actors in front of the SyncActors. They report to the supervisor, so they are started with its address before it
/// runs itself: a report that came before it knew them would be lost on it.
pub struct Front {
    /// The filter.
    pub filter: Recipient<Serve>,
    /// The watcher.
    pub watcher: Recipient<Flush>,
    /// `None` if no state is kept.
    pub state: Option<Recall>,
}

/// The StateActor as the supervisor sees it.
pub struct Recall {
    /// What the last run left; taken up once.
    pub past: Option<Resumed>,
    /// Learns of which nodes the state is.
    pub keep: Recipient<Keep>,
    /// Finds out what changed since the last run.
    pub compare: Recipient<Compare>,
    /// Saves once more.
    pub save: Recipient<Save>,
}

impl SupervisorActor {
    /// A supervisor of one SyncActor for each link.
    pub fn new(
        links: Vec<Link>,
        front: Front,
        initial_sync: InitialSync,
        stop_timeout: Duration,
        log: Logger,
        guard: EndsDaemon,
    ) -> Self {
        let slots = links.into_iter().map(|link| Slot { link, actor: None, deaths: 0, drained: false }).collect();
        let (phase, superseded) = (Phase::Starting, false);
        SupervisorActor { slots, initial_sync, stop_timeout, front, phase, superseded, log, guard }
    }

    fn launch(&mut self, at: usize, ctx: &mut Context<Self>) {
        if self.phase == Phase::Ended {
            return;
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
        let address = ctx.address();
        let superior = Superior {
            died: address.clone().recipient(),
            succeeded: address.clone().recipient(),
            drained: address.recipient(),
        };
        let actor = SyncActor::new(slot.link.clone(), superior).start();
        self.front.filter.do_send(Serve { slot: at, wake: actor.clone().recipient() });
        if matches!(self.phase, Phase::Draining | Phase::Saving) {
            actor.do_send(Drain);
        }
        slot.actor = Some(actor);
    }

    fn pending(&self) -> usize {
        self.slots.iter().map(|slot| slot.link.outbox.lock().len()).sum()
    }

    fn watching(&mut self, directories: usize, ctx: &mut Context<Self>) {
        info!(self.log, "watching"; "directories" => directories);
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
        }
        self.take_up_work();
        for at in 0..self.slots.len() {
            self.launch(at, ctx);
        }
    }

    /// Goes on where the last run ended, or begins with a reconcile.
    fn take_up_work(&mut self) {
        let past = self.front.state.as_mut().and_then(|state| state.past.take());
        if let Some(mut past) = past {
            for slot in &self.slots {
                if !past.take_up(&slot.link) && self.initial_sync != InitialSync::Off {
                    slot.link.outbox.lock().want_reconcile();
                }
            }
            self.front.state.as_ref().inspect(|state| state.compare.do_send(Compare { unsaved_names: past.crashed }));
        } else {
            self.want_reconciles();
        }
        if let Some(state) = &self.front.state {
            let kept = |slot: &Slot| Kept { key: slot.link.key.clone(), outbox: slot.link.outbox.clone() };
            state.keep.do_send(Keep(self.slots.iter().map(kept).collect()));
        }
    }

    fn want_reconciles(&self) {
        if self.initial_sync != InitialSync::Off {
            self.slots.iter().for_each(|slot| slot.link.outbox.lock().want_reconcile());
        }
    }

    fn end_if_drained(&mut self) {
        if self.phase == Phase::Draining && self.slots.iter().all(|slot| slot.drained) {
            self.save();
        }
    }

    /// What is pending now stays so for the next run.
    fn save(&mut self) {
        match &self.front.state {
            Some(state) => {
                self.phase = Phase::Saving;
                state.save.do_send(Save);
            }
            None => self.end(),
        }
    }

    /// Time is up.
    fn save_or_end(&mut self, ctx: &mut Context<Self>) {
        if self.phase == Phase::Saving {
            return self.end();
        }
        self.save();
        ctx.run_later(LAST_SAVE, |supervisor, _| {
            if supervisor.phase == Phase::Saving {
                supervisor.end();
            }
        });
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        for slot in &self.slots {
            // What waits for a list would take its time to end.
            slot.link.transport.rest();
            let pending = slot.link.outbox.lock().len();
            if pending > 0 && !self.superseded {
                warn!(slot.link.log, "stopped with changes that the node does not have"; "pending" => pending);
            }
        }
        let pending = self.pending();
        self.guard.end(if self.superseded { Ending::Superseded } else { Ending::Stopped { pending } });
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;
}

impl Handler<WatchReport> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, report: WatchReport, ctx: &mut Self::Context) {
        match report {
            WatchReport::Scanning { directories } => {
                info!(self.log, "scanning the source"; "directories" => directories);
            }
            WatchReport::Watching { directories } => self.watching(directories, ctx),
            WatchReport::Failed(error) => {
                error!(self.log, "the source cannot be watched"; "why" => %error);
                self.phase = Phase::Ended;
                self.guard.end(Ending::Unwatchable);
            }
            WatchReport::Blind { path, why } => {
                warn!(self.log, "a directory is not watched: changes in it are not seen"; "path" => %path, "why" => %why);
            }
            WatchReport::Unmounted { path } => {
                warn!(self.log, "a file system was unmounted: the nodes keep its content until it is mounted again or the directory is removed"; "from" => %path);
            }
            WatchReport::MountPoints(_) => (),
            WatchReport::RootSuperseded if matches!(self.phase, Phase::Starting | Phase::Running) => {
                self.superseded = true;
                self.save_or_end(ctx);
            }
            // It stops anyway.
            WatchReport::RootSuperseded => (),
            WatchReport::Unseen(unseen) => unseen::log_unseen(&self.log, &unseen),
            WatchReport::RootLost => {
                error!(self.log, "the source was moved, deleted or unmounted: nothing is sent until it is back");
                self.slots.iter().filter_map(|slot| slot.actor.as_ref()).for_each(|actor| actor.do_send(SourceLost));
            }
        }
    }
}

impl Handler<Rescan> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Rescan { subtree, reason }: Rescan, _: &mut Self::Context) {
        match reason {
            // Said once for all of them, and not at each poll.
            Reason::WatchLimit => debug!(self.log, "comparing again"; "subtree" => %subtree, "why" => %reason),
            _ => warn!(self.log, "comparing again"; "subtree" => %subtree, "why" => %reason),
        }
    }
}

impl Handler<DirMove> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, moved: DirMove, _: &mut Self::Context) {
        match moved {
            DirMove::Within { from, to } => {
                info!(self.log, "directory moved: not mirrored (dir_moves: Log), the nodes keep the old name"; "from" => %from, "to" => %to);
            }
            DirMove::Out { from } => {
                info!(self.log, "directory moved out of the tree or to an excluded name: not mirrored (dir_moves: Log), the nodes keep it"; "from" => %from);
            }
            DirMove::In { to } => {
                info!(self.log, "directory moved into the tree: mirrored as new"; "to" => %to);
            }
        }
    }
}

impl Handler<Died> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Died { slot: at, panicked }: Died, ctx: &mut Self::Context) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.link.outbox.lock().roll_back();
        (slot.actor, slot.deaths) = (None, slot.deaths + 1);
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let delay = backoff(slot.deaths, fastrand::f64());
        let why = if panicked { "it panicked" } else { "it stopped" };
        warn!(slot.link.log, "sync actor restarts"; "why" => why, "in" => format!("{} ms", delay.as_millis()),
            "pending" => slot.link.outbox.lock().len());
        ctx.run_later(delay, move |supervisor, ctx| supervisor.launch(at, ctx));
    }
}

impl Handler<Succeeded> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Succeeded { slot }: Succeeded, _: &mut Self::Context) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.deaths = 0;
        }
    }
}

impl Handler<Stop> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        match self.phase {
            Phase::Running => {
                info!(self.log, "stopping: working off what is pending"; "pending" => self.pending());
                self.phase = Phase::Flushing;
                self.front.watcher.do_send(Flush);
                ctx.run_later(self.stop_timeout, |supervisor, ctx| {
                    if supervisor.phase != Phase::Ended {
                        warn!(supervisor.log, "stop_timeout is over");
                        supervisor.save_or_end(ctx);
                    }
                });
            }
            Phase::Starting => {
                info!(self.log, "stopping before everything is watched");
                self.want_reconciles();
                self.end();
            }
            Phase::Flushing | Phase::Draining | Phase::Saving => {
                info!(self.log, "stopping at once");
                self.superseded = false;
                self.end();
            }
            Phase::Ended => (),
        }
    }
}

impl Handler<Leave> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        self.phase = Phase::Ended;
        self.slots.iter().filter_map(|slot| slot.actor.as_ref()).for_each(|actor| actor.do_send(Leave));
        ctx.stop();
    }
}

impl Handler<Flushed> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Flushed, _: &mut Self::Context) {
        if self.phase != Phase::Flushing {
            return;
        }
        self.phase = Phase::Draining;
        for slot in &mut self.slots {
            match &slot.actor {
                Some(actor) => actor.do_send(Drain),
                // It died lately: what is pending stays so.
                None => slot.drained = true,
            }
        }
        self.end_if_drained();
    }
}

impl Handler<Saved> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Saved, _: &mut Self::Context) {
        if self.phase == Phase::Saving {
            self.end();
        }
    }
}

impl Handler<Drained> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Drained { slot }: Drained, _: &mut Self::Context) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.drained = true;
        }
        self.end_if_drained();
    }
}
