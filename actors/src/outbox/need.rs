//! One path that waits: what the node needs of it, when it may be tried, and since when the node lacks it. Plain
//! values: each thing that can become of a path is a method here, and two reports of one path merge by a table.

use std::time::{Duration, Instant};

use crate::outbox::retry::{FAILS, Retry, TOGETHER, restless_pause, unfit_pause};
use crate::transport::Lane;

/// The part of a path that is to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The entry itself, and nothing below it.
    Entry,
    /// The entry and, if it is a directory, the names in it.
    Level,
    /// The entry and all below it.
    Subtree,
}

/// The latest that was reported of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathNeed {
    /// A change of the entry.
    Update,
    /// The entry came there from another name: where its origin is not known, it is as good as rewritten.
    Renamed,
    /// The entry was removed. A path that is missing without such a report may have been moved together with a
    /// directory above it.
    Removal,
    /// No change: the times of a directory are to be set once more, as each of two runs at once has set them as it read them.
    Times,
}

/// The worth of equal size and time at the node as a proof of equal content. All four combinations occur.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The content is new: they prove nothing.
    pub rewritten: bool,
    /// The file was open for writing: the content is to be compared.
    pub closed: bool,
}

/// The age of a path: since when the node lacks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// The time at which the oldest change was seen that the node does not have; `None` until the path waits in a fold.
    since: Option<Instant>,
    /// `Some` if the node got the path, and it is only looked at again since then: a comparison beside it may have
    /// overtaken it.
    again: Option<Instant>,
    /// The time from which the lag counts, if not from the oldest change: the path changed again after it had failed
    /// repeatedly.
    anew: Option<Instant>,
}

/// One path that waits.
///
/// The latest report decides `need`, `lane` and `retry`; the rest gathers what was reported since the node had the
/// path, so that each scope and each proof occurs with each need. A removal keeps them for the case that the name
/// exists again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The part of the path that is to be compared if it exists.
    pub(crate) scope: Scope,
    /// The latest that was reported of it.
    pub(crate) need: PathNeed,
    /// The worth of equal size and time at the node.
    pub(crate) proof: Proof,
    /// The earlier file has another name now: the next one is another file, and the node must not write into the
    /// earlier one.
    pub departed: bool,
    /// Removals were folded into a subtree, so that comparing it deletes.
    pub holds_removals: bool,
    /// The lane that had room for it when it was last looked at.
    pub lane: Lane,
    /// The time at which it may be tried.
    pub retry: Retry,
    /// The times since which it waits.
    pub age: Age,
}

impl PathNeed {
    /// Merges two reports of a name. Returns true with it if the older one makes the content new.
    fn followed_by(self, older: Proof, newer: PathNeed) -> (PathNeed, bool) {
        match (self, newer) {
            // What came by a rename is what it was, whatever was there before.
            (_, PathNeed::Renamed) => (PathNeed::Renamed, false),
            (_, PathNeed::Times) => (self, older.rewritten),
            // What was removed and is there again is new.
            (PathNeed::Removal, _) => (newer, true),
            (PathNeed::Renamed, PathNeed::Update) => (PathNeed::Renamed, older.rewritten),
            (PathNeed::Update | PathNeed::Renamed | PathNeed::Times, _) => (newer, older.rewritten),
        }
    }
}

impl Age {
    /// Lacked since one change.
    pub(crate) fn since(at: Instant) -> Self {
        Age { since: Some(at), ..Age::default() }
    }

