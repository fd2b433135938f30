//! The result of comparing a node with the source by content.

use std::collections::BTreeMap;
use std::fmt;

use super::blame::Blame;
use super::failure::{Cause, Failure};
use crate::path::{Escaped, RelPath};

/// The result of comparing a node with the source.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Entries that differ, with the kind of difference.
    pub differing: BTreeMap<RelPath, Difference>,
    /// Number of entries that only the node has, and keeps since the source lost them (`delete`): no difference.
    pub kept: u64,
    /// Number of entries that changed during each look, so that the result is unknown.
    pub unsettled: u64,
    /// Number of entries that differed at the first look and were too many for a second look.
    pub unseen: u64,
    /// Paths that could not be compared.
    pub blamed: Blame,
    /// The reason why paths could not be compared; `Some` if and only if `blamed` is not empty.
    pub failure: Option<Failure>,
    /// Symlinks that the node's rsync rewrites. An rsync comparison alone cannot see the difference.
    pub rewritten: Vec<Rewritten>,
}

impl Comparison {
    /// Returns the number of entries that differ.
    pub fn differ(&self) -> usize {
        let is_new = |rewritten: &&Rewritten| !self.differing.contains_key(&rewritten.link.path);
        self.differing.len() + self.rewritten.iter().filter(is_new).count()
    }

    /// Tells if every entry that did not change meanwhile was compared.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && self.unseen == 0
    }

    /// Adds the paths that a run blames, unless they only vanished.
    pub(crate) fn blame(&mut self, blamed: Blame, failure: Option<Failure>) {
        if let Some(failure) = failure.filter(|failure| failure.cause != Cause::Vanished) {
            self.blamed.add(blamed);
            self.failure.get_or_insert(failure);
        }
    }
}

/// The kind of difference between an entry of a node and the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The content of a file, or the target of a symlink.
    Content,
    /// Only times, permissions or other attributes.
    Attributes,
    /// The node does not have the entry, or has another type of entry there.
    Missing,
    /// Only the node has the entry.
    OnlyThere,
}

/// A symlink of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Path of the symlink.
    pub path: RelPath,
    /// Text of the symlink, as readlink(2) returns it.
    pub target: Vec<u8>,
}

/// A symlink whose text differs at a node because the node's rsync rewrites it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The symlink in the source.
    pub link: Link,
    /// Text of the symlink at the node.
    pub there: Vec<u8>,
}

/// Prefix that an rsync daemon with `munge symlinks` puts in front of a symlink's text.
pub(crate) const MUNGED: &[u8] = b"/rsyncd-munged/";

impl Rewritten {
    /// Advice for the admin of the node.
    pub(crate) const CURE: &str = "they stay what they are with `use chroot = yes` and `munge symlinks = no` in rsyncd.conf there, \
        or over ssh without -munge of rrsync";

    fn is_munged(&self) -> bool {
        self.there.starts_with(MUNGED)
    }
}

/// Shows the cause and an example.
impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_munged() {
            "the node's rsync munges symlinks, so that they lead nowhere"
        } else {
            "the node's rsync cuts from symlinks what leads out of the module"
        };
        let target = Escaped(&self.link.target);
        let there = Escaped(&self.there);
        write!(f, "{how}: `{target}` is `{there}` there")
    }
}
