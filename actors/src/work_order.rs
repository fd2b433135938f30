//! Work, pause, drain, finish, rest, retire, abort: how much of its work a SyncActor still does, and which order holds after
//! which. The supervisor gives orders with [`Obey`](crate::messages::Obey). Pure.

use std::time::Instant;

/// The work that a SyncActor still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WorkOrder {
    /// Send each change as it comes.
    #[default]
    Work,
    /// Start nothing until the node is resumed. Changes are collected. What is in flight ends by itself, but for a comparison by
    /// content, which is given up.
    Pause,
    /// Send what was changed until this time, and what changes meanwhile; then say
    /// [`Drained`](crate::messages::Drained) and rest. So a stop ends where changes never cease.
    Drain {
        /// The time of the order.
        until: Instant,
    },
    /// Start nothing more, and say [`Drained`](crate::messages::Drained) when nothing is in flight that was changed
    /// until this time, and no batch. So a stop breaks nothing off.
    Finish {
        /// The time of the order.
        until: Instant,
    },
    /// Start nothing more: the daemon is about to end. What is pending stays so.
    Rest,
    /// Start nothing more, and end when nothing is in flight: another SyncActor takes over.
    Retire,
    /// End now. What is in flight is given up.
    Abort,
}

/// The work between a node and the end of its drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainLeft {
    /// Something that was changed in time is in flight, or may be sent.
    Changes,
    /// Batches of later changes are in flight.
    Batches,
    /// Nothing is in flight that a drain waits for.
    Nothing,
}

impl WorkOrder {
    /// A drain of what was changed until now.
    pub(crate) fn drain() -> WorkOrder {
        WorkOrder::Drain { until: Instant::now() }
    }

    /// The order that holds when another one is given. An end is never taken back. A pause during a
    /// drain ends the drain: batches that have not started are left for the next start.
    pub(crate) fn next(self, wanted: WorkOrder) -> WorkOrder {
        use WorkOrder::{Abort, Drain, Finish, Pause, Rest, Retire, Work};
        match (self, wanted) {
            (Abort, _) | (_, Abort) => Abort,
            // Where the daemon ends, nobody takes over.
            (Retire, Rest) => Rest,
            (Retire, _) | (_, Retire) => Retire,
            (Work | Pause, Work | Pause | Rest) | (Work | Drain { .. }, Drain { .. } | Finish { .. }) => wanted,
            (Drain { .. } | Finish { .. } | Rest, Work) | (Rest, Pause | Rest) => self,
            (Drain { until } | Finish { until }, Pause | Rest)
            | (Pause | Finish { .. } | Rest, Drain { until } | Finish { until }) => Finish { until },
        }
    }

    /// The order that holds when a drain has got so far, and `true` if that is to be reported. A node that is failing
    /// is not waited for; where something is left for it, it goes on.
    pub(crate) fn after(self, left: DrainLeft, is_failing: bool) -> (WorkOrder, bool) {
        use WorkOrder::{Drain, Finish, Rest, Work};
        match (self, left) {
            (Drain { .. }, DrainLeft::Changes) if is_failing => (Work, true),
            (Drain { .. } | Finish { .. }, _) if is_failing => (Rest, true),
            (Drain { .. } | Finish { .. }, DrainLeft::Nothing) => (Rest, true),
            (Drain { until }, DrainLeft::Batches) => (Finish { until }, false),
            _ => (self, false),
        }
    }

    /// The time until which changes are waited for, while a report is due.
    pub(crate) fn drains_until(self) -> Option<Instant> {
        match self {
            WorkOrder::Drain { until } | WorkOrder::Finish { until } => Some(until),
            WorkOrder::Work | WorkOrder::Pause | WorkOrder::Rest | WorkOrder::Retire | WorkOrder::Abort => None,
        }
    }

    /// `true` if something new may be sent.
    pub(crate) fn sends(self) -> bool {
        matches!(self, WorkOrder::Work | WorkOrder::Drain { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::WorkOrder::{Abort, Drain, Finish, Pause, Rest, Retire, Work};
    use super::*;

    #[test]
    fn an_order_follows_from_the_one_before_and_the_one_that_is_given() {
        let until = Instant::now();
        let later = until + Duration::from_secs(1);
        let (drain, finish) = (Drain { until }, Finish { until });
        let (drain_later, finish_later) = (Drain { until: later }, Finish { until: later });
        let given = [Work, Pause, drain_later, Rest, Retire, Abort];
        for (before, expected) in [
            (Work, [Work, Pause, drain_later, Rest, Retire, Abort]),
            (Pause, [Work, Pause, finish_later, Rest, Retire, Abort]),
            (drain, [drain, finish, drain_later, finish, Retire, Abort]),
            (finish, [finish, finish, finish_later, finish, Retire, Abort]),
            (Rest, [Rest, Rest, finish_later, Rest, Retire, Abort]),
            (Retire, [Retire, Retire, Retire, Rest, Retire, Abort]),
            (Abort, [Abort; 6]),
        ] {
            assert_eq!(given.map(|wanted| before.next(wanted)), expected, "{before:?}");
        }
    }

    #[test]
    fn a_drain_is_reported_once_when_nothing_is_left_or_the_node_is_failing() {
        let until = Instant::now();
        let (drain, finish) = (Drain { until }, Finish { until });
        let left = [DrainLeft::Changes, DrainLeft::Batches, DrainLeft::Nothing];
        for (order, is_failing, expected) in [
            (drain, false, [(drain, false), (finish, false), (Rest, true)]),
            (drain, true, [(Work, true), (Rest, true), (Rest, true)]),
            (finish, false, [(finish, false), (finish, false), (Rest, true)]),
            (finish, true, [(Rest, true); 3]),
        ] {
            assert_eq!(left.map(|left| order.after(left, is_failing)), expected, "{order:?} {is_failing}");
        }
        for order in [Work, Pause, Rest, Retire, Abort] {
            for (left, is_failing) in left.into_iter().flat_map(|left| [(left, false), (left, true)]) {
                assert_eq!(order.after(left, is_failing), (order, false), "{order:?} {left:?} {is_failing}");
            }
        }
    }

    #[test]
    fn only_work_and_a_drain_send_something_new() {
        let until = Instant::now();
        let sends = [Work, Pause, Drain { until }, Finish { until }, Rest, Retire, Abort].map(WorkOrder::sends);
        assert_eq!(sends, [true, false, true, false, false, false, false]);
    }
}
