//! Compares the tree on disk with the saved state. Changes neither.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::listing::{Dir, Entry, Listing, errno, is_gone};
use super::moved::{MovedEntry, Unpaired};
use super::stamp::Stamp;
use super::stamps::{Pair, Stamps};
use super::store::{Known, StoreError};
use crate::change::Change;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::root::walk::{PackedNames, Start, Visitor, walk};

/// The facts by which the tree is compared with what was saved of it.
#[derive(Clone, Copy)]
pub(crate) struct ComparisonGround<'a> {
    /// The source.
    pub reach: &'a Reach,
    /// The tree as of the last save.
    pub known: &'a Known,
    /// Patterns of the entries that are not mirrored.
    pub excludes: &'a Excludes,
    /// The most that may be in doubt of a directory that changed.
    pub doubt: DirDoubt,
    /// `true` if what is gone is removed at the nodes, so that it may be paired with what is new.
    pub deletes: bool,
}

/// The doubt about a directory of which the stamp differs, although the state knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DirDoubt {
    /// About its attributes alone.
    None,
    /// About the names in it: the nodes may have entries that were never saved, since they were made, sent and deleted again
    /// between two saves.
    Names,
    /// About all of it, if the names beside it changed, too: it may have been away since the last save and have come back,
    /// and the nodes, which followed, have deleted it. The stamps of what is in it do not tell.
    All,
}

/// Compares the whole tree on several threads, and tells `found` what differs: each old name just before the new name that
/// its entry has, and the removals last. Directories that may not be read, or do not answer, are passed over: the watcher
/// tells when they do.
///
/// # Errors
/// When the state or the source cannot be read.
pub(crate) fn compare(ground: ComparisonGround<'_>, found: &mut (dyn FnMut(Change) + Send)) -> Result<(), StoreError> {
    let path = RelPath::root();
    let top = Dir::open(ground.reach, &path).map_err(StoreError::Source)?;
    let stamp = top.stamp().map_err(StoreError::Source)?;
    if ground.known.stamp(&path)? != Some(stamp) {
        // The root itself was never away.
        found(changed(&Entry { path: path.clone(), stamp }, None, ground.doubt.min(DirDoubt::Names)));
    }
    let mut unpaired = compare_below(ground, top, (path.clone(), path), Unpaired::default(), found)?;
    let mut moved = unpaired.take_moved(ground.reach, ground.deletes);
    loop {
        if moved.is_empty() {
            moved = unpaired.take_rebuilt(ground)?;
        }
        let Some(MovedEntry { from, to }) = moved.pop() else { break };
        let is_dir = to.stamp.is_dir();
        found(Change::Removed { path: from.clone(), is_dir });
        if !is_dir {
            found(Change::Renamed { from, to: to.path });
            continue;
        }
        found(Change::FoundMoved { from: from.clone(), to: to.path.clone() });
        match Dir::open(ground.reach, &to.path) {
            Ok(dir) => unpaired = compare_below(ground, dir, (to.path.clone(), from), unpaired, found)?,
            Err(error) if is_passed_over(error) => (),
            Err(error) => return Err(StoreError::Source(error)),
        }
        moved.extend(unpaired.take_moved(ground.reach, ground.deletes));
    }
    unpaired.new.iter().for_each(|entry| found(changed(entry, None, DirDoubt::None)));
    for (path, before) in unpaired.gone {
        found(Change::Removed { path, is_dir: before.is_dir() });
    }
    Ok(())
}

/// Compares all below a directory, which is at the first of the names `moved` and was saved by the second one. Adds to the entries without a partner.
fn compare_below(
    ground: ComparisonGround<'_>,
    top: Dir<'_>,
    moved: (RelPath, RelPath),
    unpaired: Unpaired,
    found: &mut (dyn FnMut(Change) + Send),
) -> Result<Unpaired, StoreError> {
    let path = moved.0.clone();
    let told = Mutex::new((found, unpaired));
    let comparison = StateComparison { ground, moved, told, spare: Mutex::default(), failed: Mutex::default() };
    match comparison.level(&top) {
        Ok(names) => {
            let opened = top.into_opened();
            walk(ground.reach, Start { path, opened, known: (), names }, &comparison);
        }
        Err(StoreError::Source(error)) if !path.is_root() && is_passed_over(error) => (),
        Err(error) => return Err(error),
    }
    let StateComparison { told, failed, .. } = comparison;
    let (_, unpaired) = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(unpaired), Err)
}

/// Entries of a list that is kept for another directory, at most.
const KEPT: usize = 50_000;

/// The listener to what differs, and what has no partner yet.
type Told<'f> = (&'f mut (dyn FnMut(Change) + Send), Unpaired);

