//! Decides when no standby is started: they die, are of no use, or are never wanted again. Pure: the time in it is a
//! parameter.

use std::time::{Duration, Instant};

use crate::backoff::backoff;

/// After so many deaths in a row a node has no standby until a run succeeds.
pub(super) const DEATHS: u32 = 5;
/// After so many in a row that were of no use when they were fed, a node has none for a while: something on the way to
/// it does not keep idle connections.
pub(super) const USELESS: u32 = 3;
/// The time without standbys at a node where they were of no use, or that has no connection to spare.
pub(super) const BARRED: Duration = Duration::from_secs(600);

/// The reasons against another standby.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Deaths in a row.
    deaths: u32,
    /// Standbys in a row that were of no use when they were fed.
    useless: u32,
    /// None is started before.
    not_before: Option<Instant>,
    /// Neither before this, whatever succeeds.
    barred_until: Option<Instant>,
    /// `true` once no standby is ever to be started again.
    is_retired: bool,
}

impl Brake {
    /// Returns true if none is to be started until a run succeeds, or never.
    pub(super) fn rests(&self) -> bool {
        self.deaths >= DEATHS || self.is_retired
    }

    /// The time before which none is started, if that is still to come.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.not_before.max(self.barred_until).filter(|at| *at > now)
    }

    /// Starts none ever again.
    pub(super) fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Starts none until a run succeeds.
    pub(super) fn rest(&mut self) {
        self.deaths = DEATHS;
    }

    /// Notes that the node took something, or kept a standby that was idle.
    pub(super) fn succeeded(&mut self) {
        self.deaths = 0;
    }

    /// Notes that a standby did what it was fed with.
    pub(super) fn served(&mut self) {
        self.deaths = 0;
        self.useless = 0;
        self.not_before = None;
    }

    /// Notes that a standby ended by itself. Those that shared a connection die together: that is one death.
    pub(super) fn died(&mut self, now: Instant, chance: f64) {
        if self.not_before.is_none_or(|at| at <= now) {
            self.deaths += 1;
            self.not_before = Some(now + backoff(self.deaths, chance));
        }
    }

    /// Notes that a standby was of no use when it was fed. Returns true if that is too much, and there are to be none for
    /// a while.
    pub(super) fn was_useless(&mut self) -> bool {
        self.useless += 1;
        let too_many = self.useless >= USELESS;
        if too_many {
            self.useless = 0;
        }
        too_many
    }

    /// Starts none for a while.
    pub(super) fn bar(&mut self, now: Instant) {
        self.barred_until = Some(now + BARRED);
    }
}
