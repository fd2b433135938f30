//! The contract between the SyncActor of a node and the way to that node. Neither side knows the other: both know this.

pub mod blame;
pub mod comparison;
pub mod failure;
pub mod heard;
pub mod plan;
pub mod progress;
pub mod rename;
pub mod traits;
pub mod unset;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::blame::Blame;
use self::comparison::Comparison;
use self::failure::Failure;
use self::heard::Heard;
use self::plan::Plan;
use self::progress::Latest;
use self::traits::Traits;
use self::unset::Unset;
use crate::path::RelPath;

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

/// A run in flight.
pub type Running = Pin<Box<dyn Future<Output = Result<Delivery, Failure>>>>;

/// A comparison in flight.
pub type Verifying = Pin<Box<dyn Future<Output = Result<Comparison, Failure>>>>;

/// Says that a run has done its work: nothing changes at the node because of it any more. Whether it succeeded is said
/// when it ends, which can be a while later. Dropped when it ends without having said so.
pub type Worked = oneshot::Sender<()>;

/// The way that a batch takes to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Small changes.
    Fast,
    /// Files and subtrees for which a batch of the fast lane has no room.
    Bulk,
}

impl Lane {
    /// Both, the fast one first.
    pub const ALL: [Lane; 2] = [Lane::Fast, Lane::Bulk];
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

/// What one or more runs did at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Entries that were sent or got other attributes.
    pub sent: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Bytes that went over the wire for them.
    pub bytes: u64,
    /// Whether the mirror itself did not exist before.
    pub made_mirror: bool,
}

impl Tally {
    /// Adds what another run did.
    pub fn add(&mut self, other: Tally) {
        self.sent += other.sent;
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.made_mirror |= other.made_mirror;
    }

    /// Entries that are different now.
    pub fn changes(&self) -> usize {
        usize::try_from(self.sent + self.deleted).unwrap_or(usize::MAX)
    }
}

/// The rsync at a node, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRsync {
    /// Its version; an rsync daemon does not tell.
    pub version: Option<String>,
    /// The protocol that it speaks.
    pub protocol: Option<u32>,
}