/// The entries of a directory, on disk and in the state. The lists are filled anew for each directory: all threads share the
/// heap, and musl's has one lock for all.
#[derive(Default)]
struct Lists {
    listing: Listing,
    before: Stamps,
}

struct StateComparison<'c, 'f> {
    ground: ComparisonGround<'c>,
    /// The directory whose content is compared, and its name when it was saved.
    moved: (RelPath, RelPath),
    told: Mutex<Told<'f>>,
    /// Lists that no thread uses now.
    spare: Mutex<Vec<Lists>>,
    failed: Mutex<Option<StoreError>>,
}

impl<'f> StateComparison<'_, 'f> {
    /// Compares the entries of a directory. Returns the directories among them that the state knows.
    fn level(&self, dir: &Dir<'_>) -> Result<PackedNames, StoreError> {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lists = spare().pop().unwrap_or_default();
        let directories = self.level_by(dir, &mut lists);
        // Of directories with millions of entries, one after the other, each thread would keep the largest list.
        if lists.before.len() <= KEPT && lists.listing.stamps.len() <= KEPT {
            spare().push(lists);
        }
        directories
    }

    fn level_by(&self, dir: &Dir<'_>, lists: &mut Lists) -> Result<PackedNames, StoreError> {
        let ComparisonGround { reach, known, excludes, .. } = self.ground;
        dir.list(excludes, &mut lists.listing).map_err(StoreError::Source)?;
        let (to, from) = &self.moved;
        let renamed = if dir.path() == to { Some(from.clone()) } else { dir.path().rebase(to, from) };
        let saved = renamed.filter(|_| to != from);
        let saved = saved.as_ref().unwrap_or(dir.path());
        known.list(saved, &mut lists.before)?;
        let mut doubt = None;
        let mut directories = PackedNames::default();
        // The path of an entry is made only where the entry differs: there may be millions that do not.
        let path_in = |dir: &RelPath, name| dir.join(OsStr::from_bytes(name));
        for pair in lists.listing.stamps.pairs(&lists.before) {
            match pair {
                Pair::Both { name, stamp, before } => {
                    if before != stamp {
                        let doubt = *match &mut doubt {
                            Some(doubt) => doubt,
                            none => none.insert(self.doubt(dir, saved)?),
                        };
                        self.tell(changed(&Entry { path: path_in(dir.path(), name), stamp }, Some(before), doubt));
                    }
                    if before.is_dir() && stamp.is_dir() {
                        directories.push(name);
                    }
                }
                Pair::New { name, stamp } => {
                    let surplus = self.told().1.add_new(Entry { path: path_in(dir.path(), name), stamp });
                    surplus.iter().for_each(|entry| self.tell(changed(entry, None, DirDoubt::None)));
                }
                Pair::Gone { name, before } => {
                    let path = path_in(saved, name);
                    if reach.answers(&path) && excludes.matching(&path, before.is_dir()).is_none() {
                        self.told().1.gone.push((path, before));
                    }
                }
            }
        }
        Ok(directories)
    }

    /// The doubt about the directories in a directory, which was saved by that name.
    fn doubt(&self, dir: &Dir<'_>, saved: &RelPath) -> Result<DirDoubt, StoreError> {
        let ComparisonGround { known, doubt, .. } = self.ground;
        if doubt != DirDoubt::All {
            return Ok(doubt);
        }
        let stamp = dir.stamp().map_err(StoreError::Source)?;
        // A name that came or went moves the change time, which nobody can set back, unlike the modification time.
        let has_same_names = known.stamp(saved)? == Some(stamp);
        Ok(if has_same_names { DirDoubt::Names } else { DirDoubt::All })
    }

    fn told(&self) -> MutexGuard<'_, Told<'f>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Change) {
        (self.told().0)(change);
    }

    fn fail(&self, error: StoreError) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn has_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Visitor for StateComparison<'_, '_> {
    type Known = ();

    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, (): ()) -> Option<((), PackedNames)> {
        if self.has_failed() {
            return None;
        }
        match self.level(&Dir::of_opened(self.ground.reach, path, opened)) {
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
fn changed(entry: &Entry, before: Option<Stamp>, doubt: DirDoubt) -> Change {
    let Entry { path, stamp } = entry;
    let path = path.clone();
    let was_dir = before.is_some_and(|before| before.is_dir()) || path.is_root();
    match (stamp.is_dir(), was_dir) {
        (true, true) => match doubt {
            DirDoubt::None => Change::Touched { path, is_dir: true, rewritten: false },
            DirDoubt::Names => Change::Level { path },
            DirDoubt::All => Change::Subtree { path },
        },
        (true, false) => Change::Subtree { path },
        (false, _) => {
            let same_content = before.is_some_and(|before| before.has_content_of(stamp));
            Change::Touched { path, is_dir: false, rewritten: !same_content }
        }
    }
}
