//! Paths that wait, folded: a repeated path merges, a subtree swallows what is below it, and past a cap deep paths
//! collapse to the subtrees above them. A plain data structure without clock, disk or actor.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use crate::path::RelPath;

/// Tries after which a path that failed is no matter of a moment: it failed again although nothing changed.
pub(super) const FAILS: u32 = 2;

/// So often a removal is tried together with what failed beside it, of which it may be the old name; then apart from it.
pub(super) const TOGETHER: u32 = 5;

/// How much of a path is to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The entry itself.
    Entry,
    /// The entry and, if it is a directory, the names in it.
    Level,
    /// The entry and all below it.
    Subtree,
}

/// What is known of one path that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// How much of it is to be compared.
    pub scope: Scope,
    /// Whether its removal was reported, and nothing since. A path that is missing without such a report may have been
    /// moved together with a directory above it.
    pub removed: bool,
    /// Whether its content is new, so that equal size and time at the node prove nothing.
    pub rewritten: bool,
    /// Whether it was open for writing, so that equal size and time at the node do not say that the content is.
    pub closed: bool,
    /// Whether what is there now was renamed from elsewhere, and not written since: where the origin is not known, it is
    /// as good as rewritten.
    pub renamed: bool,
    /// Whether what was there has another name now: what is there next is another file.
    pub departed: bool,
    /// Failed tries since the last change.
    pub tries: u32,
    /// It is left alone until then.
    pub not_before: Option<Instant>,
    /// Since when it has been found missing without a report.
    pub unreported: Option<Instant>,
    /// Whether it was too large for the fast lane when it was last looked at.
    pub bulk: bool,
    /// Whether removals were folded into it, so that comparing it deletes.
    pub holds_removals: bool,
    /// How often in a row it changed while it was sent.
    pub unrest: u32,
    /// Whether `not_before` is there because it is to be left alone first: a subtree above does not swallow it.
    pub settles: bool,
    /// When the oldest change was seen that the node does not have; `None` until it waits in a [`Fold`].
    pub since: Option<Instant>,
    /// `Some` if the node got it, and it is only looked at again since then: a comparison beside it may have overtaken it.
    pub again: Option<Instant>,
    /// `Some` if the lag counts from then: what is older in it failed again and again before it changed.
    pub anew: Option<Instant>,
}

impl Pending {
    /// A path that changed just now.
    pub fn new(scope: Scope, removed: bool) -> Self {
        let (rewritten, tries, not_before, unreported, unrest) = (false, 0, None, None, 0);
        let (bulk, settles, holds_removals, closed, renamed, departed) = (false, false, false, false, false, false);
        Pending {
            scope,
            removed,
            rewritten,
            closed,
            renamed,
            departed,
            tries,
            not_before,
            unreported,
            bulk,
            unrest,
            settles,
            holds_removals,
            since: None,
            again: None,
            anew: None,
        }
    }

    /// Since when the node is known to lack it.
    pub fn lacking_since(&self) -> Option<Instant> {
        self.again.or(self.since)
    }

    /// Whether it failed again although nothing changed: it does not arrive until something is done about it. Removals are
    /// tried with what failed beside them at first, and then by themselves.
    pub fn is_failing(&self) -> bool {
        self.tries >= if self.removed { TOGETHER + 1 } else { FAILS }
    }

    /// Since when it is on its way to the node; `None` if it is failing.
    pub fn on_its_way_since(&self) -> Option<Instant> {
        if self.is_failing() { None } else { self.anew.or(self.lacking_since()) }
    }

    /// Whether it may be worked on now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// Whether working on it mirrors a removal.
    pub fn deletes(&self) -> bool {
        // A level lacks the names that were removed, reported or not.
        self.removed || self.holds_removals || self.scope == Scope::Level
    }

    /// The same path, changed again: the newer says whether it is there and when it is due.
    pub(super) fn followed_by(self, newer: Pending) -> Pending {
        // What was removed and is there again is new. What came by a rename is what it was, whatever was there before.
        let rewritten = newer.rewritten || !newer.renamed && (self.rewritten || self.removed);
        let renamed = newer.renamed || self.renamed && !newer.removed;
        let departed = newer.departed || self.departed;
        let closed = newer.closed || self.closed;
        let holds_removals = self.holds_removals || newer.holds_removals;
        // What is reported while it goes on changing is no new beginning.
        let unrest = self.unrest.max(newer.unrest);
        let scope = self.scope.max(newer.scope);
        let mut followed = Pending { scope, rewritten, closed, renamed, departed, unrest, holds_removals, ..newer };
        followed.stand_for(&self);
        followed
    }

