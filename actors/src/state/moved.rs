//! Recognises entries by what the kernel knows them by, where they have other names than when they were saved: moved by
//! whomever, while nobody watched. A wrong guess does no harm: it is a hint, and what differs from it is sent.

use std::collections::HashMap;

use super::listing::Entry;
use super::stamp::Stamp;
use super::store::Known;
use crate::messages::FindMoved;
use crate::path::RelPath;
use crate::root::reach::Reach;

/// New entries that are remembered; further ones are sent. So many hints are of use to a node.
const MOST: usize = 20_000;

/// File systems whose inode numbers are their own and last, by the numbers of statfs(2). Others make them up (overlay,
/// FUSE, FAT), or are of another machine.
const LASTING: [i64; 7] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x2FC1_2FC1, // zfs
    0xF2F5_2010, // f2fs
    0xCA45_1A4E, // bcachefs
];

/// The entries of a comparison that are in the state or on disk alone.
#[derive(Default)]
pub(super) struct Unpaired {
    /// Saved entries that are gone, with their stamps.
    pub gone: Vec<(RelPath, Option<Stamp>)>,
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
        let saved = |path: RelPath| stamp(&path).map(|stamp| (path, Some(stamp)));
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
            stamp
                .iter()
                .filter(|stamp| stamp.is_dir() || stamp.is_file())
                .for_each(|stamp| by_inode.entry(stamp.inode()).or_default().push(at));
        }
        let mut taken = vec![false; self.gone.len()];
        let mut moved = Vec::new();
        let mut left = Vec::new();
        for entry in std::mem::take(&mut self.new) {
            let candidates = by_inode.get(&entry.stamp.inode()).map(Vec::as_slice).unwrap_or_default();
            let is_it = |at: &&usize| !taken[**at] && self.gone[**at].1.is_some_and(|old| is_same(reach, &entry, &old));
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

/// Tells if an entry is the one that had this stamp. One that was made since by the same number is younger than that.
fn is_same(reach: &Reach, entry: &Entry, old: &Stamp) -> bool {
    // A directory gets another time with each name in it.
    (entry.stamp.is_dir() && old.is_dir() || entry.stamp.has_content_of(old))
        && reach.kind(&entry.path).is_ok_and(|kind| LASTING.contains(&(kind & 0xFFFF_FFFF)))
        && reach.born(&entry.path).is_ok_and(|born| old.is_of_one_born(born))
}
