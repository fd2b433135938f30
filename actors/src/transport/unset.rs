//! Entries that arrived without all of their attributes.

use std::collections::BTreeSet;

use super::failure::Failure;
use crate::path::RelPath;

/// The entries that lack attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unset {
    /// Paths that are known to lack attributes.
    pub paths: BTreeSet<RelPath>,
    /// `true` if more paths lack attributes than `paths` names.
    pub more: bool,
    /// `true` if the mirror's own directory lacks some. This is logged once, and no path counts as failed because of
    /// it.
    pub root: bool,
    /// The reason for the first entry; `Some` if and only if some entry lacks attributes.
    pub why: Option<Failure>,
}

impl Unset {
    /// Tells if no entry lacks attributes.
    pub fn is_empty(&self) -> bool {
        self.why.is_none()
    }

    /// Iterates over the entries that are known to lack attributes, with the mirror's own directory as the root path.
    pub(crate) fn entries(&self) -> impl Iterator<Item = RelPath> {
        self.paths.iter().cloned().chain(self.root.then(RelPath::root))
    }

    /// Adds the entries of another run.
    pub(crate) fn add(&mut self, other: Unset) {
        self.paths.extend(other.paths);
        self.more |= other.more;
        self.root |= other.root;
        self.why = self.why.take().or(other.why);
    }
}
