//! Lost events, as at an overflow of the queue: tells if the names in the tree are still those on disk, and when the whole tree
//! is scanned anew. Pure: the time in it is a parameter.

use std::time::{Duration, Instant};

use crate::change::Reason;

/// An overflow is repaired after the events have been calm for so long,
pub(super) const CALM: Duration = Duration::from_millis(100);
/// and not later than this after the first.
pub(super) const CALM_AT_LATEST: Duration = Duration::from_secs(1);
/// A directory that is moved so soon after a scan may have been renamed while it was scanned: it is scanned again.
const YOUNG: Duration = Duration::from_secs(2);

/// The loss of track; the repair waits for calm.
struct Lost {
    reason: Reason,
    repair_at: Instant,
    at_latest: Instant,
}

/// The track of the tree: whether events were missed, and when it was last compared with the disk.
pub(super) struct Track {
    lost: Option<Lost>,
    /// The time at which the last scan ended.
    scanned: Instant,
}

impl Track {
    /// The track of a tree that was just scanned.
    pub(super) fn new() -> Self {
        Track { lost: None, scanned: Instant::now() }
    }

    /// Notes that a scan has just ended. Events from the time of the scan are still to come, and may be handled with
    /// a time before its end.
    pub(super) fn scanned(&mut self, now: Instant) {
        self.scanned = now.max(Instant::now());
    }

    /// Tells if a scan ended so recently that events of its time may still come.
    pub(super) fn is_young(&self, now: Instant) -> bool {
        now < self.scanned + YOUNG
    }

    /// Notes that events were missed. A repair must follow; it waits for calm.
    pub(super) fn lose(&mut self, reason: Reason, now: Instant) {
        let lost = self.lost.get_or_insert(Lost { reason, repair_at: now, at_latest: now + CALM_AT_LATEST });
        lost.repair_at = (now + CALM).min(lost.at_latest);
    }

    /// Tells if a repair is still to come.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// The time of the repair.
    pub(super) fn repair_at(&self) -> Option<Instant> {
        self.lost.as_ref().map(|lost| lost.repair_at)
    }

    /// Takes the reason for a repair that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Reason> {
        self.lost.take_if(|lost| now >= lost.repair_at).map(|lost| lost.reason)
    }

    /// Takes the reason for a repair that is made before it is due.
    pub(super) fn take(&mut self) -> Option<Reason> {
        self.lost.take().map(|lost| lost.reason)
    }
}
