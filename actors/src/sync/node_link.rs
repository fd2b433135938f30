//! The outbox of a node, the way to the node, and the supervisor, as a SyncActor is given them.

use crate::outbox::Outbox;
use crate::transport::Transport;
use crate::transport::handle::TransportHandle;
use std::rc::Rc;

use actix::prelude::*;
use slog::Logger;

use crate::messages::{AskReported, Died, Drained, Mirrored, Settled, Succeeded};
use crate::outbox::unsaved::Unsaved;
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::status::record::NodeRecord;
use crate::transport::heard::Heard;
use crate::transport::progress::Latest;

/// The settings of the site that hold at one node.
#[derive(Clone)]
pub(crate) struct NodeSettings {
    /// `true` if the node keeps what the source lost.
    pub(crate) keeps_removed: bool,
    /// The bytes that a batch of the fast lane carries.
    pub(crate) bulk_size: u64,
    /// The patterns of what is never mirrored.
    pub(crate) excludes: Excludes,
}

/// The node of a SyncActor, with all that it works with. All of it outlives the actor.
#[derive(Clone)]
pub(crate) struct NodeLink {
    /// The number of the node, of which no other has the same as long as the daemon runs.
    pub(crate) slot: usize,
    /// Tells the node, as it is configured, from any other in the saved state.
    pub(crate) key: String,
    /// The changes that the node does not have yet.
    pub(crate) outbox: Outbox,
    /// Is told when that changes, since it is saved.
    pub(crate) unsaved: Unsaved,
    /// The way to the node.
    pub(crate) transport: TransportHandle,
    /// The progress of the reconcile, while one runs.
    pub(crate) progress: Latest,
    /// The settings of the site that hold at the node.
    pub(crate) settings: NodeSettings,
    /// The record of how the node is served.
    pub(crate) record: NodeRecord,
    /// The changes at the node that hooks are to be told.
    pub(crate) heard: Heard,
    /// The root of the source.
    pub(crate) root: Root,
    /// Its lines name the node.
    pub(crate) log: Logger,
}

impl NodeLink {
    /// Returns the transport. For the node's SyncActor, which is on the thread of the transport.
    pub(super) fn transport(&self) -> Rc<dyn Transport> {
        self.transport.here()
    }
}

/// The supervisor, as a SyncActor reports to it.
#[derive(Clone)]
pub(crate) struct SupervisorHandle {
    /// The actor is gone.
    pub(crate) died: Recipient<Died>,
    /// The node took something.
    pub(crate) succeeded: Recipient<Succeeded>,
    /// The node lacks less than before.
    pub(crate) settled: Recipient<Settled>,
    /// A directory move was mirrored.
    pub(crate) mirrored: Recipient<Mirrored>,
    /// The answer to [`WorkOrder::Drain`](crate::work_order::WorkOrder::Drain).
    pub(crate) drained: Recipient<Drained>,
    /// To the watcher: everything that has changed is wanted.
    pub(crate) reported: Recipient<AskReported>,
}
