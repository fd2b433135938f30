//! What differed at the last look, and what becomes of it at the next. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::path::RelPath;
use crate::transport::comparison::Difference;

/// Entries that may be looked at again, some 120 bytes each.
pub(crate) const CAP: usize = 100_000;

/// Entries that differed, and of which it is not known whether they were on their way.
#[derive(Debug)]
pub(crate) struct Suspects {
    open: BTreeMap<RelPath, Difference>,
    cap: usize,
    /// For which there was no room.
    dropped: u64,
}

/// The result of another look at an entry that differed at the look before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecondLook {
    /// The difference as it is now; `None` if the entry is equal now.
    pub difference: Option<Difference>,
    /// The changes since the look before.
    pub movement: Movement,
    /// `true` if there is no other look.
    pub is_last: bool,
}

/// The changes about an entry that may explain a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Movement {
    /// Nothing changed since the look before.
    None,
    /// The source changed about the entry since the look before.
    Changed,
    /// The source had the entry between two looks, at neither of which it did.
    Flickers,
    /// The entry is known to be on its way.
    Pending,
}

/// The verdict on an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryOutcome {
    /// It is as in the source.
    Equal,
    /// It differs, and nothing is under way that would change that.
    Differs(Difference),
    /// It is looked at again.
    Open,
    /// The looks do not decide: the entry went on changing.
    Unsettled,
}

/// Decides about an entry.
pub(crate) fn judge(before: Difference, again: SecondLook) -> EntryOutcome {
    use Difference::OnlyThere;
    let SecondLook { difference: Some(now), movement, is_last } = again else { return EntryOutcome::Equal };
    // It came or went in the source meanwhile.
    if (now == OnlyThere) != (before == OnlyThere) {
        return if is_last { EntryOutcome::Unsettled } else { EntryOutcome::Open };
    }
    match (movement, is_last) {
        (Movement::None, _) => EntryOutcome::Differs(now),
        (_, false) => EntryOutcome::Open,
        // Something comes or goes in its directory all the time, but it was in no look.
        (Movement::Changed, true) if now == OnlyThere => EntryOutcome::Differs(now),
        (_, true) => EntryOutcome::Unsettled,
    }
}

impl Default for Suspects {
    fn default() -> Self {
        Suspects::new(CAP)
    }
}

impl Suspects {
    /// None, with room for `cap`.
    pub(crate) fn new(cap: usize) -> Self {
        Suspects { open: BTreeMap::new(), cap, dropped: 0 }
    }

    /// Adds an entry that differs.
    pub(crate) fn add(&mut self, path: RelPath, difference: Difference) {
        if self.open.len() < self.cap || self.open.contains_key(&path) {
            self.open.insert(path, difference);
        } else {
            self.dropped += 1;
        }
    }

    /// Tells if none is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Counts the entries that differed and are not looked at again.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Those that are to be looked at, in order: what lies below a directory that is missing, or only there, is decided
    /// with it.
    pub(crate) fn leaders(&self) -> Vec<(RelPath, Difference)> {
        let leads = |(path, difference): &(&RelPath, &Difference)| self.leader(path, **difference).is_none();
        self.open.iter().filter(leads).map(|(path, difference)| (path.clone(), *difference)).collect()
    }

    /// The topmost directory with which an entry is decided, if it is not by itself.
    fn leader(&self, path: &RelPath, difference: Difference) -> Option<RelPath> {
        if path.is_root() || !matches!(difference, Difference::Missing | Difference::OnlyThere) {
            return None;
        }
        let mut above = std::iter::once(RelPath::root()).chain(path.ancestors());
        above.find(|dir| self.open.get(dir) == Some(&difference))
    }

