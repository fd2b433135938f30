//! Changed paths that some node may still lack, held back until all nodes have them. A pure data structure; [`Nodes`]
//! tells which node lacks a path.
//!
//! A path is checked when it is new, and again when the node that lacked it has settled some change: a node that is
//! down costs no checks. Paths are checked in portions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use crate::path::RelPath;
use crate::transport::heard::Room;

/// The paths that are held back.
#[derive(Debug, Default)]
pub(crate) struct HookBarrier {
    open: HashMap<RelPath, Span>,
    /// Paths that were not checked yet.
    fresh: VecDeque<RelPath>,
    /// Paths that a node lacked at the last check, by the number of that node.
    held: BTreeMap<usize, LackedPaths>,
    /// Node whose paths were checked last; the other nodes come next.
    turn: usize,
    room: Room,
    /// Start of the last run that changed a path for which there was no room.
    cut: Option<Instant>,
}

/// Start times of the first and the last run that changed a path. A path that changes all the time never reaches all
/// nodes in its present form; it is released once all nodes have the form that the first run sent.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

/// Paths that one node lacks, in the order in which they are checked.
#[derive(Debug, Default)]
struct LackedPaths {
    paths: VecDeque<RelPath>,
    /// Number of paths at the front that are to be checked.
    due: usize,
}

/// Nodes that may lack a change.
pub(crate) trait Nodes {
    /// Numbers of the nodes that must have a path before its release.
    fn numbers(&self) -> &[usize];
    /// Tells if a node may lack a change of `path` that was seen until `at`.
    fn lacks(&self, node: usize, path: &RelPath, at: Instant) -> bool;
    /// Tells if a node may lack any change that was seen until `at`.
    fn lacks_any(&self, node: usize, at: Instant) -> bool;
}

impl HookBarrier {
    /// Makes a barrier with room for `paths` paths.
    #[cfg(test)]
    pub(crate) fn of(paths: usize) -> HookBarrier {
        HookBarrier { room: Room::of(paths), ..HookBarrier::default() }
    }

    /// Adds a path that a run changed at some node; the run began at `at`.
    pub(crate) fn add(&mut self, path: RelPath, at: Instant) {
        if let Some(span) = self.open.get_mut(&path) {
            span.last = span.last.max(at);
        } else if self.room.take(&path) {
            self.fresh.push_back(path.clone());
            self.open.insert(path, Span { first: at, last: at });
        } else {
            self.cut(at);
        }
    }

    /// Notes that a run, which began at `at`, changed paths that are not known by name.
    pub(crate) fn cut(&mut self, at: Instant) {
        self.cut = self.cut.max(Some(at));
    }

