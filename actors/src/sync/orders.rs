//! Obeys the orders of the supervisor at a node: prepares for them, stands still, says what is left of a drain. What
//! follows from which order is decided in [`work_order`](crate::work_order).

use std::time::{Duration, Instant};

use super::node_link::NodeLink;
use crate::work_order::{DrainLeft, WorkOrder};

/// A drain does not wait for what is due later than this.
const PATIENCE: Duration = Duration::from_secs(1);

impl NodeLink {
    /// Prepares for an order that was given.
    pub(super) fn prepare(&self, order: WorkOrder) {
        match order {
            WorkOrder::Drain { .. } => self.outbox.lock().hurry(),
            WorkOrder::Retire | WorkOrder::Abort => self.transport().retire(),
            WorkOrder::Work | WorkOrder::Pause | WorkOrder::Finish { .. } | WorkOrder::Rest => (),
        }
    }

    /// Keeps no standby and no connection ready.
    pub(super) fn stand_still(&self) {
        self.note_emptied();
        // What ran when it was paused has started the next standby.
        self.transport().rest();
    }

    /// A source may be without its content and have some of it again while its node is not tried.
    pub(super) fn note_emptied(&self) {
        if self.root.check().is_err_and(|why| why.is_about_content()) {
            self.outbox.lock().source_emptied();
        }
    }

    /// The rest of a drain of what was changed until then; `idle` if no batch is on its way.
    pub(super) fn drain_left(&self, order: WorkOrder, until: Instant, idle: bool, now: Instant) -> DrainLeft {
        let outbox = self.outbox.lock();
        let may_go = || order.sends() && outbox.is_to_go(until, now, now + PATIENCE);
        match outbox.is_sending(until) || may_go() {
            true => DrainLeft::Changes,
            false if !idle => DrainLeft::Batches,
            false => DrainLeft::Nothing,
        }
    }
}