    /// As old as the oldest of these paths, or of no age.
    pub(crate) fn oldest<'a>(paths: impl IntoIterator<Item = &'a Pending>) -> Self {
        paths.into_iter().filter_map(|pending| pending.age.since).min().map(Age::since).unwrap_or_default()
    }

    /// The time at which the oldest change was seen that the node does not have.
    pub(crate) fn seen(self) -> Option<Instant> {
        self.since
    }

    /// Returns the time since which the node is known to lack the path.
    pub(crate) fn lacking_since(self) -> Option<Instant> {
        self.again.or(self.since)
    }

    /// Dates what has no date yet.
    pub(super) fn begin(&mut self, now: Option<Instant>) {
        self.since = self.since.or(now);
    }

    /// As old as the older of two, with the time from which the lag of both counts.
    fn joined(self, other: Age, on_its_way: Option<Instant>) -> Self {
        let (since, again) = match (self.again, other.again) {
            (Some(one), Some(another)) => (earlier(self.since, other.since), Some(one.min(another))),
            _ => (earlier(self.lacking_since(), other.lacking_since()), None),
        };
        let joined = Age { since, again, anew: None };
        Age { anew: on_its_way.filter(|_| on_its_way != joined.lacking_since()), ..joined }
    }
}

impl Pending {
    /// A path that changed just now.
    pub(crate) fn new(scope: Scope) -> Self {
        Pending {
            scope,
            need: PathNeed::Update,
            proof: Proof::default(),
            departed: false,
            holds_removals: false,
            lane: Lane::Fast,
            retry: Retry::default(),
            age: Age::default(),
        }
    }

    /// A path that was removed just now.
    pub(crate) fn removal() -> Self {
        Pending { need: PathNeed::Removal, ..Pending::new(Scope::Entry) }
    }

    /// A directory of which the times are to be set once more, not before that time.
    pub(crate) fn times(age: Age, not_before: Option<Instant>) -> Self {
        let retry = Retry { not_before, ..Retry::default() };
        Pending { need: PathNeed::Times, age, retry, ..Pending::new(Scope::Entry) }
    }

    /// The same path, of which the content is new or not.
    #[must_use]
    pub(crate) fn rewritten(self, rewritten: bool) -> Self {
        Pending { proof: Proof { rewritten, ..self.proof }, ..self }
    }

    /// The same path, which the node has lacked since then, and which failed so often. It is left alone for a while.
    #[must_use]
    pub(crate) fn lacked(self, since: Instant, tries: u32, not_before: Instant) -> Self {
        Pending { age: Age::since(since), retry: Retry::after(tries, not_before), ..self }
    }

    /// The same path, which failed once as a part of a directory that the node has lacked since then. What is older in
    /// the directory may have failed before: the path is on its way since it is tried by itself.
    #[must_use]
    pub(crate) fn tried_apart(self, since: Instant, not_before: Instant) -> Self {
        let lacked = self.lacked(since, 1, not_before);
        Pending { age: Age { anew: Some(not_before), ..lacked.age }, ..lacked }
    }

    /// Tells if the removal was reported, and nothing since.
    pub(crate) fn is_removal(&self) -> bool {
        self.need == PathNeed::Removal
    }

    /// Tells if it is a directory of which nothing but the times is to be set.
    pub(crate) fn is_times(&self) -> bool {
        self.need == PathNeed::Times
    }

    /// Tells if it is such a directory that was not tried: it waits for nothing but its turn.
    pub(crate) fn is_untried_times(&self) -> bool {
        self.is_times() && self.retry.tries == 0
    }

    /// Tells if the path failed again although nothing changed: it does not arrive until something is done about it.
    /// Removals are tried with what failed beside them at first, and then by themselves.
    pub(crate) fn is_failing(&self) -> bool {
        self.retry.tries >= if self.is_removal() { TOGETHER + 1 } else { FAILS }
    }

    /// Returns the time since which the path is on its way to the node; `None` if it is failing.
    pub(crate) fn on_its_way_since(&self) -> Option<Instant> {
        if self.is_failing() { None } else { self.age.anew.or(self.age.lacking_since()) }
    }

    /// Tells if the node has it, and it is only looked at again.
    pub(crate) fn is_only_looked_at(&self) -> bool {
        self.age.again.is_some()
    }

    /// Tells if the times of the entry are set exactly as they are: what compares a level passes over what a node cannot hold.
    pub(super) fn sets_times(&self) -> bool {
        !self.is_removal() && self.scope != Scope::Level
    }