    /// Tells if some paths are missing for want of room, so that the released paths are not complete.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Returns the number of paths that are held back.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Tells if nothing is held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.cut.is_none()
    }

    /// Makes the paths that a node lacked due for a check.
    pub(crate) fn settled(&mut self, node: usize) {
        self.held.entry(node).and_modify(|held| held.due = held.paths.len());
    }

    /// Makes the paths that any node lacked due for a check.
    pub(crate) fn settled_all(&mut self) {
        self.held.values_mut().for_each(|held| held.due = held.paths.len());
    }

    /// Forgets a node that was removed; the paths that it lacked are checked anew.
    pub(crate) fn forget(&mut self, node: usize) {
        self.fresh.extend(self.held.remove(&node).into_iter().flat_map(|held| held.paths));
    }

    /// Tells if some path is due for a check.
    pub(crate) fn is_due(&self) -> bool {
        !self.fresh.is_empty() || self.held.values().any(|held| held.due > 0)
    }

    /// Checks up to `portion` paths and calls `told` with each that every node has. New paths are checked only if they
    /// changed until `before`. Returns the number of checked paths.
    pub(crate) fn look(
        &mut self,
        portion: usize,
        before: Instant,
        nodes: &impl Nodes,
        mut told: impl FnMut(RelPath),
    ) -> usize {
        let mut looked = 0;
        while looked < portion
            && let Some((path, held_by)) = self.next(before)
        {
            looked += 1;
            let Some(span) = self.open.get_mut(&path) else { continue };
            // The node that lacked the path is the likeliest to lack it still.
            let first = held_by.filter(|node| nodes.numbers().contains(node));
            let others = || nodes.numbers().iter().copied().filter(|node| Some(*node) != first);
            let lacking = |at| first.into_iter().chain(others()).find(|&node| nodes.lacks(node, &path, at));
            let held_by = lacking(span.last);
            let is_told = held_by.is_none() || span.first < span.last && lacking(span.first).is_none();
            if is_told {
                told(path.clone());
            }
            if let Some(node) = held_by {
                if is_told {
                    span.first = span.last;
                }
                self.held.entry(node).or_default().paths.push_back(path);
            } else {
                self.open.remove(&path);
                self.room.give_back(&path);
            }
        }
        looked
    }

    /// Returns true, once, when every node has the changes for which there was no room.
    pub(crate) fn take_cut(&mut self, nodes: &impl Nodes) -> bool {
        let is_lacking = |at: &mut Instant| nodes.numbers().iter().any(|&node| nodes.lacks_any(node, *at));
        self.cut.take_if(|at| !is_lacking(at)).is_some()
    }

    /// Returns the path to check next, and the node that lacked it.
    fn next(&mut self, before: Instant) -> Option<(RelPath, Option<usize>)> {
        let is_ripe = |path: &RelPath| self.open.get(path).is_none_or(|span| span.first <= before);
        if self.fresh.front().is_some_and(is_ripe) {
            return self.fresh.pop_front().map(|path| (path, None));
        }
        let is_due = |(node, held): (&usize, &LackedPaths)| (held.due > 0).then_some(*node);
        let (after, before) = (self.turn.saturating_add(1).., ..=self.turn);
        let mut turns = self.held.range(after).chain(self.held.range(before));
        self.turn = turns.find_map(is_due)?;
        let held = self.held.get_mut(&self.turn)?;
        held.due -= 1;
        held.paths.pop_front().map(|path| (path, Some(self.turn)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    /// Nodes with the paths that each lacks, and the times of these changes.
    #[derive(Default)]
    struct Lacking {
        numbers: Vec<usize>,
        paths: Vec<(usize, &'static str, Instant)>,
        asked: Cell<usize>,
    }

    impl Nodes for Lacking {
        fn numbers(&self) -> &[usize] {
            &self.numbers
        }

        fn lacks(&self, node: usize, path: &RelPath, at: Instant) -> bool {
            self.asked.set(self.asked.get() + 1);
            self.paths.iter().any(|(who, what, since)| *who == node && rel(what) == *path && *since <= at)
        }

        fn lacks_any(&self, node: usize, at: Instant) -> bool {
            self.paths.iter().any(|(who, _, since)| *who == node && *since <= at)
        }
    }

    fn lacking(nodes: usize, paths: &[(usize, &'static str, Instant)]) -> Lacking {
        Lacking { numbers: (0..nodes).collect(), paths: paths.to_vec(), asked: Cell::new(0) }
    }

    fn look(barrier: &mut HookBarrier, nodes: &Lacking) -> Vec<String> {
        let mut told = Vec::new();
        let later = Instant::now() + Duration::from_secs(999);
        while barrier.look(2, later, nodes, |path| told.push(path.to_string())) > 0 {}
        told.sort();
        told
    }

    #[test]
    fn what_a_node_lacks_waits_for_it_and_the_rest_does_not() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        ["a", "b", "c"].iter().for_each(|path| barrier.add(rel(path), now));
        let nodes = lacking(3, &[(1, "a", now), (2, "a", now), (2, "b", now)]);
        assert_eq!(look(&mut barrier, &nodes), ["c"]);
        barrier.settled(1);
        assert_eq!(look(&mut barrier, &lacking(3, &[(2, "a", now), (2, "b", now)])), [""; 0]);
        barrier.settled(2);
        assert_eq!(look(&mut barrier, &lacking(3, &[(2, "a", now)])), ["b"]);
        barrier.forget(2);
        assert_eq!(look(&mut barrier, &lacking(2, &[])), ["a"]);
        assert!(barrier.is_empty() && !barrier.is_due());
    }

    #[test]
    fn a_node_that_settles_nothing_is_not_asked_again() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        ["a", "b"].iter().for_each(|path| barrier.add(rel(path), now));
        let nodes = lacking(2, &[(1, "a", now), (1, "b", now)]);
        look(&mut barrier, &nodes);
        nodes.asked.set(0);
        barrier.settled(0);
        barrier.add(rel("c"), now);
        assert_eq!((look(&mut barrier, &nodes), nodes.asked.get()), (vec!["c".to_owned()], 2));
        barrier.settled_all();
        look(&mut barrier, &nodes);
        assert_eq!(nodes.asked.get(), 4, "the one that lacked them is asked first");
    }

    #[test]
    fn a_node_that_settles_all_the_time_keeps_nobody_elses_paths_waiting() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        ["a", "b", "c", "d"].iter().for_each(|path| barrier.add(rel(path), now));
        let mut lacked = vec![(0, "a", now), (0, "b", now), (0, "c", now), (1, "d", now)];
        look(&mut barrier, &lacking(2, &lacked));
        lacked.pop();
        barrier.settled(1);
        let (nodes, mut told) = (lacking(2, &lacked), Vec::new());
        for _ in 0..2 {
            barrier.settled(0);
            barrier.look(1, now, &nodes, |path| told.push(path));
        }
        assert_eq!(told, [rel("d")]);
    }

    #[test]
    fn what_changes_all_the_time_is_told_when_all_have_what_it_was() {
        let (mut barrier, start) = (HookBarrier::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        barrier.add(rel("log"), at(10));
        assert_eq!(look(&mut barrier, &lacking(2, &[(1, "log", at(9))])), [""; 0]);
        barrier.add(rel("log"), at(20));
        barrier.settled(1);
        // The node has what was seen until 10, and lacks what was seen since.
        assert_eq!(look(&mut barrier, &lacking(2, &[(1, "log", at(15))])), ["log"]);
        assert_eq!(barrier.len(), 1, "what it was at 20 is still to be told");
        barrier.settled(1);
        assert_eq!(look(&mut barrier, &lacking(2, &[(1, "log", at(25))])), ["log"]);
        assert!(barrier.is_empty());
    }

    #[test]
    fn new_paths_are_looked_at_when_they_have_been_seen_everywhere() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        barrier.add(rel("a"), now);
        barrier.add(rel("b"), now + Duration::from_secs(1));
        let mut told = Vec::new();
        assert_eq!(barrier.look(9, now, &lacking(1, &[]), |path| told.push(path)), 1);
        assert_eq!((told, barrier.is_due()), (vec![rel("a")], true));
    }

    #[test]
    fn paths_without_room_are_told_as_a_whole_when_no_node_lacks_anything_so_old() {
        let (mut barrier, now) = (HookBarrier::of(1), Instant::now());
        ["a", "b"].iter().for_each(|path| barrier.add(rel(path), now));
        let nodes = lacking(2, &[(1, "b", now)]);
        assert_eq!(look(&mut barrier, &nodes), ["a"]);
        assert!(barrier.is_cut() && !barrier.take_cut(&nodes) && !barrier.is_empty());
        let nodes = lacking(2, &[(1, "c", now + Duration::from_secs(1))]);
        assert!(barrier.take_cut(&nodes) && !barrier.take_cut(&nodes) && barrier.is_empty());
        barrier.add(rel("d"), now);
        assert!(!barrier.is_cut(), "there is room again");
    }
}
