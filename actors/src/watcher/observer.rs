//! Turns kernel events into changes: follows created, moved and deleted directories with watches, waits for files to be
//! complete, pairs moves, and says when track was lost. It looks at the disk only to learn what an event cannot tell.

mod arriving;
mod audit;
mod events;
mod files;
mod findings;
mod lost_events;
mod made;
mod mounted;
mod root;
mod unnamed;
mod unwatched;

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::time::{Duration, Instant};

use inotify::EventMask;

use self::audit::AuditResults;
use self::files::Files;
pub(crate) use self::findings::Findings;
use self::lost_events::Track;
use self::made::Looks;
use self::root::WatchedRoot;
use self::unwatched::{Unwatched, first};
use super::coverage::WatchCoverage;
use super::dirs::{Attached, Dirs, FoundDirectories, ScanProgress, first_scan};
use super::ledger::Ledger;
use super::moves::{Departure, Moves, PAIRING_TIME};
use super::queue_barrier::QueueBarrier;
use super::tree::NodeId;
use crate::change::{Change, NewNames, Reason};
use crate::messages::{Passed, Unseen};
use crate::mounts::{Changes, Mounts};
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::settle::Settle;
use crate::root::Root;
use crate::root::census::Census;

/// The state of the watches of one tree. The events of the queue that its [`Dirs`] were made with go in, in their
/// order; the consequences are collected until they are taken.
pub struct Observer {
    root: WatchedRoot,
    dirs: Dirs,
    mounting: Changes,
    moves: Moves,
    files: Files,
    track: Track,
    /// Entries whose watches have ended, while the event of their deletion is still to come.
    ended: HashSet<(NodeId, OsString)>,
    unwatched: Unwatched,
    looks: Looks,
    audit: AuditResults,
    /// `None` if nobody asks for barriers.
    queue_barrier: Option<QueueBarrier>,
    found: Findings,
}

