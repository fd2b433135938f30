//! The number of directories in a tree.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::root::walk::{PackedNames, Start, Visitor, walk};

/// The number of directories that a watcher of this tree would watch, the root included. Those that cannot be listed
/// count without what is below them.
pub fn count(reach: &Reach, excludes: &Excludes) -> usize {
    let path = RelPath::root();
    let counter = DirCounter { reach, excludes, counted: AtomicUsize::new(1) };
    if let Ok(opened) = reach.open(&path, false) {
        let names = counter.below(&path, &opened);
        walk(reach, Start { path, opened, known: (), names }, &counter);
    }
    counter.counted.into_inner()
}

struct DirCounter<'c> {
    reach: &'c Reach,
    excludes: &'c Excludes,
    counted: AtomicUsize,
}

impl DirCounter<'_> {
    fn below(&self, dir: &RelPath, opened: &Arc<OwnedFd>) -> PackedNames {
        included(self.excludes, dir, self.reach.directories_in(opened, dir).unwrap_or_default())
    }
}

impl Visitor for DirCounter<'_> {
    type Known = ();

    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, (): ()) -> Option<((), PackedNames)> {
        self.counted.fetch_add(1, Ordering::Relaxed);
        Some(((), self.below(path, opened)))
    }

    fn missed(&self, _: RelPath, _: io::Error) {
        self.counted.fetch_add(1, Ordering::Relaxed);
    }
}

/// The directories of these names in `dir` that are not excluded.
pub(super) fn included(excludes: &Excludes, dir: &RelPath, mut names: PackedNames) -> PackedNames {
    if excludes.is_empty() {
        return names;
    }
    let mut kept = PackedNames::default();
    while let Some(name) = names.pop() {
        let path = dir.join(std::ffi::OsStr::from_bytes(&name));
        if excludes.matching(&path, true).is_none() {
            kept.push(&name);
        }
    }
    kept
}
