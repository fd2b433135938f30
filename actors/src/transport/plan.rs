//! The plan of a batch: what rsync is to be told.

use std::collections::{BTreeMap, BTreeSet};

use super::rename::{Relocation, Rename};
use crate::path::RelPath;

/// What rsync is to be told. No path is in two of the lists, and none lies below a listed subtree or a missing entry; what
/// was renamed or moved, and the directories for it, are hints beside these lists.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The attributes of the root itself are to be sent.
    pub root: bool,
    /// Entries that exist: sent without what is below them, whatever size and time say.
    pub present: BTreeSet<RelPath>,
    /// Files larger than 64 KiB whose content need not be new: sent if size or time differs.
    pub large: BTreeSet<RelPath>,
    /// Files larger than 64 KiB that were open for writing: sent if the content differs.
    pub closed: BTreeSet<RelPath>,
    /// Directories that exist: made equal with all that is below them.
    pub subtrees: BTreeSet<RelPath>,
    /// As `subtrees`: directories that were removed and made again, so that size and time of what is below prove nothing.
    pub subtrees_rewritten: BTreeSet<RelPath>,
    /// Directories that exist: entries that only the node has in them are deleted, and the others sent, without what is
    /// below subdirectories.
    pub levels: BTreeSet<RelPath>,
    /// Entries that do not exist: deleted, with all that is below them on the node.
    pub missing: BTreeSet<RelPath>,
    /// Files that were renamed, by their new names. Each is also in `present` (its content may have changed since), in
    /// `large` (it has not), or below a listed subtree: what was not linked is sent from there.
    pub renamed: BTreeMap<RelPath, Rename>,
    /// Directories that the node must have before files are linked into them, or directories made out of others.
    pub parents: BTreeSet<RelPath>,
    /// Files at the old names of renamed ones: they are sent whole, as what the node has there is another file.
    pub anew: BTreeSet<RelPath>,
    /// Directories that were moved, in the order in which they are to be made. Each is also in `subtrees`, in
    /// `subtrees_rewritten`, or below one of these.
    pub moved: Vec<Relocation>,
    /// Directories that were moved away: kept on the node though they lie below one of the above. Past
    /// 200 of them the directories that held them are kept whole. With them up to 200 files that settle.
    pub protected: BTreeSet<RelPath>,
    /// Directories of which all that is below is kept on the node, although a listed subtree or level lacks it: a file system was
    /// unmounted from them. The root stands for everything.
    pub kept: BTreeSet<RelPath>,
    /// Listed symlinks, and where they led when they were looked at.
    pub links: BTreeMap<RelPath, Leads>,
    /// Those of them that are sent when all that exists was, as they lead to it: first those that lead to no other of them,
    /// then those that lead to these, and so on. The others are in `present`.
    pub late_links: Vec<BTreeSet<RelPath>>,
}

impl Plan {
    /// Whether no rsync run is needed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of listed entries.
    pub fn len(&self) -> usize {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing, .. } = self;
        let lists = [present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing];
        usize::from(self.root) + lists.into_iter().chain(&self.late_links).map(BTreeSet::len).sum::<usize>()
    }

    /// The listed entries, and whether each is compared with all that is below it.
    pub fn listed(&self) -> impl Iterator<Item = (&RelPath, bool)> {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing, .. } = self;
        let alone = [present, large, closed, anew, levels]
            .into_iter()
            .chain(&self.late_links)
            .flatten()
            .map(|path| (path, false));
        alone.chain([subtrees, subtrees_rewritten, missing].into_iter().flatten().map(|path| (path, true)))
    }
}

/// So few directories that a run can name them one by one; if there are more, those that hold them, or the root.
pub fn bounded(mut directories: BTreeSet<RelPath>) -> BTreeSet<RelPath> {
    while directories.len() > PROTECTED {
        directories = directories.iter().filter_map(RelPath::parent).collect();
    }
    directories
}
/// A larger file is sent only if its content is known to be new or its size or time differs, or is compared. Smaller ones cost
/// less than being wrong: a write through mmap(2) changes neither.
pub(crate) const LARGE: u64 = 64 * 1024;
/// Directories that are protected one by one: each takes two arguments of rsync, whose room is bounded.
pub(crate) const PROTECTED: usize = 200;

/// Where a symlink leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leads {
    /// What it says.
    pub text: Vec<u8>,
    /// The links on the way, and what they lead to at last. Only what is in the tree, and nothing that holds the link.
    pub to: Vec<RelPath>,
}
