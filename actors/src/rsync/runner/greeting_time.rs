//! Limits the time that a node's rsync may take to greet ours. A node that took a moment before, and is silent now,
//! does not answer, long before rsync's own `--timeout` says so. Pure: the time in it is a parameter.

use std::time::Duration;

/// The time that is always allowed: a login is slow when a machine is busy.
const LEAST: Duration = Duration::from_secs(10);
/// rsync's own `--timeout` ends it then.
const MOST: Duration = Duration::from_secs(60);
/// So many times what it took is allowed.
const SLOWER: u32 = 3;

/// The time of the greetings of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum GreetingTime {
    /// None was heard yet, and perhaps none ever will be: the user's parameters may make rsync silent.
    #[default]
    Unknown,
    /// At least one greeting was heard.
    Known {
        /// The time that the latest took.
        took: Duration,
        /// Greetings since then that did not come in time.
        missed: u32,
    },
}

impl GreetingTime {
    /// Returns how long the next may take; `None` if nobody knows. Each that does not come in time doubles it: a node
    /// that has become slow is not given up.
    pub(crate) fn patience(self) -> Option<Duration> {
        let GreetingTime::Known { took, missed } = self else { return None };
        Some((took.saturating_mul(SLOWER).max(LEAST)).saturating_mul(1 << missed.min(8)).min(MOST))
    }

    /// One came after this time.
    pub(crate) fn heard(&mut self, took: Duration) {
        *self = GreetingTime::Known { took, missed: 0 };
    }

    /// One did not come in time.
    pub(crate) fn missed(&mut self) {
        if let GreetingTime::Known { missed, .. } = self {
            *missed = missed.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_has_become_slow_is_given_more_time_and_is_not_given_up() {
        let mut greeting = GreetingTime::default();
        greeting.missed();
        assert_eq!(greeting.patience(), None, "nobody knows how it is here");
        for (took, allowed) in [(1, [10, 20, 40, 60, 60]), (5, [15, 30, 60, 60, 60]), (45, [60; 5])] {
            greeting.heard(Duration::from_secs(took));
            for seconds in allowed {
                assert_eq!(greeting.patience(), Some(Duration::from_secs(seconds)), "{took}");
                greeting.missed();
            }
        }
    }
}
