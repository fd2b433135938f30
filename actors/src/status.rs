//! The status of the daemon, as one value: what the command line, the page, the metrics and the log say of it is read
//! from here, so they agree. Made by the supervisor out of the nodes' [`record`]s.
//!
//! # The life of a question
//! 1. Each SyncActor writes what it does into the `NodeRecord` of its node (`status/record.rs`): totals, the latest events, whether
//!    it may be tried, when which path was sent. The record outlives it. The watcher writes what it watches into a `WatchCoverage`.
//! 2. `supervisor/status.rs` makes one `Status` of them (`status.rs`), whoever asks. What a node does is a pure function of
//!    facts (`NodeState::of`), and so is whether a person should look (`Status::verdict`).
//! 3. `src/service/control.rs` is the socket on which commands ask. `src/commands/target.rs` finds the socket by the path of the
//!    file, so
//!    that a broken file hides no daemon; `src/service/all_sites.rs` asks all sites of the machine. `DaemonHandle` is the
//!    running daemon, which a reload may replace. `src/commands/status.rs` prints, `src/commands/explain.rs` explains.
//! 4. The page and the metrics (`src/service/listen.rs`; of all sites, in a process of its own, `src/commands/overview.rs`),
//!    SIGUSR1
//!    and the exit code of `inosync status` read the same `Status`, so they agree. Which nodes are paused
//!    is known by name (`supervisor/paused.rs`) and outlives the daemon of the moment and, by a file, the process. Orders about
//!    nodes are carried out in `supervisor/orders.rs`.
//! 5. A wait (`src/service/control/wait.rs`) lets a `Flush` pass through watcher, filter and StateActor, as a stop does, and
//!    then looks
//!    at the outboxes until none may lack anything of before.

mod delivery;
mod node_state;
mod process_use;
pub(crate) mod record;

use crate::transport::RemoteRsync;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use self::delivery::{BOUNDS, DeliveryTimes};
pub use self::node_state::NodeState;
pub(crate) use self::node_state::{Facts, NodeService};
pub use self::process_use::ProcessUse;

/// Seconds since 1970 (UTC).
pub type UnixTime = u64;

/// The daemon at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of inosync.
    pub version: String,
    /// The version of the rsync on this machine.
    pub rsync: String,
    /// The watched directory, for people.
    pub wpath: String,
    /// The path of the configuration file, for people; empty if the daemon does not tell it.
    #[serde(default)]
    pub config: String,
    /// The process of the daemon.
    #[serde(flatten)]
    pub process: ProcessUse,
    /// The time of its start, or of its new start by a reload.
    pub started_at: UnixTime,
    /// The time at which this was true.
    pub at: UnixTime,
    /// The phase of its life.
    pub phase: Phase,
    /// The state of the source.
    pub source: SourceStatus,
    /// The reason why no state is kept over a restart, although one is to be.
    pub state_trouble: Option<String>,
    /// The nodes, in the order in which they came.
    pub nodes: Vec<NodeStatus>,
    /// The hook that is run when every node has something (`on_all_synced`), if there is one.
    pub hook: Option<HookStatus>,
}

/// The phase of the daemon's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The watches do not stand yet.
    Starting,
    /// The watches stand, and changes are mirrored.
    Running,
    /// It works off what is pending and ends.
    Stopping,
}

/// The state of the watched tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The fault because of which nothing is sent; `None` if the source is as it must be.
    pub trouble: Option<String>,
    /// Directories that are watched.
    pub watched_directories: usize,
    /// Directories that this user may watch (`fs.inotify.max_user_watches`), over all processes; `None` if the kernel
    /// does not tell.
    pub watch_limit: Option<usize>,
    /// Directories that are not watched, each with all that is below it.
    pub unwatched_directories: usize,
    /// The first of them, for people.
    pub unwatched: Vec<String>,
    /// File systems below it that do not answer: what is below them waits.
    #[serde(default)]
    pub silent: Vec<Unanswered>,
    /// Overflows of the kernel's event queue.
    pub overflows: u64,
    /// Directories of which track was lost, overflows included: each was compared again.
    pub rescans: u64,
    /// The source as a mirror, by the heartbeat in it; `None` if it is none, or no heartbeats are kept.
    #[serde(default)]
    pub upstream: Option<UpstreamStatus>,
}

