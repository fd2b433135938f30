//! What outlives the process: how the tree was when every node had it, and what each node lacks. After a restart, or
//! when events were lost, only what differs from it is looked at by rsync.
//!
//! The rule that keeps it true: a stamp is saved only if it was taken before a moment by which every change that the
//! kernel had reported was in the outboxes, and their content is saved with it. So an entry that is on disk as the state
//! says is at a node, or is among what that node lacks. A state that is behind is no harm: more is sent.

mod compare;
mod listing;
pub mod memory;
mod own;
mod record;
pub mod stamp;
pub mod store;

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, info, warn};

use self::memory::Memory;
use self::store::{Closed, Store, StoreError, Writing};
use crate::change::Change;
use crate::ending::EndsDaemon;
use crate::messages::{Barrier, Compare, Flush, Flushed, Observed, Passed, Save, Saved};
use crate::mounts::Mounts;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::outbox::backlog::Backlog;
use crate::outbox::fold::Fold;
use crate::outbox::unsaved::Unsaved;
use crate::path::{Escaped, RelPath};
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::site::{DirMoves, InitialSync, Site};

/// A change is saved after so long, with all that came meanwhile.
const DELAY: Duration = Duration::from_secs(1);
/// Saving takes at most this part of the time.
const PART: u32 = 10;
/// Changes that are told in one message.
const TOLD: usize = 1000;

/// SupervisorActor -> StateActor: this is the site now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Keep {
    /// The nodes whose backlogs are kept.
    pub nodes: Vec<Kept>,
    /// What is not mirrored.
    pub excludes: Excludes,
    /// Whether a comparison may delete.
    pub deletes: bool,
}

/// A node whose backlog is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Tells it from others, and from itself with other parameters; see [`key`].
    pub key: String,
    /// What it does not have.
    pub outbox: Outbox,
}

/// To whom the StateActor speaks.
#[derive(Clone)]
pub struct Outlets {
    /// What differs from the state.
    pub changes: Recipient<Observed>,
    /// The end of a flush.
    pub flushed: Recipient<Flushed>,
    /// Asks that all that the kernel has reported reaches the outboxes.
    pub barrier: Recipient<Barrier>,
    /// The last save is done.
    pub saved: Recipient<Saved>,
}

/// Keeps the state of one site.
///
/// Receives: [`Compare`] and [`Flush`] from the filter, [`Passed`] as the answer to its [`Barrier`], [`Keep`], [`Compare`]
/// and [`Save`] from the supervisor. Sends: [`Outlets`]. It runs on a thread of its own, since it looks at the disk and writes while it handles a
/// message. Nobody waits for it but the orderly stop. A panic ends the daemon.
pub struct StateActor {
    root: Root,
    excludes: Excludes,
    /// Whether a comparison may delete.
    deletes: bool,
    /// Whether the nodes follow when a directory is moved: then the old name goes, as its move was seen.
    follows: bool,
    /// `None` once the last save is done.
    store: Option<Store>,
    /// `Some` if it could not be written: it is opened again before the next save.
    closed: Option<Closed>,
    nodes: Vec<Kept>,
    /// Directories on which a file system is, or was mounted: what it held is not deleted if it is not there.
    mounts: BTreeSet<RelPath>,
    /// Names that the nodes keep since directories were moved away from them in the last run: removed behind the first
    /// comparison, which finds the new names.
    away: BTreeSet<RelPath>,
    unsaved: Unsaved,
    outlets: Outlets,
    saving: Option<Saving>,
    saves: u64,
    /// Of the backlogs that were saved last.
    last_backlogs: Option<u64>,
    last_save: Option<(Instant, Duration)>,
    timer: Option<SpawnHandle>,
    /// Whether the next save is the last.
    closing: bool,
    failing: bool,
    log: Logger,
    _guard: EndsDaemon,
}

/// A save that waits for its barrier.
struct Saving {
    id: u64,
    writing: Writing,
    taken: Fold,
    fresh: Vec<RelPath>,
    started: Instant,
    /// Whether the run ends with it.
    last: bool,
}

/// What tells a node, as it is configured, from any other.
pub fn key(site: &Site, node: &Node) -> String {
    let patterns: Vec<_> = site.excludes.patterns().iter().map(ToString::to_string).collect();
    let node = Escaped(node.dest().as_bytes());
    format!("{node} {:?} {:?} {patterns:?}", site.initial_sync, site.extra.words())
}

