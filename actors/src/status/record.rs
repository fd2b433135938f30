//! The record of how one node is served. It outlives the node's SyncActors, which write it; the supervisor reads
//! it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{DeliveryTimes, Event, Totals, UnixTime, Verified, unix};
use crate::bytes::Bytes;
use crate::health::Health;
use crate::path::RelPath;
use crate::transport::Tally;
use crate::transport::comparison::Comparison;
use crate::transport::failure::Failure;

/// Events of a node that are remembered.
const EVENTS: usize = 20;
/// Paths of a node of which is remembered when they were sent, some 60 bytes each.
const PATHS: usize = 2000;

/// The record of how one node is served. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeRecord(Arc<Mutex<NodeHistory>>);

/// The content of a [`NodeRecord`].
#[derive(Debug, Default)]
pub(crate) struct NodeHistory {
    /// The health of the node.
    pub health: Health,
    /// `true` while a reconcile runs.
    pub reconciles: bool,
    /// The reason why its reconcile is held, if it is.
    pub reconcile_held: Option<String>,
    /// The time of the last success of a run.
    pub last_success: Option<SystemTime>,
    /// The time at which a reconcile last succeeded as a whole.
    pub last_reconcile: Option<SystemTime>,
    /// The result of the last comparison by content.
    pub verified: Option<Verified>,
    /// The time at which one last ended, whatever its result.
    pub last_verify: Option<Instant>,
    /// The last error, even if it is over.
    pub last_error: Option<Event>,
    /// The work that was done for the node.
    pub totals: Totals,
    /// The times that changes took.
    pub delivery: DeliveryTimes,
    /// The latest events, oldest first.
    pub recent: VecDeque<Event>,
    sent: Sent,
}

/// The times at which paths were last sent, for the latest of them.
#[derive(Debug, Default)]
struct Sent {
    at: HashMap<RelPath, Sending>,
    /// The paths by the number of their sending.
    order: BTreeMap<u64, RelPath>,
    last: u64,
}

/// The sending of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sending {
    number: u64,
    at: UnixTime,
    /// `true` if all below it was compared, too.
    whole: bool,
}

/// The purpose of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunKind {
    /// The delivery of changes.
    Batch,
    /// The comparison of the whole tree.
    Reconcile,
}

impl NodeRecord {
    /// Reads what is recorded. Whoever holds it locks nothing else; it may be read while the outbox is locked.
    pub(crate) fn read(&self) -> MutexGuard<'_, NodeHistory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the health of the node.
    pub(crate) fn health(&self, health: &Health) {
        self.read().health.clone_from(health);
    }

    /// A reconcile begins or ends.
    pub(crate) fn reconciles(&self, runs: bool) {
        self.read().reconciles = runs;
    }

    /// RunKind was done. `failure` says why not all of it.
    pub(crate) fn done(&self, work: RunKind, tally: &Tally, failure: Option<&Failure>) {
        let mut ledger = self.read();
        if work == RunKind::Reconcile {
            ledger.reconcile_held = None;
        }
        if let Some(failure) = failure {
            ledger.complain(failure.to_string());
            // A try that did nothing but fail.
            if tally.changes() == 0 {
                return;
            }
        }
        let now = SystemTime::now();
        ledger.last_success = Some(now);
        let Totals { batches, reconciles, sent, deleted, bytes, .. } = &mut ledger.totals;
        match work {
            RunKind::Batch => *batches += 1,
            RunKind::Reconcile => *reconciles += u64::from(failure.is_none()),
        }
        (*sent, *deleted, *bytes) = (*sent + tally.sent, *deleted + tally.deleted, *bytes + tally.bytes);
        if work == RunKind::Reconcile && failure.is_none() {
            ledger.last_reconcile = Some(now);
            ledger.verified.iter_mut().for_each(|verified| verified.reconciled_since = true);
        }
        let what = match work {
            RunKind::Batch => "mirrored",
            RunKind::Reconcile => "reconciled",
        };
        if tally.changes() > 0 || work == RunKind::Reconcile {
            let text = format!("{what}: {} sent, {} deleted, {}", tally.sent, tally.deleted, Bytes(tally.bytes));
            ledger.add(Event { at: unix(now), text, is_error: false });
        }
    }

