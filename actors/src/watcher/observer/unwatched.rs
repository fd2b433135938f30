//! Unwatched directories: they are tried again at intervals, and reported when that changes.

use std::time::{Duration, Instant};

use super::Findings;
use crate::change::Reason;
use crate::messages::Unseen;
use crate::path::RelPath;
use crate::watch_error::WatchError;
use crate::watcher::dirs::Dirs;

/// The interval at which unwatched directories are tried again and compared, unless the configuration says otherwise.
const POLL: Duration = Duration::from_secs(60);
/// Directories that are named in a report.
const NAMED: usize = 3;

/// The observer's notes on unwatched directories. The list itself is in its `Dirs`.
pub(super) struct Unwatched {
    every: Duration,
    /// `Some` if and only if something is not watched.
    poll_at: Option<Instant>,
    /// The number of directories without a free watch in the last report.
    told: usize,
    /// `true` if the list is reported again when it is much longer.
    polled: bool,
}

impl Default for Unwatched {
    fn default() -> Self {
        Unwatched { every: POLL, poll_at: None, told: 0, polled: false }
    }
}

impl Unwatched {
    /// Sets the interval at which unwatched directories are tried again and compared.
    pub(super) fn poll_every(&mut self, period: Duration) {
        self.every = period;
        self.poll_at = None;
    }

    /// The time of the next try.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        self.poll_at
    }

    /// Tells if it is time to try again; `any` if there is a directory to try.
    pub(super) fn is_due(&mut self, any: bool, now: Instant) -> bool {
        if !any {
            self.poll_at = None;
            return false;
        }
        now >= *self.poll_at.get_or_insert(now + self.every)
    }

    /// Notes that all have been tried.
    pub(super) fn polled(&mut self, now: Instant) {
        self.polled = true;
        self.poll_at = Some(now.max(Instant::now()) + self.every);
    }

    /// Adds to the findings what is new of the directories that are not watched.
    pub(super) fn tell(&mut self, dirs: &mut Dirs, found: &mut Findings) {
        let directories = dirs.count();
        let blind = dirs.blind();
        found.blind.extend(blind.take_reports());
        // What happens in them is not seen: they are sent as they are now.
        for subtree in blind.take_starved().iter() {
            found.rescan(subtree.clone(), Reason::WatchLimit);
        }
        let count = blind.starved().len();
        let many_more = std::mem::take(&mut self.polled) && count >= 2 * self.told;
        if count > 0 && (self.told == 0 || many_more) {
            let why = WatchError::no_watch_left();
            let first = first(blind.starved().iter());
            found.unseen.push(Unseen::NoWatchLeft { count, first, why, every: self.every });
            self.told = count;
        } else if count == 0 && self.told > 0 {
            found.unseen.push(Unseen::AllWatched { directories });
            self.told = 0;
        }
    }
}

/// The first of these directories, which a report names.
pub(super) fn first<'a>(paths: impl IntoIterator<Item = &'a RelPath>) -> Vec<RelPath> {
    paths.into_iter().take(NAMED).cloned().collect()
}
