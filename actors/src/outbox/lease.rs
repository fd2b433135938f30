//! The batches of one node that are out, and which paths must wait for them. A plain data structure.
//!
//! A batch takes one of two lanes, so that small changes overtake bulk. Over a long line several batches of the fast lane
//! are worked on at once. Order on one path is kept: what lies on, above or below a path that is being worked on waits. A
//! batch that rsync has done its work on blocks nothing any more, but its paths stay out until rsync's exit code tells that
//! they arrived.

mod single;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use self::single::Lease;
use crate::outbox::need::{Age, Pending};
use crate::path::RelPath;
use crate::transport::Lane;
use crate::transport::rename::Origin;

/// Names a batch that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(u64);

impl LeaseId {
    /// The number for the log: batches of a node are counted from 1, as long as the daemon runs.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// Paths that go to the node together.
#[derive(Debug)]
pub struct Batch {
    /// The name under which it ends.
    pub id: LeaseId,
    /// The paths, in order.
    pub paths: Vec<(RelPath, Pending)>,
}

/// The rest of a batch that is not out any more.
#[derive(Debug, Default)]
pub(crate) struct EndedLease {
    /// The paths that the batch had taken.
    pub paths: BTreeMap<RelPath, Pending>,
    /// Directories whose times may be wrong now.
    pub shared: BTreeSet<RelPath>,
    /// The names at which the node had, or has, the renamed entries.
    pub origins: BTreeMap<RelPath, Origin>,
}

/// The batches that are out, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: Vec<Lease>,
    last: u64,
    /// `true` if the node is behind a long line.
    is_far: bool,
}

impl Leases {
    /// Adds a batch, with the origins of its renamed entries.
    pub(crate) fn add(
        &mut self,
        lane: Lane,
        paths: BTreeMap<RelPath, Pending>,
        origins: BTreeMap<RelPath, Origin>,
    ) -> LeaseId {
        self.last += 1;
        let id = LeaseId(self.last);
        let needed = origins.values().map(|origin| origin.old.clone()).collect();
        let shared = BTreeSet::new();
        let along = BTreeSet::new();
        self.leases.push(Lease { id, lane, paths, origins, needed, along, worked: None, has_links: false, shared });
        id
    }

    /// The name at which the node has a path of the newest batch.
    pub(crate) fn origin(&self, path: &RelPath) -> Option<&Origin> {
        self.leases.last()?.origins.get(path)
    }

    /// The origins of all that is strictly below a directory.
    pub(crate) fn origins_below(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Origin)> {
        self.leases.last().into_iter().flat_map(|lease| lease.origins.range(dir.below()))
    }

