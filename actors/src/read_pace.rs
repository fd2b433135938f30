//! The pauses between two reads of what comes in small pieces: the events of the kernel, the lines of an rsync. Each read wakes
//! up to four threads. In a burst of 20,000 files that was a round of wake-ups for each file, by two sources, which took the
//! processor from the program that wrote the files.

use std::time::{Duration, Instant};

/// The pause between reads in a burst. Half of the time for which a removal waits that stays alone, and short enough that what
/// comes meanwhile has room: in a queue of 16,384 events (inotify(7)), in a pipe of 64 KiB (pipe(7)).
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// Reads that may follow each other without a pause: a change by an editor or a small deploy takes fewer.
const QUICK: u32 = 16;

/// The interval at which one more quick read is allowed.
const PER_READ: Duration = Duration::from_millis(1);

/// Decides on a pause after each read of a source.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadPace {
    /// Each piece is read at once.
    Single {
        /// Quick reads that count at the time of the last one.
        quick: u32,
        last: Instant,
    },
    /// The pieces come faster than they can be read one by one.
    Burst,
}

/// The content of a source at the time of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    /// There was nothing: the reader waited.
    Nothing,
    /// There was something, and the read took it all.
    Something,
    /// There may be more than one read takes.
    Plenty,
}

impl ReadPace {
    /// The pace of a source of which nothing was read yet.
    pub(crate) fn new(now: Instant) -> Self {
        ReadPace::Single { quick: 0, last: now }
    }

    /// Returns how long to wait after a read at the time `now`.
    pub(crate) fn pause(&mut self, supply: Supply, now: Instant) -> Duration {
        *self = match *self {
            ReadPace::Burst if supply == Supply::Nothing => ReadPace::Single { quick: 1, last: now },
            ReadPace::Burst => ReadPace::Burst,
            ReadPace::Single { quick, last } => {
                let allowed = now.saturating_duration_since(last).as_micros() / PER_READ.as_micros();
                let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
                // What is left of the interval counts for the next read.
                let last = if allowed < quick { last + PER_READ * allowed } else { now };
                let quick = quick.saturating_sub(allowed) + 1;
                if quick > QUICK { ReadPace::Burst } else { ReadPace::Single { quick, last } }
            }
        };
        match self {
            ReadPace::Burst if supply != Supply::Plenty => PAUSE,
            ReadPace::Burst | ReadPace::Single { .. } => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The pauses in ms after reads of events at the given times in us.
    fn pauses(reads: impl IntoIterator<Item = u64>) -> Vec<u128> {
        let start = Instant::now();
        let mut pace = ReadPace::new(start);
        let mut ready = start;
        let read = |at: u64| {
            let event = start + Duration::from_micros(at);
            let now = event.max(ready);
            let pause = pace.pause(if event > ready { Supply::Nothing } else { Supply::Something }, now);
            ready = now + pause;
            pause.as_millis()
        };
        reads.into_iter().map(read).collect()
    }

    #[test]
    fn changes_that_come_one_by_one_are_read_at_once() {
        // Five hundred a second, with two events each.
        let stream = (0..1000).flat_map(|change| [0, 50].map(|event| change * 2000 + event));
        assert!(pauses(stream).iter().all(|&pause| pause == 0));
    }

    #[test]
    fn a_small_deploy_is_read_at_once() {
        assert_eq!(pauses((0..16).map(|event| event * 30)), [0; 16]);
    }

    #[test]
    fn a_burst_is_read_in_pauses_until_the_queue_was_found_empty() {
        let burst = (0..20_000).map(|event| event * 20);
        let paused = pauses(burst).iter().filter(|&&pause| pause > 0).count();
        assert_eq!(paused, 20_000 - 16);
        // The queue is empty after the pause: a change 10 ms later is single again.
        let mut then: Vec<u64> = (0..17).map(|event| event * 30).collect();
        then.extend([14_000, 14_050, 14_100]);
        assert_eq!(pauses(then)[16..], [2, 0, 0, 0]);
    }

    #[test]
    fn quick_reads_are_forgotten_with_time() {
        let start = Instant::now();
        let mut pace = ReadPace::new(start);
        for read in 0..200 {
            assert_eq!(pace.pause(Supply::Nothing, start + MS * read), Duration::ZERO);
        }
    }

    #[test]
    fn a_source_that_has_more_than_a_read_takes_is_read_on() {
        let now = Instant::now();
        let mut pace = ReadPace::Burst;
        assert_eq!(pace.pause(Supply::Plenty, now), Duration::ZERO);
        assert_eq!(pace.pause(Supply::Something, now), PAUSE);
    }
}
