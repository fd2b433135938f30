//! Files that are being written: created or modified, and not closed yet. Most are closed in time and leave at once;
//! the others (truncate(2) by path, a log held open, linkat(2) of an unnamed file) count once they are quiet.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::closings::Closings;
use crate::path::RelPath;
use crate::patterns::settle::Settle;
use crate::temp_name;

/// A file that was not written for so long counts as complete, closed or not.
pub(crate) const QUIET_TIME: Duration = Duration::from_millis(500);
/// The same for a file of a temporary name of rsync, which is to get its own when it is complete: once it is closed,
pub(crate) const NAMELESS: Duration = Duration::from_secs(60);
/// and while it is open, as of a transfer that stands still.
const NAMELESS_OPEN: Duration = Duration::from_secs(3600);
/// The time after which such a file counts although it is written without a pause.
const NAMELESS_AT_LATEST: Duration = Duration::from_secs(86_400);
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
    /// The file counts when it was not written for so long.
    quiet_time: Duration,
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
    /// `true` if files of temporary names wait for their own.
    awaits_names: bool,
}

impl Quiet {
    /// Files of these names count at once, and go on counting while they are written.
    pub(crate) fn settle(&mut self, settle: Settle) {
        self.settle = settle;
    }

    /// Files of temporary names wait for their own from now on.
    pub(crate) fn await_names(&mut self) {
        self.awaits_names = true;
    }

    /// Tells if a file of this name waits until it has another one.
    pub(crate) fn is_nameless(&self, path: &RelPath) -> bool {
        self.awaits_names && temp_name::is_of_file(path) && self.settle.time(path).is_none()
    }

    /// Notes that the file was written.
    pub(crate) fn written(&mut self, path: RelPath, now: Instant) {
        let quiet_time = self.quiet_time(&path);
        self.waits(path, now, quiet_time, false);
    }

    /// Notes that the name of the file is there.
    pub(crate) fn created(&mut self, path: RelPath, now: Instant) {
        let quiet_time = self.quiet_time(&path);
        self.waits(path, now, quiet_time, true);
    }

    /// Notes that a file of a temporary name was closed, or found.
    pub(crate) fn awaits_name(&mut self, path: RelPath, now: Instant) {
        self.waits(path, now, NAMELESS, false);
    }

    /// The time after which a file counts that is open for all that is known.
    fn quiet_time(&self, path: &RelPath) -> Duration {
        if self.is_nameless(path) { NAMELESS_OPEN } else { QUIET_TIME }
    }

    fn waits(&mut self, path: RelPath, now: Instant, quiet_time: Duration, silent: bool) {
        let file = match self.files.entry(path) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let (interval, at_latest) = match self.settle.time(place.key()) {
                    Some(time) => {
                        // It counts now.
                        self.check_at = Some(now);
                        (Interval::Steady(PULSE.min(time / 2)), now)
                    }
                    None if quiet_time > QUIET_TIME => (Interval::Steady(NAMELESS_AT_LATEST), now + NAMELESS_AT_LATEST),
                    None => (Interval::Growing(FIRST_INTERVAL), now + FIRST_INTERVAL),
                };
                place.insert(Writing { last: now, at_latest, interval, dirty: true, silent, quiet_time })
            }
        };
        file.last = now;
        file.quiet_time = quiet_time;
        file.dirty = true;
        file.silent &= silent;
        let at = now + quiet_time;
        self.check_at = Some(self.check_at.map_or(at, |other| other.min(at)));
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

    /// Tells if the file is waited for.
    pub(crate) fn waits_for(&self, path: &RelPath) -> bool {
        self.files.contains_key(path)
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
        let mut closed = HashSet::new();
        self.files.retain(|path, file| {
            if now >= file.last + file.quiet_time {
                due.extend(file.dirty.then(|| path.clone()));
                closed.extend((file.quiet_time == NAMELESS).then(|| path.clone()));
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
        self.open.extend(due.iter().filter(|path| !closed.contains(*path)).cloned());
        self.check_at =
            self.files.values().map(|file| (file.last + file.quiet_time).min(file.at_latest.max(now))).min();
        due
    }

    /// Takes all files that were closed and are to be compared by content.
    pub(crate) fn flush_closed(&mut self) -> Vec<RelPath> {
        self.closings.flush()
    }

    /// Takes all files that are being written: nothing is waited for any longer, but for the names of files that have none
    /// of their own.
    pub(crate) fn flush(&mut self) -> Vec<RelPath> {
        let mut taken = Vec::new();
        self.files.retain(|path, file| {
            if file.quiet_time > QUIET_TIME {
                return true;
            }
            self.silent.extend(file.silent.then(|| path.clone()));
            taken.extend(file.dirty.then(|| path.clone()));
            false
        });
        self.check_at = self.files.values().map(|file| file.last + file.quiet_time).min();
        taken
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
    fn a_file_of_a_temporary_name_counts_late_and_holds_up_no_other() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        let temporary = rel(".f.aBcDe0");
        quiet.written(temporary.clone(), start);
        assert_eq!(quiet.due(start + QUIET_TIME), [temporary.as_bytes()].map(|name| RelPath::new(name).unwrap()));
        quiet.await_names();
        quiet.awaits_name(temporary.clone(), start);
        quiet.written(rel("g"), start + QUIET_TIME);
        assert_eq!(quiet.due(start + QUIET_TIME * 2), [rel("g")]);
        assert_eq!(quiet.flush(), []);
        assert!(quiet.unsettled().contains(&temporary), "no stamp of it is saved");
        quiet.written(temporary.clone(), start + NAMELESS / 2);
        assert_eq!(quiet.due(start + NAMELESS * 2), [], "it is open");
        quiet.awaits_name(temporary.clone(), start + NAMELESS * 2);
        assert_eq!(quiet.next_check(), Some(start + NAMELESS * 3));
        assert_eq!(quiet.due(start + NAMELESS * 3), [temporary]);
    }

    #[test]
    fn a_file_of_a_temporary_name_counts_after_a_day_although_it_is_written() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        quiet.await_names();
        let times = (0..).map(|n| start + NAMELESS / 2 * n).take_while(|at| *at < start + NAMELESS_AT_LATEST * 3 / 2);
        let counted = times.filter(|at| {
            quiet.written(rel(".log.0a0B01"), *at);
            !quiet.due(*at).is_empty()
        });
        assert_eq!(counted.collect::<Vec<_>>(), [start + NAMELESS_AT_LATEST]);
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
