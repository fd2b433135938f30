//! Since when the node lacks what it lacks.

use std::time::Instant;

use super::PendingSet;
use crate::path::RelPath;

impl PendingSet {
    /// When the oldest change was seen that the node does not have; `None` if it has everything.
    pub fn oldest(&self) -> Option<Instant> {
        let out = self.leases.iter().filter_map(|(_, pending)| pending.since);
        out.chain(self.waiting.oldest()).chain(self.owed_since).min()
    }

    /// Whether the node may lack something at or above this path.
    pub fn concerns(&self, path: &RelPath) -> bool {
        let waits = self.waiting.get(path).is_some() || self.waiting.is_swallowed(path);
        waits || self.reconciles() || self.leases.touches(path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::messages::Change;
    use crate::sync::lease::Lane;
    use crate::sync::pending::Fate;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn touched(path: &str) -> Change {
        Change::Touched { path: rel(path), is_dir: false, rewritten: true }
    }

    /// A set with these changes, one a second, and when it began.
    fn changed(changes: &[Change]) -> (PendingSet, Instant) {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        for (seconds, change) in (0..).zip(changes) {
            set.add(change, start + Duration::from_secs(seconds));
        }
        (set, start)
    }

    #[test]
    fn the_oldest_change_is_the_first_that_the_node_lacks_however_often_it_is_repeated() {
        let (set, start) = changed(&[touched("a"), touched("b"), touched("a")]);
        assert_eq!(set.oldest(), Some(start));
        assert_eq!(PendingSet::default().oldest(), None);
    }

    #[test]
    fn a_subtree_is_as_old_as_what_it_swallows() {
        let (set, start) = changed(&[touched("d/x"), Change::Subtree { path: rel("d") }]);
        assert_eq!((set.len(), set.oldest()), (1, Some(start)));
    }

    #[test]
    fn what_is_in_flight_is_not_at_the_node_and_what_failed_keeps_its_age() {
        let (mut set, start) = changed(&[touched("a")]);
        let batch = set.lease(Lane::Fast, 9, 9999, start);
        set.add(&touched("b"), start + Duration::from_secs(5));
        assert_eq!(set.oldest(), Some(start));
        set.settle(batch.id, start, |_| Fate::Failed, |_| Duration::from_secs(1));
        assert_eq!(set.oldest(), Some(start));
    }

    #[test]
    fn what_changed_while_it_was_sent_is_as_old_as_that_change() {
        let (mut set, start) = changed(&[touched("a")]);
        let (batch, later) = (set.lease(Lane::Fast, 9, 9999, start), start + Duration::from_secs(9));
        set.settle(batch.id, later, |_| Fate::Changed, |_| Duration::ZERO);
        assert_eq!(set.oldest(), Some(later));
    }

    #[test]
    fn a_reconcile_that_is_owed_has_an_age_and_one_that_only_looks_has_none() {
        let (mut set, start) = (PendingSet::default(), Instant::now());
        set.want_resync();
        assert_eq!(set.oldest(), None);
        set.want_reconcile();
        assert!(set.oldest().is_some());
        assert!(set.lease_reconcile(start) && set.oldest().is_some());
        set.settle_reconcile(start);
        assert_eq!(set.oldest(), None);
    }

    #[test]
    fn a_path_is_concerned_by_itself_and_by_what_is_compared_around_it() {
        let (set, _) = changed(&[touched("a/b"), Change::Subtree { path: rel("d") }]);
        for (path, expected) in [("a/b", true), ("a", false), ("a/c", false), ("d/x/y", true), ("e", false)] {
            assert_eq!(set.concerns(&rel(path)), expected, "{path}");
        }
    }
}
