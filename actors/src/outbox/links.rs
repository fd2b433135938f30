//! Symlinks that wait until the node has their targets, and removals that wait for them: a removed path may be the
//! target of the node's old link. A plain data structure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::outbox::fold::Fold;
use crate::outbox::lease::{LeaseId, Leases};
use crate::outbox::need::{Pending, Scope};
use crate::outbox::retry::Retry;
use crate::path::RelPath;
use crate::transport::plan::Leads;

/// Tries after which nothing waits for a path any more.
const GIVEN_UP: u32 = 2;
/// Time that a link is left alone of which the target may not have been reported yet.
const REPORT_TIME: Duration = Duration::from_millis(20);

/// The reason for which a path does not go with its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// A symlink of which a target does not go with the batch.
    Targets(Leads),
    /// A symlink with a new target: what was changed before may not have been reported.
    Report(Leads),
    /// A removal: the node may have a link to the path, and that link goes later.
    Links,
}

/// The symlinks that wait, or are looked at now. What is said of one that does neither counts for nothing.
#[derive(Debug, Default)]
pub(super) struct WaitingLinks(BTreeMap<RelPath, LinkWait>);

/// A symlink that waits.
#[derive(Debug, Default)]
struct LinkWait {
    /// The paths that it leads to; empty for one that is to be looked at again.
    to: Vec<RelPath>,
    /// The target as text, at that time.
    text: Vec<u8>,
    /// The time since which it waits. It waits for nothing that changed later, or a target that is written to without a
    /// pause would keep it waiting for ever. `None` if it waits for nothing but to be looked at.
    since: Option<Instant>,
}

/// Tells if this is something that a link is to wait for: it is to be sent, and has not failed again and again. Of a
/// file that goes on changing, the node has an earlier content.
pub(crate) fn is_awaited(pending: &Pending) -> bool {
    let Retry { tries, unrest, unreported, .. } = pending.retry;
    // A level only lacks names that were removed: what is new in it is told by itself.
    !removes(pending) && tries < GIVEN_UP && unrest == 0 && unreported.is_none() && !pending.is_only_looked_at()
}

/// Tells if it deletes what the node's links may lead to. A subtree may hold what a link waits for.
pub(super) fn removes(pending: &Pending) -> bool {
    pending.is_removal() || pending.scope == Scope::Level
}

impl WaitingLinks {
    /// Notes a link that was not sent with its batch.
    pub(super) fn left(&mut self, link: &RelPath) {
        self.0.insert(link.clone(), LinkWait::default());
    }

    /// Notes a link that is taken out of its batch. Returns the time until which it is left alone, if it is.
    pub(super) fn held_back(&mut self, link: &RelPath, behind: &Behind, now: Instant) -> Option<Instant> {
        let (text, to, until) = match behind {
            Behind::Targets(Leads { text, to }) => (text, &to[..], None),
            Behind::Report(Leads { text, .. }) => (text, &[][..], Some(now + REPORT_TIME)),
            Behind::Links => return None,
        };
        // Only what was reported can be waited for.
        let since = self.since(link, text).or(until.is_none().then_some(now));
        self.0.insert(link.clone(), LinkWait { to: to.to_vec(), text: text.clone(), since });
        until
    }

    /// Notes what may be a symlink that leads elsewhere now.
    pub(super) fn changed(&mut self, link: &RelPath, waiting: &Fold) {
        self.forget(link, waiting);
        self.0.entry(link.clone()).and_modify(|wait| wait.to.clear());
    }

    /// Forgets a link unless it waits: it is news when it comes again.
    pub(super) fn forget(&mut self, link: &RelPath, waiting: &Fold) {
        if waiting.get(link).is_none() {
            self.0.remove(link);
        }
    }

    /// The time since which a link has waited while it said the same.
    pub(super) fn since(&self, link: &RelPath, text: &[u8]) -> Option<Instant> {
        self.0.get(link).filter(|wait| wait.text == text)?.since
    }

    /// Tells if this is a symlink that waited, or waits.
    pub(super) fn know(&self, path: &RelPath) -> bool {
        self.0.contains_key(path)
    }

    /// Tells if symlinks wait.
    pub(super) fn wait(&self, waiting: &Fold) -> bool {
        self.0.keys().any(|link| waiting.get(link).is_some_and(|pending| !pending.is_removal()))
    }

    /// Tells if something of what a symlink of the newest batch leads to is not at the node, beside what is in that
    /// batch.
    pub(super) fn awaits(&self, link: &RelPath, leads: &Leads, waiting: &Fold, leases: &Leases) -> bool {
        let until = self.since(link, &leads.text);
        let search = TargetSearch { links: self, waiting, leases, but: leases.newest(), until };
        search.lacks_any_of(&leads.to, &mut BTreeSet::from([link.clone()]))
    }

    /// Tells if a path that waits is a symlink that waits for what it leads to.
    pub(super) fn is_behind(&self, path: &RelPath, waiting: &Fold, leases: &Leases) -> bool {
        let Some(LinkWait { to, since, .. }) = self.0.get(path) else { return false };
        let search = TargetSearch { links: self, waiting, leases, but: None, until: *since };
        search.lacks_any_of(to, &mut BTreeSet::from([path.clone()]))
    }
}

/// A search among all that is pending.
#[derive(Clone, Copy)]
struct TargetSearch<'a> {
    links: &'a WaitingLinks,
    waiting: &'a Fold,
    leases: &'a Leases,
    /// Leaves out this batch.
    but: Option<LeaseId>,
    /// Leaves out later changes.
    until: Option<Instant>,
}

impl TargetSearch<'_> {
    fn finds(self, pending: &Pending) -> bool {
        is_awaited(pending) && self.until.is_none_or(|until| pending.is_seen_until(until))
    }

    /// Links that wait for nothing but each other, in a circle, wait for nothing: `seen` are those that led here.
    fn lacks_any_of(self, to: &[RelPath], seen: &mut BTreeSet<RelPath>) -> bool {
        to.iter().any(|to| {
            let mut on_or_above = to.ancestors().chain([to.clone()]);
            on_or_above.any(|dir| self.waiting.get(&dir).is_some_and(|pending| self.lacks(&dir, pending, seen)))
                || self.waiting.entries_below(to).any(|(path, pending)| self.lacks(path, pending, seen))
                || self.leases.any_about(to, self.but, |pending| self.finds(pending))
        })
    }

    fn lacks(self, path: &RelPath, pending: &Pending, seen: &mut BTreeSet<RelPath>) -> bool {
        if !self.finds(pending) || seen.contains(path) {
            return false;
        }
        match self.links.0.get(path) {
            Some(LinkWait { to, .. }) if !to.is_empty() => {
                seen.insert(path.clone());
                self.lacks_any_of(to, seen)
            }
            _ => true,
        }
    }
}
