//! The pace at which batches of small changes follow each other. Pure: the time in it is a parameter.
//!
//! A single change goes at once. Each batch is an rsync here and one at the node, some 20 ms of processor time in all:
//! where much changes without a pause, they are spaced, and each carries what came meanwhile.

use std::time::{Duration, Instant};

/// Batches that may follow each other at once.
const BURST: u32 = 4;
/// The distance between the batches of a longer row.
const INTERVAL: Duration = Duration::from_millis(40);

/// The pace of one node: a leaky bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// The time at which the bucket will be empty, if nothing is put in; `None` if nothing was.
    empty_at: Option<Instant>,
}

impl Pace {
    /// The time at which the next batch may start.
    pub(super) fn next(self, now: Instant) -> Instant {
        self.empty_at.and_then(|at| at.checked_sub(INTERVAL * (BURST - 1))).map_or(now, |at| at.max(now))
    }

    /// Notes that a batch starts.
    pub(super) fn start(&mut self, now: Instant) {
        self.empty_at = Some(self.empty_at.map_or(now, |at| at.max(now)) + INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_batches_go_at_once_and_a_long_row_is_spaced() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut now = start;
        let mut started = Vec::new();
        for _ in 0..7 {
            now = pace.next(now);
            pace.start(now);
            started.push((now - start).as_millis());
        }
        assert_eq!(started, [0, 0, 0, 0, 40, 80, 120]);
        let later = now + INTERVAL * 9;
        assert_eq!(pace.next(later), later, "after a rest");
    }
}
