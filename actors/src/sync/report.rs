//! What the log says of batches and reconciles: one line each, and one more when paths begin to fail.

use std::time::Instant;

use slog::{KV, Logger, Record, Serializer, debug, info, warn};

use super::Delivery;
use crate::path::RelPath;
use crate::rsync::output::Tally;

/// Failed paths that are named in one line.
const NAMED_PATHS: usize = 3;

/// The fields of a line.
struct Summary<'a> {
    paths: usize,
    tally: &'a Tally,
    started: Instant,
}

impl KV for Summary<'_> {
    fn serialize(&self, _: &Record<'_>, to: &mut dyn Serializer) -> slog::Result {
        let Tally { sent, deleted, bytes, .. } = *self.tally;
        // Last first, as slog's own macros keep them.
        to.emit_u64("took_ms", u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))?;
        to.emit_u64("bytes", bytes)?;
        to.emit_u64("deleted", deleted)?;
        to.emit_u64("sent", sent)?;
        to.emit_usize("paths", self.paths)
    }
}

/// Says what became of `paths` listed or changed paths.
pub fn log_delivery(log: &Logger, what: &'static str, paths: usize, delivery: &Delivery, started: Instant) {
    let summary = Summary { paths, tally: &delivery.tally, started };
    // A try that did nothing but fail is of interest only to who looks for it.
    if delivery.tally.changes() == 0 && !delivery.blamed.is_empty() {
        debug!(log, "{}", what; summary);
    } else {
        info!(log, "{}", what; summary);
    }
}

/// Says which paths fail. What fails once was mostly changed, or gone, while it was sent: to be called when a path fails
/// again although nothing changed, and then no more.
pub fn log_failing(log: &Logger, paths: &[RelPath], delivery: &Delivery) {
    let Some(failure) = delivery.failure.as_ref().filter(|_| !paths.is_empty()) else { return };
    let first: Vec<String> = paths.iter().take(NAMED_PATHS).map(RelPath::to_string).collect();
    warn!(log, "some paths failed and are tried again"; "count" => paths.len(), "first" => first.join(", "),
        "why" => %failure);
}
