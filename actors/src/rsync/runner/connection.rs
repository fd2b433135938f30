//! Over which connection a run goes: one that waits at the node, the one that the node's runs share, or its own; and
//! when what was there before is given up, since nothing answers on it any more.

use crate::rsync::report::failure;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slog::debug;

use crate::node::Kind;
use crate::rsync::recipe::Recipe;
use crate::rsync::runner::Runner;
use crate::rsync::runner::greeting_time::GreetingTime;
use crate::rsync::runner::process::{Finished, PATIENCE, Patience, Process};
use crate::rsync::verify;
use crate::transport::failure::{Cause, Failure};

/// The time that an rsync daemon takes to notice that a connection has ended.
pub(crate) const HANG_UP: Duration = Duration::from_millis(100);
/// And how often it is asked whether it has.
pub(crate) const HANG_UPS: u32 = 20;

/// The longest silence of a standby after it was fed: a new process then takes its place, which costs less than to wait. A
/// disk that has to spin up first takes less.
const ANSWERED: Duration = Duration::from_secs(10);
pub(super) const STANDBY_PATIENCE: Patience = Patience::of(PATIENCE).over_old_connection().answered_within(ANSWERED);

/// Waits for the greeting of the node's rsync in one run.
pub(crate) struct Greets<'a> {
    runner: &'a Rc<Runner>,
    started: Instant,
    /// `true` if the run has a connection of its own.
    alone: bool,
    heard: bool,
}

impl Greets<'_> {
    /// It came. On a connection of its own this proves that the node answers.
    pub(crate) fn heard(&mut self) {
        self.heard = true;
        self.runner.target.learned.borrow_mut().greeted(self.started.elapsed());
        if self.alone {
            self.runner.give_up_doubted();
        }
    }

    /// Reports the end of the run.
    pub(crate) fn ended(self, finished: &std::io::Result<Finished>) {
        if !self.heard && finished.as_ref().is_ok_and(timed_out) {
            self.runner.target.learned.borrow_mut().greeting_missed();
        }
    }
}

impl Runner {
    /// The process whose connection a run uses that starts now, if it is not its own.
    pub(crate) fn carrier(&self, shares: bool) -> Option<i32> {
        self.master.as_ref().filter(|_| shares)?.process()
    }

    /// Returns the round trip to the node, if it is long and no limit would be exceeded by runs at once.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trips.borrow().of_long_line().filter(|_| !self.speed.is_limited())
    }

    /// Notes how long the node took to ask for the first entry, and when it asked for the last one of a run that has just
    /// done its work.
    pub(crate) fn note_round_trip(&self, first: Duration, last: Instant) {
        let mut round_trips = self.round_trips.borrow_mut();
        round_trips.heard(first, last.elapsed());
        let is_long = round_trips.of_long_line().is_some() && self.target.node.kind() == Kind::Ssh;
        self.standbys.borrow_mut().set_line(is_long && !self.speed.is_limited(), Instant::now());
    }

    /// Returns how long a new process may be silent.
    pub(crate) fn patience(&self, recipe: Recipe, carrier: Option<i32>) -> Patience {
        let patience = patience(recipe, self.target.node.kind(), self.target.learned.borrow().greeting());
        if carrier.is_some() { patience.over_old_connection() } else { patience }
    }

    /// Waits for the greeting in this run.
    pub(crate) fn greets(self: &Rc<Self>, process: &Process) -> Greets<'_> {
        let started = process.started();
        let alone = process.carrier().is_none();
        Greets { runner: self, started, alone, heard: process.has_greeted() }
    }

    /// A run hung on a connection that was there before, that of `carrier` or its own. What waits at the node is on one
    /// of the same age: it is ended. The shared one goes as soon as another connection works, or fails, too.
    pub(crate) fn doubt(&self, carrier: Option<i32>) {
        debug!(self.target.log, "a run hung on a connection that was there before: what waits at the node is ended");
        self.standbys.borrow_mut().outdated();
        self.changed.notify_waiters();
        self.doubted.set(carrier.or(self.doubted.get()));
    }

    pub(super) fn give_up_doubted(self: &Rc<Self>) {
        if let (Some(process), Some(master)) = (self.doubted.take(), &self.master) {
            master.give_up(process);
            self.refill();
        }
    }
}

/// Returns how long a run over a connection of its own may be silent.
fn patience(recipe: Recipe, kind: Kind, greeting: GreetingTime) -> Patience {
    let silence = if recipe.reads_much() { verify::PATIENCE } else { PATIENCE };
    // At this host nothing is on the way to a greeting.
    Patience::of(silence).greeting_within(greeting.patience().filter(|_| kind != Kind::Local))
}

pub(super) fn timed_out(finished: &Finished) -> bool {
    failure::of(finished).is_some_and(|failure| failure.cause == Cause::Timeout)
}

/// Tells if a standby failed because the node was not reached by it, which a new process may do.
pub(super) fn is_broken(failure: &Failure) -> bool {
    use Cause::{Closed, Killed, Silent, Timeout, UnknownHost, Unreachable};
    matches!(failure.cause, Closed | Silent | Killed | Timeout | Unreachable | UnknownHost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_to_another_host_waits_for_the_greeting_no_longer_than_is_usual_there() {
        let greeting = GreetingTime::Known { took: Duration::from_secs(5), missed: 0 };
        let of =
            |silence, seconds: Option<u64>| Patience::of(silence).greeting_within(seconds.map(Duration::from_secs));
        for (recipe, kind, expected) in [
            (Recipe::Present, Kind::Ssh, of(PATIENCE, Some(15))),
            (Recipe::DryRun, Kind::Daemon, of(PATIENCE, Some(15))),
            (Recipe::Verify, Kind::Ssh, of(verify::PATIENCE, Some(15))),
            (Recipe::Present, Kind::Local, of(PATIENCE, None)),
        ] {
            assert_eq!(patience(recipe, kind, greeting), expected, "{recipe:?} {kind:?}");
        }
    }
}
