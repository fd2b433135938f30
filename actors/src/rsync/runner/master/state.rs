//! Whether a shared connection may be started now. Pure: the time and the chance in it are parameters.

use std::time::{Duration, Instant};

use crate::backoff::backoff;

/// A connection that was up for so long is not held responsible for earlier failures.
const STEADY: Duration = Duration::from_secs(60);

/// The state of a shared connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MasterState {
    NotRunning {
        /// Connections in a row that ended before they were steady.
        failures: u32,
        /// Not to be started before; `None` if none was started yet.
        until: Option<Instant>,
    },
    /// ssh runs, and is not logged in yet.
    Starting { failures: u32 },
    /// Sessions may use it.
    Up {
        failures: u32,
        /// The time at which the connection came up.
        since: Instant,
    },
}

impl MasterState {
    /// None was started yet.
    pub(crate) const NEW: MasterState = MasterState::NotRunning { failures: 0, until: None };

    // ## NotRunning => Starting
    /// Tells if it is to be started now.
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        match *self {
            MasterState::NotRunning { failures, until } if until.is_none_or(|until| until <= now) => {
                *self = MasterState::Starting { failures };
                true
            }
            _ => false,
        }
    }

    // ## Starting => Up
    /// ssh is logged in.
    pub(crate) fn came_up(&mut self, now: Instant) {
        if let MasterState::Starting { failures } = *self {
            *self = MasterState::Up { failures, since: now };
        }
    }

    // ## Up => NotRunning
    /// It does not answer, though the node does: the next one may be started at once, if this one was steady.
    pub(crate) fn given_up(&mut self, now: Instant, chance: f64) {
        match *self {
            MasterState::Up { since, .. } if now.duration_since(since) >= STEADY => *self = MasterState::NEW,
            _ => self.ended(now, chance),
        }
    }

    // ## (Starting | Up) => NotRunning
    /// ssh ended. `chance` is between 0 and 1 and spreads the tries of many nodes.
    pub(crate) fn ended(&mut self, now: Instant, chance: f64) {
        let failures = match *self {
            MasterState::Up { since, .. } if now.duration_since(since) >= STEADY => 1,
            MasterState::Up { failures, .. } | MasterState::Starting { failures } => failures + 1,
            MasterState::NotRunning { .. } => return,
        };
        *self = MasterState::NotRunning { failures, until: Some(now + backoff(failures, chance)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The backoff after each of some connections that were up for so many seconds; `None` never came up.
    fn backoffs(lives: &[Option<u64>]) -> Vec<u128> {
        let (mut state, mut now) = (MasterState::NEW, Instant::now());
        let mut delays = Vec::new();
        for life in lives {
            assert!(state.start(now));
            if let Some(seconds) = life {
                state.came_up(now);
                now += Duration::from_secs(*seconds);
            }
            state.ended(now, 0.5);
            let MasterState::NotRunning { until: Some(until), .. } = state else { panic!("{state:?}") };
            assert!(!state.start(until - Duration::from_millis(1)));
            delays.push((until - now).as_millis());
            now = until;
        }
        delays
    }

    #[test]
    fn a_connection_that_does_not_last_is_started_less_and_less_often() {
        assert_eq!(backoffs(&[None, None, Some(0), Some(59), None]), [100, 200, 400, 800, 1600]);
        assert_eq!(backoffs(&[None; 12]).last(), Some(&60_000));
    }

    #[test]
    fn a_connection_that_lasted_is_started_again_at_once() {
        assert_eq!(backoffs(&[None, None, Some(60), None]), [100, 200, 100, 200]);
    }

    #[test]
    fn a_steady_connection_that_is_given_up_is_made_anew_at_once_and_another_one_later() {
        for (seconds, at_once) in [(60, true), (59, false)] {
            let (mut state, began) = (MasterState::NEW, Instant::now());
            assert!(state.start(began));
            state.came_up(began);
            let now = began + Duration::from_secs(seconds);
            state.given_up(now, 0.5);
            assert_eq!(state.start(now), at_once, "{seconds}");
        }
    }

    #[test]
    fn only_one_is_started() {
        let (mut state, now) = (MasterState::NEW, Instant::now());
        assert!(state.start(now));
        assert!(!state.start(now));
        state.came_up(now);
        assert!(!state.start(now));
    }
}
