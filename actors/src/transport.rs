//! The contract between a node's SyncActor and the code that reaches the node. Neither side knows the other; both know
//! this module.

pub mod blame;
pub mod comparison;
pub mod failure;
pub(crate) mod handle;
pub(crate) mod heard;
pub mod plan;
pub mod progress;
pub mod rename;
pub(crate) mod traits;
pub(crate) mod unset;

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
use crate::heartbeat::Heartbeat;
use crate::path::RelPath;

/// The time that the far side of an rsync that was given up takes to remove its temporary file: a run before that would
/// have its directory times overtaken.
pub(crate) const LINGERS: Duration = Duration::from_secs(2);

/// Brings changes to one node and compares the node with the source.
pub trait Transport {
    /// Carries out a plan. `worked` is told once the plan has stopped changing the node.
    fn deliver(self: Rc<Self>, plan: Rc<Plan>, lane: Lane, worked: Worked) -> Running;
    /// Compares the whole tree. Entries at the node below the directories `kept` are not deleted. `latest` holds the
    /// progress while the comparison runs.
    fn reconcile(self: Rc<Self>, kept: Vec<RelPath>, latest: Latest) -> Running;
    /// Compares the whole tree by the content of the files, and changes nothing. Entries at the node below the
    /// directories `kept`, and paths for which `is_pending` returns true, are not reported as differences.
    fn verify(self: Rc<Self>, kept: Vec<RelPath>, is_pending: Box<dyn Fn(&RelPath) -> bool>) -> Verifying {
        let _ = (kept, is_pending);
        Box::pin(async { Ok(Comparison::default()) })
    }
    /// Tells if a comparison of the whole tree may delete only a limited number of entries, so that comparisons of its parts
    /// cannot stand for it.
    fn bounds_deletions(&self) -> bool {
        false
    }
    /// Prepares for a run that may come soon, for instance by starting a standby.
    fn warm(self: Rc<Self>) {}
    /// Returns a future to wait for before the next run, if a short wait makes that run faster. Changes that arrive
    /// during the wait join the run. The future ends when the caller should look again.
    fn late(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        None
    }
    /// Returns the round trip to the node, if it is long, and plans that have nothing to do with each other may be carried
    /// out at once.
    fn round_trip(&self) -> Option<Duration> {
        None
    }
    /// Tells if the names of one file of the source are to be one file at the node.
    fn links_hard(&self) -> bool {
        false
    }
    /// Notes that names of one file arrived. Returns true if the node had refused to link such names for a while: those of that
    /// time are files of their own there.
    fn links_hard_again(&self) -> bool {
        false
    }
    /// Tells if only the comparison at the start deletes: later ones keep what the source lost.
    fn deletes_at_start_only(&self) -> bool {
        false
    }
    /// Lets reconciles delete as many entries as they take, until one has succeeded.
    fn allow_deletions(&self) {}
    /// Gives up whatever was prepared, as no run can start for now.
    fn rest(&self) {}
    /// Prepares for runs again after [`Transport::rest`].
    fn wake(self: Rc<Self>) {
        self.warm();
    }
    /// Sends a heartbeat; `None` comes back if the node does not take it.
    fn beat(self: Rc<Self>, _: &Heartbeat, _: BeatTurn) -> Beating {
        Box::pin(async { None })
    }
    /// Returns the facts about the node that are known so far.
    fn facts(&self) -> NodeFacts {
        NodeFacts::default()
    }
    /// Makes later runs report the paths that they change at the node to this list.
    fn report_to(&self, _: &Heard) {}
    /// Asks the node for the facts that [`Transport::facts`] lacks and changes nothing there; `None` if there is
    /// nothing to ask.
    fn ask(self: Rc<Self>) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        None
    }
    /// Gives up whatever was prepared, for good: runs in flight finish, and no other run follows.
    fn retire(&self) {
        self.rest();
    }
}

/// One or more rsync runs in progress.
pub type Running = Pin<Box<dyn Future<Output = Result<Delivery, Failure>>>>;

/// A comparison by content in progress.
pub type Verifying = Pin<Box<dyn Future<Output = Result<Comparison, Failure>>>>;

/// A heartbeat on its way.
pub type Beating = Pin<Box<dyn Future<Output = Option<Beaten>>>>;

/// The turn of a heartbeat at a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatTurn {
    /// The mirror is about to be compared as a whole: the file is made if it is not there.
    First,
    /// The mirror has the file, unless it is another mirror by now.
    Later,
}

/// The outcome of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beaten {
    /// The mirror has it.
    Taken,
    /// The mirror has no file of a heartbeat: nobody knows what else it lacks.
    Gone,
}

/// A signal that a run has stopped changing the node. The result of the run can follow a while later. A run that ends
/// without the signal drops the sender.
pub type Worked = oneshot::Sender<()>;

