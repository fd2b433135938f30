//! Recognises entries by what the kernel knows them by, where they have other names than when they were saved: moved by
//! whomever, while nobody watched. A wrong guess does no harm: it is a hint, and what differs from it is sent.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::compare::ComparisonGround;
use super::listing::{Dir, Entry};
use super::stamp::Stamp;
use super::store::{Known, StoreError};
use crate::messages::FindMoved;
use crate::path::RelPath;
use crate::root::reach::Reach;

/// New entries that are remembered; further ones are sent. So many hints are of use to a node.
const MOST: usize = 20_000;

/// Entries of a new directory that are looked at for one that has another directory's file.
const LOOKED_AT: usize = 200;

/// The entries of a comparison that are in the state or on disk alone.
#[derive(Default)]
pub(super) struct Unpaired {
    /// Saved entries that are gone, with their stamps.
    pub gone: Vec<(RelPath, Stamp)>,
    /// Entries that are new.
    pub new: Vec<Entry>,
}

/// An entry that has another name than when it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MovedEntry {
    pub from: RelPath,
    pub to: Entry,
}

/// The stamps of names that were recognised lately, which may not be saved yet.
#[derive(Debug, Default)]
pub(super) struct RecentStamps(HashMap<RelPath, Stamp>);

impl RecentStamps {
    /// Remembers an entry by its new name.
    pub(super) fn add(&mut self, entry: &Entry) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(entry.path.clone(), entry.stamp);
    }
}

impl Unpaired {
    /// Pairs what went with new names, by what is `known` of the first and on disk of the second.
    pub(super) fn of(names: FindMoved, known: &Known, recent: &mut RecentStamps, reach: &Reach) -> Unpaired {
        let mut stamp = |path: &RelPath| recent.0.remove(path).or_else(|| known.stamp(path).ok().flatten());
        let saved = |path: RelPath| stamp(&path).map(|stamp| (path, stamp));
        let on_disk = |path: RelPath| Some(Entry { stamp: Stamp::from(&reach.look(&path).ok()?), path });
        Unpaired {
            gone: names.gone.into_iter().filter_map(saved).collect(),
            new: names.new.into_iter().filter_map(on_disk).collect(),
        }
    }

    /// Keeps a new entry, unless there are too many: it is given back then.
    pub(super) fn add_new(&mut self, entry: Entry) -> Option<Entry> {
        if self.new.len() >= MOST {
            return Some(entry);
        }
        self.new.push(entry);
        None
    }

    /// Takes the entries of which both names are known, each with its old name. None where nothing `deletes` the old one.
    pub(super) fn take_moved(&mut self, reach: &Reach, deletes: bool) -> Vec<MovedEntry> {
        if !deletes || self.gone.is_empty() || self.new.is_empty() {
            return Vec::new();
        }
        let mut by_inode: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, (_, stamp)) in self.gone.iter().enumerate() {
            if stamp.is_dir() || stamp.is_file() {
                by_inode.entry(stamp.inode()).or_default().push(at);
            }
        }
        let mut taken = vec![false; self.gone.len()];
        let mut moved = Vec::new();
        let mut left = Vec::new();
        for entry in std::mem::take(&mut self.new) {
            let candidates = by_inode.get(&entry.stamp.inode()).map(Vec::as_slice).unwrap_or_default();
            let is_it = |at: &&usize| !taken[**at] && is_same(reach, &entry, &self.gone[**at].1);
            match candidates.iter().find(is_it) {
                Some(&at) => {
                    taken[at] = true;
                    moved.push(MovedEntry { from: self.gone[at].0.clone(), to: entry });
                }
                None => left.push(entry),
            }
        }
        self.new = left;
        let mut taken = taken.into_iter();
        self.gone.retain(|_| !taken.next().unwrap_or_default());
        moved
    }
}

/// New directories that hold the files of one that is gone: it was moved by links and removals, as an rsync with `--link-dest`
/// does at a relay.
impl Unpaired {
    /// Takes the directories that have a file of one that is gone by the same name below it, each with the old name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(super) fn take_rebuilt(&mut self, ground: ComparisonGround<'_>) -> Result<Vec<MovedEntry>, StoreError> {
        let gone: Vec<RelPath> =
            self.gone.iter().filter(|(_, stamp)| stamp.is_dir()).map(|(path, _)| path.clone()).collect();
        let mut left: Vec<Entry> = self.new.iter().filter(|entry| entry.stamp.is_dir()).cloned().collect();
        if !ground.deletes || gone.is_empty() || left.is_empty() {
            return Ok(Vec::new());
        }
        let known = files_below(&gone, ground.known)?;
        left.truncate(MOST / LOOKED_AT);
        let mut moved: Vec<MovedEntry> = Vec::new();
        for to in left {
            let from = source_of(&to.path, &known, ground);
            let is_free = |from: &RelPath| gone.contains(from) && moved.iter().all(|other| other.from != *from);
            moved.extend(from.filter(is_free).map(|from| MovedEntry { from, to }));
        }
        self.new.retain(|entry| moved.iter().all(|moved| moved.to.path != entry.path));
        self.gone.retain(|(path, _)| moved.iter().all(|moved| moved.from != *path));
        Ok(moved)
    }
}

/// The saved files below some directories, by the numbers of their inodes.
fn files_below(dirs: &[RelPath], known: &Known) -> Result<HashMap<u64, (RelPath, Stamp)>, StoreError> {
    let mut files = HashMap::new();
    let mut left = dirs.to_vec();
    let mut looks = 0;
    while let Some(dir) = left.pop() {
        for (name, stamp) in known.children(&dir)?.iter() {
            looks += 1;
            let path = || dir.join(OsStr::from_bytes(name));
            if stamp.is_dir() {
                left.push(path());
            } else if stamp.is_file() {
                files.insert(stamp.inode(), (path(), stamp));
            }
        }
        if looks > MOST {
            break;
        }
    }
    Ok(files)
}

/// The old name of a directory, by the first of its files that has a known one.
fn source_of(top: &RelPath, known: &HashMap<u64, (RelPath, Stamp)>, ground: ComparisonGround<'_>) -> Option<RelPath> {
    let mut left = VecDeque::from([top.clone()]);
    let mut looks = 0;
    while let Some(dir) = left.pop_front().filter(|_| looks < LOOKED_AT) {
        // What cannot be listed shows no file.
        let listed = Dir::open(ground.reach, &dir).and_then(|dir| dir.entries(ground.excludes));
        for entry in listed.unwrap_or_default() {
            looks += 1;
            if entry.stamp.is_dir() {
                left.push_back(entry.path);
                continue;
            }
            let Some((old, stamp)) = known.get(&entry.stamp.inode()) else { continue };
            if let Some(from) = above_same_name(old, &entry.path, top)
                && is_same(ground.reach, &entry, stamp)
            {
                return Some(from);
            }
        }
    }
    None
}

/// The directory in which `old` has the name that `new` has in `top`.
fn above_same_name(old: &RelPath, new: &RelPath, top: &RelPath) -> Option<RelPath> {
    old.ancestors().find(|dir| new.rebase(top, dir).is_some_and(|path| path == *old))
}

/// Tells if an entry is the one that had this stamp. One that was made since by the same number is younger than that.
fn is_same(reach: &Reach, entry: &Entry, old: &Stamp) -> bool {
    // A directory gets another time with each name in it.
    (entry.stamp.is_dir() && old.is_dir() || entry.stamp.has_content_of(old))
        && reach.has_lasting_inodes(&entry.path)
        && reach.born(&entry.path).is_ok_and(|born| old.is_of_one_born(born))
}
