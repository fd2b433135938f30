//! Files that are left alone for a while although they changed: those that settle before they are sent, and those that
//! change whenever they are looked at.

use std::time::{Duration, Instant};

use crate::outbox::fold::{FAILS, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::patterns::settle::Settle;

/// A file that changed while it was sent is sent again after so long; the time doubles while it goes on,
const FIRST: Duration = Duration::from_secs(1);
/// up to this: what is written for ever, as a log is, must not be sent without end.
const LAST: Duration = Duration::from_secs(320);

/// How long a file is left alone that has changed so often in a row while it was sent.
pub(super) fn pause(times: u32) -> Duration {
    FIRST.saturating_mul(1 << times.min(16)).min(LAST)
}

/// A file that does not fit is sent up to the byte that has no room: the time between the tries doubles up to this.
const UNFIT_LAST: Duration = Duration::from_secs(3600);

/// How long a file is left alone that did not fit, and was tried so often since.
pub(super) fn unfit_pause(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(UNFIT_LAST)
}

impl PendingSet {
    /// A path failed once as a part of a directory: it is tried by itself, not before that time. The
    /// node lacks it `since` it lacked the directory.
    pub fn try_later(&mut self, path: RelPath, scope: Scope, rewritten: bool, since: Instant, not_before: Instant) {
        let (since, not_before) = (Some(since), Some(not_before));
        // What is older in the directory may have failed before: it is on its way since it is tried by itself.
        let anew = not_before;
        let pending = Pending { rewritten, tries: 1, since, anew, not_before, ..Pending::new(scope, false) };
        self.waiting.put_back(path, pending);
    }

    /// A file does not fit at the node, which a comparison of more found: it is tried by itself, not before that time.
    /// Whether that is news.
    pub fn set_aside(&mut self, path: RelPath, rewritten: bool, since: Instant, not_before: Instant) -> bool {
        if self.waiting.get(&path).is_some_and(Pending::is_failing) {
            return false;
        }
        let (since, not_before) = (Some(since), Some(not_before));
        let pending = Pending { rewritten, tries: FAILS, since, not_before, ..Pending::new(Scope::Entry, false) };
        self.unfit.insert(path.clone());
        self.waiting.put_back(path, pending);
        self.make_room();
        true
    }

    /// This entry is gone: whether it, or what was below it, fits is no matter any more.
    pub(super) fn forget_unfit(&mut self, path: &RelPath) {
        self.unfit.retain(|unfit| unfit != path && !unfit.is_below(path));
    }

    /// Something was deleted at the node: what did not fit may fit now. Where much comes and goes, each further try is later.
    pub fn room_was_made(&mut self, now: Instant) {
        let PendingSet { unfit, waiting, leases, .. } = self;
        unfit.retain(|path| {
            let is_unfit = waiting.get(path).is_some_and(Pending::is_failing);
            waiting.change(path, |pending| {
                let soon = now + FIRST * (1 << pending.tries.saturating_sub(FAILS).min(16));
                pending.not_before = pending.not_before.map(|at| if is_unfit { at.min(soon) } else { at });
            });
            is_unfit || leases.get(path).is_some()
        });
    }

    /// A path that the node had may have lost something there `since` then: it is compared, not before that time.
    pub fn compare_again(&mut self, path: RelPath, scope: Scope, rewritten: bool, since: Instant, not_before: Instant) {
        let (since, not_before) = (Some(since), Some(not_before));
        self.waiting.put_back(path, Pending { rewritten, since, not_before, ..Pending::new(scope, false) });
    }

    /// From now on files of these names wait until nothing touched them for a time.
    pub fn set_settle(&mut self, settle: Settle) {
        self.settle = settle;
    }

    /// Until when this file, which was touched now, is left alone.
    pub(super) fn settles_until(&self, file: &RelPath, now: Instant) -> Option<Instant> {
        self.settle.time(file).map(|time| now + time)
    }

    /// The first `most` files below a directory that still settle: a comparison of the directory leaves them out.
    pub fn settling_below(&self, dir: &RelPath, now: Instant, most: usize) -> Vec<RelPath> {
        let settling = self.waiting.entries_below(dir).filter(|(_, pending)| pending.settles && !pending.is_due(now));
        settling.map(|(path, _)| path.clone()).take(most).collect()
    }
}
