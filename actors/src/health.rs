//! The health of a node, which says if it may be tried now: the number of its failures, the time of the next try, and a
//! source that is not there. Pure: the time and the chance in it are parameters.

use std::time::{Duration, Instant};

use crate::backoff::{backoff, lasting};
use crate::root::RootError;
use crate::transport::failure::{Cause, Failure};

/// The interval at which a missing source is looked for.
const HELD_POLL: Duration = Duration::from_secs(1);

/// The extent to which a run stored what it had for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredPart {
    /// All of it, or some.
    Some,
    /// Nothing, although there was something to store.
    Nothing,
}

/// The state of a node as far as trying it is concerned. Runs go on beside each other: how one ends that began before
/// the node got worse says nothing of how it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// The last run succeeded, or none was tried yet.
    #[default]
    Well,
    /// The last `failures` runs failed.
    BackingOff {
        /// Failures in a row, at least 1.
        failures: u32,
        /// The cause of the latest.
        cause: Cause,
        /// The causes that were told since the node was well.
        told: Vec<Cause>,
        /// The time of the latest.
        at: Instant,
        /// The time of the next try.
        until: Instant,
    },
    /// Nothing is sent: the source is not the one that the daemon started with.
    Held {
        /// The difference of the source from what it must be.
        why: RootError,
        /// The time at which it was last seen to differ.
        at: Instant,
        /// The time of the next look.
        until: Instant,
    },
}

/// A change of state, for the log: said once, not at every try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HealthChange {
    /// No change of state.
    Nothing,
    /// A node began to fail, or fails for another cause than before.
    Fails,
    /// Nothing is sent any more, because of the source.
    Held(RootError),
    /// The source has content again.
    Released,
    /// The node takes changes again.
    Recovered,
}

impl Health {
    /// Permits a run, or says when to try again.
    ///
    /// # Errors
    /// The time of the next try.
    pub(crate) fn may_start(&self, now: Instant) -> Result<(), Instant> {
        match self {
            Health::BackingOff { until, .. } | Health::Held { until, .. } if *until > now => Err(*until),
            _ => Ok(()),
        }
    }

    /// Returns true if the last run succeeded.
    pub(crate) fn is_well(&self) -> bool {
        *self == Health::Well
    }

    /// Returns true if the node fails, and not only for a moment.
    pub(crate) fn is_failing(&self) -> bool {
        match self {
            Health::Well => false,
            Health::BackingOff { failures, cause, .. } => *failures > 1 || !cause.is_hiccup(),
            Health::Held { .. } => true,
        }
    }

    /// Returns true if the end of a run that began then says something new. While the node is well, each failure does.
    pub(crate) fn counts(&self, started: Instant) -> bool {
        match self {
            Health::Well => true,
            Health::BackingOff { at, .. } | Health::Held { at, .. } => *at < started,
        }
    }

    // ## any => Well
    /// A run succeeded that began then.
    pub(crate) fn succeeded(&mut self, started: Instant) -> HealthChange {
        if self.is_well() || !self.counts(started) {
            return HealthChange::Nothing;
        }
        // The end of a hiccup is no more worth telling than that was.
        let news = if self.is_failing() { HealthChange::Recovered } else { HealthChange::Nothing };
        *self = Health::Well;
        news
    }

    // ## BackingOff => Well
    /// A run that began then reached the node and stored this there.
    pub(crate) fn ended(&mut self, stored: StoredPart, started: Instant) -> HealthChange {
        match (&self, stored) {
            (Health::BackingOff { cause, .. }, StoredPart::Nothing) if cause.is_about_storing() => {
                HealthChange::Nothing
            }
            _ => self.succeeded(started),
        }
    }

    // ## BackingOff => BackingOff
    /// Somebody asks for a try: the node is tried now. How often it failed is kept.
    pub(crate) fn try_now(&mut self, now: Instant) {
        if let Health::BackingOff { until, .. } = self {
            *until = now;
        }
    }

