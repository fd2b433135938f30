//! Watches that have ended, or were given up: their last events are still to come, and mean nothing. A plain data structure.

use std::collections::{HashSet, VecDeque};

/// Ended watches that are remembered. Each takes 4 bytes.
const ENDED: usize = 4096;

/// The watches of which no event counts any more, by their numbers.
#[derive(Debug, Default)]
pub(super) struct EndedWatches {
    /// Those that were given up and whose last event (IGNORED) was not read yet.
    given_up: HashSet<i32>,
    /// Those that ended not long ago. An event that was on its way when its watch was given up comes behind the last one.
    ended: VecDeque<i32>,
}

impl EndedWatches {
    /// Tells if events of this watch mean nothing.
    pub(super) fn has(&self, watch: i32) -> bool {
        self.given_up.contains(&watch) || self.ended.contains(&watch)
    }

    /// Notes that a watch is given up.
    pub(super) fn give_up(&mut self, watch: i32) {
        self.given_up.insert(watch);
    }

    /// Notes that a watch that was given up has had its last event.
    pub(super) fn last_event_was_read(&mut self, watch: i32) {
        self.given_up.remove(&watch);
    }

    /// Notes that the last event of a watch has come. Its number is not given to another one.
    pub(super) fn last_event_came(&mut self, watch: i32) {
        self.given_up.remove(&watch);
        if self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(watch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_watch_that_ended_mean_nothing_until_many_others_have_ended() {
        let mut watches = EndedWatches::default();
        assert!(!watches.has(1));
        watches.give_up(1);
        assert!(watches.has(1), "its last event is to come");
        watches.last_event_came(1);
        assert!(watches.has(1), "an event may come behind the last one");
        (2..=ENDED).for_each(|watch| watches.last_event_came(i32::try_from(watch).unwrap()));
        assert!(watches.has(1));
        watches.last_event_came(0);
        assert!(!watches.has(1) && watches.has(2));
    }
}
