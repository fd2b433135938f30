//! Answers those outside the daemon: its status, a path, its life.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use tokio::time::{timeout, timeout_at};

use super::SupervisorActor;
use super::hooks::Whose;
use super::lifecycle::{Membership, Worker};
use super::move_log;
use super::slots::Slot;
use super::watchdog::upstream_is_alive;
use crate::messages::{Alive, AskPath, AskSeen, AskStatus, Compared};
use crate::outbox::pending::PendingSet;
use crate::path::{Escaped, RelPath};
use crate::status::record::NodeRecord;
use crate::status::{
    Facts, NodeService, NodeState, NodeStatus, PathAtNode, PathFailure, PathInfo, ProcessUse, ReconcileProgress,
    SourceStatus, Status, UnixTime, unix,
};
use crate::transport::{NodeFacts, Transport};

/// The longest wait for nodes to tell what their rsync is.
const NODES_TIME: Duration = Duration::from_secs(2);
/// The longest wait for the thread of a node to tell what is known.
const FACTS_TIME: Duration = Duration::from_millis(200);
/// Directory moves, and paths that lack attributes, that are named.
const NAMED: usize = 3;
/// The longest wait for the watcher to answer; it may be listing a large tree.
const WATCHER_TIME: Duration = Duration::from_millis(500);

impl SupervisorActor {
    fn status(&self) -> Status {
        let site = &self.config.site;
        let source = SourceStatus { upstream: self.heartbeats.status(), ..self.source.status(&self.upstream.coverage) };
        let nodes = self.slots.members().map(|slot| self.node(slot, source.trouble.as_deref())).collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rsync: self.config.version.to_string(),
            wpath: Escaped(site.wpath.as_os_str().as_encoded_bytes()).to_string(),
            config: String::new(),
            process: ProcessUse { pid: std::process::id(), ..ProcessUse::default() },
            started_at: unix(self.source.started_at()),
            at: unix(SystemTime::now()),
            phase: self.phase.told(),
            state_trouble: self.state_trouble(),
            source,
            nodes,
            hook: self.hooks.status(Whose::All),
        }
    }

    fn state_trouble(&self) -> Option<String> {
        let was_refused = self.config.site.state_file.is_some() && self.upstream.state.is_none();
        let at_start = was_refused
            .then(|| "it could not be opened at the start: the log says why; a restart tries again".to_owned());
        self.upstream.unsaved.trouble().or(at_start)
    }

    pub(super) fn node(&self, slot: &Slot, trouble: Option<&str>) -> NodeStatus {
        let now = Instant::now();
        let mut outbox = slot.link.outbox.lock();
        let ledger = slot.link.record.read();
        let pending = outbox.len();
        let failing = outbox.failing();
        let age = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        // A comparison that is held has a line of its own.
        let is_held = failing.reconcile && ledger.reconcile_held.is_some();
        let facts = Facts {
            phase: self.phase.told(),
            service: match slot.worker {
                Worker::None if slot.deaths > 0 => NodeService::BrokenOff,
                Worker::None => NodeService::NotYet,
                _ => NodeService::Served,
            },
            paused: self.paused.has(&slot.node),
            trouble,
            health: &ledger.health,
            reconciles: ledger.reconciles,
            pending,
            failing: failing.count(),
        };
        NodeStatus {
            name: slot.node.name().to_owned(),
            dest: slot.node.shown_dest(),
            state: NodeState::of(facts, now),
            pending,
            failing_paths: failing.count() - usize::from(is_held),
            failing_oldest: failing.oldest.filter(|_| failing.paths > 0 || !is_held).map(age),
            failing_first: failing.first.iter().map(ToString::to_string).collect(),
            lag: outbox.on_its_way_since().map(age),
            unmirrored_moves: outbox.unmirrored().count(),
            keeps_removed: slot.link.settings.keeps_removed,
            unmirrored_first: outbox.unmirrored().iter().take(NAMED).map(ToString::to_string).collect(),
            attributes_unset: outbox.unset().count(),
            attributes_unset_first: outbox.unset().paths().take(NAMED).map(ToString::to_string).collect(),
            attributes_unset_why: outbox.unset().why().map(str::to_owned),
            limits: slot.facts.traits.iter().map(|one| one.to_string()).collect(),
            progress: slot.link.progress.get().map(|progress| ReconcileProgress {
                checked: progress.checked,
                total: progress.total(),
                bytes: progress.bytes,
            }),
            reconcile_held: ledger.reconcile_held.clone(),
            last_success_at: ledger.last_success.map(unix),
            last_error: ledger.last_error.clone(),
            verified: ledger.verified,
            totals: ledger.totals,
            delivery: ledger.delivery.clone(),
            rsync: slot.facts.remote.clone(),
            hook: self.hooks.status(Whose::Node(slot.link.slot)),
            recent: ledger.recent.iter().cloned().collect(),
        }
    }

    fn path_info(&self, AskPath(path): &AskPath) -> PathInfo {
        let nodes = self.slots.members().map(|slot| {
            let outbox = slot.link.outbox.lock();
            PathAtNode {
                name: slot.node.name().to_owned(),
                pending: outbox.is_pending(path),
                failing: failing(&outbox, path, &slot.link.record),
                last_sent_at: slot.link.record.last_sent(path),
            }
        });
        let since: UnixTime = unix(self.source.started_at());
        PathInfo { seen: None, since, nodes: nodes.collect() }
    }
}

