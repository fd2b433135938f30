//! Which of the paths that wait for one node may go, and when: with the next batch of a lane, or beside batches that are
//! worked on. A pure function of what waits, what is out, and what speaks against sending or deleting.
//!
//! Over a long line rsync needs round trips until it says that its work is done: changes that have nothing to do with what is
//! worked on need not wait for that, and go beside. Only the content of files and the attributes of directories do. As soon as
//! something else is due that could go, no further batch is taken: so the lane gets free, and that goes alone. So it is with a
//! change of a directory above what is worked on. The times of a directory are set beside anything: runs below it that end
//! later ask for that again.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::outbox::fold::{Fold, longest_waiting};
use crate::outbox::guards::DeletionGuards;
use crate::outbox::lease::{LeaseId, Leases};
use crate::outbox::links::{WaitingLinks, removes};
use crate::outbox::need::{PathNeed, Pending, Proof, Scope};
use crate::outbox::origins::Origins;
use crate::outbox::retry::Retry;
use crate::outbox::unfit::UnfitPaths;
use crate::path::RelPath;
use crate::transport::Lane;

/// Where more paths are due, no batch goes beside others: they fill the next one.
const MANY: usize = 1000;

/// What follows from a path that is due while batches of the fast lane are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It may go beside them.
    Beside,
    /// It waits for one of them, or something else, which ends whatever goes beside.
    Later,
    /// It goes when none is worked on.
    Alone,
}

/// The use of a name to a batch that has another name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameTurn {
    /// The batch takes it along.
    Now,
    /// The other lane is at work on it: the whole file waits.
    After,
    /// It goes by itself, with all names of the file.
    Alone,
}

/// The parts of a pending set that decide when its paths go.
#[derive(Clone, Copy)]
pub(super) struct Readiness<'s> {
    /// The paths that wait.
    pub waiting: &'s Fold,
    /// The batches that are out.
    pub leases: &'s Leases,
    /// The names at which the node has the renamed paths that wait.
    pub origins: &'s Origins,
    /// The symlinks that wait for what they lead to.
    pub links: &'s WaitingLinks,
    /// The paths that did not fit at the node when they were tried last.
    pub unfit: &'s UnfitPaths,
    /// All that speaks against deleting.
    pub guards: &'s DeletionGuards,
}

/// The next batch of a lane.
impl Readiness<'_> {
    /// The paths of the next batch of a lane: those that are due, up to `paths` of them and `bytes` of names.
    pub(super) fn batch(&self, lane: Lane, paths: usize, bytes: usize, now: Instant) -> Vec<(RelPath, Pending)> {
        let due = self.waiting.iter().filter(|(_, pending)| pending.lane == lane && self.due(pending, now) <= now);
        let mut paths = longest_waiting(due, |path, pending| self.is_free(path, pending), paths, bytes);
        self.add_old_names(&mut paths, lane, now);
        paths
    }

    /// The time at which a path is due that may take this lane and need not wait for what is worked on; `None` if there
    /// is none.
    pub(super) fn next_due(&self, lane: Lane, now: Instant) -> Option<Instant> {
        let ready = self.waiting.iter().filter(|(path, pending)| pending.lane == lane && self.is_free(path, pending));
        let mut soonest = None;
        for (_, pending) in ready {
            let at = self.due(pending, now);
            if at <= now {
                return Some(now);
            }
            soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at)));
        }
        soonest
    }

    /// The time at which a path is due, as far as that does not depend on others.
    pub(super) fn due(&self, pending: &Pending, now: Instant) -> Instant {
        pending.retry.not_before.max(self.guards.holds(pending, now)).unwrap_or(now)
    }

    /// Tells if nothing that is out, or waits for another name of it, keeps a path from going.
    pub(super) fn is_free(&self, path: &RelPath, pending: &Pending) -> bool {
        let is_source = pending.is_removal() && self.origins.is_awaited(path, self.waiting);
        !is_source && !self.waits_for_leases(path, pending) && !self.waits_for_links(path, pending)
    }

    /// Adds to the paths of a batch the old names of those that were renamed and not changed, as far as nothing else keeps
    /// them: a batch deletes last.
    pub(super) fn add_old_names(&self, paths: &mut Vec<(RelPath, Pending)>, lane: Lane, now: Instant) {
        let chosen: BTreeSet<&RelPath> = paths.iter().map(|(path, _)| path).collect();
        let is_unchanged = |(_, pending): &&(RelPath, Pending)| pending.proof == Proof::default();
        let origins = paths.iter().filter(is_unchanged).filter_map(|(new, _)| self.origins.get(new));
        let olds: BTreeSet<&RelPath> = origins.map(|origin| &origin.old).collect();
        let goes = |old: &RelPath| {
            let pending = self.waiting.get(old).filter(|pending| pending.is_removal() && pending.lane == lane)?;
            let is_kept = self.due(pending, now) > now
                || self.origins.awaiting(old).any(|new| !chosen.contains(new))
                || self.waits_for_leases(old, pending)
                || self.waits_for_links(old, pending);
            (!is_kept && !chosen.contains(old)).then(|| (old.clone(), *pending))
        };
        let added: Vec<(RelPath, Pending)> = olds.into_iter().filter_map(goes).collect();
        paths.extend(added);
        paths.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// Tells if what is out keeps a path from going.
    pub(super) fn waits_for_leases(&self, path: &RelPath, pending: &Pending) -> bool {
        let old = self.origins.get(path).map(|origin| &origin.old);
        let is_blocked = |path: &RelPath| self.leases.blocks(path, None);
        is_blocked(path) || old.is_some_and(is_blocked) || pending.is_removal() && self.leases.needs(path)
    }

    /// Tells if this is a symlink that waits for what it leads to, or a removal that waits for symlinks.
    fn waits_for_links(&self, path: &RelPath, pending: &Pending) -> bool {
        match removes(pending) {
            true => self.links_wait() || self.leases.has_links_at_work(),
            false => self.links.is_behind(path, self.waiting, self.leases),
        }
    }

    /// Tells if symlinks wait for which removals wait.
    pub(super) fn links_wait(&self) -> bool {
        !self.unfit.needs_room() && self.links.wait(self.waiting)
    }
}

