//! The time that removals wait, so that a source that is being emptied is empty, and thereby held, before more than one
//! of them is mirrored. A plain data structure; its caller decides which paths wait.
//!
//! A removal that is alone waits for a moment: `rm -rf` takes its next entry sooner, as a rule. If another one follows,
//! both wait for a pause, and so do all that come before it. So does one alone while new names of files wait for that; while
//! it is asked if the removed name is the old one of such a file, it waits for the answer. Where a busy machine stops `rm`
//! after its first entry, that one is mirrored, and no other.

use std::time::{Duration, Instant};

use crate::change::NewNames;

/// The time that a removal waits which stays alone.
const ALONE: Duration = Duration::from_millis(4);
/// The time for which no further removal must have come, where there were several,
const PAUSE: Duration = Duration::from_millis(50);
/// and the longest wait after the first.
const AT_LATEST: Duration = Duration::from_secs(10);

/// The longest wait for an answer about new names: they themselves wait no longer.
const ANSWERED: Duration = Duration::from_millis(500);

/// The row of removals that goes on, or went on last.
#[derive(Debug, Clone, Copy)]
struct RemovalRow {
    first: Instant,
    last: Instant,
    extent: RowExtent,
}

/// The part of the source that a row removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowExtent {
    /// So many entries that are no directories.
    Entries(usize),
    /// A directory, with all that was below it: nobody counted that.
    Directories,
}

impl RemovalRow {
    /// The time at which the pause is over.
    fn pauses(self) -> Instant {
        (self.last + PAUSE).min(self.first + AT_LATEST)
    }

    /// The time at which no answer is waited for any more that was asked for then.
    fn answered(self, asked: Instant) -> Instant {
        (asked + ANSWERED).min(self.first + AT_LATEST)
    }

    /// The time at which its removals may be mirrored.
    fn ends(self) -> Instant {
        match self.extent {
            RowExtent::Entries(0 | 1) => self.first + ALONE,
            RowExtent::Entries(_) | RowExtent::Directories => self.pauses(),
        }
    }
}

/// The times at which removals may be mirrored.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    row: Option<RemovalRow>,
    lifted: bool,
    /// The new names of files of which a removal may be the second half of a rename, and the time of the last news of them.
    links: Option<(NewNames, Instant)>,
}

impl Calm {
    /// Notes a removal, of a directory with all below it or of any other entry.
    pub(crate) fn removed(&mut self, is_dir: bool, now: Instant) {
        // A row that lasts for too long stays one row: what it adds does not wait again.
        let row = self.row.filter(|row| now < row.last + PAUSE);
        let extent = match row.map_or(RowExtent::Entries(0), |row| row.extent) {
            RowExtent::Entries(entries) if !is_dir => RowExtent::Entries(entries + 1),
            _ => RowExtent::Directories,
        };
        let (first, last) = row.map_or((now, now), |row| (row.first, now.max(row.last)));
        self.row = Some(RemovalRow { first, last, extent });
    }

    /// Takes back the removal of a file that is in the source by another name: nothing is being emptied by it.
    pub(crate) fn renamed(&mut self) {
        match self.row.as_mut().map(|row| &mut row.extent) {
            Some(RowExtent::Entries(0 | 1)) => self.row = None,
            Some(RowExtent::Entries(entries)) => *entries -= 1,
            Some(RowExtent::Directories) | None => (),
        }
    }

    /// Notes if new names of files wait for other ones to go.
    pub(crate) fn links_wait(&mut self, names: NewNames, now: Instant) {
        self.links = Some((names, now));
    }

    /// Ends all waiting: the daemon stops.
    pub(crate) fn lift(&mut self) {
        self.lifted = true;
    }

    /// Returns the time until which removals wait, if they do.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        match self.links {
            None | Some((NewNames::None, _)) => self.wait(RemovalRow::ends, now),
            Some((NewNames::Wait, _)) => self.wait(RemovalRow::pauses, now),
            Some((NewNames::Asked, asked)) => self.wait(|row| row.pauses().max(row.answered(asked)), now),
        }
    }

    /// Returns the time until which all waits that may delete more than was reported, if it does.
    pub(crate) fn until_pause(&self, now: Instant) -> Option<Instant> {
        self.wait(RemovalRow::pauses, now)
    }

    fn wait(&self, until: impl Fn(RemovalRow) -> Instant, now: Instant) -> Option<Instant> {
        self.row.filter(|_| !self.lifted).map(until).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests;
