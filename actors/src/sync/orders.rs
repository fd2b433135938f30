//! Obeys the orders of the supervisor: reports a drain, stands still, ends. What follows from which order is decided in
//! [`order`](crate::order).

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::{Comparing, SyncActor};
use crate::messages::{Drained, Obey, TryNow};
use crate::order::{DrainLeft, WorkOrder};

/// A drain does not wait for what is due later than this.
const PATIENCE: Duration = Duration::from_secs(1);

impl SyncActor {
    /// Prepares for an order that was given.
    pub(super) fn prepare(&self, order: WorkOrder) {
        match order {
            WorkOrder::Drain { .. } => self.link.outbox.lock().hurry(),
            WorkOrder::Retire | WorkOrder::Abort => self.link.transport.retire(),
            WorkOrder::Work | WorkOrder::Pause | WorkOrder::Finish { .. } | WorkOrder::Rest => (),
        }
    }

    /// Starts nothing, and keeps nothing ready.
    pub(super) fn stand_still(&mut self, now: Instant) {
        self.note_emptied();
        // What ran when it was paused has started the next standby.
        self.link.transport.rest();
        self.report_if_drained(now);
    }

    /// Reports the end of a drain: nothing is left of what was to be sent, or nothing more can be done about it now.
    pub(super) fn report_if_drained(&mut self, now: Instant) {
        let Some(until) = self.order.drains_until() else { return };
        let outbox = self.link.outbox.lock();
        let may_go = || self.order.sends() && outbox.is_to_go(until, now, now + PATIENCE);
        let left = match outbox.is_sending(until) || may_go() {
            true => DrainLeft::Changes,
            false if self.in_flight > 0 => DrainLeft::Batches,
            false => DrainLeft::Nothing,
        };
        drop(outbox);
        let (order, is_drained) = self.order.after(left, self.health.is_failing());
        self.order = order;
        if is_drained {
            self.supervisor.drained.do_send(Drained { slot: self.link.slot });
        }
    }

    /// Ends a SyncActor for which another one takes over, once nothing is in flight.
    pub(super) fn end_if_idle(&self, ctx: &mut Context<Self>) {
        if self.in_flight == 0 && self.comparing != Comparing::Reconcile {
            ctx.stop();
        }
    }
}

impl Handler<Obey> for SyncActor {
    type Result = ();

    fn handle(&mut self, Obey(wanted): Obey, ctx: &mut Self::Context) {
        self.order = self.order.next(wanted);
        self.prepare(wanted);
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
