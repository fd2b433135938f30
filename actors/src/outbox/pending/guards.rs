//! What keeps a broken source from breaking the mirror: removals that wait, removals that are not believed, and what an
//! unmount hides.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::outbox::need::{Pending, Scope, TOGETHER};
use crate::outbox::pending::PendingSet;
use crate::outbox::pending::reconcile::Reconcile;
use crate::path::RelPath;
use crate::transport::Lane;
use crate::transport::plan::bounded;
use crate::transport::rename::is_detour;

/// After the content came back the tree is compared not before this time: it may come back file by file.
const RETURN_TIME: Duration = Duration::from_secs(10);

impl PendingSet {
    /// What failed and waits for its next try is due now, and so is what lacks attributes.
    pub fn try_now(&mut self) {
        let (unset, more) = self.unset.take();
        for path in unset {
            self.waiting.put_back(path, Pending::new(Scope::Entry));
        }
        if more {
            self.want_resync();
        }
        self.waiting.amend(|pending| {
            if pending.retry.tries > 0 {
                pending.retry.not_before = None;
            }
        });
        if let Reconcile::Wanted { not_before, .. } = &mut self.reconcile {
            *not_before = None;
        }
    }

    /// The daemon stops: removals do not wait for a pause any more, nor what changed while it was sent.
    pub fn hurry(&mut self) {
        self.calm.lift();
        self.waiting.amend(|pending| {
            if pending.retry.unrest > 0 {
                pending.retry.not_before = None;
            }
        });
    }

    /// Whether this very path is a removal that still waits, for a pause or for symlinks.
    pub fn is_waiting_removal(&self, path: &RelPath, now: Instant) -> bool {
        let waits = |pending: &Pending| self.waits_for_calm(pending, now) || pending.is_removal() && self.links_wait();
        self.waiting.get(path).is_some_and(waits)
    }

    pub(super) fn waits_for_calm(&self, pending: &Pending, now: Instant) -> bool {
        pending.deletes() && self.calm.until(now).is_some()
    }

    /// What goes may be the old name of what takes the bulk lane: it goes after that.
    pub(super) fn removals_follow_bulk(&mut self) {
        self.waiting.amend(|pending| {
            if pending.is_removal() {
                pending.lane = Lane::Bulk;
            }
        });
    }

    /// What goes may be the old name of what has just failed: it is tried again together with that, as if it had failed too.
    pub(super) fn removals_follow_failed(&mut self, now: Instant, retry: impl Fn(u32) -> Duration) {
        self.waiting.amend(|pending| {
            if pending.is_removal() && pending.retry.is_due(now) && pending.retry.tries < TOGETHER {
                pending.retry = pending.retry.failed(now + retry(pending.retry.tries));
            }
        });
    }

    /// An empty set of another node, which knows as much of the source.
    pub fn beside(&self) -> PendingSet {
        let (unmounted, settle, dir_moves) = (self.unmounted.clone(), self.settle.clone(), self.dir_moves);
        let (emptied, careful) = (self.emptied, self.careful);
        PendingSet { unmounted, settle, dir_moves, emptied, careful, ..PendingSet::new(self.waiting.cap()) }
    }

    /// The source is without its content: what was reported removed until it has it again is not believed.
    pub fn source_emptied(&mut self) {
        self.emptied = true;
    }

    /// The source is as it must be. If it was not, removals that wait are dropped, and the tree is compared after a while:
    /// until then nothing is deleted but what is reported removed from now on. Whether it was not.
    pub fn source_returned(&mut self, now: Instant) -> bool {
        if !std::mem::take(&mut self.emptied) {
            return false;
        }
        // What the source never had is not missing in it.
        self.waiting.retain(|path, pending| !pending.is_removal() || is_detour(path));
        self.careful = Some(now + RETURN_TIME);
        self.want_reconcile();
        true
    }

    /// Whether the content of the source may be on its way still, so that a comparison must not delete.
    pub fn is_careful(&self) -> bool {
        self.careful.is_some()
    }

    /// Whether a file system was unmounted above this path, so that it is hidden and not deleted.
    pub fn is_hidden(&self, path: &RelPath) -> bool {
        !self.unmounted.is_empty() && path.ancestors().any(|dir| self.unmounted.contains(&dir))
    }

    /// The directories whose content at the node is hidden here by an unmount, as far as a comparison of `top` meets them:
    /// at it, above it, or below it. If they are very many, the directories that hold them.
    pub fn hidden_about(&self, top: &RelPath) -> BTreeSet<RelPath> {
        let meets = |dir: &&RelPath| *dir == top || dir.is_below(top) || top.is_below(dir);
        bounded(self.unmounted.iter().filter(meets).cloned().collect())
    }

    pub(super) fn hide(&mut self, path: &RelPath) {
        self.waiting.drop_below(path);
        self.origins.forget(path);
        if !self.unmounted.contains(path) && !self.is_hidden(path) {
            self.unmounted.retain(|dir| !dir.is_below(path));
            self.unmounted.insert(path.clone());
        }
    }

    pub(super) fn unhide(&mut self, path: &RelPath) {
        self.unmounted.retain(|dir| dir != path && !dir.is_below(path));
    }

    pub(super) fn move_hidden(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<RelPath> = self.unmounted.iter().filter_map(|dir| dir.rebase(from, to)).collect();
        self.unhide(from);
        self.unmounted.extend(moved);
    }
}

#[cfg(test)]
mod tests;
