//! Files that are being written: created or modified, and not closed yet. Most are closed in time and leave at once;
//! the others (truncate(2) by path, a log held open, linkat(2) of an unnamed file) count once they are quiet.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::closings::Closings;
use crate::path::RelPath;
use crate::patterns::settle::Settle;

/// A file that was not written for so long counts as complete, closed or not.
pub(crate) const QUIET_TIME: Duration = Duration::from_millis(500);
/// A file that is written without a pause is mirrored after so long, then at doubling intervals.
const FIRST_INTERVAL: Duration = Duration::from_secs(10);
/// The longest of these intervals.
const LAST_INTERVAL: Duration = Duration::from_secs(320);

/// A file that settles counts at this interval while it is written, so that everybody knows that it goes on.
const PULSE: Duration = Duration::from_secs(1);

/// Files that are remembered as open.
const MAX_OPEN: usize = 10_000;

struct Writing {
    last: Instant,
    /// The time at which the file counts although it was never quiet.
    at_latest: Instant,
    interval: Interval,
    /// `true` if the file was written since it last counted.
    dirty: bool,
    /// `true` if the only event so far is that its name is there.
    silent: bool,
}

/// The time from one count to the next of a file that is never quiet.
#[derive(Clone, Copy)]
enum Interval {
    /// That of a file that settles: always the same.
    Steady(Duration),
    /// Twice as long each time.
    Growing(Duration),
}

impl Interval {
    /// Returns the interval that follows.
    fn next(self) -> Interval {
        match self {
            Interval::Steady(_) => self,
            Interval::Growing(time) => Interval::Growing((time * 2).min(LAST_INTERVAL)),
        }
    }

    fn time(self) -> Duration {
        let (Interval::Steady(time) | Interval::Growing(time)) = self;
        time
    }
}

/// The files that are being written.
#[derive(Default)]
pub(crate) struct Quiet {
    files: HashMap<RelPath, Writing>,
    /// Files that counted before they were closed: they may be written through mmap(2), which no event tells, until then.
    open: HashSet<RelPath>,
    /// Files that counted though nothing was told of them but their names: they may be written by a descriptor of none.
    silent: Vec<RelPath>,
    /// Files that were closed and had not been written by any call that is told.
    closings: Closings,
    /// No file is due before; `Some` if and only if there are files.
    check_at: Option<Instant>,
    settle: Settle,
}

impl Quiet {
    /// Files of these names count at once, and go on counting while they are written.
    pub(crate) fn settle(&mut self, settle: Settle) {
        self.settle = settle;
    }

    /// Notes that the file was written.
    pub(crate) fn written(&mut self, path: RelPath, now: Instant) {
        self.waits(path, now, false);
    }

    /// Notes that the name of the file is there.
    pub(crate) fn created(&mut self, path: RelPath, now: Instant) {
        self.waits(path, now, true);
    }