    /// Ends with what the leaders came to. What follows one that differs differs as well, if it is `still` so; what follows
    /// one that does not leads from now on. Returns what differs, and the number of those of which nobody can say.
    pub(crate) fn decide(
        &mut self,
        verdicts: &HashMap<RelPath, EntryOutcome>,
        is_last: bool,
        still: impl Fn(&RelPath, Difference) -> bool,
    ) -> (Vec<(RelPath, Difference)>, u64) {
        let mut differing = Vec::new();
        let mut unsettled = 0;
        let mut gone = Vec::new();
        for (path, difference) in &self.open {
            let leader = self.leader(path, *difference);
            let verdict = verdicts.get(leader.as_ref().unwrap_or(path)).copied().unwrap_or(EntryOutcome::Equal);
            let verdict = match (verdict, leader.is_some()) {
                (EntryOutcome::Differs(_), true) if still(path, *difference) => EntryOutcome::Differs(*difference),
                (EntryOutcome::Differs(_), true) => EntryOutcome::Equal,
                (EntryOutcome::Equal, true) if is_last => EntryOutcome::Unsettled,
                (EntryOutcome::Equal, true) => EntryOutcome::Open,
                (verdict, _) => verdict,
            };
            match verdict {
                EntryOutcome::Equal => (),
                EntryOutcome::Differs(difference) => differing.push((path.clone(), difference)),
                EntryOutcome::Unsettled => unsettled += 1,
                EntryOutcome::Open => continue,
            }
            gone.push(path.clone());
        }
        gone.iter().for_each(|path| _ = self.open.remove(path));
        (differing, unsettled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Difference::{Attributes, Content, Missing, OnlyThere};

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn suspects(entries: &[(&str, Difference)]) -> Suspects {
        let mut suspects = Suspects::default();
        entries.iter().for_each(|(path, difference)| suspects.add(rel(path), *difference));
        suspects
    }

    fn names(entries: &[(RelPath, Difference)]) -> Vec<String> {
        entries.iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn only_what_differs_at_both_looks_and_did_not_change_between_them_differs() {
        let again = |difference, movement, is_last| SecondLook { difference, movement, is_last };
        for (before, after, expected) in [
            (Content, again(None, Movement::None, false), EntryOutcome::Equal),
            (Content, again(None, Movement::Pending, true), EntryOutcome::Equal),
            (Content, again(Some(Content), Movement::None, false), EntryOutcome::Differs(Content)),
            (Content, again(Some(Attributes), Movement::None, true), EntryOutcome::Differs(Attributes)),
            (Missing, again(Some(Content), Movement::None, false), EntryOutcome::Differs(Content)),
            (Content, again(Some(Content), Movement::Changed, false), EntryOutcome::Open),
            (Content, again(Some(Content), Movement::Pending, false), EntryOutcome::Open),
            (Content, again(Some(Content), Movement::Changed, true), EntryOutcome::Unsettled),
            (OnlyThere, again(Some(OnlyThere), Movement::None, false), EntryOutcome::Differs(OnlyThere)),
            (OnlyThere, again(Some(OnlyThere), Movement::Changed, false), EntryOutcome::Open),
            (OnlyThere, again(Some(OnlyThere), Movement::Changed, true), EntryOutcome::Differs(OnlyThere)),
            (OnlyThere, again(Some(OnlyThere), Movement::Pending, true), EntryOutcome::Unsettled),
            (OnlyThere, again(Some(OnlyThere), Movement::Flickers, false), EntryOutcome::Open),
            (OnlyThere, again(Some(OnlyThere), Movement::Flickers, true), EntryOutcome::Unsettled),
            (OnlyThere, again(Some(Content), Movement::None, false), EntryOutcome::Open),
            (Content, again(Some(OnlyThere), Movement::None, true), EntryOutcome::Unsettled),
        ] {
            assert_eq!(judge(before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_is_below_a_directory_that_is_missing_or_only_there_is_decided_with_it() {
        let mut suspects = suspects(&[
            ("d", Missing),
            ("d-e", Content),
            ("d/f", Missing),
            ("d/g/h", Missing),
            ("d/g/other", OnlyThere),
            ("x", OnlyThere),
            ("x/y", OnlyThere),
            ("z", Attributes),
            ("z/f", Content),
        ]);
        assert_eq!(names(&suspects.leaders()), ["d", "d-e", "d/g/other", "x", "z", "z/f"]);
        let verdicts = [
            ("d", EntryOutcome::Differs(Missing)),
            ("x", EntryOutcome::Differs(OnlyThere)),
            ("z", EntryOutcome::Open),
            ("d-e", EntryOutcome::Unsettled),
        ];
        let verdicts = verdicts.map(|(path, verdict)| (rel(path), verdict)).into();
        let (differing, unsettled) = suspects.decide(&verdicts, false, |path, _| *path != rel("d/g/h"));
        assert_eq!((names(&differing), unsettled), (["d", "d/f", "x", "x/y"].map(str::to_owned).into(), 1));
        assert_eq!(names(&suspects.leaders()), ["z"]);
    }

    #[test]
    fn what_was_below_a_directory_that_came_meanwhile_is_looked_at_by_itself() {
        let mut suspects = suspects(&[("", Missing), ("d", Missing), ("d/f", Missing)]);
        assert_eq!(names(&suspects.leaders()), ["."]);
        let equal = |path| [(rel(path), EntryOutcome::Equal)].into();
        assert_eq!(suspects.decide(&equal(""), false, |_, _| true), (vec![], 0));
        assert_eq!(names(&suspects.leaders()), ["d"]);
        // There is no look left for it.
        assert_eq!(suspects.decide(&equal("d"), true, |_, _| true), (vec![], 1));
        assert!(suspects.is_empty());
    }

    #[test]
    fn more_than_can_be_looked_at_again_is_counted() {
        let mut suspects = Suspects::new(2);
        ["a", "b", "a", "c", "d"].iter().for_each(|path| suspects.add(rel(path), Content));
        assert_eq!((suspects.leaders().len(), suspects.dropped()), (2, 2));
    }
}
