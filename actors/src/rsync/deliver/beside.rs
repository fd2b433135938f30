//! Sends many directories by several runs beside each other, as many as a comparison of everything takes. One rsync is at work on
//! some two processors, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::runs::{Runs, Started};
use super::{Deliverer, is_top};
use crate::path::RelPath;
use crate::rsync::jobs::{JobGround, TakenJobs};
use crate::rsync::recipe::{self, Recipe};
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::Plan;
use crate::transport::{Delivery, Lane, Worked};

/// Directories that are worth a run of their own.
const ENOUGH: usize = 200;

/// What one recipe of a plan sends.
pub(super) struct ListSending<'s> {
    pub deliverer: &'s Rc<Deliverer>,
    pub recipe: Recipe,
    pub plan: &'s Rc<Plan>,
    pub lane: Lane,
}

impl ListSending<'_> {
    /// Sends these paths, by as many runs as help. Those that fail while others do not are made again, one after the other: a
    /// node may take fewer connections at a time.
    pub(super) async fn send(&self, paths: &BTreeSet<RelPath>, runs: &mut Runs) -> Result<(), Failure> {
        let parts = self.parts(paths).await;
        let begin = |part: &BTreeSet<RelPath>| Started::begin(|worked| self.run(part, worked));
        let started: Vec<Started> = parts.sets.iter().map(begin).collect();
        let mut failed = Vec::new();
        for (part, started) in parts.sets.iter().zip(started) {
            failed.extend(runs.join(started).await.err().map(|failure| (part, failure)));
        }
        let have_all_failed = failed.len() == parts.sets.len();
        for (part, failure) in failed {
            if have_all_failed || matches!(failure.cause, Cause::TargetFull | Cause::SourceGone) {
                return Err(failure);
            }
            runs.add(|worked| self.run(part, worked)).await?;
        }
        Ok(())
    }

    fn run(
        &self,
        paths: &BTreeSet<RelPath>,
        worked: Worked,
    ) -> impl Future<Output = Result<Delivery, Failure>> + 'static {
        let list = recipe::entries(paths, self.plan.root || paths.iter().any(is_top));
        self.deliverer.clone().send(self.recipe, list, self.plan.clone(), self.lane, worked)
    }

    /// Divides what is sent among runs.
    async fn parts(&self, paths: &BTreeSet<RelPath>) -> DividedList {
        let ListSending { deliverer, recipe, lane, .. } = *self;
        let is_divisible = lane == Lane::Bulk && recipe.sends_trees() && paths.len() >= 2 * ENOUGH;
        if !is_divisible || deliverer.goes_alone() {
            return DividedList { sets: vec![paths.clone()], _taken: None };
        }
        let (kind, wanted) = (deliverer.target.node.kind(), deliverer.target.site.reconcile_jobs);
        let mut taken = deliverer.jobs.take(JobGround { kind, directories: u64::MAX, wanted, alone: false });
        if taken.number > 1 && !deliverer.takes_parts().await {
            taken.keep_one();
        }
        let sets = divided(paths, taken.number.min(paths.len() / ENOUGH));
        DividedList { sets, _taken: Some(taken) }
    }
}

/// The paths of each run.
struct DividedList {
    sets: Vec<BTreeSet<RelPath>>,
    /// Held until all runs have done their work.
    _taken: Option<TakenJobs>,
}

/// Divides directories into so many parts. What lies below another one of them is in the same part.
fn divided(paths: &BTreeSet<RelPath>, number: usize) -> Vec<BTreeSet<RelPath>> {
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
            assert_eq!(divided(&paths(names), number), expected, "{names:?} {number}");
        }
    }
}