    /// Paths of a batch are at the node, which took so long each.
    pub(crate) fn delivered(&self, took: impl Iterator<Item = Duration>) {
        let mut ledger = self.read();
        took.for_each(|took| ledger.delivery.add(took));
    }

    /// The node was compared by content, from `started` on; or it could not be.
    pub(crate) fn verified(&self, result: Result<&Comparison, &Failure>, started: Instant) {
        let mut ledger = self.read();
        let now = unix(SystemTime::now());
        ledger.last_verify = Some(Instant::now());
        match result {
            Ok(comparison) => {
                let drift = comparison.differ() as u64;
                ledger.verified = Some(Verified {
                    at: now,
                    took_seconds: started.elapsed().as_secs_f64(),
                    drift,
                    complete: comparison.is_complete(),
                    reconciled_since: false,
                });
                let found = match drift {
                    0 => "nothing differs".to_owned(),
                    1 => "1 entry differs".to_owned(),
                    more => format!("{more} entries differ"),
                };
                ledger.add(Event { at: now, text: format!("verified: {found}"), is_error: drift > 0 });
            }
            Err(why) => ledger.complain(format!("not verified: {why}")),
        }
    }

    /// These paths are at the node as they are now, each perhaps with all that is below it.
    pub(crate) fn sent<'p>(&self, paths: impl IntoIterator<Item = (&'p RelPath, bool)>) {
        let now = unix(SystemTime::now());
        let Sent { at, order, last } = &mut self.read().sent;
        for (path, whole) in paths {
            *last += 1;
            let before = at.insert(path.clone(), Sending { number: *last, at: now, whole });
            before.and_then(|before| order.remove(&before.number));
            order.insert(*last, path.clone());
            if order.len() > PATHS {
                order.pop_first().and_then(|(_, path)| at.remove(&path));
            }
        }
    }

    /// The time at which a path was last sent, or compared by itself or with a directory above it, if that is among the
    /// latest.
    pub(crate) fn last_sent(&self, path: &RelPath) -> Option<UnixTime> {
        let ledger = self.read();
        ledger.sent.latest(path).max(ledger.last_reconcile.map(unix))
    }

    /// Returns true if it was sent since then, as [`NodeRecord::last_sent`] knows it, but not by a reconcile.
    pub(crate) fn was_sent_since(&self, path: &RelPath, since: UnixTime) -> bool {
        self.read().sent.latest(path).is_some_and(|at| at >= since)
    }

    /// A run failed as a whole.
    pub(crate) fn failed(&self, failure: &Failure) {
        let mut ledger = self.read();
        ledger.totals.failures += 1;
        ledger.complain(failure.to_string());
    }

    /// The reconcile would delete too much.
    pub(crate) fn reconcile_held(&self, why: &Failure) {
        let mut ledger = self.read();
        ledger.reconcile_held = Some(why.said.clone());
        ledger.complain(why.to_string());
    }

    /// The SyncActor ended without being asked.
    pub(crate) fn died(&self, panicked: bool) {
        let mut ledger = self.read();
        ledger.totals.restarts += 1;
        // One that stopped has told why: rsync could not be started.
        if panicked {
            ledger.complain("sync actor restarts: it panicked".to_owned());
        }
    }
}

impl Sent {
    fn latest(&self, path: &RelPath) -> Option<UnixTime> {
        let above = path.ancestors().filter_map(|dir| self.at.get(&dir).filter(|sending| sending.whole));
        above.chain(self.at.get(path)).map(|sending| sending.at).max()
    }
}

impl NodeHistory {
    fn complain(&mut self, text: String) {
        let event = Event { at: unix(SystemTime::now()), text, is_error: true };
        self.last_error = Some(event.clone());
        // A node that is down for a day says the same a thousand times.
        match self.recent.back_mut() {
            Some(last) if last.is_error && last.text == event.text => *last = event,
            _ => self.add(event),
        }
    }

