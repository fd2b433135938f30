//! Turns kernel events into changes: follows created, moved and deleted directories with watches, waits for files to be
//! complete, pairs moves, and says when track was lost. It looks at the disk only to learn what an event cannot tell.

mod arriving;
mod barrier;
mod content;
mod entries;
mod mounted;
mod root;
mod unnamed;
mod unwatched;

use std::collections::HashSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use inotify::EventMask;

use self::root::{Presence, ROOT_CHECK};
use self::unnamed::Unnamed;
pub(crate) use self::unwatched::POLL;
use self::unwatched::Unwatched;
use super::cookie::Cookie;
use super::dirs::{Attached, Dirs};
use super::ledger::Ledger;
use super::moves::{Departure, FileMoves, Moves, PAIRING_TIME};
use super::quiet::Quiet;
use super::reader::RawEvent;
use super::tree::NodeId;
use crate::change::{Change, Reason};
use crate::messages::{DirMove, Passed, Rescan, Unseen};
use crate::mounts::{Changes, Mounts};
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::settle::Settle;
use crate::root::{Root, RootError};
use crate::watch_error::WatchError;

/// An overflow is repaired after the events have been calm for so long,
const CALM: Duration = Duration::from_millis(100);
/// and not later than this after the first.
const CALM_AT_LATEST: Duration = Duration::from_secs(1);
/// A directory that is moved so soon after a scan may have been renamed while it was scanned: it is scanned again.
const YOUNG: Duration = Duration::from_secs(2);

/// A directory got other attributes. MODIFY: its time alone was set (`touch -m`; fsnotify_change in the kernel).
const ATTRIBUTES: EventMask = EventMask::ATTRIB.union(EventMask::MODIFY);

/// The results of the observer, in the order in which they are passed on: first `changes`, then `rescans`.
#[derive(Debug, Default)]
pub struct Findings {
    /// Paths that may differ now, in the kernel's order.
    pub changes: Vec<Change>,
    /// Subtrees of which track was lost and whose watches have been repaired.
    pub rescans: Vec<Rescan>,
    /// Directory moves, for the log.
    pub moves: Vec<DirMove>,
    /// Directories that cannot be watched on their own account.
    pub blind: Vec<(RelPath, WatchError)>,
    /// Directories that have no watch for other reasons, as far as they are news.
    pub unseen: Vec<Unseen>,
    /// The reason why the root is no longer the same directory; `Some` once, when that is found.
    pub root_lost: Option<RootError>,
    /// `true` if another directory with content took the place of the root, which was empty.
    pub superseded: bool,
    /// Directories from which a file system was unmounted, for the log.
    pub unmounted: Vec<RelPath>,
    /// Barriers that were passed. After all of the above.
    pub passed: Vec<Passed>,
}

/// The loss of track; the repair waits for calm.
struct Lost {
    reason: Reason,
    repair_at: Instant,
    at_latest: Instant,
}

/// The state of the watches of one tree. The events of the queue that its [`Dirs`] were made with go in, in their
/// order; the consequences are collected until they are taken.
pub struct Observer {
    root: Root,
    dirs: Dirs,
    mounting: Changes,
    moves: Moves,
    file_moves: FileMoves,
    quiet: Quiet,
    unnamed: Unnamed,
    presence: Presence,
    lost: Option<Lost>,
    /// Entries whose watches have ended, while the event of their deletion is still to come.
    ended: HashSet<(NodeId, OsString)>,
    /// The time at which the last scan ended.
    scanned: Option<Instant>,
    unwatched: Unwatched,
    /// `None` if nobody asks for barriers.
    cookie: Option<Cookie>,
    /// `None` if nobody compares with the kernel.
    ledger: Option<Ledger>,
    found: Findings,
}

impl Observer {
    /// Watches all of the tree. `progress` is told the number of watched directories now and then.
    pub fn new(root: Root, mut dirs: Dirs, progress: &mut dyn FnMut(usize)) -> Self {
        dirs.within(root.reach().clone());
        // What is mounted from now on is found by the next look, whether the scan meets it or not.
        let mut mounting = Changes::listen();
        dirs.set_mounts(Mounts::below(&root.reach().resolved()).unwrap_or_default());
        dirs.scan_all(progress);
        if mounting.heard() {
            dirs.set_mounts(Mounts::below(&root.reach().resolved()).unwrap_or_default());
            dirs.scan(dirs.root());
        }
        dirs.watch_files();
        let moves = Moves::default();
        let quiet = Quiet::default();
        let found = Findings::default();
        let unwatched = Unwatched::default();
        let unnamed = Unnamed::default();
        let presence = Presence::Here { look_at: Instant::now() + ROOT_CHECK };
        let scanned = Some(Instant::now());
        let lost = None;
        let cookie = None;
        let file_moves = FileMoves::default();
        let ended = HashSet::new();
        Observer {
            root,
            dirs,
            mounting,
            moves,
            file_moves,
            quiet,
            unnamed,
            presence,
            lost,
            ended,
            scanned,
            unwatched,
            cookie,
            ledger: None,
            found,
        }
    }

