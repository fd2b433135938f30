//! Files that are left alone for a while although they changed: those that settle before they are sent, and those that
//! change whenever they are looked at.

use std::time::Instant;

use crate::outbox::need::{Age, FAILS, Pending, Retry, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::patterns::settle::Settle;

impl PendingSet {
    /// A path failed once as a part of a directory: it is tried by itself, not before that time. The
    /// node lacks it `since` it lacked the directory.
    pub fn try_later(&mut self, path: RelPath, scope: Scope, rewritten: bool, since: Instant, not_before: Instant) {
        // What is older in the directory may have failed before: it is on its way since it is tried by itself.
        let age = Age::since(since).on_its_way_from(not_before);
        let retry = Retry::after(1, not_before);
        self.waiting.put_back(path, Pending { age, retry, ..Pending::new(scope).rewritten(rewritten) });
    }

    /// A file does not fit at the node, which a comparison of more found: it is tried by itself, not before that time.
    /// Whether that is news.
    pub fn set_aside(&mut self, path: RelPath, rewritten: bool, since: Instant, not_before: Instant) -> bool {
        if self.waiting.get(&path).is_some_and(Pending::is_failing) {
            return false;
        }
        let (age, retry) = (Age::since(since), Retry::after(FAILS, not_before));
        self.unfit.insert(path.clone());
        self.waiting.put_back(path, Pending { age, retry, ..Pending::new(Scope::Entry).rewritten(rewritten) });
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
            if is_unfit {
                waiting.change(path, |pending| pending.retry.hurry_after_removals(now));
            }
            is_unfit || leases.get(path).is_some()
        });
    }

    /// A path that the node had may have lost something there `since` then: it is compared, not before that time.
    pub fn compare_again(&mut self, path: RelPath, scope: Scope, rewritten: bool, since: Instant, not_before: Instant) {
        let (age, retry) = (Age::since(since), Retry::after(0, not_before));
        self.waiting.put_back(path, Pending { age, retry, ..Pending::new(scope).rewritten(rewritten) });
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
        let settling =
            self.waiting.entries_below(dir).filter(|(_, pending)| pending.retry.settles && !pending.retry.is_due(now));
        settling.map(|(path, _)| path.clone()).take(most).collect()
    }
}
