//! Compares the tree on disk with the saved state. Changes neither.

use rustix::io::Errno;

use super::listing::{Dir, Entry, is_gone};
use super::stamp::Stamp;
use super::store::{Known, StoreError};
use crate::change::Change;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;

/// Compares the whole tree with what is `known` of it, and tells `found` what differs. Directories that may not
/// be read, or do not answer, are passed over: the watcher tells when they do. `unsaved_names`: the nodes may have entries that were never
/// saved, since they were made, sent and deleted again between two saves; so the names in each directory that changed
/// are compared too.
///
/// # Errors
/// When the state or the source cannot be read.
pub(crate) fn compare(
    reach: &Reach,
    known: &Known,
    excludes: &Excludes,
    unsaved_names: bool,
    found: &mut dyn FnMut(Change),
) -> Result<(), StoreError> {
    let stamp = Dir::open(reach, &RelPath::root()).and_then(|top| top.stamp()).map_err(StoreError::Source)?;
    if known.stamp(&RelPath::root())? != Some(stamp) {
        found(changed(&Entry { path: RelPath::root(), stamp }, None, unsaved_names));
    }
    // Opened one at a time, since a process may open fewer directories than a tree has.
    let mut left = vec![RelPath::root()];
    while let Some(path) = left.pop() {
        let entries = match Dir::open(reach, &path).and_then(|dir| dir.entries(excludes)) {
            Ok(entries) => entries,
            Err(error)
                if !path.is_root()
                    && (is_gone(error) || matches!(error, Errno::ACCESS | Errno::PERM | Errno::TIMEDOUT)) =>
            {
                continue;
            }
            Err(error) => return Err(StoreError::Source(error)),
        };
        let before = known.children(&path)?;
        for pair in pairs(entries, before) {
            match pair {
                Pair::Both(entry, before) => {
                    if before != Some(entry.stamp) {
                        found(changed(&entry, before, unsaved_names));
                    }
                    let was_dir = before.is_some_and(|before| before.is_dir());
                    if was_dir && entry.stamp.is_dir() {
                        left.push(entry.path);
                    }
                }
                Pair::New(entry) => found(changed(&entry, None, unsaved_names)),
                Pair::Gone(path, _) if !reach.answers(&path) => (),
                Pair::Gone(path, before) => {
                    let is_dir = before.is_some_and(|before| before.is_dir());
                    if excludes.matching(&path, is_dir).is_none() {
                        found(Change::Removed { path, is_dir });
                    }
                }
            }
        }
    }
    Ok(())
}

/// Returns the change for an entry that differs from its stamp.
fn changed(entry: &Entry, before: Option<Stamp>, unsaved_names: bool) -> Change {
    let Entry { path, stamp } = entry;
    let path = path.clone();
    let was_dir = before.is_some_and(|before| before.is_dir()) || path.is_root();
    match (stamp.is_dir(), was_dir) {
        (true, true) if unsaved_names => Change::Level { path },
        (true, true) => Change::Touched { path, is_dir: true, rewritten: false },
        (true, false) => Change::Subtree { path },
        (false, _) => {
            let same_content = before.is_some_and(|before| before.has_content_of(stamp));
            Change::Touched { path, is_dir: false, rewritten: !same_content }
        }
    }
}

/// An entry on disk, in the state, or in both.
enum Pair {
    Both(Entry, Option<Stamp>),
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
                entries.next().zip(known.next()).map(|(entry, (_, stamp))| Pair::Both(entry, stamp))
            }
        });
    }
}
