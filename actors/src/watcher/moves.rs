//! Pairs the two halves of a move by the kernel's cookie, across whatever comes between them.
//! It only remembers; what a move means for the tree is the observer's business.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::tree::NodeId;
use crate::path::RelPath;

/// How long the first half of a move waits for the second. The kernel queues both within one rename(2), and both are
/// read within moments; a half that stays alone belongs to a directory that left the tree.
pub const PAIRING_TIME: Duration = Duration::from_millis(100);

/// A directory that left a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The name that it had.
    pub from: RelPath,
    /// The directory that it was in.
    pub parent: NodeId,
}

/// Files whose second half is waited for. The kernel queues both halves together, so what is older left the tree.
const FILES: usize = 64;

/// A file that left a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDeparture {
    /// The name that it had.
    pub from: RelPath,
    /// Whether it was being written: its content is not what was last told of it.
    pub written: bool,
    /// Whether what is written to it may be told of no name.
    pub silent: bool,
}

/// The last files that left their names. Nothing follows from a half that stays alone.
#[derive(Debug, Default)]
pub struct FileMoves {
    waiting: VecDeque<(u32, FileDeparture)>,
}

impl FileMoves {
    /// A file left a name.
    pub fn departed(&mut self, cookie: u32, departure: FileDeparture) {
        if self.waiting.len() >= FILES {
            self.waiting.pop_front();
        }
        self.waiting.push_back((cookie, departure));
    }

    /// A file arrived at a name: where it came from, `None` if that is not known.
    pub fn arrived(&mut self, cookie: u32) -> Option<FileDeparture> {
        let at = self.waiting.iter().rposition(|(waiting, _)| *waiting == cookie)?;
        self.waiting.remove(at).map(|(_, departure)| departure)
    }
}

/// First halves of directory moves that wait for their second, many at once.
#[derive(Debug, Default)]
pub struct Moves {
    waiting: HashMap<u32, (Departure, Instant)>,
}

impl Moves {
    /// A directory left a name.
    pub fn departed(&mut self, cookie: u32, departure: Departure, now: Instant) {
        self.waiting.insert(cookie, (departure, now + PAIRING_TIME));
    }

    /// A directory arrived at a name: where it came from, `None` if from outside.
    pub fn arrived(&mut self, cookie: u32) -> Option<Departure> {
        self.waiting.remove(&cookie).map(|(departure, _)| departure)
    }

    /// Takes the departures whose time is up: those directories left the tree.
    pub fn expired(&mut self, now: Instant) -> Vec<Departure> {
        let due: Vec<u32> = self.waiting.iter().filter(|(_, (_, until))| *until <= now).map(|(&c, _)| c).collect();
        due.into_iter().filter_map(|cookie| self.arrived(cookie)).collect()
    }

    /// When [`Moves::expired`] should be asked again; `Some` if and only if half of a move is waiting.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.values().map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::tree::Tree;

    fn departure(from: &str) -> Departure {
        let inotify = inotify::Inotify::init().unwrap();
        let root = inotify.watches().add("/", inotify::WatchMask::CREATE).unwrap();
        Departure { from: RelPath::new(from.as_bytes()).unwrap(), parent: Tree::new(root).root() }
    }

    #[test]
    fn interleaved_moves_are_paired_by_cookie() {
        let (mut moves, now) = (Moves::default(), Instant::now());
        moves.departed(1, departure("a"), now);
        moves.departed(2, departure("b"), now);
        assert_eq!(moves.arrived(1), Some(departure("a")));
        assert_eq!(moves.arrived(2), Some(departure("b")));
        assert_eq!(moves.arrived(3), None);
    }

    #[test]
    fn files_are_paired_too_and_old_halves_are_forgotten() {
        let departure = |n: u32| FileDeparture {
            from: RelPath::new(n.to_string().as_bytes()).unwrap(),
            written: n == 3,
            silent: false,
        };
        let mut moves = FileMoves::default();
        (0..=64).for_each(|n| moves.departed(n, departure(n)));
        assert_eq!(moves.arrived(3), Some(departure(3)));
        assert_eq!(moves.arrived(3), None, "each arrives once");
        assert_eq!((moves.arrived(0), moves.arrived(64)), (None, Some(departure(64))));
    }

    #[test]
    fn a_half_that_stays_alone_expires_once() {
        let (mut moves, now) = (Moves::default(), Instant::now());
        moves.departed(1, departure("a"), now);
        assert_eq!(moves.next_expiry(), Some(now + PAIRING_TIME));
        assert_eq!(moves.expired(now), []);
        assert_eq!(moves.expired(now + PAIRING_TIME), [departure("a")]);
        assert_eq!((moves.expired(now + PAIRING_TIME), moves.next_expiry()), (vec![], None));
    }
}
