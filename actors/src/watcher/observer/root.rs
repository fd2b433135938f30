//! Looks for the root: it may be moved, deleted, replaced, and come back.

use std::time::{Duration, Instant};

use super::Findings;
use crate::root::{Root, RootError};
use crate::watcher::dirs::Dirs;

/// The interval at which a root that disappeared is looked for.
pub(super) const ROOT_POLL: Duration = Duration::from_secs(1);
/// The interval at which a root is looked at that is believed to be there. A symlink to the root or a directory above
/// it may have been replaced, which raises no event.
const ROOT_CHECK: Duration = Duration::from_secs(5);

/// The result of a look at the root.
enum Presence {
    Here {
        look_at: Instant,
    },
    /// Moved away or deleted. `watched`: its watches are alive, and come back with it.
    Away {
        look_at: Instant,
        watched: bool,
    },
}

/// The root and its presence.
pub(super) struct WatchedRoot {
    root: Root,
    presence: Presence,
}

impl WatchedRoot {
    /// A root that was just watched.
    pub(super) fn new(root: Root) -> Self {
        WatchedRoot { root, presence: Presence::Here { look_at: Instant::now() + ROOT_CHECK } }
    }

    /// Tells if the root was there when it was last looked at.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here { .. })
    }

    /// Tells if the root is there when it is looked at now.
    pub(super) fn is_same(&self) -> bool {
        self.is_here() && self.root.look().is_ok()
    }

    /// The time of the next look.
    pub(super) fn next_look(&self) -> Instant {
        let (Presence::Here { look_at } | Presence::Away { look_at, .. }) = self.presence;
        look_at
    }

    /// Notes that the root is not at its path. `watched`: its watches are alive.
    pub(super) fn went(&mut self, watched: bool, found: &mut Findings, now: Instant) {
        match &mut self.presence {
            Presence::Here { .. } => {
                found.root_lost = match self.root.look() {
                    // That is told next; or by itself.
                    Err(RootError::Superseded | RootError::Silent(_)) => None,
                    looked => Some(looked.err().unwrap_or(RootError::Remounted)),
                };
                self.presence = Presence::Away { look_at: now, watched };
            }
            Presence::Away { watched: still, .. } => *still &= watched,
        }
    }

    /// Looks at the root, and for it if it is away. Returns `true` if it has come back: its tree must be repaired.
    pub(super) fn look(&mut self, dirs: &mut Dirs, found: &mut Findings, now: Instant) -> bool {
        let looked = self.root.look();
        found.superseded |= looked == Err(RootError::Superseded);
        match self.presence {
            Presence::Here { .. } => {
                self.presence = Presence::Here { look_at: now + ROOT_CHECK };
                // What does not answer is there, for all that is known.
                if !matches!(looked, Ok(()) | Err(RootError::Silent(_))) && !found.superseded {
                    self.went(true, found, now);
                }
                false
            }
            Presence::Away { watched, .. } => {
                let back = looked.is_ok() && (watched && dirs.watches_root() || dirs.start_again().is_ok());
                self.presence = match back {
                    true => Presence::Here { look_at: now + ROOT_CHECK },
                    false => Presence::Away { look_at: now + ROOT_POLL, watched },
                };
                back
            }
        }
    }
}
