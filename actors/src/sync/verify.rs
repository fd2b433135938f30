//! The comparison by content at one node (`verify_every`): when it may run beside the batches, and what is said of it.

use std::time::{Instant, SystemTime};

use actix::prelude::*;
use slog::{debug, info, warn};

use super::SyncActor;
use super::report::log_verified;
use crate::messages::Verify;
use crate::path::RelPath;
use crate::status::unix;
use crate::transport::comparison::Comparison;
use crate::transport::failure::{Cause, Failure};

impl SyncActor {
    /// Whether nothing speaks against a comparison but the source.
    fn may_verify(&self) -> bool {
        let idle = !self.reconcile_runs && self.draining.is_none() && !self.retiring;
        idle && self.health.is_well() && !self.link.record.is_paused()
    }

    fn start_verify(&mut self, ctx: &mut Context<Self>) {
        let (started, since) = (Instant::now(), unix(SystemTime::now()));
        let kept = self.link.outbox.lock().hidden_about(&RelPath::root()).into_iter().collect();
        let (outbox, record) = (self.link.outbox.clone(), self.link.record.clone());
        let is_pending = move |path: &RelPath| outbox.lock().is_pending(path) || record.was_sent_since(path, since);
        debug!(self.link.log, "verify");
        let running = self.link.transport.clone().verify(kept, Box::new(is_pending));
        let ended = running.into_actor(self).map(move |result, actor, _| actor.verify_ended(&result, started));
        self.verifying = Some(ctx.spawn(ended));
    }

    fn verify_ended(&mut self, result: &Result<Comparison, Failure>, started: Instant) {
        self.verifying = None;
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
        if let Some(verifying) = self.verifying.take() {
            info!(self.link.log, "not verified: it gives way, and begins anew in a while");
            ctx.cancel_future(verifying);
        }
    }
}

impl Handler<Verify> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Verify, ctx: &mut Self::Context) {
        let reconciles = self.link.outbox.lock().reconciles();
        let may_start = self.verifying.is_none() && self.may_verify() && !reconciles;
        if may_start && self.link.root.check().is_ok() {
            self.start_verify(ctx);
        }
    }
}
