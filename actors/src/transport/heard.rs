//! The paths that the rsync runs of one node reported as changed, kept until the hooks take them.
//!
//! The reports of a failed run count too: the run may have changed the path, and the next run then has nothing to
//! report. But rsync reports a path before it changes it. For a batch this does no harm, as failed paths stay pending.
//! For a comparison of the whole tree the failed paths are pending only once one has succeeded, so its reports are kept
//! back until then.

mod room;

pub(crate) use self::room::Room;
#[cfg(test)]
pub(crate) use self::room::{BYTES, PATHS};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::path::RelPath;
use crate::transport::rename::is_detour;

/// The reported changes of one node. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Reports>>);

#[derive(Debug, Default)]
struct Reports {
    /// `true` if some hook wants the reports.
    wanted: bool,
    /// Reports that count at once.
    sure: Kept,
    /// Reports of comparisons of the whole tree, kept back until one succeeds.
    unsure: Kept,
}

/// A list of reports within its limits.
#[derive(Debug, Default)]
struct Kept {
    news: ChangedPaths,
    room: Room,
}

/// The paths that changed at a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangedPaths {
    /// The paths, each with the start of the last run that changed it. Everything the daemon saw of a path before that
    /// start was part of the run.
    pub paths: BTreeMap<RelPath, Instant>,
    /// Start of the last run whose paths are not all listed; `None` if the list is complete.
    pub cut: Option<Instant>,
}

/// Collects the reports of one run. The reports take effect when the listener is dropped, at the end of the run.
#[derive(Debug)]
pub(crate) struct Listener {
    needs_proof: bool,
    heard: Heard,
    since: Instant,
    reports: Kept,
}

impl Heard {
    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches the collection of reports on or off. Switching it off drops the reports.
    pub(crate) fn want(&self, wanted: bool) {
        let mut inner = self.reports();
        inner.wanted = wanted;
        if !wanted {
            (inner.sure, inner.unsure) = Default::default();
        }
    }

    /// Listens to a run that begins now; `None` if reports are not collected.
    pub(crate) fn listen(&self) -> Option<Listener> {
        let wanted = self.reports().wanted;
        let (since, reports) = (Instant::now(), Kept::default());
        wanted.then(|| Listener { needs_proof: false, heard: self.clone(), since, reports })
    }

    /// Counts the reports that were kept back, as a comparison of the whole tree has succeeded at `at`. A path that
    /// failed in it is pending, and `is_left_out` leaves out those that are not.
    pub(crate) fn prove(&self, at: Instant, is_left_out: impl Fn(&RelPath) -> bool) {
        let Reports { sure, unsure, .. } = &mut *self.reports();
        let mut news = std::mem::take(unsure).news;
        news.paths.retain(|path, _| !is_left_out(path));
        sure.add_all(news, at);
    }

    /// Takes all reports since the last call.
    pub(crate) fn take(&self) -> ChangedPaths {
        std::mem::take(&mut self.reports().sure).news
    }
}

impl Listener {
    /// Adds a path that the run changed. Temporary names of inosync are left out.
    pub(crate) fn add(&mut self, path: RelPath) {
        if !is_detour(&path) {
            self.reports.add(path, self.since);
        }
    }

    /// Keeps the reports back until [`Heard::prove`].
    pub(crate) fn needs_proof(mut self) -> Self {
        self.needs_proof = true;
        self
    }

    /// Tells if some reports did not fit.
    pub(crate) fn is_cut(&self) -> bool {
        self.reports.news.cut.is_some()
    }
}

impl Kept {
    fn add(&mut self, path: RelPath, since: Instant) {
        if let Some(last) = self.news.paths.get_mut(&path) {
            *last = since.max(*last);
        } else if self.room.take(&path) {
            self.news.paths.insert(path, since);
        } else {
            self.cut(since);
        }
    }

    fn cut(&mut self, since: Instant) {
        self.news.cut = self.news.cut.max(Some(since));
    }

    /// Adds reports, as of this time.
    fn add_all(&mut self, news: ChangedPaths, since: Instant) {
        news.paths.into_keys().for_each(|path| self.add(path, since));
        news.cut.iter().for_each(|_| self.cut(since));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Reports { wanted, sure, unsure } = &mut *self.heard.reports();
        let to = if self.needs_proof { unsure } else { sure };
        if *wanted {
            to.add_all(std::mem::take(&mut self.reports.news), self.since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rename::detour;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_run_changed_counts_at_its_end_and_only_where_somebody_is_to_be_told() {
        let heard = Heard::default();
        assert!(heard.listen().is_none());
        heard.want(true);
        let (mut first, mut second) = (heard.listen().unwrap(), heard.listen().unwrap());
        let last = second.since;
        first.add(rel("a"));
        second.add(rel("a"));
        second.add(rel("b"));
        second.add(detour(&rel("b")));
        assert_eq!(heard.take(), ChangedPaths::default());
        drop((second, first));
        let news = heard.take();
        assert_eq!(news, ChangedPaths { paths: [(rel("a"), last), (rel("b"), last)].into(), cut: None });
        assert_eq!(heard.take(), ChangedPaths::default());
        let mut third = heard.listen().unwrap();
        third.add(rel("c"));
        heard.want(false);
        drop(third);
        assert_eq!(heard.take(), ChangedPaths::default());
    }

    #[test]
    fn what_there_is_no_room_for_is_told_as_such() {
        let heard = Heard::default();
        heard.want(true);
        heard.reports().sure.room = Room::of(1);
        let mut run = heard.listen().unwrap();
        let since = run.since;
        ["a", "b"].iter().for_each(|path| run.add(rel(path)));
        drop(run);
        assert_eq!(heard.take(), ChangedPaths { paths: [(rel("a"), since)].into(), cut: Some(since) });
        let mut run = heard.listen().unwrap();
        run.reports.room = Room::of(0);
        run.add(rel("a"));
        assert!(run.is_cut());
        drop(run);
        assert!(heard.take().cut.is_some());
    }

    #[test]
    fn what_needs_proof_counts_as_of_the_comparison_that_succeeds_without_what_that_leaves_out() {
        let heard = Heard::default();
        heard.want(true);
        let mut first = heard.listen().unwrap().needs_proof();
        first.add(rel("a"));
        drop(first);
        let mut beside = heard.listen().unwrap();
        beside.add(rel("b"));
        drop(beside);
        assert_eq!(heard.take().paths.into_keys().collect::<Vec<_>>(), [rel("b")]);
        let mut second = heard.listen().unwrap().needs_proof();
        second.add(rel("c"));
        second.add(RelPath::root());
        drop(second);
        let now = Instant::now();
        heard.prove(now, RelPath::is_root);
        assert_eq!(heard.take(), ChangedPaths { paths: [(rel("a"), now), (rel("c"), now)].into(), cut: None });
        heard.prove(now, |_| false);
        assert_eq!(heard.take(), ChangedPaths::default());
    }
}
