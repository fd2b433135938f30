//! Audits: what the watches should be and are not is a defect, unless an event tells of it in the next moments.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Findings;
use super::unwatched::first;
use crate::messages::Unseen;
use crate::path::RelPath;
use crate::watcher::ledger::{Ledger, WatchDifference};

/// The event of a directory that an audit found may still be queued; after this time it is not.
const LATE_EVENTS: Duration = Duration::from_secs(2);

/// The findings of the last audit that may still be explained.
#[derive(Default)]
pub(super) struct AuditResults {
    /// `None` if nobody compares with the kernel.
    ledger: Option<Ledger>,
    /// Directories that an audit found and no event explained yet, and the time from which this is a defect.
    doubts: Option<(BTreeSet<RelPath>, Instant)>,
    /// Watches that an audit and the kernel do not agree on, and the time of the second count.
    miscounted: Option<(WatchDifference, Instant)>,
}

impl AuditResults {
    /// Compares with this in each audit.
    pub(super) fn use_ledger(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }

    /// The time of the next of these findings to be told.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let doubts = self.doubts.as_ref().map(|(_, until)| *until);
        let miscounted = self.miscounted.as_ref().map(|(_, until)| *until);
        doubts.into_iter().chain(miscounted).min()
    }

    /// Notes that an event told of this directory.
    pub(super) fn explained(&mut self, path: &RelPath) {
        if let Some((paths, _)) = &mut self.doubts {
            paths.retain(|doubt| doubt != path && !doubt.is_below(path));
        }
    }

    /// Forgets the directories that no event explained: track was lost, so that they are expected.
    pub(super) fn excuse(&mut self) {
        self.doubts = None;
    }

    /// Notes the directories that were found without a watch, and compares the known watches with the kernel's.
    pub(super) fn made(&mut self, unwatched: Vec<RelPath>, known: &BTreeSet<i32>, now: Instant) {
        let until = now.max(Instant::now()) + LATE_EVENTS;
        let miscount = self.miscount(known);
        if !miscount.is_empty() {
            self.miscounted = Some((miscount, until));
        }
        if !unwatched.is_empty() {
            let (paths, at) = self.doubts.get_or_insert_with(|| (BTreeSet::new(), until));
            paths.extend(unwatched);
            *at = until;
        }
    }

    /// Reports the directories whose time is up.
    pub(super) fn tell_unexplained(&mut self, found: &mut Findings, now: Instant) {
        if let Some((doubts, _)) = self.doubts.take_if(|(_, until)| now >= *until)
            && !doubts.is_empty()
        {
            found.unseen.push(Unseen::Found { count: doubts.len(), first: first(&doubts), expected: false });
        }
    }

    /// Counts the watches again when that is due. A watch that differs twice is a defect, since all events have come by now.
    pub(super) fn count_again(
        &mut self,
        known: impl FnOnce() -> BTreeSet<i32>,
        now: Instant,
    ) -> Option<WatchDifference> {
        let (before, _) = self.miscounted.take_if(|(_, until)| now >= *until)?;
        Some(before.and(&self.miscount(&known()))).filter(|difference| !difference.is_empty())
    }

    /// Gives up watches that nobody knows of.
    pub(super) fn give_up(&self, surplus: &BTreeSet<i32>) {
        self.ledger.iter().for_each(|ledger| ledger.give_up(surplus));
    }

    fn miscount(&self, known: &BTreeSet<i32>) -> WatchDifference {
        // Where the kernel does not tell, nothing is known to be wrong.
        self.ledger.as_ref().and_then(|ledger| ledger.difference(known).ok()).unwrap_or_default()
    }
}
