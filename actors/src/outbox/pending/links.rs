//! Symlinks that wait until the node has what they lead to, and removals that wait for them: what goes may be what the
//! node's old link leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::outbox::lease::{Ended, LeaseId};
use crate::outbox::need::{Pending, Retry, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::transport::Lane;
use crate::transport::plan::Leads;

/// What failed so often is not waited for any more.
const GIVEN_UP: u32 = 2;
/// So long a link is left alone of which the target may not have been reported yet.
const REPORT_TIME: Duration = Duration::from_millis(20);

/// Why a path does not go with its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// It is a symlink, and something of what it leads to does not go with the batch.
    Targets(Leads),
    /// It is a symlink, and leads to something that changed a moment ago: what is new there may not have been reported.
    Report(Leads),
    /// It is to be deleted, and the node may have a link to it that goes later.
    Links,
}

/// The symlinks that wait, or are looked at now. What is said of one that does neither counts for nothing.
#[derive(Debug, Default)]
pub(super) struct Links {
    waits: BTreeMap<RelPath, Wait>,
    /// Whether the node was full: what is deleted makes room.
    needs_room: bool,
}

/// A symlink that waits.
#[derive(Debug, Default)]
struct Wait {
    /// Where it leads to; empty for one that is to be looked at again.
    to: Vec<RelPath>,
    /// What it said then.
    text: Vec<u8>,
    /// Since when. It waits for nothing that changed later, or a target that is written to without a pause would keep it
    /// waiting for ever. `None` if it waits for nothing but to be looked at.
    since: Option<Instant>,
}

impl Links {
    /// It was not sent with its batch.
    pub(super) fn left(&mut self, link: &RelPath) {
        self.waits.insert(link.clone(), Wait::default());
    }

    pub(super) fn needs_no_room(&mut self) {
        self.needs_room = false;
    }

    /// Since when it has waited while it said the same.
    fn since(&self, link: &RelPath, text: &[u8]) -> Option<Instant> {
        self.waits.get(link).filter(|wait| wait.text == text)?.since
    }

    fn wait(&mut self, link: &RelPath, to: &[RelPath], text: &[u8], now: Instant) {
        let since = self.since(link, text).or(Some(now));
        self.waits.insert(link.clone(), Wait { to: to.to_vec(), text: text.to_vec(), since });
    }
}

/// Whether this is something that a link is to wait for: it is to be sent, and has not failed again and again. Of what
/// changes without an end the node has what it was.
pub(crate) fn is_awaited(pending: &Pending) -> bool {
    let Retry { tries, unrest, unreported, .. } = pending.retry;
    // A level only lacks names that were removed: what is new in it is told by itself.
    !removes(pending) && tries < GIVEN_UP && unrest == 0 && unreported.is_none() && !pending.is_only_looked_at()
}

/// Whether it deletes what the node's links may lead to. A subtree may hold what a link waits for.
fn removes(pending: &Pending) -> bool {
    pending.is_removal() || pending.scope == Scope::Level
}

impl PendingSet {
    /// Something changed that may be a symlink: it may lead elsewhere.
    pub(super) fn link_changed(&mut self, path: &RelPath) {
        self.forget_link(path);
        self.links.waits.entry(path.clone()).and_modify(|wait| wait.to.clear());
    }

    /// What was a symlink that waited, and waits no longer, is news when it comes again.
    pub(super) fn forget_link(&mut self, path: &RelPath) {
        if self.waiting.get(path).is_none() {
            self.links.waits.remove(path);
        }
    }

    /// Notes that a batch sends symlinks.
    pub fn sends_links(&mut self, id: LeaseId) {
        self.leases.has_links(id);
    }

