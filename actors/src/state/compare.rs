//! Compares the tree on disk with the saved state. Changes neither.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::listing::{Dir, Entry, errno, is_gone};
use super::stamp::Stamp;
use super::store::{Known, StoreError};
use crate::change::Change;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::root::walk::{PackedNames, Start, Visitor, walk};

/// Compares the whole tree with what is `known` of it, on several threads, and tells `found` what differs. Directories that
/// may not be read, or do not answer, are passed over: the watcher tells when they do. `unsaved_names`: the nodes may have
/// entries that were never saved, since they were made, sent and deleted again between two saves; so the names in each
/// directory that changed are compared too.
///
/// # Errors
/// When the state or the source cannot be read.
pub(crate) fn compare(
    reach: &Reach,
    known: &Known,
    excludes: &Excludes,
    unsaved_names: bool,
    found: &mut (dyn FnMut(Change) + Send),
) -> Result<(), StoreError> {
    let path = RelPath::root();
    let top = Dir::open(reach, &path).map_err(StoreError::Source)?;
    let stamp = top.stamp().map_err(StoreError::Source)?;
    if known.stamp(&path)? != Some(stamp) {
        found(changed(&Entry { path: path.clone(), stamp }, None, unsaved_names));
    }
    let comparison =
        StateComparison { reach, known, excludes, unsaved_names, found: Mutex::new(found), failed: Mutex::default() };
    let names = comparison.level(&top)?;
    let opened = top.into_opened();
    walk(reach, Start { path, opened, known: (), names }, &comparison);
    comparison.failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

struct StateComparison<'c> {
    reach: &'c Reach,
    known: &'c Known,
    excludes: &'c Excludes,
    unsaved_names: bool,
    found: Mutex<&'c mut (dyn FnMut(Change) + Send)>,
    failed: Mutex<Option<StoreError>>,
}

impl StateComparison<'_> {
    /// Compares the entries of a directory. Returns the directories among them that the state knows.
    fn level(&self, dir: &Dir<'_>) -> Result<PackedNames, StoreError> {
        let entries = dir.entries(self.excludes).map_err(StoreError::Source)?;
        let before = self.known.children(dir.path())?;
        let mut directories = PackedNames::default();
        for pair in pairs(entries, before) {
            match pair {
                Pair::Both(entry, before) => {
                    if before != Some(entry.stamp) {
                        self.tell(changed(&entry, before, self.unsaved_names));
                    }
                    let was_dir = before.is_some_and(|before| before.is_dir());
                    if was_dir && entry.stamp.is_dir() {
                        directories.push(entry.path.name());
                    }
                }
                Pair::New(entry) => self.tell(changed(&entry, None, self.unsaved_names)),
                Pair::Gone(path, _) if !self.reach.answers(&path) => (),
                Pair::Gone(path, before) => {
                    let is_dir = before.is_some_and(|before| before.is_dir());
                    if self.excludes.matching(&path, is_dir).is_none() {
                        self.tell(Change::Removed { path, is_dir });
                    }
                }
            }
        }
        Ok(directories)
    }

    fn tell(&self, change: Change) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)(change);
    }

    fn fail(&self, error: StoreError) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn has_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Visitor for StateComparison<'_> {
    type Known = ();

    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, (): ()) -> Option<((), PackedNames)> {
        if self.has_failed() {
            return None;
        }
        match self.level(&Dir::of_opened(self.reach, path, opened)) {
            Ok(names) => return Some(((), names)),
            Err(StoreError::Source(error)) if is_passed_over(error) => (),
            Err(error) => self.fail(error),
        }
        None
    }

    fn missed(&self, _: RelPath, error: io::Error) {
        let error = errno(error);
        if !is_passed_over(error) {
            self.fail(StoreError::Source(error));
        }
    }
}

fn is_passed_over(error: Errno) -> bool {
    is_gone(error) || matches!(error, Errno::ACCESS | Errno::PERM | Errno::TIMEDOUT)
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
