//! The way back from the new names of renamed entries to the names that they have at the node. Hints only: nothing
//! is lost with a hint. A plain data structure without clock, disk or actor.

use std::collections::BTreeMap;

use crate::outbox::fold::Fold;
use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::transport::rename::{Doubt, Origin};

/// Hints that are remembered; further renamed entries are sent.
const MOST: usize = 20_000;

/// The origins of new names. No two names have the same one.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    by_new: BTreeMap<RelPath, Origin>,
    by_old: BTreeMap<RelPath, RelPath>,
}

impl Origins {
    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.by_new.clear();
        self.by_old.clear();
    }

    /// The name at which the node has this very path.
    pub(crate) fn get(&self, new: &RelPath) -> Option<&Origin> {
        self.by_new.get(new)
    }

    /// Notes the origin of a name. Not if another name has that origin already, which was made anew since.
    pub(crate) fn insert(&mut self, new: RelPath, origin: Origin) {
        self.take(&new);
        if origin.old != new && !self.by_old.contains_key(&origin.old) && self.by_new.len() < MOST {
            self.by_old.insert(origin.old.clone(), new.clone());
            self.by_new.insert(new, origin);
        }
    }

    /// Puts back an origin that was taken, unless something newer is known of the name.
    pub(crate) fn put_back(&mut self, new: RelPath, origin: Origin) {
        // What has the name of a file that did not get there was renamed once more.
        if let Some(newer) = self.by_old.remove(&new)
            && let Some(late) = self.by_new.remove(&newer)
        {
            let doubt = origin.doubt.max(late.doubt);
            return self.insert(newer, Origin { doubt, ..origin });
        }
        if !self.by_new.contains_key(&new) {
            self.insert(new, origin);
        }
    }

    /// Takes the origin of a name.
    pub(crate) fn take(&mut self, new: &RelPath) -> Option<Origin> {
        let origin = self.by_new.remove(new)?;
        self.by_old.remove(&origin.old);
        Some(origin)
    }

    /// Takes the origins of all names strictly below a directory.
    pub(crate) fn take_below(&mut self, dir: &RelPath) -> Vec<(RelPath, Origin)> {
        let names: Vec<RelPath> = match dir.is_root() {
            true => self.by_new.keys().cloned().collect(),
            false => self.by_new.range(dir.below()).map(|(new, _)| new.clone()).collect(),
        };
        names.into_iter().filter_map(|new| self.take(&new).map(|origin| (new, origin))).collect()
    }

    /// Forgets the origins of a path and of all names below it.
    pub(crate) fn forget(&mut self, path: &RelPath) {
        self.take(path);
        self.take_below(path);
    }

    /// The name at which the node has this path, by the directories above it that were renamed.
    pub(crate) fn through(&self, path: &RelPath) -> RelPath {
        let above = |dir: RelPath| path.rebase(&dir, &self.get(&dir).filter(|origin| origin.is_dir)?.old);
        path.ancestors().collect::<Vec<_>>().into_iter().rev().find_map(above).unwrap_or_else(|| path.clone())
    }

    /// Notes that the node's entry at a path changes, perhaps with all below: the names that have it, or a directory
    /// above it, as their origin have none any more.
    pub(crate) fn disclaim(&mut self, old: &RelPath, with_all_below: bool) {
        if self.by_old.is_empty() {
            return;
        }
        let own = self.by_old.get(old).cloned();
        let above = old.ancestors().filter_map(|dir| self.by_old.get(&dir).cloned());
        let below = self.awaiting(old).filter(|_| with_all_below).cloned();
        let names: Vec<RelPath> = own.into_iter().chain(above).chain(below).collect();
        names.iter().for_each(|new| drop(self.take(new)));
    }

    /// Notes a change at a path: the directories that it lies in, or is, differ from those of the node.
    pub(crate) fn doubt(&mut self, path: &RelPath) {
        if self.by_new.is_empty() {
            return;
        }
        for name in path.ancestors().chain([path.clone()]) {
            if let Some(origin) = self.by_new.get_mut(&name).filter(|origin| origin.is_dir) {
                origin.doubt = origin.doubt.max(Doubt::Changing);
            }
        }
    }

    /// Gives a directory another name, and all names below it.
    pub(crate) fn rebase(&mut self, from: &RelPath, to: &RelPath) {
        for (new, origin) in self.take_below(from) {
            if let Some(new) = new.rebase(from, to) {
                self.insert(new, origin);
            }
        }
    }

    /// Tells if each name has an origin of its own.
    pub(crate) fn is_sound(&self) -> bool {
        let leads_back = |(new, origin): (&RelPath, &Origin)| self.by_old.get(&origin.old) == Some(new);
        self.by_new.len() == self.by_old.len() && self.by_new.iter().all(leads_back)
    }

    /// The new names of the node's entries at `old` and below it.
    pub(crate) fn awaiting(&self, old: &RelPath) -> impl Iterator<Item = &RelPath> {
        let below = (!old.is_root()).then(|| self.by_old.range(old.below())).into_iter().flatten();
        self.by_old.get(old).into_iter().chain(below.map(|(_, new)| new))
    }
}

