//! The tries of a path that waits, and the pauses of a file that keeps changing or does not fit. The pauses of a path that
//! failed are computed in `backoff`.

use std::time::{Duration, Instant};

/// Tries after which a path that failed is no matter of a moment: it failed again although nothing changed.
pub(super) const FAILS: u32 = 2;
/// Tries of a removal together with the paths that failed beside it, of which it may be the old name; then it goes
/// apart.
pub(super) const TOGETHER: u32 = 5;
/// Time after which a file is sent again that changed while it was sent; it doubles while that goes on,
const FIRST: Duration = Duration::from_secs(1);
/// up to this: a file that is written for ever, as a log is, must not be sent without end.
const LAST: Duration = Duration::from_secs(320);
/// A file that does not fit is sent up to the byte that has no room: the time between the tries doubles up to this.
const UNFIT_LAST: Duration = Duration::from_secs(3600);

/// The time at which a path may be tried, and the outcome of its tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retry {
    /// Failed tries since the last change.
    pub tries: u32,
    /// The path is left alone until then.
    pub not_before: Option<Instant>,
    /// The number of times in a row that the path changed while it was sent.
    pub unrest: u32,
    /// A file that is left alone before it is sent at all: a subtree above does not swallow it.
    pub settles: bool,
    /// The time since which the path has been found missing without a report.
    pub unreported: Option<Instant>,
}

impl Retry {
    /// Leaves a file alone until it has settled, if it has to.
    pub(super) fn settling(not_before: Option<Instant>) -> Self {
        Retry { not_before, settles: not_before.is_some(), ..Retry::default() }
    }

    /// Waits for the next try after so many.
    pub(super) fn after(tries: u32, not_before: Instant) -> Self {
        Retry { tries, not_before: Some(not_before), ..Retry::default() }
    }

    /// Tells if the path may be worked on now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// Counts one more failed try.
    #[must_use]
    pub(crate) fn failed(self, not_before: Instant) -> Self {
        Retry { tries: self.tries + 1, not_before: Some(not_before), ..self }
    }

    /// Does not wait for longer than what did not fit waits once there is more room. Where much comes and goes, each
    /// further try is later.
    pub(super) fn hurry_after_removals(&mut self, now: Instant) {
        let soon = now + FIRST * (1 << self.tries.saturating_sub(FAILS).min(16));
        self.not_before = self.not_before.map(|at| at.min(soon));
    }
}

/// The time that a file is left alone which has changed so often in a row while it was sent.
pub(super) fn restless_pause(times: u32) -> Duration {
    FIRST.saturating_mul(1 << times.min(16)).min(LAST)
}

/// The time that a file is left alone which did not fit, and was tried so often since.
pub(super) fn unfit_pause(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(UNFIT_LAST)
}