    // ## any => BackingOff
    /// A run failed that began then. What was in flight together fails together: that is one failure. `chance` is
    /// between 0 and 1 and spreads the tries of many nodes.
    pub(crate) fn failed(&mut self, failure: &Failure, started: Instant, now: Instant, chance: f64) -> HealthChange {
        if !self.counts(started) {
            return HealthChange::Nothing;
        }
        let (failures, mut told) = match self {
            Health::BackingOff { failures, told, .. } => (*failures + 1, std::mem::take(told)),
            Health::Well | Health::Held { .. } => (1, Vec::new()),
        };
        let cause = failure.cause;
        // One hiccup is not worth a person's attention: the retry that follows at once tells. A run that merely breaks
        // says nothing new of a node that is known to fail, and what takes turns is told once each.
        let is_first_hiccup = failures == 1 && cause.is_hiccup();
        let is_known = told.contains(&cause) || cause.is_vague() && !told.is_empty();
        let news = !is_first_hiccup && !is_known;
        if news {
            told.push(cause);
        }
        let delay = if failure.cause.is_lasting() { lasting(chance) } else { backoff(failures, chance) };
        *self = Health::BackingOff { failures, cause, told, at: now, until: now + delay };
        if news { HealthChange::Fails } else { HealthChange::Nothing }
    }

    // ## any => Held
    /// The source is not there.
    pub(crate) fn held(&mut self, why: RootError, now: Instant) -> HealthChange {
        let known = matches!(self, Health::Held { why: before, .. } if *before == why);
        *self = Health::Held { why: why.clone(), at: now, until: now + HELD_POLL };
        if known { HealthChange::Nothing } else { HealthChange::Held(why) }
    }

