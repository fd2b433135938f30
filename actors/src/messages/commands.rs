//! Orders and questions that the commands of an operator send to the SupervisorActor.

use std::time::Instant;

use actix::prelude::*;

use crate::status::{NodeBehind, OrderOutcome};

/// The command -> SupervisorActor: an order about one node or all. `None` when the daemon has ended, or starts anew.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<OrderOutcome>")]
pub(crate) struct NodeOrder {
    /// The name of the node, as in the configuration or the log; `None` for all nodes.
    pub node: Option<String>,
    /// The deed that is ordered.
    pub deed: NodeDeed,
}

/// The deed of a [`NodeOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeDeed {
    /// Send nothing more until the pause ends.
    Pause,
    /// Go on after a pause, and try at once what failed.
    Resume,
    /// Try at once what failed.
    Retry,
    /// Let the reconcile that is held delete what it takes.
    AllowDeletions,
}

/// The command -> SupervisorActor: answer when all that changed until now is in the outboxes. `false` while the watches do
/// not stand.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub(crate) struct AskGathered;

/// The command -> SupervisorActor: which nodes may lack something that changed until then? `None` when the daemon has
/// ended, or starts anew.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<Vec<NodeBehind>>")]
pub(crate) struct AskBehind {
    /// The name of the node, as in the configuration or the log; `None` for all nodes.
    pub node: Option<String>,
    /// The time until which changes count.
    pub until: Instant,
}