    /// Files of these names are reported while they are written, and not only when they are complete.
    pub(crate) fn settle(&mut self, settle: Settle) {
        self.quiet.settle(settle);
    }

    /// The number of watched directories.
    pub(crate) fn directories(&self) -> usize {
        self.dirs.count()
    }

    /// Takes the findings since the last call.
    pub fn take(&mut self) -> Findings {
        self.tell_unwatched();
        self.note_nameless(Instant::now());
        std::mem::take(&mut self.found)
    }

    /// Takes one event in.
    pub fn handle(&mut self, event: RawEvent, now: Instant) {
        let RawEvent { watch, mask, cookie, name } = event;
        if mask.contains(EventMask::IGNORED) {
            self.dirs.last_event_came(watch);
        }
        if self.is_mark(watch, mask) {
            return;
        }
        if mask.contains(EventMask::Q_OVERFLOW) {
            return self.lose_track(Reason::Overflow, now);
        }
        let Some(name) = name else { return self.own_event(watch, mask, now) };
        let mut places = self.dirs.places(watch);
        let Some(first) = places.next() else {
            drop(places);
            return self.stray(watch, mask, now);
        };
        // The others are mostly none, which takes no memory.
        let others: Vec<NodeId> = places.collect();
        for &dir in &others {
            self.entry_event(dir, name.clone(), mask, cookie, now);
        }
        self.entry_event(first, name, mask, cookie, now);
    }

    /// Does the work that is due by time.
    pub fn tick(&mut self, now: Instant) {
        self.left(now, now);
        let due = self.quiet.due(now);
        self.count(due);
        self.compare_closed(now);
        self.tick_unwatched(now);
        self.count_directories(now);
        match self.presence {
            Presence::Away { look_at, watched } if now >= look_at => self.look_for_root(watched, now),
            Presence::Away { .. } => (),
            Presence::Here { look_at } => {
                if now >= look_at {
                    self.check_root(now);
                }
                if let Some(lost) = self.lost.take_if(|lost| now >= lost.repair_at) {
                    self.repair(lost.reason);
                }
            }
        }
    }

