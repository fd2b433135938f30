//! What a daemon begins with: the state of the site, and what the last run left of it.

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

/// The state of one site, opened.
pub struct Memory {
    /// The state.
    pub store: Store,
    /// What the last run left; `None` if there was none, or nothing can be taken over from it.
    pub past: Option<Resumed>,
    /// Directories on which a file system was mounted in the last run.
    pub mounts: BTreeSet<RelPath>,
    /// Names that directories were moved away from in the last run, and that some node keeps.
    pub away: BTreeSet<RelPath>,
    /// What is to be saved.
    pub unsaved: Unsaved,
}

/// What a run takes over from the last one.
#[derive(Debug)]
pub struct Resumed {
    /// Whether all that it knew was saved: else the nodes may have entries that it did not save.
    pub complete: bool,
    /// Directories from which a file system is missing that was mounted there: what it held is not deleted.
    hidden: Vec<RelPath>,
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
        if let Some(why) = store.damage() {
            warn!(log, "the state is of no use: comparing everything"; "why" => format!("the file is damaged: {why}"));
        }
        let unsaved = Unsaved::new(site.dir_moves);
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
        Ok(Some(Memory { store, past, mounts, away, unsaved }))
    }
}

/// The mount points on which nothing is mounted now.
fn missing(mounts: &BTreeSet<RelPath>, root: &Root, log: &Logger) -> Vec<RelPath> {
    let Some(present) = Mounts::below(root.path()) else { return Vec::new() };
    let is_dir = |path: &RelPath| root.look_at(path).is_ok_and(|meta| meta.is_dir());
    let missing: Vec<RelPath> = mounts.difference(&present.points()).filter(|path| is_dir(path)).cloned().collect();
    for path in &missing {
        warn!(log, "no file system is mounted where one was: the nodes keep its content until it is mounted again or the directory is removed"; "from" => %path);
    }
    missing
}

impl Resumed {
    /// Keeps a node from losing what is hidden. To be done before anything is compared with it.
    pub fn hide(&self, outbox: &Outbox) {
        let mut outbox = outbox.lock();
        self.hidden.iter().for_each(|path| outbox.add(&Change::Unmounted { path: path.clone() }, Instant::now()));
    }

    /// Gives a node what it lacked when the last run ended, and has it contacted. Whether that run had served it.
    pub fn take_up(&mut self, key: &str, outbox: &Outbox) -> bool {
        let Some(backlog) = self.backlogs.remove(key) else { return false };
        let mut outbox = outbox.lock();
        outbox.resume(&backlog);
        if !self.complete {
            outbox.drop_detours(Instant::now());
        }
        // A node that lost its mirror meanwhile is found out by this.
        outbox.touch_root();
        true
    }
}
