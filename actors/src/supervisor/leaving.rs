//! A node that a reload removes: it gets what was changed before, within `stop_timeout`, and is forgotten.

use actix::prelude::*;
use slog::{info, warn};

use super::SupervisorActor;
use super::lifecycle::{Membership, Worker};
use crate::messages::{Obey, Vacate};
use crate::transport::Tally;
use crate::work_order::WorkOrder;

impl SupervisorActor {
    /// Lets a node go: it gets what was changed before the reload, if it is well.
    pub(super) fn leave(&mut self, at: usize, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get(at) else { return };
        slot.membership = Membership::Leaving;
        if slot.worker == Worker::None {
            return self.dismiss(at, ctx);
        }
        self.upstream.flush.ask();
        ctx.run_later(self.config.site.stop_timeout, move |supervisor, ctx| supervisor.dismiss(at, ctx));
    }

    /// Drains the nodes that leave: all that changed before is in their outboxes, and no later change comes.
    pub(super) fn drain_leaving(&mut self, ctx: &mut Context<Self>) {
        for at in self.slots.numbers(|slot| slot.membership == Membership::Leaving) {
            self.upstream.vacate.do_send(Vacate { slot: at });
            match self.slots.get(at).and_then(|slot| slot.worker.actor()) {
                Some(actor) => actor.do_send(Obey(WorkOrder::drain())),
                None => self.dismiss(at, ctx),
            }
        }
    }

    /// Ends the work for a node that leaves: nothing more is sent to it.
    pub(super) fn dismiss(&mut self, at: usize, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get(at) else { return };
        if matches!(slot.worker, Worker::Dismissed(_)) {
            return;
        }
        match slot.link.outbox.lock().lacking() {
            0 => info!(slot.link.log, "node removed"),
            pending => warn!(slot.link.log, "node removed, with changes that it does not have"; "pending" => pending),
        }
        match slot.worker.actor().cloned() {
            Some(actor) => {
                actor.do_send(Obey(WorkOrder::Abort));
                slot.worker = Worker::Dismissed(actor);
            }
            None => self.forget(at, ctx),
        }
    }

    /// A node that left is gone: what waited for it may start.
    pub(super) fn forget(&mut self, at: usize, ctx: &mut Context<Self>) {
        self.hear(at, Tally::default());
        self.slots.remove(at);
        self.hooks.orphan(at);
        self.advance_hooks(ctx);
        self.hooks.forget_orphans();
        self.upstream.vacate.do_send(Vacate { slot: at });
        for waiting in self.slots.numbers(|slot| slot.worker == Worker::None && slot.deaths == 0) {
            self.launch(waiting, ctx);
        }
        self.end_if_drained(ctx);
    }
}