    /// Whether a change of it was seen until `at`.
    pub fn is_seen_until(&self, at: Instant) -> bool {
        self.since.is_none_or(|since| since <= at)
    }

    /// Is as old as the other, too.
    fn stand_for(&mut self, other: &Pending) {
        let on_its_way = earlier(self.on_its_way_since(), other.on_its_way_since());
        (self.since, self.again) = match (self.again, other.again) {
            (Some(one), Some(another)) => (earlier(self.since, other.since), Some(one.min(another))),
            _ => (earlier(self.lacking_since(), other.lacking_since()), None),
        };
        self.anew = on_its_way.filter(|_| on_its_way != self.lacking_since());
    }
}

/// The earlier of two times, of which either may not be known.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The paths that wait, by name.
#[derive(Debug)]
pub struct Fold {
    paths: BTreeMap<RelPath, Pending>,
    cap: usize,
    /// What is inserted was seen at this time.
    now: Option<Instant>,
    /// Whether so much has waited that only the whole tree covers it.
    everything: bool,
    /// When the oldest change of all that was seen.
    filled_since: Option<Instant>,
}

impl Fold {
    /// Holds up to `cap` paths; past it they collapse.
    pub fn new(cap: usize) -> Self {
        Fold { paths: BTreeMap::new(), cap, now: None, everything: false, filled_since: None }
    }

    /// What is inserted from now on was seen at this time.
    pub fn at(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// When the oldest change was seen of all that wait.
    pub fn oldest(&self) -> Option<Instant> {
        self.paths.values().filter_map(Pending::lacking_since).min()
    }

    /// Since when what is on its way waits.
    pub fn on_its_way_since(&self) -> Option<Instant> {
        self.paths.values().filter_map(Pending::on_its_way_since).min()
    }

    /// How many paths it holds before they collapse.
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.everything
    }

