//! The log of batches and reconciles: one line each, and one more when paths begin to fail.

use std::time::Instant;

use slog::{KV, Logger, Record, Serializer, debug, info, warn};

use crate::path::RelPath;
use crate::transport::Delivery;
use crate::transport::Tally;
use crate::transport::blame::Blame;
use crate::transport::comparison::Comparison;
use crate::transport::comparison::Rewritten;
use crate::transport::failure::Cause;
use crate::transport::unset::Unset;

/// Failed paths that are named in one line.
const NAMED_PATHS: usize = 3;

/// The fields of a line.
struct Summary<'a> {
    paths: usize,
    tally: &'a Tally,
    /// Paths that failed, where they are counted.
    failed: Option<usize>,
    started: Instant,
}

impl KV for Summary<'_> {
    fn serialize(&self, _: &Record<'_>, to: &mut dyn Serializer) -> slog::Result {
        let Tally { sent, deleted, bytes, .. } = *self.tally;
        // Last first, as slog's own macros keep them.
        to.emit_u64("took_ms", u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))?;
        to.emit_u64("bytes", bytes)?;
        to.emit_u64("deleted", deleted)?;
        if let Some(failed) = self.failed.filter(|&failed| failed > 0) {
            to.emit_usize("failed", failed)?;
        }
        to.emit_u64("sent", sent)?;
        to.emit_usize("paths", self.paths)
    }
}

/// Says what became of the changed paths of a batch.
pub(super) fn log_batch(log: &Logger, paths: usize, delivery: &Delivery, started: Instant) {
    log_summary(log, "mirrored", delivery, Summary { paths, tally: &delivery.tally, failed: None, started });
}

/// Says that a batch has made the mirror. At the first start that is no surprise.
pub(super) fn log_new_mirror(log: &Logger, is_surprise: bool) {
    let what = "the mirror did not exist; sending everything";
    if is_surprise { warn!(log, "{}", what) } else { info!(log, "{}", what) }
}

/// Says what a comparison of the whole tree did.
pub fn log_reconcile(log: &Logger, delivery: &Delivery, started: Instant) {
    let (what, failed) = match &delivery.blamed {
        Blame::Paths(paths) if paths.is_empty() => ("reconciled", None),
        Blame::Paths(paths) => {
            let failed = paths.iter().filter(|path| !delivery.untried.contains(path)).count();
            ("reconciled in part", Some(failed))
        }
        Blame::Anything => ("reconciled in part", None),
    };
    let paths = delivery.tally.changes();
    log_summary(log, what, delivery, Summary { paths, tally: &delivery.tally, failed, started });
}

fn log_summary(log: &Logger, what: &'static str, delivery: &Delivery, summary: Summary<'_>) {
    // A try that did nothing but fail is of interest only to who looks for it.
    if delivery.tally.changes() == 0 && !delivery.blamed.is_empty() {
        debug!(log, "{}", what; summary);
    } else {
        info!(log, "{}", what; summary);
    }
}

/// The cure for a node that differs.
const CURE: &str = "inosync once compares everything, as a restart or resync_every does; a file of the same size and time \
    it takes for equal: touch that in the source";

/// Says how a node compares with the source. `tells`: whether it is said here which entries differ.
pub fn log_verified(log: &Logger, comparison: &Comparison, started: Instant, tells: bool) {
    let Comparison { differing, unsettled, unseen, blamed, failure, rewritten, kept } = comparison;
    let took = format!("{} ms", started.elapsed().as_millis());
    if tells && !differing.is_empty() {
        warn!(log, "node differs from the source"; "count" => differing.len(), "first" => first_of(differing.keys()),
            "changing" => unsettled, "took" => took, "cure" => CURE);
    } else {
        info!(log, "verified"; "differ" => comparison.differ(), "changing" => unsettled, "took" => took);
    }
    if *kept > 0 {
        info!(log, "the node keeps what the source does not have (delete)"; "count" => kept);
    }
    if *unseen > 0 {
        warn!(log, "too many entries differ for a second look: the rest is not counted"; "count" => unseen);
    }
    if let Some(first) = rewritten.first() {
        warn!(log, "symlinks are not what they are in the source"; "count" => rewritten.len(),
            "first" => %first.link.path, "why" => %first, "cure" => Rewritten::CURE);
    }
    if let Some(why) = failure {
        let first = match blamed {
            Blame::Paths(paths) => first_of(paths.iter()),
            Blame::Anything => RelPath::root().to_string(),
        };
        warn!(log, "some paths could not be compared"; "first" => first, "why" => %why);
    }
}

/// Says which paths fail, and that they are tried again. What fails once was mostly changed, or gone, while it was
/// sent: to be called when a path fails again although nothing changed, and then no more.
pub(super) fn log_failing(log: &Logger, paths: &[RelPath], delivery: &Delivery) {
    let Some(failure) = delivery.failure.as_ref().filter(|_| !paths.is_empty()) else { return };
    let count = paths.len();
    let first = first_of(paths.iter());
    // A tree in which much comes and goes is no trouble.
    if failure.cause == Cause::Vanished {
        return info!(log, "some paths failed and are tried again"; "count" => count, "first" => first, "why" => %failure);
    }
    warn!(log, "some paths failed and are tried again"; "count" => count, "first" => first, "why" => %failure);
}

/// Says what arrived without some of its attributes.
pub(super) fn log_unset(log: &Logger, unset: &Unset) {
    let Some(why) = &unset.why else { return };
    let count = format!("{}{}", unset.paths.len(), if unset.more { " and more" } else { "" });
    warn!(log, "some paths arrived without all of their attributes"; "count" => count,
        "first" => first_of(unset.paths.iter()), "why" => %why);
}

/// Says what a command that is about to end could not send.
pub fn log_failed(log: &Logger, delivery: &Delivery) {
    log_unset(log, &delivery.unset);
    let Some(failure) = &delivery.failure else { return };
    match &delivery.blamed {
        Blame::Paths(paths) => {
            warn!(log, "some paths failed"; "count" => paths.len(), "first" => first_of(paths.iter()), "why" => %failure);
        }
        Blame::Anything => warn!(log, "some paths failed"; "first" => %RelPath::root(), "why" => %failure),
    }
}

fn first_of<'a>(paths: impl Iterator<Item = &'a RelPath>) -> String {
    paths.take(NAMED_PATHS).map(RelPath::to_string).collect::<Vec<_>>().join(", ")
}
