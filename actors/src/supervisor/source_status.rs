//! The source in the status: if it is there, how much of it is watched, and how often track of it was lost.

use std::time::SystemTime;

use crate::change::Reason;
use crate::root::Root;
use crate::root::reach::Silent;
use crate::status::{SourceStatus, Unanswered, unix};
use crate::watch_error::watch_limit;
use crate::watcher::coverage::{View, WatchCoverage};

/// The source, and what has been counted of it since the daemon started.
pub(super) struct CountedSource {
    root: Root,
    started_at: SystemTime,
    overflows: u64,
    rescans: u64,
}

impl CountedSource {
    /// Counts from now on.
    pub(super) fn new(root: Root) -> Self {
        CountedSource { root, started_at: SystemTime::now(), overflows: 0, rescans: 0 }
    }

    /// The root of the source.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The time at which the daemon started.
    pub(super) fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// Counts a directory of which the watcher lost track.
    pub(super) fn lost_track(&mut self, reason: Reason) {
        // What is not watched is compared again and again: nothing is lost by that.
        self.rescans += u64::from(!matches!(reason, Reason::WatchLimit | Reason::Answers));
        self.overflows += u64::from(reason == Reason::Overflow);
    }

    /// The fault because of which nothing is sent, if there is one.
    pub(super) fn trouble(&self) -> Option<String> {
        self.root.check().err().map(|why| why.to_string())
    }

    /// The status of the source, which is watched so far.
    pub(super) fn status(&self, coverage: &WatchCoverage) -> SourceStatus {
        let View { watched, unwatched, first } = coverage.read();
        SourceStatus {
            // Where nothing changes, nobody else has looked.
            trouble: self.trouble(),
            watched_directories: watched,
            watch_limit: watch_limit().map(|limit| limit.value),
            unwatched_directories: unwatched,
            unwatched: first.iter().map(ToString::to_string).collect(),
            silent: self.root.reach().silent().into_iter().map(unanswered).collect(),
            overflows: self.overflows,
            rescans: self.rescans,
            upstream: None,
        }
    }
}

fn unanswered(Silent { path, kind, since }: Silent) -> Unanswered {
    Unanswered { path: path.to_string(), kind, since: unix(since) }
}
