//! The saves of the state: when one begins, and how it ends.
//!
//! A save takes stamps first, then lets a `Barrier` pass through the watcher and the filter (a watch that is given up, whose last
//! event comes behind all that was reported before: `watcher/queue_barrier.rs`), then writes the backlogs, all in one transaction.
//! A stamp that is younger than a tick of the clock, or of a file that is being written, is not saved.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, info, warn};

use super::stamp::TICK;
use super::store::{Closed, SaveInProgress, Store, StoreError};
use super::{StateActor, stamping};
use crate::messages::{Barrier, Passed, Save, Saved};
use crate::outbox::backlog::Backlog;
use crate::outbox::fold::Fold;
use crate::path::RelPath;

/// Delay between a change and its save; in a burst, the time without a change before it.
const QUIET: Duration = Duration::from_secs(1);
/// Unsaved paths of a burst: looking at all of them would take the processor from the runs that send them.
const BURST: usize = 500;
/// The longest delay between a change and its save in a burst.
const LATEST: Duration = Duration::from_secs(3);
/// The interval at which more changes are noticed while a save is due anyway.
const NOTICE: Duration = Duration::from_millis(100);
/// Saving takes at most one part in this many of the time.
const PART: u32 = 10;

/// A save that waits for its barrier to pass.
pub(super) struct Saving {
    id: u64,
    writing: SaveInProgress,
    taken: Fold,
    fresh: Vec<RelPath>,
    started: Instant,
    /// `true` if the actor ends after this save.
    last: bool,
}

/// The saves so far, and the next one.
#[derive(Default)]
pub(super) struct Saves {
    under_way: Option<Saving>,
    count: u64,
    /// Digest of the backlogs in the last save.
    last_backlogs: Option<u64>,
    /// The end of the last save, and the time that it took.
    last: Option<(Instant, Duration)>,
    /// Runs when the next one is to begin.
    timer: Option<SpawnHandle>,
    /// The time of the latest change that was noticed.
    changed: Option<Instant>,
    /// `true` if the next save is the last.
    closing: bool,
    /// `true` if the last one failed.
    failing: bool,
}

impl Saves {
    /// Takes the save that is under way, to break it off.
    pub(super) fn take(&mut self) -> Option<Saving> {
        self.under_way.take()
    }
}

/// The file of the state.
pub(super) enum StateFile {
    /// It can be read and written.
    Open(Store),
    /// A write failed: it is opened again before the next save.
    Closed(Closed),
    /// The last save is over: the next daemon in this process must be able to open the file.
    GivenUp,
}

impl StateFile {
    /// The open file; `None` while it is closed.
    pub(super) fn store(&self) -> Option<&Store> {
        match self {
            StateFile::Open(store) => Some(store),
            StateFile::Closed(_) | StateFile::GivenUp => None,
        }
    }

    /// Closes it after a failed write.
    fn close(&mut self) {
        *self = match std::mem::replace(self, StateFile::GivenUp) {
            StateFile::Open(store) => StateFile::Closed(store.close()),
            other => other,
        };
    }

    /// Opens it again if it was closed after a failed write. Returns false if it does not have the last save any more.
    fn reopen(&mut self) -> Result<bool, StoreError> {
        let StateFile::Closed(closed) = self else { return Ok(true) };
        let (store, is_known) = closed.open()?;
        *self = StateFile::Open(store);
        Ok(is_known)
    }
}

impl StateActor {
    /// Opens the file again if it was closed after a failed write. Returns false if it does not have the last save any more:
    /// then all is saved anew.
    pub(super) fn reopen(&mut self) -> Result<bool, StoreError> {
        let is_known = self.file.reopen()?;
        if !is_known {
            self.unsaved.fill();
        }
        Ok(is_known)
    }

    /// Schedules a save each time that paths are waiting to be saved.
    pub(super) fn listen(&mut self, ctx: &mut Context<Self>) {
        let unsaved = self.unsaved.clone();
        let rung = async move { unsaved.rung().await }.into_actor(self);
        ctx.spawn(rung.map(|(), actor, ctx| {
            actor.saves.changed = Some(Instant::now());
            actor.save_soon(ctx);
            ctx.run_later(NOTICE, Self::listen);
        }));
    }

