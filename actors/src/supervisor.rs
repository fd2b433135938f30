//! Keeps the nodes served: starts a SyncActor for each, restarts those that fail, logs directory moves, runs the hooks, and
//! leads the reload and the orderly stop.

mod front;
mod hooks;
mod life;
mod moves;
pub mod paused;
pub mod pulse;
mod reload;
mod resync;
mod slots;
mod status;
mod stop;
mod unseen;

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, error, info, o, warn};
use tokio::sync::watch;

pub use self::front::{Front, Parts, Recall, Ways};
use self::hooks::Hooks;
use self::life::{Event, Membership, Phase, Reloading, Step, Succession, Then, Worker};
use self::paused::Paused;
use self::pulse::Standing;
use self::resync::{Chore, Clock};
use self::slots::Slots;
use self::status::Tally;
use crate::backoff::backoff;
use crate::ending::{Ending, EndsDaemon};
use crate::messages::{
    Audit, Died, DirMove, Flush, Mirrored, Reason, Rescan, Serve, Settled, SourceLost, Succeeded, WatchReport,
};
use crate::node::Node;
use crate::order::Order;
use crate::outbox::Outbox;
use crate::outbox::unsaved::Unsaved;
use crate::reload::Edition;
use crate::root::Root;
use crate::site::{DirMoves, InitialSync};
use crate::state;
use crate::status::record::Record;
use crate::sync::{Link, Superior, SyncActor};
use crate::timer::Timer;
use crate::transport;
use crate::transport::heard::Heard;
use crate::transport::progress::Latest;

/// How long the far side of an rsync that was given up may take to remove its temporary file: a run before that would have
/// its directory times overtaken.
const LINGERS: Duration = Duration::from_secs(2);

/// Starts, restarts and stops the SyncActors.
///
/// Receives [`WatchReport`], and for the log [`Rescan`] and [`DirMove`]; from SyncActors [`Died`], [`Succeeded`],
/// [`Mirrored`], [`Settled`]; what is about a stop in `stop`, a reload in `reload`, and questions in `status`. Sends
/// [`Front`] what it takes, and to the SyncActors [`Obey`](crate::messages::Obey), [`TryNow`](crate::messages::TryNow),
/// [`Resync`](crate::messages::Resync), [`Verify`](crate::messages::Verify) and [`SourceLost`].
///
/// It owns the outboxes, so what is pending outlives every SyncActor; `actix::Supervisor` would not survive a panic. A panic
/// of its own ends the daemon.
pub struct SupervisorActor {
    slots: Slots,
    edition: Edition,
    root: Root,
    ways: Ways,
    unsaved: Unsaved,
    front: Front,
    phase: Phase,
    /// Flushes that have not come back. Those that were asked for at different times may overtake each other, so only
    /// when none is left, everything before the last has come.
    flushes: usize,
    reloading: Reloading,
    clock: Clock,
    /// Runs at the time of the clock.
    clock_timer: Timer,
    tally: Tally,
    standing: watch::Sender<Standing>,
    paused: Paused,
    hooks: Hooks,
    /// Runs when the hooks are to be looked at again.
    hooks_timer: Timer,
    log: Logger,
    guard: EndsDaemon,
}

impl SupervisorActor {
    /// A supervisor of one SyncActor for each node of the site, in their order.
    pub fn new(parts: Parts) -> Self {
        let Parts { edition, root, ways, children, outboxes, unsaved, front, standing, paused, log, guard } = parts;
        let site = edition.site.clone();
        let mut supervisor = SupervisorActor {
            slots: Slots::default(),
            edition,
            root,
            ways,
            unsaved,
            front,
            phase: Phase::Starting,
            flushes: 0,
            reloading: Reloading::Idle,
            clock: Clock::default(),
            clock_timer: Timer::default(),
            tally: Tally::new(),
            standing,
            paused,
            hooks: Hooks::new(children),
            hooks_timer: Timer::default(),
            log,
            guard,
        };
        for (at, (node, outbox)) in site.nodes.iter().zip(outboxes).enumerate() {
            let link = supervisor.link(at, node, outbox, Record::default(), Heard::default());
            supervisor.slots.insert(node.clone(), link, Membership::Staying);
        }
        supervisor.hooks.adapt(&site, &supervisor.slots, &supervisor.log);
        supervisor
    }

    /// Tells that the daemon is further.
    fn tell(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(|standing| {
            standing.nodes = self.slots.members().count();
            change(standing);
        });
    }

    fn link(&mut self, slot: usize, node: &Node, outbox: Outbox, record: Record, heard: Heard) -> Link {
        let transport = (self.ways)(&self.edition, node);
        transport.report_to(&heard);
        let site = &self.edition.site;
        let (bulk_size, excludes) = (site.bulk_size, site.excludes.clone());
        let log = self.log.new(o!("node" => node.name().to_owned()));
        let (key, unsaved, root) = (state::key(site, node), self.unsaved.clone(), self.root.clone());
        let progress = Latest::default();
        Link { slot, key, outbox, unsaved, transport, progress, bulk_size, record, heard, root, excludes, log }
    }

