//! The batches of one node that are out, and which paths must wait for them. A plain data structure.
//!
//! A batch takes one of two lanes, so that small changes overtake bulk. Order on one path is kept: what lies on, above or
//! below a path that is being worked on in one lane waits in the other. A batch that rsync has done its work on blocks
//! nothing any more, but its paths stay out until rsync's exit code tells that they arrived.

use crate::transport::Lane;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::transport::rename::Origin;

/// So few paths are compared one by one, which is faster than to look for all that lies above a path.
const FEW: usize = 8;

/// Names a batch that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(u64);

impl LeaseId {
    /// For the log: batches of a node are counted from 1, as long as the daemon runs.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A batch that is out.
#[derive(Debug)]
struct Lease {
    id: LeaseId,
    lane: Lane,
    paths: BTreeMap<RelPath, Pending>,
    /// Where the node has what was renamed, on and below its paths.
    origins: BTreeMap<RelPath, Origin>,
    /// What must not be deleted at the node before it ends.
    needed: BTreeSet<RelPath>,
    /// Whether rsync may still change something at the node because of it.
    working: bool,
    /// Whether some of it are symlinks: until they are at the node, what the node's old ones lead to stays there.
    has_links: bool,
    /// Directories above its paths and above those of a batch whose work ended while this one's went on. Whichever run
    /// is last sets their times, as it read them at its start: they are sent once more.
    shared: BTreeSet<RelPath>,
}

impl Lease {
    /// Whether it has something on, above or below a path. What the node has under an old name may be made anew.
    fn touches(&self, path: &RelPath) -> bool {
        let Lease { paths, needed, .. } = self;
        if paths.len() + needed.len() <= FEW {
            let mut all = paths.keys().chain(needed);
            return all.any(|other| other == path || path.is_below(other) || other.is_below(path));
        }
        let has = |path: &RelPath| paths.contains_key(path) || needed.contains(path);
        // Everything is below the root.
        path.is_root()
            || has(path)
            || path.ancestors().any(|dir| has(&dir))
            || paths.range(path.below()).next().is_some()
            || needed.range(path.below()).next().is_some()
    }
}

/// What is left of a batch that is not out any more.
#[derive(Debug, Default)]
pub struct Ended {
    /// Its paths.
    pub paths: BTreeMap<RelPath, Pending>,
    /// The directories whose times may be wrong now.
    pub shared: BTreeSet<RelPath>,
    /// Where the node had, or has, what was renamed.
    pub origins: BTreeMap<RelPath, Origin>,
}

/// The batches that are out, oldest first.
#[derive(Debug, Default)]
pub struct Leases {
    leases: Vec<Lease>,
    last: u64,
}

impl Leases {
    /// A new batch is out, of which some was renamed.
    pub fn add(
        &mut self,
        lane: Lane,
        paths: BTreeMap<RelPath, Pending>,
        origins: BTreeMap<RelPath, Origin>,
    ) -> LeaseId {
        self.last += 1;
        let id = LeaseId(self.last);
        let needed = origins.values().map(|origin| origin.old.clone()).collect();
        let (working, has_links, shared) = (true, false, BTreeSet::new());
        self.leases.push(Lease { id, lane, paths, origins, needed, working, has_links, shared });
        id
    }

    /// Where the node has a path of the newest batch.
    pub fn origin(&self, path: &RelPath) -> Option<&Origin> {
        self.leases.last()?.origins.get(path)
    }

    /// The same for what is strictly below a directory.
    pub fn origins_below(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Origin)> {
        self.leases.last().into_iter().flat_map(|lease| lease.origins.range(dir.below()))
    }

    /// All origins that are out.
    pub fn origins(&self) -> impl Iterator<Item = (&RelPath, &Origin)> {
        self.leases.iter().flat_map(|lease| &lease.origins)
    }

    /// A path must not be deleted at the node before the batch ends.
    pub fn need(&mut self, id: LeaseId, path: RelPath) {
        self.leases.iter_mut().filter(|lease| lease.id == id).for_each(|lease| {
            lease.needed.insert(path.clone());
        });
    }

    /// When the oldest change of a batch was seen.
    pub fn oldest(&self, id: LeaseId) -> Option<Instant> {
        let lease = self.leases.iter().find(|lease| lease.id == id)?;
        lease.paths.values().filter_map(|pending| pending.age.seen()).min()
    }

    /// Whether a batch needs what the node has at a path or below it.
    pub fn needs(&self, path: &RelPath) -> bool {
        let needs = |lease: &Lease| {
            lease.needed.contains(path) || !path.is_root() && lease.needed.range(path.below()).next().is_some()
        };
        self.leases.iter().any(needs)
    }

