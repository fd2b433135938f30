//! The outcome of one path of a batch: what the plan, and rsync, say of it.

use std::time::Duration;

/// The outcome of one path of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The node has it.
    Delivered,
    /// A path that changed while it was sent: the node may have a part of it.
    Changed,
    /// A removed path that is there again: the node may have the earlier entry.
    Returned,
    /// A removed path that was there again before the removals: no run touched it.
    Spared,
    /// A symlink that was not sent: its target failed, or it leads elsewhere now.
    Left,
    /// A failure of this path.
    Failed,
    /// A file that does not fit at the node.
    Unfit {
        /// The time to leave it alone at first: each time, twice as long.
        retry_in: Duration,
    },
    /// A file that was not tried: one beside it does not fit at the node, and is no larger.
    Untried {
        /// The time to leave it alone.
        retry_in: Duration,
    },
    /// A missing path of which nobody reported the removal yet.
    Unreported {
        /// The time to leave it alone.
        retry_in: Duration,
    },
}

impl Fate {
    /// Tells if the origin of a path is of use for another try, after so many that failed before.
    pub(super) fn keeps_origin(self, tries: u32) -> bool {
        match self {
            // A path that failed twice is sent as it is: the old name is needed no more.
            Fate::Failed | Fate::Unfit { .. } => tries == 0,
            Fate::Untried { .. } | Fate::Unreported { .. } => true,
            Fate::Delivered | Fate::Changed | Fate::Returned | Fate::Spared | Fate::Left => false,
        }
    }
}
