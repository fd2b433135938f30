//! Large files that were open for writing and closed, and of which no write was seen. mmap(2) may have written them all
//! the same, without another size or time, so they are compared by content: so much at a time that this costs little.
//! Pure: the time in it is a parameter.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::path::RelPath;

/// The largest file that is compared by content when it is closed, and the most that is compared at once, in bytes.
pub(crate) const MOST: u64 = 1 << 30;
/// Bytes that are compared in a second.
const PER_SECOND: u64 = 16 << 20;
/// Files that wait for their turn.
const WAITING: usize = 10_000;

/// The files that were closed and wait until they may be compared.
#[derive(Debug, Default)]
pub(crate) struct Closings {
    /// The files, with their sizes.
    waiting: HashMap<RelPath, u64>,
    /// Their order, with names that wait no more.
    turns: VecDeque<RelPath>,
    /// The bytes that were compared and still count against the limit, and the time at which they were added up.
    spent: Option<(u64, Instant)>,
}

impl Closings {
    /// Adds a file of this size that was closed. Returns `true` if the file waits for its turn: there may be too
    /// many.
    pub(crate) fn add(&mut self, path: RelPath, size: u64, now: Instant) -> bool {
        self.spent.get_or_insert((0, now));
        let has_room = self.waiting.len() < WAITING && size <= MOST;
        if has_room && self.waiting.insert(path.clone(), size).is_none() {
            self.turns.push_back(path);
        }
        has_room
    }

    /// Forgets a file that is gone, or is known to be new.
    pub(crate) fn forget(&mut self, path: &RelPath) {
        if !self.waiting.is_empty() && self.waiting.remove(path).is_some() {
            self.turns.retain(|turn| turn != path);
        }
    }

    /// Forgets the files below a directory that went away.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) {
        self.waiting.retain(|path, _| !path.is_below(dir));
        self.turns.retain(|path| !path.is_below(dir));
    }

    /// Follows the move of a directory with all below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        for path in &mut self.turns {
            if let Some(new) = path.rebase(from, to)
                && let Some(size) = self.waiting.remove(path)
            {
                self.waiting.insert(new.clone(), size);
                *path = new;
            }
        }
    }

    /// Takes the files whose turn it is.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<RelPath> {
        let mut due = Vec::new();
        while self.next_check().is_some_and(|at| at <= now)
            && let Some(path) = self.turns.pop_front()
        {
            let size = self.waiting.remove(&path).unwrap_or(0);
            self.spent = Some((self.left_at(now) + size, now));
            due.push(path);
        }
        due
    }

    /// Takes all files, due or not.
    pub(crate) fn flush(&mut self) -> Vec<RelPath> {
        self.waiting.clear();
        self.turns.drain(..).collect()
    }

    /// The time at which [`Closings::due`] should be asked again.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let size = self.waiting.get(self.turns.front()?).copied().unwrap_or(0);
        let (spent, at) = self.spent?;
        let too_much = (spent + size).saturating_sub(MOST);
        Some(at + Duration::from_millis(too_much.saturating_mul(1000) / PER_SECOND))
    }

    /// The compared bytes that still count against the limit.
    fn left_at(&self, now: Instant) -> u64 {
        let Some((spent, at)) = self.spent else { return 0 };
        let millis = u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        spent.saturating_sub(millis.saturating_mul(PER_SECOND) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_is_compared_at_once_and_a_row_of_them_at_a_bounded_pace() {
        let (mut closings, start) = (Closings::default(), Instant::now());
        assert!(closings.add(rel("a"), MOST / 2, start));
        assert!(closings.add(rel("b"), MOST / 2, start) && closings.add(rel("c"), MOST, start));
        assert_eq!(closings.due(start), [rel("a"), rel("b")]);
        assert!(closings.add(rel("d"), PER_SECOND / 2, start));
        let whole = Duration::from_secs(MOST / PER_SECOND);
        assert_eq!((closings.due(start + whole / 2), closings.next_check()), (vec![], Some(start + whole)));
        assert_eq!(closings.due(start + whole), [rel("c")], "and what came later has its turn after it");
        let later = start + whole + Duration::from_millis(500);
        assert_eq!(closings.next_check(), Some(later));
        assert_eq!((closings.due(later), closings.next_check()), (vec![rel("d")], None));
    }

    #[test]
    fn a_file_that_is_closed_again_and_again_waits_once() {
        let (mut closings, start) = (Closings::default(), Instant::now());
        let compared: usize = (0..3600)
            .map(|second| {
                let now = start + Duration::from_secs(second);
                assert!(closings.add(rel("a"), MOST, now));
                closings.due(now).len()
            })
            .sum();
        assert_eq!(compared, 57, "each 64 s");
    }

    #[test]
    fn what_is_too_large_or_too_much_does_not_wait() {
        let (mut closings, now) = (Closings::default(), Instant::now());
        assert!(!closings.add(rel("a"), MOST + 1, now));
        (0..WAITING).for_each(|n| assert!(closings.add(rel(&n.to_string()), 1, now)));
        assert!(!closings.add(rel("a"), 1, now));
        assert_eq!(closings.flush().len(), WAITING);
    }

    #[test]
    fn what_goes_is_forgotten_and_what_is_moved_waits_at_its_new_name() {
        let (mut closings, start) = (Closings::default(), Instant::now());
        for path in ["a/f", "ab/f", "c", "d"] {
            assert!(closings.add(rel(path), 1, start));
        }
        closings.moved(&rel("a"), &rel("e"));
        closings.forget_below(&rel("ab"));
        closings.forget(&rel("c"));
        assert_eq!(closings.due(start), [rel("e/f"), rel("d")]);
    }
}