    fn launch(&mut self, at: usize, ctx: &mut Context<Self>) {
        if self.phase == Phase::Starting || self.phase.has_ended() || !self.slots.may_start(at) {
            return;
        }
        let step = self.phase.step();
        let Some(slot) = self.slots.get(at) else { return };
        let mut order = if self.paused.has(&slot.node) { Order::Pause } else { Order::Work };
        if step >= Some(Step::Drain) || slot.membership == Membership::Leaving {
            order = order.next(Order::drain());
        }
        if step >= Some(Step::Tell) {
            order = order.next(Order::Rest);
        }
        let address = ctx.address();
        let superior = Superior {
            died: address.clone().recipient(),
            succeeded: address.clone().recipient(),
            settled: address.clone().recipient(),
            mirrored: address.clone().recipient(),
            drained: address.recipient(),
        };
        let outbox = slot.link.outbox.clone();
        let reconcile = std::mem::take(&mut slot.reconcile);
        if reconcile {
            outbox.lock().want_reconcile();
        }
        let actor = SyncActor::new(slot.link.clone(), superior, order).start();
        self.front.serve.do_send(Serve { slot: at, outbox, wake: Some(actor.clone().recipient()) });
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
        info!(self.log, "watching"; "directories" => directories);
        self.proceed(Event::Watching, ctx);
        self.take_up_work();
        for at in self.slots.numbers(|_| true) {
            self.launch(at, ctx);
        }
        Chore::ALL.into_iter().for_each(|chore| self.spread_turns(chore));
        self.wait_for_turns(ctx);
        self.tell(|standing| standing.watching = Some(directories));
    }

    /// Goes on where the last run ended, or begins with a reconcile.
    fn take_up_work(&mut self) {
        if !self.front.take_up_work(&self.slots, self.edition.site.initial_sync) {
            self.want_reconciles();
        }
        self.keep();
    }

    /// Tells of which nodes the state is.
    fn keep(&self) {
        if self.phase != Phase::Starting {
            self.front.keep(&self.edition.site, &self.slots);
        }
    }

    fn want_reconciles(&self) {
        if self.edition.site.initial_sync != InitialSync::Off {
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

    /// Gives every node its turns of a chore anew.
    fn spread_turns(&mut self, chore: Chore) {
        self.clock.spread_turns(chore, &self.edition.site, &mut self.slots, Instant::now());
    }

    fn wait_for_turns(&mut self, ctx: &mut Context<Self>) {
        let next = self.clock.next(&self.slots);
        // What is due now and cannot be done now is not tried without a pause.
        let soon = Instant::now() + Duration::from_millis(1);
        self.clock_timer.set(next.map(|at| at.max(soon)), ctx, Self::take_turns);
    }

    fn take_turns(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Phase::Running {
            return;
        }
        if self.clock.take_turns(&self.edition.site, &mut self.slots, Instant::now()) {
            self.front.audit.do_send(Audit);
        }
        self.wait_for_turns(ctx);
    }

    fn adapt_hooks(&mut self) {
        self.hooks.adapt(&self.edition.site, &self.slots, &self.log);
    }

    /// Runs the hooks that have something to be told, and looks again when more may have.
    fn advance_hooks(&mut self, ctx: &mut Context<Self>) {
        self.hooks_timer.cancel(ctx);
        let step = self.phase.step();
        if step == Some(Step::Save) || self.phase.has_ended() {
            return;
        }
        let now = Instant::now();
        let due = self.hooks.advance(&self.edition.site, &self.slots, step == Some(Step::Tell), now);
        for (whose, run) in due.runs {
            let run = run.into_actor(self);
            ctx.spawn(run.map(move |result, supervisor, ctx| {
                if !supervisor.phase.has_ended() {
                    supervisor.hooks.ended(whose, result, now);
                    supervisor.hook_ended(ctx);
                }
            }));
        }
        self.hooks_timer.set(due.look_at, ctx, Self::advance_hooks);
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

    /// Asks for everything that the kernel has reported.
    fn flush(&mut self) {
        self.flushes += 1;
        self.front.flush.do_send(Flush);
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
                self.tell(|standing| standing.scanned = directories);
            }
            WatchReport::Watching { directories } => self.watching(directories, ctx),
            WatchReport::Failed(error) => {
                error!(self.log, "the source cannot be watched"; "why" => %error);
                self.phase = Phase::Ended { then: Then::Exit };
                self.guard.end(Ending::Unwatchable);
            }
            WatchReport::Blind { path, why } => {
                warn!(self.log, "a directory is not watched: changes in it are not seen"; "path" => %path, "why" => %why);
            }
            WatchReport::Unmounted { path } => {
                warn!(self.log, "a file system was unmounted: the nodes keep its content until it is mounted again or the directory is removed"; "from" => %path);
            }
            WatchReport::RootSuperseded => self.hasten(Event::Superseded, ctx),
            WatchReport::Unseen(unseen) => unseen::log_unseen(&self.log, &unseen),
            WatchReport::RootLost(why) => {
                error!(self.log, "the source was moved, deleted or unmounted: nothing is sent until it is back"; "why" => %why);
                self.slots.actors().for_each(|actor| actor.do_send(SourceLost));
            }
        }
    }
}

impl Handler<Rescan> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Rescan { subtree, reason }: Rescan, _: &mut Self::Context) {
        self.tally.lost_track(reason);
        match reason {
            // Said once for all of them, and not at each poll.
            Reason::WatchLimit => debug!(self.log, "comparing again"; "subtree" => %subtree, "why" => %reason),
            _ => warn!(self.log, "comparing again"; "subtree" => %subtree, "why" => %reason),
        }
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
                ctx.run_later(LINGERS, move |supervisor, ctx| supervisor.launch(at, ctx));
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
        let dir_moves = self.edition.site.dir_moves;
        if dir_moves == DirMoves::Log && !matches!(moved, DirMove::In { .. }) {
            let tell = |supervisor: &mut Self, _: &mut _| moves::log_unmirrored(&supervisor.log, &supervisor.slots);
            ctx.run_later(moves::GATHERS, tell);
        }
        moves::log_move(&self.log, &moved, dir_moves);
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