    pub(super) fn save_soon(&mut self, ctx: &mut Context<Self>) {
        if self.saves.timer.is_some() || self.saves.under_way.is_some() {
            return;
        }
        let rest = self.saves.last.map_or(Duration::ZERO, |(at, took)| (took * PART).saturating_sub(at.elapsed()));
        let asked = Instant::now();
        self.save_after(rest.max(QUIET), asked, ctx);
    }

    /// Begins a save after this time, or later if there are changes meanwhile.
    fn save_after(&mut self, delay: Duration, asked: Instant, ctx: &mut Context<Self>) {
        self.saves.timer = Some(ctx.run_later(delay, move |actor, ctx| {
            let changed = actor.saves.changed.unwrap_or(asked);
            match still_waits(asked, changed, actor.unsaved.len(), Instant::now()) {
                Some(delay) => actor.save_after(delay, asked, ctx),
                None => {
                    actor.saves.timer = None;
                    actor.begin_save(ctx);
                }
            }
        }));
    }

    fn begin_save(&mut self, ctx: &mut Context<Self>) {
        let nothing_new = self.unsaved.is_empty() && self.saves.last_backlogs == Some(digest(&self.backlogs()));
        if self.saves.under_way.is_some() || nothing_new && !self.saves.closing {
            return;
        }
        if let Err(why) = self.reopen() {
            self.report(&Err(why));
            return if self.saves.closing { self.end(ctx) } else { self.save_soon(ctx) };
        }
        let Some(store) = self.file.store() else { return };
        // The disk says nothing about the tree while the source is missing.
        if self.root.check().is_err() {
            if self.saves.closing {
                self.end(ctx);
            }
            return;
        }
        let started = Instant::now();
        let last = self.saves.closing;
        let taken = self.unsaved.take();
        match self.record(store, &taken) {
            Ok((writing, fresh)) => {
                self.saves.count += 1;
                self.saves.under_way = Some(Saving { id: self.saves.count, writing, taken, fresh, started, last });
                self.outlets.barrier.do_send(Barrier { id: self.saves.count });
            }
            Err(error) => {
                self.unsaved.put_back(taken);
                self.report(&Err(error));
                if last { self.end(ctx) } else { self.save_soon(ctx) }
            }
        }
    }

    fn record(&self, store: &Store, taken: &Fold) -> Result<(SaveInProgress, Vec<RelPath>), StoreError> {
        let writing = store.write()?;
        let fresh = stamping::record(self.root.reach(), &self.rules.excludes, writing.entries()?, taken)?;
        Ok((writing, fresh))
    }

    fn backlogs(&self) -> Vec<(String, Backlog)> {
        self.nodes.iter().map(|node| (node.key.clone(), node.outbox.lock().backlog())).collect()
    }

    /// Completes a save once every change reported before the stamps were taken is in the outboxes.
    fn complete(&mut self, writing: SaveInProgress, unsettled: &[RelPath], closed: bool) -> Result<(), StoreError> {
        let mut entries = writing.entries()?;
        unsettled.iter().chain(&self.unsaved.unsure()).try_for_each(|path| entries.forget(path))?;
        entries.finish()?;
        self.note_mounts();
        let backlogs = self.backlogs();
        let Some(store) = self.file.store() else { return Ok(()) };
        writing.save(store.subject(), &backlogs, &self.mounts, closed)?;
        self.saves.last_backlogs = Some(digest(&backlogs));
        Ok(())
    }

    /// Logs the first failure to save, and the first success after failures.
    fn report(&mut self, result: &Result<(), StoreError>) {
        match result {
            Ok(()) if self.saves.failing => info!(self.log, "the state is kept again"),
            Err(why) if !self.saves.failing => {
                warn!(self.log, "the state is not kept for now: a restart may send more than it needs"; "why" => %why);
            }
            Err(why) => debug!(self.log, "the state is not kept"; "why" => %why),
            Ok(()) => (),
        }
        if let Err(StoreError::Damaged) = result {
            // The next save looks at all again, and replaces what is damaged.
            self.unsaved.fill();
        }
        self.saves.failing = result.is_err();
        let why = result.as_ref().err().map(ToString::to_string);
        self.unsaved.set_trouble(why);
        if self.saves.failing {
            self.file.close();
        }
    }