    /// The time at which [`Observer::tick`] has work next.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let (look_at, repair_at) = match self.presence {
            Presence::Here { look_at } => (look_at, self.lost.as_ref().map(|lost| lost.repair_at)),
            Presence::Away { look_at, .. } => (look_at, None),
        };
        let times = [Some(look_at), repair_at, self.moves.next_expiry(), self.quiet.next_check()];
        times.into_iter().chain([self.unwatched.next_tick(), self.dirs.next_nameless()]).flatten().min()
    }

    /// Reports directories that left the tree, for which no second half of the move came until `until`.
    fn left(&mut self, until: Instant, now: Instant) {
        for Departure { from, parent } in self.moves.expired(until) {
            if let Some(name) = last_name(&from) {
                self.dirs.check_name(parent, &name);
                // What was given up by a name that is out of date is found again when its move is told.
                self.scanned_until(now);
            }
            self.moved_out(from);
        }
        for Departure { from, parent } in self.moves.settled(until) {
            last_name(&from).into_iter().for_each(|name| self.dirs.check_name(parent, &name));
        }
    }

    /// Waits for nothing any longer: files that are still open count as they are, and lost track is repaired now. If
    /// `complete`, no event is left, so a half of a move stands alone for ever.
    pub(crate) fn flush(&mut self, complete: bool, now: Instant) {
        if complete {
            self.left(now + PAIRING_TIME, now);
        }
        if matches!(self.presence, Presence::Here { .. })
            && let Some(lost) = self.lost.take()
        {
            self.repair(lost.reason);
        }
        let left = self.quiet.flush();
        self.count(left);
        let closed = self.quiet.flush_closed();
        self.found.changes.extend(closed.into_iter().map(|path| Change::Closed { path }));
    }

    /// Goes by other patterns: excluded directories are not watched any more, and newly included ones are.
    pub(crate) fn exclude(&mut self, excludes: Excludes) {
        self.dirs.exclude(excludes);
        // When the root comes back, everything is looked through.
        if matches!(self.presence, Presence::Here { .. }) && self.root.look().is_ok() {
            self.dirs.scan(self.dirs.root());
            self.dirs.watch_files();
            self.scanned_until(Instant::now());
        }
    }

    /// Gives up all watches.
    pub(crate) fn end(self) {
        self.dirs.end();
    }

    /// Looks at the name that a directory left: an exchange (renameat2(2)) gives the name to another entry at once.
    fn retaken(&mut self, path: &RelPath) {
        if let Ok(meta) = self.root.look_at(path) {
            self.found.changes.push(Change::Retaken { path: path.clone(), is_dir: meta.is_dir() });
        }
    }

    fn attach(&mut self, dir: NodeId, name: &OsString, now: Instant) -> Attached {
        let attached = self.dirs.attach(dir, name);
        if matches!(attached, Attached::New | Attached::Moved) && self.mounting.heard() {
            // It may hold something that is mounted no longer, or is not known to be.
            self.compare_mounts(now);
            self.rescan_watches(dir, name, now);
        }
        match attached {
            // When its move is told, what it holds is looked at again.
            Attached::New | Attached::Elsewhere => self.scanned_until(now),
            Attached::Tangled => self.lose_track(Reason::Outrun, now),
            Attached::Known | Attached::Moved | Attached::Nothing | Attached::Blind => (),
        }
        attached
    }

    /// Notes that a scan has just ended. Events from the time of the scan are still to come, and may be handled with
    /// a time before its end.
    fn scanned_until(&mut self, now: Instant) {
        self.scanned = Some(now.max(Instant::now()));
    }

    fn rescan_watches(&mut self, parent: NodeId, name: &OsString, now: Instant) {
        for dir in self.dirs.named(parent, name) {
            if self.dirs.scan(dir).tangled {
                self.lose_track(Reason::Outrun, now);
            }
        }
        if self.mounting.heard() {
            self.compare_mounts(now);
            return self.rescan_watches(parent, name, now);
        }
        self.scanned_until(now);
    }

    /// Handles an event of a directory, or of a mounted file, about itself.
    fn own_event(&mut self, watch: i32, mask: EventMask, now: Instant) {
        let places: Vec<NodeId> = self.dirs.places(watch).collect();
        if places.is_empty() {
            return self.file_or_stray(watch, mask, now);
        }
        let is_root = places.contains(&self.dirs.root());
        if is_root && mask.intersects(EventMask::IGNORED | EventMask::UNMOUNT | EventMask::DELETE_SELF) {
            self.root_went(false, now);
        } else if is_root && mask.contains(EventMask::MOVE_SELF) {
            self.root_went(true, now);
        } else if mask.contains(EventMask::UNMOUNT) {
            self.unmounted(watch, now);
        } else if mask.contains(EventMask::IGNORED) {
            self.watch_ended(watch, now);
        } else if mask.intersects(ATTRIBUTES) {
            places.into_iter().for_each(|place| self.attributes_set(place, now));
        }
    }

    /// Handles other attributes of a directory. Mostly the event also comes from the directory above it, which
    /// reports the change then. No directory is above the root, and none reports a directory that is mounted over
    /// another.
    fn attributes_set(&mut self, place: NodeId, now: Instant) {
        let path = self.dirs.path(place);
        if path.is_root() {
            if self.dirs.blind().forget(&path) {
                self.lose_track(Reason::Unlistable, now);
            }
            self.touched(path, true);
        } else if self.dirs.mounts().has(&path) {
            self.touched(path, true);
        }
    }

    fn file_or_stray(&mut self, watch: i32, mask: EventMask, now: Instant) {
        let files = self.dirs.files(watch);
        if files.is_empty() {
            if !self.is_of_unnamed(watch, mask, now) {
                self.stray(watch, mask, now);
            }
            return;
        }
        if mask.contains(EventMask::IGNORED) {
            return self.dirs.file_ended(watch);
        }
        files.into_iter().for_each(|path| self.file_event(path, mask, 0, now));
    }

    fn stray(&mut self, watch: i32, mask: EventMask, now: Instant) {
        if !mask.contains(EventMask::IGNORED)
            && !self.dirs.was_given_up(watch)
            && matches!(self.presence, Presence::Here { .. })
        {
            self.lose_track(Reason::UnknownWatch, now);
        }
    }

    fn touched(&mut self, path: RelPath, is_dir: bool) {
        self.found.changes.push(Change::Touched { path, is_dir, rewritten: false });
    }

    fn written(&mut self, path: RelPath) {
        self.found.changes.push(Change::Touched { path, is_dir: false, rewritten: true });
    }

    fn lose_track(&mut self, reason: Reason, now: Instant) {
        let lost = self.lost.get_or_insert(Lost { reason, repair_at: now, at_latest: now + CALM_AT_LATEST });
        lost.repair_at = (now + CALM).min(lost.at_latest);
    }

    fn repair(&mut self, reason: Reason) {
        let mut news = self.dirs.scan(self.dirs.root());
        if self.mounting.heard() {
            self.compare_mounts(Instant::now());
            news.add(self.dirs.scan(self.dirs.root()));
        }
        self.dirs.watch_files();
        self.scanned_until(Instant::now());
        self.expected(reason, news);
        self.found.rescans.push(Rescan { subtree: RelPath::root(), reason });
    }
}

fn last_name(path: &RelPath) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    (!path.is_root()).then(|| OsString::from_vec(path.name().to_vec()))
}

#[cfg(test)]
mod tests;
