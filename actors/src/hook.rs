//! The programs of the user that are told what arrived: `on_synced` by each node, `on_all_synced` when every node has it.
//! They delay no sync and fail none: a run of one is a task of its own, and what comes meanwhile is the next run's.
//!
//! What it is about, the rsync runs of a node said ([`heard`](crate::transport::heard)).
//! - [`barrier`]: which of it a node may still lack, so that it is not told yet.
//! - [`runner`]: when the program is run, and what becomes of what it was told when it fails.
//! - `program`: what keeps it from being started.
//! - [`run`]: one run of it, the only part that does anything.
//! - [`teller`]: a barrier and a runner together, and what the status says of them.

pub mod barrier;
mod program;
pub mod run;
pub mod runner;
pub mod teller;

pub use self::program::fault_of;
use crate::transport::heard::Room;
use std::collections::BTreeSet;
use std::collections::btree_set;

use crate::path::RelPath;
use crate::transport::Tally;

/// When a hook is run. Its name is the key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// One node got something.
    Synced,
    /// Every node has something.
    AllSynced,
}

impl Occasion {
    /// The key, and `INOSYNC_HOOK`.
    pub fn name(self) -> &'static str {
        match self {
            Occasion::Synced => "on_synced",
            Occasion::AllSynced => "on_all_synced",
        }
    }
}

/// What one run of a hook is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    paths: BTreeSet<RelPath>,
    room: Room,
    /// Whether there was no room for more.
    cut: bool,
    /// What the deliveries did that it is about.
    pub tally: Tally,
    /// How many they were, batches and reconciles.
    pub batches: u64,
}

impl List {
    /// One with room for so many paths.
    pub fn of(paths: usize) -> List {
        List { room: Room::of(paths), ..List::default() }
    }

    /// A path that changed.
    pub fn add(&mut self, path: RelPath) {
        if self.paths.contains(&path) {
            return;
        }
        match self.room.take(&path) {
            true => drop(self.paths.insert(path)),
            false => self.cut = true,
        }
    }

    /// Something changed that it does not name.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// A delivery did this.
    pub fn count(&mut self, tally: Tally) {
        self.tally.add(tally);
        self.batches += 1;
    }

    /// What another list says is told with this one.
    pub fn merge(&mut self, other: &List) {
        other.paths.iter().cloned().for_each(|path| self.add(path));
        self.cut |= other.cut;
        self.tally.add(other.tally);
        self.batches += other.batches;
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.cut
    }

    /// Whether it names all that changed.
    pub fn is_complete(&self) -> bool {
        !self.cut
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// The paths, in order.
    pub fn iter(&self) -> btree_set::Iter<'_, RelPath> {
        self.paths.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::heard::BYTES;
    use crate::transport::heard::PATHS;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_is_told_once_and_past_the_room_a_list_says_that_it_lacks_some() {
        for (paths, left, complete) in
            [(&["a", "b", "a"][..], 2, true), (&["a", "b", "c"], 2, false), (&["c", "a", "b", "a"], 2, false)]
        {
            let mut list = List::of(2);
            paths.iter().for_each(|path| list.add(rel(path)));
            assert_eq!((list.len(), list.is_complete()), (left, complete), "{paths:?}");
        }
        let mut list = List::default();
        assert!(list.is_empty());
        list.cut();
        assert!(!list.is_empty(), "that something changed is to be told");
    }

    #[test]
    fn long_names_take_room() {
        let (mut room, name) = (Room::default(), rel(&"x".repeat(4000)));
        let taken = (0..PATHS).take_while(|_| room.take(&name)).count();
        assert_eq!(taken, BYTES / 4000);
        room.give_back(&name);
        assert!(room.take(&name) && !room.take(&name));
    }

    #[test]
    fn what_two_lists_say_is_told_as_one() {
        let (mut one, mut other) = (List::of(3), List::of(3));
        ["a", "b"].iter().for_each(|path| one.add(rel(path)));
        ["b", "c"].iter().for_each(|path| other.add(rel(path)));
        one.count(Tally { sent: 2, bytes: 5, ..Tally::default() });
        other.count(Tally { sent: 1, deleted: 1, ..Tally::default() });
        one.merge(&other);
        let Tally { sent, deleted, bytes, .. } = one.tally;
        assert_eq!((one.len(), one.is_complete(), one.batches), (3, true, 2));
        assert_eq!((sent, deleted, bytes), (3, 1, 5));
    }
}
