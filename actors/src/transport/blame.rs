//! The paths that a run could not bring to the node.

use crate::path::RelPath;

/// The paths that an error output blames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// These paths; whatever else was listed is done.
    Paths(Vec<RelPath>),
    /// Some line could not be read, so any path may have failed.
    Anything,
}

impl Default for Blame {
    /// Nothing is blamed.
    fn default() -> Self {
        Blame::Paths(Vec::new())
    }
}

impl Blame {
    /// Blames what another run blames, too.
    pub fn add(&mut self, other: Blame) {
        match (&mut *self, other) {
            (Blame::Paths(paths), Blame::Paths(more)) => paths.extend(more),
            (_, Blame::Anything) => *self = Blame::Anything,
            (Blame::Anything, Blame::Paths(_)) => (),
        }
    }

    /// Whether this entry may have failed: it, or what is above or below it, is blamed.
    pub fn touches(&self, entry: &RelPath) -> bool {
        match self {
            Blame::Anything => true,
            Blame::Paths(bad) => {
                bad.iter().any(|bad| bad == entry || bad.is_below(entry) || entry.is_below(bad) && !bad.is_root())
            }
        }
    }

    /// Whether nothing but these is blamed, each by its name.
    pub fn is_only(&self, is_one: impl Fn(&RelPath) -> bool) -> bool {
        matches!(self, Blame::Paths(bad) if bad.iter().all(is_one))
    }

    /// Whether this very entry may have failed.
    pub fn names(&self, entry: &RelPath) -> bool {
        match self {
            Blame::Anything => true,
            Blame::Paths(bad) => bad.contains(entry),
        }
    }

    /// Whether nothing is blamed.
    pub fn is_empty(&self) -> bool {
        *self == Blame::default()
    }
}
