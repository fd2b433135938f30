//! One batch from what is due to what became of its paths.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, info, o};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SyncActor;
use super::around::until_nothing_lingers;
use super::disk::{BatchRoom, Disk, EntryOnDisk, Source};
use super::hard_links::{LinkedBatch, blamed_names, compare_for_names, has_news};
use super::plan::{BatchPlan, PlanGround, Since, plan};
use super::reconcile::removal;
use super::report::{log_batch, log_failing, log_new_mirror};
use crate::backoff::{backoff, backoff_after, lasting};
use crate::change::Change;
use crate::health::StoredPart;
use crate::messages::{AskReported, Mirrored, Settled};
use crate::outbox::fate::Fate;
use crate::outbox::lease::{Batch, LeaseId};
use crate::outbox::need::{Age, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::root::linked_names::{LinkGround, LinkGroups, LinkQuestion};
use crate::root::reach::Silent;
use crate::status::record::RunKind;
use crate::transport::Lane;
use crate::transport::Tally;
use crate::transport::blame::Blame;
use crate::transport::failure::{Cause, Failure};
use crate::transport::{Again, Delivery};

/// Paths in one batch, and bytes of their names: rsync reads its list byte by byte before it does anything.
const BATCH_PATHS: usize = 2000;
const BATCH_BYTES: usize = 200_000;
/// The longest wait for the report of what a symlink leads to. The watcher takes longer only while it reads a large tree.
const REPORTED_AT_LATEST: Duration = Duration::from_secs(2);
/// Entries of subtrees in a batch of the fast lane.
const BATCH_ENTRIES: usize = 2000;

/// The time after which a batch is tried again that waits for the other lane.
const BLOCKED: Duration = Duration::from_millis(100);

/// Symlinks of a batch, with the texts that they had before all was reported.
type ReportedLinks = BTreeMap<RelPath, Vec<u8>>;

impl SyncActor {
    pub(super) fn start_batch(&mut self, lane: Lane, now: Instant, ctx: &mut Context<Self>) {
        if self.link.outbox.lock().works(lane) {
            return self.start_batch_beside(lane, now, ctx);
        }
        if lane == Lane::Fast {
            self.lanes.takes_alone();
        }
        let batch = self.link.outbox.lock().lease(lane, BATCH_PATHS, BATCH_BYTES, now);
        let planned = self.planned(lane, &batch, BTreeMap::new(), now);
        let links = planned.paths.unreported_links.clone();
        if links.is_empty() {
            return self.send_with_names(lane, batch, (planned, links), now, ctx);
        }
        if !self.lanes.may_ask(now) {
            let planned = self.planned(lane, &batch, links.clone(), now);
            return self.send_with_names(lane, batch, (planned, links), now, ctx);
        }
        // A link may have got its target a moment ago, and the report of what is there may be on its way.
        self.lanes.ask();
        let (answer, answered) = oneshot::channel();
        self.supervisor.reported.do_send(AskReported(answer));
        let answered = timeout(REPORTED_AT_LATEST, answered).into_actor(self);
        ctx.spawn(answered.map(move |answer, actor, ctx| {
            let now = Instant::now();
            actor.lanes.asked(answer.is_ok(), now);
            // The order may be another one by now.
            if actor.order.sends() && actor.health.may_start(now).is_ok() {
                let planned = actor.planned(lane, &batch, links.clone(), now);
                actor.send_with_names(lane, batch, (planned, links), now, ctx);
            } else {
                actor.link.outbox.lock().roll_back_batch(batch.id);
            }
            actor.advance(ctx);
        }));
    }

    /// Starts a batch beside those that the lane works on, if it has nothing but content.
    fn start_batch_beside(&mut self, lane: Lane, now: Instant, ctx: &mut Context<Self>) {
        let batch = self.link.outbox.lock().lease_beside(BATCH_PATHS, BATCH_BYTES, now);
        let planned = self.planned(lane, &batch, BTreeMap::new(), now);
        if planned.is_plain() {
            return self.send_batch(lane, &batch, planned, now, ctx);
        }
        self.link.outbox.lock().take_back(&batch);
        self.lanes.waits_to_be_alone();
    }

    /// Sends a batch as it is planned, with the other names of its files. Where there may be any, it is planned once more when
    /// they are found.
    fn send_with_names(
        &mut self,
        lane: Lane,
        batch: Batch,
        (planned, reported): (BatchPlan, ReportedLinks),
        now: Instant,
        ctx: &mut Context<Self>,
    ) {
        let question = LinkedBatch { link: &self.link, batch: &batch }.question(&planned.run);
        if question.is_empty() {
            return self.send_batch(lane, &batch, planned, now, ctx);
        }
        self.lanes.search();
        let (root, excludes) = (self.link.root.clone(), self.link.settings.excludes.clone());
        // Whoever waits for the answer holds this: the search ends with the actor.
        let waits = Arc::new(());
        let asked = Arc::downgrade(&waits);
        let found = tokio::task::spawn_blocking(move || {
            let is_waiting = || asked.strong_count() > 0;
            let ground = LinkGround { root: &root, excludes: &excludes, is_waiting: &is_waiting };
            (root.hard_links().groups(ground, &question), question)
        });
        ctx.spawn(found.into_actor(self).map(move |found, actor, ctx| {
            drop(waits);
            actor.lanes.searched();
            match found {
                Ok(found) => actor.send_found(lane, batch, reported, found, ctx),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The daemon ends.
                Err(_) => actor.link.outbox.lock().roll_back_batch(batch.id),
            }
            actor.advance(ctx);
        }));
    }

    /// Sends a batch with the names that were found, if it may still be sent: the search may have taken long.
    fn send_found(
        &mut self,
        lane: Lane,
        mut batch: Batch,
        reported: ReportedLinks,
        (LinkGroups { groups, cut }, asked): (LinkGroups, LinkQuestion),
        ctx: &mut Context<Self>,
    ) {
        let now = Instant::now();
        if !(self.order.sends() && self.health.may_start(now).is_ok()) {
            return self.link.outbox.lock().roll_back_batch(batch.id);
        }
        if let Err(why) = self.link.root.check() {
            self.link.outbox.lock().roll_back_batch(batch.id);
            return self.hold(why, now);
        }
        let mut planned = self.planned(lane, &batch, reported.clone(), now);
        let blocked = LinkedBatch { link: &self.link, batch: &batch }.blocked(&planned.run, &groups);
        if !blocked.is_empty() {
            self.link.outbox.lock().let_wait(batch.id, &blocked, now + BLOCKED);
            batch.paths.retain(|(path, _)| !blocked.contains(path));
            planned = self.planned(lane, &batch, reported.clone(), now);
        }
        if !asked.has_all_of(&LinkedBatch { link: &self.link, batch: &batch }.question(&planned.run)) {
            // There was no room for it beside what waits, or it has come since: its other names are not known.
            return self.send_with_names(lane, batch, (planned, reported), now, ctx);
        }
        LinkedBatch { link: &self.link, batch: &batch }.take_along(&mut planned, groups);
        planned.paths.lacks_names = cut && has_news(&batch.paths);
        self.send_batch(lane, &batch, planned, now, ctx);
    }

    /// Decides what to send of a batch. `reported` are symlinks with the texts that they had before all was reported.
    fn planned(&self, lane: Lane, batch: &Batch, reported: ReportedLinks, now: Instant) -> BatchPlan {
        let mut disk = Source::at(&self.link.root).after(reported);
        let room = BatchRoom { bytes: self.link.settings.bulk_size, entries: BATCH_ENTRIES };
        let room = (lane == Lane::Fast).then_some(room);
        let outbox = self.link.outbox.lock();
        plan(
            &batch.paths,
            PlanGround { set: &outbox, excludes: &self.link.settings.excludes, disk: &mut disk, room, now },
        )
    }

    fn send_batch(&mut self, lane: Lane, batch: &Batch, planned: BatchPlan, now: Instant, ctx: &mut Context<Self>) {
        let mut outbox = self.link.outbox.lock();
        let since = Age::oldest(batch.paths.iter().map(|(_, pending)| pending)).seen().unwrap_or(now);
        let BatchPlan { run: plan, paths } = &planned;
        for path in &paths.lost {
            info!(self.link.log, "comparing a directory: something in it is gone, and nobody reported it"; "path" => %path);
            outbox.add_since(&Change::Subtree { path: path.clone() }, since, now);
        }
        for via in plan.renamed.values().filter_map(|rename| rename.via.clone()) {
            outbox.make_for_a_while(batch.id, via, now);
        }
        self.around.split(&self.link, &mut outbox, &paths.split, (since, now));
        outbox.forget_moves(&paths.returned, plan.subtrees_rewritten.iter());
        outbox.defer(batch.id, &paths.bulk);
        if !plan.links.is_empty() {
            outbox.sends_links(batch.id);
        }
        outbox.hold_back(batch.id, &paths.behind, now);
        if plan.is_empty() {
            outbox.settle(
                batch.id,
                now,
                |path| planned.fate(path, &Blame::default(), &Since::default()),
                backoff_after,
            );
            self.supervisor.settled.do_send(Settled { slot: self.link.slot, tally: Tally::default() });
            return;
        }
        drop(outbox);
        debug!(self.link.log, "batch"; "batch" => batch.id.number(), "lane" => ?lane, "plan" => ?plan);
        self.lanes.started(lane, now);
        let (id, (worked, work)) = (batch.id, oneshot::channel());
        let running = self.link.transport().deliver(plan.clone(), lane, worked);
        let worked = work.into_actor(self).map(move |said, actor, ctx| {
            // A batch that ended without saying so has failed, or is about to be settled: that comes first.
            if said.is_ok() {
                actor.batch_worked(id, ctx);
            }
        });
        ctx.spawn(worked);
        let read = planned.run.clone();
        let running = self.link.root.reach().clone().while_it_answers(move |point| read.reads(point), running);
        let ended = until_nothing_lingers(running).into_actor(self).map(move |result, actor, ctx| match result {
            Ok(result) => actor.batch_ended(id, &planned, now, result, ctx),
            Err(silent) => actor.batch_cut(id, &silent, ctx),
        });
        ctx.spawn(ended);
    }

    /// Frees the lane, although the batch has not ended.
    fn batch_worked(&mut self, id: LeaseId, ctx: &mut Context<Self>) {
        self.link.outbox.lock().worked(id);
        self.advance(ctx);
    }

    /// Something that is mounted in the source does not answer: the rest goes with another batch.
    fn batch_cut(&mut self, id: LeaseId, silent: &Silent, ctx: &mut Context<Self>) {
        debug!(self.link.log, "a batch is broken off: a file system does not answer"; "batch" => id.number(),
            "path" => %silent.path);
        self.lanes.ended();
        self.link.outbox.lock().roll_back_batch(id);
        self.advance(ctx);
    }

    fn batch_ended(
        &mut self,
        id: LeaseId,
        planned: &BatchPlan,
        started: Instant,
        result: Result<Delivery, Failure>,
        ctx: &mut Context<Self>,
    ) {
        self.lanes.ended();
        self.link.unsaved.ring();
        let now = Instant::now();
        match result {
            Ok(delivery) => self.settle_batch(id, planned, started, delivery, now),
            Err(failure) => {
                let mut outbox = self.link.outbox.lock();
                outbox.roll_back_batch(id);
                if failure.cause == Cause::TargetFull {
                    outbox.make_room();
                }
                drop(outbox);
                self.failed(&failure, started, ctx);
            }
        }
        self.advance(ctx);
    }

    /// Settles each path of a batch that did not fail as a whole.
    fn settle_batch(
        &mut self,
        id: LeaseId,
        planned: &BatchPlan,
        started: Instant,
        mut delivery: Delivery,
        now: Instant,
    ) {
        // All at the same time: what failed together may be the old and the new name of the same thing.
        let chance = fastrand::f64();
        let since = Since {
            left: delivery.left.clone(),
            spared: delivery.spared.clone(),
            unfit: delivery.aside.clone(),
            untried: delivery.untried.clone(),
            unfit_for: lasting(chance),
            ..planned.since(&mut Source::at(&self.link.root))
        };
        let (mut apart, blamed) = planned.apart(&delivery.blamed, |path| delivery.is_set_aside(path));
        let alone = self.link.outbox.lock().gives_up_names(id);
        apart.extend(blamed_names(&planned.run, &delivery.blamed, alone).into_iter().map(|name| (name, true)));
        let fate = |path: &RelPath| planned.fate(path, &blamed, &since);
        let is_delivered = |path: &RelPath| fate(path) == Fate::Delivered;
        let mut outbox = self.link.outbox.lock();
        // Under the same lock: a state that is saved has the one if it lacks the other.
        self.compare_again(&mut outbox, &delivery.again, started, now);
        let apart = apart.into_iter().map(|(path, rewritten)| {
            // Since no later than the run that said that it changed it.
            let since = outbox.in_flight_above_since(&path).map_or(started, |since| since.min(started));
            (path, rewritten, since)
        });
        let apart = apart.collect();
        let waited = outbox.waited(id, now).filter(|(path, _)| is_delivered(path));
        self.link.record.delivered(waited.map(|(_, took)| took));
        let mut failing = outbox.settle(id, now, fate, |tries| backoff(tries + 1, chance));
        failing.extend(self.try_apart(&mut outbox, apart, &delivery, now));
        compare_for_names(&self.link, &mut outbox, planned, &delivery.blamed);
        if delivery.tally.made_mirror {
            // Under the same lock, too: nobody is told meanwhile that the node lacks nothing.
            log_new_mirror(&self.link.log, outbox.mirror_lost(now));
        }
        drop(outbox);
        self.note_room(&delivery, now);
        let delivered: Vec<_> = planned.run.listed().filter(|(path, _)| is_delivered(path)).collect();
        let stored = match delivered.is_empty() && delivery.failure.is_some() {
            true => StoredPart::Nothing,
            false => StoredPart::Some,
        };
        if stored == StoredPart::Nothing {
            // What was done of it is done again with the rest.
            delivery.tally = Tally { made_mirror: delivery.tally.made_mirror, ..Tally::default() };
        }
        self.link.record.sent(delivered);
        self.link.record.done(RunKind::Batch, &delivery.tally, delivery.failure.as_ref());
        let log = self.link.log.new(o!("batch" => id.number()));
        log_batch(&log, planned.run.len(), &delivery, started);
        log_failing(&log, &failing, &delivery);
        self.tell_moves(&delivery);
        self.ended(&delivery, stored, started);
    }

    /// Tells the supervisor of the directory moves that were mirrored.
    fn tell_moves(&self, delivery: &Delivery) {
        for moved in delivery.moved.iter().cloned() {
            self.supervisor.mirrored.do_send(Mirrored { slot: self.link.slot, moved });
        }
    }

    /// Compares once more what the removals of a batch may have changed besides.
    pub(super) fn compare_again(
        &self,
        outbox: &mut PendingSet,
        paths: &BTreeMap<RelPath, Again>,
        since: Instant,
        now: Instant,
    ) {
        let mut disk = Source::at(&self.link.root);
        for (path, Again { rewritten, after, once_more }) in paths {
            let scope = match disk.look(path) {
                // Its removal is reported by itself.
                EntryOnDisk::Missing => continue,
                EntryOnDisk::Directory => Scope::Subtree,
                EntryOnDisk::File(_) | EntryOnDisk::Other | EntryOnDisk::Unknown => Scope::Entry,
            };
            debug!(self.link.log, "compared again after a removal"; "path" => %path);
            let pending = Pending::new(scope).rewritten(*rewritten).lacked(since, 0, now + *after);
            outbox.put_apart(path.clone(), pending);
            if let Some(after) = once_more.filter(|_| scope == Scope::Subtree) {
                outbox.look_once_more(path.clone(), now + after);
            }
        }
    }

    /// Notes that deletions may have made room for what did not fit.
    pub(super) fn note_room(&self, delivery: &Delivery, now: Instant) {
        if delivery.tally.deleted > 0 {
            self.link.outbox.lock().room_was_made(now);
        }
    }

    /// Tries again by itself what failed in a subtree that the node has lacked since then. Returns the paths that do not
    /// fit, where that is news.
    fn try_apart(
        &self,
        outbox: &mut PendingSet,
        paths: Vec<(RelPath, bool, Instant)>,
        delivery: &Delivery,
        now: Instant,
    ) -> Vec<RelPath> {
        let mut disk = Source::at(&self.link.root);
        let mut unfit = Vec::new();
        for (path, rewritten, since) in paths {
            if delivery.aside.contains(&path) {
                let is_news = outbox.set_aside(path.clone(), rewritten, since, now + lasting(fastrand::f64()));
                unfit.extend(is_news.then_some(path));
                continue;
            }
            let found = disk.look(&path);
            if found == EntryOnDisk::Missing && delivery.undeleted.contains(&path) {
                outbox.add_since(&removal(&path, &mut disk), since, now);
                continue;
            }
            let scope = if found == EntryOnDisk::Directory { Scope::Subtree } else { Scope::Entry };
            let pause = if delivery.untried.contains(&path) { lasting(fastrand::f64()) } else { backoff_after(0) };
            outbox.put_apart(path, Pending::new(scope).rewritten(rewritten).tried_apart(since, now + pause));
        }
        unfit
    }
}
