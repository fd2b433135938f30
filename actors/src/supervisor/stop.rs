//! The orderly stop, with or without a new start after it: what the kernel has reported is handed out, what is pending is
//! worked off, the hooks are told of it, the state is saved.

use std::time::Duration;

use actix::prelude::*;
use slog::{info, warn};

use super::slots::Stage;
use super::{Phase, SupervisorActor};
use crate::ending::Ending;
use crate::messages::{Drained, Flushed, Obey, Restart, Save, Saved, Stop, Vacate};
use crate::order::Order;

/// How long the last save may take when the time for a stop is up.
const LAST_SAVE: Duration = Duration::from_secs(5);

impl SupervisorActor {
    fn stop(&mut self, ctx: &mut Context<Self>) {
        match self.phase {
            Phase::Running => {
                let what = if self.restarts { "starting anew" } else { "stopping" };
                info!(self.log, "{what}: working off what is pending"; "pending" => self.pending());
                self.phase = Phase::Flushing;
                self.flush();
                ctx.run_later(self.edition.site.stop_timeout, |supervisor, ctx| {
                    if supervisor.phase != Phase::Ended {
                        warn!(supervisor.log, "stop_timeout is over");
                        supervisor.save_or_end(ctx);
                    }
                });
            }
            Phase::Starting => {
                info!(self.log, "stopping before everything is watched");
                self.want_reconciles();
                self.end();
            }
            Phase::Flushing | Phase::Draining | Phase::Saving => {
                info!(self.log, "stopping at once");
                self.end();
            }
            Phase::Ended => (),
        }
    }

    pub(super) fn end_if_drained(&mut self, ctx: &mut Context<Self>) {
        let is_drained = self.phase == Phase::Draining && self.slots.iter().all(|slot| slot.drained);
        if is_drained && self.have_hooks_finished(ctx) {
            self.save();
        }
    }

    /// What is pending now stays so for the next run.
    fn save(&mut self) {
        match &self.front.state {
            Some(state) => {
                self.phase = Phase::Saving;
                state.save.do_send(Save);
            }
            None => self.end(),
        }
    }

    /// Time is up.
    pub(super) fn save_or_end(&mut self, ctx: &mut Context<Self>) {
        if self.phase == Phase::Saving {
            return self.end();
        }
        self.save();
        ctx.run_later(LAST_SAVE, |supervisor, _| {
            if supervisor.phase == Phase::Saving {
                supervisor.end();
            }
        });
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        for slot in self.slots.iter() {
            // What waits for a list would take its time to end.
            slot.link.transport.rest();
            let pending = slot.link.outbox.lock().lacking();
            if pending > 0 && !self.superseded {
                warn!(slot.link.log, "stopped with changes that the node does not have"; "pending" => pending);
            }
        }
        if !self.superseded {
            self.give_up_hooks();
        }
        let pending = self.pending();
        if !self.restarts {
            let actors = self.slots.iter().filter_map(|slot| slot.actor.as_ref());
            actors.for_each(|actor| actor.do_send(Obey(Order::Rest)));
            return self.guard.end(Ending::Stopped { pending });
        }
        // The process goes on, and nothing of this may.
        self.slots.iter().filter_map(|slot| slot.actor.as_ref()).for_each(|actor| actor.do_send(Obey(Order::Abort)));
        self.slots.clear();
        self.guard.end(if self.superseded { Ending::Superseded } else { Ending::Restart { pending } });
    }
}

impl Handler<Stop> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // The first one during a stop for a new start is no impatience.
        if !(std::mem::take(&mut self.restarts)
            && matches!(self.phase, Phase::Flushing | Phase::Draining | Phase::Saving))
        {
            self.stop(ctx);
        }
    }
}

impl Handler<Restart> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Restart, ctx: &mut Self::Context) {
        if matches!(self.phase, Phase::Starting | Phase::Running) {
            self.restarts = true;
            self.stop(ctx);
        }
    }
}

impl Handler<Flushed> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Flushed, ctx: &mut Self::Context) {
        self.flushes -= 1;
        if self.flushes > 0 {
            return;
        }
        for at in self.slots.numbers(|slot| slot.stage == Stage::Leaving) {
            self.front.vacate.do_send(Vacate { slot: at });
            match self.slots.get(at).and_then(|slot| slot.actor.as_ref()) {
                Some(actor) => actor.do_send(Obey(Order::drain())),
                None => self.dismiss(at, ctx),
            }
        }
        if self.phase != Phase::Flushing {
            return;
        }
        self.phase = Phase::Draining;
        for slot in self.slots.iter_mut() {
            match &slot.actor {
                Some(actor) => actor.do_send(Obey(Order::drain())),
                // If it died lately, what is pending stays so.
                None => slot.drained = slot.deaths > 0,
            }
        }
        self.end_if_drained(ctx);
    }
}

impl Handler<Saved> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Saved, _: &mut Self::Context) {
        if self.phase == Phase::Saving {
            self.end();
        }
    }
}

impl Handler<Drained> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Drained { slot: at }: Drained, ctx: &mut Self::Context) {
        if self.phase == Phase::Ended {
            return;
        }
        let Some(slot) = self.slots.get(at) else { return };
        slot.drained = true;
        if slot.stage == Stage::Leaving {
            self.dismiss(at, ctx);
        }
        self.end_if_drained(ctx);
    }
}
