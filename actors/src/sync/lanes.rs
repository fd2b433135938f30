//! Decides when a batch of which lane may start, beside what the outbox says. Pure: the time in it is a parameter.

use std::time::{Duration, Instant};

use super::beside::Beside;
use super::pace::Pace;
use crate::transport::Lane;

/// Batches whose work is done, but not confirmed: each is an rsync that is about to end.
const UNCONFIRMED: usize = 8;
/// The time for which nothing waits for reports when one did so in vain: the watcher reads a large tree.
const NOT_ASKED_AGAIN: Duration = Duration::from_secs(30);

/// The lanes of one node.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The pace of the fast lane.
    pace: Pace,
    /// The batches of the fast lane that go beside others.
    beside: Beside,
    /// Batches that have not ended.
    in_flight: usize,
    /// `true` while a batch of the fast lane waits for a standby.
    late: bool,
    /// `true` while other names of the files of a batch are looked for.
    searching: bool,
    /// The question if all was reported that was changed before the symlinks of a batch.
    asking: Asking,
}

/// The question to the watcher if all was reported.
#[derive(Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    Nothing,
    /// A batch waits for the answer. It is to be the newest until it is planned: no other one is taken.
    Now,
    /// The last question had no answer in time: there is none until then.
    InVain { until: Instant },
}

impl Lanes {
    /// The time at which a batch may start that is `due` by its outbox; `None` while none may.
    pub(super) fn start(&self, lane: Lane, due: Instant, now: Instant) -> Option<Instant> {
        let at = if lane == Lane::Fast { due.max(self.pace.next(now)) } else { due };
        self.is_free(lane).then_some(at)
    }

    /// The time at which a batch of the fast lane may start beside so many over a line with this round trip; `None` while
    /// none may.
    pub(super) fn start_beside(&self, working: usize, round_trip: Duration, now: Instant) -> Option<Instant> {
        let at = self.beside.next(working, round_trip)?.max(self.pace.next(now));
        self.is_free(Lane::Fast).then_some(at)
    }

    fn is_free(&self, lane: Lane) -> bool {
        let waits = self.searching || self.asking == Asking::Now;
        !(waits || lane == Lane::Fast && self.late) && self.in_flight < UNCONFIRMED
    }

    /// Notes that a batch of the fast lane is taken while none is worked on.
    pub(super) fn takes_alone(&mut self) {
        self.beside.takes_alone();
    }

    /// Notes that what could go beside others was no content: it goes alone.
    pub(super) fn waits_to_be_alone(&mut self) {
        self.beside.waits_to_be_alone();
    }

    /// Tells if no batch is on its way.
    pub(super) fn are_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Notes that a batch starts.
    pub(super) fn started(&mut self, lane: Lane, now: Instant) {
        self.in_flight += 1;
        if lane == Lane::Fast {
            self.pace.start(now);
            self.beside.started(now);
        }
    }

    /// Notes that a batch has ended.
    pub(super) fn ended(&mut self) {
        self.in_flight -= 1;
    }

    /// Notes if a batch of the fast lane waits for a standby.
    pub(super) fn set_late(&mut self, late: bool) {
        self.late = late;
    }

    /// Tells if a batch may wait for the watcher's answer.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        !matches!(self.asking, Asking::InVain { until } if now < until)
    }

    /// Notes that a batch waits for the watcher's answer.
    pub(super) fn ask(&mut self) {
        self.in_flight += 1;
        self.asking = Asking::Now;
    }

    /// Notes that other names of the files of a batch are looked for: nothing else starts meanwhile.
    pub(super) fn search(&mut self) {
        self.in_flight += 1;
        self.searching = true;
    }

    /// Notes that they were looked for.
    pub(super) fn searched(&mut self) {
        self.in_flight -= 1;
        self.searching = false;
    }

    /// Notes that the wait is over, with or without an answer.
    pub(super) fn asked(&mut self, answered: bool, now: Instant) {
        self.in_flight -= 1;
        self.asking = if answered { Asking::Nothing } else { Asking::InVain { until: now + NOT_ASKED_AGAIN } };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_waits_for_a_standby_for_an_answer_and_for_the_ends_of_earlier_batches() {
        let now = Instant::now();
        let may = |lanes: &Lanes| Lane::ALL.map(|lane| lanes.start(lane, now, now).is_some());
        let mut lanes = Lanes::default();
        assert_eq!((Lane::ALL, may(&lanes)), ([Lane::Fast, Lane::Bulk], [true, true]));
        lanes.set_late(true);
        assert_eq!(may(&lanes), [false, true]);
        lanes.set_late(false);
        lanes.ask();
        assert_eq!((may(&lanes), lanes.are_idle()), ([false, false], false));
        lanes.asked(false, now);
        assert!(lanes.are_idle() && !lanes.may_ask(now) && lanes.may_ask(now + NOT_ASKED_AGAIN));
        lanes.search();
        assert_eq!((may(&lanes), lanes.are_idle()), ([false, false], false));
        lanes.searched();
        assert!(lanes.are_idle());
        (0..UNCONFIRMED).for_each(|_| lanes.started(Lane::Bulk, now));
        assert_eq!(may(&lanes), [false, false]);
        lanes.ended();
        assert_eq!(may(&lanes), [true, true]);
    }
}
