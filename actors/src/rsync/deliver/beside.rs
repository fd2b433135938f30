//! Sends many directories by several runs beside each other, as many as a comparison of everything takes. One rsync is at work on
//! some two processors, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use slog::debug;

use super::runs::{Runs, Started};
use super::{Deliverer, NameRule, is_top};
use crate::path::RelPath;
use crate::rsync::jobs::JobGround;
use crate::rsync::recipe::{self, Recipe};
use crate::transport::Lane;
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::Plan;
use crate::transport::traits::Trait;

/// Directories that are worth a run of their own.
const ENOUGH: usize = 200;

impl Deliverer {
    /// Sends what is listed, by as many runs as help. Those that fail while others do not are made again, one after the other: a
    /// node may take fewer connections at a time.
    pub(super) async fn send_beside(
        self: &Rc<Self>,
        recipe: Recipe,
        paths: &BTreeSet<RelPath>,
        plan: &Rc<Plan>,
        lane: Lane,
        runs: &mut Runs,
    ) -> Result<(), Failure> {
        let list = |paths: &BTreeSet<RelPath>| recipe::entries(paths, plan.root || paths.iter().any(is_top));
        let send = |list: Vec<u8>, worked| self.clone().send(recipe, list, plan.clone(), lane, worked);
        let is_divisible = lane == Lane::Bulk && recipe.sends_trees() && paths.len() >= 2 * ENOUGH;
        if !is_divisible || self.goes_alone() {
            return runs.add(|worked| send(list(paths), worked)).await;
        }
        let (kind, wanted) = (self.target.node.kind(), self.target.site.reconcile_jobs);
        let mut taken = self.jobs.take(JobGround { kind, directories: u64::MAX, wanted, alone: false });
        if taken.number > 1 && !self.takes_parts().await {
            taken.keep_one();
        }
        let lists: Vec<Vec<u8>> = parts(paths, taken.number.min(paths.len() / ENOUGH)).iter().map(list).collect();
        let begin = |list: &Vec<u8>| Started::begin(|worked| send(list.clone(), worked));
        let started: Vec<Started> = lists.iter().map(begin).collect();
        let mut failed = Vec::new();
        for (list, started) in lists.iter().zip(started) {
            failed.extend(runs.join(started).await.err().map(|failure| (list, failure)));
        }
        let is_alone = failed.len() == lists.len();
        for (list, failure) in failed {
            if is_alone || matches!(failure.cause, Cause::TargetFull | Cause::SourceGone) {
                return Err(failure);
            }
            runs.add(|worked| send(list.clone(), worked)).await?;
        }
        Ok(())
    }

    /// Tells if several runs beside each other are out of the question: hard links may lead from one part of the tree to another,
    /// at a node that ignores case one entry may belong to two parts, and a limited line is full with one.
    pub(super) fn goes_alone(&self) -> bool {
        let has_one_case = self.target.known_traits().has(Trait::OneCase);
        self.target.site.extra.links_hard() || has_one_case || self.runner.speed.is_limited()
    }

    /// Tells if the node may be sent parts of the tree by several runs, and asks it how it tells names apart if that is not
    /// known.
    pub(super) async fn takes_parts(&self) -> bool {
        let names = || self.target.learned.borrow().names();
        // Somebody may have made the mirror since.
        if matches!(names(), NameRule::Unknown | NameRule::NoMirror)
            && let Err(failure) = self.examiner.probe_names(&BTreeSet::new()).await
        {
            debug!(self.target.log, "the node was not asked how it tells names apart"; "why" => %failure);
            return false;
        }
        names().allows_parts()
    }
}

/// Divides directories into so many parts. What lies below another one of them is in the same part.
fn parts(paths: &BTreeSet<RelPath>, number: usize) -> Vec<BTreeSet<RelPath>> {
    let mut parts = vec![BTreeSet::new(); number.max(1)];
    let mut places = BTreeMap::new();
    for (at, path) in paths.iter().enumerate() {
        let above = path.ancestors().find_map(|dir| places.get(&dir).copied());
        let place = above.unwrap_or(at % parts.len());
        places.insert(path.clone(), place);
        parts.get_mut(place).into_iter().for_each(|part| _ = part.insert(path.clone()));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_divided_evenly_and_stay_with_those_above_them() {
        let paths = |names: &[&str]| names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect();
        for (names, number, expected) in [
            (&["a", "b", "c", "d", "e"][..], 2, &[&["a", "c", "e"][..], &["b", "d"]][..]),
            (&["a", "b"], 1, &[&["a", "b"]]),
            (&["a", "b"], 3, &[&["a"], &["b"]]),
            (&["a", "a.b", "a/b", "a/b/c", "b"], 2, &[&["a", "a/b", "a/b/c", "b"], &["a.b"]]),
            (&[], 2, &[]),
        ] {
            let expected: Vec<BTreeSet<RelPath>> = expected.iter().map(|names| paths(names)).collect();
            assert_eq!(parts(&paths(names), number), expected, "{names:?} {number}");
        }
    }
}
