//! Carries out a reload: one at a time, the latest of those that wait. What differs is decided in
//! [`reload`](crate::reload).
//!
//! # The life of a reload
//! 1. `src/service/run.rs` reads the file at SIGHUP, asks rsync for its version, and hands both over (`Reload`). What is wrong
//!    ends here.
//! 2. `reload.rs` compares with what is in force: a `ConfigDiff` says what it takes. Each key is decided there, or it does not
//!    compile.
//! 3. Other `rexcludes` first go to the watcher and through it to the filter (`Exclude`). When they come back, what is newly
//!    included is watched, so that the reconciles that follow miss nothing.
//! 4. `supervisor/reload.rs` changes over, and `supervisor/leaving.rs` lets nodes go. A node that comes has a seat at the filter
//!    (`Serve`, answered) before its reconcile
//!    is wanted. A node that goes gets a `Flush` and a `WorkOrder::Drain`. Where the runs are others, a SyncActor gets
//!    `WorkOrder::Retire`: it ends
//!    when nothing is in flight, and the next one goes on with the same outbox. Its end is expected, so there is no backoff.
//! 5. One reload at a time. A slot's number is never given to another node, and a node that comes waits for one that goes from
//!    the same place.

use std::time::Instant;

use actix::prelude::*;
use slog::info;

use super::SupervisorActor;
use super::lifecycle::{Membership, Reloading, Then, Worker};
use super::resync::{ScheduledTask, Schedules};
use crate::messages::{Exclude, Obey, Reload, Restart, Serve, TryNow};
use crate::node::Node;
use crate::reload::{ConfigDiff, ConfigSnapshot, Takes, is_same};
use crate::site::InitialSync;
use crate::status::record::NodeRecord;
use crate::sync::NodeLink;
use crate::transport::heard::Heard;
use crate::work_order::WorkOrder;

