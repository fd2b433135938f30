//! The times at which a node is compared as a whole although nothing asks for it (`resync_every`, `verify_every`).
//! Pure: the time and the chance in it are parameters.

use std::time::{Duration, Instant};

/// The share by which intervals differ from the one that was asked for, so that nodes that met do not stay together.
const JITTER: f64 = 0.1;
/// A node that was not well when it was its turn is asked again after so long, or after the interval if that is
/// shorter.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The schedule of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    every: Duration,
    first: Instant,
    /// The node is not asked before this time.
    ask_at: Instant,
    /// The chance of the next interval.
    chance: f64,
}

impl Schedule {
    /// The schedule of node `index` of `nodes`, from `now` on: the first schedule of all nodes are spread over one
    /// interval. `chance` is between 0 and 1.
    pub(crate) fn new(every: Duration, index: usize, nodes: usize, now: Instant, chance: f64) -> Self {
        let share = (index as f64 + chance) / nodes.max(1) as f64;
        let first = now + every.mul_f64(share.clamp(0.0, 1.0));
        Schedule { every, first, ask_at: first, chance }
    }

    /// The time at which the node is to be asked: after its first turn an interval after it was last compared.
    pub(crate) fn due(&self, last: Option<Instant>) -> Instant {
        let since_first = last.filter(|last| *last >= self.first);
        let due = since_first.map_or(self.first, |last| last + jittered(self.every, self.chance));
        due.max(self.ask_at)
    }

    /// Notes that the node is asked now; unless it is compared then, it is asked again soon.
    pub(crate) fn asked(&mut self, now: Instant, chance: f64) {
        self.ask_at = now + self.every.min(ASK_AGAIN);
        self.chance = chance;
    }
}

fn jittered(every: Duration, chance: f64) -> Duration {
    every.mul_f64(1.0 - JITTER / 2.0 + JITTER * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1000);

    fn seconds(since: Instant, at: Instant) -> f64 {
        (at - since).as_secs_f64().round()
    }

    #[test]
    fn the_first_turns_of_all_nodes_are_spread_over_one_interval() {
        let now = Instant::now();
        for (index, nodes, chance, expected) in [
            (0, 1, 0.0, 0.0),
            (0, 1, 1.0, 1000.0),
            (0, 4, 0.0, 0.0),
            (0, 4, 1.0, 250.0),
            (1, 4, 0.5, 375.0),
            (3, 4, 0.0, 750.0),
            (3, 4, 1.0, 1000.0),
            (7, 4, 0.5, 1000.0),
            (0, 0, 0.5, 500.0),
        ] {
            let schedule = Schedule::new(EVERY, index, nodes, now, chance);
            assert_eq!(seconds(now, schedule.due(None)), expected, "{index} of {nodes}, {chance}");
        }
    }

    #[test]
    fn later_turns_are_an_interval_after_the_end_of_the_last_reconcile() {
        let now = Instant::now();
        let spread = Schedule::new(EVERY, 1, 2, now, 0.0);
        for (last, chance, expected) in [
            (None, 0.5, 500.0),
            // The reconcile of the start leaves the first schedule spread.
            (Some(3), 0.5, 500.0),
            (Some(499), 0.5, 500.0),
            (Some(500), 0.5, 1500.0),
            (Some(510), 0.0, 1460.0),
            (Some(510), 1.0, 1560.0),
            (Some(5000), 0.5, 6000.0),
        ] {
            let last = last.map(|seconds| now + Duration::from_secs(seconds));
            assert_eq!(seconds(now, Schedule { chance, ..spread }.due(last)), expected, "{last:?} {chance}");
        }
    }

    #[test]
    fn a_node_that_was_not_well_is_asked_again_soon() {
        let now = Instant::now();
        for (every, expected) in [(1000, 60.0), (30, 30.0)] {
            let mut schedule = Schedule::new(Duration::from_secs(every), 0, 1, now, 0.0);
            schedule.asked(now, 0.5);
            assert_eq!(seconds(now, schedule.due(None)), expected, "{every}");
        }
    }

    #[test]
    fn a_node_that_was_reconciled_when_asked_has_its_next_turn_an_interval_later() {
        let now = Instant::now();
        let mut schedule = Schedule::new(EVERY, 0, 1, now, 0.0);
        schedule.asked(now, 0.5);
        assert_eq!(seconds(now, schedule.due(Some(now + Duration::from_secs(5)))), 1005.0);
    }
}
