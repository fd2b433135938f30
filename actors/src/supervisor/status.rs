//! Answers questions about the daemon, and pauses nodes.

use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use slog::info;
use tokio::time::timeout;

use super::slots::{Slot, Stage};
use super::{Phase, SupervisorActor};
use crate::messages::{AskPath, AskSeen, AskStatus, Pause, Reason, Wake};
use crate::path::Escaped;
use crate::status::{self, AtNode, Facts, Node, Progress, Source, State, Status, UnixTime, Whereabouts, unix};
use crate::watcher::sight::Seen;
use crate::watcher::watch_limit;

/// How long nodes may take to tell what their rsync is.
const NODES_TIME: Duration = Duration::from_secs(2);
/// How long the watcher may take to answer; it may be listing a large tree.
const WATCHER_TIME: Duration = Duration::from_millis(500);

/// What is counted over all nodes.
pub struct Tally {
    started_at: SystemTime,
    overflows: u64,
    rescans: u64,
}

impl Tally {
    /// From now on.
    pub fn new() -> Self {
        Tally { started_at: SystemTime::now(), overflows: 0, rescans: 0 }
    }

    /// The watcher lost track of a directory.
    pub fn lost_track(&mut self, reason: Reason) {
        self.rescans += 1;
        self.overflows += u64::from(reason == Reason::Overflow);
    }
}

impl SupervisorActor {
    fn status(&self) -> Status {
        let site = &self.edition.site;
        let nodes = self.slots.iter().filter(|slot| slot.stage != Stage::Leaving);
        let source = self.source();
        let nodes = nodes.map(|slot| self.node(slot, source.trouble.as_deref())).collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rsync: self.edition.version.to_string(),
            wpath: Escaped(site.wpath.as_os_str().as_encoded_bytes()).to_string(),
            pid: std::process::id(),
            started_at: unix(self.tally.started_at),
            at: unix(SystemTime::now()),
            phase: self.phase.told(),
            source,
            nodes,
        }
    }

    fn source(&self) -> Source {
        let Seen { watched, unwatched, first } = self.front.sight.read();
        Source {
            // Where nothing changes, nobody else has looked.
            trouble: self.root.check().err().map(|why| why.to_string()),
            watched_directories: watched,
            watch_limit: watch_limit(),
            unwatched_directories: unwatched,
            unwatched: first.iter().map(ToString::to_string).collect(),
            overflows: self.tally.overflows,
            rescans: self.tally.rescans,
        }
    }

    fn node(&self, slot: &Slot, trouble: Option<&str>) -> Node {
        let (now, outbox, ledger) = (Instant::now(), slot.link.outbox.lock(), slot.link.record.read());
        let pending = outbox.len();
        let facts = Facts {
            phase: self.phase.told(),
            is_served: slot.actor.is_some(),
            paused: ledger.paused,
            trouble,
            health: &ledger.health,
            reconciles: ledger.reconciles,
            pending,
        };
        Node {
            name: slot.node.name().to_owned(),
            dest: Escaped(slot.node.dest().as_encoded_bytes()).to_string(),
            state: State::of(facts, now),
            pending,
            lag: outbox.oldest().map(|since| now.saturating_duration_since(since).as_secs_f64()),
            progress: slot.link.progress.get().map(|progress| Progress {
                checked: progress.checked,
                total: progress.total(),
                bytes: progress.bytes,
            }),
            reconcile_held: ledger.reconcile_held.clone(),
            last_success_at: ledger.last_success.map(unix),
            last_error: ledger.last_error.clone(),
            totals: ledger.totals,
            rsync: slot.link.transport.remote(),
            recent: ledger.recent.iter().cloned().collect(),
        }
    }

    fn whereabouts(&self, AskPath(path): &AskPath) -> Whereabouts {
        let staying = self.slots.iter().filter(|slot| slot.stage != Stage::Leaving);
        let nodes = staying.map(|slot| AtNode {
            name: slot.node.name().to_owned(),
            pending: slot.link.outbox.lock().concerns(path),
            last_sent_at: slot.link.record.last_sent(path),
        });
        let since: UnixTime = unix(self.tally.started_at);
        Whereabouts { seen: None, since, nodes: nodes.collect() }
    }
}

impl Phase {
    /// What others need to know of it.
    fn told(self) -> status::Phase {
        match self {
            Phase::Starting => status::Phase::Starting,
            Phase::Running => status::Phase::Running,
            Phase::Flushing | Phase::Draining | Phase::Saving | Phase::Ended => status::Phase::Stopping,
        }
    }
}

impl Handler<AskStatus> for SupervisorActor {
    type Result = ResponseActFuture<Self, Status>;

    fn handle(&mut self, AskStatus { ask_nodes }: AskStatus, _: &mut Self::Context) -> Self::Result {
        // One that fails would only fail once more.
        let well = self.slots.iter().filter(|slot| ask_nodes && slot.link.record.read().health.is_well());
        let asked: Vec<_> = well.filter_map(|slot| slot.link.transport.clone().ask()).collect();
        let asked = async move {
            let asked = asked.into_iter().map(actix::spawn).collect::<Vec<_>>();
            let all = async {
                for node in asked {
                    // One that panicked has told nothing.
                    let _ = node.await;
                }
            };
            let _ = timeout(NODES_TIME, all).await;
        };
        Box::pin(asked.into_actor(self).map(|(), supervisor, _| supervisor.status()))
    }
}

impl Handler<AskPath> for SupervisorActor {
    type Result = ResponseActFuture<Self, Whereabouts>;

    fn handle(&mut self, asked: AskPath, _: &mut Self::Context) -> Self::Result {
        let seen = timeout(WATCHER_TIME, self.front.seen.send(AskSeen(asked.0.clone())));
        let answer = seen.into_actor(self).map(move |seen, supervisor, _| {
            let seen = seen.ok().and_then(Result::ok);
            Whereabouts { seen, ..supervisor.whereabouts(&asked) }
        });
        Box::pin(answer)
    }
}

impl Handler<Pause> for SupervisorActor {
    type Result = bool;

    fn handle(&mut self, Pause { node, paused }: Pause, _: &mut Self::Context) -> bool {
        let staying = self.slots.iter().filter(|slot| slot.stage != Stage::Leaving);
        let is_meant = |slot: &&Slot| slot.node.name() == node || slot.node.dest() == node.as_str();
        let slots: Vec<&Slot> = staying.filter(is_meant).collect();
        for slot in &slots {
            if slot.link.record.pause(paused) {
                let pending = slot.link.outbox.lock().len();
                let what = if paused { "node paused: changes are collected" } else { "node resumed" };
                info!(slot.link.log, "{what}"; "pending" => pending);
                if !paused && slot.actor.is_some() {
                    slot.link.transport.clone().warm();
                }
            }
            slot.actor.iter().for_each(|actor| actor.do_send(Wake));
        }
        !slots.is_empty()
    }
}