    /// Tells if it stands for a directory that was made, of which nothing else was told.
    pub(super) fn is_of_new_directory(&self) -> bool {
        let is_entry = self.scope == Scope::Entry && matches!(self.need, PathNeed::Update | PathNeed::Times);
        is_entry && self.proof == Proof::default() && !self.departed && !self.holds_removals
    }

    /// Tells if the node has what its entry of equal size and time says.
    pub(super) fn is_proven(&self) -> bool {
        self.need == PathNeed::Update && self.proof == Proof::default() && !self.departed
    }

    /// Tells if the other names of the file are sent with it: not when that has failed again, perhaps on their account.
    pub(crate) fn takes_names(&self) -> bool {
        self.retry.tries < FAILS
    }

    /// Tells if working on it mirrors a removal.
    pub(crate) fn deletes(&self) -> bool {
        // A level lacks the names that were removed, reported or not.
        self.is_removal() || self.holds_removals || self.scope == Scope::Level
    }

    /// Tells if working on it deals with as much as this, or deletes that.
    pub(crate) fn reaches(&self, least: Scope) -> bool {
        self.scope >= least || self.is_removal()
    }

    /// Tells if a change of it was seen until `at`.
    pub(crate) fn is_seen_until(&self, at: Instant) -> bool {
        self.age.since.is_none_or(|since| since <= at)
    }
}

/// Each thing that can become of a path.
impl Pending {
    /// The same path, changed again: the newer report says if it is there and when it is due.
    pub(super) fn followed_by(self, newer: Pending) -> Pending {
        let (need, is_new) = self.need.followed_by(self.proof, newer.need);
        let mut followed = Pending {
            scope: self.scope.max(newer.scope),
            need,
            proof: Proof {
                rewritten: newer.proof.rewritten || is_new,
                closed: newer.proof.closed || self.proof.closed,
            },
            departed: newer.departed || self.departed,
            holds_removals: self.holds_removals || newer.holds_removals,
            lane: newer.lane,
            // What is reported while it goes on changing is no new beginning.
            retry: Retry { unrest: self.retry.unrest.max(newer.retry.unrest), ..newer.retry },
            age: newer.age,
        };
        followed.stand_for(&self);
        followed
    }

    /// A change below a subtree is one of the subtree: what it waits for may be over.
    pub(super) fn swallow(&mut self, below: &Pending) {
        // It may be at work in a moment, which a new directory must be, and one that waits need not.
        let waits = self.retry.tries > 0 || self.retry.not_before.is_some();
        self.holds_removals |= waits && below.deletes();
        self.retry.not_before = below.retry.not_before.and(self.retry.not_before);
        self.stand_for(below);
    }

    /// Is as old as the other, too.
    pub(super) fn stand_for(&mut self, other: &Pending) {
        let on_its_way = earlier(self.on_its_way_since(), other.on_its_way_since());
        self.age = self.age.joined(other.age, on_its_way);
    }

    /// Cuts the path to a subtree above it, for what was seen until `now`.
    pub(super) fn cut(self, now: Option<Instant>) -> Pending {
        Pending {
            scope: Scope::Subtree,
            need: PathNeed::Update,
            proof: Proof::default(),
            holds_removals: self.deletes(),
            lane: Lane::Fast,
            // As a part of the directory it was not tried yet.
            retry: Retry { tries: 0, not_before: None, settles: false, ..self.retry },
            age: Age { anew: self.on_its_way_since().or(now), ..self.age },
            ..self
        }
    }

    /// The path changed while it was sent: what it was before is at the node.
    pub(super) fn changed(self, now: Instant) -> Pending {
        let not_before = Some(now + restless_pause(self.retry.unrest));
        let retry = Retry { unrest: self.retry.unrest + 1, not_before, tries: 0, ..self.retry };
        Pending { retry, age: Age::since(now), ..self.rewritten(false) }
    }

