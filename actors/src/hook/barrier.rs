//! Changed paths that some node may still lack, held back until all nodes have them. Makes decisions and runs nothing.
//!
//! A path is checked when it is new, and again when the node that lacked it has settled some change: a node that is
//! down costs no checks. Paths are checked in portions, in the order in which they became due.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use crate::outbox::Outbox;
use crate::path::RelPath;
use crate::transport::heard::Room;

/// The paths that are held back.
#[derive(Debug, Default)]
pub(crate) struct HookBarrier {
    open: HashMap<RelPath, Span>,
    /// Paths that are to be checked, each with the node that lacked it at the last check.
    due: VecDeque<(RelPath, Option<usize>)>,
    /// Paths that a node lacked at the last check, by the number of that node.
    held: BTreeMap<usize, Vec<RelPath>>,
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

/// A node that must have a path before its release.
#[derive(Debug, Clone)]
pub(crate) struct AwaitedNode {
    /// Number of the node.
    pub number: usize,
    /// Changes that the node does not have.
    pub outbox: Outbox,
    /// The part that a reconcile has in that.
    pub reconcile: ReconcilePart,
}

/// The part that a reconcile has in what a node lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReconcilePart {
    /// None: it may take hours, and what is sent beside it is at the node.
    Ignored,
    /// The node may lack whatever it may find or overtake.
    Counted,
    /// One is about to be asked for: the node may lack anything.
    Comes,
}

impl AwaitedNode {
    /// Tells if the node may lack a change of `path` that was seen until `at`.
    fn lacks(&self, path: &RelPath, at: Instant) -> bool {
        match self.reconcile {
            ReconcilePart::Ignored => self.outbox.lock().lacks(path, at),
            ReconcilePart::Counted => self.outbox.lock().may_lack(path, at),
            ReconcilePart::Comes => true,
        }
    }

    /// Tells if the node may lack any change that was seen until `at`.
    fn lacks_any(&self, at: Instant) -> bool {
        match self.reconcile {
            // What the node lacks of what it was sent is sent again, and told then.
            ReconcilePart::Ignored => false,
            ReconcilePart::Counted => self.outbox.lock().may_lack_any(at),
            ReconcilePart::Comes => true,
        }
    }
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
            self.due.push_back((path.clone(), None));
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

    /// Makes the paths due for a check that a node lacked; `None` stands for all nodes.
    pub(crate) fn settled(&mut self, node: Option<usize>) {
        let nodes: Vec<usize> =
            self.held.keys().copied().filter(|held| node.is_none_or(|node| node == *held)).collect();
        for node in nodes {
            let held = self.held.remove(&node).into_iter().flatten();
            self.due.extend(held.map(|path| (path, Some(node))));
        }
    }

    /// Tells if some path is due for a check.
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Checks up to `portion` paths and calls `told` with each that every node has. Returns the number of checked
    /// paths.
    pub(crate) fn look(&mut self, portion: usize, nodes: &[AwaitedNode], mut told: impl FnMut(RelPath)) -> usize {
        let looked = portion.min(self.due.len());
        for (path, held_by) in self.due.drain(..looked) {
            let Some(span) = self.open.get_mut(&path) else { continue };
            // The node that lacked the path is the likeliest to lack it still.
            let likeliest = nodes.iter().filter(|node| Some(node.number) == held_by);
            let lacking = |at| likeliest.clone().chain(nodes).find(|node| node.lacks(&path, at));
            let held_by = lacking(span.last);
            let is_told = held_by.is_none() || span.first < span.last && lacking(span.first).is_none();
            if is_told {
                told(path.clone());
            }
            if let Some(AwaitedNode { number, .. }) = held_by {
                if is_told {
                    span.first = span.last;
                }
                self.held.entry(*number).or_default().push(path);
            } else {
                self.open.remove(&path);
                self.room.give_back(&path);
            }
        }
        looked
    }

