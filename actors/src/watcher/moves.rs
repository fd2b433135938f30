//! Pairs the two halves of a move by the kernel's cookie, across whatever comes between them.
//! It only remembers; what a move means for the tree is the observer's business.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::tree::NodeId;
use crate::path::RelPath;

/// The time for which the first half of a move waits for the second. The kernel queues both within one rename(2), and
/// both are read within moments; a half that stays alone belongs to a directory that left the tree.
pub(crate) const PAIRING_TIME: Duration = Duration::from_millis(100);

/// A directory that left a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The name that it had.
    pub from: RelPath,
    /// The directory that it was in.
    pub parent: NodeId,
}

/// Files whose second half is waited for. The kernel queues both halves together, so what is older left the tree.
const FILES: usize = 64;

/// A file that left a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileDeparture {
    /// The name that it had.
    pub from: RelPath,
    /// `true` if the file was being written: its last reported content is out of date.
    pub written: bool,
    /// `true` if writes to the file may come without an event of any name.
    pub silent: bool,
    /// `true` if the name was a temporary one of which nothing was told.
    pub nameless: bool,
}

/// The last files that left their names. Nothing follows from a half that stays alone.
#[derive(Debug, Default)]
pub(crate) struct FileMoves {
    waiting: VecDeque<(u32, FileDeparture)>,
}

impl FileMoves {
    /// Notes that a file left a name.
    pub(crate) fn departed(&mut self, cookie: u32, departure: FileDeparture) {
        if self.waiting.len() >= FILES {
            self.waiting.pop_front();
        }
        self.waiting.push_back((cookie, departure));
    }

    /// Returns the departure that belongs to a file's arrival at a name; `None` if it is not known. `fits` tells if
    /// the file can have come from a name.
    pub(crate) fn arrived(&mut self, cookie: u32, fits: impl Fn(&RelPath) -> bool) -> Option<FileDeparture> {
        let at = self.waiting.iter().rposition(|(waiting, file)| *waiting == cookie && fits(&file.from))?;
        self.waiting.remove(at).map(|(_, departure)| departure)
    }
}

/// First halves of directory moves that wait for their second, many at once. A cookie has several where the directory that
/// held it stands at several names.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    waiting: HashMap<u32, Vec<(Departure, Instant)>>,
    /// Moves whose directory was not found where it arrived: it went on, or is covered by a mount.
    unsettled: VecDeque<(Departure, Instant)>,
}

impl Moves {
    /// Notes that a directory left a name.
    pub(crate) fn departed(&mut self, cookie: u32, departure: Departure, now: Instant) {
        self.waiting.entry(cookie).or_default().push((departure, now + PAIRING_TIME));
    }

    /// Returns the departure that belongs to a directory's arrival at a name; `None` if the directory came from
    /// outside. `fits` tells if it can have come from a name.
    pub(crate) fn arrived(&mut self, cookie: u32, fits: impl Fn(&RelPath) -> bool) -> Option<Departure> {
        let halves = self.waiting.get_mut(&cookie)?;
        let (departure, _) = halves.remove(halves.iter().position(|(departure, _)| fits(&departure.from))?);
        if halves.is_empty() {
            self.waiting.remove(&cookie);
        }
        Some(departure)
    }

    /// Takes the departures whose time is up: those directories left the tree.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Departure> {
        let mut expired = Vec::new();
        self.waiting.retain(|_, halves| {
            expired.extend(halves.extract_if(.., |(_, until)| *until <= now).map(|(departure, _)| departure));
            !halves.is_empty()
        });
        expired
    }

    /// Notes that a directory was not found where it arrived. Mostly its next move tells where it is.
    pub(crate) fn unsettled(&mut self, departure: Departure, now: Instant) {
        self.unsettled.push_back((departure, now + PAIRING_TIME));
    }

    /// Takes the departures of such directories that had time to be found: they are not where they left.
    pub(crate) fn settled(&mut self, now: Instant) -> Vec<Departure> {
        let due = self.unsettled.iter().take_while(|(_, until)| *until <= now).count();
        self.unsettled.drain(..due).map(|(departure, _)| departure).collect()
    }

    /// The time at which [`Moves::expired`] and [`Moves::settled`] should be asked again; `Some` if and only if
    /// something waits.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let halves = self.waiting.values().flatten().map(|(_, until)| *until).min();
        halves.into_iter().chain(self.unsettled.front().map(|(_, until)| *until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::tree::Tree;

    fn departure(from: &str) -> Departure {
        let inotify = inotify::Inotify::init().unwrap();
        let root = crate::watcher::Watches::of(&inotify).unwrap().add("/", inotify::WatchMask::CREATE).unwrap();
        Departure { from: RelPath::new(from.as_bytes()).unwrap(), parent: Tree::new(root).root() }
    }

    #[test]
    fn interleaved_moves_are_paired_by_cookie() {
        let (mut moves, now) = (Moves::default(), Instant::now());
        moves.departed(1, departure("a"), now);
        moves.departed(2, departure("b"), now);
        assert_eq!(moves.arrived(1, |_| true), Some(departure("a")));
        assert_eq!(moves.arrived(2, |_| true), Some(departure("b")));
        assert_eq!(moves.arrived(3, |_| true), None);
    }

    #[test]
    fn a_directory_that_left_two_names_arrives_from_each_once() {
        let (mut moves, now) = (Moves::default(), Instant::now());
        moves.departed(1, departure("a/d"), now);
        moves.departed(1, departure("x/d"), now);
        let below = |top: &'static str| move |from: &RelPath| from.to_string().starts_with(top);
        assert_eq!(moves.arrived(1, below("x")), Some(departure("x/d")));
        assert_eq!(moves.arrived(1, below("x")), None, "the other name is on another mount");
        assert_eq!(moves.expired(now + PAIRING_TIME), [departure("a/d")]);
        assert_eq!(moves.next_expiry(), None);
    }

    #[test]
    fn files_are_paired_too_and_old_halves_are_forgotten() {
        let departure = |n: u32| FileDeparture {
            from: RelPath::new(n.to_string().as_bytes()).unwrap(),
            written: n == 3,
            silent: false,
            nameless: false,
        };
        let mut moves = FileMoves::default();
        (0..=64).for_each(|n| moves.departed(n, departure(n)));
        assert_eq!(moves.arrived(3, |_| true), Some(departure(3)));
        assert_eq!(moves.arrived(3, |_| true), None, "each arrives once");
        assert_eq!((moves.arrived(0, |_| true), moves.arrived(64, |_| true)), (None, Some(departure(64))));
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
