//! Names of files that a batch takes along, since the files have other names in it: rsync links what is in one list. They
//! are not paths of the batch: one that fails is added by itself.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::outbox::lease::{EndedLease, LeaseId};
use crate::outbox::need::{PathNeed, Pending, Proof, Scope};
use crate::outbox::pending::PendingSet;
use crate::outbox::retry::FAILS;
use crate::path::RelPath;

/// The use of a name to a batch that has another name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameTurn {
    /// The batch takes it along.
    Now,
    /// The other lane is at work on it: the whole file waits.
    After,
    /// It goes by itself, with all names of the file.
    Alone,
}

impl PendingSet {
    /// Decides if a batch takes a name along.
    pub(crate) fn name_turn(&self, name: &RelPath, batch: LeaseId) -> NameTurn {
        let waits = self.waiting.get(name);
        let goes = |dir: RelPath| self.waiting.get(&dir).is_some_and(Pending::is_removal);
        // Where size and time prove nothing, the other names must not be linked to what the node has by this one.
        let is_alone = waits
            .is_some_and(|pending| pending.retry.tries > 0 || pending.scope != Scope::Entry || !pending.is_proven())
            || self.waiting.is_swallowed(name)
            || self.is_hidden(name)
            || name.ancestors().any(goes);
        match () {
            () if is_alone => NameTurn::Alone,
            () if self.leases.blocks(name, Some(batch)) => NameTurn::After,
            () => NameTurn::Now,
        }
    }

    /// Notes that a batch takes these names along: until it ends, nobody else works on them.
    pub(crate) fn takes_along<'n>(&mut self, id: LeaseId, names: impl Iterator<Item = &'n RelPath>) {
        for name in names {
            // What the node has by this name will be something else, perhaps.
            self.origins.disclaim(name, false);
            self.origins.doubt(name);
            self.leases.take_along(id, name.clone());
        }
    }

    /// Tells if a path of a batch goes without the other names of its file when it has failed once more.
    pub(crate) fn gives_up_names(&self, id: LeaseId) -> bool {
        self.leases.of(id).any(|pending| pending.retry.tries + 1 >= FAILS)
    }

    /// Takes paths out of a batch: they wait until then.
    pub(crate) fn let_wait(&mut self, id: LeaseId, paths: &BTreeSet<RelPath>, until: Instant) {
        let EndedLease { paths, origins, .. } = self.leases.withdraw(id, paths);
        for (path, mut pending) in paths {
            pending.retry.not_before = pending.retry.not_before.max(Some(until));
            self.waiting.put_back(path, pending);
        }
        origins.into_iter().for_each(|(new, origin)| self.origins.put_back(new, origin));
    }
}

impl Pending {
    /// Tells if the node has what its entry of equal size and time says.
    fn is_proven(&self) -> bool {
        self.need == PathNeed::Update && self.proof == Proof::default() && !self.departed
    }

    /// Tells if the other names of the file are sent with it: not when that has failed again, perhaps on their account.
    pub(crate) fn takes_names(&self) -> bool {
        self.retry.tries < FAILS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::transport::Lane;
    use std::time::Duration;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn written(path: &str) -> Change {
        Change::Touched { path: rel(path), is_dir: false, rewritten: true }
    }

    #[test]
    fn a_name_goes_along_unless_the_other_lane_has_it_or_it_waits_as_a_part_of_something() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&written("big"), now);
        let bulk = set.lease(Lane::Fast, 9, 99, now);
        set.defer(bulk.id, &BTreeSet::from([rel("big")]));
        set.settle(bulk.id, now, |_| crate::outbox::fate::Fate::Delivered, |_| Duration::ZERO);
        let bulk = set.lease(Lane::Bulk, 9, 99, now).id;
        set.add(&Change::Created { path: rel("new") }, now);
        set.add(&Change::Removed { path: rel("gone"), is_dir: true }, now);
        set.add(&written("written"), now);
        set.add(&Change::Touched { path: rel("waits"), is_dir: false, rewritten: false }, now);
        let fast = set.lease(Lane::Fast, 0, 0, now).id;
        for (name, batch, expected) in [
            ("quiet", fast, NameTurn::Now),
            ("waits", fast, NameTurn::Now),
            ("written", fast, NameTurn::Alone),
            ("big", fast, NameTurn::After),
            ("big", bulk, NameTurn::Now),
            ("new/name", fast, NameTurn::Alone),
            ("gone/name", fast, NameTurn::Alone),
        ] {
            assert_eq!(set.name_turn(&rel(name), batch), expected, "{name} {batch:?}");
        }
    }

    #[test]
    fn a_name_that_a_batch_takes_along_waits_in_the_other_lane_until_it_ends() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&written("a"), now);
        let batch = set.lease(Lane::Fast, 9, 99, now);
        set.takes_along(batch.id, [rel("b")].iter());
        let other = set.lease(Lane::Bulk, 0, 0, now).id;
        assert_eq!(set.name_turn(&rel("b"), other), NameTurn::After);
        set.settle(batch.id, now, |_| crate::outbox::fate::Fate::Delivered, |_| Duration::ZERO);
        assert_eq!(set.name_turn(&rel("b"), other), NameTurn::Now);
    }

    #[test]
    fn names_are_given_up_by_the_try_after_which_they_are_not_taken_along() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&written("a"), now);
        for expected in [false, true] {
            let batch = set.lease(Lane::Fast, 9, 99, now);
            assert!(batch.paths[0].1.takes_names());
            assert_eq!(set.gives_up_names(batch.id), expected);
            set.settle(batch.id, now, |_| crate::outbox::fate::Fate::Failed, |_| Duration::ZERO);
        }
        assert!(!set.lease(Lane::Fast, 9, 99, now).paths[0].1.takes_names());
    }

    #[test]
    fn what_is_let_wait_is_in_no_batch_and_due_later() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        ["a", "b"].iter().for_each(|path| set.add(&written(path), now));
        let batch = set.lease(Lane::Fast, 9, 99, now);
        let until = now + Duration::from_secs(1);
        set.let_wait(batch.id, &BTreeSet::from([rel("a")]), until);
        set.settle(batch.id, now, |_| crate::outbox::fate::Fate::Delivered, |_| Duration::ZERO);
        let early = set.lease(Lane::Fast, 9, 99, now);
        assert_eq!(early.paths, []);
        set.roll_back_batch(early.id);
        let later = set.lease(Lane::Fast, 9, 99, until).paths;
        assert_eq!(later.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [rel("a")]);
        assert!(later[0].1.proof.rewritten);
    }
}
