//! Keeps the nodes served: starts a SyncActor for each, restarts those that fail, logs directory moves, runs the hooks,
//! and leads the reload and the orderly stop.

mod heartbeat;
mod hooks;
mod leaving;
mod lifecycle;
mod move_log;
mod orders;
mod parts;
pub mod paused;
mod reached;
mod reload;
mod resync;
mod slots;
mod source_status;
mod status;
mod stop;
mod upstream;
mod watch_log;
pub mod watchdog;

use std::collections::BTreeSet;
use std::time::Instant;

use actix::prelude::*;
use slog::{Logger, info, o, warn};

use self::heartbeat::Heartbeats;
use self::hooks::Hooks;
use self::lifecycle::{Lifecycle, LifecycleEvent, Membership, Reloading, Step, Succession, Then, Worker};
pub(crate) use self::parts::TransportFactory;
pub(crate) use self::parts::{Flushes, StateHandle, SupervisorParts, Upstream};
use self::paused::Paused;
use self::resync::{Clock, ScheduledTask};
use self::slots::Slots;
use self::source_status::CountedSource;
use self::watchdog::{DaemonLine, DaemonProgress};
use crate::backoff::backoff;
use crate::ending::Ending;
use crate::messages::{
    Audit, Died, DirMove, Mirrored, Reached, Rescan, Serve, Settled, SourceLost, Succeeded, WatchReport,
};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::reload::ConfigSnapshot;
use crate::site::DirMoves;
use crate::state;
use crate::status::record::NodeRecord;
use crate::sync::{NodeLink, NodeSettings, SupervisorHandle, SyncActor};
use crate::transport;
use crate::transport::heard::Heard;
use crate::transport::progress::Latest;

/// Starts, restarts and stops the SyncActors.
///
/// Receives [`WatchReport`], and for the log [`Rescan`] and [`DirMove`]; from SyncActors [`Died`], [`Succeeded`],
/// [`Mirrored`], [`Settled`]; what is about a stop in `stop`, a reload in `reload`, and questions in `status`. Sends
/// [`Upstream`] what it takes, and to the SyncActors [`Obey`](crate::messages::Obey),
/// [`TryNow`](crate::messages::TryNow), [`Resync`](crate::messages::Resync), [`Verify`](crate::messages::Verify) and
/// [`SourceLost`].
///
/// It owns the outboxes, so what is pending outlives every SyncActor; `actix::Supervisor` would not survive a panic. A
/// panic of its own ends the daemon.
pub(crate) struct SupervisorActor {
    slots: Slots,
    config: ConfigSnapshot,
    source: CountedSource,
    transports: TransportFactory,
    upstream: Upstream,
    phase: Lifecycle,
    reloading: Reloading,
    clock: Clock,
    paused: Paused,
    hooks: Hooks,
    heartbeats: Heartbeats,
    log: Logger,
    outside: DaemonLine,
}

impl SupervisorActor {
    /// A supervisor of one SyncActor for each node of the site, in their order.
    pub(crate) fn new(parts: SupervisorParts) -> Self {
        let site = parts.config.site.clone();
        let mut supervisor = SupervisorActor {
            slots: Slots::default(),
            config: parts.config,
            source: CountedSource::new(parts.root),
            transports: parts.transports,
            upstream: parts.upstream,
            phase: Lifecycle::Starting,
            reloading: Reloading::Idle,
            clock: Clock::default(),
            paused: parts.paused,
            hooks: Hooks::new(parts.children),
            heartbeats: Heartbeats::default(),
            log: parts.log,
            outside: DaemonLine::new(parts.progress, parts.guard),
        };
        for (at, (node, outbox)) in site.nodes.iter().zip(parts.outboxes).enumerate() {
            let link = supervisor.link(at, node, outbox, NodeRecord::default(), Heard::default());
            supervisor.slots.insert(node.clone(), link, Membership::Staying);
        }
        supervisor.hooks.adapt(&site, &supervisor.slots, &supervisor.log);
        supervisor
    }

    /// Tells that the daemon is further.
    fn tell(&self, change: impl FnOnce(&mut DaemonProgress)) {
        self.outside.tell(self.slots.members().count(), change);
    }

    fn link(&mut self, slot: usize, node: &Node, outbox: Outbox, record: NodeRecord, heard: Heard) -> NodeLink {
        let transport = (self.transports)(&self.config, node, slot);
        let reports = heard.clone();
        transport.tell(move |transport| transport.report_to(&reports));
        let site = &self.config.site;
        NodeLink {
            slot,
            key: state::key(site, node),
            outbox,
            unsaved: self.upstream.unsaved.clone(),
            transport,
            progress: Latest::default(),
            settings: NodeSettings {
                keeps_removed: site.at(node).delete.keeps_removed(),
                bulk_size: site.bulk_size,
                excludes: site.excludes.clone(),
            },
            record,
            heard,
            root: self.source.root().clone(),
            log: self.log.new(o!("node" => node.name().to_owned())),
        }
    }

