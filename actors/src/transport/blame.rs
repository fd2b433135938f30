//! The paths that a run could not bring to the node.

use crate::path::RelPath;

/// The paths that an error output names as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// These paths failed; every other listed path is done.
    Paths(Vec<RelPath>),
    /// Some line of the output could not be understood, so any path may have failed.
    Anything,
}

impl Default for Blame {
    /// Blames no path at all.
    fn default() -> Self {
        Blame::Paths(Vec::new())
    }
}

impl Blame {
    /// Adds the paths that another run blames.
    pub(crate) fn add(&mut self, other: Blame) {
        match (&mut *self, other) {
            (Blame::Paths(paths), Blame::Paths(more)) => paths.extend(more),
            (_, Blame::Anything) => *self = Blame::Anything,
            (Blame::Anything, Blame::Paths(_)) => (),
        }
    }

    /// Tells if this entry may have failed: it is blamed itself, or an entry above or below it is.
    pub fn touches(&self, entry: &RelPath) -> bool {
        match self {
            Blame::Anything => true,
            Blame::Paths(bad) => {
                bad.iter().any(|bad| bad == entry || bad.is_below(entry) || entry.is_below(bad) && !bad.is_root())
            }
        }
    }

    /// Tells if all blamed paths are known by name and satisfy `is_one`.
    pub(crate) fn is_only(&self, is_one: impl Fn(&RelPath) -> bool) -> bool {
        matches!(self, Blame::Paths(bad) if bad.iter().all(is_one))
    }

    /// Tells if this very path may have failed.
    pub(crate) fn names(&self, entry: &RelPath) -> bool {
        match self {
            Blame::Anything => true,
            Blame::Paths(bad) => bad.contains(entry),
        }
    }

    /// Tells if no path is blamed.
    pub fn is_empty(&self) -> bool {
        *self == Blame::default()
    }
}
