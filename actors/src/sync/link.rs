//! What a SyncActor is given: the outbox of its node, the way to it, and to whom it reports.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use slog::Logger;
use tokio::sync::oneshot;

use super::lease::Lane;
use super::pending::PendingSet;
use super::plan::Plan;
use crate::filter::excludes::Excludes;
use crate::hook::heard::Heard;
use crate::messages::{Died, Drained, Mirrored, Settled, Succeeded};
use crate::path::RelPath;
use crate::root::Root;
use crate::rsync::blame::Blame;
use crate::rsync::failure::Failure;
use crate::rsync::output::Tally;
use crate::rsync::progress::Latest;
use crate::rsync::traits::Traits;
use crate::rsync::unset::Unset;
use crate::rsync::verify::Comparison;
use crate::site::Site;
use crate::state::unsaved::Unsaved;
use crate::status::RemoteRsync;
use crate::status::record::Record;

/// The pending set of one node, shared by the FilterActor that fills it, the SyncActor that works it off, and the
/// supervisor, which keeps it when the SyncActor dies.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    set: Arc<Mutex<PendingSet>>,
    rung: Arc<AtomicBool>,
}

impl Outbox {
    /// An empty one for a node of this site.
    pub fn of(site: &Site) -> Self {
        let outbox = Outbox::default();
        outbox.lock().set_settle(site.settle.clone());
        outbox.lock().set_dir_moves(site.dir_moves);
        outbox
    }

    /// An empty one of another node, which knows as much of the source.
    pub fn beside(&self) -> Self {
        Outbox { set: Arc::new(Mutex::new(self.lock().beside())), rung: Arc::default() }
    }

    /// The set. A panic while it was held left it whole: its operations do not call out.
    pub fn lock(&self) -> MutexGuard<'_, PendingSet> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was added. Whether the SyncActor has to be told: not if it has still to hear of what came before.
    pub fn ring(&self) -> bool {
        !self.rung.swap(true, Ordering::AcqRel)
    }

    /// The SyncActor is about to look: what is added from now on has to be told.
    pub fn hear(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What one or more runs did, when they did not fail as a whole.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// What was sent and deleted.
    pub tally: Tally,
    /// Paths that failed, or that lie above or below what did.
    pub blamed: Blame,
    /// Those of them, by their names, that do not fit at the node.
    pub aside: BTreeSet<RelPath>,
    /// Those of them that were not tried, as they are beside these and no smaller. The node may have them as they are.
    pub untried: BTreeSet<RelPath>,
    /// Those of them that only the node has, and that could not be deleted there.
    pub undeleted: BTreeSet<RelPath>,
    /// Why they failed; `Some` if and only if something is blamed.
    pub failure: Option<Failure>,
    /// What arrived without some of its attributes.
    pub unset: Unset,
    /// Directory moves that were mirrored.
    pub moved: Vec<Moved>,
    /// Symlinks that were not sent: what they lead to failed, or they lead elsewhere now.
    pub left: BTreeSet<RelPath>,
    /// Entries whose removal was tried.
    pub removed: BTreeSet<RelPath>,
    /// Entries to be compared once more, since the removals may have changed them.
    pub again: BTreeMap<RelPath, Again>,
}

/// How an entry is compared once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// Whether size and time prove nothing. The node's kernel may take an entry for there that went by another name.
    pub rewritten: bool,
    /// How long to leave it alone.
    pub after: Duration,
}

/// A directory move that was mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// What the node had the directory as.
    pub from: RelPath,
    /// What it has it as now.
    pub to: RelPath,
    /// Bytes of files that went over the wire for it.
    pub bytes: u64,
}

impl Delivery {
    /// Some paths failed.
    pub(crate) fn fail(&mut self, paths: impl IntoIterator<Item = RelPath>, failure: Option<Failure>) {
        self.blamed.add(Blame::Paths(paths.into_iter().collect()));
        self.failure = self.failure.take().or(failure);
    }

    /// Whether this was left out of a run, so that the rest arrived.
    pub(crate) fn is_set_aside(&self, path: &RelPath) -> bool {
        self.aside.contains(path) || self.untried.contains(path)
    }