    /// Ends the actor: the last save is done, or is impossible.
    fn end(&mut self, ctx: &mut Context<Self>) {
        self.file = StateFile::GivenUp;
        self.outlets.saved.do_send(Saved);
        ctx.stop();
    }

    /// Drops a save, and marks its paths as unsaved again.
    pub(super) fn abort(&self, saving: Saving) {
        saving.writing.abort();
        self.unsaved.put_back(saving.taken);
        self.unsaved.put_back_entries(saving.fresh);
    }
}

impl Handler<Passed> for StateActor {
    type Result = ();

    fn handle(&mut self, Passed { id, lost, unsettled }: Passed, ctx: &mut Self::Context) {
        let Some(saving) = self.saves.under_way.take_if(|saving| saving.id == id) else { return };
        self.saves.last = Some((Instant::now(), saving.started.elapsed()));
        if lost {
            let last = saving.last;
            self.abort(saving);
            return if last { self.end(ctx) } else { self.save_soon(ctx) };
        }
        let Saving { writing, taken, fresh, started, last, .. } = saving;
        // Paths can stay fresh for long after the clock was set back: they wait for the next change, not for the next
        // save.
        let again = !fresh.is_empty() && taken.len() > fresh.len();
        // The nodes may have entries with unsaved names.
        let sure = unsettled.is_empty() && self.unsaved.unsure().is_empty() && self.unsaved.is_empty();
        let closed = last && fresh.is_empty() && sure;
        let result = self.complete(writing, &unsettled, closed);
        match &result {
            Ok(()) => debug!(self.log, "state saved"; "took_ms" => started.elapsed().as_millis()),
            Err(_) => self.unsaved.put_back(taken),
        }
        self.unsaved.put_back_entries(fresh);
        self.report(&result);
        match () {
            () if last => self.end(ctx),
            () if self.saves.closing => self.begin_save(ctx),
            () if again || result.is_err() || self.saves.changed.is_some_and(|at| at > started) => self.save_soon(ctx),
            () => (),
        }
    }
}

impl Handler<Save> for StateActor {
    type Result = ();

    fn handle(&mut self, _: Save, ctx: &mut Self::Context) {
        self.saves.closing = true;
        self.saves.timer.take().map(|timer| ctx.cancel_future(timer));
        // The stamp of the last change can only be saved after a tick of the clock.
        ctx.run_later(TICK, |actor, ctx| actor.begin_save(ctx));
    }
}

/// Returns how much longer a save of so many paths waits that was asked for at one time, with the latest change at another one.
fn still_waits(asked: Instant, changed: Instant, paths: usize, now: Instant) -> Option<Duration> {
    let at = if paths < BURST { asked + QUIET } else { (changed + QUIET).min(asked + LATEST) };
    Some(at.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
}

fn digest(backlogs: &[(String, Backlog)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, backlog) in backlogs {
        (key, backlog.encode()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_waits_for_a_second_and_in_a_burst_until_nothing_has_changed_for_one_or_three_have_passed() {
        let ms = Duration::from_millis;
        let asked = Instant::now();
        let rows = [
            // Latest change, now, and the rest of the wait, in ms after the first change.
            (0, 0, Some(1000)),
            (0, 1000, None),
            (900, 1000, Some(900)),
            (1900, 2000, Some(900)),
            (2500, 2600, Some(400)),
            (2990, 3000, None),
        ];
        for (changed, now, rest) in rows {
            assert_eq!(
                still_waits(asked, asked + ms(changed), BURST, asked + ms(now)),
                rest.map(ms),
                "{changed} {now}"
            );
            let rest = 1000_u64.checked_sub(now).filter(|&rest| rest > 0);
            assert_eq!(still_waits(asked, asked + ms(changed), BURST - 1, asked + ms(now)), rest.map(ms), "{now}");
        }
    }
}
