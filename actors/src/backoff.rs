//! The waits before another try of a node, a path, an ssh connection, a standby, a hook or a SyncActor: from 0.1 s to a minute.

use std::time::Duration;

/// The backoff after the first failure; it doubles with each further one, up to [`LAST`].
pub(crate) const FIRST: Duration = Duration::from_millis(100);
/// The backoff after many failures.
pub(crate) const LAST: Duration = Duration::from_secs(60);

/// The delay before the next try after so many failures in a row, 75 to 125 % of a doubling value.
pub(crate) fn backoff(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LAST).mul_f64(0.75 + 0.5 * chance)
}

/// The delay before the next try of what waits for a person, 75 to 125 % of a minute.
pub(crate) fn lasting(chance: f64) -> Duration {
    LAST.mul_f64(0.75 + 0.5 * chance)
}

/// The delay before the next try of a path that failed alone, or of a comparison, after so many tries.
pub(crate) fn backoff_after(tries: u32) -> Duration {
    backoff(tries + 1, fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_to_a_minute_and_is_spread() {
        let millis = |failures, chance| backoff(failures, chance).as_millis();
        assert_eq!([1, 2, 3, 99].map(|failures| millis(failures, 0.5)), [100, 200, 400, 60_000]);
        assert_eq!((millis(1, 0.0), millis(1, 1.0)), (75, 125));
    }
}