    /// Adds what another run did.
    pub fn add(&mut self, other: Delivery) {
        self.tally.add(other.tally);
        self.blamed.add(other.blamed);
        self.aside.extend(other.aside);
        self.untried.extend(other.untried);
        self.undeleted.extend(other.undeleted);
        self.unset.add(other.unset);
        self.moved.extend(other.moved);
        self.removed.extend(other.removed);
        self.again.extend(other.again);
        self.left.extend(other.left);
        if let Some(failure) = other.failure {
            self.failure.get_or_insert(failure);
        }
    }
}

/// A run in flight.
pub type Running = Pin<Box<dyn Future<Output = Result<Delivery, Failure>>>>;

/// A comparison in flight.
pub type Verifying = Pin<Box<dyn Future<Output = Result<Comparison, Failure>>>>;

/// Says that a run has done its work: nothing changes at the node because of it any more. Whether it succeeded is said
/// when it ends, which can be a while later. Dropped when it ends without having said so.
pub type Worked = oneshot::Sender<()>;

/// A way to a node.
pub trait Transport {
    /// Carries out a plan.
    fn deliver(self: Rc<Self>, plan: Rc<Plan>, lane: Lane, worked: Worked) -> Running;
    /// Compares the whole tree. What the node has below the directories `kept` is not deleted. While it runs, `latest` says
    /// how far it is.
    fn reconcile(self: Rc<Self>, kept: Vec<RelPath>, latest: Latest) -> Running;
    /// Compares the whole tree by the content of the files, and changes nothing. What the node has below the directories
    /// `kept` it may have; what `is_pending` is on its way.
    fn verify(self: Rc<Self>, kept: Vec<RelPath>, is_pending: Box<dyn Fn(&RelPath) -> bool>) -> Verifying {
        let _ = (kept, is_pending);
        Box::pin(async { Ok(Comparison::default()) })
    }
    /// Whether a comparison of the whole tree may delete but so much, so that parts do not stand for it.
    fn bounds_deletions(&self) -> bool {
        false
    }
    /// Something may have to be sent soon.
    fn warm(self: Rc<Self>) {}
    /// If it is better to wait a moment than to send now: what was found meanwhile goes along. Ends when to look again.
    fn late(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        None
    }
    /// Nothing can be sent for now: nothing is to be kept ready for it.
    fn rest(&self) {}
    /// What made it rest is over.
    fn wake(self: Rc<Self>) {
        self.warm();
    }
    /// What is known of the rsync at the node.
    fn remote(&self) -> RemoteRsync {
        RemoteRsync::default()
    }
    /// What the node cannot hold, as far as that is known.
    fn traits(&self) -> Traits {
        Traits::default()
    }
    /// From now on, what runs change at the node is told there.
    fn report_to(&self, _: &Heard) {}
    /// Finds out more of it, if there is more to find out; changes nothing at the node.
    fn ask(self: Rc<Self>) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        None
    }
    /// Nothing more will be sent this way, beside what is on it: nothing is to be kept ready, ever.
    fn retire(&self) {
        self.rest();
    }
}

/// What a SyncActor works on and with. All of it outlives the actor.
#[derive(Clone)]
pub struct Link {
    /// The number of the node, of which no other has the same as long as the daemon runs.
    pub slot: usize,
    /// Tells the node, as it is configured, from any other in the saved state.
    pub key: String,
    /// What the node does not have yet.
    pub outbox: Outbox,
    /// Is told when that changes, since it is saved.
    pub unsaved: Unsaved,
    /// The way to it.
    pub transport: Rc<dyn Transport>,
    /// How far the reconcile is, while one runs.
    pub progress: Latest,
    /// What a batch of the fast lane carries, in bytes.
    pub bulk_size: u64,
    /// How it is served.
    pub record: Record,
    /// What was changed at it and is to be told to hooks.
    pub heard: Heard,
    /// The source.
    pub root: Root,
    /// What is never mirrored.
    pub excludes: Excludes,
    /// Its lines name the node.
    pub log: Logger,
}

/// To whom a SyncActor reports.
#[derive(Clone)]
pub struct Superior {
    /// The actor is gone.
    pub died: Recipient<Died>,
    /// The node took something.
    pub succeeded: Recipient<Succeeded>,
    /// The node lacks less than before.
    pub settled: Recipient<Settled>,
    /// A directory move was mirrored.
    pub mirrored: Recipient<Mirrored>,
    /// The answer to [`Drain`](crate::messages::Drain).
    pub drained: Recipient<Drained>,
}
