//! Reports, and what they do to the pending set. A renamed path waits with its origin, the old name until that is
//! delivered; what is pending below a moved directory follows, and what may have reached the node in part is sent anew.

use std::time::Instant;

use crate::change::Change;
use crate::outbox::away::MovedAway;
use crate::outbox::need::{PathNeed, Pending, Proof, Scope};
use crate::outbox::pending::PendingSet;
use crate::outbox::retry::Retry;
use crate::path::RelPath;
use crate::patterns::settle::Settle;
use crate::site::DirMoves;
use crate::transport::rename::{Doubt, Origin, detour};

/// Reports of the source.
impl PendingSet {
    /// Sets the names of files that wait until nothing touched them for a time.
    pub(crate) fn set_settle(&mut self, settle: Settle) {
        self.settle = settle;
    }

    /// Sets if directory moves are mirrored.
    pub fn set_dir_moves(&mut self, dir_moves: DirMoves) {
        self.dir_moves = dir_moves;
    }

    /// Adds a change that the watcher has told.
    pub fn add(&mut self, change: &Change, now: Instant) {
        self.waiting.at(now);
        self.change(change, now);
    }

    /// Adds a change that the node lacks since an earlier time.
    pub(crate) fn add_since(&mut self, change: &Change, since: Instant, now: Instant) {
        self.add_piece(change, false, since, now);
    }

    /// Adds a part of something that the node lacks since an earlier time, and of which size and time prove nothing if it
    /// was `rewritten`.
    pub(crate) fn add_piece(&mut self, change: &Change, rewritten: bool, since: Instant, now: Instant) {
        let before =
            change.path().and_then(|path| self.waiting.get(path)).filter(|before| before.is_failing()).copied();
        self.waiting.at(since);
        match change {
            Change::Subtree { path } if rewritten => {
                self.insert(path, Scope::Subtree, true, None);
                self.fold_up();
            }
            _ => self.change(change, now),
        }
        self.waiting.at(now);
        // Nothing changed by which it might arrive.
        if let (Some(path), Some(before)) = (change.path(), before) {
            let Retry { tries, not_before, .. } = before.retry;
            self.waiting.change(path, |pending| pending.retry = Retry { tries, not_before, ..pending.retry });
        }
    }

