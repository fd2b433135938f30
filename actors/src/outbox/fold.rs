//! Paths that wait, folded: a repeated path merges, a subtree swallows what is below it, and past a cap deep paths
//! collapse to the subtrees above them. A plain data structure without clock, disk or actor.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use crate::outbox::need::{Age, Pending, Scope};
use crate::path::RelPath;

/// Paths that may wait for one node, some 150 bytes each; past it they collapse to subtrees.
pub(super) const CAP: usize = 20_000;

/// The paths that wait, by name.
#[derive(Debug)]
pub(crate) struct Fold {
    paths: BTreeMap<RelPath, Pending>,
    cap: usize,
    /// The time at which the paths that are inserted were seen.
    now: Option<Instant>,
    /// So much has waited that only the whole tree covers it, as old as the oldest of it.
    everything: Option<Age>,
}

impl Fold {
    /// An empty fold for up to `cap` paths; past that they collapse.
    pub(crate) fn new(cap: usize) -> Self {
        Fold { paths: BTreeMap::new(), cap, now: None, everything: None }
    }

    /// Dates the paths that are inserted from now on.
    pub(crate) fn at(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// The number of paths that fit before they collapse.
    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// The number of paths.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Tells if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.is_everything()
    }

    /// The paths in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RelPath, &Pending)> {
        self.paths.iter()
    }

    /// The state of this very path.
    pub(crate) fn get(&self, path: &RelPath) -> Option<&Pending> {
        self.paths.get(path)
    }

    /// Takes one path out.
    pub(crate) fn take(&mut self, path: &RelPath) -> Option<Pending> {
        self.paths.remove(path)
    }

    /// Makes the whole tree wait for a comparison.
    pub(crate) fn fill(&mut self) {
        self.everything = Some(Age::oldest(self.paths.values()));
        self.paths.clear();
    }

    /// Tells if only the whole tree covers all that waits.
    pub(crate) fn is_everything(&self) -> bool {
        self.everything.is_some()
    }

    /// Returns once the age of all that waited, if only the whole tree covers it.
    pub(crate) fn take_everything(&mut self) -> Option<Age> {
        self.everything.take()
    }

    /// Changes the state of one path that waits.
    pub(crate) fn change(&mut self, path: &RelPath, change: impl FnOnce(&mut Pending)) {
        if let Some(pending) = self.paths.get_mut(path) {
            change(pending);
        }
    }

    /// Changes the state of all paths that wait.
    pub(crate) fn amend(&mut self, amend: impl FnMut(&mut Pending)) {
        self.paths.values_mut().for_each(amend);
    }

    /// Drops the paths that `keep` refuses.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&RelPath, &Pending) -> bool) {
        self.paths.retain(|path, pending| keep(path, pending));
    }

    /// Adds a path that changed. An older state of it merges with the news.
    pub(crate) fn insert(&mut self, path: RelPath, mut news: Pending) {
        if self.is_everything() {
            return;
        }
        news.age.begin(self.now);
        if let Some(above) = self.covering(&path).filter(|_| !news.retry.settles) {
            if let Some(subtree) = self.paths.get_mut(&above) {
                subtree.swallow(&news);
            }
            return;
        }
        if news.scope == Scope::Subtree {
            for covered in self.below(&path) {
                if self.paths.get(&covered).is_some_and(|pending| !pending.retry.settles) {
                    self.paths.remove(&covered).inspect(|covered| news.stand_for(covered));
                }
            }
        }
        let merged = self.paths.get(&path).map_or(news, |old| old.followed_by(news));
        self.paths.insert(path, merged);
        if self.paths.len() > self.cap {
            self.collapse();
        }
    }

    /// Puts back a path that was taken out: all reports of it since then are newer.
    pub(crate) fn put_back(&mut self, path: RelPath, old: Pending) {
        let Some(news) = self.paths.remove(&path) else {
            return if path.ancestors().all(|dir| self.paths.get(&dir).is_none_or(|p| !p.is_removal())) {
                self.insert(path, old);
            };
        };
        self.insert(path, old.followed_by(news));
    }

    /// Drops everything strictly below a directory: it was removed, or is hidden.
    pub(crate) fn drop_below(&mut self, dir: &RelPath) {
        for path in self.below(dir) {
            self.paths.remove(&path);
        }
    }

    /// Adds a directory that changed with everything strictly below it: the directory is as old as the paths that
    /// waited there.
    pub(crate) fn insert_over(&mut self, dir: RelPath, mut news: Pending) {
        news.age.begin(self.now);
        for path in self.below(&dir) {
            self.paths.remove(&path).inspect(|below| news.stand_for(below));
        }
        self.insert(dir, news);
    }

    /// The paths strictly below a directory.
    pub(crate) fn below(&self, dir: &RelPath) -> Vec<RelPath> {
        if dir.is_root() {
            return self.paths.keys().filter(|path| !path.is_root()).cloned().collect();
        }
        self.paths.range(dir.below()).map(|(path, _)| path.clone()).collect()
    }

    /// The paths that wait strictly below a directory, in order, with their state.
    pub(crate) fn entries_below(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Pending)> {
        let range = match dir.is_root() {
            true => (Bound::Excluded(dir.clone()), Bound::Unbounded),
            false => (Bound::Included(dir.below().start), Bound::Excluded(dir.below().end)),
        };
        self.paths.range(range)
    }

    /// Tells if a subtree that waits covers this path from above.
    pub(crate) fn is_swallowed(&self, path: &RelPath) -> bool {
        self.covering(path).is_some()
    }

    /// The subtree that waits and covers this path from above.
    fn covering(&self, path: &RelPath) -> Option<RelPath> {
        let covers = |dir: &RelPath| self.paths.get(dir).is_some_and(|p| p.scope == Scope::Subtree && !p.is_removal());
        path.ancestors().find(covers)
    }

    /// Cuts the deepest paths to subtrees, level by level, until half of the cap is free.
    fn collapse(&mut self) {
        let deepest = self.paths.keys().map(RelPath::depth).max().unwrap_or(0);
        for depth in (1..deepest).rev() {
            let (kept, deep): (BTreeMap<_, _>, _) =
                std::mem::take(&mut self.paths).into_iter().partition(|(path, _)| path.depth() <= depth);
            self.paths = kept;
            for (path, pending) in deep {
                let top = path.prefix(depth);
                let cut = pending.cut(self.now);
                // A directory whose removal was reported stays removed: what is below it is gone with it.
                if self.paths.get(&top).is_none_or(|top| !top.is_removal()) {
                    let merged = self.paths.get(&top).map_or(cut, |old| old.followed_by(cut));
                    self.paths.insert(top, merged);
                }
            }
            if self.paths.len() <= self.cap / 2 {
                return;
            }
        }
        self.fill();
    }
}

