//! Carries out a stop: what the kernel has reported is handed out, what is pending is worked off, the hooks are told of
//! it, the state is saved. The steps are those of [`Lifecycle`].

use std::time::Duration;

use actix::prelude::*;
use slog::{info, warn};

use super::SupervisorActor;
use super::lifecycle::{Lifecycle, LifecycleEvent, Membership, Step, Then};
use crate::ending::Ending;
use crate::messages::{Drained, Flushed, Obey, Restart, Save, Saved, Stop};
use crate::transport::Tally;
use crate::work_order::WorkOrder;

/// The longest time for the last save when the time for a stop is up.
const LAST_SAVE: Duration = Duration::from_secs(5);

impl SupervisorActor {
    /// Moves on by an event, and does what the step takes that is reached.
    pub(super) fn proceed(&mut self, event: LifecycleEvent, ctx: &mut Context<Self>) {
        let before = self.phase;
        self.phase = before.next(event);
        match (before, self.phase) {
            (Lifecycle::Starting, Lifecycle::Ended { then }) => {
                info!(self.log, "stopping before everything is watched");
                self.want_reconciles();
                self.end(then);
            }
            (_, Lifecycle::Ended { then }) if !before.has_ended() => self.end(then),
            (_, Lifecycle::Stopping { step, then }) if before.step() != Some(step) => match step {
                Step::Flush => self.begin_stop(then, ctx),
                Step::Drain => self.drain(ctx),
                Step::Tell => self.tell_rest(ctx),
                Step::Save => self.save(ctx),
            },
            _ => (),
        }
    }

    fn begin_stop(&mut self, then: Then, ctx: &mut Context<Self>) {
        let what = if then == Then::Exit { "stopping" } else { "starting anew" };
        info!(self.log, "{what}: working off what is pending"; "pending" => self.pending());
        self.upstream.flush.ask();
        ctx.run_later(self.config.site.stop_timeout, |supervisor, ctx| {
            if !supervisor.phase.has_ended() {
                warn!(supervisor.log, "stop_timeout is over");
                supervisor.hasten(LifecycleEvent::TimeIsUp, ctx);
            }
        });
    }

    fn drain(&mut self, ctx: &mut Context<Self>) {
        for slot in self.slots.iter_mut() {
            match slot.worker.actor() {
                Some(actor) => actor.do_send(Obey(WorkOrder::drain())),
                // If it died lately, what is pending stays so.
                None => slot.drained = slot.deaths > 0,
            }
        }
        self.end_if_drained(ctx);
    }

    /// Tells the hooks the rest: each is run once more. Nothing is sent meanwhile, so that there is an end to it.
    fn tell_rest(&mut self, ctx: &mut Context<Self>) {
        if self.hooks.is_empty() {
            return self.proceed(LifecycleEvent::Told, ctx);
        }
        self.slots.actors().for_each(|actor| actor.do_send(Obey(WorkOrder::Rest)));
        self.hooks.finish();
        self.end_if_drained(ctx);
    }

    /// Ends the steps of a stop that wait for the nodes and the hooks.
    pub(super) fn end_if_drained(&mut self, ctx: &mut Context<Self>) {
        match self.phase.step() {
            Some(Step::Drain) if self.slots.iter().all(|slot| slot.drained) => {
                self.proceed(LifecycleEvent::Drained, ctx)
            }
            Some(Step::Tell) if self.are_hooks_told(ctx) => self.proceed(LifecycleEvent::Told, ctx),
            _ => (),
        }
    }

    /// Tells the hooks all that can be told before the end. Returns true if that is done.
    fn are_hooks_told(&mut self, ctx: &mut Context<Self>) -> bool {
        self.slots.iter().for_each(|slot| self.hooks.hear(slot, Tally::default()));
        self.advance_hooks(ctx);
        !self.hooks.is_busy()
    }

    fn save(&mut self, ctx: &mut Context<Self>) {
        match &self.upstream.state {
            Some(state) => state.save.do_send(Save),
            None => self.proceed(LifecycleEvent::Saved, ctx),
        }
    }

    /// Moves on by an event after which only the state is saved, which may not take long then.
    pub(super) fn hasten(&mut self, event: LifecycleEvent, ctx: &mut Context<Self>) {
        let before = self.phase;
        self.proceed(event, ctx);
        if self.phase != before {
            ctx.run_later(LAST_SAVE, |supervisor, ctx| supervisor.proceed(LifecycleEvent::TimeIsUp, ctx));
        }
    }

    fn end(&mut self, then: Then) {
        for slot in self.slots.iter() {
            // What waits for a list would take its time to end.
            slot.link.transport.tell(|transport| transport.rest());
            let pending = slot.link.outbox.lock().lacking();
            if pending > 0 && then != Then::Supersede {
                warn!(slot.link.log, "stopped with changes that the node does not have"; "pending" => pending);
            }
        }
        if then != Then::Supersede {
            self.hooks.give_up();
        }
        let pending = self.pending();
        // Where the process goes on, nothing of this may.
        let order = if then == Then::Exit { WorkOrder::Rest } else { WorkOrder::Abort };
        self.slots.actors().for_each(|actor| actor.do_send(Obey(order)));
        self.slots.clear();
        self.outside.end(match then {
            Then::Exit => Ending::Stopped { pending },
            Then::Restart => Ending::Restart { pending },
            Then::Supersede => Ending::Superseded,
        });
    }
}

impl Handler<Stop> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        if matches!(self.phase, Lifecycle::Stopping { then: Then::Exit, .. }) {
            info!(self.log, "stopping at once");
        }
        self.proceed(LifecycleEvent::Stop, ctx);
    }
}

impl Handler<Restart> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Restart, ctx: &mut Self::Context) {
        self.proceed(LifecycleEvent::Restart, ctx);
    }
}

impl Handler<Flushed> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Flushed, ctx: &mut Self::Context) {
        if !self.upstream.flush.came() {
            return;
        }
        self.drain_leaving(ctx);
        self.proceed(LifecycleEvent::Flushed, ctx);
    }
}

impl Handler<Saved> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Saved, ctx: &mut Self::Context) {
        self.proceed(LifecycleEvent::Saved, ctx);
    }
}

impl Handler<Drained> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Drained { slot: at }: Drained, ctx: &mut Self::Context) {
        if self.phase.has_ended() {
            return;
        }
        let Some(slot) = self.slots.get(at) else { return };
        slot.drained = true;
        if slot.membership == Membership::Leaving {
            self.dismiss(at, ctx);
        }
        self.end_if_drained(ctx);
    }
}
