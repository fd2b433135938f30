//! Decides when a batch of the fast lane may start beside others. Pure: the time in it is a parameter.
//!
//! What a batch sends is at the node after one and a half round trips, and then rsync and its other end need two or three
//! more until the lane is free. Over a long line that is most of the time that a change takes: further batches go beside
//! those that are worked on, spaced so that each carries what came meanwhile. Near, all of it is over in milliseconds, and
//! each more rsync would take the processor from the others.

use std::time::{Duration, Instant};

/// Batches of the fast lane that are worked on at once, one each round trip: it takes as many until one has done its work.
/// More would leave fewer of the ten sessions that sshd allows over one connection to standbys, which take four round trips to
/// be ready.
const MOST: usize = 4;

/// The batches of the fast lane that go beside others.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The time at which the last batch of the lane started.
    last: Option<Instant>,
    /// `true` while something waits until no batch of the lane is worked on.
    ends: bool,
}

impl Beside {
    /// The time at which a batch may start beside so many over a long line; `None` while none may.
    pub(super) fn next(&self, working: usize, round_trip: Duration) -> Option<Instant> {
        let may = working < MOST && !self.ends;
        self.last.filter(|_| may).map(|last| last + round_trip)
    }

    /// Notes that a batch starts.
    pub(super) fn started(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Notes that a batch is taken while none is worked on.
    pub(super) fn takes_alone(&mut self) {
        self.ends = false;
    }

    /// Notes that something waits until no batch is worked on.
    pub(super) fn waits_to_be_alone(&mut self) {
        self.ends = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_go_beside_each_other_over_a_long_line_and_no_faster_than_their_standbys_connect() {
        let now = Instant::now();
        let after = |working: usize, ms: u64| {
            let mut beside = Beside::default();
            beside.started(now);
            beside.next(working, Duration::from_millis(ms)).map(|at| (at - now).as_millis())
        };
        for (working, round_trip, expected) in [(1, 100, Some(100)), (3, 300, Some(300)), (4, 300, None)] {
            assert_eq!(after(working, round_trip), expected, "{working} over {round_trip} ms");
        }
    }

    #[test]
    fn none_goes_beside_others_while_something_waits_to_go_alone() {
        let (mut beside, now, round_trip) = (Beside::default(), Instant::now(), Duration::from_millis(100));
        assert_eq!(beside.next(1, round_trip), None, "none has started yet");
        beside.started(now);
        beside.waits_to_be_alone();
        assert_eq!(beside.next(1, round_trip), None);
        beside.takes_alone();
        assert!(beside.next(1, round_trip).is_some());
    }
}
