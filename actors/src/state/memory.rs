//! Takes over what the last run left: the saved state of the site, and the changes that nodes lacked. The file itself is opened
//! and checked in `store`.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use slog::{Logger, error, info, warn};

use super::store::{Past, Store, StoreError};
use crate::change::Change;
use crate::mounts::Mounts;
use crate::outbox::Outbox;
use crate::outbox::backlog::Backlog;
use crate::outbox::unsaved::Unsaved;
use crate::path::RelPath;
use crate::root::Root;
use crate::site::Site;

/// The opened state of one site.
pub struct Memory {
    /// The source that the state describes.
    pub root: Root,
    /// The file of the state.
    pub store: Store,
    /// The leftovers of the last run; `None` if there are none that can be used.
    pub past: Option<Resumed>,
    /// Directories on which a file system was mounted in the last run.
    pub mounts: BTreeSet<RelPath>,
    /// Old names of directories that moved in the last run, kept by some node.
    pub away: BTreeSet<RelPath>,
    /// Paths that are not saved yet.
    pub unsaved: Unsaved,
}

/// The part of the last run that this run continues.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// `true` if the last run saved everything it knew; otherwise the nodes may have entries that are not in the state.
    pub complete: bool,
    /// Directories from which a mounted file system has vanished: entries that are missing below are not deleted.
    hidden: Vec<RelPath>,
    backlogs: HashMap<String, Backlog>,
}

impl Memory {
    /// Opens the state of a site; `None` if the site keeps none, or if the state cannot be opened. The latter is logged
    /// and does not stop the daemon: mirroring matters more.
    ///
    /// # Errors
    /// [`StoreError::InUse`] only.
    pub(crate) fn open(site: &Site, root: &Root, log: &Logger) -> Result<Option<Memory>, StoreError> {
        let Some(file) = &site.state_file else { return Ok(None) };
        // An empty source is probably not mounted yet: a state of another directory may belong to the missing file
        // system.
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
        if let Some(why) = store.useless() {
            warn!(log, "the state is of no use: comparing everything"; "why" => why);
        }
        let unsaved = Unsaved::new(site.least_dir_moves());
        let mut away = BTreeSet::new();
        let mounts = past.as_ref().map(|past| past.mounts.clone()).unwrap_or_default();
        let past = past.map(|Past { closed, backlogs, mounts }| {
            backlogs.values().for_each(|backlog| away.extend(backlog.away().cloned()));
            Resumed { complete: closed, hidden: missing(&mounts, root, log), backlogs }
        });
        match &past {
            Some(past) => {
                info!(log, "going on from the last run"; "state" => file.display(), "complete" => past.complete)
            }
            None => unsaved.fill(),
        }
        Ok(Some(Memory { root: root.clone(), store, past, mounts, away, unsaved }))
    }
}

/// Returns the former mount points on which nothing is mounted now, and logs each.
fn missing(mounts: &BTreeSet<RelPath>, root: &Root, log: &Logger) -> Vec<RelPath> {
    let Some(present) = Mounts::below(&root.reach().resolved()) else { return Vec::new() };
    let is_dir = |path: &RelPath| root.look_at(path).is_ok_and(|meta| meta.is_dir());
    let missing: Vec<RelPath> = mounts.difference(&present.points()).filter(|path| is_dir(path)).cloned().collect();
    for path in &missing {
        warn!(log, "no file system is mounted where one was: the nodes keep its content until it is mounted again or the directory is removed"; "from" => %path);
    }
    missing
}

impl Resumed {
    /// Protects hidden entries at a node from deletion. Must be called before anything is compared with the node.
    pub(crate) fn hide(&self, outbox: &Outbox) {
        let mut outbox = outbox.lock();
        self.hidden.iter().for_each(|path| outbox.add(&Change::Unmounted { path: path.clone() }, Instant::now()));
    }

    /// Gives the outbox the changes that the node lacked at the end of the last run. Returns true if that run served
    /// the node.
    pub(crate) fn take_up(&mut self, key: &str, outbox: &Outbox) -> bool {
        let Some(backlog) = self.backlogs.remove(key) else { return false };
        let mut outbox = outbox.lock();
        outbox.resume(&backlog);
        if !self.complete {
            outbox.drop_detours();
        }
        // Sending the root shows if the node lost its mirror meanwhile.
        outbox.touch_root();
        true
    }
}
