//! Unwatched directories: they are tried again at intervals, reported when that changes, and searched for where no
//! event told of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Attached, Observer, Presence};
use crate::change::{Change, Reason};
use crate::messages::{Rescan, Unseen};
use crate::path::RelPath;
use crate::watch_error::WatchError;
use crate::watcher::cookie::Cookie;
use crate::watcher::coverage::WatchCoverage;
use crate::watcher::dirs::FoundDirectories;
use crate::watcher::ledger::{Ledger, WatchDifference};

/// The interval at which unwatched directories are tried again and compared, unless the configuration says otherwise.
pub(crate) const POLL: Duration = Duration::from_secs(60);
/// The event of a directory that an audit found may still be queued; after this time it is not.
const LATE_EVENTS: Duration = Duration::from_secs(2);
/// Deleted entries that are remembered until that is told, which comes next: mostly one.
const ENDED: usize = 1000;
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
    /// Directories that an audit found and no event explained yet, and the time from which this is a defect.
    doubts: Option<(BTreeSet<RelPath>, Instant)>,
    /// Watches that an audit and the kernel do not agree on, and the time of the second count.
    miscounted: Option<(WatchDifference, Instant)>,
}

impl Default for Unwatched {
    fn default() -> Self {
        Unwatched { every: POLL, poll_at: None, told: 0, polled: false, doubts: None, miscounted: None }
    }
}

impl Unwatched {
    /// The time at which the next of these tasks is due.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let doubts = self.doubts.as_ref().map(|(_, until)| *until);
        [self.poll_at, doubts, self.miscounted.as_ref().map(|(_, until)| *until)].into_iter().flatten().min()
    }

    /// Notes that an event told of this directory.
    pub(crate) fn explained(&mut self, path: &RelPath) {
        if let Some((paths, _)) = &mut self.doubts {
            paths.retain(|doubt| doubt != path && !doubt.is_below(path));
        }
    }
}

impl Observer {
    /// Sets the interval at which unwatched directories are tried again and compared.
    pub(crate) fn poll_every(&mut self, period: Duration) {
        self.unwatched.every = period;
        self.unwatched.poll_at = None;
    }

    /// Tells if events at this path are seen: its directory is watched, or the path itself is.
    pub(crate) fn sees(&self, path: &RelPath) -> bool {
        self.dirs.has(path) || path.parent().is_some_and(|dir| self.dirs.has(&dir))
    }

    /// Writes the coverage as it is now.
    pub(crate) fn tell(&mut self, sight: &WatchCoverage) {
        let watched = self.dirs.count();
        let blind = self.dirs.blind();
        sight.write(watched, blind.len(), blind.iter());
    }

