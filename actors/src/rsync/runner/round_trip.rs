//! The round trip to a node, as its runs show it. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// The runs that count. The shortest of them counts: it takes a long line, and not only a busy machine, to delay all.
const RUNS: usize = 8;
/// The least number of runs that tell something.
const FEWEST: usize = 2;
/// The least round trip of a long line. Over a shorter one the processors at both ends, which start the runs, take as much of the
/// time.
const LONG: Duration = Duration::from_millis(40);

/// The round trips of the latest runs.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips(VecDeque<Duration>);

impl RoundTrips {
    /// Notes a run: the time from its list to the first entry that the node asked for, which is one round trip, and from the
    /// last one to the end of the work, which is more than one.
    pub(crate) fn heard(&mut self, first: Duration, end: Duration) {
        self.0.truncate(RUNS - 1);
        self.0.push_front(first.min(end));
    }

    /// The round trip of a long line; `None` of a short one, and while too little is known.
    pub(crate) fn of_long_line(&self) -> Option<Duration> {
        self.0.iter().min().copied().filter(|shortest| self.0.len() >= FEWEST && *shortest >= LONG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_of_the_latest_runs_counts() {
        let mut trips = RoundTrips::default();
        for (first, end, expected) in
            [(40, 250, None), (50, 250, Some(40)), (250, 41, Some(40)), (130, 39, None), (100, 250, None)]
        {
            trips.heard(Duration::from_millis(first), Duration::from_millis(end));
            assert_eq!(trips.of_long_line(), expected.map(Duration::from_millis), "{first} {end}");
        }
        (0..RUNS).for_each(|_| trips.heard(Duration::from_millis(170), Duration::from_millis(200)));
        assert_eq!(trips.of_long_line(), Some(Duration::from_millis(170)), "the line is another one");
    }
}