    /// The origins of all batches.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (&RelPath, &Origin)> {
        self.leases.iter().flat_map(|lease| &lease.origins)
    }

    /// Keeps a path from being deleted at the node before the batch ends.
    pub(crate) fn need(&mut self, id: LeaseId, path: RelPath) {
        self.leases.iter_mut().filter(|lease| lease.id == id).for_each(|lease| {
            lease.needed.insert(path.clone());
        });
    }

    /// Notes that a batch sends a name beside its paths.
    pub(crate) fn take_along(&mut self, id: LeaseId, name: RelPath) {
        self.leases.iter_mut().filter(|lease| lease.id == id).for_each(|lease| {
            lease.needed.insert(name.clone());
            lease.along.insert(name.clone());
        });
    }

    /// The states of the paths of a batch.
    pub(crate) fn of(&self, id: LeaseId) -> impl Iterator<Item = &Pending> {
        self.leases.iter().filter(move |lease| lease.id == id).flat_map(|lease| lease.paths.values())
    }

    /// The time at which the oldest change of a batch was seen.
    pub(crate) fn oldest(&self, id: LeaseId) -> Option<Instant> {
        Age::oldest(self.leases.iter().find(|lease| lease.id == id)?.paths.values()).seen()
    }

    /// Tells if a batch needs the node's entry at a path or below it.
    pub(crate) fn needs(&self, path: &RelPath) -> bool {
        let needs = |lease: &Lease| {
            lease.needed.contains(path) || !path.is_root() && lease.needed.range(path.below()).next().is_some()
        };
        self.leases.iter().any(needs)
    }

    /// The number of paths that are out.
    pub(crate) fn paths(&self) -> usize {
        self.leases.iter().map(|lease| lease.paths.len()).sum()
    }

    /// The paths of all batches.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RelPath, &Pending)> {
        self.leases.iter().flat_map(|lease| &lease.paths)
    }

    /// The state of this path in the newest batch that has it.
    pub(crate) fn get(&self, path: &RelPath) -> Option<&Pending> {
        self.leases.iter().rev().find_map(|lease| lease.paths.get(path))
    }

    /// The state of this path in each batch that has it.
    pub(crate) fn all(&self, path: &RelPath) -> impl Iterator<Item = &Pending> {
        self.leases.iter().filter_map(|lease| lease.paths.get(path))
    }

    /// Tells if a batch of this lane is being worked on that does more than set the times of directories.
    pub(crate) fn works(&self, lane: Lane) -> bool {
        self.leases.iter().any(|lease| lease.works() && lease.lane == lane && !lease.is_light())
    }

    /// The number of batches of this lane that are being worked on.
    pub(crate) fn working(&self, lane: Lane) -> usize {
        self.leases.iter().filter(|lease| lease.works() && lease.lane == lane).count()
    }

    /// Tells if a path must wait for a batch that is being worked on, other than `but`.
    pub(crate) fn blocks(&self, path: &RelPath, but: Option<LeaseId>) -> bool {
        self.leases.iter().any(|lease| lease.works() && Some(lease.id) != but && lease.touches(path))
    }

    /// Tells if batches of the fast lane that follow each other without a pause could keep a path waiting for ever: one
    /// that is being worked on has something above or below it. What waits for the bulk lane, too, gains nothing by a pause.
    pub(crate) fn starves(&self, path: &RelPath) -> bool {
        let touching = || self.leases.iter().filter(|lease| lease.works() && lease.touches(path));
        touching().any(|lease| !lease.paths.contains_key(path)) && touching().all(|lease| lease.lane == Lane::Fast)
    }

    /// Tells if nothing keeps the times of a directory from being set but batches of the fast lane that are at work below
    /// it: they end by asking for that once more.
    pub(crate) fn is_above_work(&self, dir: &RelPath) -> bool {
        let mut touching = self.leases.iter().filter(|lease| lease.works() && lease.touches(dir));
        let is_above = |lease: &Lease| dir.ancestors().any(|dir| lease.is_above(&dir));
        touching.all(|lease| lease.lane == Lane::Fast && !lease.has(dir) && !is_above(lease))
    }

    /// Tells if the node is behind a long line.
    pub(crate) fn are_far(&self) -> bool {
        self.is_far
    }

    /// Notes if the node is behind a long line.
    pub(crate) fn set_far(&mut self, is_far: bool) {
        self.is_far = is_far;
    }

    /// Notes that a batch sends symlinks.
    pub(crate) fn has_links(&mut self, id: LeaseId) {
        self.leases.iter_mut().filter(|lease| lease.id == id).for_each(|lease| lease.has_links = true);
    }

    /// Tells if symlinks are being worked on.
    pub(crate) fn has_links_at_work(&self) -> bool {
        self.leases.iter().any(|lease| lease.works() && lease.has_links)
    }

    /// Tells if a condition holds for something on, above or below a path in any batch other than `but`.
    pub(crate) fn any_about(&self, path: &RelPath, but: Option<LeaseId>, is_so: impl Fn(&Pending) -> bool) -> bool {
        let others = self.leases.iter().filter(|lease| Some(lease.id) != but);
        others.into_iter().any(|lease| about(&lease.paths, path).any(|(_, pending)| is_so(pending)))
    }

    /// Tells if something on, above or below a path is out.
    pub(crate) fn touches(&self, path: &RelPath) -> bool {
        self.leases.iter().any(|lease| lease.touches(path))
    }

    /// Tells if something is out by which more at a directory may be compared or deleted than the entries that were made
    /// there.
    pub(crate) fn may_compare(&self, dir: &RelPath) -> bool {
        self.leases.iter().any(|lease| lease.may_compare(dir))
    }

    /// Takes some paths out of a batch: they are not sent with it.
    pub(crate) fn withdraw(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>) -> EndedLease {
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.id == id) else { return EndedLease::default() };
        let out = |new: &RelPath| paths.contains(new) || new.ancestors().any(|dir| paths.contains(&dir));
        let (origins, left) = std::mem::take(&mut lease.origins).into_iter().partition(|(new, _)| out(new));
        lease.origins = left;
        let origins: BTreeMap<RelPath, Origin> = origins;
        let olds: BTreeSet<&RelPath> = origins.values().map(|origin| &origin.old).collect();
        lease.needed.retain(|path| !olds.contains(path));
        let paths = paths.iter().filter_map(|path| lease.paths.remove_entry(path)).collect();
        EndedLease { paths, shared: BTreeSet::new(), origins }
    }

    /// The paths of a batch that the node lacked, each with the time until rsync had done its work on it, or until now.
    pub(crate) fn waited(&self, id: LeaseId, now: Instant) -> impl Iterator<Item = (&RelPath, Duration)> {
        let lease = self.leases.iter().find(move |lease| lease.id == id);
        lease.into_iter().flat_map(move |lease| {
            let there = lease.worked.map_or(now, |(at, _)| at);
            let lacked = lease.paths.iter().filter(|(_, pending)| !pending.is_only_looked_at());
            lacked.filter_map(move |(path, pending)| Some((path, there.saturating_duration_since(pending.age.seen()?))))
        })
    }

    /// Notes that rsync has done its work on a batch.
    pub(crate) fn worked(&mut self, id: LeaseId) {
        let Some(at) = self.leases.iter().position(|lease| lease.id == id && lease.works()) else { return };
        self.leases[at].worked = Some((Instant::now(), LeaseId(self.last)));
        if !self.leases.iter().any(|lease| lease.works()) {
            return;
        }
        let above = self.leases[at].above();
        for lease in self.leases.iter_mut().filter(|lease| lease.works()) {
            let shared = lease.above();
            lease.shared.extend(shared.intersection(&above).cloned());
        }
    }

    /// Tells if at most one batch of the bulk lane is worked on, and no path by two batches of the fast one.
    pub(crate) fn is_sound(&self) -> bool {
        let fast = || self.leases.iter().filter(|lease| lease.works() && lease.lane == Lane::Fast);
        let meets = |lease: &Lease, other: &Lease| {
            let paths = lease.paths.iter().filter(|(path, pending)| !path.is_root() && !pending.is_times());
            let mut met = paths.flat_map(|(path, _)| about(&other.paths, path).map(move |met| (path, met)));
            lease.id != other.id && met.any(|(path, (at, its))| !its.is_times() || at == path || at.is_below(path))
        };
        self.working(Lane::Bulk) <= 1 && !fast().any(|lease| fast().any(|other| meets(lease, other)))
    }

    /// Ends a batch, whatever its outcome.
    pub(crate) fn end(&mut self, id: LeaseId) -> EndedLease {
        self.worked(id);
        let Some(at) = self.leases.iter().position(|lease| lease.id == id) else { return EndedLease::default() };
        let mut ended = self.leases.remove(at);
        let mut shared = std::mem::take(&mut ended.shared);
        // Who was taken later reads their times later than any run that may still set them.
        let later = self.leases.iter().filter(|lease| ended.was_done_before(lease.id));
        later.for_each(|lease| shared.retain(|dir| !lease.sets_times(dir)));
        EndedLease { paths: ended.paths, shared, origins: ended.origins }
    }

    /// Notes that a path was deleted at the node with the batch `id`: older batches that have not ended forget it, and
    /// all below it.
    pub(crate) fn forget_older(&mut self, path: &RelPath, id: LeaseId) {
        for lease in self.leases.iter_mut().filter(|lease| lease.id < id) {
            let stale = |other: &RelPath| other == path || other.is_below(path);
            lease.paths.retain(|other, _| !stale(other));
            lease.shared.retain(|other| !stale(other));
        }
    }

    /// Notes that a path was sent with the batch `id`: older batches that have not ended forget its removal, and that its times
    /// are to be sent once more if their work was done before the batch was taken.
    pub(crate) fn sent(&mut self, path: &RelPath, pending: &Pending, id: LeaseId) {
        for lease in self.leases.iter_mut().filter(|lease| lease.id < id) {
            if lease.paths.get(path).is_some_and(Pending::is_removal) {
                lease.paths.remove(path);
            }
            if lease.was_done_before(id) && pending.sets_times() {
                lease.shared.remove(path);
            }
        }
    }

    /// Returns the batch that was taken last.
    pub(crate) fn newest(&self) -> Option<LeaseId> {
        self.leases.last().map(|lease| lease.id)
    }

    /// Tells if a batch that is newer than `id` sends the path.
    pub(crate) fn sent_since(&self, path: &RelPath, id: LeaseId) -> bool {
        self.leases.iter().any(|lease| lease.id > id && lease.paths.contains_key(path))
    }

    /// Tells if a batch that is newer than `id` removes the path.
    pub(crate) fn removed_since(&self, path: &RelPath, id: LeaseId) -> bool {
        let removed = |lease: &Lease, path: &RelPath| lease.paths.get(path).is_some_and(Pending::is_removal);
        let newer = self.leases.iter().filter(|lease| lease.id > id);
        newer.into_iter().any(|lease| removed(lease, path) || path.ancestors().any(|dir| removed(lease, &dir)))
    }
}

