//! The comparison by content at one node (`verify_every`): when it may run beside the batches, and what is said of it.

use std::time::{Instant, SystemTime};

use actix::prelude::*;
use slog::{debug, info, warn};

use super::report::log_verified;
use super::{Comparing, SyncActor};
use crate::messages::Verify;
use crate::path::RelPath;
use crate::status::unix;
use crate::transport::comparison::Comparison;
use crate::transport::failure::{Cause, Failure};
use crate::work_order::WorkOrder;

impl SyncActor {
    /// Returns true if only the source may speak against a comparison.
    fn may_verify(&self) -> bool {
        self.order == WorkOrder::Work && self.comparing != Comparing::Reconcile && self.health.is_well()
    }

    fn start_verify(&mut self, ctx: &mut Context<Self>) {
        let started = Instant::now();
        let since = unix(SystemTime::now());
        let kept = self.link.outbox.lock().hidden_about(&RelPath::root()).into_iter().collect();
        let outbox = self.link.outbox.clone();
        let record = self.link.record.clone();
        let is_pending = move |path: &RelPath| outbox.lock().is_pending(path) || record.was_sent_since(path, since);
        debug!(self.link.log, "verify");
        let running = self.link.transport().verify(kept, Box::new(is_pending));
        let running = self.link.root.reach().clone().while_it_answers(|_| true, running);
        let ended = running.into_actor(self).map(move |result, actor, ctx| match result {
            Ok(result) => actor.verify_ended(&result, started),
            Err(_) => actor.end_verify(ctx),
        });
        self.comparing = Comparing::Content(ctx.spawn(ended));
    }

    fn verify_ended(&mut self, result: &Result<Comparison, Failure>, started: Instant) {
        self.comparing = Comparing::Nothing;
        match result {
            Ok(comparison) => {
                self.link.record.verified(Ok(comparison), started);
                log_verified(&self.link.log, comparison, started, true);
            }
            // That is said by who has something to send.
            Err(why) if why.cause == Cause::SourceGone => debug!(self.link.log, "not verified"; "why" => %why),
            Err(why) => {
                self.link.record.verified(Err(why), started);
                warn!(self.link.log, "not verified"; "why" => %why);
            }
        }
    }

    /// Gives up a comparison that should not go on now. Another one is asked for in a while.
    pub(super) fn end_verify_unless_well(&mut self, ctx: &mut Context<Self>) {
        if !self.may_verify() {
            self.end_verify(ctx);
        }
    }

    /// Gives up a comparison. Its rsync ends with it.
    pub(super) fn end_verify(&mut self, ctx: &mut Context<Self>) {
        if let Comparing::Content(verifying) = self.comparing {
            info!(self.link.log, "not verified: it gives way, and begins anew in a while");
            ctx.cancel_future(verifying);
            self.comparing = Comparing::Nothing;
        }
    }
}

impl Handler<Verify> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Verify, ctx: &mut Self::Context) {
        let reconciles = self.link.outbox.lock().reconciles();
        let may_start = self.comparing == Comparing::Nothing && self.may_verify() && !reconciles;
        if may_start && !self.link.root.reach().is_silent() && self.link.root.check().is_ok() {
            self.start_verify(ctx);
        }
    }
}