    /// The path was to be deleted, and is there again: the node may have what it was.
    pub(super) fn returned(self, now: Instant) -> Pending {
        let need = if self.is_removal() { PathNeed::Update } else { self.need };
        let retry = Retry { not_before: None, tries: 0, ..self.retry };
        Pending { need, retry, age: Age::since(now), ..self.rewritten(true) }
    }

    /// The path failed. `retry` says how long a path is left alone that failed so often before.
    pub(super) fn failed(self, now: Instant, retry: impl Fn(u32) -> Duration) -> Pending {
        let tries = self.retry.tries;
        let pause = if self.is_removal() && tries >= TOGETHER { retry(tries) / 2 } else { retry(tries) };
        Pending { retry: self.retry.failed(now + pause), ..self }
    }

    /// Puts a removal off that is due while something beside it failed, as if the removal had failed too: it may be
    /// that path's old name.
    pub(super) fn with_what_failed(self, now: Instant, retry: impl Fn(u32) -> Duration) -> Pending {
        let tries = self.retry.tries;
        let waits = self.is_removal() && self.retry.is_due(now) && tries < TOGETHER;
        if waits { Pending { retry: self.retry.failed(now + retry(tries)), ..self } } else { self }
    }

    /// The path does not fit at the node: that nothing changed need not be seen twice.
    pub(super) fn unfit(self, now: Instant, retry_in: Duration) -> Pending {
        let tries = FAILS.max(self.retry.tries + 1);
        let not_before = Some(now + unfit_pause(retry_in, tries - FAILS));
        Pending { retry: Retry { tries, not_before, ..self.retry }, ..self }
    }

    /// The path was not tried, as what is beside it does not fit.
    pub(super) fn untried(self, not_before: Instant) -> Pending {
        let retry = Retry { tries: self.retry.tries.max(1), not_before: Some(not_before), ..self.retry };
        Pending { retry, ..self }
    }

    /// The path is missing, and nobody reported its removal yet.
    pub(super) fn missing(self, now: Instant, not_before: Instant) -> Pending {
        let unreported = self.retry.unreported.or(Some(now));
        Pending { retry: Retry { unreported, not_before: Some(not_before), ..self.retry }, ..self }
    }

    /// The node got the path beside a reconcile, which may have overtaken it.
    pub(crate) fn only_looked_at(self, now: Instant) -> Pending {
        Pending { age: Age { again: Some(now), ..self.age }, ..self }
    }

    /// A reconcile ended beside it: what was missing before, and new before, that has dealt with.
    pub(super) fn after_reconcile(self) -> Pending {
        Pending { retry: Retry { unreported: None, ..self.retry }, ..self.rewritten(false) }
    }
}