    fn add(&mut self, event: Event) {
        self.recent.push_back(event);
        if self.recent.len() > EVENTS {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::comparison::Difference;
    use crate::transport::comparison::{Link, Rewritten};
    use crate::transport::failure::Cause;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn the_latest_paths_are_remembered_and_no_more() {
        let record = NodeRecord::default();
        record.sent([(&rel("first"), false), (&rel("again"), false)]);
        for number in 0..PATHS - 1 {
            record.sent([(&rel(&format!("f{number}")), false)]);
        }
        record.sent([(&rel("again"), false)]);
        assert!(record.last_sent(&rel("first")).is_none());
        assert!(record.last_sent(&rel("again")).is_some(), "it was sent again");
        let history = record.read();
        assert_eq!((history.sent.order.len(), history.sent.at.len()), (PATHS, PATHS));
    }

    #[test]
    fn a_path_was_sent_with_the_directory_above_it_if_that_was_sent_whole() {
        let record = NodeRecord::default();
        record.sent([(&rel("whole"), true), (&rel("alone"), false)]);
        for (path, expected) in [("whole/x/y", true), ("whole", true), ("alone", true), ("alone/x", false)] {
            assert_eq!(record.last_sent(&rel(path)).is_some(), expected, "{path}");
            assert_eq!(record.was_sent_since(&rel(path), 1), expected, "{path}");
        }
        record.done(RunKind::Reconcile, &Tally::default(), None);
        assert!(record.last_sent(&rel("alone/x")).is_some());
        assert!(!record.was_sent_since(&rel("alone/x"), 1));
    }

    #[test]
    fn an_error_that_is_repeated_is_one_event() {
        let record = NodeRecord::default();
        let failure = Failure::new(Cause::Unreachable, "refused");
        record.failed(&failure);
        record.failed(&failure);
        record.done(RunKind::Batch, &Tally { sent: 1, bytes: 5, ..Tally::default() }, None);
        record.failed(&failure);
        let ledger = record.read();
        assert_eq!((ledger.recent.len(), ledger.totals.failures, ledger.totals.batches), (3, 3, 1));
        assert!(ledger.last_error.as_ref().is_some_and(|error| error.text.contains("refused")));
    }

    #[test]
    fn drift_is_remembered_until_the_next_verification_and_told_as_older_than_a_reconcile() {
        let (record, now) = (NodeRecord::default(), Instant::now());
        let differing = [(rel("f"), Difference::Content)].into();
        record.verified(Ok(&Comparison { differing, ..Comparison::default() }), now);
        let found = || record.read().verified.map(|verified| (verified.drift, verified.reconciled_since));
        assert_eq!(found(), Some((1, false)));
        let failure = Failure::new(Cause::Unreachable, "refused");
        record.verified(Err(&failure), now);
        record.done(RunKind::Reconcile, &Tally::default(), Some(&failure));
        assert_eq!(found(), Some((1, false)));
        record.done(RunKind::Reconcile, &Tally::default(), None);
        assert_eq!(found(), Some((1, true)));
        record.verified(Ok(&Comparison::default()), now);
        assert_eq!(found(), Some((0, false)));
        let rewritten = Rewritten { link: Link { path: rel("l"), target: "/x".into() }, there: "x".into() };
        record.verified(Ok(&Comparison { rewritten: vec![rewritten], ..Comparison::default() }), now);
        assert_eq!(found(), Some((1, false)), "a symlink that the node rewrites differs, too");
    }

    #[test]
    fn a_reconcile_that_is_done_is_held_no_more() {
        let record = NodeRecord::default();
        record.reconcile_held(&Failure::new(Cause::TooManyDeletions, "too many"));
        assert!(record.read().reconcile_held.is_some());
        record.done(RunKind::Batch, &Tally::default(), None);
        assert!(record.read().reconcile_held.is_some());
        let one_failed = Failure::new(Cause::Partial, "permission denied");
        record.done(RunKind::Reconcile, &Tally::default(), Some(&one_failed));
        assert!(record.read().reconcile_held.is_none());
    }
}
