//! Sends large directories by several runs beside each other. The three ends of one rsync wait for each other at each entry that
//! is made, so that one run keeps little more than one processor busy.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustix::fs::FileType;

use super::runs::{Runs, Started};
use super::{Deliverer, is_top};
use crate::path::RelPath;
use crate::rsync::jobs::{JobGround, JobWork, TakenJobs};
use crate::rsync::recipe::{self, Recipe};
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::Plan;
use crate::transport::{Delivery, Lane, Worked};

/// Entries that are worth a run of their own: it takes some milliseconds to start.
const ENOUGH: usize = 1000;

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
        let is_divisible = lane == Lane::Bulk && recipe.sends_trees() && paths.len() > 1;
        if !is_divisible || deliverer.goes_alone() {
            return DividedList { sets: vec![paths.clone()], _taken: None };
        }
        let (kind, wanted) = (deliverer.target.node.kind(), deliverer.target.site.reconcile_jobs);
        let mut taken = deliverer.jobs.take(JobGround { kind, wanted, work: JobWork::Send, alone: false });
        let worth = if taken.number > 1 { self.entries(paths, taken.number * ENOUGH) / ENOUGH } else { 1 };
        if taken.number > 1 && (worth < 2 || !(have_plain_names(paths) || deliverer.takes_parts().await)) {
            taken.keep_one();
        }
        let sets = divided(paths, taken.number.min(worth));
        DividedList { sets, _taken: Some(taken) }
    }

    /// Counts these directories and what is below them, up to `most` entries or a little more.
    fn entries(&self, paths: &BTreeSet<RelPath>, most: usize) -> usize {
        let reach = self.deliverer.target.root.reach();
        let mut left: Vec<RelPath> = paths.iter().cloned().collect();
        let mut count = left.len();
        while let Some(dir) = left.pop().filter(|_| count < most) {
            let entries = reach.entries(&dir).unwrap_or_default();
            count += entries.len();
            let dirs = entries.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
            left.extend(dirs.map(|(name, _)| dir.join(&name)));
        }
        count
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
    let mut places = BTreeMap::new();
    let key = |path: &RelPath| path.as_bytes().to_ascii_lowercase();
    for (at, path) in paths.iter().enumerate() {
        let above = path.ancestors().chain([path.clone()]).find_map(|dir| places.get(&key(&dir)).copied());
        let place = above.unwrap_or(at % parts.len());
        places.insert(key(path), place);
        parts.get_mut(place).into_iter().for_each(|part| _ = part.insert(path.clone()));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Tells if a node takes two of these names for one entry at most if nothing but the case of their letters differs. Other
/// letters may be one in more ways, what follows a dot or a space at the end may count for nothing (Windows), and `~` stands in
/// short names (FAT).
fn have_plain_names(paths: &BTreeSet<RelPath>) -> bool {
    let is_plain = |name: &[u8]| {
        let is_usual = |byte: &u8| byte.is_ascii_graphic() && *byte != b'~' || *byte == b' ';
        name.iter().all(is_usual) && !matches!(name.last(), Some(b'.' | b' '))
    };
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
            (&["A/b", "B", "a/B/c", "c"], 2, &[&["A/b", "a/B/c"], &["B", "c"]]),
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
            ("a/\u{e9}", false),
            ("a\nb", false),
        ] {
            let paths = BTreeSet::from([RelPath::new(b"x").unwrap(), RelPath::new(name.as_bytes()).unwrap()]);
            assert_eq!(have_plain_names(&paths), expected, "{name}");
        }
    }
}
