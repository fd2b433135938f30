//! Names that a batch makes at the node for a while: [`detour`]. Their removals empty no source, so none waits for another.

use std::time::Instant;

use crate::outbox::lease::LeaseId;
use crate::outbox::need::{Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::transport::rename::detour;

impl PendingSet {
    /// Notes that the batch makes `via` at the node for a while: it is deleted when the batch has ended.
    pub fn make_for_a_while(&mut self, id: LeaseId, via: RelPath, now: Instant) {
        self.leases.need(id, via.clone());
        // As old as what it is made for: a stop waits for it.
        self.waiting.at(self.leases.oldest(id).unwrap_or(now));
        self.removed(&via, false);
        self.waiting.at(now);
    }

    /// Removes the detours that a run may have left at the node which did not end in order.
    pub(crate) fn drop_detours(&mut self) {
        let may_have = |(_, pending): &(&RelPath, &Pending)| pending.proof.rewritten && pending.scope == Scope::Entry;
        let vias: Vec<RelPath> = self.waiting.iter().filter(may_have).map(|(new, _)| detour(new)).collect();
        vias.iter().for_each(|via| self.removed(via, false));
    }
}
