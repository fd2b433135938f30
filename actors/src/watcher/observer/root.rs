//! Looks for the root: it may be moved, deleted, replaced, and come back.

use std::time::{Duration, Instant};

use super::Observer;
use crate::change::Reason;
use crate::root::RootError;

/// The interval at which a root that disappeared is looked for.
pub(super) const ROOT_POLL: Duration = Duration::from_secs(1);
/// The interval at which a root is looked at that is believed to be there. A symlink to the root or a directory above
/// it may have been replaced, which raises no event.
pub(super) const ROOT_CHECK: Duration = Duration::from_secs(5);

/// The result of a look at the root.
pub(super) enum Presence {
    Here {
        look_at: Instant,
    },
    /// Moved away or deleted. `watched`: its watches are alive, and come back with it.
    Away {
        look_at: Instant,
        watched: bool,
    },
}

impl Observer {
    pub(super) fn root_went(&mut self, watched: bool, now: Instant) {
        match &mut self.presence {
            Presence::Here { .. } => {
                self.found.root_lost = match self.root.look() {
                    // That is told next; or by itself.
                    Err(RootError::Superseded | RootError::Silent(_)) => None,
                    looked => Some(looked.err().unwrap_or(RootError::Remounted)),
                };
                self.presence = Presence::Away { look_at: now, watched };
            }
            Presence::Away { watched: still, .. } => *still &= watched,
        }
    }

    pub(super) fn check_root(&mut self, now: Instant) {
        self.presence = Presence::Here { look_at: now + ROOT_CHECK };
        let looked = self.look_at_root();
        // What does not answer is there, for all that is known.
        if !matches!(looked, Ok(()) | Err(RootError::Silent(_))) && !self.found.superseded {
            self.root_went(true, now);
        }
    }

    fn look_at_root(&mut self) -> Result<(), RootError> {
        let looked = self.root.look();
        self.found.superseded |= looked == Err(RootError::Superseded);
        looked
    }

    pub(super) fn look_for_root(&mut self, watched: bool, now: Instant) {
        let back =
            self.look_at_root().is_ok() && (watched && self.dirs.watches_root() || self.dirs.start_again().is_ok());
        if back {
            self.presence = Presence::Here { look_at: now + ROOT_CHECK };
            self.compare_mounts(now);
            self.repair(Reason::RootReturned);
        } else {
            self.presence = Presence::Away { look_at: now + ROOT_POLL, watched };
        }
    }
}
