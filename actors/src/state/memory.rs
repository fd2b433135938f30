//! What a daemon begins with: the state of the site, and what the last run left of it.

use std::collections::{BTreeSet, HashMap};

use slog::{Logger, error, info};

use super::store::{Past, Store, StoreError};
use super::unsaved::Unsaved;
use crate::path::RelPath;
use crate::root::Root;
use crate::site::{InitialSync, Site};
use crate::sync::Link;
use crate::sync::pending::backlog::Backlog;

/// The state of one site, opened.
pub struct Memory {
    /// The state.
    pub store: Store,
    /// What the last run left; `None` if there was none, or nothing can be taken over from it.
    pub past: Option<Resumed>,
    /// Directories on which a file system was mounted in the last run.
    pub mounts: BTreeSet<RelPath>,
    /// What is to be saved.
    pub unsaved: Unsaved,
}

/// What a run takes over from the last one.
#[derive(Debug)]
pub struct Resumed {
    /// Whether the last run was not stopped in order: then the nodes may have entries that it did not save.
    pub crashed: bool,
    /// Whether a comparison may delete.
    deletes: bool,
    backlogs: HashMap<String, Backlog>,
}

impl Memory {
    /// Opens the state of a site; `None` if none is to be kept, or if it cannot be, which is logged: mirroring matters more.
    ///
    /// # Errors
    /// [`StoreError::InUse`] only.
    pub fn open(site: &Site, root: &Root, log: &Logger) -> Result<Option<Memory>, StoreError> {
        let Some(file) = &site.state_file else { return Ok(None) };
        // An empty directory is where the tree was to be mounted, which the state is about.
        let spare = root.check().is_err();
        let (store, past) = match Store::open(file, root.subject().as_bytes(), spare) {
            Ok(opened) => opened,
            Err(StoreError::Foreign) => return Ok(None),
            Err(why @ StoreError::InUse(_)) => return Err(why),
            Err(why) => {
                error!(log, "no state is kept: each start compares everything"; "why" => %why);
                return Ok(None);
            }
        };
        let unsaved = Unsaved::default();
        let mounts = past.as_ref().map(|past| past.mounts.clone()).unwrap_or_default();
        let deletes = site.initial_sync == InitialSync::Full;
        let past = past.map(|Past { closed, backlogs, .. }| Resumed { crashed: !closed, deletes, backlogs });
        match &past {
            Some(past) => {
                info!(log, "going on from the last run"; "state" => file.display(), "crashed" => past.crashed)
            }
            None => unsaved.fill(),
        }
        Ok(Some(Memory { store, past, mounts, unsaved }))
    }
}

impl Resumed {
    /// Gives a node what it lacked when the last run ended, and has it contacted. Whether that run had served it.
    pub fn take_up(&mut self, link: &Link) -> bool {
        let Some(backlog) = self.backlogs.remove(&link.key) else { return false };
        let mut outbox = link.outbox.lock();
        outbox.resume(backlog, self.deletes);
        // A node that lost its mirror meanwhile is found out by this.
        outbox.touch_root();
        true
    }
}
