//! Counts how long changes took until they were at a node: a histogram as Prometheus has it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, in seconds.
pub const BOUNDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];
/// The name of the bucket of what took longer.
const LONGER: &str = "+Inf";

/// The times from when changes were seen until the node had them, since the daemon started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryTimes {
    /// The number of paths that were counted.
    pub count: u64,
    /// The sum of their times, in seconds.
    pub seconds: f64,
    /// The paths by the least bound that their time does not exceed, in seconds; `+Inf` if it exceeds all. A bound
    /// without paths is left out.
    pub buckets: BTreeMap<String, u64>,
}

impl DeliveryTimes {
    /// Adds a path that took so long.
    pub(crate) fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.seconds += seconds;
        let bound = BOUNDS.iter().find(|bound| seconds <= **bound);
        let name = bound.map_or_else(|| LONGER.to_owned(), ToString::to_string);
        *self.buckets.entry(name).or_default() += 1;
    }

    /// The number of paths that took no longer than `bound` seconds.
    pub fn within(&self, bound: f64) -> u64 {
        // Another version of inosync may have other bounds.
        let is_within = |name: &String| name.parse::<f64>().is_ok_and(|own| own <= bound);
        self.buckets.iter().filter(|(name, _)| is_within(name)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_counts_for_every_bound_that_its_time_does_not_exceed() {
        let mut times = DeliveryTimes::default();
        for millis in [0, 1, 2, 40, 600_000, 600_001] {
            times.add(Duration::from_millis(millis));
        }
        for (bound, expected) in [(0.001, 2), (0.0025, 3), (0.025, 3), (0.05, 4), (300.0, 4), (600.0, 5)] {
            assert_eq!(times.within(bound), expected, "{bound}");
        }
        assert_eq!((times.count, times.within(f64::INFINITY)), (6, 6));
        assert!((times.seconds - 1_200.044).abs() < 1e-6, "{times:?}");
        assert_eq!(times.buckets.keys().collect::<Vec<_>>(), ["+Inf", "0.001", "0.0025", "0.05", "600"]);
    }
}