    fn change(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Touched { path, is_dir: true, rewritten } => self.insert(path, Scope::Entry, *rewritten, None),
            Change::Touched { path, rewritten, .. } => {
                self.insert(path, Scope::Entry, *rewritten, self.settles_until(path, now));
            }
            // In flight, rsync may have read it before, and equal size and time prove nothing then.
            Change::Closed { path } => {
                let in_flight = self.leases.get(path).is_some();
                self.insert(path, Scope::Entry, in_flight, self.settles_until(path, now));
                self.waiting.change(path, |pending| pending.proof.closed = true);
            }
            Change::Renamed { from, to } => self.renamed(from, to, now),
            Change::Subtree { path } if path.is_root() => self.want_reconcile(),
            Change::Subtree { path } => self.insert(path, Scope::Subtree, false, None),
            Change::Made { path, is_new } if self.has_nothing_of(path) => {
                let is_fresh = *is_new && self.is_unknown(path) && self.dir_moves == DirMoves::Log;
                self.insert(path, Scope::Entry, false, None);
                if is_fresh {
                    self.away.unmirrored.created(path);
                }
            }
            Change::Created { path } | Change::Made { path, .. } => {
                let is_fresh = self.is_unknown(path);
                self.insert(path, Scope::Subtree, false, None);
                self.compares(path, is_fresh);
            }
            Change::Level { path } => self.insert(path, Scope::Level, false, None),
            Change::Removed { path, is_dir } => {
                self.guards.removed(*is_dir, now);
                self.removed(path, *is_dir);
            }
            Change::MovedAway { path } => self.away.remember(path, MovedAway::Unknown),
            Change::MovedOut { path } => self.moved_out(path, now),
            Change::MovedTo { from, to } => match self.dir_moves {
                DirMoves::Log => self.moved(from, to, now),
                DirMoves::Replicate => self.replicate(from, to),
            },
            Change::FoundMoved { from, to } => self.found_moved(from, to),
            Change::Retaken { path, is_dir } => {
                if self.dir_moves == DirMoves::Log {
                    self.insert(path, if *is_dir { Scope::Subtree } else { Scope::Entry }, true, None);
                }
            }
            Change::LinksWait(names) => self.guards.links_wait(*names, now),
            Change::ComparedWithState => self.away.unmirrored.forget_resumed(),
            Change::Unmounted { path } => {
                self.waiting.drop_below(path);
                self.origins.forget(path);
                self.guards.hide(path);
            }
            Change::Mounted { path } => self.guards.unhide(path),
        }
        self.fold_up();
    }

    fn insert(&mut self, path: &RelPath, scope: Scope, rewritten: bool, settled_at: Option<Instant>) {
        let removal = self.leases.get(path).filter(|pending| pending.is_removal()).copied();
        let replaced = self.away.forget(path) || removal.is_some();
        // The removal may be spared, now that something is there again.
        let departed = removal.is_some_and(|removal| removal.departed);
        let rewritten = rewritten || replaced;
        self.links.changed(path, &self.waiting);
        // Of another kind, or of other content below, it is not what was renamed.
        let is_new = self.waiting.get(path).is_some_and(Pending::is_removal);
        self.origins.doubt(path);
        if scope == Scope::Subtree {
            self.away.unmirrored.compared(path);
        }
        if scope != Scope::Entry || is_new || rewritten && self.waiting.is_swallowed(path) {
            self.origins.take(path);
        }
        let retry = Retry::settling(settled_at);
        self.waiting.insert(path.clone(), Pending { retry, departed, ..Pending::new(scope).rewritten(rewritten) });
    }

    /// The time until which this file, which was touched now, is left alone.
    fn settles_until(&self, file: &RelPath, now: Instant) -> Option<Instant> {
        self.settle.time(file).map(|time| now + time)
    }

    /// Adds a removal: something was deleted, or is a file that was moved away.
    pub(super) fn removed(&mut self, path: &RelPath, is_dir: bool) {
        // It was there: whatever was moved away from this name was an earlier one.
        self.away.forget(path);
        self.unfit.removed(path);
        if is_dir {
            self.compared.second.forget(path);
            self.guards.unhide(path);
            self.away.unmirrored.removed(path);
            self.origins.forget(path);
        }
        // What came to this name is not at the node by it, and nobody knows by which.
        let came = self.waiting.get(path).is_some_and(|pending| pending.need == PathNeed::Renamed);
        let is_lost = came && self.origins.get(path).is_none();
        match is_dir {
            true => self.waiting.insert_over(path.clone(), Pending::removal()),
            false => self.waiting.insert(path.clone(), Pending::removal()),
        }
        if is_lost {
            self.waiting.change(path, |pending| pending.proof.rewritten = true);
        }
    }
}

/// Renames of files, and moves of directories.
impl PendingSet {
    /// Removes the detours that a run may have left at the node which did not end in order.
    pub(crate) fn drop_detours(&mut self) {
        let may_have = |(_, pending): &(&RelPath, &Pending)| pending.proof.rewritten && pending.scope == Scope::Entry;
        let vias: Vec<RelPath> = self.waiting.iter().filter(may_have).map(|(new, _)| detour(new)).collect();
        vias.iter().for_each(|via| self.removed(via, false));
    }

