//! Directories that are not watched although they should be: tried again at intervals, told when that changes, and looked
//! for where nobody knows of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Attached, Observer, Presence};
use crate::messages::{Change, Reason, Rescan, Unseen};
use crate::path::RelPath;
use crate::watcher::dirs::News;
use crate::watcher::error::{WatchError, watch_limit};
use crate::watcher::sight::Sight;
use crate::watcher::tree::NodeId;

/// How often what is not watched is tried again and compared, unless the configuration says otherwise.
pub const POLL: Duration = Duration::from_secs(60);
/// The event of a directory that an audit found may still be queued; after this time it is not.
const LATE_EVENTS: Duration = Duration::from_secs(2);
/// Directories that are named in a report.
const NAMED: usize = 3;

/// What the observer remembers of them beside the list that its `Dirs` keep.
pub(super) struct Unwatched {
    every: Duration,
    /// `Some` if and only if something is not watched.
    poll_at: Option<Instant>,
    /// How many directories for which no watch was left were told last.
    told: usize,
    /// Whether a much longer list is to be told.
    polled: bool,
    /// What an audit found and no event explained yet, and when that is a defect.
    doubts: Option<(BTreeSet<RelPath>, Instant)>,
}

impl Default for Unwatched {
    fn default() -> Self {
        Unwatched { every: POLL, poll_at: None, told: 0, polled: false, doubts: None }
    }
}

impl Unwatched {
    /// When something is due by time.
    pub fn next_tick(&self) -> Option<Instant> {
        self.poll_at.into_iter().chain(self.doubts.as_ref().map(|(_, until)| *until)).min()
    }

    /// An event told of this directory.
    pub fn explained(&mut self, path: &RelPath) {
        if let Some((paths, _)) = &mut self.doubts {
            paths.retain(|doubt| doubt != path && !doubt.is_below(path));
        }
    }
}

impl Observer {
    /// How often what is not watched is tried again and compared.
    pub fn poll_every(&mut self, period: Duration) {
        self.unwatched.every = period;
        self.unwatched.poll_at = None;
    }

    /// Whether what happens to this path is seen: the directory that holds it is watched, or it is one that is.
    pub fn sees(&self, path: &RelPath) -> bool {
        self.dirs.has(path) || path.parent().is_some_and(|dir| self.dirs.has(&dir))
    }

    /// Says what is watched now.
    pub fn tell(&mut self, sight: &Sight) {
        let (watched, blind) = (self.dirs.count(), self.dirs.blind());
        sight.write(watched, blind.len(), blind.iter());
    }

    /// The names of all watched directories.
    pub fn watched(&self) -> BTreeSet<RelPath> {
        self.dirs.names().into_iter().collect()
    }

    /// Compares the watches with the directories on disk, and repairs them. What was not watched is a change, and a
    /// defect unless an event tells of it in the next moments.
    pub fn audit(&mut self, now: Instant) {
        // Track was lost and is known to be: the repair does the same.
        if self.lost.is_some() || matches!(self.presence, Presence::Away { .. }) {
            return;
        }
        // A tree that is tangled is not worth a look: an event that is on its way tells of it.
        let News { tops, .. } = self.dirs.scan(self.dirs.root());
        self.scanned_until(now);
        self.found.changes.extend(tops.iter().map(|path| Change::Subtree { path: path.clone() }));
        if !tops.is_empty() {
            let until = now.max(Instant::now()) + LATE_EVENTS;
            let (paths, at) = self.unwatched.doubts.get_or_insert_with(|| (BTreeSet::new(), until));
            paths.extend(tops);
            *at = until;
        }
    }

    /// After track was lost such directories are expected, and compared with everything else.
    pub(super) fn expected(&mut self, reason: Reason, News { count, tops, .. }: News) {
        self.unwatched.doubts = None;
        // When the root was away, all watches may have gone with it.
        if count > 0 && reason != Reason::RootReturned {
            self.found.unseen.push(Unseen::Found { count, first: first(&tops), expected: true });
        }
    }

    /// The kernel ended a watch: the directory was deleted, or what is there now is another one.
    pub(super) fn watch_ended(&mut self, dir: NodeId, now: Instant) {
        let Some((parent, name)) = self.dirs.ended(dir) else { return };
        if self.dirs.attach_unknown(parent, &name) == Attached::New {
            self.scanned_until(now);
            self.found.changes.push(Change::Subtree { path: self.dirs.entry(parent, &name) });
        }
    }

    pub(super) fn tick_unwatched(&mut self, now: Instant) {
        if let Some((doubts, _)) = self.unwatched.doubts.take_if(|(_, until)| now >= *until)
            && !doubts.is_empty()
        {
            let unseen = Unseen::Found { count: doubts.len(), first: first(&doubts), expected: false };
            self.found.unseen.push(unseen);
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
            self.lose_track(Reason::UnknownWatch, now);
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
            let why = WatchError::Limit { limit: watch_limit().unwrap_or(0), needed: None };
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
