//! Tasks at intervals: the nodes' turns of `resync_every` and `verify_every`, and the watcher's audits. When a node's turn
//! is, is decided in [`sync::resync`](crate::sync::resync).

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::life::Membership;
use super::slots::{Slot, Slots};
use crate::messages::{Resync, Verify};
use crate::site::Site;
use crate::sync::SyncActor;
use crate::sync::resync::Turns;

/// A task that nodes do by turns.
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

/// The times of the next tasks over all nodes.
#[derive(Default)]
pub struct Clock {
    /// The time of the next audit; `None` if there is no `resync_every`.
    audit_at: Option<Instant>,
}

impl Chore {
    /// Both.
    pub const ALL: [Chore; 2] = [Chore::Resync, Chore::Verify];

    /// The interval; `None` is never.
    pub fn every(self, site: &Site) -> Option<Duration> {
        match self {
            Chore::Resync => site.resync_every,
            Chore::Verify => site.verify_every,
        }
    }

    /// The time of its last end at a node.
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
    /// The turns of a node that is added now: anywhere in an interval.
    pub fn of(site: &Site, now: Instant) -> Schedule {
        let turns = |chore: Chore| chore.every(site).map(|every| Turns::new(every, 0, 1, now, fastrand::f64()));
        Schedule { resync: turns(Chore::Resync), verify: turns(Chore::Verify) }
    }

    fn turns(&mut self, chore: Chore) -> &mut Option<Turns> {
        match chore {
            Chore::Resync => &mut self.resync,
            Chore::Verify => &mut self.verify,
        }
    }
}

impl Clock {
    /// Gives every node its turns of a chore anew, from now on.
    pub fn spread_turns(&mut self, chore: Chore, site: &Site, slots: &mut Slots, now: Instant) {
        let every = chore.every(site);
        let count = slots.iter().count();
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot.turns.turns(chore) = every.map(|every| Turns::new(every, index, count, now, fastrand::f64()));
        }
        if chore == Chore::Resync {
            self.audit_at = every.map(|every| now + every);
        }
    }

    /// The time of the next task.
    pub fn next(&self, slots: &Slots) -> Option<Instant> {
        let turns = slots.staying().flat_map(|slot| {
            Chore::ALL.into_iter().filter_map(|chore| {
                let turns = *slot.turns.clone().turns(chore);
                turns.map(|turns| turns.due(chore.last(slot)))
            })
        });
        turns.chain(self.audit_at).min()
    }

    /// Asks the nodes for what is due. Returns true if an audit is due as well.
    pub fn take_turns(&mut self, site: &Site, slots: &mut Slots, now: Instant) -> bool {
        for slot in slots.iter_mut().filter(|slot| slot.membership == Membership::Staying) {
            // One that is to be reconciled now does not begin to verify.
            for chore in Chore::ALL {
                let last = chore.last(slot);
                if let Some(turns) = slot.turns.turns(chore).as_mut().filter(|turns| turns.due(last) <= now) {
                    turns.asked(now, fastrand::f64());
                    slot.worker.actor().iter().for_each(|actor| chore.ask(actor));
                }
            }
        }
        let due = site.resync_every.filter(|_| self.audit_at.is_some_and(|at| at <= now));
        self.audit_at = due.map_or(self.audit_at, |every| Some(now + every));
        due.is_some()
    }
}
