//! The nodes that are served, each in a slot of its own. The number of a slot is never given to another node, so a
//! message that comes late is about the node that it was about.

use std::collections::BTreeMap;

use actix::prelude::*;

use super::lifecycle::{Membership, Worker};
use super::resync::Schedules;
use crate::node::Node;
use crate::sync::{NodeLink, SyncActor};
use crate::transport::NodeFacts;

/// A node that is served.
pub(super) struct Slot {
    /// The node, as it is configured.
    pub(super) node: Node,
    /// Its outbox, and the way that its next SyncActor takes.
    pub(super) link: NodeLink,
    /// The SyncActor that serves it.
    pub(super) worker: Worker<Addr<SyncActor>>,
    /// SyncActors that died since the last success.
    pub(super) deaths: u32,
    /// `true` if nothing more is expected of it before the end.
    pub(super) drained: bool,
    /// Its relation to the site.
    pub(super) membership: Membership,
    /// `true` if a reconcile is to be wanted as soon as another SyncActor works on it. Not earlier: the
    /// SyncActor that is about to end would take it, and compare by the old configuration.
    pub(super) reconcile: bool,
    /// The facts that were known of it when they were last asked for.
    pub(super) facts: NodeFacts,
    /// The times at which it is compared although nothing asks for it.
    pub(super) schedules: Schedules,
}

/// All nodes, by their numbers.
#[derive(Default)]
pub(super) struct Slots {
    slots: BTreeMap<usize, Slot>,
    next: usize,
}

impl Slots {
    /// The number of the next node.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// Takes a node in, under the number of its link. The filter knows its outbox if it is `Staying`.
    pub(super) fn insert(&mut self, node: Node, link: NodeLink, membership: Membership) {
        let number = link.slot;
        self.next = self.next.max(number + 1);
        let slot = Slot {
            node,
            link,
            worker: Worker::None,
            deaths: 0,
            drained: false,
            membership,
            reconcile: false,
            facts: NodeFacts::default(),
            schedules: Schedules::default(),
        };
        self.slots.insert(number, slot);
    }

    /// The node of this number, if it is still there.
    pub(super) fn get(&mut self, number: usize) -> Option<&mut Slot> {
        self.slots.get_mut(&number)
    }

    /// Forgets the node of this number.
    pub(super) fn remove(&mut self, number: usize) -> Option<Slot> {
        self.slots.remove(&number)
    }

    /// Forgets all of the nodes.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// All, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// All, in the order in which they came.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.values_mut()
    }

    /// The nodes of the site: all that do not leave.
    pub(super) fn members(&self) -> impl Iterator<Item = &Slot> {
        self.iter().filter(|slot| slot.membership != Membership::Leaving)
    }

    /// The nodes of the site whose outbox the filter knows.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Slot> {
        self.iter().filter(|slot| slot.membership == Membership::Staying)
    }

    /// The SyncActors of all.
    pub(super) fn actors(&self) -> impl Iterator<Item = &Addr<SyncActor>> {
        self.iter().filter_map(|slot| slot.worker.actor())
    }

    /// The numbers of those of which this is true.
    pub(super) fn numbers(&self, is_meant: impl Fn(&Slot) -> bool) -> Vec<usize> {
        self.slots.iter().filter(|(_, slot)| is_meant(slot)).map(|(number, _)| *number).collect()
    }

    /// Returns true if a SyncActor may be started for the node: there is none, the filter knows its outbox, and nobody
    /// who leaves still writes there.
    pub(super) fn may_start(&self, number: usize) -> bool {
        let Some(slot) = self.slots.get(&number) else { return false };
        let leaving = |other: &Slot| other.membership == Membership::Leaving && other.link.slot != number;
        slot.worker == Worker::None
            && slot.membership != Membership::Joining
            && !self.iter().any(|other| leaving(other) && collide(&other.node, &slot.node))
    }
}

