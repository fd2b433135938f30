//! The comparison of the whole tree at one node: when it is started, and what becomes of the paths that fail in it.
//! What is deleted by it, and what is kept, is the [`Transport`](crate::transport::Transport)'s business.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error};

use super::around::until_nothing_lingers;
use super::disk::{Disk, EntryOnDisk, Source};
use super::report::{log_failing, log_reconcile};
use super::{Comparing, SyncActor};
use crate::backoff::{backoff_after, lasting};
use crate::change::Change;
use crate::health::StoredPart;
use crate::messages::Resync;
use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::root::reach::Silent;
use crate::status::record::RunKind;
use crate::transport::Delivery;
use crate::transport::blame::Blame;
use crate::transport::failure::{Cause, Failure};

/// The tree is compared once more, if nobody asks for it before, where rsync said again what cannot be read: what
/// failed is not known. It may have been of a moment; if not, each further try would end as this one. So the time
/// doubles from this up to [`UNREADABLE_LAST`].
const UNREADABLE: Duration = Duration::from_secs(60);
/// The longest wait of such a comparison.
const UNREADABLE_LAST: Duration = Duration::from_secs(24 * 3600);

/// The wait of a comparison that ended so often with what cannot be read.
fn unreadable(tries: u32) -> Duration {
    match tries {
        0 => backoff_after(0),
        tries => UNREADABLE.saturating_mul(1 << tries.min(16)).min(UNREADABLE_LAST),
    }
}

impl SyncActor {
    pub(super) fn start_reconcile(&mut self, started: Instant, ctx: &mut Context<Self>) {
        let mut outbox = self.link.outbox.lock();
        if !outbox.lease_reconcile(started) {
            return;
        }
        let mut kept: Vec<RelPath> = outbox.kept_in_reconcile().into_iter().collect();
        if self.link.transport().deletes_at_start_only() && outbox.last_reconcile().is_some() {
            // The root stands for all.
            kept = vec![RelPath::root()];
        }
        drop(outbox);
        self.end_verify(ctx);
        debug!(self.link.log, "reconcile");
        self.comparing = Comparing::Reconcile;
        self.link.record.reconciles(true);
        let running = self.link.transport().reconcile(kept, self.link.progress.clone());
        let running = self.link.root.reach().clone().while_it_answers(|_| true, running);
        let ended = until_nothing_lingers(running).into_actor(self).map(move |result, actor, ctx| match result {
            Ok(result) => actor.reconcile_ended(started, result, ctx),
            Err(silent) => actor.reconcile_cut(&silent, ctx),
        });
        ctx.spawn(ended);
    }

    /// Something that is mounted in the source does not answer: the rest of the tree is compared without it.
    fn reconcile_cut(&mut self, silent: &Silent, ctx: &mut Context<Self>) {
        debug!(self.link.log, "the reconcile is broken off: a file system does not answer"; "path" => %silent.path);
        self.comparing = Comparing::Nothing;
        self.link.record.reconciles(false);
        self.link.outbox.lock().roll_back_reconcile();
        self.advance(ctx);
    }

    fn reconcile_ended(&mut self, started: Instant, result: Result<Delivery, Failure>, ctx: &mut Context<Self>) {
        self.comparing = Comparing::Nothing;
        self.link.record.reconciles(false);
        self.link.unsaved.ring();
        let now = Instant::now();
        match result {
            Ok(delivery) => {
                self.reconcile_held = false;
                let failing = self.settle_reconcile(&delivery, now);
                self.note_room(&delivery, now);
                log_failing(&self.link.log, &failing, &delivery);
                self.link.record.done(RunKind::Reconcile, &delivery.tally, delivery.failure.as_ref());
                let changes = delivery.tally.changes();
                log_reconcile(&self.link.log, &delivery, started);
                let stored =
                    if changes == 0 && delivery.failure.is_some() { StoredPart::Nothing } else { StoredPart::Some };
                self.ended(&delivery, stored, started);
            }
            // What changes goes on. Nothing was stored that would show that the node is well again.
            Err(failure) if failure.cause == Cause::TooManyDeletions => {
                self.link.outbox.lock().postpone_reconcile(now, |_| lasting(fastrand::f64()));
                self.link.record.reconcile_held(&failure);
                let news = self.health.ended(StoredPart::Nothing, started);
                self.tell(&news, None);
                if !std::mem::replace(&mut self.reconcile_held, true) {
                    error!(self.link.log, "{}", failure);
                }
            }
            Err(failure) => {
                self.link.outbox.lock().roll_back_reconcile();
                self.failed(&failure, started, ctx);
            }
        }
        self.advance(ctx);
    }

