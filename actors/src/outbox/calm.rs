//! The time that removals wait, so that a source that is being emptied is empty, and thereby held, before any of them
//! is mirrored. A plain data structure; its caller decides which paths wait.

use std::time::{Duration, Instant};

/// Time for which no further removal must have come,
const CALM: Duration = Duration::from_millis(50);
/// and not longer than this after the first.
const AT_LATEST: Duration = Duration::from_secs(10);

/// The row of removals that goes on, or went on last.
#[derive(Debug, Clone, Copy)]
struct RemovalRow {
    first: Instant,
    last: Instant,
}

impl RemovalRow {
    fn ends(self) -> Instant {
        (self.last + CALM).min(self.first + AT_LATEST)
    }
}

/// The times at which removals may be mirrored.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    row: Option<RemovalRow>,
    lifted: bool,
}

impl Calm {
    /// Notes a removal.
    pub(crate) fn removed(&mut self, now: Instant) {
        match &mut self.row {
            // A row that lasts for too long stays one row: what it adds does not wait again.
            Some(row) if now < row.last + CALM => row.last = now.max(row.last),
            _ => self.row = Some(RemovalRow { first: now, last: now }),
        }
    }

    /// Ends all waiting: the daemon stops.
    pub(crate) fn lift(&mut self) {
        self.lifted = true;
    }

    /// Returns the time until which removals wait, if they do.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.row.filter(|_| !self.lifted).map(RemovalRow::ends).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_wait_for_a_pause_but_not_for_ever() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let every = |step, end| (0..=end).step_by(step).collect::<Vec<u64>>();
        for (removals, asked, until) in [
            (vec![], 0, None),
            (vec![0], 0, Some(50)),
            (vec![0], 50, None),
            (vec![0, 30], 31, Some(80)),
            (vec![0, 60], 61, Some(110)),
            (every(40, 9_960), 9_960, Some(10_000)),
            (every(40, 20_000), 20_000, None),
            // After a pause a new row begins.
            ([every(40, 20_000), vec![20_060]].concat(), 20_061, Some(20_110)),
        ] {
            let mut calm = Calm::default();
            removals.iter().for_each(|&removal| calm.removed(at(removal)));
            assert_eq!(calm.until(at(asked)), until.map(at), "{asked} {:?}", removals.first());
        }
    }

    #[test]
    fn a_stop_waits_for_no_pause() {
        let (mut calm, now) = (Calm::default(), Instant::now());
        calm.removed(now);
        calm.lift();
        calm.removed(now);
        assert_eq!(calm.until(now), None);
    }
}