    /// The names of all watched directories.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> BTreeSet<RelPath> {
        self.dirs.names().into_iter().collect()
    }

    /// Compares with this in each audit.
    pub(crate) fn use_ledger(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }

    /// Compares the known watches with the kernel's.
    fn miscount(&self) -> WatchDifference {
        let Some(ledger) = &self.ledger else { return WatchDifference::default() };
        let cookie = self.cookie.as_ref().and_then(Cookie::number);
        // Where the kernel does not tell, nothing is known to be wrong.
        ledger
            .difference(&self.dirs.watches().chain(self.unnamed.watches()).chain(cookie).collect())
            .unwrap_or_default()
    }

    /// Counts the watches again. A watch that differs twice is a defect, since all events have come by now. Unknown
    /// watches are given up; missing ones are set again by the next audit.
    fn count_again(&mut self, before: &WatchDifference) {
        let difference = before.and(&self.miscount());
        if difference.is_empty() {
            return;
        }
        self.dirs.retire_unknown(&difference.surplus);
        self.ledger.iter().for_each(|ledger| ledger.give_up(&difference.surplus));
        let WatchDifference { surplus, missing } = difference;
        self.found.unseen.push(Unseen::Miscounted { surplus: surplus.len(), missing: missing.len() });
    }

    /// Compares the watches with the directories on disk, and repairs them. What was not watched is a change, and a
    /// defect unless an event tells of it in the next moments.
    pub(crate) fn audit(&mut self, now: Instant) {
        // Track was lost and is known to be: the repair does the same.
        if self.lost.is_some() || matches!(self.presence, Presence::Away { .. }) {
            return;
        }
        // A tree that is tangled is not worth a look: an event that is on its way tells of it.
        let FoundDirectories { tops, .. } = self.dirs.scan(self.dirs.root());
        self.scanned_until(now);
        let miscount = self.miscount();
        if !miscount.is_empty() {
            self.unwatched.miscounted = Some((miscount, now.max(Instant::now()) + LATE_EVENTS));
        }
        self.found.changes.extend(tops.iter().map(|path| Change::Subtree { path: path.clone() }));
        if !tops.is_empty() {
            let until = now.max(Instant::now()) + LATE_EVENTS;
            let (paths, at) = self.unwatched.doubts.get_or_insert_with(|| (BTreeSet::new(), until));
            paths.extend(tops);
            *at = until;
        }
    }

    /// After track was lost such directories are expected, and compared with everything else.
    pub(super) fn expected(&mut self, reason: Reason, FoundDirectories { count, tops, .. }: FoundDirectories) {
        self.unwatched.doubts = None;
        // When the root was away, all watches may have gone with it.
        if count > 0 && reason != Reason::RootReturned {
            self.found.unseen.push(Unseen::Found { count, first: first(&tops), expected: true });
        }
    }

    /// The kernel ended a watch: the directory was deleted, or what is there now is another one.
    pub(super) fn watch_ended(&mut self, watch: i32, now: Instant) {
        if self.ended.len() >= ENDED {
            self.ended.clear();
        }
        for (parent, name) in self.dirs.ended(watch) {
            match self.dirs.attach_unknown(parent, &name) {
                Attached::New => {
                    self.scanned_until(now);
                    self.found.changes.push(Change::Subtree { path: self.dirs.entry(parent, &name) });
                }
                Attached::Nothing => drop(self.ended.insert((parent, name))),
                _ => (),
            }
        }
    }

    pub(super) fn tick_unwatched(&mut self, now: Instant) {
        if let Some((doubts, _)) = self.unwatched.doubts.take_if(|(_, until)| now >= *until)
            && !doubts.is_empty()
        {
            let unseen = Unseen::Found { count: doubts.len(), first: first(&doubts), expected: false };
            self.found.unseen.push(unseen);
        }
        if let Some((before, _)) = self.unwatched.miscounted.take_if(|(_, until)| now >= *until) {
            self.count_again(&before);
        }
        if self.dirs.blind().is_empty() || matches!(self.presence, Presence::Away { .. }) {
            self.unwatched.poll_at = None;
            return;
        }
        let poll_at = *self.unwatched.poll_at.get_or_insert(now + self.unwatched.every);
        if now >= poll_at {
            self.poll(now);
        }
    }

    /// Tries again what is not watched. What can be had now is new; what still cannot is compared once more.
    fn poll(&mut self, now: Instant) {
        let retried = self.dirs.retry();
        self.scanned_until(now);
        self.found.changes.extend(retried.watched.into_iter().map(|path| Change::Subtree { path }));
        if retried.tangled {
            self.lose_track(Reason::Outrun, now);
        }
        self.unwatched.polled = true;
        self.unwatched.poll_at = Some(now.max(Instant::now()) + self.unwatched.every);
    }

    /// Adds to the findings what is new of the directories that are not watched.
    pub(super) fn tell_unwatched(&mut self) {
        let directories = self.dirs.count();
        let blind = self.dirs.blind();
        self.found.blind.extend(blind.take_reports());
        // What happens in them is not seen: they are sent as they are now.
        let compared = blind.take_starved();
        let rescan = |subtree: &RelPath| Rescan { subtree: subtree.clone(), reason: Reason::WatchLimit };
        self.found.rescans.extend(compared.iter().map(rescan));
        let count = blind.starved().len();
        let many_more = std::mem::take(&mut self.unwatched.polled) && count >= 2 * self.unwatched.told;
        if count > 0 && (self.unwatched.told == 0 || many_more) {
            let why = WatchError::no_watch_left();
            let first = first(blind.starved().iter());
            self.found.unseen.push(Unseen::NoWatchLeft { count, first, why, every: self.unwatched.every });
            self.unwatched.told = count;
        } else if count == 0 && self.unwatched.told > 0 {
            self.found.unseen.push(Unseen::AllWatched { directories });
            self.unwatched.told = 0;
        }
    }
}

fn first<'a>(paths: impl IntoIterator<Item = &'a RelPath>) -> Vec<RelPath> {
    paths.into_iter().take(NAMED).cloned().collect()
}
