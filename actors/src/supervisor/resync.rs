//! Tasks at intervals: the nodes' schedule of `resync_every` and `verify_every`, and the watcher's audits. When a
//! node's turn is, is decided in [`sync::resync`](crate::sync::resync).

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::SupervisorActor;
use super::lifecycle::Membership;
use super::slots::{Slot, Slots};
use crate::messages::{Resync, Verify};
use crate::site::Site;
use crate::sync::SyncActor;
use crate::sync::resync::Schedule;
use crate::timer::Timer;

/// A task that nodes do by schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScheduledTask {
    /// Everything is compared and made equal.
    Resync,
    /// Everything is compared by content, and what differs is told.
    Verify,
}

/// The schedule of one node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Schedules {
    resync: Option<Schedule>,
    verify: Option<Schedule>,
}

/// The times of the next tasks over all nodes.
#[derive(Default)]
pub(super) struct Clock {
    /// The time of the next audit; `None` if there is no `resync_every`.
    audit_at: Option<Instant>,
    timer: Timer,
}

impl ScheduledTask {
    /// The tasks, a reconcile first.
    pub(super) const ALL: [ScheduledTask; 2] = [ScheduledTask::Resync, ScheduledTask::Verify];

    /// The interval; `None` is never.
    pub(super) fn every(self, site: &Site) -> Option<Duration> {
        match self {
            ScheduledTask::Resync => site.resync_every,
            ScheduledTask::Verify => site.verify_every,
        }
    }

    /// The time of its last end at a node.
    fn last(self, slot: &Slot) -> Option<Instant> {
        match self {
            ScheduledTask::Resync => slot.link.outbox.lock().last_reconcile(),
            ScheduledTask::Verify => slot.link.record.read().last_verify,
        }
    }

    fn ask(self, actor: &Addr<SyncActor>) {
        match self {
            ScheduledTask::Resync => actor.do_send(Resync),
            ScheduledTask::Verify => actor.do_send(Verify),
        }
    }
}

impl Schedules {
    /// The schedule of a node that is added now: anywhere in an interval.
    pub(super) fn of(site: &Site, now: Instant) -> Schedules {
        let schedule =
            |task: ScheduledTask| task.every(site).map(|every| Schedule::new(every, 0, 1, now, fastrand::f64()));
        Schedules { resync: schedule(ScheduledTask::Resync), verify: schedule(ScheduledTask::Verify) }
    }

    fn of_task(&mut self, task: ScheduledTask) -> &mut Option<Schedule> {
        match task {
            ScheduledTask::Resync => &mut self.resync,
            ScheduledTask::Verify => &mut self.verify,
        }
    }
}

impl Clock {
    /// Gives every node its schedule of a task anew, from now on.
    pub(super) fn schedule_anew(&mut self, task: ScheduledTask, site: &Site, slots: &mut Slots, now: Instant) {
        let every = task.every(site);
        let count = slots.iter().count();
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot.schedules.of_task(task) = every.map(|every| Schedule::new(every, index, count, now, fastrand::f64()));
        }
        if task == ScheduledTask::Resync {
            self.audit_at = every.map(|every| now + every);
        }
    }

    /// Has the supervisor run tasks when the next one is due.
    pub(super) fn wait(&mut self, slots: &Slots, ctx: &mut Context<SupervisorActor>) {
        // What is due now and cannot be done now is not tried without a pause.
        let soon = Instant::now() + Duration::from_millis(1);
        self.timer.set(self.next(slots).map(|at| at.max(soon)), ctx, SupervisorActor::run_tasks);
    }

    /// The time of the next task.
    fn next(&self, slots: &Slots) -> Option<Instant> {
        let schedule = slots.staying().flat_map(|slot| {
            ScheduledTask::ALL.into_iter().filter_map(|task| {
                let schedule = *slot.schedules.clone().of_task(task);
                schedule.map(|schedule| schedule.due(task.last(slot)))
            })
        });
        schedule.chain(self.audit_at).min()
    }

    /// Asks the nodes for what is due. Returns true if an audit is due as well.
    pub(super) fn run_tasks(&mut self, site: &Site, slots: &mut Slots, now: Instant) -> bool {
        for slot in slots.iter_mut().filter(|slot| slot.membership == Membership::Staying) {
            // One that is to be reconciled now does not begin to verify.
            for task in ScheduledTask::ALL {
                let last = task.last(slot);
                if let Some(schedule) =
                    slot.schedules.of_task(task).as_mut().filter(|schedule| schedule.due(last) <= now)
                {
                    schedule.asked(now, fastrand::f64());
                    slot.worker.actor().iter().for_each(|actor| task.ask(actor));
                }
            }
        }
        let due = site.resync_every.filter(|_| self.audit_at.is_some_and(|at| at <= now));
        self.audit_at = due.map_or(self.audit_at, |every| Some(now + every));
        due.is_some()
    }
}
