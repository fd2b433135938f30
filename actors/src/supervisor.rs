//! Keeps the nodes served: starts a SyncActor for each, restarts those that fail, logs directory moves, runs the hooks, and
//! leads the reload and the orderly stop.

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

use crate::transport::Transport;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, debug, error, info, o, warn};
use tokio::sync::watch;

use self::hooks::Hooks;
use self::life::{Event, Membership, Phase, Reloading, Step, Succession, Then, Worker};
use self::paused::Paused;
use self::pulse::Standing;
use self::resync::{Chore, Clock};
use self::slots::{Slot, Slots};
use self::status::Tally;
use crate::backoff::backoff;
use crate::children::Children;
use crate::ending::{Ending, EndsDaemon};
use crate::messages::{
    Alive, AskSeen, Audit, Compare, Died, Exclude, Flush, Reason, Rescan, Save, Serve, SourceLost, Succeeded, Vacate,
    WatchReport,
};
use crate::node::Node;
use crate::order::Order;
use crate::outbox::Outbox;
use crate::outbox::unsaved::Unsaved;
use crate::reload::Edition;
use crate::root::Root;
use crate::site::InitialSync;
use crate::state::memory::Resumed;
use crate::state::{self, Keep, Kept};
use crate::status::record::Record;
use crate::sync::{Link, Superior, SyncActor};
use crate::transport::heard::Heard;
use crate::transport::progress::Latest;
use crate::watcher::sight::Sight;

/// Makes the way to a node, at the start and when a reload asks for another one.
pub type Ways = Box<dyn FnMut(&Edition, &Node) -> Rc<dyn Transport>>;

/// How long the far side of an rsync that was given up may take to remove its temporary file: a run before that would have
/// its directory times overtaken.
const LINGERS: Duration = Duration::from_secs(2);

/// Starts, restarts and stops the SyncActors.
///
/// Receives, by what it is about: from the watcher [`WatchReport`]; for the log [`Rescan`],
/// [`DirMove`](crate::messages::DirMove); from SyncActors [`Died`], [`Succeeded`], [`Mirrored`](crate::messages::Mirrored),
/// [`Settled`](crate::messages::Settled), [`Drained`](crate::messages::Drained); for the stop [`Stop`](crate::messages::Stop),
/// [`Restart`](crate::messages::Restart), [`Flushed`](crate::messages::Flushed), [`Saved`](crate::messages::Saved); for the
/// reload [`Reload`](crate::messages::Reload), [`Exclude`]; for a service manager [`Alive`]; questions
/// [`AskStatus`](crate::messages::AskStatus), [`AskPath`](crate::messages::AskPath), and
/// [`Pause`](crate::messages::Pause). Sends: [`Front`], and to the SyncActors
/// [`Obey`](crate::messages::Obey), [`Resync`](crate::messages::Resync), [`Verify`](crate::messages::Verify) and
/// [`SourceLost`]. It owns the outboxes, so
/// what is pending outlives every SyncActor; `actix::Supervisor` would not survive a panic. A panic of its own ends the
/// daemon.
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
    tally: Tally,
    standing: watch::Sender<Standing>,
    paused: Paused,
    hooks: Hooks,
    log: Logger,
    guard: EndsDaemon,
}

/// The actors in front of the SyncActors. They report to the supervisor, so they are started with its address before it
/// runs itself: a report that came before it knew them would be lost on it.
pub struct Front {
    /// The filter.
    pub serve: Recipient<Serve>,
    /// The filter.
    pub vacate: Recipient<Vacate>,
    /// The watcher.
    pub flush: Recipient<Flush>,
    /// The watcher.
    pub exclude: Recipient<Exclude>,
    /// The watcher.
    pub audit: Recipient<Audit>,
    /// The watcher.
    pub seen: Recipient<AskSeen>,
    /// What it watches.
    pub sight: Sight,
    /// The watcher and the filter.
    pub alive: [Recipient<Alive>; 2],
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
    /// A supervisor of one SyncActor for each node of the site, in their order with these outboxes, which the filter
    /// knows by their place. Hooks are started among `children`.
    pub fn new(
        edition: Edition,
        root: Root,
        (ways, children): (Ways, Children),
        (outboxes, unsaved): (&[Outbox], Unsaved),
        front: Front,
        log: Logger,
        guard: EndsDaemon,
    ) -> Self {
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
            tally: Tally::new(),
            standing: watch::Sender::default(),
            paused: Paused::default(),
            hooks: Hooks::new(children),
            log,
            guard,
        };
        for (at, (node, outbox)) in site.nodes.iter().zip(outboxes).enumerate() {
            let link = supervisor.link(at, node, outbox.clone(), Record::default(), Heard::default());
            supervisor.slots.insert(node.clone(), link, Membership::Staying);
        }
        supervisor.adapt_hooks();
        supervisor
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
        Chore::ALL.into_iter().for_each(|chore| self.spread_turns(chore, ctx));
        self.tell(|standing| standing.watching = Some(directories));
    }

    /// Goes on where the last run ended, or begins with a reconcile.
    fn take_up_work(&mut self) {
        let past = self.front.state.as_mut().and_then(|state| state.past.take());
        if let Some(mut past) = past {
            for slot in self.slots.staying() {
                past.hide(&slot.link.outbox);
                if !past.take_up(&slot.link.key, &slot.link.outbox)
                    && self.edition.site.initial_sync != InitialSync::Off
                {
                    slot.link.outbox.lock().want_reconcile();
                }
            }
            self.front.state.as_ref().inspect(|state| state.compare.do_send(Compare { unsaved_names: !past.complete }));
        } else {
            self.want_reconciles();
        }
        self.keep();
    }

    /// Tells of which nodes the state is. Not yet of one that lacks what is not in its outbox.
    fn keep(&self) {
        if let Some(state) = &self.front.state
            && self.phase != Phase::Starting
        {
            let site = &self.edition.site;
            let (excludes, deletes) = (site.excludes.clone(), site.initial_sync == InitialSync::Full);
            let known = self.slots.staying().filter(|slot| !slot.reconcile);
            let kept = |slot: &Slot| Kept { key: slot.link.key.clone(), outbox: slot.link.outbox.clone() };
            state.keep.do_send(Keep { nodes: known.map(kept).collect(), excludes, deletes });
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