/// The entries on, above or below a path, which is not the root.
pub(crate) fn about<'p, P>(
    paths: &'p BTreeMap<RelPath, P>,
    path: &RelPath,
) -> impl Iterator<Item = (&'p RelPath, &'p P)> {
    let on_or_above: Vec<_> =
        path.ancestors().chain([path.clone()]).filter_map(|dir| paths.get_key_value(&dir)).collect();
    on_or_above.into_iter().chain(paths.range(path.below()))
}

#[cfg(test)]
mod tests {
    use super::single::FEW;
    use super::*;
    use crate::outbox::need::Scope;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn paths(names: &[&str]) -> BTreeMap<RelPath, Pending> {
        names.iter().map(|name| (rel(name), Pending::new(Scope::Entry))).collect()
    }

    #[test]
    fn what_is_on_above_or_below_a_path_that_is_worked_on_waits() {
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
            assert_eq!(leases.blocks(&rel(path), None), waits, "{path}");
            assert!(!leases.blocks(&rel(path), Some(id)), "it does not wait for itself");
        }
        leases.worked(id);
        assert!(!leases.blocks(&rel("d/e/big"), None), "rsync is done with it");
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
        let (bulk, fast) = (
            leases.add(Lane::Bulk, paths(&["g/big"]), BTreeMap::new()),
            leases.add(Lane::Fast, paths(&["d/small"]), BTreeMap::new()),
        );
        leases.take_along(fast, rel("g/name"));
        leases.worked(fast);
        assert_eq!(leases.end(bulk).shared, BTreeSet::from([rel("g")]), "a name was sent there, too");
    }

    #[test]
    fn a_directory_that_is_sent_since_both_runs_had_done_their_work_is_not_sent_once_more() {
        for (taken_before, ended_before, is_sent_again) in
            [(true, true, true), (true, false, true), (false, true, false), (false, false, false)]
        {
            let mut leases = Leases::default();
            let bulk = leases.add(Lane::Bulk, paths(&["d/big"]), BTreeMap::new());
            let fast = leases.add(Lane::Fast, paths(&["d/small"]), BTreeMap::new());
            leases.worked(fast);
            let take = |leases: &mut Leases| {
                let times = [(rel("d"), Pending::times(Age::default(), None))].into();
                leases.add(Lane::Fast, times, BTreeMap::new())
            };
            let early = taken_before.then(|| take(&mut leases));
            leases.worked(bulk);
            let id = early.unwrap_or_else(|| take(&mut leases));
            if ended_before {
                leases.end(id);
                leases.sent(&rel("d"), &Pending::times(Age::default(), None), id);
            }
            let shared = leases.end(bulk).shared;
            assert_eq!(!shared.is_empty(), is_sent_again, "taken before: {taken_before}, ended before: {ended_before}");
        }
    }

    #[test]
    fn what_is_removed_or_compared_as_a_level_does_not_stand_for_the_times_of_its_directory() {
        for (pending, is_sent_again) in [
            (Pending::new(Scope::Entry), false),
            (Pending::new(Scope::Subtree), false),
            (Pending::new(Scope::Level), true),
            (Pending::removal(), true),
        ] {
            let mut leases = Leases::default();
            let bulk = leases.add(Lane::Bulk, paths(&["d/big"]), BTreeMap::new());
            let fast = leases.add(Lane::Fast, paths(&["d/small"]), BTreeMap::new());
            leases.worked(fast);
            leases.worked(bulk);
            leases.add(Lane::Fast, [(rel("d"), pending)].into(), BTreeMap::new());
            assert_eq!(!leases.end(bulk).shared.is_empty(), is_sent_again, "{pending:?}");
        }
    }

    #[test]
    fn what_lies_above_or_below_batches_that_follow_each_other_would_wait_for_ever() {
        let mut leases = Leases::default();
        leases.add(Lane::Fast, paths(&["d/a"]), BTreeMap::new());
        leases.add(Lane::Bulk, paths(&["b", "e/f"]), BTreeMap::new());
        leases.add(Lane::Fast, paths(&["e/g"]), BTreeMap::new());
        for (path, starves) in
            [("d", true), ("d/a/x", true), ("d/a", false), ("d/b", false), ("b/x", false), ("e", false)]
        {
            assert_eq!(leases.starves(&rel(path)), starves, "{path}");
        }
    }

    #[test]
    fn what_is_below_a_directory_need_not_wait_until_its_times_are_set() {
        let times = |name: &str| (rel(name), Pending::times(Age::default(), None));
        for more in [0, FEW] {
            let mut leases = Leases::default();
            let others = (0..more).map(|number| times(&format!("other{number}")));
            let id = leases.add(Lane::Fast, others.chain([times("d/e"), times("")]).collect(), BTreeMap::new());
            for (path, waits) in
                [("d/e", true), ("d", true), ("", true), ("d/e/a", false), ("f", false), ("d/f", false)]
            {
                assert_eq!(leases.blocks(&rel(path), None), waits, "{path}");
            }
            assert_eq!((leases.works(Lane::Fast), leases.working(Lane::Fast)), (false, 1));
            leases.need(id, rel("d/f"));
            assert!(leases.works(Lane::Fast) && leases.blocks(&rel("d/f/x"), None));
        }
    }

    #[test]
    fn the_times_of_a_directory_are_set_again_when_a_run_below_it_was_at_work_meanwhile() {
        let mut leases = Leases::default();
        leases.set_far(true);
        let below = leases.add(Lane::Fast, paths(&["d/e/a"]), BTreeMap::new());
        let times = [(rel("d"), Pending::times(Age::default(), None))].into();
        assert!(leases.is_above_work(&rel("d")) && leases.is_above_work(&RelPath::root()));
        assert!(!leases.is_above_work(&rel("d/e/a/x")), "it waits for what is above");
        let id = leases.add(Lane::Fast, times, BTreeMap::new());
        assert!(!leases.is_above_work(&rel("d")), "they are being set");
        assert!(leases.end(id).shared.is_empty());
        assert_eq!(leases.end(below).shared, BTreeSet::from([rel("d")]));
        leases.add(Lane::Bulk, paths(&["d/large"]), BTreeMap::new());
        assert!(!leases.is_above_work(&rel("d")), "that may take long");
    }

    #[test]
    fn a_path_has_waited_until_rsync_had_done_its_work() {
        let seen = Instant::now();
        let later = seen + Duration::from_secs(7);
        let lacked = |name: &str| (rel(name), Pending::new(Scope::Entry).lacked(seen, 0, seen));
        let looked_at = lacked("known").1.only_looked_at(seen);
        let mut leases = Leases::default();
        let id = leases.add(Lane::Fast, [lacked("f"), (rel("known"), looked_at)].into(), BTreeMap::new());
        let waited =
            |leases: &Leases| leases.waited(id, later).map(|(path, took)| (path.clone(), took)).collect::<Vec<_>>();
        assert_eq!(waited(&leases), [(rel("f"), Duration::from_secs(7))], "the node had the other one");
        leases.worked(id);
        let [(_, took)] = waited(&leases)[..] else { panic!("it is out until it has ended") };
        assert!(took < Duration::from_secs(7), "{took:?}");
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
