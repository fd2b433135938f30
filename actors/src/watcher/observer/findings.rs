//! The results of the observer, until they are taken.

use crate::change::{Change, Reason};
use crate::messages::{DirMove, FindMoved, Passed, Rescan, Unseen};
use crate::path::RelPath;
use crate::root::RootError;
use crate::watch_error::WatchError;

/// The results of the observer, in the order in which they are passed on: first `changes`, then `rescans`.
#[derive(Debug, Default)]
pub struct Findings {
    /// Paths that may differ now, in the kernel's order.
    pub changes: Vec<Change>,
    /// Subtrees of which track was lost and whose watches have been repaired.
    pub(crate) rescans: Vec<Rescan>,
    /// Directory moves, for the log.
    pub(crate) moves: Vec<DirMove>,
    /// Directories that cannot be watched on their own account.
    pub blind: Vec<(RelPath, WatchError)>,
    /// Directories that have no watch for other reasons, as far as they are news.
    pub(crate) unseen: Vec<Unseen>,
    /// The reason why the root is no longer the same directory; `Some` once, when that is found.
    pub root_lost: Option<RootError>,
    /// `true` if another directory with content took the place of the root, which was empty.
    pub superseded: bool,
    /// Directories from which a file system was unmounted, for the log.
    pub unmounted: Vec<RelPath>,
    /// Names that went while new names of files waited for that.
    pub(crate) gone: Option<FindMoved>,
    /// Barriers that were passed. After all of the above.
    pub(crate) passed: Vec<Passed>,
}

impl Findings {
    /// Reports the directory that held an entry of which nothing else is told: its time is another one.
    pub(super) fn touched_above(&mut self, path: &RelPath) {
        if let Some(dir) = path.parent() {
            self.touched(dir, true);
        }
    }

    /// Reports files that are new names and nothing else. `alone`: nothing else is told of what the node had by them, so that
    /// equal size and time prove nothing.
    pub(super) fn linked(&mut self, files: Vec<RelPath>, alone: bool) {
        for path in files {
            self.changes.push(Change::Touched { path, is_dir: false, rewritten: alone });
        }
    }

    /// Reports an entry that has other attributes, or another type.
    pub(super) fn touched(&mut self, path: RelPath, is_dir: bool) {
        self.changes.push(Change::Touched { path, is_dir, rewritten: false });
    }

    /// Reports a file with new content.
    pub(super) fn written(&mut self, path: RelPath) {
        self.changes.push(Change::Touched { path, is_dir: false, rewritten: true });
    }

    /// Reports files that were closed and may have new content.
    pub(super) fn closed(&mut self, paths: Vec<RelPath>) {
        self.changes.extend(paths.into_iter().map(|path| Change::Closed { path }));
    }

    /// Reports directories that may differ with everything below them.
    pub(super) fn subtrees(&mut self, paths: impl IntoIterator<Item = RelPath>) {
        self.changes.extend(paths.into_iter().map(|path| Change::Subtree { path }));
    }

    /// Reports a subtree of which track was lost.
    pub(super) fn rescan(&mut self, subtree: RelPath, reason: Reason) {
        self.rescans.push(Rescan { subtree, reason });
    }
}