    /// The number of paths that are out.
    pub fn paths(&self) -> usize {
        self.leases.iter().map(|lease| lease.paths.len()).sum()
    }

    /// All paths that are out.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Pending)> {
        self.leases.iter().flat_map(|lease| &lease.paths)
    }

    /// The paths of a batch that is out.
    pub fn of(&self, id: LeaseId) -> impl Iterator<Item = (&RelPath, &Pending)> {
        self.leases.iter().filter(move |lease| lease.id == id).flat_map(|lease| &lease.paths)
    }

    /// What the newest batch that has this path knows of it.
    pub fn get(&self, path: &RelPath) -> Option<&Pending> {
        self.leases.iter().rev().find_map(|lease| lease.paths.get(path))
    }

    /// Whether this is so of the path in any batch that has it.
    pub fn any(&self, path: &RelPath, is_so: impl Fn(&Pending) -> bool) -> bool {
        self.leases.iter().filter_map(|lease| lease.paths.get(path)).any(is_so)
    }

    /// Whether a batch of this lane is being worked on.
    pub fn works(&self, lane: Lane) -> bool {
        self.leases.iter().any(|lease| lease.working && lease.lane == lane)
    }

    /// Whether a path must wait in this lane because of what is being worked on in the other.
    pub fn blocks(&self, path: &RelPath, lane: Lane) -> bool {
        self.leases.iter().any(|lease| lease.working && lease.lane != lane && lease.touches(path))
    }

    /// Some of a batch are symlinks.
    pub fn has_links(&mut self, id: LeaseId) {
        self.leases.iter_mut().filter(|lease| lease.id == id).for_each(|lease| lease.has_links = true);
    }

    /// Whether symlinks are being worked on in the other lane.
    pub fn links_beside(&self, lane: Lane) -> bool {
        self.leases.iter().any(|lease| lease.working && lease.has_links && lease.lane != lane)
    }

    /// Whether this is so of something on, above or below a path that is out, but for the batch `but`.
    pub fn any_about(&self, path: &RelPath, but: Option<LeaseId>, is_so: impl Fn(&Pending) -> bool) -> bool {
        let others = self.leases.iter().filter(|lease| Some(lease.id) != but);
        others.into_iter().any(|lease| about(&lease.paths, path).any(|(_, pending)| is_so(pending)))
    }

    /// Whether a path is out, by itself or with a directory that is compared with all below it.
    pub fn holds(&self, path: &RelPath) -> bool {
        let whole = |dir: RelPath, lease: &Lease| lease.paths.get(&dir).is_some_and(|p| p.scope == Scope::Subtree);
        let holds = |lease: &Lease| lease.paths.contains_key(path) || path.ancestors().any(|dir| whole(dir, lease));
        self.leases.iter().any(holds)
    }

    /// Whether something on, above or below a path is out.
    pub fn touches(&self, path: &RelPath) -> bool {
        self.leases.iter().any(|lease| lease.touches(path))
    }

    /// Takes some paths out of a batch: they are not sent with it.
    pub fn withdraw(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>) -> Ended {
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.id == id) else { return Ended::default() };
        let out = |new: &RelPath| paths.contains(new) || new.ancestors().any(|dir| paths.contains(&dir));
        let (origins, left) = std::mem::take(&mut lease.origins).into_iter().partition(|(new, _)| out(new));
        lease.origins = left;
        let origins: BTreeMap<RelPath, Origin> = origins;
        let olds: BTreeSet<&RelPath> = origins.values().map(|origin| &origin.old).collect();
        lease.needed.retain(|path| !olds.contains(path));
        let paths = paths.iter().filter_map(|path| lease.paths.remove_entry(path)).collect();
        Ended { paths, shared: BTreeSet::new(), origins }
    }

    /// rsync has done its work on a batch.
    pub fn worked(&mut self, id: LeaseId) {
        let Some(at) = self.leases.iter().position(|lease| lease.id == id && lease.working) else { return };
        self.leases[at].working = false;
        if !self.leases.iter().any(|lease| lease.working) {
            return;
        }
        let above = above(&self.leases[at].paths);
        for lease in self.leases.iter_mut().filter(|lease| lease.working) {
            let shared = self::above(&lease.paths);
            lease.shared.extend(shared.intersection(&above).cloned());
        }
    }

    /// A batch is not out any more.
    pub fn end(&mut self, id: LeaseId) -> Ended {
        self.worked(id);
        let Some(at) = self.leases.iter().position(|lease| lease.id == id) else { return Ended::default() };
        let Lease { paths, shared, origins, .. } = self.leases.remove(at);
        Ended { paths, shared, origins }
    }

    /// A path was deleted at the node with the batch `id`: older ones that have not ended have nothing to say of it, nor of
    /// what was below it.
    pub fn forget_older(&mut self, path: &RelPath, id: LeaseId) {
        for lease in self.leases.iter_mut().filter(|lease| lease.id < id) {
            let stale = |other: &RelPath| other == path || other.is_below(path);
            lease.paths.retain(|other, _| !stale(other));
            lease.shared.retain(|other| !stale(other));
        }
    }

    /// The newest batch.
    pub fn newest(&self) -> Option<LeaseId> {
        self.leases.last().map(|lease| lease.id)
    }

    /// Whether a batch that is newer than `id` sends the path.
    pub fn sent_since(&self, path: &RelPath, id: LeaseId) -> bool {
        self.leases.iter().any(|lease| lease.id > id && lease.paths.contains_key(path))
    }

    /// Whether a batch that is newer than `id` tells that the path is gone.
    pub fn removed_since(&self, path: &RelPath, id: LeaseId) -> bool {
        let removed = |lease: &Lease, path: &RelPath| lease.paths.get(path).is_some_and(Pending::is_removal);
        let newer = self.leases.iter().filter(|lease| lease.id > id);
        newer.into_iter().any(|lease| removed(lease, path) || path.ancestors().any(|dir| removed(lease, &dir)))
    }
}