    // ## Held => Well
    /// The source is there again, as it must be. `emptied`: it was without its content meanwhile.
    pub(crate) fn released(&mut self, emptied: bool) -> HealthChange {
        if !matches!(self, Health::Held { .. }) {
            return HealthChange::Nothing;
        }
        *self = Health::Well;
        if emptied { HealthChange::Released } else { HealthChange::Recovered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::{FIRST, LAST};

    fn failure(cause: Cause) -> Failure {
        Failure::new(cause, "")
    }

    /// Each time is later than the one before.
    fn clock() -> impl FnMut() -> Instant {
        let mut now = Instant::now();
        move || {
            now += Duration::from_secs(1);
            now
        }
    }

    /// A run that takes no time.
    fn fails(health: &mut Health, cause: Cause, now: Instant) -> HealthChange {
        health.failed(&failure(cause), now, now, 0.5)
    }

    fn succeeds(health: &mut Health, now: Instant) -> HealthChange {
        health.succeeded(now)
    }

    #[test]
    fn a_failing_node_is_told_once_per_cause_and_once_when_it_recovers() {
        let (mut health, mut clock) = (Health::default(), clock());
        let mut told = Vec::new();
        for cause in [Cause::Unreachable, Cause::Unreachable, Cause::TargetFull, Cause::TargetFull] {
            told.push(fails(&mut health, cause, clock()));
        }
        told.extend([succeeds(&mut health, clock()), succeeds(&mut health, clock())]);
        assert_eq!(
            told,
            [
                HealthChange::Fails,
                HealthChange::Nothing,
                HealthChange::Fails,
                HealthChange::Nothing,
                HealthChange::Recovered,
                HealthChange::Nothing
            ]
        );
    }

    #[test]
    fn causes_that_take_turns_are_told_once_each_and_a_run_that_merely_breaks_is_no_news() {
        let (mut health, mut clock) = (Health::default(), clock());
        for (cause, expected) in [
            (Cause::TargetFull, HealthChange::Fails),
            (Cause::Closed, HealthChange::Nothing),
            (Cause::Unknown, HealthChange::Nothing),
            (Cause::TargetFull, HealthChange::Nothing),
            (Cause::Unreachable, HealthChange::Fails),
            (Cause::TargetFull, HealthChange::Nothing),
            (Cause::Unreachable, HealthChange::Nothing),
        ] {
            assert_eq!(fails(&mut health, cause, clock()), expected, "{cause:?}");
        }
        assert_eq!(succeeds(&mut health, clock()), HealthChange::Recovered);
        assert_eq!(fails(&mut health, Cause::TargetFull, clock()), HealthChange::Fails, "the node was well meanwhile");
    }

    #[test]
    fn a_node_is_well_again_when_it_takes_what_it_refused() {
        for (cause, stored, expected) in [
            (Cause::Unreachable, StoredPart::Nothing, HealthChange::Recovered),
            (Cause::TargetFull, StoredPart::Nothing, HealthChange::Nothing),
            (Cause::TargetFull, StoredPart::Some, HealthChange::Recovered),
        ] {
            let (mut health, mut clock) = (Health::default(), clock());
            assert_eq!(fails(&mut health, cause, clock()), HealthChange::Fails);
            assert_eq!(health.ended(stored, clock()), expected, "{cause:?} {stored:?}");
        }
    }

    #[test]
    fn a_killed_rsync_is_told_only_if_the_retry_fails_too() {
        let (mut health, mut clock) = (Health::default(), clock());
        assert_eq!(fails(&mut health, Cause::Killed, clock()), HealthChange::Nothing);
        assert!(!health.is_failing());
        assert_eq!(fails(&mut health, Cause::Killed, clock()), HealthChange::Fails);
        assert!(health.is_failing());
        assert_eq!(fails(&mut health, Cause::Killed, clock()), HealthChange::Nothing);
        assert_eq!(succeeds(&mut health, clock()), HealthChange::Recovered);
        fails(&mut health, Cause::Killed, clock());
        assert_eq!(succeeds(&mut health, clock()), HealthChange::Nothing);
    }

    #[test]
    fn what_waits_for_a_person_is_not_tried_often() {
        let (mut health, mut clock) = (Health::default(), clock());
        let now = clock();
        fails(&mut health, Cause::HostKeyChanged, now);
        assert_eq!(health.may_start(now), Err(now + LAST));
        let now = clock();
        fails(&mut health, Cause::Unreachable, now);
        assert_eq!(health.may_start(now + FIRST * 2), Ok(()));
    }

    #[test]
    fn a_source_that_is_gone_holds_and_is_looked_for() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.held(RootError::Missing, now), HealthChange::Held(RootError::Missing));
        assert_eq!(health.held(RootError::Missing, now), HealthChange::Nothing);
        assert_eq!(health.held(RootError::Replaced, now), HealthChange::Held(RootError::Replaced));
        assert_eq!(health.may_start(now), Err(now + HELD_POLL));
        assert_eq!((health.released(true), health.released(true)), (HealthChange::Released, HealthChange::Nothing));
        assert_eq!(health.held(RootError::Emptied, now), HealthChange::Held(RootError::Emptied), "it is told again");
    }

    #[test]
    fn how_a_run_ends_that_began_before_says_nothing_of_what_came_after() {
        let (mut health, mut clock) = (Health::default(), clock());
        let [first, second, held, later, last] = [(); 5].map(|()| clock());
        let unreachable = failure(Cause::Unreachable);
        assert_eq!(health.failed(&unreachable, first, second, 0.5), HealthChange::Fails);
        assert_eq!(
            health.failed(&failure(Cause::TargetFull), first, later, 0.5),
            HealthChange::Nothing,
            "it is one failure"
        );
        assert_eq!(health.succeeded(first), HealthChange::Nothing, "the next may fail all the same");
        assert_eq!(health.held(RootError::Emptied, held), HealthChange::Held(RootError::Emptied));
        assert_eq!(health.succeeded(second), HealthChange::Nothing, "the source is as it was seen last");
        assert!(health.is_failing());
        assert_eq!((health.released(false), health.is_well()), (HealthChange::Recovered, true));
        assert_eq!(health.failed(&unreachable, first, last, 0.5), HealthChange::Fails, "nobody has told of it");
    }
}
