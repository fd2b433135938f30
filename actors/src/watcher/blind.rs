//! The directories that should be watched and are not, with what was not said of them yet. A plain data structure: when
//! they are tried again is the observer's business.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::watch_error::WatchError;

/// Directories of a kind that are remembered, some 100 bytes each; past it those that hold them stand for them.
const REMEMBERED: usize = 10_000;

/// Directories, none below another; each stands for all that is below it.
#[derive(Debug, Default)]
pub(crate) struct Tops(BTreeSet<RelPath>);

impl Tops {
    /// Adds a directory. Returns `true` if the list had none that stands for it.
    pub(crate) fn insert(&mut self, path: RelPath) -> bool {
        if self.covers(&path) {
            return false;
        }
        self.forget(&path);
        self.0.insert(path);
        while self.0.len() > REMEMBERED {
            let above: BTreeSet<_> = self.0.iter().map(|path| path.parent().unwrap_or_else(RelPath::root)).collect();
            // In order: what stands for others comes before them.
            self.0.clear();
            for path in above {
                if !self.covers(&path) {
                    self.0.insert(path);
                }
            }
        }
        true
    }

    /// Tells if the list has the directory, or one that stands for the directory.
    pub(crate) fn covers(&self, path: &RelPath) -> bool {
        let has = |dir: &RelPath| self.0.contains(dir);
        !self.0.is_empty() && (has(path) || has(&RelPath::root()) || path.ancestors().any(|dir| has(&dir)))
    }

    /// Takes out a directory and all below it. Returns `true` if there was one.
    pub(crate) fn forget(&mut self, dir: &RelPath) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let below: Vec<RelPath> = match dir.is_root() {
            true => self.0.iter().cloned().collect(),
            false => self.0.range(dir.below()).cloned().collect(),
        };
        for path in &below {
            self.0.remove(path);
        }
        self.0.remove(dir) || !below.is_empty()
    }

    /// A directory has another name.
    fn moved(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<RelPath> = self.0.iter().filter_map(|path| path.rebase(from, to)).collect();
        if !moved.is_empty() {
            self.forget(from);
            for path in moved {
                self.insert(path);
            }
        }
    }

    /// In order, so that what is above comes first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RelPath> {
        self.0.iter()
    }

    /// Counts the directories of the list.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The directories that are not watched.
#[derive(Debug, Default)]
pub(crate) struct Blind {
    /// They could not be watched or listed on their own account.
    refused: Tops,
    /// No watch was left for them.
    starved: Tops,
    /// Those of the refused that were not reported yet.
    reports: Vec<(RelPath, WatchError)>,
    /// Those of the starved that were tried since [`Blind::take_starved`].
    tried: Tops,
}

impl Blind {
    /// A directory could not be watched.
    pub(crate) fn add(&mut self, path: RelPath, error: WatchError) {
        if let WatchError::Limit { .. } = error {
            self.tried.insert(path.clone());
            self.starved.insert(path);
        } else if self.refused.insert(path.clone()) && !matches!(error, WatchError::Silent { .. }) {
            // Of what does not answer it is said once, and not of each directory.
            self.reports.push((path, error));
        }
    }

    /// Tells if every directory is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts the unwatched directories, each with all below it.
    pub(crate) fn len(&self) -> usize {
        self.refused.len() + self.starved.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RelPath> {
        self.refused.iter().chain(self.starved.iter())
    }

    /// The directories for which no watch was left.
    pub(crate) fn starved(&self) -> &Tops {
        &self.starved
    }

    /// Forgets a directory and all below it, to be tried again. Returns `true` if one of them was not watched.
    pub(crate) fn forget(&mut self, dir: &RelPath) -> bool {
        let refused = self.refused.forget(dir);
        self.starved.forget(dir) || refused
    }

    /// A directory was moved with all that is below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        self.refused.moved(from, to);
        self.starved.moved(from, to);
    }

    /// The refused directories that were not reported yet, each once until it is watched.
    pub(crate) fn take_reports(&mut self) -> Vec<(RelPath, WatchError)> {
        std::mem::take(&mut self.reports)
    }

    /// The starved directories that were tried since the last call.
    pub(crate) fn take_starved(&mut self) -> Tops {
        std::mem::take(&mut self.tried)
    }

    /// Forgets all of them, to be tried again. Those that are refused once more are no news: see
    /// [`Blind::end_retry`].
    pub(crate) fn begin_retry(&mut self) -> (Tops, Tops) {
        (std::mem::take(&mut self.refused), std::mem::take(&mut self.starved))
    }

    /// All were tried again; `before` had been refused.
    pub(crate) fn end_retry(&mut self, before: &Tops) {
        self.reports.retain(|(path, _)| !before.covers(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn names(tops: &Tops) -> Vec<String> {
        tops.iter().map(RelPath::to_string).collect()
    }

    fn limit() -> WatchError {
        WatchError::no_watch_left()
    }

    fn access() -> WatchError {
        WatchError::Access { path: "/x".into(), source: std::io::ErrorKind::PermissionDenied.into() }
    }

    #[test]
    fn a_directory_stands_for_what_is_below_it() {
        let mut tops = Tops::default();
        assert_eq!(["a/b", "a/b/c", "a-b", "a"].map(|path| tops.insert(rel(path))), [true, false, true, true]);
        assert_eq!(names(&tops), ["a", "a-b"]);
        assert_eq!(["a/x", "b", "a-b"].map(|path| tops.covers(&rel(path))), [true, false, true]);
    }

    #[test]
    fn very_many_are_remembered_by_the_directories_that_hold_them() {
        let mut tops = Tops::default();
        for n in 0..=REMEMBERED {
            tops.insert(rel(&format!("d{}/e/{n}", n % 3)));
        }
        assert_eq!(names(&tops), ["d0/e", "d1/e", "d2/e"]);
        for n in 0..=REMEMBERED {
            tops.insert(rel(&format!("top{n}")));
        }
        assert_eq!(names(&tops), ["."], "the root stands for everything");
        assert!(!tops.insert(rel("another")));
    }

    #[test]
    fn what_is_refused_again_is_no_news_and_what_starves_again_is() {
        let mut blind = Blind::default();
        blind.add(rel("secret"), access());
        blind.add(rel("new"), limit());
        assert_eq!((blind.take_reports().len(), blind.take_starved().len()), (1, 1));
        let (refused, _) = blind.begin_retry();
        assert!(blind.is_empty());
        for (path, error) in [("secret", access()), ("other", access()), ("new", limit())] {
            blind.add(rel(path), error);
        }
        blind.end_retry(&refused);
        let reports = blind.take_reports();
        assert_eq!(reports.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [rel("other")]);
        assert_eq!(names(&blind.take_starved()), ["new"]);
    }

    #[test]
    fn unwatched_directories_follow_the_moves_above_them() {
        let mut blind = Blind::default();
        blind.add(rel("a/x"), limit());
        blind.moved(&rel("a"), &rel("b"));
        assert_eq!(names(blind.starved()), ["b/x"]);
        assert!(!blind.forget(&rel("a")) && blind.forget(&rel("b")) && blind.is_empty());
    }
}
