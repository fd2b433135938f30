//! What a SyncActor is given: the outbox of its node, the way to it, and to whom it reports.

use crate::outbox::Outbox;
use crate::transport::Transport;
use std::rc::Rc;

use actix::prelude::*;
use slog::Logger;

use crate::messages::{Died, Drained, Mirrored, Settled, Succeeded};
use crate::outbox::unsaved::Unsaved;
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::status::record::Record;
use crate::transport::heard::Heard;
use crate::transport::progress::Latest;

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
    /// The answer to [`Order::Drain`](crate::order::Order::Drain).
    pub drained: Recipient<Drained>,
}
