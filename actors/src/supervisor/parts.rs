//! The parts of which a supervisor is made: the actors in front of the SyncActors, the one that keeps the state, and
//! more.

use actix::prelude::*;
use slog::Logger;
use tokio::sync::{oneshot, watch};

use super::paused::Paused;
use super::slots::{Slot, Slots};
use super::watchdog::DaemonProgress;
use crate::children::Children;
use crate::ending::EndsDaemon;
use crate::messages::{Alive, AskCompared, AskReported, AskSeen, Audit, Compare, Exclude, Flush, Save, Serve, Vacate};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::outbox::unsaved::Unsaved;
use crate::reload::ConfigSnapshot;
use crate::root::Root;
use crate::site::{DeleteMode, Site};
use crate::state::memory::Resumed;
use crate::state::{Keep, SavedBacklog};
use crate::transport::handle::TransportHandle;
use crate::watcher::coverage::WatchCoverage;

/// Makes the way to the node of a slot, at the start and when a reload asks for another one.
pub(crate) type TransportFactory = Box<dyn FnMut(&ConfigSnapshot, &Node, usize) -> TransportHandle>;

/// The parts of which a supervisor is made.
pub(crate) struct SupervisorParts {
    /// The configuration at the start.
    pub(crate) config: ConfigSnapshot,
    /// The root of the source.
    pub(crate) root: Root,
    /// Makes the transports to the nodes.
    pub(crate) transports: TransportFactory,
    /// The processes among which hooks are started.
    pub(crate) children: Children,
    /// The outboxes of the nodes, in their order. The filter knows them by their place.
    pub(crate) outboxes: Vec<Outbox>,
    /// The actors in front of the SyncActors.
    pub(crate) upstream: Upstream,
    /// Hears how far the daemon is.
    pub(crate) progress: watch::Sender<DaemonProgress>,
    /// The nodes that are paused.
    pub(crate) paused: Paused,
    /// The log of the daemon.
    pub(crate) log: Logger,
    /// Announces the end of the daemon.
    pub(crate) guard: EndsDaemon,
}

/// The watcher and the filter. They report to the supervisor, so they are started with its address before it runs
/// itself: a report that came before it knew them would be lost on it.
pub(crate) struct Upstream {
    /// To the filter: a node comes.
    pub(crate) serve: Recipient<Serve>,
    /// To the filter: a node goes.
    pub(crate) vacate: Recipient<Vacate>,
    /// To the watcher: everything that was reported is wanted.
    pub(crate) flush: Flushes,
    /// To the watcher: other patterns hold.
    pub(crate) exclude: Recipient<Exclude>,
    /// To the watcher: the watches are to be counted.
    pub(crate) audit: Recipient<Audit>,
    /// To the watcher: a path is asked for.
    pub(crate) seen: Recipient<AskSeen>,
    /// To the watcher, from the SyncActors: everything that has changed is wanted.
    pub(crate) reported: Recipient<AskReported>,
    /// The directories that the watcher watches.
    pub(crate) coverage: WatchCoverage,
    /// To the watcher and the filter: an answer is wanted.
    pub(crate) alive: [Recipient<Alive>; 2],
    /// Is told when the outboxes change.
    pub(crate) unsaved: Unsaved,
    /// The state; `None` if none is kept.
    pub(crate) state: Option<StateHandle>,
}

/// Flushes of the watcher and the filter. Those that were asked for at different times may overtake each other, so only
/// when none is left, everything before the last has come.
pub(crate) struct Flushes {
    ask: Recipient<Flush>,
    /// Flushes that have not come back.
    out: usize,
    /// Are told when none is left.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Flushes {
    /// Flushes that this actor is asked for.
    pub(crate) fn by(ask: Recipient<Flush>) -> Self {
        Flushes { ask, out: 0, waiting: Vec::new() }
    }

    /// Asks for everything that the kernel has reported.
    pub(super) fn ask(&mut self) {
        self.out += 1;
        self.ask.do_send(Flush);
    }

    /// Asks for everything that the kernel has reported; the receiver hears when that has come.
    pub(super) fn passed(&mut self) -> oneshot::Receiver<()> {
        self.ask();
        let (tell, passed) = oneshot::channel();
        self.waiting.push(tell);
        passed
    }

    /// Notes that one has come back. Returns true if none is left.
    pub(super) fn came(&mut self) -> bool {
        self.out -= 1;
        if self.out == 0 {
            // Whoever does not listen any more need not know.
            for tell in self.waiting.drain(..) {
                let _ = tell.send(());
            }
        }
        self.out == 0
    }
}

/// The StateActor as the supervisor sees it.
pub(crate) struct StateHandle {
    /// The state that the last run left; taken up once.
    pub(crate) past: Option<Resumed>,
    /// Learns of which nodes the state is.
    pub(crate) keep: Recipient<Keep>,
    /// To the filter, for the StateActor: what changed since the last run is wanted.
    pub(crate) compare: Recipient<Compare>,
    /// Answers when all that it found is on its way.
    pub(crate) compared: Recipient<AskCompared>,
    /// Saves the state once more, at the end.
    pub(crate) save: Recipient<Save>,
}

impl Upstream {
    /// Goes on where the last run ended. Returns false if nothing is known of one.
    pub(super) fn take_up_work(&mut self, slots: &Slots, site: &Site) -> bool {
        let Some(state) = &mut self.state else { return false };
        let Some(mut past) = state.past.take() else { return false };
        for slot in slots.staying() {
            past.hide(&slot.link.outbox);
            let is_known = past.take_up(&slot.link.key, &slot.link.outbox);
            // What the node kept until now goes by a comparison.
            let deletes = site.at(&slot.node).delete == DeleteMode::Startup;
            if (!is_known || deletes) && site.compares_unknown() {
                slot.link.outbox.lock().want_reconcile();
            }
        }
        state.compare.do_send(Compare { unsaved_names: !past.complete });
        true
    }

    /// Tells the StateActor of which nodes the state is. Not yet of one that lacks what is not in its outbox.
    pub(super) fn keep(&self, site: &Site, slots: &Slots) {
        let Some(state) = &self.state else { return };
        let known = slots.staying().filter(|slot| !slot.reconcile);
        let kept = |slot: &Slot| SavedBacklog { key: slot.link.key.clone(), outbox: slot.link.outbox.clone() };
        let nodes = known.map(kept).collect();
        state.keep.do_send(Keep { nodes, excludes: site.excludes.clone(), gone: site.gone_entries() });
    }
}
