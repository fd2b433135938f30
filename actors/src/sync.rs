//! Brings one node up to date, batch by batch. What the node does not have yet is in its
//! [`Outbox`](crate::outbox::Outbox), which outlives the actor; what rsync must be told is decided in [`mod@plan`]; how
//! it is told is the [`Transport`](crate::transport::Transport)'s business.

mod around;
mod batch;
mod beside;
pub mod disk;
mod hard_links;
mod lanes;
mod node_link;
mod orders;
mod pace;
pub mod plan;
mod reconcile;
pub mod report;
pub(crate) mod resync;
mod verify;

use std::time::Instant;

use actix::prelude::*;
use slog::{debug, error, info, warn};

use self::around::Around;
use self::lanes::Lanes;
pub(crate) use self::node_link::{NodeLink, NodeSettings, SupervisorHandle};
use self::report::log_unset;
use crate::health::StoredPart;
use crate::health::{Health, HealthChange};
use crate::messages::{Died, Drained, Obey, Settled, SourceLost, Succeeded, TryNow, Wake};
use crate::root::RootError;
use crate::timer::Timer;
use crate::transport::Delivery;
use crate::transport::Lane;
use crate::transport::failure::{Cause, Failure};
use crate::work_order::WorkOrder;

/// Works off one node's outbox.
///
/// Receives: [`Wake`], [`Obey`], [`SourceLost`], [`Resync`](crate::messages::Resync),
/// [`Verify`](crate::messages::Verify), [`TryNow`]. Sends: [`Succeeded`], [`Settled`],
/// [`Drained`], and [`Died`] when it is gone. One batch of each lane, or several of the fast one over a long line, and a
/// reconcile or a comparison by content are worked on at a time, beside batches of which only the end is missing. Stops when rsync
/// cannot be started, or when it was told to retire. A restart forgets the backoff of the node, and nothing that is
/// pending.
pub(crate) struct SyncActor {
    link: NodeLink,
    supervisor: SupervisorHandle,
    order: WorkOrder,
    health: Health,
    lanes: Lanes,
    comparing: Comparing,
    /// `true` if the last reconcile would have deleted too much.
    reconcile_held: bool,
    timer: Timer,
    /// Parts that were compared around mounts which do not answer.
    around: Around,
    _death_notice: DeathNotice,
}

/// The comparison of the whole tree that goes on.
#[derive(Debug, PartialEq, Eq)]
enum Comparing {
    Nothing,
    /// Entries that differ are made equal.
    Reconcile,
    /// The content is compared, and what differs is only told. The future ends the comparison when it is dropped.
    Content(SpawnHandle),
}

/// Tells the supervisor that the actor is gone: runs when the actor stops and when it panics.
struct DeathNotice {
    slot: usize,
    died: Recipient<Died>,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        let notice = Died { slot: self.slot, panicked: std::thread::panicking() };
        let died = self.died.clone();
        // The runs of the actor are dropped after it, on this thread: when they are gone, the supervisor may know.
        let is_told = Arbiter::try_current().is_some_and(|thread| {
            let (notice, died) = (notice.clone(), died.clone());
            thread.spawn_fn(move || died.do_send(notice))
        });
        if !is_told {
            died.do_send(notice);
        }
    }
}

impl SyncActor {
    /// An actor for the node of `link` that begins with this order.
    fn new(link: NodeLink, supervisor: SupervisorHandle, order: WorkOrder) -> Self {
        let _death_notice = DeathNotice { slot: link.slot, died: supervisor.died.clone() };
        SyncActor {
            link,
            supervisor,
            order,
            health: Health::default(),
            lanes: Lanes::default(),
            comparing: Comparing::Nothing,
            reconcile_held: false,
            timer: Timer::default(),
            around: Around::default(),
            _death_notice,
        }
    }

    /// Starts an actor on the thread of its transport.
    pub(crate) fn start_at(link: NodeLink, supervisor: SupervisorHandle, order: WorkOrder) -> Addr<Self> {
        match link.transport.thread().cloned() {
            Some(thread) => SyncActor::start_in_arbiter(&thread, move |_| SyncActor::new(link, supervisor, order)),
            None => SyncActor::new(link, supervisor, order).start(),
        }
    }

