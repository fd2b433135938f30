//! What is still done before the daemon stops, or the node leaves: what was changed before is sent. What changes meanwhile is
//! sent as long as that lasts; then nothing more is started, and what is in flight ends. So a stop ends where changes never
//! cease, and breaks nothing off.

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::SyncActor;
use crate::messages::{Drain, Drained};

/// What is due later than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

impl SyncActor {
    /// Answers [`Drain`]: nothing is left of what was to be sent, or nothing more can be done about it now.
    pub(super) fn report_if_drained(&mut self, now: Instant) {
        let Some(since) = self.draining else { return };
        let outbox = self.link.outbox.lock();
        let busy =
            outbox.is_sending(since) || !self.link.record.is_paused() && outbox.is_to_go(since, now, now + PATIENCE);
        drop(outbox);
        self.resting |= !busy;
        if self.resting && self.in_flight == 0 || self.health.is_failing() {
            self.draining = None;
            self.superior.drained.do_send(Drained { slot: self.link.slot });
        }
    }
}

impl Handler<Drain> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = Some(Instant::now());
        self.link.outbox.lock().hurry();
        self.advance(ctx);
    }
}
