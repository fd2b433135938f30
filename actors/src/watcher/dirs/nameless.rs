//! Entries of temporary names that scans find: files that may be on their way to their own names, and directories in which
//! rsync keeps such files, which are neither watched nor mirrored until nothing has changed in them for long.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::path::RelPath;
use crate::root::arriving::{Arriving, AtNodes};
use crate::root::reach::Reach;
use crate::root::walk::PackedNames;
use crate::temp_name;

/// The time without a change after which such a directory is mirrored like any other: a transfer that was cut off may
/// go on with what is in it the next night.
const UNCHANGED: Duration = Duration::from_secs(86_400);

/// The entries of temporary names.
#[derive(Default)]
pub(crate) struct Nameless {
    /// The record of what is arriving; `None` if nothing waits for its name.
    arriving: Option<Arriving>,
    /// The files that the scans found.
    files: Vec<RelPath>,
    /// The directories that are left alone, each with the time of the next look.
    directories: BTreeMap<RelPath, Instant>,
}

impl Nameless {
    /// Leaves entries of temporary names alone from now on, and enters them in this record.
    pub(super) fn await_names(&mut self, arriving: Arriving) {
        self.arriving = Some(arriving);
    }

    /// Tells if files and directories of temporary names are left alone.
    pub(super) fn awaits_names(&self) -> bool {
        self.arriving.is_some()
    }

    /// Tells if an rsync of somebody else was seen to write in the tree.
    pub(crate) fn saw_rsync(&self) -> bool {
        self.arriving.as_ref().is_some_and(Arriving::saw_rsync)
    }

    /// Finds the files of temporary names in an open directory, which is at `path`, unless that may hang.
    pub(super) fn find_files(&mut self, opened: &Arc<OwnedFd>, path: &RelPath, reach: &Reach) {
        if self.awaits_names() && reach.point(path).is_none() {
            let mut names = PackedNames::default();
            if reach.names_in(opened, path, &mut names).is_ok() {
                names.iter().for_each(|name| self.found_file(path, OsStr::from_bytes(name)));
            }
        }
    }

    /// Notes the file `name`, which a scan found in a directory.
    pub(super) fn found_file(&mut self, dir: &RelPath, name: &OsStr) {
        if self.arriving.is_some() && temp_name::stem(name.as_bytes()).is_some() {
            self.files.push(dir.join(name));
        }
    }

    /// Takes the files that the scans found.
    pub(crate) fn take_files(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.files)
    }

    /// Leaves a directory alone in which something changed not long ago. `is_new`: it was made just now.
    pub(super) fn leaves_alone(&mut self, path: &RelPath, is_new: bool, reach: &Reach) -> bool {
        let Some(arriving) = &self.arriving else { return false };
        let unchanged = reach.look(path).map(|meta| meta.changed_at().elapsed().unwrap_or_default());
        let Some(left) = unchanged.ok().and_then(|unchanged| UNCHANGED.checked_sub(unchanged)) else { return false };
        arriving.add(path.clone(), is_new);
        self.directories.insert(path.clone(), Instant::now() + left);
        true
    }

    /// Tells if a directory is left alone.
    pub(crate) fn is_left_alone(&self, path: &RelPath) -> bool {
        !self.directories.is_empty() && self.directories.contains_key(path)
    }

    /// The directories that are left alone.
    pub(crate) fn left_alone(&self) -> impl Iterator<Item = &RelPath> {
        self.directories.keys()
    }

    /// The time of the next look at such a directory.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.directories.values().min().copied()
    }

    /// Waits no longer for the name of an entry. `None` if it was not waited for.
    pub(crate) fn end_waiting(&mut self, path: &RelPath) -> Option<AtNodes> {
        self.directories.remove(path);
        self.arriving.as_ref()?.take(path)
    }

    /// Notes a file of a temporary name. `is_new`: it was made just now.
    pub(crate) fn awaits_name(&self, path: RelPath, is_new: bool) {
        self.arriving.iter().for_each(|arriving| arriving.add(path.clone(), is_new));
    }

    /// The directories at which a look is due.
    pub(super) fn due(&self, now: Instant) -> Vec<RelPath> {
        let is_due = |(path, at): (&RelPath, &Instant)| (*at <= now).then(|| path.clone());
        self.directories.iter().filter_map(is_due).collect()
    }

    /// Forgets what waits below a directory that went.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) {
        self.directories.retain(|path, _| !path.is_below(dir));
        self.arriving.iter().for_each(|arriving| arriving.forget_below(dir));
    }

    /// Follows the move of a directory with what waits below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        let moved = |(path, at): (&RelPath, &Instant)| Some((path.rebase(from, to)?, *at));
        let moved: Vec<_> = self.directories.iter().filter_map(moved).collect();
        self.directories.retain(|path, _| path != from && !path.is_below(from));
        self.directories.extend(moved);
        self.arriving.iter().for_each(|arriving| arriving.moved(from, to));
    }
}
