//! Entries that a node has without some of their attributes, since it refuses to set them. A plain data structure.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::transport::unset::Unset;

/// Paths that are remembered. Past them the whole tree is compared where these are tried again.
const REMEMBERED: usize = 10_000;

/// The paths of one node that lack attributes.
#[derive(Debug, Default)]
pub(crate) struct UnsetPaths {
    paths: BTreeSet<RelPath>,
    /// `true` if there are more than are kept.
    more: bool,
    why: Option<String>,
    /// The cures that the log has told since nothing lacked any.
    told: BTreeSet<String>,
}

impl UnsetPaths {
    /// The number of paths; with more than are remembered, the least that it can be.
    pub(crate) fn count(&self) -> usize {
        self.paths.len() + usize::from(self.more)
    }

    /// The paths, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.paths.iter()
    }

    /// Tells if there are more than are remembered.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// The node's complaint about one of them.
    pub(crate) fn why(&self) -> Option<&str> {
        self.why.as_deref().filter(|_| self.count() > 0)
    }

    /// Notes the paths of which a run could not set the attributes. Returns true if the log has still to tell of it:
    /// once for each cure.
    pub(crate) fn add(&mut self, unset: &Unset) -> bool {
        let Some(why) = &unset.why else { return false };
        self.more |= unset.more;
        for path in &unset.paths {
            if self.paths.len() < REMEMBERED || self.paths.contains(path) {
                self.paths.insert(path.clone());
            } else {
                self.more = true;
            }
        }
        self.why = Some(why.to_string());
        self.told.insert(why.cure.to_string())
    }

    /// Forgets a path that the node took, and the directories above it; if `whole`, also all that is below it.
    pub(crate) fn took(&mut self, path: &RelPath, whole: bool) {
        if self.paths.is_empty() {
            return;
        }
        self.paths.remove(path);
        path.ancestors().for_each(|dir| _ = self.paths.remove(&dir));
        if whole {
            self.paths.retain(|other| !other.is_below(path));
        }
    }

    /// Forgets all: a comparison of everything tries them once more.
    pub(crate) fn took_everything(&mut self) {
        (self.paths, self.more) = (BTreeSet::new(), false);
    }

    /// Ends a run: if nothing lacks any now, all may be told again.
    pub(crate) fn calm_down(&mut self) {
        if self.count() == 0 {
            self.told.clear();
        }
    }

    /// Takes all of them, to be tried again and told again; and whether there are more.
    pub(crate) fn take(&mut self) -> (BTreeSet<RelPath>, bool) {
        let UnsetPaths { paths, more, .. } = std::mem::take(self);
        (paths, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::failure::{Cause, Failure};

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn unset(paths: &[&str], cure: &'static str) -> Unset {
        let why = Failure { cause: Cause::AttributesRefused, said: "no".into(), cure: cure.into() };
        Unset { paths: paths.iter().map(|path| rel(path)).collect(), why: Some(why), ..Unset::default() }
    }

    fn names(lacking: &UnsetPaths) -> Vec<String> {
        lacking.paths().map(RelPath::to_string).collect()
    }

    #[test]
    fn each_cure_is_told_once_until_nothing_lacks_any() {
        let mut lacking = UnsetPaths::default();
        let told = [unset(&["a"], "x"), unset(&["b"], "x"), unset(&["b"], "y"), Unset::default()];
        assert_eq!(told.map(|unset| lacking.add(&unset)), [true, false, true, false]);
        lacking.took(&rel("a"), false);
        assert!(!lacking.add(&unset(&["c"], "x")));
        lacking.took(&rel("b"), false);
        lacking.took(&rel("c"), false);
        assert!(!lacking.add(&unset(&["c"], "x")), "the run that took it could not set them");
        lacking.took(&rel("c"), false);
        lacking.calm_down();
        assert_eq!((lacking.count(), lacking.why()), (0, None));
        assert!(lacking.add(&unset(&["a"], "x")));
    }

    #[test]
    fn what_the_node_takes_lacks_nothing_any_more() {
        let all = ["", "a", "a/b", "a/b/c", "d"];
        for (path, whole, expected) in [
            ("d", false, &["", "a", "a/b", "a/b/c"][..]),
            ("a/b", false, &["", "a/b/c", "d"]),
            ("a", true, &["", "d"]),
            ("a/b/c", false, &["", "d"]),
            ("x", true, &["", "a", "a/b", "a/b/c", "d"]),
        ] {
            let mut lacking = UnsetPaths::default();
            lacking.add(&unset(&all, "x"));
            lacking.took(&rel(path), whole);
            let expected: Vec<String> = expected.iter().map(|path| rel(path).to_string()).collect();
            assert_eq!(names(&lacking), expected, "{path}");
        }
    }

    #[test]
    fn a_comparison_of_everything_begins_anew_and_tells_nothing_twice() {
        let mut lacking = UnsetPaths::default();
        lacking.add(&Unset { more: true, ..unset(&["a"], "x") });
        lacking.took_everything();
        assert!(!lacking.add(&unset(&["b"], "x")));
        assert_eq!((names(&lacking), lacking.has_more()), (vec!["b".to_owned()], false));
        assert_eq!(lacking.take(), ([rel("b")].into(), false));
        assert!(lacking.add(&unset(&["b"], "x")), "it was tried again");
    }

    #[test]
    fn more_than_can_be_remembered_is_known_to_be_more() {
        let mut lacking = UnsetPaths::default();
        let names: Vec<String> = (0..=REMEMBERED).map(|number| format!("{number:05}")).collect();
        lacking.add(&unset(&names.iter().map(String::as_str).collect::<Vec<_>>(), "x"));
        assert_eq!((lacking.count(), lacking.has_more()), (REMEMBERED + 1, true));
    }
}
