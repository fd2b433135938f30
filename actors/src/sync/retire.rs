//! What the supervisor asks of a SyncActor besides work: to make room for another one, to pause, to rest at the end, and to
//! compare everything now and then. When that is due is for [`resync`](super::resync).

use std::time::Instant;

use actix::prelude::*;
use slog::debug;

use super::SyncActor;
use crate::messages::{Rest, Resync, Retire, TryNow};

impl SyncActor {
    /// Ends a SyncActor that is to start nothing more.
    pub(super) fn end_if_idle(&self, ctx: &mut Context<Self>) {
        if self.in_flight == 0 && !self.reconcile_runs {
            ctx.stop();
        }
    }

    /// Starts nothing, and keeps nothing ready, while somebody has paused the node, or before the end.
    pub(super) fn stay_paused(&mut self, now: Instant) {
        self.note_emptied();
        // What ran when it was paused has started the next standby.
        self.link.transport.rest();
        self.report_if_drained(now);
    }
}

impl Handler<Retire> for SyncActor {
    type Result = ();

    fn handle(&mut self, Retire { at_once }: Retire, ctx: &mut Self::Context) {
        self.retiring = true;
        self.link.transport.retire();
        if at_once { ctx.stop() } else { self.advance(ctx) }
    }
}

impl Handler<Rest> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
        self.resting = true;
        self.advance(ctx);
    }
}

impl Handler<Resync> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Resync, ctx: &mut Self::Context) {
        let mut outbox = self.link.outbox.lock();
        // A verification would be given up for it, and begin from the start. It is asked for again in a while.
        if !self.health.is_well() || outbox.reconciles() || self.verifying.is_some() {
            return;
        }
        debug!(self.link.log, "comparing everything (resync_every)");
        outbox.want_resync();
        drop(outbox);
        self.advance(ctx);
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