/// The earlier of two times, of which either may not be known.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reports_of_a_name_come_to_one_need_and_one_proof() {
        use PathNeed::{Removal, Renamed, Update};
        let old = |need, rewritten| Pending { need, ..Pending::new(Scope::Entry) }.rewritten(rewritten);
        for (older, rewritten, newer, need, is_new) in [
            (Update, false, Update, Update, false),
            (Update, true, Update, Update, true),
            (Update, true, Renamed, Renamed, false),
            (Update, true, Removal, Removal, true),
            (Renamed, false, Update, Renamed, false),
            (Renamed, true, Update, Renamed, true),
            (Renamed, true, Renamed, Renamed, false),
            (Renamed, false, Removal, Removal, false),
            (Removal, false, Update, Update, true),
            (Removal, true, Renamed, Renamed, false),
            (Removal, false, Removal, Removal, true),
        ] {
            let merged = old(older, rewritten).followed_by(old(newer, false));
            assert_eq!((merged.need, merged.proof.rewritten), (need, is_new), "{older:?} {rewritten} {newer:?}");
            assert!(old(older, rewritten).followed_by(old(newer, true)).proof.rewritten, "the newer content counts");
        }
    }

    #[test]
    fn what_was_reported_once_of_a_path_holds_until_the_node_has_it_and_what_waits_is_as_the_latest_says() {
        let now = Instant::now();
        let proof = Proof { closed: true, ..Proof::default() };
        let retry = Retry { tries: 3, not_before: Some(now), unrest: 2, settles: true, unreported: Some(now) };
        let subtree = Pending::new(Scope::Subtree);
        let old = Pending { proof, departed: true, holds_removals: true, lane: Lane::Bulk, retry, ..subtree };
        let merged = old.followed_by(Pending::new(Scope::Entry));
        assert_eq!(merged, Pending { proof, departed: true, holds_removals: true, retry: merged.retry, ..subtree });
        assert_eq!(merged.retry, Retry { unrest: 2, ..Retry::default() });
        assert_eq!(Pending::new(Scope::Entry).followed_by(old), old);
    }

    #[test]
    fn what_becomes_of_a_try_is_counted_and_dated() {
        let now = Instant::now();
        let second = |seconds| now + Duration::from_secs(seconds);
        let tried = |tries, unrest| Retry { tries, unrest, ..Retry::default() };
        let pending = |need, retry| Pending { need, retry, ..Pending::new(Scope::Entry) };
        let fails = |pending: Pending| pending.failed(now, |tries| Duration::from_secs(8 * (u64::from(tries) + 1)));
        for (after, tries, due) in [
            (fails(pending(PathNeed::Update, tried(0, 0))), 1, second(8)),
            (fails(pending(PathNeed::Update, tried(5, 0))), 6, second(48)),
            (fails(pending(PathNeed::Removal, tried(4, 0))), 5, second(40)),
            (fails(pending(PathNeed::Removal, tried(5, 0))), 6, second(24)),
            (pending(PathNeed::Update, tried(3, 0)).changed(now), 0, second(1)),
            (pending(PathNeed::Update, tried(3, 4)).changed(now), 0, second(16)),
            (pending(PathNeed::Update, tried(0, 40)).changed(now), 0, second(320)),
            (pending(PathNeed::Update, tried(0, 0)).unfit(now, Duration::from_secs(9)), 2, second(9)),
            (pending(PathNeed::Update, tried(3, 0)).unfit(now, Duration::from_secs(9)), 4, second(36)),
            (pending(PathNeed::Update, tried(20, 0)).unfit(now, Duration::from_secs(9)), 21, second(3600)),
            (pending(PathNeed::Update, tried(0, 0)).untried(second(9)), 1, second(9)),
            (pending(PathNeed::Update, tried(4, 0)).untried(second(9)), 4, second(9)),
            (pending(PathNeed::Update, tried(4, 0)).missing(now, second(9)), 4, second(9)),
        ] {
            assert_eq!((after.retry.tries, after.retry.not_before), (tries, Some(due)), "{after:?}");
        }
        let returned = pending(PathNeed::Removal, tried(3, 0)).returned(now);
        assert_eq!((returned.need, returned.proof.rewritten), (PathNeed::Update, true));
        assert_eq!(returned.retry, Retry::default());
    }

    #[test]
    fn of_two_ages_the_older_counts_and_what_is_only_looked_at_is_no_lack_beside_what_is_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let looked_at = |since, again| Age { again: Some(at(again)), ..Age::since(at(since)) };
        for (one, other, lacking, is_lack) in [
            (Age::since(at(1)), Age::since(at(2)), at(1), true),
            (looked_at(1, 5), looked_at(2, 4), at(4), false),
            (looked_at(1, 5), Age::since(at(2)), at(2), true),
            (looked_at(1, 3), Age::since(at(4)), at(3), true),
            (Age::since(at(2)), Age::default(), at(2), true),
        ] {
            for joined in [one.joined(other, None), other.joined(one, None)] {
                assert_eq!((joined.lacking_since(), joined.again.is_none()), (Some(lacking), is_lack), "{joined:?}");
            }
        }
        let since = Age::since(at(1));
        assert_eq!(since.joined(since, Some(at(1))).anew, None, "it is on its way since the node lacks it");
        assert_eq!(since.joined(since, Some(at(3))).anew, Some(at(3)));
    }
}
