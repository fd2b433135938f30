//! The changes that a node does not have yet: a plain data structure without disk, clock, rsync or actor.

pub mod away;
pub mod calm;
pub mod fold;
pub mod lease;
pub mod need;
pub mod origins;
pub mod pending;
pub mod unmirrored;
pub mod unsaved;
pub mod unset;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::pending::PendingSet;
use crate::site::Site;

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
