//! Hooks: programs of the user that are told which changes arrived. `on_synced` runs for each node, `on_all_synced`
//! when every node has the changes. A hook never delays or fails a sync: each run is a task of its own, and changes
//! that arrive during a run go to the next one.
//!
//! The changes come from the reports of the rsync runs ([`heard`](crate::transport::heard)).
//! - [`barrier`]: holds back the changes that a node may still lack.
//! - [`runner`]: decides when the hook runs, and repeats the changes of a failed run.
//! - `program`: finds out why a program cannot be started.
//! - [`run`]: one run, the only part with side effects.
//! - [`teller`]: a barrier and a runner together, and their status.

pub(crate) mod barrier;
mod program;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod teller;

pub use self::program::fault_of;
use crate::transport::heard::Room;
use std::collections::BTreeSet;
use std::collections::btree_set;

use crate::path::RelPath;
use crate::transport::Tally;

/// The event that a hook runs on, named after the configuration key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A node received changes.
    Synced,
    /// All nodes have received the changes.
    AllSynced,
}

impl Occasion {
    /// Returns the configuration key, which is also the value of `INOSYNC_HOOK`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Occasion::Synced => "on_synced",
            Occasion::AllSynced => "on_all_synced",
        }
    }
}

/// The changes that one run of a hook is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ChangeList {
    paths: BTreeSet<RelPath>,
    room: Room,
    /// `true` if some changes are not listed.
    cut: bool,
    /// Totals of the deliveries that the list is about.
    pub tally: Tally,
    /// Number of these deliveries, batches and reconciles together.
    pub batches: u64,
}

impl ChangeList {
    /// Makes an empty list with room for `paths` paths.
    #[cfg(test)]
    pub(crate) fn of(paths: usize) -> ChangeList {
        ChangeList { room: Room::of(paths), ..ChangeList::default() }
    }

    /// Adds a path that changed; a path that does not fit makes the list incomplete.
    pub(crate) fn add(&mut self, path: RelPath) {
        if self.paths.contains(&path) {
            return;
        }
        match self.room.take(&path) {
            true => drop(self.paths.insert(path)),
            false => self.cut = true,
        }
    }

    /// Marks the list as incomplete.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// Adds the totals of one delivery.
    pub(crate) fn count(&mut self, tally: Tally) {
        self.tally.add(tally);
        self.batches += 1;
    }

    /// Adds the changes and totals of another list.
    pub(crate) fn merge(&mut self, other: &ChangeList) {
        other.paths.iter().cloned().for_each(|path| self.add(path));
        self.cut |= other.cut;
        self.tally.add(other.tally);
        self.batches += other.batches;
    }

    /// Tells if there is no change to report.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.cut
    }

    /// Tells if the list names every path that changed.
    pub(crate) fn is_complete(&self) -> bool {
        !self.cut
    }

    /// Returns the number of paths.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Iterates over the paths in order.
    pub(crate) fn iter(&self) -> btree_set::Iter<'_, RelPath> {
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
            let mut list = ChangeList::of(2);
            paths.iter().for_each(|path| list.add(rel(path)));
            assert_eq!((list.len(), list.is_complete()), (left, complete), "{paths:?}");
        }
        let mut list = ChangeList::default();
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
        let (mut one, mut other) = (ChangeList::of(3), ChangeList::of(3));
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