    /// Starts whatever may start now, and looks again when the next thing is due.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.timer.cancel(ctx);
        self.end_verify_unless_well(ctx);
        self.around.look(&self.link, self.comparing == Comparing::Reconcile, now);
        if !self.obey(now, ctx) {
            return;
        }
        let look_again = match self.health.may_start(now) {
            Ok(()) => {
                self.start(now, ctx);
                self.health.may_start(now).err().or_else(|| self.next_due(now))
            }
            Err(until) => {
                self.link.note_emptied();
                Some(until)
            }
        };
        self.end_verify_unless_well(ctx);
        let look_again = look_again.filter(|_| !self.link.outbox.lock().is_empty());
        self.timer.set(look_again, ctx, Self::advance);
        self.report_if_drained(now);
    }

    /// Obeys the order: stands still and reports a drain, or ends the actor. Returns true if something may be started.
    fn obey(&mut self, now: Instant, ctx: &mut Context<Self>) -> bool {
        match self.order {
            WorkOrder::Work | WorkOrder::Drain { .. } => return true,
            WorkOrder::Pause | WorkOrder::Finish { .. } | WorkOrder::Rest => {
                self.link.stand_still();
                self.report_if_drained(now);
            }
            // Another one takes over, once nothing is in flight.
            WorkOrder::Retire | WorkOrder::Abort if self.lanes.are_idle() && self.comparing != Comparing::Reconcile => {
                ctx.stop();
            }
            WorkOrder::Retire | WorkOrder::Abort => (),
        }
        false
    }

    /// Reports the end of a drain: nothing is left of what was to be sent, or nothing more can be done about it now.
    fn report_if_drained(&mut self, now: Instant) {
        let Some(until) = self.order.drains_until() else { return };
        let left = self.link.drain_left(self.order, until, self.lanes.are_idle(), now);
        let (order, is_drained) = self.order.after(left, self.health.is_failing());
        self.order = order;
        if is_drained {
            self.supervisor.drained.do_send(Drained { slot: self.link.slot });
        }
    }

    /// The time at which something can start that does not wait for what is in flight.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let reconcile = self.link.outbox.lock().reconcile_due(now);
        Lane::ALL.into_iter().filter_map(|lane| self.lane_due(lane, now)).chain(reconcile).min()
    }

    /// The time at which a batch can start in this lane; `None` while it works on another, and none may go beside that.
    fn lane_due(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let outbox = self.link.outbox.lock();
        if !outbox.works(lane) {
            return outbox.next_due(lane, now).and_then(|due| self.lanes.start(lane, due, now));
        }
        let round_trip = self.link.transport().round_trip().filter(|_| lane == Lane::Fast)?;
        let at = self.lanes.start_beside(outbox.fast_at_work(), round_trip, now)?;
        // Until then it need not be known what waits.
        if at > now { Some(at) } else { outbox.next_beside(now) }
    }

    fn start(&mut self, now: Instant, ctx: &mut Context<Self>) {
        self.link.outbox.lock().set_far(self.link.transport().round_trip().is_some());
        if self.next_due(now).is_none_or(|at| at > now) {
            return;
        }
        if let Err(why) = self.link.root.check() {
            return self.hold(why, now);
        }
        let emptied = self.link.outbox.lock().source_returned(now);
        let news = self.health.released(emptied);
        self.tell(&news, None);
        self.start_reconcile(now, ctx);
        // A batch of the fast lane may leave something to the bulk lane.
        for lane in Lane::ALL {
            if self.lane_due(lane, now).is_some_and(|at| at <= now) && !(lane == Lane::Fast && self.waits(ctx)) {
                self.start_batch(lane, now, ctx);
            }
        }
    }

    /// Holds everything: the source is not what it must be.
    fn hold(&mut self, why: RootError, now: Instant) {
        self.link.transport().rest();
        if why.is_about_content() {
            self.link.outbox.lock().source_emptied();
        }
        let news = self.health.held(why, now);
        self.tell(&news, None);
    }

    /// Returns true if the way to the node will be ready in a moment, which is then waited for.
    fn waits(&mut self, ctx: &mut Context<Self>) -> bool {
        let Some(ready) = self.link.transport().late() else { return false };
        self.lanes.set_late(true);
        let ready = ready.into_actor(self).map(|(), actor, ctx| {
            actor.lanes.set_late(false);
            actor.advance(ctx);
        });
        ctx.spawn(ready);
        true
    }

    /// Notes the end of a run that did not fail as a whole.
    fn ended(&mut self, delivery: &Delivery, stored: StoredPart, started: Instant) {
        self.note_unset(delivery);
        let news = self.health.ended(stored, started);
        self.tell(&news, None);
        self.supervisor.succeeded.do_send(Succeeded { slot: self.link.slot });
        self.supervisor.settled.do_send(Settled { slot: self.link.slot, tally: delivery.tally });
    }

    /// Logs once what arrived without some of its attributes: nothing is gained by trying again.
    fn note_unset(&self, delivery: &Delivery) {
        let mut outbox = self.link.outbox.lock();
        let is_news = outbox.unset().add(&delivery.unset);
        outbox.unset().calm_down();
        drop(outbox);
        if is_news {
            log_unset(&self.link.log, &delivery.unset);
        }
    }

    fn failed(&mut self, failure: &Failure, started: Instant, ctx: &mut Context<Self>) {
        let now = Instant::now();
        match self.link.root.check() {
            Err(why) => self.hold(why, now),
            // The end of the daemon ends its runs: that is no fault of the node.
            Ok(()) if self.is_broken_off(failure) => (),
            Ok(()) if self.health.counts(started) => {
                self.link.record.failed(failure);
                let news = self.health.failed(failure, started, now, fastrand::f64());
                self.tell(&news, Some(failure));
            }
            Ok(()) => (),
        }
        if failure.cause == Cause::NotStarted {
            ctx.stop();
        }
    }

    /// Returns true if a run may have failed because the daemon is about to end.
    fn is_broken_off(&self, failure: &Failure) -> bool {
        let may_end = matches!(self.order, WorkOrder::Finish { .. } | WorkOrder::Rest);
        may_end && (failure.cause.is_vague() || matches!(failure.cause, Cause::NotStarted | Cause::PlaceFails))
    }

    fn tell(&self, news: &HealthChange, failure: Option<&Failure>) {
        self.link.record.health(&self.health);
        let log = &self.link.log;
        let pending = || self.link.outbox.lock().len();
        match (news, failure) {
            (HealthChange::Fails, Some(failure)) if failure.cause.is_lasting() => {
                error!(log, "node failing"; "pending" => pending(), "why" => %failure);
            }
            (HealthChange::Fails, Some(failure)) => {
                warn!(log, "node failing"; "pending" => pending(), "why" => %failure)
            }
            (HealthChange::Held(why @ RootError::Superseded), _) => info!(log, "nothing is sent"; "why" => %why),
            (HealthChange::Held(why), _) => error!(log, "nothing is sent"; "pending" => pending(), "why" => %why),
            (HealthChange::Released, _) => {
                info!(log, "the source has its content again: it is sent, and in 10 s the nodes are compared with it";
                    "pending" => pending());
            }
            (HealthChange::Recovered, _) => info!(log, "node recovered"; "pending" => pending()),
            (_, Some(failure)) => debug!(log, "try failed"; "why" => %failure),
            (_, None) => (),
        }
    }
}

