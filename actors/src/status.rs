//! How the daemon is doing, as one value: what the command line, the page, the metrics and the log say of it is read from
//! here, so they agree. Made by the supervisor out of the nodes' [`record`]s.

pub mod record;

use crate::transport::RemoteRsync;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::health::Health;

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
    /// The process.
    pub pid: u32,
    /// When it was started, or started anew by a reload.
    pub started_at: UnixTime,
    /// When this was true.
    pub at: UnixTime,
    /// How far it is.
    pub phase: Phase,
    /// The source.
    pub source: Source,
    /// Why no state is kept over a restart, although one is to be.
    pub state_trouble: Option<String>,
    /// The nodes, in the order in which they came.
    pub nodes: Vec<Node>,
    /// The hook that is run when every node has something (`on_all_synced`), if there is one.
    pub hook: Option<HookStatus>,
}

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The watches do not stand yet.
    Starting,
    /// It mirrors.
    Running,
    /// It works off what is pending and ends.
    Stopping,
}

/// The watched tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What is wrong with it, so that nothing is sent; `None` if it is as it must be.
    pub trouble: Option<String>,
    /// Directories that are watched.
    pub watched_directories: usize,
    /// How many this user may watch (`fs.inotify.max_user_watches`), over all processes; `None` if the kernel does not
    /// tell.
    pub watch_limit: Option<usize>,
    /// Directories that are not watched, each with all that is below it.
    pub unwatched_directories: usize,
    /// The first of them, for people.
    pub unwatched: Vec<String>,
    /// How often the kernel's event queue overflowed.
    pub overflows: u64,
    /// How often track of a directory was lost, overflows included: each was compared again.
    pub rescans: u64,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, as the configuration has it; `local` for `""`.
    pub name: String,
    /// Where rsync writes to, for people.
    pub dest: String,
    /// What it does.
    pub state: State,
    /// Paths that it does not have yet; a reconcile counts as one.
    pub pending: usize,
    /// Paths of these that failed again although nothing changed, while the rest arrives.
    pub failing_paths: usize,
    /// The age of the oldest change of these, in seconds; `None` if there are none.
    pub failing_oldest: Option<f64>,
    /// The first of them, for people.
    pub failing_first: Vec<String>,
    /// For how long the oldest change has been on its way that can still arrive by itself, in seconds; `None` if there is
    /// none.
    pub lag: Option<f64>,
    /// Directory moves that it does not follow (`dir_moves: Log`), until the whole tree is compared.
    pub unmirrored_moves: usize,
    /// The first of them, for people.
    pub unmirrored_first: Vec<String>,
    /// Paths that it has without some of their attributes, which it refuses to set; with more than are remembered, how many
    /// at least.
    pub attributes_unset: usize,
    /// The first of them, for people.
    pub attributes_unset_first: Vec<String>,
    /// What the node said of one of them, and the cure.
    pub attributes_unset_why: Option<String>,
    /// What it was found not to hold, one line each.
    pub limits: Vec<String>,
    /// How far its reconcile is; `None` while none runs, and while nothing is known of it.
    pub progress: Option<Progress>,
    /// Why its reconcile is held (`max_delete`), if it is.
    pub reconcile_held: Option<String>,
    /// When a run last succeeded.
    pub last_success_at: Option<UnixTime>,
    /// What went wrong last, even if it is over.
    pub last_error: Option<Event>,
    /// What came of the last comparison by content (`verify_every`).
    pub verified: Option<Verified>,
    /// What was done since the start.
    pub totals: Totals,
    /// Its rsync.
    pub rsync: RemoteRsync,
    /// The hook that is run when it has got something (`on_synced`), if there is one.
    pub hook: Option<HookStatus>,
    /// The latest batches and errors, oldest first.
    pub recent: Vec<Event>,
}

/// How far a reconcile is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Entries that were dealt with.
    pub checked: u64,
    /// How many there are; `None` while that is not known.
    pub total: Option<u64>,
    /// The sizes of the files that were sent.
    pub bytes: u64,
}

/// What came of a comparison by content.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// When it ended.
    pub at: UnixTime,
    /// How long it took.
    pub took_seconds: f64,
    /// Entries that differed, and were not on their way.
    pub drift: u64,
    /// Whether everything was compared: some paths may have been unreadable.
    pub complete: bool,
    /// Whether a reconcile succeeded since: it may have repaired what differed, but does not look at the content of files
    /// of equal size and time.
    pub reconciled_since: bool,
}

/// A program of the user that is told what arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// The program, for people.
    pub program: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether the last run failed: what it was told is told again.
    pub fails: bool,
    /// Runs that ended since the daemon started.
    pub runs: u64,
    /// Runs of these that failed.
    pub failures: u64,
    /// Paths that this run, or the next one, is told.
    pub untold: usize,
    /// Paths that arrived somewhere and are told when no node lacks them.
    pub waiting: usize,
    /// When a run last ended.
    pub last_run_at: Option<UnixTime>,
    /// How a run last failed, even if it is over.
    pub last_error: Option<Event>,
}

/// What a node was sent since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Batches that succeeded.
    pub batches: u64,
    /// Reconciles that succeeded.
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
    /// When.
    pub at: UnixTime,
    /// What, on one line.
    pub text: String,
    /// Whether it went wrong.
    pub is_error: bool,
}

