//! Sends the nodes their turns of `resync_every` and `verify_every`, and the watcher its audits. When a node's turn is, is
//! decided in [`sync::resync`](crate::sync::resync).

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::SupervisorActor;
use super::life::{Membership, Phase};
use super::slots::Slot;
use crate::messages::{Audit, Resync, Verify};
use crate::site::Site;
use crate::sync::SyncActor;
use crate::sync::resync::Turns;

/// What is done at nodes by turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Everything is compared and made equal.
    Resync,
    /// Everything is compared by content, and what differs is told.
    Verify,
}

/// The turns of one node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schedule {
    resync: Option<Turns>,
    verify: Option<Turns>,
}

/// What is due by time over all nodes.
#[derive(Default)]
pub struct Clock {
    /// When the watcher is asked again; `None` if there is no `resync_every`.
    audit_at: Option<Instant>,
    timer: Option<SpawnHandle>,
}

impl Chore {
    /// Both.
    pub const ALL: [Chore; 2] = [Chore::Resync, Chore::Verify];

    /// How often it is done; `None` is never.
    pub fn every(self, site: &Site) -> Option<Duration> {
        match self {
            Chore::Resync => site.resync_every,
            Chore::Verify => site.verify_every,
        }
    }

    /// When it was last done at a node.
    fn last(self, slot: &Slot) -> Option<Instant> {
        match self {
            Chore::Resync => slot.link.outbox.lock().last_reconcile(),
            Chore::Verify => slot.link.record.read().last_verify,
        }
    }

    fn ask(self, actor: &Addr<SyncActor>) {
        match self {
            Chore::Resync => actor.do_send(Resync),
            Chore::Verify => actor.do_send(Verify),
        }
    }
}

impl Schedule {
    fn turns(&mut self, chore: Chore) -> &mut Option<Turns> {
        match chore {
            Chore::Resync => &mut self.resync,
            Chore::Verify => &mut self.verify,
        }
    }
}

impl SupervisorActor {
    /// Every node gets its turns of a chore anew, from now on.
    pub(super) fn spread_turns(&mut self, chore: Chore, ctx: &mut Context<Self>) {
        let (now, every, count) = (Instant::now(), chore.every(&self.edition.site), self.slots.iter().count());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let turns = every.map(|every| Turns::new(every, index, count, now, fastrand::f64()));
            *slot.turns.turns(chore) = turns;
        }
        if chore == Chore::Resync {
            self.clock.audit_at = every.map(|every| now + every);
        }
        self.wait_for_turns(ctx);
    }

    /// The turns of a node that was added: anywhere in an interval.
    pub(super) fn turns(&self) -> Schedule {
        let turns = |chore: Chore| {
            let every = chore.every(&self.edition.site);
            every.map(|every| Turns::new(every, 0, 1, Instant::now(), fastrand::f64()))
        };
        Schedule { resync: turns(Chore::Resync), verify: turns(Chore::Verify) }
    }

    pub(super) fn wait_for_turns(&mut self, ctx: &mut Context<Self>) {
        self.clock.timer.take().map(|timer| ctx.cancel_future(timer));
        let turns = self.slots.staying().flat_map(|slot| {
            Chore::ALL.into_iter().filter_map(|chore| {
                let turns = *slot.turns.clone().turns(chore);
                turns.map(|turns| turns.due(chore.last(slot)))
            })
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
        for slot in self.slots.iter_mut().filter(|slot| slot.membership == Membership::Staying) {
            // One that is to be reconciled now does not begin to verify.
            for chore in Chore::ALL {
                let last = chore.last(slot);
                if let Some(turns) = slot.turns.turns(chore).as_mut().filter(|turns| turns.due(last) <= now) {
                    turns.asked(now, fastrand::f64());
                    slot.worker.actor().iter().for_each(|actor| chore.ask(actor));
                }
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