/// A batch of the fast lane beside others.
impl Readiness<'_> {
    /// The time at which another batch of the fast lane may be taken beside those that are worked on, as far as it
    /// depends on what waits; `None` if there is none.
    pub(super) fn next_beside(&self, now: Instant) -> Option<Instant> {
        let mut soonest = None;
        let mut due = 0;
        for (path, pending) in self.waiting.iter().filter(|(_, pending)| pending.lane == Lane::Fast) {
            let at = self.due_beside(path, pending, now);
            due += usize::from(at <= now);
            if due > MANY {
                return None;
            }
            match if at <= now { self.turn(path, pending) } else { Turn::Beside } {
                Turn::Beside => soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at))),
                Turn::Later => (),
                Turn::Alone => return None,
            }
        }
        soonest
    }

    /// The paths of a batch of the fast lane that goes beside those that are worked on.
    pub(super) fn batch_beside(&self, paths: usize, bytes: usize, now: Instant) -> Vec<(RelPath, Pending)> {
        let is_due = |path: &RelPath, pending: &Pending| self.due_beside(path, pending, now) <= now;
        let due = self.waiting.iter().filter(|(path, pending)| pending.lane == Lane::Fast && is_due(path, pending));
        let goes = |path: &RelPath, pending: &Pending| self.turn(path, pending) == Turn::Beside;
        longest_waiting(due, goes, paths, bytes)
    }

    /// The time at which a path is due. The times of a directory are to be set as soon as nothing below it is worked on.
    fn due_beside(&self, path: &RelPath, pending: &Pending, now: Instant) -> Instant {
        match self.due(pending, now) {
            _ if pending.is_untried_times() && self.is_free(path, pending) => now,
            at => at,
        }
    }

    fn turn(&self, path: &RelPath, pending: &Pending) -> Turn {
        match self.is_free(path, pending) {
            true if pending.is_times() || self.is_plain(path, pending) => Turn::Beside,
            true => Turn::Alone,
            false if pending.is_times() && self.leases.is_above_work(path) => Turn::Beside,
            false if pending.is_times() => Turn::Later,
            false if self.leases.starves(path) => Turn::Alone,
            false => Turn::Later,
        }
    }

    /// Tells if a path may be a file of which the content changed, or a directory with other attributes, and nothing else is
    /// to be done about it.
    fn is_plain(&self, path: &RelPath, pending: &Pending) -> bool {
        let Pending { scope, need, departed, retry: Retry { tries, unreported, .. }, .. } = *pending;
        !path.is_root()
            && (scope, need) == (Scope::Entry, PathNeed::Update)
            && !departed
            && (tries, unreported) == (0, None)
            && self.origins.get(path).is_none()
            && !self.links.know(path)
    }
}

/// The other names of the files of a batch.
impl Readiness<'_> {
    /// Decides if a batch takes a name along.
    pub(super) fn name_turn(&self, name: &RelPath, batch: LeaseId) -> NameTurn {
        let waits = self.waiting.get(name);
        let goes = |dir: RelPath| self.waiting.get(&dir).is_some_and(Pending::is_removal);
        // Where size and time prove nothing, the other names must not be linked to what the node has by this one.
        let is_alone = waits
            .is_some_and(|pending| pending.retry.tries > 0 || pending.scope != Scope::Entry || !pending.is_proven())
            || self.waiting.is_swallowed(name)
            || self.guards.is_hidden(name)
            || name.ancestors().any(goes);
        match () {
            () if is_alone => NameTurn::Alone,
            () if self.leases.blocks(name, Some(batch)) => NameTurn::After,
            () => NameTurn::Now,
        }
    }
}
