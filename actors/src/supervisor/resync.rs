//! Sends the nodes their turns of `resync_every`, and the watcher its audits. When a node's turn is, is decided in
//! [`sync::resync`](crate::sync::resync).

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::slots::Stage;
use super::{Phase, SupervisorActor};
use crate::messages::{Audit, Resync};
use crate::sync::resync::Turns;

/// What is due by time over all nodes.
#[derive(Default)]
pub struct Clock {
    /// When the watcher is asked again; `None` if there is no `resync_every`.
    audit_at: Option<Instant>,
    timer: Option<SpawnHandle>,
}

impl SupervisorActor {
    /// Every node gets its turns anew, from now on.
    pub(super) fn spread_turns(&mut self, ctx: &mut Context<Self>) {
        let (now, every, count) = (Instant::now(), self.edition.site.resync_every, self.slots.iter().count());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.turns = every.map(|every| Turns::new(every, index, count, now, fastrand::f64()));
        }
        self.clock.audit_at = every.map(|every| now + every);
        self.wait_for_turns(ctx);
    }

    /// The turns of a node that was added: anywhere in an interval.
    pub(super) fn turns(&self) -> Option<Turns> {
        self.edition.site.resync_every.map(|every| Turns::new(every, 0, 1, Instant::now(), fastrand::f64()))
    }

    pub(super) fn wait_for_turns(&mut self, ctx: &mut Context<Self>) {
        self.clock.timer.take().map(|timer| ctx.cancel_future(timer));
        let staying = self.slots.iter().filter(|slot| slot.stage == Stage::Staying);
        let turns = staying.filter_map(|slot| {
            let last = slot.link.outbox.lock().last_reconcile();
            slot.turns.map(|turns| turns.due(last))
        });
        let next = turns.chain(self.clock.audit_at).min();
        let wait = next.map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        self.clock.timer = wait.map(|wait| ctx.run_later(wait, Self::take_turns));
    }

    fn take_turns(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Phase::Running {
            return;
        }
        let now = Instant::now();
        for slot in self.slots.iter_mut().filter(|slot| slot.stage == Stage::Staying) {
            let last = slot.link.outbox.lock().last_reconcile();
            if let Some(turns) = slot.turns.as_mut().filter(|turns| turns.due(last) <= now) {
                turns.asked(now, fastrand::f64());
                slot.actor.iter().for_each(|actor| actor.do_send(Resync));
            }
        }
        let every = self.edition.site.resync_every;
        if let Some(every) = every.filter(|_| self.clock.audit_at.is_some_and(|at| at <= now)) {
            self.front.audit.do_send(Audit);
            self.clock.audit_at = Some(now + every);
        }
        self.wait_for_turns(ctx);
    }
}