impl Actor for SyncActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.link.record.health(&self.health);
        self.link.prepare(self.order);
        if self.order.sends() {
            self.link.transport().warm();
        }
        // Without content there may be nothing to send either: it is said all the same.
        if let Err(why) = self.link.root.check() {
            self.hold(why, Instant::now());
        }
        self.advance(ctx);
    }
}

impl Handler<Wake> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.link.outbox.hear();
        self.advance(ctx);
    }
}

impl Handler<SourceLost> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: SourceLost, ctx: &mut Self::Context) {
        self.end_verify(ctx);
        // What waits in the source would keep its file system busy, or read a directory that is not the source any
        // more.
        self.link.transport().rest();
    }
}

impl Handler<Obey> for SyncActor {
    type Result = ();

    fn handle(&mut self, Obey(wanted): Obey, ctx: &mut Self::Context) {
        let before = self.order;
        self.order = before.next(wanted);
        self.link.prepare(wanted);
        if before == WorkOrder::Pause && self.order == WorkOrder::Work && self.health.is_well() {
            self.link.transport().wake();
        }
        if self.order == WorkOrder::Abort { ctx.stop() } else { self.advance(ctx) }
    }
}

impl Handler<TryNow> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: TryNow, ctx: &mut Self::Context) {
        self.health.try_now(Instant::now());
        self.link.record.health(&self.health);
        self.link.outbox.lock().try_now();
        self.advance(ctx);
    }
}
