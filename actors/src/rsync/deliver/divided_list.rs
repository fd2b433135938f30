//! Sends large directories by several runs beside each other. The three ends of one rsync wait for each other at each entry that
//! is made, so that one run keeps little more than one processor busy.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::runs::{Runs, Started};
use super::{Deliverer, is_top};
use crate::node::Kind;
use crate::path::RelPath;
use crate::rsync::jobs::{JobGround, JobWork, TakenJobs};
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::runner::run_order::{Order, TreePart, Work};
use crate::site::Priority;
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::Plan;
use crate::transport::{Delivery, Lane, Worked};

/// Directories that are worth a run of their own: what the fast lane has no room for is large as a rule, and here a run takes some
/// milliseconds to start.
const ENOUGH: usize = 8;
/// The same elsewhere, where each run is a connection.
const ENOUGH_ELSEWHERE: usize = 200;

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
            if have_all_failed || failure.cause == Cause::SourceGone {
                return Err(failure);
            }
            runs.add(|worked| self.run_beside_others(part, worked)).await?;
        }
        Ok(())
    }

    /// A run over a part, where the node took the other ones: what it refuses of this one is refused by itself.
    fn run_beside_others(
        &self,
        paths: &BTreeSet<RelPath>,
        worked: Worked,
    ) -> impl Future<Output = Result<Delivery, Failure>> + 'static {
        let list = self.list(paths);
        let (deliverer, recipe, plan, lane) = (self.deliverer.clone(), self.recipe, self.plan.clone(), self.lane);
        async move {
            let part = TreePart::new(Vec::new(), None, Rc::default());
            part.takes_others.set(true);
            let order = Order { work: Work::List(&list), lane: Some(lane), part: Some(&part), ..Order::of(recipe) };
            deliverer.listed(order, &plan, Some(worked)).await
        }
    }

    fn list(&self, paths: &BTreeSet<RelPath>) -> Vec<u8> {
        recipe::entries(paths, self.plan.root || paths.iter().any(is_top))
    }

    fn run(
        &self,
        paths: &BTreeSet<RelPath>,
        worked: Worked,
    ) -> impl Future<Output = Result<Delivery, Failure>> + 'static {
        self.deliverer.clone().send(self.recipe, self.list(paths), self.plan.clone(), self.lane, worked)
    }

    /// Divides what is sent among runs.
    async fn parts(&self, paths: &BTreeSet<RelPath>) -> DividedList {
        let ListSending { deliverer, recipe, lane, .. } = *self;
        let (kind, site) = (deliverer.target.node.kind(), &deliverer.target.site);
        let worth = paths.len() / if kind == Kind::Local { ENOUGH } else { ENOUGH_ELSEWHERE };
        let is_divisible = lane == Lane::Bulk && recipe.sends_trees() && worth > 1;
        if !is_divisible || deliverer.goes_alone() {
            return DividedList { sets: vec![paths.clone()], _taken: None };
        }
        let work = JobWork::Send { yields: site.priority == Priority::Low };
        let mut taken = deliverer.jobs.take(JobGround { kind, wanted: site.reconcile_jobs, work, alone: false });
        taken.keep(worth);
        let is_asked = taken.number > 1 && !(kind == Kind::Local && have_plain_names(paths));
        if is_asked && !deliverer.takes_parts().await {
            taken.keep(1);
        }
        let sets = divided(paths, taken.number);
        taken.keep(sets.len());
        DividedList { sets, _taken: Some(taken) }
    }
}

/// The paths of each run.
struct DividedList {
    sets: Vec<BTreeSet<RelPath>>,
    /// Held until all runs have done their work.
    _taken: Option<TakenJobs>,
}

/// Divides directories into so many parts. What lies below another one of them is in the same part, and so is what a node that
/// ignores case takes for one of them.
fn divided(paths: &BTreeSet<RelPath>, number: usize) -> Vec<BTreeSet<RelPath>> {
    let mut parts = vec![BTreeSet::new(); number.max(1)];
    let key = |path: &RelPath| path.as_bytes().to_ascii_lowercase();
    // Each comes behind those above it.
    let by_key: BTreeSet<(Vec<u8>, &RelPath)> = paths.iter().map(|path| (key(path), path)).collect();
    let mut places = BTreeMap::new();
    for (at, (key_of_path, path)) in by_key.into_iter().enumerate() {
        let mut on_or_above = path.ancestors().map(|dir| key(&dir)).chain([key_of_path.clone()]);
        let place = on_or_above.find_map(|key| places.get(&key).copied()).unwrap_or(at % parts.len());
        places.insert(key_of_path, place);
        parts.get_mut(place).into_iter().for_each(|part| _ = part.insert(path.clone()));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Tells if a node of this machine takes two of these names for one entry only where nothing but the case of letters differs.
/// Other letters may be one in more ways; a dot or a space at the end, a colon or a backslash may count for nothing or for
/// something else (NTFS), and `~` stands in short names (FAT).
fn have_plain_names(paths: &BTreeSet<RelPath>) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b" ._+,=@-".contains(byte);
    let is_plain = |name: &[u8]| name.iter().all(is_usual) && !matches!(name.last(), Some(b'.' | b' '));
    paths.iter().all(|path| path.as_bytes().split(|&byte| byte == b'/').all(is_plain))
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
            (&["A", "a", "b"], 2, &[&["A", "a", "b"]]),
            (&["A/b", "B", "a/B/c", "c"], 2, &[&["A/b", "a/B/c", "B"], &["c"]]),
            (&["A/B/c", "a/b", "c"], 2, &[&["A/B/c", "a/b", "c"]]),
            (&["A/b/c", "a", "b"], 2, &[&["A/b/c", "a", "b"]]),
            (&["A/b/c", "a", "b", "c"], 2, &[&["A/b/c", "a", "b"], &["c"]]),
            (&[], 2, &[]),
        ] {
            let expected: Vec<BTreeSet<RelPath>> = expected.iter().map(|names| paths(names)).collect();
            assert_eq!(divided(&paths(names), number), expected, "{names:?} {number}");
        }
    }

    #[test]
    fn a_node_may_take_names_for_one_in_more_ways_than_by_their_case() {
        for (name, expected) in [
            ("a/B c/d.e_f-g", true),
            (".hidden", true),
            ("a./b", false),
            ("a/b ", false),
            ("LONGNA~1", false),
            ("a:b", false),
            ("a\\b", false),
            ("a/\u{e9}", false),
            ("a\nb", false),
        ] {
            let paths = BTreeSet::from([RelPath::new(b"x").unwrap(), RelPath::new(name.as_bytes()).unwrap()]);
            assert_eq!(have_plain_names(&paths), expected, "{name}");
        }
    }
}