impl Observer {
    /// Watches all of the tree. `progress` is told the number of watched directories now and then.
    pub fn new<'p>(root: Root, mut dirs: Dirs, progress: &'p mut ScanProgress<'p>) -> Self {
        dirs.within(root.reach().clone());
        // What is mounted from now on is found by the next look, whether the scan meets it or not.
        let mut mounting = Changes::listen();
        dirs.set_mounts(Mounts::below(&root.reach().resolved()).unwrap_or_default());
        let recent = first_scan(&mut dirs, progress);
        if mounting.heard() {
            dirs.set_mounts(Mounts::below(&root.reach().resolved()).unwrap_or_default());
            dirs.scan(dirs.root());
        }
        dirs.watch_files();
        let mut found = Findings::default();
        recent.into_iter().for_each(|path| found.written(path));
        Observer {
            root: WatchedRoot::new(root),
            dirs,
            mounting,
            moves: Moves::default(),
            files: Files::default(),
            track: Track::new(),
            ended: HashSet::new(),
            unwatched: Unwatched::default(),
            looks: Looks::default(),
            audit: AuditResults::default(),
            queue_barrier: None,
            found,
        }
    }

    /// Files of these names are reported while they are written, and not only when they are complete.
    pub(crate) fn settle(&mut self, settle: Settle) {
        self.files.settle(settle);
    }

    /// Leaves files and directories of temporary names alone until they have their own.
    pub(crate) fn await_names(&mut self) {
        self.files.quiet.await_names();
    }

    /// Lets new names of files wait until other ones go.
    pub(crate) fn recognise(&mut self) {
        self.files.linked.recognise();
    }

    /// Waits no longer for files whose other names were found to have gone.
    pub(crate) fn recognised(&mut self, new: &[RelPath], now: Instant) {
        for path in new {
            self.files.recognised(path);
        }
        self.files.linked.answered(!new.is_empty(), now);
        self.tick(now);
    }

    /// Sets the interval at which unwatched directories are tried again and compared.
    pub(crate) fn poll_every(&mut self, period: Duration) {
        self.unwatched.poll_every(period);
    }

    /// Compares with this in each audit.
    pub(crate) fn use_ledger(&mut self, ledger: Ledger) {
        self.audit.use_ledger(ledger);
    }

    /// Answers barriers by means of this.
    pub(crate) fn use_queue_barrier(&mut self, barrier: QueueBarrier) {
        self.queue_barrier = Some(barrier);
    }

    /// Tells if events were lost, of which what they told is about to be found.
    pub(crate) fn is_to_repair(&self) -> bool {
        self.track.is_lost() && self.root.is_here()
    }

    /// The number of watched directories.
    pub(crate) fn directories(&self) -> usize {
        self.dirs.count()
    }

    /// Tells if events at this path are seen: its directory is watched, or the path itself is.
    pub(crate) fn sees(&self, path: &RelPath) -> bool {
        self.dirs.has(path) || path.parent().is_some_and(|dir| self.dirs.has(&dir))
    }

    /// Writes how much of the tree is watched now, and in which groups.
    pub(crate) fn write_coverage(&mut self, coverage: &WatchCoverage, census: &Census) {
        let watched = self.dirs.count();
        census.refresh(watched as u64, || self.dirs.groups());
        let blind = self.dirs.blind();
        coverage.write(watched, blind.len(), blind.iter());
    }

    /// The names of all watched directories.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> BTreeSet<RelPath> {
        self.dirs.names().into_iter().collect()
    }

    /// Takes the findings since the last call.
    pub fn take(&mut self) -> Findings {
        self.unwatched.tell(&mut self.dirs, &mut self.found);
        self.files.note_nameless(&mut self.dirs, Instant::now());
        self.found.gone = self.files.linked.take_gone();
        match self.files.linked.take_news() {
            // Before the removals that came at the same time.
            Some(NewNames::None) => self.found.changes.push(Change::LinksWait(NewNames::None)),
            Some(names) => self.found.changes.insert(0, Change::LinksWait(names)),
            None => (),
        }
        std::mem::take(&mut self.found)
    }

    /// Does the work that is due by time.
    pub fn tick(&mut self, now: Instant) {
        self.left(now, now);
        self.files.tick(now, &mut self.dirs, &mut self.found);
        self.count_directories(now);
        self.audit.tell_unexplained(&mut self.found, now);
        self.count_again(now);
        if self.unwatched.is_due(self.root.is_here() && !self.dirs.blind().is_empty(), now) {
            self.poll(now);
        }
        let was_here = self.root.is_here();
        if now >= self.root.next_look() {
            self.look_at_root(now);
        }
        if was_here && let Some(reason) = self.track.take_due(now) {
            self.repair(reason);
        }
    }

    /// The time at which [`Observer::tick`] has work next.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let repair_at = self.track.repair_at().filter(|_| self.root.is_here());
        let times = [Some(self.root.next_look()), repair_at, self.moves.next_expiry(), self.files.next_tick()];
        times
            .into_iter()
            .chain([self.unwatched.next_poll(), self.audit.next_tick(), self.dirs.nameless.next_look()])
            .flatten()
            .min()
    }

    /// Reports directories that left the tree, for which no second half of the move came until `until`.
    fn left(&mut self, until: Instant, now: Instant) {
        for Departure { from, parent } in self.moves.expired(until) {
            if let Some(name) = last_name(&from) {
                self.dirs.check_name(parent, &name);
                // What was given up by a name that is out of date is found again when its move is told.
                self.track.scanned(now);
            }
            self.moved_out(from);
        }
        for Departure { from, parent } in self.moves.settled(until) {
            last_name(&from).into_iter().for_each(|name| self.dirs.check_name(parent, &name));
        }
    }

    /// Tries again what is not watched. What can be had now is new; what still cannot is compared once more.
    fn poll(&mut self, now: Instant) {
        let retried = self.dirs.retry();
        self.track.scanned(now);
        self.found.subtrees(retried.watched);
        if retried.tangled {
            self.track.lose(Reason::Outrun, now);
        }
        self.unwatched.polled(now);
    }

    /// Mirrors the directories like any other that nothing has changed in for long.
    fn count_directories(&mut self, now: Instant) {
        for (dir, name) in self.dirs.take_due(now) {
            let path = self.dirs.entry(dir, &name);
            self.attach(dir, &name, now);
            self.found.changes.push(Change::Created { path });
        }
    }

    fn look_at_root(&mut self, now: Instant) {
        if self.root.look(&mut self.dirs, &mut self.found, now) {
            self.compare_mounts(now);
            self.repair(Reason::RootReturned);
        }
    }

    /// Waits for nothing any longer: files that are still open count as they are, and lost track is repaired now. If
    /// `complete`, no event is left, so a half of a move stands alone for ever.
    pub(crate) fn flush(&mut self, complete: bool, now: Instant) {
        if complete {
            self.left(now + PAIRING_TIME, now);
        }
        if self.root.is_here()
            && let Some(reason) = self.track.take()
        {
            self.repair(reason);
        }
        self.files.flush(&mut self.dirs, &mut self.found);
    }

    /// Goes by other patterns: excluded directories are not watched any more, and newly included ones are.
    pub(crate) fn exclude(&mut self, excludes: Excludes) {
        self.dirs.exclude(excludes);
        // When the root comes back, everything is looked through.
        if self.root.is_same() {
            self.dirs.scan(self.dirs.root());
            self.dirs.watch_files();
            self.track.scanned(Instant::now());
        }
    }

    /// Gives up all watches.
    pub(crate) fn end(self) {
        self.dirs.end();
    }

    /// Compares the watches with the directories on disk, and repairs them. What was not watched is a change, and a
    /// defect unless an event tells of it in the next moments.
    pub(crate) fn audit(&mut self, now: Instant) {
        // Track was lost and is known to be: the repair does the same.
        if self.track.is_lost() || !self.root.is_here() {
            return;
        }
        // A tree that is tangled is not worth a look: an event that is on its way tells of it.
        let FoundDirectories { tops, .. } = self.dirs.scan(self.dirs.root());
        self.track.scanned(now);
        self.found.subtrees(tops.iter().cloned());
        let known = known_watches(&self.dirs, &self.files, self.queue_barrier.as_ref());
        self.audit.made(tops, &known, now);
    }

    /// Reports watches that differed from the kernel's twice. Unknown ones are given up; missing ones are set again by
    /// the next audit.
    fn count_again(&mut self, now: Instant) {
        let known = || known_watches(&self.dirs, &self.files, self.queue_barrier.as_ref());
        let Some(difference) = self.audit.count_again(known, now) else { return };
        self.dirs.retire_unknown(&difference.surplus);
        self.audit.give_up(&difference.surplus);
        let surplus = difference.surplus.len();
        let missing = difference.missing.len();
        self.found.unseen.push(Unseen::Miscounted { surplus, missing });
    }

    /// Says [`Passed`] when all that the kernel has reported until now was handled.
    pub(crate) fn barrier(&mut self, id: u64) {
        if !self.queue_barrier.as_mut().is_some_and(|barrier| barrier.mark(id)) {
            self.pass(id, true);
        }
    }

    fn pass(&mut self, id: u64, lost: bool) {
        let lost = lost || self.track.is_lost() || !self.root.is_here();
        let left_alone: Vec<_> = self.dirs.nameless.left_alone().cloned().collect();
        let unsettled = self.files.unsettled().into_iter().chain(self.dirs.blind().iter().cloned());
        let unsettled = unsettled.chain(left_alone).collect();
        self.found.passed.push(Passed { id, lost, unsettled });
    }

    /// Tells if an event belongs to a barrier and not to the tree.
    fn is_mark(&mut self, watch: i32, mask: EventMask) -> bool {
        let Some(barrier) = &mut self.queue_barrier else { return false };
        if mask.contains(EventMask::Q_OVERFLOW) {
            if let Some(id) = barrier.lose() {
                self.pass(id, true);
            }
            return false;
        }
        let (is_mark, passed) = barrier.take(watch, mask);
        if let Some(id) = passed {
            self.pass(id, false);
        }
        is_mark
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
            Attached::New | Attached::Elsewhere => self.track.scanned(now),
            Attached::Tangled => self.track.lose(Reason::Outrun, now),
            Attached::Known | Attached::Moved | Attached::Nothing | Attached::Blind => (),
        }
        attached
    }

    fn rescan_watches(&mut self, parent: NodeId, name: &OsString, now: Instant) {
        for dir in self.dirs.named(parent, name) {
            if self.dirs.scan(dir).tangled {
                self.track.lose(Reason::Outrun, now);
            }
        }
        if self.mounting.heard() {
            self.compare_mounts(now);
            return self.rescan_watches(parent, name, now);
        }
        self.track.scanned(now);
    }

    /// Scans everything and reports it as changed. Directories without a watch are expected after track was lost.
    fn repair(&mut self, reason: Reason) {
        let mut news = self.dirs.scan(self.dirs.root());
        if self.mounting.heard() {
            self.compare_mounts(Instant::now());
            news.add(self.dirs.scan(self.dirs.root()));
        }
        self.dirs.watch_files();
        self.track.scanned(Instant::now());
        self.audit.excuse();
        // When the root was away, all watches may have gone with it.
        if news.count > 0 && reason != Reason::RootReturned {
            self.found.unseen.push(Unseen::Found { count: news.count, first: first(&news.tops), expected: true });
        }
        self.found.rescan(RelPath::root(), reason);
    }
}

/// The numbers of all watches that have a purpose.
fn known_watches(dirs: &Dirs, files: &Files, barrier: Option<&QueueBarrier>) -> BTreeSet<i32> {
    dirs.watches().chain(files.watches()).chain(barrier.and_then(QueueBarrier::number)).collect()
}

fn last_name(path: &RelPath) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    (!path.is_root()).then(|| OsString::from_vec(path.name().to_vec()))
}

#[cfg(test)]
mod tests;
