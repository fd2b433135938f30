//! What a rename does to what is pending: the new name waits with its origin, the old one until that is delivered.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::outbox::lease::LeaseId;
use crate::outbox::need::{Need, Pending, Retry, Scope};
use crate::outbox::pending::{PendingSet, Reconcile};
use crate::path::RelPath;
use crate::site::DirMoves;
use crate::transport::rename::{Doubt, Origin, detour};

impl PendingSet {
    /// From now on directory moves are mirrored, or not.
    pub fn set_dir_moves(&mut self, dir_moves: DirMoves) {
        self.dir_moves = dir_moves;
    }

    /// Where the node has a path of the batch that was leased last.
    pub fn origin(&self, path: &RelPath) -> Option<&Origin> {
        self.leases.origin(path)
    }

    /// The same for what is strictly below a directory.
    pub fn origins_below(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Origin)> {
        self.leases.origins_below(dir)
    }

    /// The batch makes `via` at the node for a while: it is deleted when the batch has ended.
    pub fn make_for_a_while(&mut self, id: LeaseId, via: RelPath, now: Instant) {
        self.leases.need(id, via.clone());
        // As old as what it is made for: a stop waits for it.
        self.waiting.at(self.leases.oldest(id).unwrap_or(now));
        self.removed(&via, false, now);
        self.waiting.at(now);
    }

    /// The last run did not end in order: what it was about to send may be at the node by the names of detours.
    pub fn drop_detours(&mut self, now: Instant) {
        let may_have = |(_, pending): &(&RelPath, &Pending)| pending.proof.rewritten && pending.scope == Scope::Entry;
        let vias: Vec<RelPath> = self.waiting.iter().filter(may_have).map(|(new, _)| detour(new)).collect();
        vias.iter().for_each(|via| self.removed(via, false, now));
    }

    /// A file has another name. The removal of the old one has been told.
    pub(super) fn renamed(&mut self, from: &RelPath, to: &RelPath, now: Instant) {
        let rewritten = self.waiting.get(from).is_some_and(|pending| pending.proof.rewritten);
        let old = self.origins.through(from);
        let is_new = old == *from && self.waiting.is_swallowed(from);
        let changes = rewritten || is_new || self.is_in_flight(from);
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
        self.link_changed(to);
        to.parent().iter().for_each(|dir| self.origins.doubt(dir));
        // What is on its way to the node under the old name may be what came to that name since.
        let rewritten = rewritten || changes;
        let need = if is_back { Need::Update } else { Need::Renamed };
        let retry = Retry::settling(self.settles_until(to, now));
        self.waiting.insert(to.clone(), Pending { need, retry, ..Pending::new(Scope::Entry).rewritten(rewritten) });
    }

    pub(super) fn is_reconciling(&self) -> bool {
        matches!(self.reconcile, Reconcile::Running { .. })
    }

    fn is_in_flight(&self, path: &RelPath) -> bool {
        let subtree = |dir: &RelPath| self.leases.get(dir).is_some_and(|pending| pending.scope == Scope::Subtree);
        self.is_reconciling() || self.leases.get(path).is_some() || path.ancestors().any(|dir| subtree(&dir))
    }

    /// Whether something still waits that the node makes out of what it has at a path or below it.
    pub(super) fn is_to_be_copied(&self, path: &RelPath) -> bool {
        let is_there = |pending: &Pending| !pending.is_removal();
        let waits = |new: &RelPath| self.waiting.get(new).is_some_and(is_there) || self.waiting.is_swallowed(new);
        self.origins.awaiting(path).any(waits)
    }

    /// The origins of what is about to be leased. A file must be sure to be dealt with at its old name afterwards, since
    /// it is made there if the node does not have it.
    pub(super) fn take_origins(&mut self, paths: &[(RelPath, Pending)]) -> BTreeMap<RelPath, Origin> {
        let mut taken = Vec::new();
        for (path, pending) in paths {
            taken.extend(self.origins.take(path).map(|origin| (path.clone(), origin)));
            if pending.scope == Scope::Subtree {
                taken.extend(self.origins.take_below(path));
            }
        }
        let waits = |path: &RelPath| self.waiting.get(path).is_some() || self.waiting.is_swallowed(path);
        let goes = |dir: RelPath| self.waiting.get(&dir).is_some_and(Pending::is_removal);
        let is_dealt_with = |old: &RelPath| waits(old) || old.ancestors().any(goes);
        taken.retain(|(_, origin)| origin.is_dir || is_dealt_with(&origin.old));
        // What the node has at these names will be something else: it is nobody's origin any more.
        for (path, pending) in paths.iter().filter(|(_, pending)| !pending.is_removal()) {
            self.origins.disclaim(path, pending.scope != Scope::Entry);
        }
        taken.into_iter().collect()
    }

    /// A batch has ended: what is not delivered keeps its origin where that is of use.
    pub(super) fn keep_origins(
        &mut self,
        origins: BTreeMap<RelPath, Origin>,
        paths: &BTreeMap<RelPath, Pending>,
        keeps: impl Fn(&RelPath, u32) -> bool,
    ) {
        for (new, origin) in origins {
            let above = || new.ancestors().find(|dir| paths.contains_key(dir));
            let Some(path) = Some(new.clone()).filter(|new| paths.contains_key(new)).or_else(above) else { continue };
            if paths.get(&path).is_some_and(|pending| keeps(&path, pending.retry.tries)) {
                let changes = self.waiting.entries_below(&new).next().is_some();
                let doubt = if changes { origin.doubt.max(Doubt::Changing) } else { origin.doubt };
                self.origins.put_back(new, Origin { doubt, ..origin });
            }
        }
    }
}
