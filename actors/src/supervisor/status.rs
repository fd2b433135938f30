//! Answers questions about the daemon, and pauses nodes.

use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use tokio::time::timeout;

use super::hooks::Whose;
use super::slots::{Slot, Stage};
use super::{Phase, SupervisorActor};
use crate::messages::{AskPath, AskSeen, AskStatus, Reason};
use crate::outbox::pending::PendingSet;
use crate::path::{Escaped, RelPath};
use crate::status::record::Record;
use crate::status::{self, AtNode, Facts, Failing, Node, Progress, Source, State, Status, UnixTime, Whereabouts, unix};
use crate::watch_error::watch_limit;
use crate::watcher::sight::View;

/// How long nodes may take to tell what their rsync is.
const NODES_TIME: Duration = Duration::from_secs(2);
/// Directory moves, and paths that lack attributes, that are named.
const NAMED: usize = 3;
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
        // What is not watched is compared again and again: nothing is lost by that.
        self.rescans += u64::from(reason != Reason::WatchLimit);
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
            state_trouble: self.state_trouble(),
            source,
            nodes,
            hook: self.hooks.status(Whose::All),
        }
    }

    fn state_trouble(&self) -> Option<String> {
        let was_refused = self.edition.site.state_file.is_some() && self.front.state.is_none();
        let at_start = was_refused
            .then(|| "it could not be opened at the start: the log says why; a restart tries again".to_owned());
        self.unsaved.trouble().or(at_start)
    }

    fn source(&self) -> Source {
        let View { watched, unwatched, first } = self.front.sight.read();
        Source {
            // Where nothing changes, nobody else has looked.
            trouble: self.root.check().err().map(|why| why.to_string()),
            watched_directories: watched,
            watch_limit: watch_limit().map(|limit| limit.value),
            unwatched_directories: unwatched,
            unwatched: first.iter().map(ToString::to_string).collect(),
            overflows: self.tally.overflows,
            rescans: self.tally.rescans,
        }
    }

    fn node(&self, slot: &Slot, trouble: Option<&str>) -> Node {
        let (now, mut outbox, ledger) = (Instant::now(), slot.link.outbox.lock(), slot.link.record.read());
        let (pending, failing) = (outbox.len(), outbox.failing());
        let age = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        // A comparison that is held has a line of its own.
        let is_held = failing.reconcile && ledger.reconcile_held.is_some();
        let facts = Facts {
            phase: self.phase.told(),
            has_ended: slot.actor.is_none() && slot.deaths > 0,
            is_served: slot.actor.is_some(),
            paused: ledger.paused,
            trouble,
            health: &ledger.health,
            reconciles: ledger.reconciles,
            pending,
            failing: failing.count(),
        };
        Node {
            name: slot.node.name().to_owned(),
            dest: slot.node.shown_dest(),
            state: State::of(facts, now),
            pending,
            failing_paths: failing.count() - usize::from(is_held),
            failing_oldest: failing.oldest.filter(|_| failing.paths > 0 || !is_held).map(age),
            failing_first: failing.first.iter().map(ToString::to_string).collect(),
            lag: outbox.on_its_way_since().map(age),
            unmirrored_moves: outbox.unmirrored().count(),
            unmirrored_first: outbox.unmirrored().iter().take(NAMED).map(ToString::to_string).collect(),
            attributes_unset: outbox.unset().count(),
            attributes_unset_first: outbox.unset().paths().take(NAMED).map(ToString::to_string).collect(),
            attributes_unset_why: outbox.unset().why().map(str::to_owned),
            limits: slot.link.transport.traits().iter().map(|one| one.to_string()).collect(),
            progress: slot.link.progress.get().map(|progress| Progress {
                checked: progress.checked,
                total: progress.total(),
                bytes: progress.bytes,
            }),
            reconcile_held: ledger.reconcile_held.clone(),
            last_success_at: ledger.last_success.map(unix),
            last_error: ledger.last_error.clone(),
            verified: ledger.verified,
            totals: ledger.totals,
            rsync: slot.link.transport.remote(),
            hook: self.hooks.status(Whose::Node(slot.link.slot)),
            recent: ledger.recent.iter().cloned().collect(),
        }
    }

    fn whereabouts(&self, AskPath(path): &AskPath) -> Whereabouts {
        let staying = self.slots.iter().filter(|slot| slot.stage != Stage::Leaving);
        let nodes = staying.map(|slot| {
            let outbox = slot.link.outbox.lock();
            AtNode {
                name: slot.node.name().to_owned(),
                pending: outbox.is_pending(path),
                failing: failing(&outbox, path, &slot.link.record),
                last_sent_at: slot.link.record.last_sent(path),
            }
        });
        let since: UnixTime = unix(self.tally.started_at);
        Whereabouts { seen: None, since, nodes: nodes.collect() }
    }
}

/// The failures of a path at a node, if it failed again although nothing changed.
fn failing(outbox: &PendingSet, path: &RelPath, record: &Record) -> Option<Failing> {
    let (since, next) = outbox.failing_since(path)?;
    let (now, today) = (Instant::now(), SystemTime::now());
    let ago = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    let next = next.map(|next| unix(today + next.saturating_duration_since(now)));
    let last_error = record.read().last_error.as_ref().map(|error| error.text.clone());
    Some(Failing { since: unix(today - ago), next, last_error })
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
    type Result = ResponseActFuture<Self, Option<Status>>;

    fn handle(&mut self, AskStatus { ask_nodes }: AskStatus, _: &mut Self::Context) -> Self::Result {
        // One that fails would only fail once more, and one that is paused is left alone.
        let is_meant = |slot: &&Slot| {
            let ledger = slot.link.record.read();
            ask_nodes && slot.stage == Stage::Staying && ledger.health.is_well() && !ledger.paused
        };
        let well = self.slots.iter().filter(is_meant);
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
        let answer = asked.into_actor(self).map(|(), supervisor, _| {
            // Its nodes have left it already.
            (supervisor.phase != Phase::Ended).then(|| supervisor.status())
        });
        Box::pin(answer)
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