impl StateActor {
    /// Keeps the state of a site in a store; of which nodes, [`Keep`] says.
    pub fn new(
        site: &Site,
        root: Root,
        Memory { store, mounts, away, unsaved, .. }: Memory,
        outlets: Outlets,
        log: Logger,
        guard: EndsDaemon,
    ) -> Self {
        StateActor {
            root,
            excludes: site.excludes.clone(),
            deletes: site.initial_sync == InitialSync::Full,
            follows: site.dir_moves == DirMoves::Replicate,
            store: Some(store),
            closed: None,
            nodes: Vec::new(),
            mounts,
            away,
            unsaved,
            outlets,
            saving: None,
            saves: 0,
            last_backlogs: None,
            last_save: None,
            timer: None,
            closing: false,
            failing: false,
            log,
            _guard: guard,
        }
    }

    /// Waits for the bell, again and again.
    fn listen(&mut self, ctx: &mut Context<Self>) {
        let unsaved = self.unsaved.clone();
        let rung = async move { unsaved.rung().await }.into_actor(self);
        ctx.spawn(rung.map(|(), actor, ctx| {
            actor.save_soon(ctx);
            actor.listen(ctx);
        }));
    }

    fn save_soon(&mut self, ctx: &mut Context<Self>) {
        if self.timer.is_some() || self.saving.is_some() {
            return;
        }
        let rest = self.last_save.map_or(Duration::ZERO, |(at, took)| (took * PART).saturating_sub(at.elapsed()));
        self.timer = Some(ctx.run_later(rest.max(DELAY), |actor, ctx| {
            actor.timer = None;
            actor.begin_save(ctx);
        }));
    }

    fn begin_save(&mut self, ctx: &mut Context<Self>) {
        let nothing_new = self.unsaved.is_empty() && self.last_backlogs == Some(digest(&self.backlogs()));
        if self.saving.is_some() || nothing_new && !self.closing {
            return;
        }
        if let Err(why) = self.reopen() {
            self.report(&Err(why));
            return if self.closing { self.end(ctx) } else { self.save_soon(ctx) };
        }
        let Some(store) = &self.store else { return };
        // While the source is not there, nothing on disk is true.
        if self.root.check().is_err() {
            if self.closing {
                self.end(ctx);
            }
            return;
        }
        let (started, last) = (Instant::now(), self.closing);
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

    fn record(&self, store: &Store, taken: &Fold) -> Result<(Writing, Vec<RelPath>), StoreError> {
        let writing = store.write()?;
        let fresh = record::record(self.root.reach(), &self.excludes, writing.entries()?, taken)?;
        Ok((writing, fresh))
    }

    fn note_mounts(&mut self) {
        self.mounts.extend(Mounts::below(self.root.path()).map(|mounts| mounts.points()).unwrap_or_default());
        self.mounts = self.mounts.iter().filter(|path| self.is_dir(path)).cloned().collect();
    }

    /// What does not answer is as it was.
    fn exists(&self, path: &RelPath) -> bool {
        self.root.look_at(path).map_or_else(|error| error.kind() == io::ErrorKind::TimedOut, |_| true)
    }

    fn is_dir(&self, path: &RelPath) -> bool {
        self.root.look_at(path).map_or_else(|error| error.kind() == io::ErrorKind::TimedOut, |meta| meta.is_dir())
    }

    fn backlogs(&self) -> Vec<(String, Backlog)> {
        self.nodes.iter().map(|node| (node.key.clone(), node.outbox.lock().backlog())).collect()
    }

    /// Everything that was reported when the stamps were taken is in the outboxes.
    fn complete(&mut self, writing: Writing, unsettled: &[RelPath], closed: bool) -> Result<(), StoreError> {
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

    /// Says once that the state is not kept, and once that it is again.
    fn report(&mut self, result: &Result<(), StoreError>) {
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

    /// Opens the file again, if it was closed because it could not be written.
    fn reopen(&mut self) -> Result<(), StoreError> {
        if let Some(closed) = &self.closed {
            self.store = Some(closed.open()?);
            self.closed = None;
        }
        Ok(())
    }

    /// The last save is done, or cannot be.
    fn end(&mut self, ctx: &mut Context<Self>) {
        // Closed, so that the next daemon in this process can open it.
        self.store = None;
        self.outlets.saved.do_send(Saved);
        ctx.stop();
    }

    /// Gives up a save: what it has looked at is to be looked at again.
    fn abort(&self, saving: Saving) {
        saving.writing.abort();
        self.unsaved.put_back(saving.taken);
        self.unsaved.put_back_entries(saving.fresh);
    }

    /// Tells the filter what differs from the state; how much it is.
    fn compare(&self, unsaved_names: bool) -> Result<usize, StoreError> {
        let Some(store) = &self.store else { return Ok(0) };
        let (mut found, mut removed, mut count) = (Vec::new(), Vec::new(), 0);
        let mut tell = |change: Change| {
            // Last, since each may be the old name of something new; without deletions only removals that were seen are
            // mirrored.
            if let Change::Removed { .. } = change {
                removed.extend(self.deletes.then_some(change));
                return;
            }
            count += 1;
            found.push(change);
            if found.len() == TOLD {
                self.outlets.changes.do_send(Observed(std::mem::take(&mut found)));
            }
        };
        let result = compare::compare(self.root.reach(), &store.known()?, &self.excludes, unsaved_names, &mut tell);
        let away = self.away.iter().filter(|path| (self.deletes || self.follows) && !self.exists(path));
        removed.extend(away.map(|path| Change::Removed { path: path.clone(), is_dir: true }));
        count += removed.len();
        found.append(&mut removed);
        found.extend(result.is_ok().then_some(Change::ComparedWithState));
        self.outlets.changes.do_send(Observed(found));
        result.map(|()| count)
    }
}

fn digest(backlogs: &[(String, Backlog)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, backlog) in backlogs {
        (key, backlog.encode()).hash(&mut hasher);
    }
    hasher.finish()
}

impl Actor for StateActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(ctx);
    }
}

impl Handler<Keep> for StateActor {
    type Result = ();

