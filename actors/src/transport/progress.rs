//! Progress of a run, read from the lines that rsync prints with [`OPTIONS`] (rsync's `progress.c`), and the amount of
//! work where rsync does not know the amount yet.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Options that make rsync print its progress after each file and once a second, in plain numbers. rsync does not pass
/// them to the node.
pub(crate) const OPTIONS: [&str; 2] = ["--info=progress2", "--no-h"];

/// Progress of a node's reconcile; `None` while none runs, or before rsync has printed any progress.
#[derive(Debug, Clone, Default)]
pub struct Latest(Arc<Mutex<Option<Progress>>>);

impl Latest {
    /// Returns the progress.
    pub(crate) fn get(&self) -> Option<Progress> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the progress.
    pub(crate) fn set(&self, progress: Option<Progress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// One progress report of rsync: `BYTES PCT% RATE H:MM:SS`, and after a file also ` (xfr#FILES, to-chk=LEFT/TOTAL)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    bytes: u64,
    percent: u8,
    rate: u64,
    /// Time left; in a report after a file, time since the first file. `None` if too long to tell.
    time: Option<Duration>,
    counts: Option<Counts>,
}

/// The second half of a report, which rsync prints after each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    files: u64,
    left: u64,
    total: u64,
    scanning: bool,
}

impl Piece {
    /// Splits a report from the beginning of a line, and returns the rest of the line too. rsync ends a report with a
    /// newline only before its next line; if a complaint comes first, the newline goes with the complaint. No other
    /// line looks like a report: itemized changes and notices begin with a letter or a sign.
    pub fn split_from(line: &[u8]) -> Option<(Piece, &[u8])> {
        if !matches!(line, [b' ' | b'0'..=b'9', ..]) {
            return None;
        }
        let mut rest = line;
        let bytes = word(&mut rest)?.parse().ok()?;
        let percent: i64 = word(&mut rest)?.strip_suffix('%')?.parse().ok()?;
        let rate = rate(word(&mut rest)?)?;
        let time = time(word(&mut rest)?)?;
        rest = rest.trim_ascii_start();
        let mut counts = None;
        if rest.starts_with(b"(xfr#") {
            let end = rest.iter().position(|&b| b == b')')?;
            counts = Some(Counts::parse(std::str::from_utf8(&rest[..end]).ok()?)?);
            rest = rest[end + 1..].trim_ascii_start();
        }
        let percent = u8::try_from(percent.clamp(0, 100)).ok()?;
        Some((Piece { bytes, percent, rate, time, counts }, rest))
    }
}

impl Counts {
    /// Reads `(xfr#FILES, to-chk=LEFT/TOTAL`; rsync writes `ir-chk` while it still scans for more entries.
    fn parse(text: &str) -> Option<Counts> {
        let (files, check) = text.strip_prefix("(xfr#")?.split_once(", ")?;
        let (kind, numbers) = check.split_once("-chk=")?;
        let (left, total) = numbers.split_once('/')?;
        let scanning = match kind {
            "ir" => true,
            "to" => false,
            _ => return None,
        };
        Some(Counts { files: files.parse().ok()?, left: left.parse().ok()?, total: total.parse().ok()?, scanning })
    }
}

fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let start = rest.trim_ascii_start();
    let (word, tail) = start.split_at(start.iter().position(|&b| b == b' ').unwrap_or(start.len()));
    *rest = tail;
    std::str::from_utf8(word).ok()
}

/// Reads a rate such as `12.34kB/s` and returns bytes per second: rsync counts 1024 to the unit.
fn rate(word: &str) -> Option<u64> {
    let units = [("kB/s", 1 << 10), ("MB/s", 1 << 20), ("GB/s", 1 << 30)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((word.strip_suffix(name)?, *unit)))?;
    let number: f64 = number.parse().ok()?;
    Some((number * f64::from(unit)) as u64)
}

/// Reads `H:MM:SS`; the inner value is `None` for `??:??:??`, which rsync prints for a time too long to show.
fn time(word: &str) -> Option<Option<Duration>> {
    let mut numbers = word.splitn(3, ':');
    let fields = [numbers.next()?, numbers.next()?, numbers.next()?];
    if fields == ["??"; 3] {
        return Some(None);
    }
    let [hours, minutes, seconds] = fields.map(|field| field.parse::<u64>().ok());
    let seconds = hours?.checked_mul(3600)?.checked_add(minutes?.checked_mul(60)?)?.checked_add(seconds?)?;
    Some(Some(Duration::from_secs(seconds)))
}

/// The amount of data to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Number of files, directories and other entries.
    pub entries: u64,
    /// Sum of the file sizes.
    pub bytes: u64,
}

/// Progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Sum of the sizes of the sent files; the file being sent counts as far as rsync has come.
    pub bytes: u64,
    /// Bytes sent per second.
    pub rate: u64,
    /// Number of files that were sent.
    pub files: u64,
    /// Number of entries that are done.
    pub checked: u64,
    /// Number of entries that rsync has found so far.
    pub known: u64,
    /// `true` while rsync still scans for more entries.
    pub scanning: bool,
    /// Size of the whole tree, if the daemon has counted it.
    pub extent: Option<Extent>,
    /// Share of `bytes` in the sizes of all entries that rsync has found so far, from 0 to 100.
    percent: u8,
    /// Time left according to rsync.
    left: Option<Duration>,
    elapsed: Duration,
}

impl Progress {
    /// Returns the progress after one more report, `elapsed` after the start.
    pub fn after(before: Option<Progress>, piece: &Piece, elapsed: Duration) -> Progress {
        let Piece { bytes, percent, rate, time, counts } = *piece;
        // Before the first file rsync has not told how many entries there are.
        let before = before.unwrap_or(Progress { scanning: true, ..Progress::default() });
        let now = Progress { bytes, percent, rate, elapsed, ..before };
        match counts {
            Some(Counts { files, left, total, scanning }) => {
                Progress { files, checked: total.saturating_sub(left), known: total, scanning, left: None, ..now }
            }
            None => Progress { left: time.filter(|_| rate > 0), ..now },
        }
    }

    /// Returns the progress of runs that go on at the same time.
    fn of(runs: &[Option<Progress>]) -> Progress {
        let told = || runs.iter().flatten();
        let sum = |count: fn(&Progress) -> u64| told().map(count).sum::<u64>();
        let known = sum(|run| run.known.max(1)).max(1);
        let percent = sum(|run| u64::from(run.percent) * run.known.max(1)) / known;
        Progress {
            bytes: sum(|run| run.bytes),
            rate: sum(|run| run.rate),
            files: sum(|run| run.files),
            checked: sum(|run| run.checked),
            known: sum(|run| run.known),
            scanning: told().count() < runs.len() || told().any(|run| run.scanning),
            extent: None,
            percent: percent as u8,
            left: told().filter_map(|run| run.left).max(),
            elapsed: told().map(|run| run.elapsed).max().unwrap_or_default(),
        }
    }

    /// Returns the number of all entries, if known.
    pub(crate) fn total(&self) -> Option<u64> {
        match self.extent {
            _ if !self.scanning => Some(self.known),
            Some(extent) => Some(extent.entries.max(self.known)),
            None => None,
        }
    }

    /// Returns the finished share, from 0 to 1. Sent bytes tell the share where most of the compared files were sent,
    /// as in a first copy; elsewhere most bytes are never sent, so compared entries tell the share.
    pub fn share(&self) -> Option<f64> {
        let total = self.total()?;
        if total == 0 {
            return Some(1.0);
        }
        if self.is_copy() {
            return match self.extent {
                Some(extent) if self.scanning => Some((self.bytes as f64 / extent.bytes.max(1) as f64).min(1.0)),
                _ => Some(f64::from(self.percent) / 100.0),
            };
        }
        Some(self.checked as f64 / total as f64)
    }

    /// Returns an estimate of the time left.
    pub fn left(&self) -> Option<Duration> {
        let share = self.share().filter(|&share| share > 0.0)?;
        if let Some(said) = self.left.filter(|_| self.is_copy() && !self.scanning) {
            return Some(said);
        }
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * (1.0 - share) / share).ok()
    }

    fn is_copy(&self) -> bool {
        self.files * 2 >= self.checked
    }

    /// Formats the number of finished entries for people: `1234/20000`, or `1234/2234 or more`.
    pub fn entries(&self) -> String {
        let Progress { checked, known, .. } = *self;
        self.total().map_or_else(|| format!("{checked}/{known} or more"), |total| format!("{checked}/{total}"))
    }
}

/// Updates the progress of a running reconcile, and clears it when dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    gauge: Latest,
    /// The progress of each run.
    runs: RefCell<Vec<Option<Progress>>>,
    started: Instant,
}

impl Meter {
    /// Clears `gauge` and starts the clock of so many runs.
    pub(crate) fn start(gauge: Latest, runs: usize) -> Self {
        gauge.set(None);
        Meter { gauge, runs: RefCell::new(vec![None; runs]), started: Instant::now() }
    }

    /// Takes in one more report of a run.
    pub(crate) fn hear(&self, run: usize, piece: &Piece) {
        let elapsed = self.started.elapsed();
        self.update(run, |before| Some(Progress::after(before, piece, elapsed)));
    }

    /// Notes that a run has ended.
    pub(crate) fn ended(&self, run: usize) {
        self.update(run, |before| {
            let last = before.unwrap_or_default();
            Some(Progress { checked: last.known, rate: 0, scanning: false, left: None, ..last })
        });
    }