/// The origins of what is pending.
impl Origins {
    /// Tells if something still waits that the node makes out of its entry at a path or below it.
    pub(super) fn is_awaited(&self, path: &RelPath, waiting: &Fold) -> bool {
        let is_there = |pending: &Pending| !pending.is_removal();
        let waits = |new: &RelPath| waiting.get(new).is_some_and(is_there) || waiting.is_swallowed(new);
        self.awaiting(path).any(waits)
    }

    /// Takes the origins of the paths that are about to be leased. The old name of a file must be dealt with
    /// afterwards, since the file is made there if the node does not have it.
    pub(super) fn take_for(&mut self, paths: &[(RelPath, Pending)], waiting: &Fold) -> BTreeMap<RelPath, Origin> {
        let mut taken = Vec::new();
        for (path, pending) in paths {
            taken.extend(self.take(path).map(|origin| (path.clone(), origin)));
            if pending.scope == Scope::Subtree {
                taken.extend(self.take_below(path));
            }
        }
        let waits = |path: &RelPath| waiting.get(path).is_some() || waiting.is_swallowed(path);
        let goes = |dir: RelPath| waiting.get(&dir).is_some_and(Pending::is_removal);
        let is_dealt_with = |old: &RelPath| waits(old) || old.ancestors().any(goes);
        taken.retain(|(_, origin)| origin.is_dir || is_dealt_with(&origin.old));
        // What the node has at these names will be something else: it is nobody's origin any more.
        for (path, pending) in paths.iter().filter(|(_, pending)| !pending.is_removal()) {
            self.disclaim(path, pending.scope != Scope::Entry);
        }
        taken.into_iter().collect()
    }

