//! What the log says of batches and reconciles: one line each, and one more when paths begin to fail.

use std::collections::BTreeSet;
use std::time::Instant;

use slog::{KV, Logger, Record, Serializer, debug, info, warn};

use super::Delivery;
use crate::path::RelPath;
use crate::rsync::blame::Blame;
use crate::rsync::failure::Cause;
use crate::rsync::output::{Bytes, Tally};

/// Failed paths that are named in one line.
const NAMED_PATHS: usize = 3;
/// Failing paths that are remembered as told; past it all are told again.
const MAX_COMPLAINTS: usize = 1000;

/// The failing paths that were told and need not be told again at every try.
#[derive(Debug, Default)]
pub struct Complaints(BTreeSet<RelPath>);

impl Complaints {
    /// What of this was not told before. When rsync names no path, that is the root.
    fn news(&mut self, blamed: &Blame) -> Vec<RelPath> {
        if self.0.len() > MAX_COMPLAINTS {
            self.0.clear();
        }
        let paths = match blamed {
            Blame::Anything => &vec![RelPath::root()],
            Blame::Paths(paths) => paths,
        };
        paths.iter().filter(|path| self.0.insert((*path).clone())).cloned().collect()
    }
}

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
        to.emit_arguments("took", &format_args!("{} ms", self.started.elapsed().as_millis()))?;
        to.emit_arguments("bytes", &format_args!("{}", Bytes(bytes)))?;
        to.emit_u64("deleted", deleted)?;
        to.emit_u64("sent", sent)?;
        to.emit_usize("paths", self.paths)
    }
}

/// Says what became of `paths` listed or changed paths.
pub fn log_delivery(
    log: &Logger,
    what: &'static str,
    paths: usize,
    delivery: &Delivery,
    started: Instant,
    complaints: &mut Complaints,
) {
    let summary = Summary { paths, tally: &delivery.tally, started };
    // A try that did nothing but fail again is of interest only to who looks for it.
    if delivery.tally.changes() == 0 && !delivery.blamed.is_empty() {
        debug!(log, "{}", what; summary);
    } else {
        info!(log, "{}", what; summary);
    }
    let news = complaints.news(&delivery.blamed);
    // Vanished paths report themselves; the others are named.
    let failure = delivery.failure.as_ref().filter(|failure| failure.cause != Cause::Vanished);
    if let Some(failure) = failure.filter(|_| !news.is_empty()) {
        let first: Vec<String> = news.iter().take(NAMED_PATHS).map(RelPath::to_string).collect();
        warn!(log, "some paths failed and are tried again"; "count" => news.len(), "first" => first.join(", "),
            "why" => %failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_path_is_told_once() {
        let (mut complaints, path) = (Complaints::default(), |name: &str| RelPath::new(name.as_bytes()).unwrap());
        assert_eq!(complaints.news(&Blame::Paths(vec![path("a")])), [path("a")]);
        assert_eq!(complaints.news(&Blame::Paths(vec![path("a"), path("b")])), [path("b")]);
        assert_eq!((complaints.news(&Blame::Anything).len(), complaints.news(&Blame::Anything).len()), (1, 0));
    }
}