/// A source that is a mirror itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// The first source: its host and directory.
    pub source: String,
    /// The number of daemons between the first source and this one, that of the source included.
    pub hops: u32,
    /// The age of what this source has of the first one, in seconds; `None` if nothing is known.
    pub lag: Option<f64>,
    /// `true` while it is compared with its own source, so that it may lack anything.
    pub reconciles: bool,
    /// `true` while removals wait because of it.
    pub holds_removals: bool,
}

/// A file system that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The mount point, as text for people.
    pub path: String,
    /// Its kind, as the kernel lists it.
    pub kind: String,
    /// The time since when the file system does not answer.
    pub since: UnixTime,
}

/// The outcome of an order about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderOutcome {
    /// The order was carried out.
    Done,
    /// There is no such node.
    NoSuchNode,
    /// The node is not in a state in which the order means anything.
    NothingToDo,
}

/// A node that is asked for the changes until a certain time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBehind {
    /// Its name, as the configuration has it; `local` for `""`.
    pub name: String,
    /// The state that it is in.
    pub state: NodeState,
    /// The relation of the node to the changes.
    pub behind: NodeLack,
}

/// The relation of a node to the changes until a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeLack {
    /// The node has all of them.
    Nothing,
    /// The node may lack some that can still arrive by themselves.
    OnTheirWay,
    /// The node lacks only paths that fail again and again.
    Failing,
    /// A reconcile is held by `max_delete`.
    ReconcileHeld,
}

/// The status of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name, as the configuration has it; `local` for `""`.
    pub name: String,
    /// The destination that rsync writes to, for people.
    pub dest: String,
    /// The state that it is in.
    pub state: NodeState,
    /// Paths that it does not have yet; a reconcile counts as one.
    pub pending: usize,
    /// Paths of these that failed again although nothing changed, while the rest arrives.
    pub failing_paths: usize,
    /// The age of the oldest change of these, in seconds; `None` if there are none.
    pub failing_oldest: Option<f64>,
    /// The first of them, for people.
    pub failing_first: Vec<String>,
    /// The age of the oldest change that can still arrive by itself, in seconds; `None` if there is
    /// none.
    pub lag: Option<f64>,
    /// Directory moves that it does not follow (`dir_moves: Log`), until the whole tree is compared.
    pub unmirrored_moves: usize,
    /// The first of them, for people.
    pub unmirrored_first: Vec<String>,
    /// `true` if it keeps what the source lost (`delete: Never` or `Startup`).
    #[serde(default)]
    pub keeps_removed: bool,
    /// Paths that it has without some of their attributes, which it refuses to set; with more than are remembered, how
    /// many at least.
    pub attributes_unset: usize,
    /// The first of them, for people.
    pub attributes_unset_first: Vec<String>,
    /// The node's words about one of them, and the cure.
    pub attributes_unset_why: Option<String>,
    /// Attributes and names that it was found not to hold, one line each.
    pub limits: Vec<String>,
    /// The progress of its reconcile; `None` while none runs, and while nothing is known of it.
    pub progress: Option<ReconcileProgress>,
    /// The reason why its reconcile is held (`max_delete`), if it is.
    pub reconcile_held: Option<String>,
    /// The time of the last success of a run.
    pub last_success_at: Option<UnixTime>,
    /// The last error, even if it is over.
    pub last_error: Option<Event>,
    /// The result of the last comparison by content (`verify_every`).
    pub verified: Option<Verified>,
    /// The work since the start.
    pub totals: Totals,
    /// The times that changes took until they were at the node.
    #[serde(default)]
    pub delivery: DeliveryTimes,
    /// The rsync at the node.
    pub rsync: RemoteRsync,
    /// The hook that is run when it has got something (`on_synced`), if there is one.
    pub hook: Option<HookStatus>,
    /// The latest batches and errors, oldest first.
    pub recent: Vec<Event>,
}

/// The progress of a reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReconcileProgress {
    /// Entries that were dealt with.
    pub checked: u64,
    /// Entries in all; `None` while that is not known.
    pub total: Option<u64>,
    /// The sizes of the files that were sent.
    pub bytes: u64,
}

/// The result of a comparison by content.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// The time of its end.
    pub at: UnixTime,
    /// The time that it took.
    pub took_seconds: f64,
    /// Entries that differed, and were not on their way.
    pub drift: u64,
    /// `true` if everything was compared: some paths may have been unreadable.
    pub complete: bool,
    /// `true` if a reconcile succeeded since: it may have repaired what differed, but does not look at the content of
    /// files of equal size and time.
    pub reconciled_since: bool,
}

