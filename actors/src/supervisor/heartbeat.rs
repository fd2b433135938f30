//! The heartbeats of the mirrors (`heartbeat`): when everything until a time is known to be at a node, and what follows
//! from the heartbeat of a source that is a mirror itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use slog::{info, warn};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SupervisorActor;
use super::lifecycle::Lifecycle;
use crate::heartbeat::{Heartbeat, MirrorProgress, own_name};
use crate::messages::{AskCompared, AskReported, Wake};
use crate::status::{UpstreamStatus, unix};
use crate::transport::Beaten;

/// A source whose heartbeat is older is treated as one that is being filled.
const OLD: Duration = Duration::from_secs(3600);
/// The time between a question if everything was reported and the look at what the nodes lack of it.
const DELIVERED: Duration = Duration::from_millis(500);
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
    /// The heartbeat of the source; `None` if it is no mirror.
    upstream: Option<Heartbeat>,
    holds_removals: bool,
}

impl Heartbeats {
    /// The source as a mirror; `None` if it is none.
    pub(super) fn status(&self) -> Option<UpstreamStatus> {
        let upstream = self.upstream.as_ref()?;
        Some(UpstreamStatus {
            source: upstream.source.clone(),
            hops: upstream.hops,
            lag: upstream.age(SystemTime::now()).map(|age| age.as_secs_f64()),
            reconciles: upstream.state == MirrorProgress::Reconciling,
            holds_removals: self.holds_removals,
        })
    }
}

impl SupervisorActor {
    /// Begins with the heartbeats, if they are wanted.
    pub(super) fn begin_heartbeats(&mut self, ctx: &mut Context<Self>) {
        let Some(every) = self.config.site.heartbeat else { return };
        self.read_upstream();
        self.beat(ctx);
        ctx.run_interval(every, Self::beat);
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        let Some(every) = self.config.site.heartbeat.filter(|_| self.phase == Lifecycle::Running) else { return };
        self.read_upstream();
        // Read before the question: what the source had by then has been reported when the answer comes.
        let until = match &self.heartbeats.upstream {
            Some(upstream) => upstream.until,
            None => Some(unix(SystemTime::now())),
        };
        let reported = self.upstream.reported.clone();
        let state = self.upstream.state.as_ref().map(|state| state.compared.clone());
        let asked = async move {
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
        let marked = timeout(every.max(DELIVERED), asked).into_actor(self).map(|mark, supervisor, ctx| {
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
        let root = self.source.root();
        if root.check().is_ok() {
            self.heartbeats.upstream = Heartbeat::in_directory(root.path());
        }
        let upstream = self.heartbeats.upstream.as_ref();
        let holds = upstream.is_some_and(|upstream| upstream.holds_removals(SystemTime::now(), OLD));
        if let (Some(upstream), true) = (upstream, holds != self.heartbeats.holds_removals) {
            let behind = upstream.age(SystemTime::now()).map(|age| age.as_secs());
            match holds {
                true => warn!(self.log, "removals wait: the source is a mirror that is not complete";
                    "from" => &upstream.source, "behind_s" => behind.map_or("unknown".to_owned(), |age| age.to_string())),
                false => info!(self.log, "the source is complete: removals go, and the nodes are compared"),
            }
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
            let until = mark.and_then(|mark| mark.until).max(sent.and_then(|sent| sent.until));
            let heartbeat = Heartbeat::of(&own, self.heartbeats.upstream.as_ref(), reconciles, until);
            if sent == Some(&heartbeat) {
                continue;
            }
            self.heartbeats.on_their_way.insert(at);
            let sending = slot.link.transport.clone().beat(&heartbeat).into_actor(self);
            ctx.spawn(sending.map(move |beaten, supervisor, _| supervisor.beaten(at, heartbeat, beaten)));
        }
    }

    fn beaten(&mut self, at: usize, heartbeat: Heartbeat, beaten: Option<Beaten>) {
        self.heartbeats.on_their_way.remove(&at);
        let Some(beaten) = beaten else { return };
        let is_first = self.heartbeats.sent.insert(at, heartbeat).is_none();
        let Some(slot) = self.slots.get(at) else { return };
        let mut outbox = slot.link.outbox.lock();
        if beaten.made_mirror {
            warn!(slot.link.log, "the mirror did not exist; sending everything");
            outbox.mirror_lost(Instant::now());
        }
        if is_first {
            // It may have made the file, by which the directory that holds it has another time.
            outbox.touch_root();
        }
        drop(outbox);
        if let Some(actor) = slot.worker.actor().filter(|_| is_first || beaten.made_mirror) {
            actor.do_send(Wake);
        }
    }
}

/// Waits until all that has changed is in the outboxes.
async fn all_reported(watcher: &Recipient<AskReported>) -> Option<()> {
    let (answer, answered) = oneshot::channel();
    watcher.do_send(AskReported(answer));
    answered.await.ok()
}
