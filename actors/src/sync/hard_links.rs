//! The other names of the files of a batch, where hard links are mirrored: rsync links the names of one file that are in one
//! list. They are looked for in a thread, before the batch is planned for good.

use std::collections::BTreeSet;
use std::rc::Rc;

use slog::{debug, info};

use super::node_link::NodeLink;
use super::plan::BatchPlan;
use crate::outbox::lease::{Batch, LeaseId};
use crate::outbox::need::{Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::outbox::readiness::NameTurn;
use crate::path::RelPath;
use crate::root::linked_names::LinkQuestion;
use crate::transport::blame::Blame;
use crate::transport::plan::Plan;

/// The batch of which other names are looked for, at its node.
#[derive(Clone, Copy)]
pub(super) struct LinkedBatch<'b> {
    pub link: &'b NodeLink,
    pub batch: &'b Batch,
}

impl LinkedBatch<'_> {
    /// The entries of a plan that may have other names.
    pub(super) fn question(self, plan: &Plan) -> LinkQuestion {
        if !self.link.transport().links_hard() {
            return LinkQuestion::default();
        }
        // What failed again goes as it is: another name may be what fails.
        let fails: BTreeSet<&RelPath> =
            self.batch.paths.iter().filter(|(_, pending)| !pending.takes_names()).map(|(path, _)| path).collect();
        let files = [&plan.present, &plan.large, &plan.closed, &plan.anew].into_iter().flatten();
        let has_others =
            |path: &RelPath| self.link.root.look_at(path).is_ok_and(|meta| meta.is_file() && meta.nlink() > 1);
        let files = files.filter(|path| !fails.contains(path) && has_others(path)).cloned().collect();
        let trees = [&plan.subtrees, &plan.subtrees_rewritten].into_iter().flatten();
        let trees = trees.filter(|path| !fails.contains(path)).cloned().collect();
        LinkQuestion { files, trees, levels: plan.levels.clone() }
    }

    /// The paths of a batch that wait, as another batch is at work on other names of their files. The removals wait with them:
    /// one of them may be that of an old name.
    pub(super) fn blocked(self, plan: &Plan, groups: &[BTreeSet<RelPath>]) -> BTreeSet<RelPath> {
        let outbox = self.link.outbox.lock();
        let waits = |name: &RelPath| outbox.name_turn(name, self.batch.id) == NameTurn::After && !plan.sends(name);
        let waiting: Vec<_> = groups.iter().filter(|names| names.iter().any(waits)).collect();
        if waiting.is_empty() {
            return BTreeSet::new();
        }
        let has_name = |path: &RelPath, scope: Scope| {
            waiting.iter().any(|names| {
                names.contains(path) || scope != Scope::Entry && names.iter().any(|name| name.is_below(path))
            })
        };
        let goes_after =
            self.batch.paths.iter().filter(|(path, pending)| pending.deletes() || has_name(path, pending.scope));
        goes_after.map(|(path, _)| path.clone()).collect()
    }

    /// Adds to a plan the names that its runs take along.
    pub(super) fn take_along(self, planned: &mut BatchPlan, groups: Vec<BTreeSet<RelPath>>) {
        let mut outbox = self.link.outbox.lock();
        let names =
            with_turn(&planned.run, &outbox, self.batch.id, groups, |name| self.link.root.arriving().holds(name));
        if names.is_empty() {
            return;
        }
        debug!(self.link.log, "names of linked files"; "batch" => self.batch.id.number(), "names" => ?names);
        outbox.takes_along(self.batch.id, names.iter().flatten().filter(|name| !planned.run.sends(name)));
        Rc::make_mut(&mut planned.run).names = names;
    }
}

/// Compares the whole tree after a batch that could not take all names along: not before, or the comparison overtakes it.
/// And once after the node had refused hard links for a while, when it takes them again.
pub(super) fn compare_for_names(link: &NodeLink, outbox: &mut PendingSet, planned: &BatchPlan, blamed: &Blame) {
    if planned.paths.lacks_names {
        info!(link.log, "very many hard links changed: the whole tree is compared to link them");
        outbox.want_resync();
    }
    if !planned.run.names.is_empty() && blamed.is_empty() && link.transport().links_hard_again() {
        info!(link.log, "the node takes hard links again: the whole tree is compared to link them");
        outbox.want_resync();
    }
}

/// Returns the names that a batch took along and that failed: they are tried by themselves. `alone`: what fails goes without
/// them the next time.
pub(super) fn blamed_names(plan: &Plan, blamed: &Blame, alone: bool) -> BTreeSet<RelPath> {
    if *blamed == Blame::Anything && !alone {
        // All is tried again, and takes them along.
        return BTreeSet::new();
    }
    let names = plan.names.iter().flatten().filter(|name| blamed.names(name) && !plan.sends(name));
    names.cloned().collect()
}

/// Tells if a batch has more than what a comparison of the whole tree has just sent. For that no further one is made: it would
/// be followed by the same again.
pub(super) fn has_news(paths: &[(RelPath, Pending)]) -> bool {
    paths.iter().any(|(_, pending)| !pending.is_only_looked_at())
}

/// The names of each file that go with a plan: those that it sends, and the others whose turn it is.
fn with_turn(
    plan: &Plan,
    set: &PendingSet,
    batch: LeaseId,
    groups: Vec<BTreeSet<RelPath>>,
    arrives: impl Fn(&RelPath) -> bool,
) -> Vec<BTreeSet<RelPath>> {
    let goes = |name: &RelPath| plan.sends(name) || set.name_turn(name, batch) == NameTurn::Now && !arrives(name);
    let going = groups.into_iter().map(|names| names.into_iter().filter(&goes).collect::<BTreeSet<_>>());
    going.filter(|names| names.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::change::Change;
    use crate::transport::Lane;

    #[test]
    fn names_taken_along_are_tried_by_themselves_once_they_are_not_taken_along_again() {
        let set = |names: &[&str]| -> BTreeSet<RelPath> {
            names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect()
        };
        let plan = Plan { present: set(&["a"]), names: vec![set(&["a", "b", "c"])], ..Plan::default() };
        let of_b = Blame::Paths(set(&["a", "b"]).into_iter().collect());
        for (blamed, alone, expected) in [
            (&Blame::Anything, false, &[][..]),
            (&Blame::Anything, true, &["b", "c"]),
            (&of_b, false, &["b"]),
            (&Blame::default(), true, &[]),
        ] {
            assert_eq!(blamed_names(&plan, blamed, alone), set(expected), "{blamed:?} {alone}");
        }
    }

    #[test]
    fn what_a_comparison_left_to_be_looked_at_asks_for_no_further_comparison() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        let path = |name: &str| RelPath::new(name.as_bytes()).unwrap();
        let pending = Pending::new(Scope::Entry).lacked(now, 0, now);
        let looked_at = (path("d"), pending.only_looked_at(now));
        assert!(!has_news(std::slice::from_ref(&looked_at)));
        assert!(has_news(&[looked_at, (path("e"), pending)]));
        set.add(&Change::Subtree { path: path("d") }, now);
        assert!(has_news(&set.lease(Lane::Fast, 9, 99, now).paths));
    }
}