    fn handle(&mut self, Keep { nodes, excludes, deletes }: Keep, ctx: &mut Self::Context) {
        if excludes != self.excludes {
            // What is included now is not in the state.
            self.unsaved.fill();
        }
        (self.nodes, self.excludes, self.deletes) = (nodes, excludes, deletes);
        self.save_soon(ctx);
    }
}

impl Handler<Compare> for StateActor {
    type Result = ();

    fn handle(&mut self, Compare { unsaved_names }: Compare, ctx: &mut Self::Context) {
        let started = Instant::now();
        // It has looked at the disk before the events were lost.
        if let Some(saving) = self.saving.take() {
            self.abort(saving);
        }
        let compared = self.compare(unsaved_names);
        self.away.clear();
        match compared {
            Ok(count) => info!(self.log, "compared with the state"; "differences" => count,
                "took_ms" => started.elapsed().as_millis()),
            Err(why) => {
                warn!(self.log, "the state is of no use: comparing everything"; "why" => %why);
                self.outlets.changes.do_send(Observed(vec![Change::Subtree { path: RelPath::root() }]));
            }
        }
        self.save_soon(ctx);
    }
}

impl Handler<Flush> for StateActor {
    type Result = ();

    /// What was found before is on its way to the filter, ahead of this.
    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        self.outlets.flushed.do_send(Flushed);
    }
}

impl Handler<Passed> for StateActor {
    type Result = ();

    fn handle(&mut self, Passed { id, lost, unsettled }: Passed, ctx: &mut Self::Context) {
        let Some(saving) = self.saving.take_if(|saving| saving.id == id) else { return };
        self.last_save = Some((Instant::now(), saving.started.elapsed()));
        if lost {
            let last = saving.last;
            self.abort(saving);
            return if last { self.end(ctx) } else { self.save_soon(ctx) };
        }
        let Saving { writing, taken, fresh, started, last, .. } = saving;
        // What stays fresh for ever, since the clock was set back, waits for the next change.
        let again = !fresh.is_empty() && taken.len() > fresh.len();
        // Of names that are not saved the nodes may have any.
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
            () if self.closing => self.begin_save(ctx),
            () if again || result.is_err() => self.save_soon(ctx),
            () => (),
        }
    }
}

impl Handler<Save> for StateActor {
    type Result = ();

    fn handle(&mut self, _: Save, ctx: &mut Self::Context) {
        self.closing = true;
        self.timer.take().map(|timer| ctx.cancel_future(timer));
        // What changed a moment ago can only be saved after a tick of the clock.
        ctx.run_later(stamp::TICK, |actor, ctx| actor.begin_save(ctx));
    }
}

#[cfg(test)]
mod tests;