    /// Adds a rename of a file. The removal of the old name has been told.
    fn renamed(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        let rewritten = self.waiting.get(from).is_some_and(|pending| pending.proof != Proof::default());
        let old = self.origins.through(from);
        let is_new = old == *from && self.waiting.is_swallowed(from);
        let changes = rewritten || is_new || self.is_in_flight(from);
        if !changes {
            self.guards.renamed();
        }
        let doubt = if changes { Doubt::Changing } else { Doubt::None };
        self.waiting.change(from, |pending| pending.departed = true);
        let origin = self.origins.take(from);
        self.origins.forget(to);
        let is_back = origin.as_ref().is_some_and(|origin| origin.old == *to);
        if is_back {
            // Whatever waits for this name is about what was there meanwhile.
            self.waiting.take(to);
        }
        if let Some(origin) = origin {
            self.origins.insert(to.clone(), Origin { is_dir: false, ..origin });
        } else if !is_new {
            self.origins.insert(to.clone(), Origin { old, is_dir: false, doubt });
        }
        self.away.forget(to);
        self.links.changed(to, &self.waiting);
        to.parent().iter().for_each(|dir| self.origins.doubt(dir));
        // What is on its way to the node under the old name may be what came to that name since.
        let rewritten = rewritten || changes;
        let need = if is_back { PathNeed::Update } else { PathNeed::Renamed };
        // What looks like the way back may be the second half of an exchange, which brings another file.
        let proof = Proof { rewritten, closed: is_back };
        let retry = Retry::settling(self.settles_until(to, now));
        self.waiting.insert(to.clone(), Pending { need, proof, retry, ..Pending::new(Scope::Entry) });
    }

    /// Tells if the removal of what had this name before waits, or is on its way.
    fn is_being_removed(&self, path: &RelPath) -> bool {
        self.waiting.get(path).or_else(|| self.leases.get(path)).is_some_and(Pending::is_removal)
    }

    fn is_in_flight(&self, path: &RelPath) -> bool {
        let subtree = |dir: &RelPath| self.leases.get(dir).is_some_and(|pending| pending.scope == Scope::Subtree);
        self.reconcile.is_running() || self.leases.get(path).is_some() || path.ancestors().any(|dir| subtree(&dir))
    }

    /// Adds the move of a directory out of the tree.
    fn moved_out(&mut self, path: &RelPath, now: Instant) {
        match (self.dir_moves, self.away.get(path)) {
            (DirMoves::Log, _) => {
                self.away.remember(path, MovedAway::Known);
                self.away.not_deleted(path, now);
            }
            (DirMoves::Replicate, Some(_)) => {
                self.guards.removed(true, now);
                self.removed(path, true);
            }
            // The name exists again, and what is there now is compared.
            (DirMoves::Replicate, None) => (),
        }
    }

    /// Adds the move of a directory that is mirrored.
    fn replicate(&mut self, from: &RelPath, to: &RelPath) {
        let is_gone = self.away.get(from).is_some();
        self.guards.rebase(from, to);
        self.found_moved(from, to);
        if is_gone {
            // Its content is in the source by the new name: nothing is being emptied.
            self.removed(from, true);
        }
    }

    /// Adds the new name of a directory that is mirrored there, be its move mirrored or not.
    fn found_moved(&mut self, from: &RelPath, to: &RelPath) {
        // The node has something else there, of which size and time prove nothing.
        let goes = |path: &RelPath| self.is_being_removed(path);
        let rewritten = goes(to) || self.waiting.below(to).iter().any(goes) || self.away.get(to).is_some();
        self.away.forget(to);
        self.away.unmirrored.compared(to);
        self.move_origins(from, to, rewritten);
        self.waiting.insert(to.clone(), Pending::new(Scope::Subtree).rewritten(rewritten));
    }

