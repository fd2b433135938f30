//! The heartbeats of the mirrors (`heartbeat`): when everything until a time is known to be at a node, and what follows
//! from the heartbeat of a source that is a mirror itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use slog::{debug, info, warn};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SupervisorActor;
use super::lifecycle::Lifecycle;
use super::upstream::{Before, KnownUpstream};
use crate::heartbeat::{Heartbeat, MirrorProgress, own_name};
use crate::messages::{AskCompared, AskReported, Wake};
use crate::status::{UpstreamStatus, unix};
use crate::transport::{BeatTurn, Beaten};
use crate::watcher::linked::{LINK_AT_LATEST, LINK_TIME};

/// The longest time between two looks at the heartbeat of the source.
const LOOK: Duration = Duration::from_secs(1);
/// The time between a question if everything was reported and the look at what the nodes lack of it.
const DELIVERED: Duration = Duration::from_millis(500);
/// The time by which a busy machine may tell of a new name later than it should.
const BUSY: Duration = Duration::from_millis(500);
/// Times of which it is remembered what was reported by then.
const MOST: usize = 360;

/// A moment by which everything that was changed until a time was in the outboxes.
struct Mark {
    /// That time in the first source, in seconds since 1970.
    until: Option<u64>,
    reported: Instant,
}

/// The heartbeats of all nodes.
#[derive(Default)]
pub(super) struct Heartbeats {
    marks: VecDeque<Mark>,
    /// The last heartbeat that each node has, by the number of its slot.
    sent: BTreeMap<usize, Heartbeat>,
    on_their_way: BTreeSet<usize>,
    /// The source, if it is a mirror.
    upstream: KnownUpstream,
    holds_removals: bool,
}

impl Heartbeats {
    /// The source as a mirror; `None` if it is none.
    pub(super) fn status(&self) -> Option<UpstreamStatus> {
        self.upstream.before.status(self.holds_removals)
    }
}

impl SupervisorActor {
    /// Begins with the heartbeats, if they are wanted.
    pub(super) fn begin_heartbeats(&mut self, ctx: &mut Context<Self>) {
        let Some(every) = self.config.site.heartbeat else { return };
        if let Some(state_file) = &self.config.site.state_file {
            self.heartbeats.upstream = KnownUpstream::remembered(state_file);
        }
        self.read_upstream();
        self.beat(ctx);
        ctx.run_interval(every, Self::beat);
        ctx.run_interval(every.min(LOOK), |supervisor, _| supervisor.read_upstream());
        // A mirror that is about to be compared says so as soon as it can.
        self.send_heartbeats(ctx);
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        let Some(every) = self.config.site.heartbeat.filter(|_| self.phase == Lifecycle::Running) else { return };
        self.read_upstream();
        // Read before the question: what the source had by then has been reported when the answer comes.
        let until = self.heartbeats.upstream.before.heartbeat().map_or(Some(unix(SystemTime::now())), |it| it.until);
        let reported = self.upstream.reported.clone();
        let state = self.upstream.state.as_ref().map(|state| state.compared.clone());
        // So late the source may tell of a new name.
        let saw_rsync = self.source.root().arriving().saw_rsync();
        let untold = if saw_rsync { LINK_AT_LATEST + BUSY } else { LINK_TIME };
        let asked = async move {
            tokio::time::sleep(untold).await;
            all_reported(&reported).await?;
            if let Some(state) = state {
                // Where events were lost, it tells the differences.
                let (answer, answered) = oneshot::channel();
                state.do_send(AskCompared(answer));
                answered.await.ok()?;
                all_reported(&reported).await?;
            }
            Some(Mark { until, reported: Instant::now() })
        };
        let marked = timeout(every.max(untold + DELIVERED), asked).into_actor(self).map(|mark, supervisor, ctx| {
            if let Ok(Some(mark)) = mark {
                supervisor.heartbeats.marks.push_back(mark);
                let surplus = supervisor.heartbeats.marks.len().saturating_sub(MOST);
                supervisor.heartbeats.marks.drain(..surplus);
            }
            ctx.run_later(DELIVERED, Self::send_heartbeats);
        });
        ctx.spawn(marked);
    }

