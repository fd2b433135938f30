//! The entries that a run itemized. They are its plan: rsync prints a line before the receiver has stored anything. In the
//! end those count that it does not blame.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::path::RelPath;
use crate::rsync::report::output::Line;
use crate::transport::Tally;
use crate::transport::blame::Blame;

/// Entries of which is known what was said, some 40 bytes each. Past these, what is blamed is taken for itemized.
const KNOWN: usize = 50_000;
/// Entries whose names are kept, to find one that is not blamed.
const NAMED: usize = 100;

/// The entries that a run itemized.
#[derive(Debug, Default)]
pub(crate) struct Itemized {
    tally: Tally,
    known: HashMap<u64, Item>,
    names: Vec<RelPath>,
    hasher: RandomState,
}

/// The line of one entry.
#[derive(Debug, Clone, Copy)]
struct Item {
    bytes: u64,
    deleted: bool,
}

impl Itemized {
    /// Adds a line of output. A run that hung is run again, and says the same once more.
    pub(crate) fn add(&mut self, line: &Line) {
        let (path, item) = match line {
            Line::Sent(path, bytes) => (path, Item { bytes: *bytes, deleted: false }),
            Line::Deleted(path) => (path, Item { bytes: 0, deleted: true }),
            _ => return line.count_in(&mut self.tally),
        };
        if self.known.len() < KNOWN {
            let before = self.known.insert(self.hasher.hash_one(path), item);
            if before.is_some_and(|before| before.deleted == item.deleted) {
                return;
            }
        }
        line.count_in(&mut self.tally);
        if self.names.len() < NAMED {
            self.names.push(path.clone());
        }
    }

    /// Tells if a line named this entry, as far as is known.
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        self.known.contains_key(&self.hasher.hash_one(path))
    }

    /// The part that was done, when the run has ended and blames this. Where anything may have failed, nothing was seen to
    /// be done; of what is `unset`, its content if that was sent.
    pub(crate) fn done(&self, blamed: &Blame, unset: impl Iterator<Item = RelPath>) -> Tally {
        let mut tally = self.tally;
        let Blame::Paths(paths) = blamed else { return Tally { made_mirror: tally.made_mirror, ..Tally::default() } };
        let all_known = self.known.len() < KNOWN;
        for path in paths {
            match self.known.get(&self.hasher.hash_one(path)) {
                Some(Item { deleted: true, .. }) => tally.deleted = tally.deleted.saturating_sub(1),
                Some(Item { bytes, .. }) => {
                    tally.sent = tally.sent.saturating_sub(1);
                    tally.bytes = tally.bytes.saturating_sub(*bytes);
                }
                None if all_known => (),
                None => tally.sent = tally.sent.saturating_sub(1),
            }
        }
        let is_nothing = |path: &RelPath| {
            let item = self.known.get(&self.hasher.hash_one(path));
            item.is_some_and(|item| item.bytes == 0 && !item.deleted)
        };
        tally.sent = tally.sent.saturating_sub(unset.filter(is_nothing).count() as u64);
        tally
    }

    /// Tells if an entry is known that is neither blamed nor above or below what is. Of those after the first, only what is
    /// above.
    pub(crate) fn any_beside(&self, blamed: &Blame) -> bool {
        let Blame::Paths(paths) = blamed else { return false };
        let touched = || paths.iter().flat_map(|path| path.ancestors().chain([path.clone()]));
        self.names.iter().any(|path| !blamed.touches(path)) || self.has_unnamed_beside(touched())
    }

    /// Tells if an entry of which no name is kept is none of these.
    fn has_unnamed_beside(&self, paths: impl Iterator<Item = RelPath>) -> bool {
        if self.known.len() <= self.names.len() {
            return false;
        }
        let others: HashSet<u64> =
            paths.chain(self.names.iter().cloned()).map(|path| self.hasher.hash_one(path)).collect();
        self.known.keys().any(|entry| !others.contains(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_blamed_is_not_done() {
        let mut itemized = Itemized::default();
        for line in [
            Line::Sent(rel("a"), 5),
            Line::Sent(rel("d"), 0),
            Line::Sent(rel("d/f"), 7),
            Line::Deleted(rel("old")),
            Line::MadeMirror,
        ] {
            itemized.add(&line);
        }
        let done = |blamed: &[&str]| {
            itemized.done(&Blame::Paths(blamed.iter().map(|path| rel(path)).collect()), std::iter::empty())
        };
        let tally = |sent, deleted, bytes| Tally { sent, deleted, bytes, made_mirror: true };
        for (blamed, expected) in [
            (&[][..], tally(3, 1, 12)),
            (&["a"], tally(2, 1, 7)),
            (&["a", "old", "not itemized"], tally(2, 0, 7)),
            (&["d"], tally(2, 1, 12)),
            (&["a", "d", "d/f", "old"], tally(0, 0, 0)),
        ] {
            assert_eq!(done(blamed), expected, "{blamed:?}");
        }
        assert_eq!(itemized.done(&Blame::Anything, std::iter::empty()), tally(0, 0, 0));
        let unset = ["a", "d", "not itemized", "old"].map(rel);
        assert_eq!(itemized.done(&Blame::default(), unset.into_iter()), tally(2, 1, 12), "a was sent, d was there");
    }

    #[test]
    fn what_is_said_once_more_by_a_run_that_is_run_again_is_counted_once() {
        let mut itemized = Itemized::default();
        let lines = [Line::Deleted(rel("a")), Line::Sent(rel("a"), 5), Line::Sent(rel("b"), 7)];
        lines[..2].iter().chain(&lines[1..]).for_each(|line| itemized.add(line));
        assert_eq!(
            itemized.done(&Blame::default(), std::iter::empty()),
            Tally { sent: 2, deleted: 1, bytes: 12, made_mirror: false }
        );
    }

    #[test]
    fn past_what_is_known_whatever_is_blamed_was_itemized() {
        let mut itemized = Itemized::default();
        for number in 0..=KNOWN {
            itemized.add(&Line::Sent(rel(&number.to_string()), 1));
        }
        let last = Blame::Paths(vec![rel(&KNOWN.to_string())]);
        assert_eq!(itemized.done(&last, std::iter::empty()).sent, u64::try_from(KNOWN).unwrap());
    }

    #[test]
    fn an_entry_beside_what_is_blamed_is_found_wherever_it_stands() {
        for before in [0, 1, NAMED - 1, NAMED, 3 * NAMED] {
            let (mut itemized, mut bad) = (Itemized::default(), Vec::new());
            itemized.add(&Line::Sent(rel("a"), 0));
            for number in 0..before {
                bad.push(rel(&format!("a/{number}")));
                itemized.add(&Line::Sent(bad[number].clone(), 1));
            }
            let all = |bad: &[RelPath]| Blame::Paths([bad, &[rel("a/x")]].concat());
            assert!(!itemized.any_beside(&all(&bad)), "{before}");
            bad.push(rel("a"));
            itemized.add(&Line::Sent(rel("b/arrived"), 1));
            assert!(itemized.any_beside(&all(&bad)), "{before}");
        }
    }
}
