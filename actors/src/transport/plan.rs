//! The plan of a batch: the lists of paths for the rsync runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::rename::{Relocation, Rename};
use crate::path::RelPath;

/// The lists of paths that the rsync runs of one batch get. No path is in two of the lists, and none lies below a
/// listed subtree or a missing entry. Renamed and moved entries, and the directories for them, are hints beside these
/// lists.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `true` if the attributes of the root itself are to be sent.
    pub root: bool,
    /// Entries that exist: sent even if size and time are equal, without the entries below them.
    pub present: BTreeSet<RelPath>,
    /// Files larger than 64 KiB whose content need not be new: sent if size or time differs.
    pub large: BTreeSet<RelPath>,
    /// Files larger than 64 KiB that were open for writing: sent if the content differs.
    pub closed: BTreeSet<RelPath>,
    /// Directories that exist: made equal to the source with everything below them.
    pub subtrees: BTreeSet<RelPath>,
    /// Like `subtrees`, for directories that were removed and made again: equal size and time prove nothing about the
    /// files below.
    pub subtrees_rewritten: BTreeSet<RelPath>,
    /// Directories that exist: entries that only the node has directly in them are deleted, and the others are sent,
    /// without the contents of subdirectories.
    pub levels: BTreeSet<RelPath>,
    /// Entries that do not exist: deleted at the node, with everything below them.
    pub missing: BTreeSet<RelPath>,
    /// Renamed files by their new names. Each is also in `present` (the content may have changed since), in `large`
    /// (the content has not changed), or below a listed subtree: if the link cannot be made, the file is sent from
    /// there.
    pub renamed: BTreeMap<RelPath, Rename>,
    /// Directories that the node must have before files are linked into them or directories are made from others.
    pub parents: BTreeSet<RelPath>,
    /// Files at the old names of renamed files: sent in full, since the node has another file there.
    pub anew: BTreeSet<RelPath>,
    /// Moved directories, in the order in which they are to be made. Each is also in `subtrees` or
    /// `subtrees_rewritten`, or lies below an entry of these.
    pub moved: Vec<Relocation>,
    /// Directories that were moved away: kept at the node although they lie below a listed path. If there are more than
    /// 200, their parent directories are kept instead. Up to 200 files that still settle are here too.
    pub protected: BTreeSet<RelPath>,
    /// Directories below which the node keeps everything, even entries that a listed subtree or level lacks, since a
    /// file system was unmounted from them. The root stands for the whole mirror.
    pub kept: BTreeSet<RelPath>,
    /// Listed symlinks, with their targets at the time of planning.
    pub links: BTreeMap<RelPath, Leads>,
    /// Symlinks that are sent after everything else that exists, since they lead to it. The first set leads to no other
    /// late link, the second set to the first, and so on. All other symlinks are in `present`.
    pub late_links: Vec<BTreeSet<RelPath>>,
    /// Names of files that are one in the source: all those of one file in each set, listed or not. A run that sends one of
    /// them gets them all, so that rsync links them at the node. Empty where hard links are not mirrored.
    pub names: Vec<BTreeSet<RelPath>>,
}

