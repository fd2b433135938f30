//! What a directory move does to what is pending: the paths follow, and what may have reached the node in part is sent anew.

use std::time::Instant;

use crate::outbox::away::MovedAway;
use crate::outbox::need::{Need, Pending, Scope};
use crate::outbox::pending::{LATE_REPORTS, PendingSet, Reconcile};
use crate::path::RelPath;
use crate::site::DirMoves;
use crate::transport::rename::{Doubt, Origin};

impl PendingSet {
    /// Something was deleted, or is a file that was moved away.
    pub(super) fn removed(&mut self, path: &RelPath, is_dir: bool, now: Instant) {
        // It was there: whatever was moved away from this name was an earlier one.
        self.away.forget(path);
        self.forget_unfit(path);
        self.calm.removed(now);
        if is_dir {
            self.unhide(path);
            self.away.unmirrored.removed(path);
            self.origins.forget(path);
        }
        // What came to this name is not at the node by it, and nobody knows by which.
        let is_lost = self.waiting.get(path).is_some_and(|pending| pending.need == Need::Renamed)
            && self.origins.get(path).is_none();
        match is_dir {
            true => self.waiting.insert_over(path.clone(), Pending::removal()),
            false => self.waiting.insert(path.clone(), Pending::removal()),
        }
        if is_lost {
            self.waiting.change(path, |pending| pending.proof.rewritten = true);
        }
    }

    /// A directory left the tree.
    pub(super) fn moved_out(&mut self, path: &RelPath, now: Instant) {
        match (self.dir_moves, self.away.get(path)) {
            (DirMoves::Log, _) => {
                self.away.remember(path, MovedAway::Known);
                self.away.not_deleted(path, now);
            }
            (DirMoves::Replicate, Some(_)) => self.removed(path, true, now),
            // The name exists again, and what is there now is compared.
            (DirMoves::Replicate, None) => (),
        }
    }

    /// A directory has another name, and shall have it at the node.
    pub(super) fn replicate(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        let is_gone = self.away.get(from).is_some();
        self.move_hidden(from, to);
        // The node has something else there, of which size and time prove nothing.
        let goes = |path: &RelPath| {
            let known = self.waiting.get(path).or_else(|| self.leases.get(path));
            known.is_some_and(Pending::is_removal)
        };
        let rewritten = goes(to) || self.waiting.below(to).iter().any(goes) || self.away.get(to).is_some();
        self.away.forget(to);
        self.move_origins(from, to, rewritten);
        if is_gone {
            self.removed(from, true, now);
        }
        self.waiting.insert(to.clone(), Pending::new(Scope::Subtree).rewritten(rewritten));
    }

    /// What was renamed below a directory that is renamed has its origins still, and the directory itself one of its own.
    /// `replaces`: the node has something else by the new name.
    fn move_origins(&mut self, from: &RelPath, to: &RelPath, replaces: bool) {
        let is_new_subtree = |(path, pending): (&RelPath, &Pending)| {
            pending.scope == Scope::Subtree && !pending.is_removal() && (path == from || from.is_below(path))
        };
        let (own, old) = (self.origins.take(from), self.origins.through(from));
        let is_new = own.is_none() && old == *from && self.waiting.iter().any(is_new_subtree);
        let is_sent = |(_, pending): (&RelPath, &Pending)| !pending.is_removal();
        let changes =
            self.is_reconciling() || self.waiting.entries_below(from).any(is_sent) || self.leases.touches(from);
        let doubt = match changes {
            _ if replaces => Doubt::Replaced,
            true => Doubt::Changing,
            false => Doubt::None,
        };
        self.origins.forget(to);
        self.origins.rebase(from, to);
        let in_flight: Vec<_> = self.leases.origins().map(|(new, origin)| (new.clone(), origin.clone())).collect();
        for (new, origin) in in_flight {
            if let Some(new) = new.rebase(from, to).filter(|new| new != to) {
                self.origins.insert(new, Origin { doubt: Doubt::Changing, ..origin });
            }
        }
        match own.filter(|origin| origin.is_dir) {
            Some(origin) => {
                let doubt = if replaces { doubt } else { doubt.max(origin.doubt.min(Doubt::Changing)) };
                self.origins.insert(to.clone(), Origin { doubt, ..origin });
            }
            None if !is_new => self.origins.insert(to.clone(), Origin { old, is_dir: true, doubt }),
            None => (),
        }
    }

    /// What waits or is in flight below the old name of a directory waits below its new name.
    pub(super) fn moved(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        self.away.remember(from, MovedAway::Known);
        // The other half of an exchange may have been told before: what has the old name now does not go along.
        let exchanged = self.waiting.get(from).is_some_and(|pending| pending.need == Need::Renamed);
        let other = exchanged.then(|| (self.waiting.take(from), self.origins.take(from)));
        self.move_hidden(from, to);
        self.origins.forget(to);
        self.origins.rebase(from, to);
        // A directory of another content comes to a name that the node still has.
        let replaces = self.away.forget(to);
        let is_fresh = !replaces && self.is_unknown(to);
        // A directory that was being sent as new may have reached the node in part, or not at all.
        let sent_as_subtree = |(path, pending): (&RelPath, &Pending)| {
            pending.scope == Scope::Subtree && from.is_below(path) && !pending.is_removal()
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
            let stale = path == *from && pending.is_removal();
            if let Some(path) = path.rebase(from, to).filter(|_| !stale) {
                self.waiting.put_back(path, pending);
            }
        }
        if let Some((pending, origin)) = other {
            pending.into_iter().for_each(|pending| self.waiting.put_back(from.clone(), pending));
            origin.into_iter().for_each(|origin| self.origins.put_back(from.clone(), origin));
        }
        self.away.not_followed(from, to, now);
        if half_sent || replaces {
            self.waiting.insert(to.clone(), Pending::new(Scope::Subtree).rewritten(replaces));
        }
        let is_compared = |pending: &Pending| pending.scope == Scope::Subtree && !pending.is_removal();
        if self.waiting.get(to).is_some_and(is_compared) || self.waiting.is_swallowed(to) {
            self.compares(to, is_fresh);
        }
    }

    /// A directory waits to be compared as a whole. `is_fresh`: the node has nothing of it.
    pub(super) fn compares(&mut self, dir: &RelPath, is_fresh: bool) {
        self.away.unmirrored.compared(dir);
        if is_fresh && self.dir_moves == DirMoves::Log {
            self.away.unmirrored.created(dir);
        }
    }

    /// Whether nothing that is known speaks for it that the node has something by the name of a new directory.
    pub(super) fn is_unknown(&self, dir: &RelPath) -> bool {
        let waits = self.waiting.get(dir).is_some() || self.waiting.is_swallowed(dir);
        let is_kept = self.away.get(dir).is_some() || self.is_hidden(dir);
        !waits && !is_kept && !self.is_reconciling() && !self.leases.touches(dir)
    }
}
