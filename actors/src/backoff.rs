//! The wait before another try.

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