/// What is on, above or below a path, which is not the root.
pub(crate) fn about<'p, P>(
    paths: &'p BTreeMap<RelPath, P>,
    path: &RelPath,
) -> impl Iterator<Item = (&'p RelPath, &'p P)> {
    let on_or_above: Vec<_> =
        path.ancestors().chain([path.clone()]).filter_map(|dir| paths.get_key_value(&dir)).collect();
    on_or_above.into_iter().chain(paths.range(path.below()))
}

/// The directories above some paths, with the root where one of them is at the top.
fn above(paths: &BTreeMap<RelPath, Pending>) -> BTreeSet<RelPath> {
    paths.keys().flat_map(|path| path.parent().into_iter().chain(path.ancestors().collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::need::Scope;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn paths(names: &[&str]) -> BTreeMap<RelPath, Pending> {
        names.iter().map(|name| (rel(name), Pending::new(Scope::Entry))).collect()
    }

    #[test]
    fn what_is_on_above_or_below_a_path_in_one_lane_waits_in_the_other() {
        let mut leases = Leases::default();
        let id = leases.add(Lane::Bulk, paths(&["d/e/big"]), BTreeMap::new());
        for (path, waits) in [
            ("d/e/big", true),
            ("d/e", true),
            ("d", true),
            ("d/e/big/x", true),
            ("d/e/bigger", false),
            ("d/e/a", false),
        ] {
            assert_eq!(leases.blocks(&rel(path), Lane::Fast), waits, "{path}");
            assert!(!leases.blocks(&rel(path), Lane::Bulk));
        }
        leases.worked(id);
        assert!(!leases.blocks(&rel("d/e/big"), Lane::Fast), "rsync is done with it");
        assert_eq!(leases.paths(), 1, "but its exit code has not told yet");
    }

    #[test]
    fn directories_above_two_runs_at_once_are_sent_again_after_the_later() {
        let mut leases = Leases::default();
        let bulk = leases.add(Lane::Bulk, paths(&["d/e/big", "top"]), BTreeMap::new());
        for name in ["d/a", "f/b"] {
            let fast = leases.add(Lane::Fast, paths(&[name]), BTreeMap::new());
            assert!(leases.end(fast).shared.is_empty(), "the other one is not done");
        }
        assert_eq!(leases.end(bulk).shared, BTreeSet::from([rel("d")]));
        let (bulk, fast) = (
            leases.add(Lane::Bulk, paths(&["big"]), BTreeMap::new()),
            leases.add(Lane::Fast, paths(&["small"]), BTreeMap::new()),
        );
        leases.worked(bulk);
        assert_eq!(leases.end(fast).shared, BTreeSet::from([RelPath::root()]));
    }

    #[test]
    fn the_newest_batch_knows_best() {
        let mut leases = Leases::default();
        let first = leases.add(Lane::Fast, paths(&["d", "d/x", "e"]), BTreeMap::new());
        leases.worked(first);
        let removed = [(rel("d"), Pending::removal())].into();
        leases.add(Lane::Fast, removed, BTreeMap::new());
        assert!(leases.get(&rel("d")).unwrap().is_removal());
        assert_eq!(["d", "d/x", "e"].map(|path| leases.removed_since(&rel(path), first)), [true, true, false]);
    }
}
