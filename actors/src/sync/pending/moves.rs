//! What a directory move does to what is pending: the paths follow, and what may have reached the node in part is sent anew.

use std::time::Instant;

use super::{LATE_REPORTS, PendingSet, Reconcile};
use crate::path::RelPath;
use crate::sync::away::MovedAway;
use crate::sync::fold::{Pending, Scope};

impl PendingSet {
    /// What waits or is in flight below the old name of a directory waits below its new name.
    pub(super) fn moved(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        self.away.remember(from, MovedAway::Known);
        self.move_hidden(from, to);
        // A directory of another content comes to a name that the node still has.
        let replaces = self.away.forget(to);
        // A directory that was being sent as new may have reached the node in part, or not at all.
        let sent_as_subtree = |(path, pending): (&RelPath, &Pending)| {
            pending.scope == Scope::Subtree && from.is_below(path) && !pending.removed
        };
        let half_sent = self.waiting.iter().any(sent_as_subtree)
            || self.leases.iter().any(sent_as_subtree)
            || matches!(self.reconcile, Reconcile::Running { .. })
            || self.compared.iter().any(|(path, at)| now < *at + LATE_REPORTS && from.is_below(path));
        let mut moved: Vec<(RelPath, Pending)> = Vec::new();
        for path in self.waiting.below(from).into_iter().chain([from.clone()]) {
            moved.extend(self.waiting.take(&path).map(|pending| (path, pending)));
        }
        moved.extend(self.leases.iter().map(|(path, pending)| (path.clone(), *pending)));
        for (path, pending) in moved {
            // The name itself may have been reported removed before the directory came to it: that is settled.
            let stale = path == *from && pending.removed;
            if let Some(path) = path.rebase(from, to).filter(|_| !stale) {
                self.waiting.put_back(path, pending);
            }
        }
        if half_sent || replaces {
            self.waiting.insert(to.clone(), Pending::new(Scope::Subtree, false));
        }
    }
}