    fn waits(&mut self, path: RelPath, now: Instant, silent: bool) {
        let file = match self.files.entry(path) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let (interval, at_latest) = match self.settle.time(place.key()) {
                    Some(time) => {
                        // It counts now.
                        self.check_at = Some(now);
                        (Interval::Steady(PULSE.min(time / 2)), now)
                    }
                    None => (Interval::Growing(FIRST_INTERVAL), now + FIRST_INTERVAL),
                };
                place.insert(Writing { last: now, at_latest, interval, dirty: true, silent })
            }
        };
        file.last = now;
        file.dirty = true;
        file.silent &= silent;
        self.check_at.get_or_insert(now + QUIET_TIME);
    }

    /// Stops waiting for a file that was closed, deleted or moved. Returns `true` if the file had been written.
    pub(crate) fn settled(&mut self, path: &RelPath) -> bool {
        let open = !self.open.is_empty() && self.open.remove(path);
        self.closings.forget(path);
        !self.files.is_empty() && self.files.remove(path).is_some() || open
    }

    /// Notes that a large file was closed of which no write was seen. Returns `true` if the file waits until it may
    /// be compared.
    pub(crate) fn closed(&mut self, path: RelPath, size: u64, now: Instant) -> bool {
        self.closings.add(path, size, now)
    }

    /// Takes the files that were closed and are to be compared by content now.
    pub(crate) fn compared(&mut self, now: Instant) -> Vec<RelPath> {
        self.closings.due(now)
    }

    /// Tells if the file is waited for and will count by itself.
    pub(crate) fn will_count(&self, path: &RelPath) -> bool {
        !self.files.is_empty() && self.files.get(path).is_some_and(|file| file.dirty)
    }

    /// Stops waiting for files below a directory that went away.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) {
        self.files.retain(|path, _| !path.is_below(dir));
        self.open.retain(|path| !path.is_below(dir));
        self.closings.forget_below(dir);
    }

    /// Follows the move of a directory: its files are waited for at their new names.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        let names: Vec<_> = self.files.keys().filter(|path| path.is_below(from)).cloned().collect();
        for name in names {
            if let (Some(file), Some(new)) = (self.files.remove(&name), name.rebase(from, to)) {
                self.files.insert(new, file);
            }
        }
        let open: Vec<_> = self.open.iter().filter_map(|path| Some((path.clone(), path.rebase(from, to)?))).collect();
        for (old, new) in open {
            self.open.remove(&old);
            self.open.insert(new);
        }
        self.closings.moved(from, to);
    }

    /// Takes the files that count now. A file that was not quiet stays, with the next interval.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<RelPath> {
        if self.check_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        self.files.retain(|path, file| {
            if now >= file.last + QUIET_TIME {
                due.extend(file.dirty.then(|| path.clone()));
                self.silent.extend(file.silent.then(|| path.clone()));
                return false;
            }
            if now >= file.at_latest && file.dirty {
                file.interval = file.interval.next();
                file.at_latest = now + file.interval.time();
                file.dirty = false;
                due.push(path.clone());
            }
            true
        });
        // truncate(2) by path is followed by no close: such names would pile up.
        if self.open.len() + due.len() > MAX_OPEN {
            self.open.clear();
        }
        self.open.extend(due.iter().cloned());
        self.check_at = self.files.values().map(|file| (file.last + QUIET_TIME).min(file.at_latest.max(now))).min();
        due
    }

    /// Takes all files that were closed and are to be compared by content.
    pub(crate) fn flush_closed(&mut self) -> Vec<RelPath> {
        self.closings.flush()
    }

    /// Takes all files that are being written: nothing is waited for any longer.
    pub(crate) fn flush(&mut self) -> Vec<RelPath> {
        self.check_at = None;
        self.silent.extend(self.files.iter().filter(|(_, file)| file.silent).map(|(path, _)| path.clone()));
        self.files.drain().filter(|(_, file)| file.dirty).map(|(path, _)| path).collect()
    }

    /// Tells if the only event of a file that is waited for is that its name is there.
    pub(crate) fn is_silent(&self, path: &RelPath) -> bool {
        !self.files.is_empty() && self.files.get(path).is_some_and(|file| file.silent)
    }

    /// Takes the files that counted though nothing was told of them but their names.
    pub(crate) fn take_silent(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.silent)
    }

    /// The files of which nothing, or not all, has been told.
    pub(crate) fn unsettled(&self) -> Vec<RelPath> {
        let dirty = self.files.iter().filter(|(_, file)| file.dirty).map(|(path, _)| path);
        dirty.chain(&self.open).cloned().collect()
    }

    /// The time at which [`Quiet::due`] and [`Quiet::compared`] should be asked again.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.check_at.into_iter().chain(self.closings.next_check()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_that_is_never_closed_counts_once_after_a_quiet_time() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        quiet.written(rel("f"), start);
        quiet.written(rel("f"), start + QUIET_TIME / 2);
        assert_eq!(quiet.due(start + QUIET_TIME), []);
        assert_eq!(quiet.due(start + QUIET_TIME * 3 / 2), [rel("f")]);
        assert_eq!((quiet.due(start + QUIET_TIME * 9), quiet.next_check()), (vec![], None));
        assert!(quiet.settled(&rel("f")), "mmap(2) may have written it until it was closed");
        assert!(!quiet.settled(&rel("f")));
    }

    #[test]
    fn a_closed_file_is_no_longer_waited_for() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        quiet.written(rel("f"), start);
        assert!(quiet.settled(&rel("f")));
        assert!(!quiet.settled(&rel("f")));
        assert_eq!(quiet.due(start + QUIET_TIME), []);
    }

    #[test]
    fn a_file_written_without_a_pause_counts_at_doubling_intervals() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        let step = QUIET_TIME / 2;
        let counted: Vec<u64> = (0..240)
            .filter_map(|n| {
                let now = start + step * n;
                quiet.written(rel("f"), now);
                (!quiet.due(now).is_empty()).then(|| (now - start).as_secs())
            })
            .collect();
        assert_eq!(counted, [10, 30]);
    }

    #[test]
    fn a_file_that_settles_counts_at_once_and_as_long_as_it_is_written() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        let pattern = crate::patterns::excludes::Pattern::parse("*.part").unwrap();
        quiet.settle(Settle::new(vec![(pattern, Duration::from_secs(30))]));
        let step = QUIET_TIME / 2;
        let counted: Vec<u64> = (0..20)
            .filter_map(|n| {
                let now = start + step * n;
                quiet.written(rel("f.part"), now);
                (!quiet.due(now).is_empty()).then(|| (now - start).as_secs())
            })
            .collect();
        assert_eq!(counted, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_files_of_a_moved_directory_are_waited_for_at_their_new_names() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        for path in ["a/f", "ab/f", "a/d/g"] {
            quiet.written(rel(path), start);
        }
        quiet.moved(&rel("a"), &rel("c"));
        quiet.forget_below(&rel("ab"));
        let mut left = quiet.flush();
        left.sort();
        assert_eq!(left, [rel("c/d/g"), rel("c/f")]);
    }
}