impl Plan {
    /// Tells if no rsync run is needed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of listed entries.
    pub(crate) fn len(&self) -> usize {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing, .. } = self;
        let lists = [present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing];
        usize::from(self.root) + lists.into_iter().chain(&self.late_links).map(BTreeSet::len).sum::<usize>()
    }

    /// Returns the paths of a run with the other names of their files. `below`: the run sends all below its paths, too; what
    /// lies there is not named. `leaves`: these names are left out.
    pub(crate) fn with_other_names<'p>(
        &self,
        paths: &'p BTreeSet<RelPath>,
        below: bool,
        leaves: impl Fn(&RelPath) -> bool,
    ) -> Cow<'p, BTreeSet<RelPath>> {
        let is_sent_below = |name: &RelPath| below && name.ancestors().any(|dir| paths.contains(&dir));
        let is_added = |name: &&RelPath| !paths.contains(*name) && !is_sent_below(name) && !leaves(name);
        let mut others = BTreeSet::new();
        for names in &self.names {
            if names.iter().any(|name| paths.contains(name) || is_sent_below(name)) {
                others.extend(names.iter().filter(is_added).cloned());
            }
        }
        if others.is_empty() { Cow::Borrowed(paths) } else { Cow::Owned(paths | &others) }
    }

    /// Tells if a run of this plan sends the file at this path, whatever other names it has.
    pub(crate) fn sends(&self, name: &RelPath) -> bool {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, .. } = self;
        [present, large, closed, anew].into_iter().any(|list| list.contains(name))
            || [subtrees, subtrees_rewritten].into_iter().any(|tops| name.ancestors().any(|dir| tops.contains(&dir)))
    }

    /// Tells if equal size and time at the node prove nothing of a listed name, or of one below a listed directory. A run that
    /// goes by them would link the other names to what the node has by this one.
    pub(crate) fn is_unproven(&self, name: &RelPath) -> bool {
        [&self.present, &self.closed, &self.anew].into_iter().any(|list| list.contains(name))
            || name.ancestors().any(|dir| self.subtrees_rewritten.contains(&dir))
    }

    /// The names of all files that have one for which this holds.
    pub(crate) fn names_of(&self, is_one: impl Fn(&RelPath) -> bool) -> BTreeSet<RelPath> {
        let touched = self.names.iter().filter(|names| names.iter().any(&is_one));
        touched.flatten().cloned().collect()
    }

    /// Tells if the runs of this plan look at what is mounted at `point`. rsync looks at each entry of a directory that rsync
    /// lists, also at excluded ones.
    pub(crate) fn reads(&self, point: &RelPath) -> bool {
        self.compared().any(|top| top.is_root() || point.is_below(top))
            || self.listed().any(|(path, _)| path == point || path.is_below(point))
    }

    /// Iterates over the listed directories whose entries are compared.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &RelPath> {
        let Plan { subtrees, subtrees_rewritten, levels, .. } = self;
        subtrees.iter().chain(subtrees_rewritten).chain(levels)
    }

    /// Iterates over the listed entries; the flag is `true` if everything below the entry is compared too.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&RelPath, bool)> {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing, .. } = self;
        let alone = [present, large, closed, anew, levels]
            .into_iter()
            .chain(&self.late_links)
            .flatten()
            .map(|path| (path, false));
        alone.chain([subtrees, subtrees_rewritten, missing].into_iter().flatten().map(|path| (path, true)))
    }
}

/// Returns directories few enough to be named one by one in a run: the given ones, or else their parents, up to the
/// root.
pub(crate) fn bounded(mut directories: BTreeSet<RelPath>) -> BTreeSet<RelPath> {
    while directories.len() > PROTECTED {
        directories = directories.iter().filter_map(RelPath::parent).collect();
    }
    directories
}
/// File size in bytes up to which a file is always sent. A larger file is sent only if its content is known to be new,
/// its size or time differs, or its content is compared and differs. A write through mmap(2) may change neither size
/// nor time, and sending a small file costs less than missing such a write.
pub(crate) const LARGE: u64 = 64 * 1024;
/// Number of directories that are protected one by one: each takes two arguments of rsync, whose number is limited.
pub(crate) const PROTECTED: usize = 200;

/// The targets of a symlink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leads {
    /// Text of the symlink, as readlink(2) returns it.
    pub text: Vec<u8>,
    /// The symlinks on the way and the final target, without paths outside the tree and directories that contain the
    /// symlink.
    pub to: Vec<RelPath>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<RelPath> {
        names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn a_run_that_sends_one_name_of_a_file_gets_all_that_it_does_not_send_by_a_directory() {
        let names = vec![set(&["a", "d/b", "d/c"]), set(&["x", "y"])];
        let plan = Plan { names, ..Plan::default() };
        for (paths, below, expected) in [
            (&["other"][..], false, &["other"][..]),
            (&["a"], false, &["a", "d/b", "d/c"]),
            (&["d/c", "other"], false, &["a", "d/b", "d/c", "other"]),
            (&["d"], false, &["d"]),
            (&["d"], true, &["a", "d"]),
            (&["d", "x"], true, &["a", "d", "x", "y"]),
            (&["a", "y"], false, &["a", "d/b", "d/c", "x", "y"]),
        ] {
            assert_eq!(*plan.with_other_names(&set(paths), below, |_| false), set(expected), "{paths:?} {below}");
        }
        let plan = Plan { present: set(&["d/b"]), subtrees_rewritten: set(&["x"]), ..plan };
        let proven = plan.with_other_names(&set(&["a"]), false, |name| plan.is_unproven(name)).into_owned();
        assert_eq!(proven, set(&["a", "d/c"]));
        assert_eq!(
            ["a", "d/b", "x", "x/y"].map(|name| plan.is_unproven(&RelPath::new(name.as_bytes()).unwrap())),
            [false, true, false, true]
        );
        let is_below = |name: &RelPath| name.is_below(&RelPath::new(b"d").unwrap());
        assert_eq!(plan.names_of(is_below), set(&["a", "d/b", "d/c"]));
    }
}