impl SupervisorActor {
    fn reload(&mut self, config: ConfigSnapshot, beside: &[&'static str], ctx: &mut Context<Self>) {
        let difference = ConfigDiff::between(&self.config, &config).beside(beside);
        if difference.takes == Takes::Restart {
            self.log_new_start(&difference);
            ctx.notify(Restart);
        } else if difference.takes >= Takes::Patterns {
            self.upstream.exclude.do_send(Exclude(config.site.excludes.clone()));
            self.reloading = Reloading::Excluding { config, difference, next: None };
        } else {
            self.change_over(config, &difference, ctx);
        }
    }

    fn log_new_start(&self, difference: &ConfigDiff) {
        info!(self.log, "reloaded: {difference}: starting anew");
    }

    fn change_over(&mut self, config: ConfigSnapshot, difference: &ConfigDiff, ctx: &mut Context<Self>) {
        info!(self.log, "reloaded: {difference}");
        let before = std::mem::replace(&mut self.config, config).site;
        let is_removed = |node: &Node| difference.removed.iter().any(|gone| is_same(gone, node));
        for at in self.slots.numbers(|slot| slot.membership != Membership::Leaving && is_removed(&slot.node)) {
            self.leave(at, ctx);
        }
        if difference.takes >= Takes::Patterns {
            self.source.root().exclude(self.config.site.excludes.clone());
        }
        for at in self.slots.numbers(|slot| slot.membership != Membership::Leaving) {
            let takes = self.slots.get(at).map_or(Takes::Nothing, |slot| difference.takes_at(&slot.node));
            if takes >= Takes::Transports {
                self.renew(at, takes >= Takes::Reconcile, ctx);
            }
        }
        // Whoever reloads may have mended what failed.
        self.slots.staying().filter_map(|slot| slot.worker.actor()).for_each(|actor| actor.do_send(TryNow));
        difference.added.iter().for_each(|node| self.join(node, ctx));
        for task in ScheduledTask::ALL {
            if task.every(&before) != task.every(&self.config.site) {
                self.schedule_anew(task);
            }
        }
        self.wait_for_tasks(ctx);
        self.adapt_hooks();
        self.advance_hooks(ctx);
        self.keep();
        self.tell(|progress| progress.reloads += 1);
    }

    /// A node comes: its SyncActor starts as soon as no change is missed for it.
    fn join(&mut self, node: &Node, ctx: &mut Context<Self>) {
        // What is known of the source counts for it, too: what is hidden, and what is still coming back.
        let other = self.slots.iter().map(|slot| slot.link.outbox.beside()).next();
        let at = self.slots.next();
        let outbox = other.unwrap_or_default();
        outbox.lock().set_dir_moves(self.config.site.at(node).dir_moves);
        let link = self.link(at, node, outbox.clone(), NodeRecord::default(), Heard::default());
        self.slots.insert(node.clone(), link, Membership::Joining);
        if let Some(slot) = self.slots.get(at) {
            slot.reconcile = self.config.site.initial_sync != InitialSync::Off;
            slot.schedules = Schedules::of(&self.config.site, Instant::now());
        }
        let seated = self.upstream.serve.send(Serve { slot: at, outbox, wake: None });
        let seated = seated.into_actor(self).map(move |_, supervisor, ctx| {
            if let Some(slot) = supervisor.slots.get(at).filter(|slot| slot.membership == Membership::Joining) {
                slot.membership = Membership::Staying;
                supervisor.launch(at, ctx);
                supervisor.wait_for_tasks(ctx);
                supervisor.keep();
            }
        });
        ctx.spawn(seated);
    }

    /// A node is reached in another way: its SyncActor ends with what is in flight, and another one takes over.
    fn renew(&mut self, at: usize, reconcile: bool, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get(at) else { return };
        let before = slot.link.clone();
        let node = slot.node.clone();
        // Before any standby of the new transports is started, so that the next ones find room in the budget.
        before.transport.tell(|transport| transport.retire());
        let link = self.link(at, &node, before.outbox, before.record, before.heard);
        let Some(slot) = self.slots.get(at) else { return };
        // The SyncActor before may be comparing still.
        slot.link = NodeLink { progress: before.progress, ..link };
        slot.deaths = 0;
        slot.reconcile |= reconcile;
        let actor = match &slot.worker {
            Worker::None => return self.launch(at, ctx),
            Worker::Working(actor) => actor.clone(),
            // It makes room already.
            Worker::Retiring(_) | Worker::Aborting(_) | Worker::Dismissed(_) => return,
        };
        actor.do_send(Obey(WorkOrder::Retire));
        slot.worker = Worker::Retiring(actor.clone());
        ctx.run_later(self.config.site.stop_timeout, move |supervisor, _| {
            let retiring = Worker::Retiring(actor.clone());
            if let Some(slot) = supervisor.slots.get(at).filter(|slot| slot.worker == retiring) {
                info!(slot.link.log, "what is in flight is given up and sent anew: stop_timeout is over");
                actor.do_send(Obey(WorkOrder::Abort));
                slot.worker = Worker::Aborting(actor);
            }
        });
    }
}

impl Handler<Reload> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Reload { site, version, mut beside }: Reload, ctx: &mut Self::Context) {
        let config = ConfigSnapshot { site: site.into(), version };
        match (self.phase.then(), &mut self.reloading) {
            (None, Reloading::Excluding { next, .. }) => {
                beside.extend(next.take().into_iter().flat_map(|(_, before)| before));
                *next = Some((config, beside));
            }
            (None, Reloading::Idle) => self.reload(config, &beside, ctx),
            // The new start is with what was read last.
            (Some(Then::Restart | Then::Supersede), _) => {
                self.log_new_start(&ConfigDiff::between(&self.config, &config).beside(&beside));
            }
            (Some(Then::Exit), _) => info!(self.log, "not reloaded: inosync is stopping"),
        }
    }
}

impl Handler<Exclude> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Exclude, ctx: &mut Self::Context) {
        let Reloading::Excluding { config, difference, next } = std::mem::take(&mut self.reloading) else { return };
        if self.phase.then().is_some() {
            return;
        }
        self.change_over(config, &difference, ctx);
        if let Some((next, beside)) = next {
            self.reload(next, &beside, ctx);
        }
    }
}
