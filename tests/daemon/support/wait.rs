//! Waiting for a condition, never for a fixed time.

use std::thread;
use std::time::{Duration, Instant};

/// How long any condition may take before the test fails. Generous: machines that run tests are often busy, and a node that
/// waits for a person is tried again after up to 75 s.
pub const DEADLINE: Duration = Duration::from_secs(150);

/// Asks `attempt` again and again until it gives a value or the deadline is over.
pub fn until<T>(attempt: impl FnMut() -> Option<T>) -> Option<T> {
    until_within(DEADLINE, attempt)
}

/// As [`until`], with its own deadline.
pub fn until_within<T>(deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        if let Some(value) = attempt() {
            return Some(value);
        }
        if start.elapsed() > deadline {
            return None;
        }
        // An expensive question is asked less often, so that asking does not slow down what it waits for.
        thread::sleep(asked.elapsed().clamp(Duration::from_millis(5), Duration::from_millis(500)));
    }
}
