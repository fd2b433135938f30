//! Entries of temporary names that scans find: files that may be on their way to their own names, and directories in which
//! rsync keeps such files, which are neither watched nor mirrored until nothing has changed in them for long.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Dirs;
use crate::path::RelPath;
use crate::root::arriving::{Arriving, AtNodes};
use crate::temp_name;
use crate::watcher::tree::NodeId;

/// The time without a change after which such a directory is mirrored like any other: a transfer that was cut off may
/// go on with what is in it the next night.
const UNCHANGED: Duration = Duration::from_secs(86_400);

/// The entries of temporary names.
#[derive(Default)]
pub(super) struct Nameless {
    /// The record of what is arriving; `None` if nothing waits for its name.
    arriving: Option<Arriving>,
    /// The files that the scans found.
    files: Vec<RelPath>,
    /// The directories that are left alone, each with the time of the next look.
    directories: BTreeMap<RelPath, Instant>,
}

impl Dirs {
    /// Leaves entries of temporary names alone from now on, and enters them in this record.
    pub(crate) fn awaiting_names(mut self, arriving: Arriving) -> Self {
        self.nameless.arriving = Some(arriving);
        self
    }

    /// Tells if files and directories of temporary names are left alone.
    pub(super) fn awaits_names(&self) -> bool {
        self.nameless.arriving.is_some()
    }

    /// Tells if an rsync of somebody else was seen to write in the tree.
    pub(crate) fn saw_rsync(&self) -> bool {
        self.nameless.arriving.as_ref().is_some_and(Arriving::saw_rsync)
    }

    /// Finds the files of temporary names in an open directory, which is at `path`, unless that may hang.
    pub(super) fn find_nameless(&mut self, opened: &Arc<OwnedFd>, path: &RelPath) {
        if self.awaits_names() && self.reach.point(path).is_none() {
            let names = self.reach.names_in(opened, path).unwrap_or_default();
            names.iter().for_each(|name| self.found_file(path, name));
        }
    }

    /// Notes the file `name`, which a scan found in a directory.
    pub(super) fn found_file(&mut self, dir: &RelPath, name: &OsStr) {
        if self.nameless.arriving.is_some() && temp_name::stem(name.as_bytes()).is_some() {
            self.nameless.files.push(dir.join(name));
        }
    }

    /// Takes the files that the scans found.
    pub(crate) fn take_nameless(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.nameless.files)
    }

    /// Leaves a directory alone if its name is one of rsync's, it is not watched yet, and something changed in it not long
    /// ago. `is_new`: it was made just now.
    pub(crate) fn leaves_alone(&mut self, path: &RelPath, is_new: bool) -> bool {
        let Some(arriving) = &self.nameless.arriving else { return false };
        if !temp_name::is_of_directory(path) || self.tree.has(path) || self.excludes.excludes(path, true) {
            return false;
        }
        let unchanged = self.reach.look(path).map(|meta| meta.changed_at().elapsed().unwrap_or_default());
        let Some(left) = unchanged.ok().and_then(|unchanged| UNCHANGED.checked_sub(unchanged)) else { return false };
        arriving.add(path.clone(), is_new);
        self.nameless.directories.insert(path.clone(), Instant::now() + left);
        true
    }

    /// Tells if a directory is left alone.
    pub(crate) fn is_left_alone(&self, path: &RelPath) -> bool {
        !self.nameless.directories.is_empty() && self.nameless.directories.contains_key(path)
    }

    /// The directories that are left alone.
    pub(crate) fn left_alone(&self) -> impl Iterator<Item = &RelPath> {
        self.nameless.directories.keys()
    }

    /// The time of the next look at such a directory.
    pub(crate) fn next_nameless(&self) -> Option<Instant> {
        self.nameless.directories.values().min().copied()
    }

    /// Waits no longer for the name of an entry. `None` if it was not waited for.
    pub(crate) fn end_waiting(&mut self, path: &RelPath) -> Option<AtNodes> {
        self.nameless.directories.remove(path);
        self.nameless.arriving.as_ref()?.take(path)
    }

    /// Notes a file of a temporary name. `is_new`: it was made just now.
    pub(crate) fn awaits_name(&self, path: RelPath, is_new: bool) {
        self.nameless.arriving.iter().for_each(|arriving| arriving.add(path.clone(), is_new));
    }

    /// Takes the directories in which nothing changed for long, each as an entry of the directory that holds it.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(NodeId, OsString)> {
        let is_due = |(path, at): (&RelPath, &Instant)| (*at <= now).then(|| path.clone());
        let due: Vec<RelPath> = self.nameless.directories.iter().filter_map(is_due).collect();
        let mut taken = Vec::new();
        for path in due {
            let at_nodes = self.end_waiting(&path);
            if !self.leaves_alone(&path, at_nodes == Some(AtNodes::Nowhere)) {
                let parent = path.parent().and_then(|parent| self.find(&parent));
                taken.extend(parent.map(|parent| (parent, OsStr::from_bytes(path.name()).to_owned())));
            }
        }
        taken
    }

    /// Forgets what waits below a directory that went.
    pub(crate) fn forget_nameless_below(&mut self, dir: &RelPath) {
        self.nameless.directories.retain(|path, _| !path.is_below(dir));
        self.nameless.arriving.iter().for_each(|arriving| arriving.forget_below(dir));
    }

    /// Follows the move of a directory with what waits below it.
    pub(crate) fn move_nameless(&mut self, from: &RelPath, to: &RelPath) {
        let moved = |(path, at): (&RelPath, &Instant)| Some((path.rebase(from, to)?, *at));
        let moved: Vec<_> = self.nameless.directories.iter().filter_map(moved).collect();
        self.nameless.directories.retain(|path, _| path != from && !path.is_below(from));
        self.nameless.directories.extend(moved);
        self.nameless.arriving.iter().for_each(|arriving| arriving.moved(from, to));
    }
}