    fn launch(&mut self, at: usize, ctx: &mut Context<Self>) {
        if self.phase == Lifecycle::Starting || self.phase.has_ended() || !self.slots.may_start(at) {
            return;
        }
        let Some(slot) = self.slots.get(at) else { return };
        let order = self.phase.first_order(slot.membership, self.paused.has(&slot.node));
        let address = ctx.address();
        let handle = SupervisorHandle {
            died: address.clone().recipient(),
            succeeded: address.clone().recipient(),
            settled: address.clone().recipient(),
            mirrored: address.clone().recipient(),
            drained: address.recipient(),
            reported: self.upstream.reported.clone(),
        };
        let outbox = slot.link.outbox.clone();
        let reconcile = std::mem::take(&mut slot.reconcile);
        if reconcile {
            outbox.lock().want_reconcile();
        }
        let actor = SyncActor::start_at(slot.link.clone(), handle, order);
        self.upstream.serve.do_send(Serve { slot: at, outbox, wake: Some(actor.clone().recipient()) });
        slot.worker = Worker::Working(actor);
        if reconcile {
            self.keep();
        }
    }

    /// Paths that some node of the site does not have.
    fn pending(&self) -> usize {
        self.slots.members().map(|slot| slot.link.outbox.lock().lacking()).sum()
    }

    fn watching(&mut self, directories: usize, ctx: &mut Context<Self>) {
        self.proceed(LifecycleEvent::Watching, ctx);
        // Where the last run ended, or with a reconcile.
        if !self.upstream.take_up_work(&self.slots, &self.config.site) {
            self.want_reconciles();
        }
        self.keep();
        // Before anything is removed at a node.
        self.begin_heartbeats(ctx);
        for at in self.slots.numbers(|_| true) {
            self.launch(at, ctx);
        }
        ScheduledTask::ALL.into_iter().for_each(|task| self.schedule_anew(task));
        self.wait_for_tasks(ctx);
        self.tell(|progress| progress.watching = Some(directories));
    }

    /// Tells of which nodes the state is.
    fn keep(&self) {
        if self.phase != Lifecycle::Starting {
            self.upstream.keep(&self.config.site, &self.slots);
        }
    }

    fn want_reconciles(&self) {
        if self.config.site.compares_unknown() {
            self.slots.staying().for_each(|slot| slot.link.outbox.lock().want_reconcile());
        }
    }

    /// A SyncActor died, and its node needs another one.
    fn died(&mut self, at: usize, panicked: bool, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get(at) else { return };
        slot.deaths += 1;
        let delay = backoff(slot.deaths, fastrand::f64());
        let why = if panicked { "it panicked" } else { "it stopped" };
        slot.link.record.died(panicked);
        warn!(slot.link.log, "sync actor restarts"; "why" => why, "in_ms" => delay.as_millis(),
            "pending" => slot.link.outbox.lock().len());
        ctx.run_later(delay, move |supervisor, ctx| supervisor.launch(at, ctx));
    }

    /// Gives every node its turns of a task anew.
    fn schedule_anew(&mut self, task: ScheduledTask) {
        self.clock.schedule_anew(task, &self.config.site, &mut self.slots, Instant::now());
    }

    fn wait_for_tasks(&mut self, ctx: &mut Context<Self>) {
        self.clock.wait(&self.slots, ctx);
    }

    fn run_tasks(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Lifecycle::Running {
            return;
        }
        if self.clock.run_tasks(&self.config.site, &mut self.slots, Instant::now()) {
            self.upstream.audit.do_send(Audit);
        }
        self.wait_for_tasks(ctx);
    }

    fn adapt_hooks(&mut self) {
        self.hooks.adapt(&self.config.site, &self.slots, &self.log);
    }

    /// Runs the hooks that have something to be told, and looks again when more may have.
    fn advance_hooks(&mut self, ctx: &mut Context<Self>) {
        self.hooks.timer().cancel(ctx);
        let step = self.phase.step();
        if step == Some(Step::Save) || self.phase.has_ended() {
            return;
        }
        let now = Instant::now();
        let due = self.hooks.advance(&self.config.site, &self.slots, step == Some(Step::Tell), now);
        for (whose, run) in due.runs {
            let run = run.into_actor(self);
            ctx.spawn(run.map(move |result, supervisor, ctx| {
                if !supervisor.phase.has_ended() {
                    supervisor.hooks.ended(whose, result, now);
                    supervisor.hook_ended(ctx);
                }
            }));
        }
        self.hooks.timer().set(due.look_at, ctx, Self::advance_hooks);
    }