    /// Tries again alone what failed alone, as what it is on disk now. Returns the paths that are known to fail by now.
    fn settle_reconcile(&mut self, delivery: &Delivery, now: Instant) -> Vec<RelPath> {
        let mut outbox = self.link.outbox.lock();
        let Blame::Paths(paths) = &delivery.blamed else {
            let again = outbox.postpone_reconcile(now, unreadable);
            let set_aside =
                |path: &&RelPath| outbox.set_aside((*path).clone(), false, now, now + lasting(fastrand::f64()));
            let unfit: Vec<RelPath> = delivery.aside.iter().filter(set_aside).cloned().collect();
            return if again == 2 { vec![RelPath::root()] } else { unfit };
        };
        let since = outbox.settle_reconcile(now);
        self.link.heard.prove(now, |path| path.is_root() && delivery.unset.root);
        let mut disk = Source::at(&self.link.root);
        let mut failing = Vec::new();
        for path in paths.iter().cloned() {
            if delivery.aside.contains(&path) {
                let is_news = outbox.set_aside(path.clone(), false, since, now + lasting(fastrand::f64()));
                failing.extend(is_news.then_some(path));
                continue;
            }
            if delivery.untried.contains(&path) {
                let not_before = now + lasting(fastrand::f64());
                outbox.put_apart(path, Pending::new(Scope::Entry).tried_apart(since, not_before));
                continue;
            }
            let change = match disk.look(&path) {
                _ if path.is_root() => Change::Touched { path, is_dir: true, rewritten: false },
                EntryOnDisk::Directory => Change::Subtree { path },
                EntryOnDisk::Missing if delivery.undeleted.contains(&path) => removal(&path, &mut disk),
                EntryOnDisk::Missing => Change::Removed { path, is_dir: false },
                EntryOnDisk::File(_) | EntryOnDisk::Other | EntryOnDisk::Unknown => {
                    Change::Touched { path, is_dir: false, rewritten: false }
                }
            };
            outbox.add_since(&change, since, now);
        }
        self.compare_again(&mut outbox, &delivery.again, since, now);
        failing
    }
}

impl Handler<Resync> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Resync, ctx: &mut Self::Context) {
        let mut outbox = self.link.outbox.lock();
        // A verification would be given up for it, and begin from the start. It is asked for again in a while.
        if !self.health.is_well() || outbox.reconciles() || self.comparing != Comparing::Nothing {
            return;
        }
        debug!(self.link.log, "comparing everything (resync_every)");
        outbox.want_resync();
        drop(outbox);
        self.advance(ctx);
    }
}

/// The removal of an entry that a comparison could not delete: it goes with the topmost directory that the source does
/// not have. Nobody reports that one, as the source may never have had it.
pub(super) fn removal(path: &RelPath, disk: &mut dyn Disk) -> Change {
    let missing = path.ancestors().filter(|dir| !dir.is_root()).find(|dir| disk.look(dir) == EntryOnDisk::Missing);
    match missing {
        Some(path) => Change::Removed { path, is_dir: true },
        None => Change::Removed { path: path.clone(), is_dir: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_tried_once_more_at_once_and_then_ever_later() {
        for (tries, at_least, at_most) in
            [(0, 0, 1), (1, 120, 120), (2, 240, 240), (10, 61_440, 61_440), (11, 86_400, 86_400), (99, 86_400, 86_400)]
        {
            let pause = unreadable(tries).as_secs();
            assert!((at_least..=at_most).contains(&pause), "{tries}: {pause} s");
        }
    }
}
