//! The state of a node, and the facts that decide it.

use std::fmt;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Phase, UnixTime, unix};
use crate::health::Health;

/// The state of a node. The name of the variant, in lower case, is the word for it everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum NodeState {
    /// The watches do not stand yet, or it was added a moment ago.
    Starting,
    /// The node has everything.
    Idle,
    /// It lacks something, which is sent now or at its turn.
    Syncing,
    /// It lacks nothing but what failed again and again, which is tried at intervals.
    Incomplete,
    /// The whole tree is being compared.
    Reconciling,
    /// It fails, and is tried again later.
    Backoff {
        /// The fault, in words.
        why: String,
        /// The time of the next try.
        until: UnixTime,
        /// `true` if it has failed more than for a moment.
        #[serde(rename = "lasts")]
        is_failing: bool,
    },
    /// Nothing is sent because of the source.
    Held {
        /// The fault of the source.
        why: String,
    },
    /// Nothing is sent because somebody said so; what changes is collected.
    Paused,
    /// Its SyncActor ended, and another one is started in a moment.
    Restarting,
}

impl NodeState {
    /// The words of all states.
    pub const WORDS: [&str; 9] =
        ["starting", "idle", "syncing", "incomplete", "reconciling", "backoff", "held", "paused", "restarting"];

    /// The word for the state.
    pub fn word(&self) -> &'static str {
        let at = match self {
            NodeState::Starting => 0,
            NodeState::Idle => 1,
            NodeState::Syncing => 2,
            NodeState::Incomplete => 3,
            NodeState::Reconciling => 4,
            NodeState::Backoff { .. } => 5,
            NodeState::Held { .. } => 6,
            NodeState::Paused => 7,
            NodeState::Restarting => 8,
        };
        NodeState::WORDS[at]
    }
}

/// The word, and what it is about.
impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeState::Backoff { why, .. } | NodeState::Held { why } => write!(f, "{}: {why}", self.word()),
            _ => f.write_str(self.word()),
        }
    }
}

/// The facts that are known of a node when its state is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The phase of the daemon's life.
    pub phase: Phase,
    pub service: NodeService,
    /// `true` if somebody paused it.
    pub paused: bool,
    /// The fault of the source.
    pub trouble: Option<&'a str>,
    /// The health of the node.
    pub health: &'a Health,
    /// `true` while a reconcile runs.
    pub reconciles: bool,
    /// Paths that it does not have.
    pub pending: usize,
    /// Those of them that failed again although nothing changed.
    pub failing: usize,
}

/// The SyncActor of a node, as far as others need to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeService {
    /// None was started yet.
    NotYet,
    /// The node is served.
    Served,
    /// The last one ended, and the next one starts in a moment.
    BrokenOff,
}

impl NodeState {
    /// Decides from the facts what a node does.
    pub(crate) fn of(facts: Facts<'_>, now: Instant) -> NodeState {
        match (facts.health, facts) {
            (_, Facts { phase: Phase::Starting, .. }) => NodeState::Starting,
            (_, Facts { trouble: Some(why), .. }) => NodeState::Held { why: why.to_owned() },
            // Nobody looks whether what held it is over.
            (_, Facts { paused: true, .. }) => NodeState::Paused,
            (Health::Held { why, .. }, _) => NodeState::Held { why: why.to_string() },
            (_, Facts { service: NodeService::BrokenOff, .. }) => NodeState::Restarting,
            (_, Facts { service: NodeService::NotYet, .. }) => NodeState::Starting,
            (health @ Health::BackingOff { cause, until, .. }, _) => NodeState::Backoff {
                why: cause.words().to_owned(),
                until: unix(SystemTime::now() + until.saturating_duration_since(now)),
                is_failing: health.is_failing(),
            },
            (Health::Well, Facts { reconciles: true, .. }) => NodeState::Reconciling,
            (Health::Well, Facts { pending: 0, .. }) => NodeState::Idle,
            (Health::Well, Facts { pending, failing, .. }) if pending <= failing => NodeState::Incomplete,
            (Health::Well, _) => NodeState::Syncing,
        }
    }
}