/// A program of the user that is told what arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// The program, for people.
    pub program: String,
    /// `true` while it runs.
    pub running: bool,
    /// `true` if the last run failed: what it was told is told again.
    pub fails: bool,
    /// Runs that ended since the daemon started.
    pub runs: u64,
    /// Runs of these that failed.
    pub failures: u64,
    /// Paths that this run, or the next one, is told.
    pub untold: usize,
    /// Paths that arrived somewhere and are told when no node lacks them.
    pub waiting: usize,
    /// The time of the last end of a run.
    pub last_run_at: Option<UnixTime>,
    /// The last failure of a run, even if it is over.
    pub last_error: Option<Event>,
}

/// The work that was done for a node since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The number of batches that succeeded.
    pub batches: u64,
    /// The number of reconciles that succeeded.
    pub reconciles: u64,
    /// Entries that were sent, or got other attributes.
    pub sent: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Bytes that went over the wire for them.
    pub bytes: u64,
    /// Runs that failed as a whole.
    pub failures: u64,
    /// SyncActors that ended without being asked.
    pub restarts: u64,
}

/// Something that happened at a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The time of it.
    pub at: UnixTime,
    /// The words for it, on one line.
    pub text: String,
    /// `true` if it went wrong.
    pub is_error: bool,
}

/// The urgency with which a person should look, in the order in which it gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nobody needs to look.
    Well,
    /// Something wants attention: changes arrive, but not all of them, or not by themselves.
    Attention,
    /// A node fails, or nothing is sent.
    Failing,
}

impl Status {
    /// Seconds since the start. The clock may have been set back meanwhile.
    pub fn up(&self) -> u64 {
        self.at.saturating_sub(self.started_at)
    }

    /// The urgency with which a person should look.
    pub fn verdict(&self) -> Verdict {
        let nodes = self.nodes.iter().map(NodeStatus::verdict).max().unwrap_or(Verdict::Well);
        let state = self.state_trouble.is_some();
        let is_cut = self.source.unwatched_directories > 0 || !self.source.silent.is_empty();
        let wants_attention = is_cut || state || fails(self.hook.as_ref());
        nodes.max(if wants_attention { Verdict::Attention } else { Verdict::Well })
    }
}

impl NodeStatus {
    /// The urgency with which a person should look at it.
    pub fn verdict(&self) -> Verdict {
        match &self.state {
            NodeState::Held { .. } | NodeState::Restarting | NodeState::Backoff { is_failing: true, .. } => {
                Verdict::Failing
            }
            NodeState::Paused | NodeState::Incomplete => Verdict::Attention,
            _ if self.reconcile_held.is_some() || fails(self.hook.as_ref()) => Verdict::Attention,
            _ if self.failing_paths > 0 || self.unmirrored_moves > 0 || self.attributes_unset > 0 => Verdict::Attention,
            _ if self.verified.is_some_and(|verified| verified.drift > 0) => Verdict::Attention,
            _ => Verdict::Well,
        }
    }
}

fn fails(hook: Option<&HookStatus>) -> bool {
    hook.is_some_and(|hook| hook.fails)
}

/// The facts that are known of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathInfo {
    /// `true` if what happens to it is seen; `None` while the watcher is busy.
    pub seen: Option<bool>,
    /// The time since which is remembered what was sent.
    pub since: UnixTime,
    /// The path at each node.
    pub nodes: Vec<PathAtNode>,
}

/// A path at one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAtNode {
    /// The name of the node.
    pub name: String,
    /// `true` if the path, or a directory that holds it, is on its way.
    pub pending: bool,
    /// Its failures, if it failed again although nothing changed.
    pub failing: Option<PathFailure>,
    /// The time at which it was last sent, or compared; `None` if that is not known.
    pub last_sent_at: Option<UnixTime>,
}

/// A path that failed again although nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFailure {
    /// The time since which the node lacks it.
    pub since: UnixTime,
    /// The time of the next try; `None` while it is tried.
    pub next: Option<UnixTime>,
    /// The error of the node that was seen last, which may be about another path.
    pub last_error: Option<String>,
}

/// Converts a time for machines.
pub(crate) fn unix(at: SystemTime) -> UnixTime {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests;
