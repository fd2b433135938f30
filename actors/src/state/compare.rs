//! Compares the tree on disk with the saved state. Changes neither.

use rustix::io::Errno;

use super::listing::{Dir, Entry, is_gone};
use super::moved::{MovedEntry, Unpaired};
use super::stamp::Stamp;
use super::store::{Known, StoreError};
use crate::change::Change;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;

/// The comparison of the whole tree with what was saved of it.
pub(crate) struct TreeComparison<'a> {
    /// The source.
    pub reach: &'a Reach,
    /// The tree as of the last save.
    pub known: &'a Known,
    /// Patterns of the entries that are not mirrored.
    pub excludes: &'a Excludes,
    /// `true` if the nodes may have entries that were never saved, since they were made, sent and deleted again between two
    /// saves; so the names in each directory that changed are compared too.
    pub unsaved_names: bool,
    /// `true` if what is gone is removed at the nodes.
    pub deletes: bool,
}

impl TreeComparison<'_> {
    /// Tells `found` what differs: each old name just before the new name that its entry has, and the removals last.
    /// Directories that may not be read, or do not answer, are passed over: the watcher tells when they do.
    ///
    /// # Errors
    /// When the state or the source cannot be read.
    pub(crate) fn differences(&self, found: &mut dyn FnMut(Change)) -> Result<(), StoreError> {
        let stamp = Dir::open(self.reach, &RelPath::root()).and_then(|top| top.stamp()).map_err(StoreError::Source)?;
        if self.known.stamp(&RelPath::root())? != Some(stamp) {
            found(self.changed(&Entry { path: RelPath::root(), stamp }, None));
        }
        let mut unpaired = Unpaired::default();
        // Each directory with the name that it had when it was saved.
        let mut left = vec![(RelPath::root(), RelPath::root())];
        loop {
            // Opened one at a time, since a process may open fewer directories than a tree has.
            while let Some((path, saved)) = left.pop() {
                left.extend(self.directory(&path, &saved, &mut unpaired, found)?);
            }
            let moved = if self.deletes { unpaired.take_moved(self.reach) } else { Vec::new() };
            for MovedEntry { from, to } in moved {
                let is_dir = to.stamp.is_dir();
                found(Change::Removed { path: from.clone(), is_dir });
                if is_dir {
                    found(Change::FoundMoved { from: from.clone(), to: to.path.clone() });
                    left.push((to.path, from));
                } else {
                    found(Change::Renamed { from, to: to.path });
                }
            }
            if left.is_empty() {
                break;
            }
        }
        unpaired.new.iter().for_each(|entry| found(self.changed(entry, None)));
        let gone = unpaired.gone.into_iter().filter(|_| self.deletes);
        for (path, before) in gone {
            found(Change::Removed { path, is_dir: before.is_some_and(|before| before.is_dir()) });
        }
        Ok(())
    }

    /// Compares the entries of a directory with those that it had by its earlier name `saved`. Returns the directories
    /// in it that are to be compared.
    fn directory(
        &self,
        path: &RelPath,
        saved: &RelPath,
        unpaired: &mut Unpaired,
        found: &mut dyn FnMut(Change),
    ) -> Result<Vec<(RelPath, RelPath)>, StoreError> {
        let mut below = Vec::new();
        let entries = match Dir::open(self.reach, path).and_then(|dir| dir.entries(self.excludes)) {
            Ok(entries) => entries,
            Err(error)
                if !path.is_root()
                    && (is_gone(error) || matches!(error, Errno::ACCESS | Errno::PERM | Errno::TIMEDOUT)) =>
            {
                return Ok(below);
            }
            Err(error) => return Err(StoreError::Source(error)),
        };
        for pair in pairs(entries, self.known.children(saved)?) {
            match pair {
                Pair::Both(entry, old, before) => {
                    if before != Some(entry.stamp) {
                        found(self.changed(&entry, before));
                    }
                    let was_dir = before.is_some_and(|before| before.is_dir());
                    below.extend((was_dir && entry.stamp.is_dir()).then_some((entry.path, old)));
                }
                Pair::New(entry) => {
                    unpaired.add_new(entry).iter().for_each(|entry| found(self.changed(entry, None)));
                }
                Pair::Gone(path, _) if !self.reach.answers(&path) => (),
                Pair::Gone(path, before) => {
                    let is_dir = before.is_some_and(|before| before.is_dir());
                    if self.excludes.matching(&path, is_dir).is_none() {
                        unpaired.gone.push((path, before));
                    }
                }
            }
        }
        Ok(below)
    }

    /// Returns the change for an entry that differs from its stamp.
    fn changed(&self, Entry { path, stamp }: &Entry, before: Option<Stamp>) -> Change {
        let path = path.clone();
        let was_dir = before.is_some_and(|before| before.is_dir()) || path.is_root();
        match (stamp.is_dir(), was_dir) {
            (true, true) if self.unsaved_names => Change::Level { path },
            (true, true) => Change::Touched { path, is_dir: true, rewritten: false },
            (true, false) => Change::Subtree { path },
            (false, _) => {
                let same_content = before.is_some_and(|before| before.has_content_of(stamp));
                Change::Touched { path, is_dir: false, rewritten: !same_content }
            }
        }
    }
}

/// An entry on disk, in the state, or in both.
enum Pair {
    Both(Entry, RelPath, Option<Stamp>),
    New(Entry),
    Gone(RelPath, Option<Stamp>),
}

/// Joins two lists that are sorted by name.
fn pairs(entries: Vec<Entry>, known: Vec<(RelPath, Option<Stamp>)>) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(entries.len());
    let mut entries = entries.into_iter().peekable();
    let mut known = known.into_iter().peekable();
    loop {
        let order = match (entries.peek(), known.peek()) {
            (Some(entry), Some((path, _))) => entry.path.name().cmp(path.name()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return pairs,
        };
        pairs.extend(match order {
            std::cmp::Ordering::Less => entries.next().map(Pair::New),
            std::cmp::Ordering::Greater => known.next().map(|(path, stamp)| Pair::Gone(path, stamp)),
            std::cmp::Ordering::Equal => {
                entries.next().zip(known.next()).map(|(entry, (old, stamp))| Pair::Both(entry, old, stamp))
            }
        });
    }
}
