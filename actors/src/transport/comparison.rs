//! The outcome of a comparison of a node with the source by content.

use std::collections::BTreeMap;
use std::fmt;

use super::blame::Blame;
use super::failure::{Cause, Failure};
use crate::path::{Escaped, RelPath};

/// How a node compares with the source.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// What differs.
    pub differing: BTreeMap<RelPath, Difference>,
    /// Entries that changed at each look, so that nobody can say.
    pub unsettled: u64,
    /// Entries that differed at the first look, and were too many to be looked at again.
    pub unseen: u64,
    /// What could not be compared.
    pub blamed: Blame,
    /// Why not; `Some` if and only if something is blamed.
    pub failure: Option<Failure>,
    /// Symlinks that the node's rsync rewrites, which a comparison by itself cannot see.
    pub rewritten: Vec<Rewritten>,
}

impl Comparison {
    /// How many entries differ.
    pub fn differ(&self) -> usize {
        let is_new = |rewritten: &&Rewritten| !self.differing.contains_key(&rewritten.link.path);
        self.differing.len() + self.rewritten.iter().filter(is_new).count()
    }

    /// Whether everything was compared that holds still.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && self.unseen == 0
    }

    /// Adds what a run blames, unless it only vanished.
    pub(crate) fn blame(&mut self, blamed: Blame, failure: Option<Failure>) {
        if let Some(failure) = failure.filter(|failure| failure.cause != Cause::Vanished) {
            self.blamed.add(blamed);
            self.failure.get_or_insert(failure);
        }
    }
}

/// How an entry of a node differs from the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// In what it holds, or in what it points to.
    Content,
    /// In times, permissions or other attributes alone.
    Attributes,
    /// The node does not have it, or has something of another type.
    Missing,
    /// The source does not have it.
    OnlyThere,
}

/// A symlink of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub path: RelPath,
    /// What it holds.
    pub target: Vec<u8>,
}

/// A symlink that reads otherwise at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// As it is in the source.
    pub link: Link,
    /// What it holds at the node.
    pub there: Vec<u8>,
}

/// What an rsync daemon puts in front of a target.
pub(crate) const MUNGED: &[u8] = b"/rsyncd-munged/";

impl Rewritten {
    /// What to change at the node.
    pub const CURE: &str = "they stay what they are with `use chroot = yes` and `munge symlinks = no` in rsyncd.conf there, \
        or over ssh without -munge of rrsync";

    fn is_munged(&self) -> bool {
        self.there.starts_with(MUNGED)
    }
}

/// The cause and an example.
impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_munged() {
            "the node's rsync munges symlinks, so that they lead nowhere"
        } else {
            "the node's rsync cuts from symlinks what leads out of the module"
        };
        let (target, there) = (Escaped(&self.link.target), Escaped(&self.there));
        write!(f, "{how}: `{target}` is `{there}` there")
    }
}