/// The failures of a path at a node, if it failed again although nothing changed.
fn failing(outbox: &PendingSet, path: &RelPath, record: &NodeRecord) -> Option<PathFailure> {
    let (since, next) = outbox.failing_since(path)?;
    let now = Instant::now();
    let today = SystemTime::now();
    let ago = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    let next = next.map(|next| unix(today + next.saturating_duration_since(now)));
    let last_error = record.read().last_error.as_ref().map(|error| error.text.clone());
    Some(PathFailure { since: unix(today - ago), next, last_error })
}

/// Returns the facts about a node, which is first asked for those that are not known. It goes on answering if that takes too
/// long.
async fn facts(transport: Rc<dyn Transport>, asks: bool) -> NodeFacts {
    let asking = if asks { transport.clone().ask() } else { None };
    if let Some(asking) = asking {
        let _ = timeout(NODES_TIME, actix::spawn(asking)).await;
    }
    transport.facts()
}

impl Handler<AskStatus> for SupervisorActor {
    type Result = ResponseActFuture<Self, Option<Status>>;

    fn handle(&mut self, AskStatus { ask_nodes }: AskStatus, _: &mut Self::Context) -> Self::Result {
        // One that fails would only fail once more, and one that is paused is left alone.
        let is_meant = |slot: &&Slot| {
            let is_well = slot.link.record.read().health.is_well();
            ask_nodes && slot.membership == Membership::Staying && is_well && !self.paused.has(&slot.node)
        };
        let asked = self.slots.iter().map(|slot| {
            let asks = is_meant(&slot);
            (slot.link.slot, slot.link.transport.ask(move |transport| facts(transport, asks)))
        });
        let asked: Vec<_> = asked.collect();
        let time = if ask_nodes { NODES_TIME + FACTS_TIME } else { FACTS_TIME };
        let known = async move {
            let until = tokio::time::Instant::now() + time;
            let mut known = Vec::with_capacity(asked.len());
            for (at, facts) in asked {
                // One that panicked has told nothing, and of one that is busy it is told what was known before.
                known.push((at, timeout_at(until, facts).await.ok().and_then(Result::ok)));
            }
            known
        };
        let answer = known.into_actor(self).map(|known, supervisor, _| {
            for (at, facts) in known {
                if let Some((slot, facts)) = supervisor.slots.get(at).zip(facts) {
                    slot.facts = facts;
                }
            }
            // Its nodes have left it already.
            (!supervisor.phase.has_ended()).then(|| supervisor.status())
        });
        Box::pin(answer)
    }
}

impl Handler<AskPath> for SupervisorActor {
    type Result = ResponseActFuture<Self, PathInfo>;

    fn handle(&mut self, asked: AskPath, _: &mut Self::Context) -> Self::Result {
        let seen = timeout(WATCHER_TIME, self.upstream.seen.send(AskSeen(asked.0.clone())));
        let answer = seen.into_actor(self).map(move |seen, supervisor, _| {
            let seen = seen.ok().and_then(Result::ok);
            PathInfo { seen, ..supervisor.path_info(&asked) }
        });
        Box::pin(answer)
    }
}

impl Handler<Alive> for SupervisorActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> Self::Result {
        // At the end watcher and filter are not needed any more.
        if self.phase.has_ended() {
            return Box::pin(async { true });
        }
        let upstream = upstream_is_alive(&self.upstream);
        let threads = self.slots.iter().filter(|slot| slot.link.transport.thread().is_some());
        let threads: Vec<_> = threads.map(|slot| slot.link.transport.ask(|_| async {})).collect();
        Box::pin(async move {
            for answer in threads {
                if answer.await.is_err() {
                    return false;
                }
            }
            upstream.await
        })
    }
}

impl Handler<Compared> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Compared { dest, began }: Compared, _: &mut Self::Context) {
        let compared = self.slots.iter().filter(|slot| slot.node.shown_dest() == dest);
        compared.for_each(|slot| move_log::forget_mirrored(slot, began));
        self.upstream.unsaved.ring();
    }
}
