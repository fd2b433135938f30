//! Marks in the stream of events, by which the state that is saved knows what it holds.

use inotify::EventMask;

use super::root::Presence;
use super::{Cookie, Observer};
use crate::messages::Passed;

impl Observer {
    /// Answers barriers by means of this.
    pub(crate) fn use_cookie(&mut self, cookie: Cookie) {
        self.cookie = Some(cookie);
    }

    /// Says [`Passed`] when all that the kernel has reported until now was handled.
    pub(crate) fn barrier(&mut self, id: u64) {
        if !self.cookie.as_mut().is_some_and(|cookie| cookie.mark(id)) {
            self.pass(id, true);
        }
    }

    fn pass(&mut self, id: u64, lost: bool) {
        let lost = lost || self.lost.is_some() || matches!(self.presence, Presence::Away { .. });
        let left_alone: Vec<_> = self.dirs.left_alone().cloned().collect();
        let unsettled = self.quiet.unsettled().into_iter().chain(self.dirs.blind().iter().cloned());
        let unsettled = unsettled.chain(left_alone).collect();
        self.found.passed.push(Passed { id, lost, unsettled });
    }

    /// Tells if an event belongs to a barrier and not to the tree.
    pub(super) fn is_mark(&mut self, watch: i32, mask: EventMask) -> bool {
        let Some(cookie) = &mut self.cookie else { return false };
        if mask.contains(EventMask::Q_OVERFLOW) {
            if let Some(id) = cookie.lose() {
                self.pass(id, true);
            }
            return false;
        }
        let (is_mark, passed) = cookie.take(watch, mask);
        if let Some(id) = passed {
            self.pass(id, false);
        }
        is_mark
    }
}