/// The kind of batch. Small changes overtake large ones, except where both concern the same paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Changes that are quick to send.
    Fast,
    /// Files and subtrees that do not fit into a batch of the fast lane.
    Bulk,
}

impl Lane {
    /// Both lanes, the fast one first.
    pub(crate) const ALL: [Lane; 2] = [Lane::Fast, Lane::Bulk];
}

/// The outcome of one or more runs that did not fail as a whole.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// Numbers of entries that were sent and deleted, and of bytes.
    pub tally: Tally,
    /// Paths that failed, or that lie above or below one that failed.
    pub blamed: Blame,
    /// Blamed paths that do not fit at the node: a full disk, a quota or a size limit.
    pub aside: BTreeSet<RelPath>,
    /// Blamed paths that were not tried: they lie in a directory in which an equally large or smaller file did not fit.
    /// The node's copies may be correct.
    pub untried: BTreeSet<RelPath>,
    /// Blamed paths that only the node has, and that could not be deleted there.
    pub undeleted: BTreeSet<RelPath>,
    /// The reason why the paths failed; `Some` if and only if `blamed` is not empty.
    pub failure: Option<Failure>,
    /// Entries that arrived without some of their attributes.
    pub unset: Unset,
    /// Directory moves that the node has mirrored.
    pub moved: Vec<Moved>,
    /// Symlinks that were not sent because their targets failed or have changed since the plan was made, and the
    /// removals that wait for these symlinks.
    pub left: BTreeSet<RelPath>,
    /// Entries whose removal was not tried, since they were there again.
    pub spared: BTreeSet<RelPath>,
    /// Entries whose removal was tried.
    pub removed: BTreeSet<RelPath>,
    /// Entries to compare once more, since the removals may have affected them.
    pub(crate) again: BTreeMap<RelPath, Again>,
}

impl Delivery {
    /// Adds `paths` to the failed ones; `failure` counts if none is known yet.
    pub(crate) fn fail(&mut self, paths: impl IntoIterator<Item = RelPath>, failure: Option<Failure>) {
        self.blamed.add(Blame::Paths(paths.into_iter().collect()));
        self.failure = self.failure.take().or(failure);
    }

    /// Tells if `path` was left out of a run so that the other paths could arrive.
    pub(crate) fn is_set_aside(&self, path: &RelPath) -> bool {
        self.aside.contains(path) || self.untried.contains(path)
    }

    /// Adds the outcome of another run.
    pub(crate) fn add(&mut self, other: Delivery) {
        self.tally.add(other.tally);
        self.blamed.add(other.blamed);
        self.aside.extend(other.aside);
        self.untried.extend(other.untried);
        self.undeleted.extend(other.undeleted);
        self.unset.add(other.unset);
        self.moved.extend(other.moved);
        self.spared.extend(other.spared);
        self.removed.extend(other.removed);
        self.again.extend(other.again);
        self.left.extend(other.left);
        if let Some(failure) = other.failure {
            self.failure.get_or_insert(failure);
        }
    }
}

/// The way in which an entry is compared once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Again {
    /// `true` if equal size and time do not prove equal content: the node's kernel may still show an entry that was
    /// deleted under another name.
    pub rewritten: bool,
    /// Delay before the comparison.
    pub after: Duration,
    /// Delay before one more comparison, for which the first one proves nothing; `None` for no other.
    pub once_more: Option<Duration>,
}

/// A directory move that a node has mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The old name, at the node.
    pub from: RelPath,
    /// The new name, at the node.
    pub to: RelPath,
    /// File bytes that were sent over the network for the move.
    pub bytes: u64,
}

/// Numbers of entries and bytes that one or more runs changed at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Entries whose content or attributes were sent.
    pub sent: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Bytes that were sent over the network.
    pub bytes: u64,
    /// `true` if the mirror's own directory did not exist before.
    pub(crate) made_mirror: bool,
}

impl Tally {
    /// Adds the numbers of another run.
    pub(crate) fn add(&mut self, other: Tally) {
        self.sent += other.sent;
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.made_mirror |= other.made_mirror;
    }

    /// Returns the number of entries that were changed or deleted.
    pub(crate) fn changes(&self) -> usize {
        usize::try_from(self.sent + self.deleted).unwrap_or(usize::MAX)
    }
}

/// The facts that are known about a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's rsync.
    pub remote: RemoteRsync,
    /// What the node holds or does not hold.
    pub(crate) traits: Traits,
}

/// The known facts about the rsync at a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRsync {
    /// Version of the program; unknown for an rsync daemon, which does not tell.
    pub version: Option<String>,
    /// Protocol version that both ends agreed on.
    pub protocol: Option<u32>,
}
