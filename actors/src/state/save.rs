//! The saves of the state: when one begins, and how it ends.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, info, warn};

use super::store::{SaveInProgress, Store, StoreError};
use super::{StateActor, record};
use crate::messages::{Barrier, Saved};
use crate::outbox::backlog::Backlog;
use crate::outbox::fold::Fold;
use crate::path::RelPath;

/// Delay between a change and its save; the changes in between are saved together.
const DELAY: Duration = Duration::from_secs(1);
/// Saving takes at most one part in this many of the time.
const PART: u32 = 10;

/// A save that waits for its barrier to pass.
pub(super) struct Saving {
    pub(super) id: u64,
    pub(super) writing: SaveInProgress,
    pub(super) taken: Fold,
    pub(super) fresh: Vec<RelPath>,
    pub(super) started: Instant,
    /// `true` if the actor ends after this save.
    pub(super) last: bool,
}

impl StateActor {
    /// Schedules a save each time that paths are waiting to be saved.
    pub(super) fn listen(&mut self, ctx: &mut Context<Self>) {
        let unsaved = self.unsaved.clone();
        let rung = async move { unsaved.rung().await }.into_actor(self);
        ctx.spawn(rung.map(|(), actor, ctx| {
            actor.save_soon(ctx);
            actor.listen(ctx);
        }));
    }

    pub(super) fn save_soon(&mut self, ctx: &mut Context<Self>) {
        if self.timer.is_some() || self.saving.is_some() {
            return;
        }
        let rest = self.last_save.map_or(Duration::ZERO, |(at, took)| (took * PART).saturating_sub(at.elapsed()));
        self.timer = Some(ctx.run_later(rest.max(DELAY), |actor, ctx| {
            actor.timer = None;
            actor.begin_save(ctx);
        }));
    }

    pub(super) fn begin_save(&mut self, ctx: &mut Context<Self>) {
        let nothing_new = self.unsaved.is_empty() && self.last_backlogs == Some(digest(&self.backlogs()));
        if self.saving.is_some() || nothing_new && !self.closing {
            return;
        }
        if let Err(why) = self.reopen() {
            self.report(&Err(why));
            return if self.closing { self.end(ctx) } else { self.save_soon(ctx) };
        }
        let Some(store) = &self.store else { return };
        // The disk says nothing about the tree while the source is missing.
        if self.root.check().is_err() {
            if self.closing {
                self.end(ctx);
            }
            return;
        }
        let started = Instant::now();
        let last = self.closing;
        let taken = self.unsaved.take();
        match self.record(store, &taken) {
            Ok((writing, fresh)) => {
                self.saves += 1;
                self.saving = Some(Saving { id: self.saves, writing, taken, fresh, started, last });
                self.outlets.barrier.do_send(Barrier { id: self.saves });
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
        let fresh = record::record(self.root.reach(), &self.excludes, writing.entries()?, taken)?;
        Ok((writing, fresh))
    }

    fn backlogs(&self) -> Vec<(String, Backlog)> {
        self.nodes.iter().map(|node| (node.key.clone(), node.outbox.lock().backlog())).collect()
    }

    /// Completes a save once every change reported before the stamps were taken is in the outboxes.
    pub(super) fn complete(
        &mut self,
        writing: SaveInProgress,
        unsettled: &[RelPath],
        closed: bool,
    ) -> Result<(), StoreError> {
        let mut entries = writing.entries()?;
        unsettled.iter().chain(&self.unsaved.unsure()).try_for_each(|path| entries.forget(path))?;
        drop(entries);
        self.note_mounts();
        let backlogs = self.backlogs();
        let Some(store) = &self.store else { return Ok(()) };
        writing.save(store.subject(), &backlogs, &self.mounts, closed)?;
        self.last_backlogs = Some(digest(&backlogs));
        Ok(())
    }

    /// Logs the first failure to save, and the first success after failures.
    pub(super) fn report(&mut self, result: &Result<(), StoreError>) {
        match result {
            Ok(()) if self.failing => info!(self.log, "the state is kept again"),
            Err(why) if !self.failing => {
                warn!(self.log, "the state is not kept for now: a restart may send more than it needs"; "why" => %why);
            }
            Err(why) => debug!(self.log, "the state is not kept"; "why" => %why),
            Ok(()) => (),
        }
        self.failing = result.is_err();
        let why = result.as_ref().err().map(ToString::to_string);
        self.unsaved.set_trouble(why);
        if self.failing {
            self.closed = self.store.take().map(Store::close).or(self.closed.take());
        }
    }

    /// Opens the file again if it was closed after a failed write.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        if let Some(closed) = &self.closed {
            self.store = Some(closed.open()?);
            self.closed = None;
        }
        Ok(())
    }

    /// Ends the actor: the last save is done, or is impossible.
    pub(super) fn end(&mut self, ctx: &mut Context<Self>) {
        // The next daemon in this process must be able to open the file.
        self.store = None;
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

fn digest(backlogs: &[(String, Backlog)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, backlog) in backlogs {
        (key, backlog.encode()).hash(&mut hasher);
    }
    hasher.finish()
}