    /// Returns true, once, when every node has the changes for which there was no room.
    pub(crate) fn take_cut(&mut self, nodes: &[AwaitedNode]) -> bool {
        self.cut.take_if(|at| !nodes.iter().any(|node| node.lacks_any(*at))).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::change::Change;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    /// Nodes with the paths that each lacks, and the times of these changes.
    fn lacking(nodes: usize, paths: &[(usize, &'static str, Instant)]) -> Vec<AwaitedNode> {
        let node = |number| AwaitedNode { number, outbox: Outbox::default(), reconcile: ReconcilePart::Counted };
        let nodes: Vec<AwaitedNode> = (0..nodes).map(node).collect();
        for (node, path, at) in paths {
            let change = Change::Touched { path: rel(path), is_dir: false, rewritten: true };
            nodes[*node].outbox.lock().add(&change, *at);
        }
        nodes
    }

    fn look(barrier: &mut HookBarrier, nodes: &[AwaitedNode]) -> Vec<String> {
        let mut told = Vec::new();
        while barrier.look(2, nodes, |path| told.push(path.to_string())) > 0 {}
        told.sort();
        told
    }

    #[test]
    fn what_a_node_lacks_waits_for_it_and_the_rest_does_not() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        ["a", "b", "c"].iter().for_each(|path| barrier.add(rel(path), now));
        let nodes = lacking(3, &[(1, "a", now), (2, "a", now), (2, "b", now)]);
        assert_eq!(look(&mut barrier, &nodes), ["c"]);
        barrier.settled(Some(1));
        assert_eq!(look(&mut barrier, &lacking(3, &[(2, "a", now), (2, "b", now)])), [""; 0]);
        barrier.settled(Some(2));
        assert_eq!(look(&mut barrier, &lacking(3, &[(2, "a", now)])), ["b"]);
        barrier.settled(Some(2));
        assert_eq!(look(&mut barrier, &lacking(2, &[])), ["a"], "the last node is gone");
        assert!(barrier.is_empty() && !barrier.is_due());
    }

    #[test]
    fn a_node_that_settles_nothing_is_not_asked_again() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        ["a", "b"].iter().for_each(|path| barrier.add(rel(path), now));
        let nodes = lacking(2, &[(1, "a", now), (1, "b", now)]);
        look(&mut barrier, &nodes);
        barrier.settled(Some(0));
        assert!(!barrier.is_due());
        barrier.settled(None);
        assert_eq!((barrier.look(9, &nodes, drop), barrier.look(9, &nodes, drop)), (2, 0));
    }

    #[test]
    fn what_a_comparison_of_everything_may_find_counts_only_where_it_is_asked_for() {
        for (reconcile, owed, told) in [
            (ReconcilePart::Ignored, true, true),
            (ReconcilePart::Counted, true, false),
            (ReconcilePart::Counted, false, true),
            (ReconcilePart::Comes, false, false),
        ] {
            let (mut barrier, now) = (HookBarrier::of(1), Instant::now());
            let nodes = lacking(1, &[]).into_iter().map(|node| AwaitedNode { reconcile, ..node }).collect::<Vec<_>>();
            if owed {
                nodes[0].outbox.lock().want_reconcile();
            }
            ["a", "b"].iter().for_each(|path| barrier.add(rel(path), now));
            assert_eq!(look(&mut barrier, &nodes).len(), usize::from(told), "{reconcile:?}");
            assert_eq!(barrier.take_cut(&nodes), told, "{reconcile:?}");
        }
    }

    #[test]
    fn a_node_that_settles_all_the_time_keeps_nobody_elses_paths_waiting() {
        let (mut barrier, now) = (HookBarrier::default(), Instant::now());
        ["a", "b", "c", "d"].iter().for_each(|path| barrier.add(rel(path), now));
        let mut lacked = vec![(0, "a", now), (0, "b", now), (0, "c", now), (1, "d", now)];
        look(&mut barrier, &lacking(2, &lacked));
        barrier.settled(Some(0));
        lacked.pop();
        barrier.settled(Some(1));
        let (nodes, mut told) = (lacking(2, &lacked), Vec::new());
        for _ in 0..4 {
            barrier.settled(Some(0));
            barrier.look(1, &nodes, |path| told.push(path));
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
        barrier.settled(Some(1));
        // The node has what was seen until 10, and lacks what was seen since.
        assert_eq!(look(&mut barrier, &lacking(2, &[(1, "log", at(15))])), ["log"]);
        assert_eq!(barrier.len(), 1, "what it was at 20 is still to be told");
        barrier.settled(Some(1));
        assert_eq!(look(&mut barrier, &lacking(2, &[(1, "log", at(25))])), ["log"]);
        assert!(barrier.is_empty());
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