/// What a node does. The name of the variant, in lower case, is the word for it everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum State {
    /// The watches do not stand yet, or it was added a moment ago.
    Starting,
    /// It has everything.
    Idle,
    /// It lacks something, which is sent now or at its turn.
    Syncing,
    /// It lacks nothing but what failed again and again, which is tried at intervals.
    Incomplete,
    /// The whole tree is being compared.
    Reconciling,
    /// It fails, and is tried again later.
    Backoff {
        /// What is wrong.
        why: String,
        /// When it is tried again.
        until: UnixTime,
        /// Whether it has failed more than for a moment.
        lasts: bool,
    },
    /// Nothing is sent because of the source.
    Held {
        /// What is wrong with it.
        why: String,
    },
    /// Nothing is sent because somebody said so; what changes is collected.
    Paused,
    /// Its SyncActor ended, and another one is started in a moment.
    Restarting,
}

impl State {
    /// The words of all states.
    pub const WORDS: [&str; 9] =
        ["starting", "idle", "syncing", "incomplete", "reconciling", "backoff", "held", "paused", "restarting"];

    /// The word for it.
    pub fn word(&self) -> &'static str {
        let at = match self {
            State::Starting => 0,
            State::Idle => 1,
            State::Syncing => 2,
            State::Incomplete => 3,
            State::Reconciling => 4,
            State::Backoff { .. } => 5,
            State::Held { .. } => 6,
            State::Paused => 7,
            State::Restarting => 8,
        };
        State::WORDS[at]
    }
}

/// The word, and what it is about.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Backoff { why, .. } | State::Held { why } => write!(f, "{}: {why}", self.word()),
            _ => f.write_str(self.word()),
        }
    }
}

/// Whether a person should look, in the order in which it gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All is well.
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

    /// Whether a person should look.
    pub fn verdict(&self) -> Verdict {
        let nodes = self.nodes.iter().map(Node::verdict).max().unwrap_or(Verdict::Well);
        let state = self.state_trouble.is_some();
        let wants_attention = self.source.unwatched_directories > 0 || state || fails(self.hook.as_ref());
        nodes.max(if wants_attention { Verdict::Attention } else { Verdict::Well })
    }
}

impl Node {
    /// Whether a person should look at it.
    pub fn verdict(&self) -> Verdict {
        match &self.state {
            State::Held { .. } | State::Restarting | State::Backoff { lasts: true, .. } => Verdict::Failing,
            State::Paused | State::Incomplete => Verdict::Attention,
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

/// What is known of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// Whether what happens to it is seen; `None` while the watcher is busy.
    pub seen: Option<bool>,
    /// Since when is remembered what was sent.
    pub since: UnixTime,
    /// What each node has of it.
    pub nodes: Vec<AtNode>,
}

/// What a node has of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtNode {
    /// The node.
    pub name: String,
    /// Whether the path, or a directory that holds it, is on its way.
    pub pending: bool,
    /// Its failures, if it failed again although nothing changed.
    pub failing: Option<Failing>,
    /// When it was last sent, or compared; `None` if that is not known.
    pub last_sent_at: Option<UnixTime>,
}

/// A path that failed again although nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when the node lacks it.
    pub since: UnixTime,
    /// When it is tried again; `None` while it is tried.
    pub next: Option<UnixTime>,
    /// The error of the node that was seen last, which may be about another path.
    pub last_error: Option<String>,
}

/// What is known of a node when its state is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How far the daemon is.
    pub phase: Phase,
    /// Whether it has a SyncActor.
    pub is_served: bool,
    /// Whether it has none because its last one ended.
    pub has_ended: bool,
    /// Whether somebody paused it.
    pub paused: bool,
    /// What is wrong with the source.
    pub trouble: Option<&'a str>,
    /// Whether it may be tried.
    pub health: &'a Health,
    /// Whether a reconcile runs.
    pub reconciles: bool,
    /// Paths that it does not have.
    pub pending: usize,
    /// Those of them that failed again although nothing changed.
    pub failing: usize,
}

impl State {
    /// What a node does.
    pub fn of(facts: Facts<'_>, now: Instant) -> State {
        match (facts.health, facts) {
            (_, Facts { phase: Phase::Starting, .. }) => State::Starting,
            (_, Facts { trouble: Some(why), .. }) => State::Held { why: why.to_owned() },
            // Nobody looks whether what held it is over.
            (_, Facts { paused: true, .. }) => State::Paused,
            (Health::Held { why, .. }, _) => State::Held { why: why.to_string() },
            (_, Facts { has_ended: true, .. }) => State::Restarting,
            (_, Facts { is_served: false, .. }) => State::Starting,
            (health @ Health::BackingOff { cause, until, .. }, _) => State::Backoff {
                why: cause.words().to_owned(),
                until: unix(SystemTime::now() + until.saturating_duration_since(now)),
                lasts: health.is_failing(),
            },
            (Health::Well, Facts { reconciles: true, .. }) => State::Reconciling,
            (Health::Well, Facts { pending: 0, .. }) => State::Idle,
            (Health::Well, Facts { pending, failing, .. }) if pending <= failing => State::Incomplete,
            (Health::Well, _) => State::Syncing,
        }
    }
}

/// A time for machines.
pub fn unix(at: SystemTime) -> UnixTime {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests;