    /// Takes what must not go yet out of a batch.
    pub fn hold_back(&mut self, id: LeaseId, behind: &BTreeMap<RelPath, Behind>, now: Instant) {
        if behind.is_empty() {
            return;
        }
        let Ended { paths, origins, .. } = self.leases.withdraw(id, &behind.keys().cloned().collect());
        for (path, pending) in paths {
            let mut retry = pending.retry;
            match behind.get(&path) {
                Some(Behind::Targets(Leads { text, to })) => self.links.wait(&path, to, text, now),
                Some(Behind::Report(Leads { text, .. })) => {
                    retry.not_before = Some(now + REPORT_TIME);
                    self.links.wait(&path, &[], text, now);
                }
                Some(Behind::Links) | None => (),
            }
            self.waiting.put_back(path, Pending { retry, ..pending });
        }
        origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
    }

    /// The node is full. What waits to be deleted may be what makes room, whatever leads to it.
    pub(crate) fn make_room(&mut self) {
        self.links.needs_room = true;
    }

    /// Whether symlinks wait for which removals wait.
    pub(crate) fn links_wait(&self) -> bool {
        let waits = |link: &RelPath| self.waiting.get(link).is_some_and(|pending| !pending.is_removal());
        !self.links.needs_room && self.links.waits.keys().any(waits)
    }

    /// Whether removals need not wait for symlinks.
    pub(crate) fn needs_room(&self) -> bool {
        self.links.needs_room
    }

    /// Whether something of what a symlink of the batch that was leased last leads to is not at the node, beside what is in
    /// that batch.
    pub(crate) fn awaits(&self, link: &RelPath, Leads { text, to }: &Leads) -> bool {
        let search = Search { but: self.leases.newest(), until: self.links.since(link, text) };
        self.lacks_any_of(to, search, &mut BTreeSet::from([link.clone()]))
    }

    /// Since when a symlink has waited while it said the same, if it has.
    pub(crate) fn link_waits_since(&self, link: &RelPath, text: &[u8]) -> Option<Instant> {
        self.links.since(link, text)
    }

    /// Whether this is a symlink that waits for what it leads to, or a removal that waits for symlinks.
    pub(super) fn waits_for_links(&self, path: &RelPath, pending: &Pending, lane: Lane) -> bool {
        if removes(pending) {
            return self.links_wait() || self.leases.links_beside(lane);
        }
        let Some(Wait { to, since, .. }) = self.links.waits.get(path) else { return false };
        self.lacks_any_of(to, Search { but: None, until: *since }, &mut BTreeSet::from([path.clone()]))
    }

    /// Links that wait for nothing but each other, in a circle, wait for nothing: `seen` are those that led here.
    fn lacks_any_of(&self, to: &[RelPath], search: Search, seen: &mut BTreeSet<RelPath>) -> bool {
        to.iter().any(|to| {
            let mut on_or_above = to.ancestors().chain([to.clone()]);
            on_or_above
                .any(|dir| self.waiting.get(&dir).is_some_and(|pending| self.is_lacked(&dir, pending, search, seen)))
                || self.waiting.entries_below(to).any(|(path, pending)| self.is_lacked(path, pending, search, seen))
                || self.leases.any_about(to, search.but, |pending| search.finds(pending))
        })
    }

    fn is_lacked(&self, path: &RelPath, pending: &Pending, search: Search, seen: &mut BTreeSet<RelPath>) -> bool {
        if !search.finds(pending) || seen.contains(path) {
            return false;
        }
        match self.links.waits.get(path) {
            Some(Wait { to, .. }) if !to.is_empty() => {
                seen.insert(path.clone());
                self.lacks_any_of(to, search, seen)
            }
            _ => true,
        }
    }
}

/// What is looked for among what is pending.
#[derive(Debug, Clone, Copy)]
struct Search {
    /// Not what is in this batch.
    but: Option<LeaseId>,
    /// Only what changed until then.
    until: Option<Instant>,
}

impl Search {
    fn finds(self, pending: &Pending) -> bool {
        is_awaited(pending) && self.until.is_none_or(|until| pending.is_seen_until(until))
    }
}