    /// Keeps the origins below a directory that is renamed, and gives the directory itself one of its own.
    /// `replaces`: the node has something else by the new name.
    fn move_origins(&mut self, from: &RelPath, to: &RelPath, replaces: bool) {
        let is_new_subtree = |(path, pending): (&RelPath, &Pending)| {
            pending.scope == Scope::Subtree && !pending.is_removal() && (path == from || from.is_below(path))
        };
        let own = self.origins.take(from);
        let old = self.origins.through(from);
        let is_new = own.is_none() && old == *from && self.waiting.iter().any(is_new_subtree);
        let is_sent = |(_, pending): (&RelPath, &Pending)| !pending.is_removal();
        let changes =
            self.reconcile.is_running() || self.waiting.entries_below(from).any(is_sent) || self.leases.touches(from);
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

    /// Adds the move of a directory that is not mirrored: the paths that wait or are in flight below its old name wait
    /// below the new.
    fn moved(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        self.away.remember(from, MovedAway::Known);
        // The other half of an exchange may have been told before: what has the old name now does not go along.
        let exchanged = self.waiting.get(from).is_some_and(|pending| pending.need == PathNeed::Renamed);
        let other = exchanged.then(|| (self.waiting.take(from), self.origins.take(from)));
        self.guards.rebase(from, to);
        self.origins.forget(to);
        self.origins.rebase(from, to);
        // A directory comes to a name by which the node still has something else.
        let replaces = self.away.forget(to) || self.is_being_removed(to);
        let is_fresh = !replaces && self.is_unknown(to);
        let was_fresh = self.away.unmirrored.is_fresh(from);
        // A directory that was being sent as new may have reached the node in part, or not at all.
        let sent_as_subtree = |(path, pending): (&RelPath, &Pending)| {
            pending.scope == Scope::Subtree && from.is_below(path) && !pending.is_removal()
        };
        let half_sent = self.waiting.iter().any(sent_as_subtree)
            || self.leases.iter().any(sent_as_subtree)
            || self.reconcile.is_running()
            || self.compared.recent.holds(from, now);
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
        if was_fresh && is_fresh {
            self.away.unmirrored.created(to);
        }
        if half_sent || replaces {
            self.waiting.insert(to.clone(), Pending::new(Scope::Subtree).rewritten(replaces));
        }
        let is_compared = |pending: &Pending| pending.scope == Scope::Subtree && !pending.is_removal();
        if self.waiting.get(to).is_some_and(is_compared) || self.waiting.is_swallowed(to) {
            self.compares(to, is_fresh);
        }
    }

    /// Notes that a directory waits to be compared as a whole. `is_fresh`: the node has nothing of it.
    fn compares(&mut self, dir: &RelPath, is_fresh: bool) {
        self.away.unmirrored.compared(dir);
        if is_fresh && self.dir_moves == DirMoves::Log {
            self.away.unmirrored.created(dir);
        }
    }

    /// Tells if nothing suggests that the node has something by the name of a new directory.
    fn is_unknown(&self, dir: &RelPath) -> bool {
        let waits = self.waiting.get(dir).is_some() || self.waiting.is_swallowed(dir);
        let is_kept = self.away.get(dir).is_some() || self.guards.is_hidden(dir);
        !waits && !is_kept && !self.reconcile.is_running() && !self.leases.touches(dir)
    }

    /// Tells if the node has nothing of a new directory but what was told of it since it was made, so that
    /// nothing there is to be compared or deleted.
    fn has_nothing_of(&self, dir: &RelPath) -> bool {
        let is_told_before = self.waiting.get(dir).is_none_or(Pending::is_of_new_directory);
        let is_kept = self.away.get(dir).is_some() || self.guards.is_hidden(dir) || self.guards.is_careful();
        let is_kept = is_kept || self.away.unmirrored.has_old(dir);
        let reaches = |dir: &RelPath| self.waiting.get(dir).is_some_and(|pending| pending.reaches(Scope::Level));
        let is_compared = || reaches(&RelPath::root()) || dir.ancestors().any(|dir| reaches(&dir));
        let replaces = || self.waiting.entries_below(dir).any(|(_, pending)| pending.reaches(Scope::Level));
        is_told_before
            && !is_kept
            && !self.reconcile.is_running()
            && !self.leases.may_compare(dir)
            && !is_compared()
            && !replaces()
    }
}