/// Returns true if two nodes write to the same place, or one below the other, where that would delete it.
fn collide(one: &Node, other: &Node) -> bool {
    one == other || one.encloses(other) || other.encloses(one)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use slog::{Discard, Logger, o};

    use super::*;
    use crate::outbox::Outbox;
    use crate::outbox::unsaved::Unsaved;
    use crate::path::RelPath;
    use crate::patterns::excludes::Excludes;
    use crate::root::Root;
    use crate::status::record::NodeRecord;
    use crate::sync::NodeSettings;
    use crate::transport::Lane;
    use crate::transport::handle::TransportHandle;
    use crate::transport::heard::Heard;
    use crate::transport::plan::Plan;
    use crate::transport::progress::Latest;
    use crate::transport::{Delivery, Running, Transport, Worked};

    struct Nowhere;

    impl Transport for Nowhere {
        fn deliver(self: Rc<Self>, _: Rc<Plan>, _: Lane, _: Worked) -> Running {
            self.reconcile(Vec::new(), Latest::default())
        }

        fn reconcile(self: Rc<Self>, _: Vec<RelPath>, _: Latest) -> Running {
            Box::pin(async { Ok(Delivery::default()) })
        }
    }

    /// Slots of these nodes of these memberships.
    fn slots(nodes: &[(&str, &str, Membership)]) -> Slots {
        let (source, log) = (tempfile::tempdir().unwrap(), Logger::root(Discard, o!()));
        let (root, mut slots) = (Root::of(source.path()).unwrap(), Slots::default());
        for (name, rpath, stage) in nodes {
            let link = NodeLink {
                slot: slots.next(),
                key: String::new(),
                outbox: Outbox::default(),
                unsaved: Unsaved::default(),
                transport: TransportHandle::from(Rc::new(Nowhere) as Rc<dyn Transport>),
                progress: Latest::default(),
                settings: NodeSettings { keeps_removed: false, bulk_size: 0, excludes: Excludes::default() },
                record: NodeRecord::default(),
                heard: Heard::default(),
                root: root.clone(),
                log: log.clone(),
            };
            slots.insert(Node::parse(name, rpath).unwrap(), link, *stage);
        }
        slots
    }

    #[test]
    fn a_node_starts_when_no_change_is_missed_and_nobody_who_leaves_writes_there() {
        use Membership::{Joining, Leaving, Staying};
        for (name, rpath, stage, expected) in [
            ("a:", "/m", Staying, false),
            ("a:", "/m/below", Staying, false),
            ("b:", "/m", Staying, true),
            ("b:", "/m", Joining, false),
            ("b:", "/m", Leaving, true),
        ] {
            let mut slots = slots(&[("a:", "/m", Leaving), (name, rpath, stage)]);
            assert_eq!(slots.may_start(1), expected, "{name} {rpath} {stage:?}");
            slots.remove(0);
            assert_eq!(slots.may_start(1), stage != Joining, "{name} {rpath} {stage:?}, alone");
        }
    }

    #[test]
    fn a_number_is_never_given_to_another_node() {
        let mut slots = slots(&[("a:", "/m", Membership::Staying), ("b:", "/m", Membership::Staying)]);
        slots.remove(1);
        assert_eq!((slots.next(), slots.may_start(1)), (2, false));
    }

    #[test]
    fn nodes_collide_at_and_around_the_same_place() {
        let node = |name: &str, rpath: &str| Node::parse(name, rpath).unwrap();
        for (one, other, expected) in [
            (node("a:", "/m"), node("a:", "/m"), true),
            (node("a:", "/m"), node("a:", "/m/below"), true),
            (node("a:", "/m/below"), node("a:", "/m"), true),
            (node("a:", "/m"), node("a:/m", "/"), true),
            (node("a:", "/m"), node("a:", "/m2"), false),
            (node("a:", "/m"), node("b:", "/m"), false),
        ] {
            assert_eq!(collide(&one, &other), expected, "{one:?} {other:?}");
        }
    }
}