    fn update(&self, run: usize, change: impl FnOnce(Option<Progress>) -> Option<Progress>) {
        let mut runs = self.runs.borrow_mut();
        if let Some(progress) = runs.get_mut(run) {
            *progress = change(*progress);
            // Who counts the tree notes it in the gauge.
            let extent = self.gauge.get().and_then(|progress| progress.extent);
            self.gauge.set(Some(Progress { extent, ..Progress::of(&runs) }));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.gauge.set(None);
    }
}

/// Shows a duration roughly, for people: `45 s`, `3 min`, `2 h 5 min`.
pub struct Roughly(pub Duration);

impl fmt::Display for Roughly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ ..60 => write!(f, "{seconds} s"),
            seconds @ 60..3600 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::report::output::{Line, parts};

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    fn piece(line: &str) -> Piece {
        let (piece, rest) = Piece::split_from(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        assert!(rest.is_empty(), "{line}");
        piece
    }

    #[test]
    fn a_piece_says_how_far_rsync_is() {
        let counts = |files, left, total, scanning| Some(Counts { files, left, total, scanning });
        for (line, bytes, percent, rate, time, counts) in [
            ("          32768   1%    0.00kB/s    0:00:00  ", 32768, 1, 0, seconds(0), None),
            ("        2129920  70% 1000.50kB/s    0:00:01", 2_129_920, 70, 1_024_512, seconds(1), None),
            ("  5   0%    1.50MB/s 1234:05:06  ", 5, 0, 3 << 19, seconds(1234 * 3600 + 306), None),
            ("  5   0%    2.00GB/s   ??:??:??  ", 5, 0, 2 << 30, None, None),
            (
                "            600   0%  390.62kB/s    0:00:00 (xfr#3, ir-chk=1097/1301)",
                600,
                0,
                399_994,
                seconds(0),
                counts(3, 1097, 1301, true),
            ),
            (
                "             13  41%   0.00kB/s    0:01:02 (xfr#8, to-chk=9/23)   ",
                13,
                41,
                0,
                seconds(62),
                counts(8, 9, 23, false),
            ),
            ("123456789012345678 100%    0.00kB/s    0:00:00", 123_456_789_012_345_678, 100, 0, seconds(0), None),
            ("  1 300%    0.00kB/s    0:00:00", 1, 100, 0, seconds(0), None),
        ] {
            assert_eq!(piece(line), Piece { bytes, percent, rate, time, counts }, "{line}");
            assert_eq!(parts(line.as_bytes()).collect::<Vec<_>>(), [Line::Progress(piece(line))], "{line}");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_piece() {
        for line in [
            "",
            " ",
            "<f+++++++++|6|42|          32768   1%    0.00kB/s    0:00:00",
            "*deleting  |0|0|100%",
            ".d..t......|4096|0|  200   0%    0.00kB/s    0:00:00 (xfr#1, to-chk=0/1)/",
            "created directory 5 5% 0.00kB/s 0:00:00",
            "32768",
            "32768 1%",
            "32768 1% 0.00kB/s",
            "32768 1 0.00kB/s 0:00:00",
            "x 1% 0.00kB/s 0:00:00",
            "32,768 1% 0.00kB/s 0:00:00",
            "32768 1% 0.00 0:00:00",
            "32768 1% 0.00kB/s 0:00",
            "32768 1% 0.00kB/s 0:00:00 (xfr#1, to-chk=1/2",
            "32768 1% 0.00kB/s 0:00:00 (xfr#1, is-chk=1/2)",
            "32768 1% 0.00kB/s 0:00:00 (xfr#x, to-chk=1/2)",
        ] {
            assert_eq!(Piece::split_from(line.as_bytes()), None, "{line}");
            assert_eq!(parts(line.as_bytes()).collect::<Vec<_>>(), [Line::parse(line.as_bytes())], "{line}");
        }
    }

    #[test]
    fn what_is_glued_to_a_piece_is_not_lost() {
        for start in ["  32768   1%    0.00kB/s    0:00:00  ", "  3 1% 0.00kB/s 0:00:00 (xfr#1, to-chk=1/2)"] {
            let line = [start.as_bytes(), b">f+++++++++|1|44|a (1) \xff"].concat();
            let (found, rest) = Piece::split_from(&line).unwrap();
            assert_eq!((found, rest), (piece(start), &b">f+++++++++|1|44|a (1) \xff"[..]));
            assert_eq!(parts(&line).collect::<Vec<_>>(), [Line::Progress(found), Line::parse(rest)]);
        }
    }

    /// Returns the progress after these reports, one each second.
    fn after(lines: &[&str]) -> Progress {
        let mut progress = None;
        for (line, at) in lines.iter().zip(1..) {
            progress = Some(Progress::after(progress, &piece(line), Duration::from_secs(at)));
        }
        progress.unwrap()
    }

    #[test]
    fn the_entries_that_are_done_tell_how_far_a_comparison_is() {
        let progress = after(&["0 0% 0.00kB/s 0:00:00 (xfr#0, to-chk=750/1000)"]);
        assert_eq!((progress.share(), progress.left(), progress.total()), (Some(0.25), seconds(3), Some(1000)));
        assert_eq!(progress.entries().to_string(), "250/1000");
        let progress = after(&["900 1% 9.00MB/s 0:00:01 (xfr#9, to-chk=0/1000)"]);
        assert_eq!((progress.share(), progress.left()), (Some(1.0), seconds(0)));
    }

    #[test]
    fn the_bytes_tell_how_far_a_copy_is() {
        let files = "500 20% 1.00kB/s 0:00:01 (xfr#90, to-chk=1/100)";
        let progress = after(&[files]);
        assert_eq!((progress.share(), progress.left()), (Some(0.2), seconds(4)));
        // Within a file, rsync estimates from the bytes that it sent in the last seconds.
        let progress = after(&[files, "1000 40% 0.50kB/s 0:00:30"]);
        assert_eq!((progress.share(), progress.left(), progress.files), (Some(0.4), seconds(30), 90));
        let progress = after(&[files, "1000 40% 0.00kB/s 0:00:00"]);
        assert_eq!((progress.share(), progress.left()), (Some(0.4), seconds(3)));
    }

    #[test]
    fn how_far_it_is_cannot_be_told_before_all_is_known() {
        for lines in [&["1000 90% 1.00kB/s 0:00:01"][..], &["500 90% 1.00kB/s 0:00:01 (xfr#5, ir-chk=1000/1301)"]] {
            let progress = after(lines);
            assert_eq!((progress.share(), progress.left(), progress.total()), (None, None, None), "{lines:?}");
        }
        let progress = after(&["500 90% 1.00kB/s 0:00:01 (xfr#250, ir-chk=1000/1301)"]);
        assert_eq!(progress.entries().to_string(), "301/1301 or more");
        let known = Progress { extent: Some(Extent { entries: 3010, bytes: 5000 }), ..progress };
        assert_eq!((known.share(), known.left(), known.total()), (Some(0.1), seconds(9), Some(3010)));
        let compared = Progress { files: 3, ..known };
        assert_eq!((compared.share(), compared.entries().to_string()), (Some(0.1), "301/3010".to_owned()));
        // The tree was counted before some of its entries were made.
        let more = Progress { extent: Some(Extent { entries: 1000, bytes: 5000 }), ..progress };
        assert_eq!(more.total(), Some(1301));
    }

    #[test]
    fn nothing_is_known_before_a_run_and_after_it() {
        let gauge = Latest::default();
        gauge.set(Some(Progress::default()));
        let meter = Meter::start(gauge.clone(), 1);
        assert_eq!(gauge.get(), None);
        meter.hear(0, &piece("500 20% 1.00kB/s 0:00:01 (xfr#90, to-chk=1/100)"));
        assert_eq!(gauge.get().map(|progress| progress.checked), Some(99));
        drop(meter);
        assert_eq!(gauge.get(), None);
    }

    #[test]
    fn runs_beside_each_other_tell_how_far_they_are_together() {
        let gauge = Latest::default();
        let meter = Meter::start(gauge.clone(), 2);
        meter.hear(0, &piece("900 60% 2.00kB/s 0:00:01 (xfr#90, to-chk=100/300)"));
        let progress = gauge.get().unwrap();
        assert_eq!((progress.share(), progress.entries().as_str()), (None, "200/300 or more"));
        gauge.set(Some(Progress { extent: Some(Extent { entries: 400, bytes: 5000 }), ..progress }));
        assert_eq!(gauge.get().unwrap().share(), Some(0.5));
        meter.hear(1, &piece("100 20% 1.00kB/s 0:00:01 (xfr#2, to-chk=60/100)"));
        let progress = gauge.get().unwrap();
        assert_eq!((progress.bytes, progress.rate, progress.files, progress.percent), (1000, 3 << 10, 92, 50));
        assert_eq!((progress.share(), progress.entries().as_str()), (Some(0.6), "240/400"));
        meter.ended(0);
        assert_eq!((gauge.get().unwrap().rate, gauge.get().unwrap().checked), (1 << 10, 340));
    }

    #[test]
    fn times_are_told_roughly() {
        for (time, shown) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min")] {
            assert_eq!(Roughly(Duration::from_secs(time)).to_string(), shown);
        }
    }
}