    /// Ends a batch: a path that is not delivered keeps its origin where that is of use.
    pub(super) fn keep(
        &mut self,
        origins: BTreeMap<RelPath, Origin>,
        paths: &BTreeMap<RelPath, Pending>,
        waiting: &Fold,
        keeps: impl Fn(&RelPath, u32) -> bool,
    ) {
        for (new, origin) in origins {
            let above = || new.ancestors().find(|dir| paths.contains_key(dir));
            let Some(path) = Some(new.clone()).filter(|new| paths.contains_key(new)).or_else(above) else { continue };
            if paths.get(&path).is_some_and(|pending| keeps(&path, pending.retry.tries)) {
                let changes = waiting.entries_below(&new).next().is_some();
                let doubt = if changes { origin.doubt.max(Doubt::Changing) } else { origin.doubt };
                self.put_back(new, Origin { doubt, ..origin });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rename::detour;
    use crate::transport::rename::goes_first;
    use crate::transport::rename::is_detour;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn origin(old: &str, is_dir: bool) -> Origin {
        Origin { old: rel(old), is_dir, doubt: Doubt::None }
    }

    fn origins(all: &[(&str, &str, bool)]) -> Origins {
        let mut origins = Origins::default();
        all.iter().for_each(|(new, old, is_dir)| origins.insert(rel(new), origin(old, *is_dir)));
        origins
    }

    fn old(origins: &Origins, new: &str) -> Option<String> {
        origins.get(&rel(new)).map(|origin| origin.old.to_string())
    }

    #[test]
    fn names_follow_a_directory_that_is_renamed_and_lead_back_through_it() {
        let mut origins = origins(&[("d/new", "old", false), ("dd", "x", false)]);
        origins.rebase(&rel("d"), &rel("e"));
        origins.insert(rel("e"), origin("d", true));
        assert_eq!((old(&origins, "e/new"), old(&origins, "d/new")), (Some("old".into()), None));
        assert_eq!(old(&origins, "dd"), Some("x".into()));
        assert_eq!(origins.through(&rel("e/sub/f")), rel("d/sub/f"));
        origins.insert(rel("e/sub"), origin("far", true));
        assert_eq!(origins.through(&rel("e/sub/f")), rel("far/f"), "the nearest counts");
        assert_eq!(origins.through(&rel("dd/f")), rel("dd/f"), "that is a file");
    }

    #[test]
    fn a_change_below_a_renamed_directory_puts_its_origin_in_doubt() {
        let mut origins = origins(&[("d", "old", true), ("dd", "x", true), ("d/e/f", "y", false)]);
        origins.doubt(&rel("d/e"));
        let doubts = ["d", "dd", "d/e/f"].map(|new| origins.get(&rel(new)).unwrap().doubt);
        assert_eq!(doubts, [Doubt::Changing, Doubt::None, Doubt::None]);
    }

    #[test]
    fn what_the_node_has_is_claimed_once() {
        let mut origins = origins(&[("b", "a", false), ("c", "a", false)]);
        assert_eq!((old(&origins, "b"), old(&origins, "c")), (Some("a".into()), None));
        origins.insert(rel("b"), origin("z", false));
        origins.insert(rel("c"), origin("a", false));
        assert_eq!((old(&origins, "b"), old(&origins, "c")), (Some("z".into()), Some("a".into())));
        origins.insert(rel("d"), origin("d", false));
        assert_eq!(old(&origins, "d"), None, "it is back");
    }

    #[test]
    fn what_was_renamed_again_while_it_was_on_its_way_has_the_first_origin_when_that_failed() {
        let mut set = origins(&[("b", "a", false)]);
        let taken = set.take(&rel("b")).unwrap();
        set.insert(rel("c"), origin("b", false));
        set.put_back(rel("b"), taken.clone());
        assert_eq!((old(&set, "c"), old(&set, "b")), (Some("a".into()), None));
        let mut set = origins(&[("b", "z", false)]);
        set.put_back(rel("b"), taken);
        assert_eq!(old(&set, "b"), Some("z".into()), "the newer counts");
    }

    #[test]
    fn a_removal_knows_who_still_needs_what_it_removes() {
        let mut origins = origins(&[("b", "d/a", false), ("c", "d/e/f", false), ("x", "dd", false)]);
        let awaiting = |origins: &Origins, old| origins.awaiting(&rel(old)).cloned().collect::<Vec<_>>();
        assert_eq!(awaiting(&origins, "d"), [rel("b"), rel("c")]);
        assert_eq!(awaiting(&origins, "d/a"), [rel("b")]);
        origins.forget(&rel("b"));
        assert_eq!(awaiting(&origins, "d"), [rel("c")]);
        origins.disclaim(&rel("d/e"), false);
        assert_eq!(awaiting(&origins, "d"), [rel("c")], "a directory got other attributes");
        origins.disclaim(&rel("d/e/f/g"), false);
        assert_eq!(awaiting(&origins, "d"), [], "it is made anew");
    }

    #[test]
    fn a_detour_is_known_by_its_name() {
        let via = detour(&rel("d/big"));
        assert!(is_detour(&via) && goes_first(&via, &rel("d/big")), "{via}");
        assert_eq!((via.parent(), detour(&rel("d/big"))), (Some(rel("d")), via));
        assert!(!is_detour(&rel("d/.-inosync.x")) && !is_detour(&rel("d/big")));
    }

    #[test]
    fn rsync_handles_files_before_subdirectories_and_else_goes_by_bytes() {
        for (a, b, first) in [
            ("a", "b", true),
            ("b", "a", false),
            ("a", "a", false),
            ("z", "a/b", true),
            ("a/b", "z", false),
            ("a/z", "b/a", true),
            ("a/b/c", "a/z", false),
            ("big", "big.new", true),
            ("a-b/x", "a/x", true),
            ("a0/x", "a/x", false),
        ] {
            assert_eq!(goes_first(&rel(a), &rel(b)), first, "{a} {b}");
        }
    }
}