/// Of those that are free, the ones that the node has lacked for longest, by name: up to `most` of them and about
/// `bytes` of names. Where there are more changes than can be sent, each has its turn.
pub(super) fn longest_waiting<'a>(
    due: impl Iterator<Item = (&'a RelPath, &'a Pending)>,
    is_free: impl Fn(&RelPath, &Pending) -> bool,
    most: usize,
    bytes: usize,
) -> Vec<(RelPath, Pending)> {
    let mut due: Vec<_> = due.collect();
    let length = |path: &RelPath| path.as_bytes().len();
    if due.len() > most || due.iter().map(|(path, _)| length(path)).sum::<usize>() > bytes {
        due.sort_by_key(|(_, pending)| pending.age.seen());
    }
    let mut room = bytes;
    // Asked last, and of no more than are taken: it takes the time.
    let free = due.into_iter().filter(|(path, pending)| is_free(path, pending)).take(most).take_while(|(path, _)| {
        let fits = room > 0;
        room = room.saturating_sub(length(path));
        fits
    });
    let mut free: Vec<_> = free.map(|(path, pending)| (path.clone(), *pending)).collect();
    free.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::retry::Retry;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn fold(cap: usize, paths: &[(&str, Scope)]) -> Fold {
        let mut fold = Fold::new(cap);
        paths.iter().for_each(|(path, scope)| fold.insert(rel(path), Pending::new(*scope)));
        fold
    }

    fn names(fold: &Fold) -> Vec<String> {
        let slash = |p: &Pending| if p.scope == Scope::Subtree { "/" } else { "" };
        fold.iter().map(|(path, pending)| format!("{path}{}", slash(pending))).collect()
    }

    #[test]
    fn paths_fold_into_what_covers_them() {
        use Scope::{Entry, Subtree};
        for (inserted, left) in [
            (&[("a", Entry), ("a", Entry)][..], &["a"][..]),
            (&[("a/b", Entry), ("a", Subtree), ("a/c", Entry)], &["a/"]),
            (&[("a/b", Entry), ("a", Entry)], &["a", "a/b"]),
            (&[("a-b", Entry), ("a", Subtree), ("a0", Entry)], &["a/", "a-b", "a0"]),
            (&[("a", Subtree), ("a", Entry)], &["a/"]),
        ] {
            assert_eq!(names(&fold(9, inserted)), left, "{inserted:?}");
        }
    }

    #[test]
    fn a_subtree_that_waits_for_its_next_try_is_due_when_something_below_it_changes() {
        let (mut fold, later) = (Fold::new(9), Some(Instant::now()));
        let waits = Retry { not_before: later, ..Retry::default() };
        fold.insert(rel("a"), Pending { retry: Retry { tries: 5, ..waits }, ..Pending::new(Scope::Subtree) });
        fold.put_back(rel("a/b"), Pending { retry: waits, ..Pending::new(Scope::Entry) });
        assert_eq!(fold.get(&rel("a")).unwrap().retry.not_before, later, "that one waits, too");
        fold.insert(rel("a/b/c"), Pending::new(Scope::Entry));
        assert_eq!(fold.get(&rel("a")).unwrap().retry.not_before, None);
    }

    #[test]
    fn past_the_cap_the_deepest_paths_become_subtrees() {
        let entries: Vec<(String, Scope)> = (0..9).map(|n| (format!("d/{}/{n}", n % 3), Scope::Entry)).collect();
        let entries: Vec<(&str, Scope)> = entries.iter().map(|(path, scope)| (path.as_str(), *scope)).collect();
        assert_eq!(names(&fold(8, &entries)), ["d/0/", "d/1/", "d/2/"]);
    }

    #[test]
    fn when_even_the_top_level_is_too_much_everything_waits() {
        let names: Vec<String> = (0..9).map(|n| n.to_string()).collect();
        let entries: Vec<(&str, Scope)> = names.iter().map(|name| (name.as_str(), Scope::Entry)).collect();
        let mut fold = fold(8, &entries);
        assert!(!fold.is_empty());
        assert_eq!((fold.len(), fold.take_everything().is_some(), fold.is_empty()), (0, true, true));
    }

    #[test]
    fn what_comes_back_is_older_than_what_was_said_meanwhile() {
        let mut fold = Fold::new(9);
        fold.insert(rel("a"), Pending::removal());
        fold.put_back(
            rel("a"),
            Pending { retry: Retry { tries: 3, ..Retry::default() }, ..Pending::new(Scope::Subtree) },
        );
        let pending = *fold.get(&rel("a")).unwrap();
        assert_eq!((pending.is_removal(), pending.retry.tries, pending.scope), (true, 0, Scope::Subtree));
        fold.put_back(rel("a/b"), Pending::new(Scope::Entry));
        assert_eq!(fold.len(), 1, "a/b went away with a");
    }

    fn some_path() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab-]{1,2}", 1..5).prop_map(|names| names.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn folding_never_loses_a_path(
            inserted in proptest::collection::vec((some_path(), any::<bool>()), 1..60),
            cap in 2..30_usize,
        ) {
            let mut fold = Fold::new(cap);
            for (path, subtree) in &inserted {
                let scope = if *subtree { Scope::Subtree } else { Scope::Entry };
                fold.insert(rel(path), Pending::new(scope));
                prop_assert!(fold.len() <= cap);
            }
            let everything = fold.take_everything().is_some();
            for (path, subtree) in inserted {
                let own = fold.get(&rel(&path)).is_some_and(|p| !subtree || p.scope == Scope::Subtree);
                prop_assert!(everything || own || fold.is_swallowed(&rel(&path)), "{} is lost", path);
            }
        }
    }
}