    /// The paths in order.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Pending)> {
        self.paths.iter()
    }

    /// What is known of this very path.
    pub fn get(&self, path: &RelPath) -> Option<&Pending> {
        self.paths.get(path)
    }

    /// Takes one path out.
    pub fn take(&mut self, path: &RelPath) -> Option<Pending> {
        self.paths.remove(path)
    }

    /// Everything waits.
    pub fn fill(&mut self) {
        self.filled_since = self.oldest();
        self.paths.clear();
        self.everything = true;
    }

    /// Whether only the whole tree covers what waits.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether only the whole tree covers what waited; says so once.
    pub fn take_everything(&mut self) -> bool {
        std::mem::take(&mut self.everything)
    }

    /// When the oldest change was seen of all that was folded into everything.
    pub fn filled_since(&self) -> Option<Instant> {
        self.filled_since
    }

    /// Changes what is known of one path that waits.
    pub fn change(&mut self, path: &RelPath, change: impl FnOnce(&mut Pending)) {
        if let Some(pending) = self.paths.get_mut(path) {
            change(pending);
        }
    }

    /// Changes what is known of the paths that wait.
    pub fn amend(&mut self, amend: impl FnMut(&mut Pending)) {
        self.paths.values_mut().for_each(amend);
    }

    /// Drops the paths that `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&RelPath, &Pending) -> bool) {
        self.paths.retain(|path, pending| keep(path, pending));
    }

    /// A path changed. What waited for it merges with the news.
    pub fn insert(&mut self, path: RelPath, mut news: Pending) {
        if self.everything {
            return;
        }
        news.since = news.since.or(self.now);
        if let Some(above) = self.covering(&path).filter(|_| !news.settles) {
            // As when the subtree itself changes again: what it waits for may be over.
            if let Some(subtree) = self.paths.get_mut(&above) {
                // It may be at work in a moment, which a new directory must be, and one that waits need not.
                let waits = subtree.tries > 0 || subtree.not_before.is_some();
                subtree.holds_removals |= waits && news.deletes();
                subtree.not_before = news.not_before.and(subtree.not_before);
                subtree.stand_for(&news);
            }
            return;
        }
        if news.scope == Scope::Subtree {
            for covered in self.below(&path) {
                if self.paths.get(&covered).is_some_and(|pending| !pending.settles) {
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

    /// A path that was taken out comes back: what has been said of it meanwhile is newer.
    pub fn put_back(&mut self, path: RelPath, old: Pending) {
        let Some(news) = self.paths.remove(&path) else {
            return if path.ancestors().all(|dir| self.paths.get(&dir).is_none_or(|p| !p.removed)) {
                self.insert(path, old);
            };
        };
        self.insert(path, old.followed_by(news));
    }

    /// Drops everything strictly below a directory: it was removed, or is hidden.
    pub fn drop_below(&mut self, dir: &RelPath) {
        for path in self.below(dir) {
            self.paths.remove(&path);
        }
    }

    /// A directory changed, with everything strictly below it: that is as old as what waited there.
    pub fn insert_over(&mut self, dir: RelPath, mut news: Pending) {
        news.since = news.since.or(self.now);
        for path in self.below(&dir) {
            self.paths.remove(&path).inspect(|below| news.stand_for(below));
        }
        self.insert(dir, news);
    }

    /// The paths strictly below a directory.
    pub fn below(&self, dir: &RelPath) -> Vec<RelPath> {
        if dir.is_root() {
            return self.paths.keys().filter(|path| !path.is_root()).cloned().collect();
        }
        self.paths.range(dir.below()).map(|(path, _)| path.clone()).collect()
    }

    /// What waits strictly below a directory, in order.
    pub fn entries_below(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Pending)> {
        let range = match dir.is_root() {
            true => (Bound::Excluded(dir.clone()), Bound::Unbounded),
            false => (Bound::Included(dir.below().start), Bound::Excluded(dir.below().end)),
        };
        self.paths.range(range)
    }

    /// Whether a subtree that waits covers this path from above.
    pub fn is_swallowed(&self, path: &RelPath) -> bool {
        self.covering(path).is_some()
    }

    /// The subtree that waits and covers this path from above.
    fn covering(&self, path: &RelPath) -> Option<RelPath> {
        let covers = |dir: &RelPath| self.paths.get(dir).is_some_and(|p| p.scope == Scope::Subtree && !p.removed);
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
                let cut = Pending {
                    scope: Scope::Subtree,
                    removed: false,
                    rewritten: false,
                    closed: false,
                    renamed: false,
                    // As a part of the directory it was not tried yet.
                    tries: 0,
                    anew: pending.on_its_way_since().or(self.now),
                    not_before: None,
                    bulk: false,
                    holds_removals: pending.deletes(),
                    settles: false,
                    ..pending
                };
                // A directory whose removal was reported stays removed: what is below it is gone with it.
                if self.paths.get(&top).is_none_or(|top| !top.removed) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn fold(cap: usize, paths: &[(&str, Scope)]) -> Fold {
        let mut fold = Fold::new(cap);
        paths.iter().for_each(|(path, scope)| fold.insert(rel(path), Pending::new(*scope, false)));
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
        fold.insert(rel("a"), Pending { not_before: later, tries: 5, ..Pending::new(Scope::Subtree, false) });
        fold.put_back(rel("a/b"), Pending { not_before: later, ..Pending::new(Scope::Entry, false) });
        assert_eq!(fold.get(&rel("a")).unwrap().not_before, later, "that one waits, too");
        fold.insert(rel("a/b/c"), Pending::new(Scope::Entry, false));
        assert_eq!(fold.get(&rel("a")).unwrap().not_before, None);
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
        assert_eq!((fold.len(), fold.take_everything(), fold.is_empty()), (0, true, true));
    }

    #[test]
    fn what_comes_back_is_older_than_what_was_said_meanwhile() {
        let mut fold = Fold::new(9);
        fold.insert(rel("a"), Pending::new(Scope::Entry, true));
        fold.put_back(rel("a"), Pending { tries: 3, ..Pending::new(Scope::Subtree, false) });
        let pending = *fold.get(&rel("a")).unwrap();
        assert_eq!((pending.removed, pending.tries, pending.scope), (true, 0, Scope::Subtree));
        fold.put_back(rel("a/b"), Pending::new(Scope::Entry, false));
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
                fold.insert(rel(path), Pending::new(scope, false));
                prop_assert!(fold.len() <= cap);
            }
            let everything = fold.take_everything();
            for (path, subtree) in inserted {
                let own = fold.get(&rel(&path)).is_some_and(|p| !subtree || p.scope == Scope::Subtree);
                prop_assert!(everything || own || fold.is_swallowed(&rel(&path)), "{} is lost", path);
            }
        }
    }
}