    /// Reads the heartbeat of the source, and lets removals wait or go.
    fn read_upstream(&mut self) {
        let upstream = &mut self.heartbeats.upstream;
        let held = self.heartbeats.holds_removals;
        let holds = upstream.look(self.source.root());
        if upstream.before.heartbeat().is_some() {
            self.source.root().arriving().note_rsync();
        }
        if let Err(error) = upstream.remember() {
            debug!(self.log, "the source is not remembered"; "error" => %error);
        }
        match (&upstream.before, holds) {
            _ if holds == held => (),
            (_, false) => info!(self.log, "the source is complete: removals go, and the nodes are compared"),
            (Before::Mirror(heartbeat), true) => {
                let behind = heartbeat.age(SystemTime::now()).map(|age| age.as_secs());
                let behind = behind.map_or("unknown".to_owned(), |age| age.to_string());
                warn!(self.log, "removals wait: the source is a mirror that is not complete";
                    "from" => &heartbeat.source, "behind_s" => behind);
            }
            (_, true) => warn!(self.log, "removals wait: the source was a mirror, and its heartbeat is gone";
                "remembered" => upstream.file()),
        }
        self.heartbeats.holds_removals = holds;
        for slot in self.slots.members() {
            let was_released = slot.link.outbox.lock().hold_removals(holds);
            if let Some(actor) = slot.worker.actor().filter(|_| was_released) {
                actor.do_send(Wake);
            }
        }
    }

    /// Sends each node what is new of its heartbeat.
    fn send_heartbeats(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Lifecycle::Running {
            return;
        }
        let own = own_name(&self.config.site.wpath);
        let upstream = self.heartbeats.upstream.before.heartbeat();
        for at in self.slots.numbers(|_| true) {
            let Some(slot) = self.slots.get(at) else { continue };
            let is_well = slot.link.record.read().health.is_well() && !self.paused.has(&slot.node);
            if !is_well || self.heartbeats.on_their_way.contains(&at) {
                continue;
            }
            let outbox = slot.link.outbox.lock();
            let reconciles = outbox.reconciles();
            let mark = self.heartbeats.marks.iter().rev().find(|mark| !outbox.may_lack_any(mark.reported));
            drop(outbox);
            let sent = self.heartbeats.sent.get(&at);
            // A later time than now was of a clock that was ahead.
            let kept = sent.and_then(|sent| sent.until).filter(|until| *until <= unix(SystemTime::now()));
            let until = mark.and_then(|mark| mark.until).max(kept);
            let heartbeat = Heartbeat::of(&own, upstream.as_ref(), reconciles, until);
            // The node may have one from before this start that says more than a mirror that is complete up to no time.
            let says_nothing = heartbeat.state == MirrorProgress::Complete && heartbeat.until.is_none();
            if sent == Some(&heartbeat) || sent.is_none() && says_nothing {
                continue;
            }
            let turn = if sent.is_none() && reconciles { BeatTurn::First } else { BeatTurn::Later };
            self.send_heartbeat(at, heartbeat, turn, ctx);
        }
    }

    fn send_heartbeat(&mut self, at: usize, heartbeat: Heartbeat, turn: BeatTurn, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get(at) else { return };
        self.heartbeats.on_their_way.insert(at);
        let sent = heartbeat.clone();
        let sending = slot.link.transport.ask(move |transport| transport.beat(&sent, turn)).into_actor(self);
        ctx.spawn(sending.map(move |beaten, supervisor, ctx| {
            supervisor.heartbeats.on_their_way.remove(&at);
            match beaten.ok().flatten() {
                Some(Beaten::Taken) => supervisor.beaten(at, heartbeat),
                Some(Beaten::Gone) if turn == BeatTurn::Later => supervisor.heartbeat_lost(at, ctx),
                Some(Beaten::Gone) | None => (),
            }
        }));
    }

    fn beaten(&mut self, at: usize, heartbeat: Heartbeat) {
        let is_first = self.heartbeats.sent.insert(at, heartbeat).is_none();
        let Some(slot) = self.slots.get(at).filter(|_| is_first) else { return };
        // It may have made the file, by which the directory that holds it has another time.
        slot.link.outbox.lock().touch_root();
        slot.worker.actor().iter().for_each(|actor| actor.do_send(Wake));
    }

    /// A mirror has no heartbeat: nobody knows what else it lacks.
    fn heartbeat_lost(&mut self, at: usize, ctx: &mut Context<Self>) {
        let had = self.heartbeats.sent.remove(&at);
        let Some(slot) = self.slots.get(at) else { return };
        match had {
            Some(_) => warn!(slot.link.log, "the mirror has no heartbeat any more; comparing everything"),
            None => info!(slot.link.log, "the mirror has no heartbeat yet; comparing everything"),
        }
        slot.link.outbox.lock().mirror_lost(Instant::now());
        slot.worker.actor().iter().for_each(|actor| actor.do_send(Wake));
        let upstream = self.heartbeats.upstream.before.heartbeat();
        let heartbeat = Heartbeat::of(&own_name(&self.config.site.wpath), upstream.as_ref(), true, None);
        self.send_heartbeat(at, heartbeat, BeatTurn::First, ctx);
    }
}

/// Waits until all that has changed is in the outboxes.
async fn all_reported(watcher: &Recipient<AskReported>) -> Option<()> {
    let (answer, answered) = oneshot::channel();
    watcher.do_send(AskReported(answer));
    answered.await.ok()
}
