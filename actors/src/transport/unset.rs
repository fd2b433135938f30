//! Entries that arrived without all of their attributes.

use std::collections::BTreeSet;

use super::failure::Failure;
use crate::path::RelPath;

/// The entries that lack attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unset {
    /// These.
    pub paths: BTreeSet<RelPath>,
    /// Whether there are more than are named.
    pub more: bool,
    /// The mirror's own directory lacks some: that is told once, and is no trouble of a path.
    pub root: bool,
    /// Why, of the first; `Some` if and only if there is one.
    pub why: Option<Failure>,
}

impl Unset {
    /// Whether nothing lacks any.
    pub fn is_empty(&self) -> bool {
        self.why.is_none()
    }

    /// The entries that are known to lack attributes, the mirror's own directory among them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = RelPath> {
        self.paths.iter().cloned().chain(self.root.then(RelPath::root))
    }

    /// Adds what another run could not set.
    pub fn add(&mut self, other: Unset) {
        self.paths.extend(other.paths);
        self.more |= other.more;
        self.root |= other.root;
        self.why = self.why.take().or(other.why);
    }
}