    fn hook_ended(&mut self, ctx: &mut Context<Self>) {
        self.adapt_hooks();
        self.advance_hooks(ctx);
        self.hooks.forget_orphans();
        self.end_if_drained(ctx);
    }

    /// Lets the hooks hear what the runs for a node changed.
    fn hear(&mut self, at: usize, tally: transport::Tally) {
        if let Some(slot) = self.slots.get(at) {
            self.hooks.hear(slot, tally);
        }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;
}

impl Handler<WatchReport> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, report: WatchReport, ctx: &mut Self::Context) {
        watch_log::log_report(&self.log, &report);
        match report {
            WatchReport::Scanning { directories } => self.tell(|progress| progress.scanned = directories),
            WatchReport::Watching { directories } => self.watching(directories, ctx),
            WatchReport::Failed(_) => {
                self.phase = Lifecycle::Ended { then: Then::Exit };
                self.slots.clear();
                self.outside.end(Ending::Unwatchable);
            }
            WatchReport::RootSuperseded => self.hasten(LifecycleEvent::Superseded, ctx),
            WatchReport::RootLost(_) => self.slots.actors().for_each(|actor| actor.do_send(SourceLost)),
            WatchReport::Blind { .. } | WatchReport::Unmounted { .. } | WatchReport::Unseen(_) => (),
        }
    }
}

impl Handler<Rescan> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Rescan { subtree, reason }: Rescan, _: &mut Self::Context) {
        self.source.lost_track(reason);
        watch_log::log_rescan(&self.log, &subtree, reason);
    }
}

impl Handler<Reached> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Reached(heard): Reached, _: &mut Self::Context) {
        reached::reached(heard, &self.slots, &self.log);
    }
}

impl Handler<Died> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Died { slot: at, panicked }: Died, ctx: &mut Self::Context) {
        let Some(slot) = self.slots.get(at) else { return };
        slot.link.outbox.lock().roll_back();
        let succession = slot.worker.succession(panicked, slot.membership);
        slot.worker = Worker::None;
        slot.link.record.reconciles(false);
        if self.phase.has_ended() {
            return;
        }
        if matches!(succession, Succession::Now | Succession::SoonAfter) {
            // In the new way it may succeed. What was in flight when the reload came failed in the old one.
            slot.link.outbox.lock().try_now();
        }
        match succession {
            Succession::Now => self.launch(at, ctx),
            Succession::SoonAfter => {
                ctx.run_later(transport::LINGERS, move |supervisor, ctx| supervisor.launch(at, ctx));
            }
            Succession::AfterBackoff => self.died(at, panicked, ctx),
            Succession::Dismiss => self.dismiss(at, ctx),
            Succession::Forget => self.forget(at, ctx),
        }
    }
}

impl Handler<Succeeded> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Succeeded { slot }: Succeeded, _: &mut Self::Context) {
        if let Some(slot) = self.slots.get(slot) {
            slot.deaths = 0;
        }
    }
}

impl Handler<Settled> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Settled { slot, tally }: Settled, ctx: &mut Self::Context) {
        if !self.hooks.is_empty() {
            self.hear(slot, tally);
            self.advance_hooks(ctx);
        }
    }
}

impl Handler<DirMove> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, moved: DirMove, ctx: &mut Self::Context) {
        let site = &self.config.site;
        let dir_moves: BTreeSet<DirMoves> = site.nodes.iter().map(|node| site.at(node).dir_moves).collect();
        if dir_moves.contains(&DirMoves::Log) && !matches!(moved, DirMove::In { .. }) {
            let tell = |supervisor: &mut Self, _: &mut _| move_log::log_unmirrored(&supervisor.log, &supervisor.slots);
            ctx.run_later(move_log::GATHERS, tell);
        }
        move_log::log_move(&self.log, &moved, &dir_moves);
    }
}

impl Handler<Mirrored> for SupervisorActor {
    type Result = ();

    /// Logs one line for each node and move.
    fn handle(&mut self, Mirrored { slot, moved }: Mirrored, _: &mut Self::Context) {
        let Some(slot) = self.slots.get(slot) else { return };
        info!(slot.link.log, "directory moved: mirrored, {} bytes sent", moved.bytes; "from" => %moved.from, "to" => %moved.to);
    }
}
