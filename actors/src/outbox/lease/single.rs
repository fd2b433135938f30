//! One batch that is out: what it has, and what waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::LeaseId;
use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::transport::Lane;
use crate::transport::rename::Origin;

/// Up to so many paths are compared one by one, which is faster than to look for all that lies above a path.
pub(super) const FEW: usize = 8;

/// A batch that is out.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: LeaseId,
    pub(super) lane: Lane,
    pub(super) paths: BTreeMap<RelPath, Pending>,
    /// The names at which the node has the renamed entries on and below its paths.
    pub(super) origins: BTreeMap<RelPath, Origin>,
    /// Paths that must not be deleted at the node before the batch ends.
    pub(super) needed: BTreeSet<RelPath>,
    /// Those of them that it sends although they are no paths of it.
    pub(super) along: BTreeSet<RelPath>,
    /// The time at which rsync had done its work, and the newest batch then; until then it may change something at the node.
    pub(super) worked: Option<(Instant, LeaseId)>,
    /// Some of its paths are symlinks: until they are at the node, the targets of the node's old ones stay there.
    pub(super) has_links: bool,
    /// Directories above its paths and above those of a batch whose work ended while this one's went on. Whichever run
    /// is last sets their times, as it read them at its start: they are sent once more.
    pub(super) shared: BTreeSet<RelPath>,
}

impl Lease {
    /// Tells if rsync may still change something at the node because of it.
    pub(super) fn works(&self) -> bool {
        self.worked.is_none()
    }

    /// Tells if rsync had done its work when another batch was taken.
    pub(super) fn was_done_before(&self, other: LeaseId) -> bool {
        self.worked.is_some_and(|(_, newest)| other > newest)
    }

    /// Tells if it sets the times of a directory as they are.
    pub(super) fn sets_times(&self, dir: &RelPath) -> bool {
        self.paths.get(dir).is_some_and(Pending::sets_times)
    }

    /// Tells if it has this very path.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        self.paths.contains_key(path) || self.needed.contains(path)
    }

    /// Tells if what is below this path waits for it. Not if nothing but the times of a directory is set.
    pub(super) fn is_above(&self, path: &RelPath) -> bool {
        self.needed.contains(path) || self.paths.get(path).is_some_and(|pending| !pending.is_times())
    }

    /// Tells if it sets the times of directories and does nothing else.
    pub(super) fn is_light(&self) -> bool {
        self.needed.is_empty() && self.paths.values().all(Pending::is_times)
    }

    /// Tells if it has something on, above or below a path. An entry that the node has under an old name may be made
    /// anew.
    pub(super) fn touches(&self, path: &RelPath) -> bool {
        let Lease { paths, needed, .. } = self;
        if paths.len() + needed.len() <= FEW {
            let is_at = |other: &RelPath| other == path || other.is_below(path);
            return paths.iter().any(|(other, pending)| is_at(other) || !pending.is_times() && path.is_below(other))
                || needed.iter().any(|other| is_at(other) || path.is_below(other));
        }
        // Everything is below the root.
        path.is_root()
            || self.has(path)
            || self.is_above(&RelPath::root())
            || path.ancestors().any(|dir| self.is_above(&dir))
            || paths.range(path.below()).next().is_some()
            || needed.range(path.below()).next().is_some()
    }

    /// The directories above what it sends, with the root where something is at the top, and those of which it sets the
    /// times while others may be at work below them.
    pub(super) fn above(&self) -> BTreeSet<RelPath> {
        let sent = self.paths.keys().chain(&self.along);
        let above = sent.flat_map(|path| path.parent().into_iter().chain(path.ancestors().collect::<Vec<_>>()));
        let times = self.paths.iter().filter(|(_, pending)| pending.is_times()).map(|(dir, _)| dir.clone());
        above.chain(times).collect()
    }

    /// Tells if it has more at, above or below a directory than entries that were made there.
    pub(super) fn may_compare(&self, dir: &RelPath) -> bool {
        let Lease { paths, needed, .. } = self;
        let is_needed = |path: &RelPath| needed.contains(path);
        let is_other = |path: &RelPath| paths.get(path).is_some_and(|pending| !pending.is_of_new_directory());
        if dir.is_root() || is_other(&RelPath::root()) {
            return true;
        }
        let mut below = paths.range(dir.below());
        is_other(dir)
            || is_needed(dir)
            || dir.ancestors().any(|dir| is_other(&dir) || is_needed(&dir))
            || below.any(|(_, pending)| pending.reaches(Scope::Level) || pending.departed)
            || needed.range(dir.below()).next().is_some()
    }
}
