//! Directories that are compared once more at a later time, since until then the node's kernel may report entries that the node
//! does not have. They are no part of what waits: a change below one goes as ever.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::outbox::reconcile::RecentComparisons;
use crate::path::RelPath;

/// Directories that are remembered so, about 100 bytes each; past it the whole tree is compared.
const MOST: usize = 1000;

/// The comparisons of directories of which something is known.
#[derive(Debug, Default)]
pub(crate) struct Comparisons {
    /// Those of a moment ago.
    pub recent: RecentComparisons,
    /// Those that are to come.
    pub second: SecondLooks,
}

/// The directories, each with the time of its comparison.
#[derive(Debug, Default)]
pub(crate) struct SecondLooks(BTreeMap<RelPath, Instant>);

impl SecondLooks {
    /// Adds a directory. Returns false if there are too many.
    #[must_use]
    pub(super) fn add(&mut self, dir: RelPath, at: Instant) -> bool {
        let has_room = self.0.len() < MOST;
        if has_room {
            let until = self.0.entry(dir).or_insert(at);
            *until = at.max(*until);
        }
        has_room
    }

    /// Forgets a directory that is gone, with all that is below it.
    pub(super) fn forget(&mut self, dir: &RelPath) {
        self.0.retain(|path, _| path != dir && !path.is_below(dir));
    }

    /// Takes the directories of which the time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<RelPath> {
        let due: Vec<RelPath> = self.0.iter().filter(|(_, at)| **at <= now).map(|(dir, _)| dir.clone()).collect();
        due.iter().for_each(|dir| _ = self.0.remove(dir));
        due
    }

    /// The time of the next comparison.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    pub(super) fn dirs(&self) -> impl Iterator<Item = &RelPath> {
        self.0.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn each_directory_is_compared_at_its_latest_time_unless_it_is_gone() {
        let (mut looks, start) = (SecondLooks::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (dir, seconds) in [("a", 2), ("a/b", 2), ("c", 1), ("c", 3), ("c", 2), ("d", 1), ("ab", 1)] {
            assert!(looks.add(rel(dir), after(seconds)));
        }
        looks.forget(&rel("a"));
        assert_eq!((looks.len(), looks.next()), (3, Some(after(1))));
        assert_eq!(looks.take_due(start), []);
        assert_eq!(looks.take_due(after(1)), ["ab", "d"].map(rel));
        assert_eq!(looks.take_due(after(2)), [], "c may have been deleted from once more");
        assert_eq!(looks.take_due(after(3)), [rel("c")]);
        assert_eq!(looks.next(), None);
    }

    #[test]
    fn too_many_are_refused() {
        let mut looks = SecondLooks::default();
        let added = (0..MOST).filter(|number| looks.add(rel(&number.to_string()), Instant::now())).count();
        assert_eq!((added, looks.add(rel("more"), Instant::now())), (MOST, false));
    }
}
