//! Brings one node up to date, batch by batch. What the node does not have yet is in its [`Outbox`], which outlives the
//! actor; what rsync must be told is decided in [`mod@plan`]; how it is told is the [`Transport`]'s business.

pub mod fold;
pub mod health;
pub mod pending;
pub mod plan;
pub mod report;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, error, info, warn};

use self::health::{Health, News, backoff};
use self::pending::PendingSet;
use self::plan::{Disk, Found, Plan, Source, plan};
use self::report::{log_delivery, log_failing};
use crate::filter::excludes::Excludes;
use crate::messages::{Change, Died, Drain, Drained, Succeeded, Wake};
use crate::path::RelPath;
use crate::root::Root;
use crate::rsync::blame::Blame;
use crate::rsync::failure::{Cause, Failure};
use crate::rsync::output::Tally;

/// Paths in one batch, and bytes of their names: rsync reads its list byte by byte before it does anything.
const BATCH_PATHS: usize = 2000;
const BATCH_BYTES: usize = 200_000;
/// When the daemon stops, what is due later than this is not waited for.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// The pending set of one node, shared by the FilterActor that fills it, the SyncActor that works it off, and the
/// supervisor, which keeps it when the SyncActor dies.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Mutex<PendingSet>>);

impl Outbox {
    /// The set. A panic while it was held left it whole: its operations do not call out.
    pub fn lock(&self) -> MutexGuard<'_, PendingSet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one or more runs did, when they did not fail as a whole.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// What was sent and deleted.
    pub tally: Tally,
    /// Paths that failed, or that lie above or below what did.
    pub blamed: Blame,
    /// Why they failed; `Some` if and only if something is blamed.
    pub failure: Option<Failure>,
}

/// A run in flight.
pub type Running = Pin<Box<dyn Future<Output = Result<Delivery, Failure>>>>;

/// A way to a node.
pub trait Transport {
    /// Carries out a plan.
    fn deliver(self: Rc<Self>, plan: Rc<Plan>) -> Running;
    /// Compares the whole tree.
    fn reconcile(self: Rc<Self>) -> Running;
}

/// What a SyncActor works on and with. All of it outlives the actor.
#[derive(Clone)]
pub struct Link {
    /// The node's place in the site.
    pub slot: usize,
    /// What the node does not have yet.
    pub outbox: Outbox,
    /// The way to it.
    pub transport: Rc<dyn Transport>,
    /// The source.
    pub root: Root,
    /// What is never mirrored.
    pub excludes: Excludes,
    /// Its lines name the node.
    pub log: Logger,
}

/// To whom a SyncActor reports.
#[derive(Clone)]
pub struct Superior {
    /// The actor is gone.
    pub died: Recipient<Died>,
    /// The node took something.
    pub succeeded: Recipient<Succeeded>,
    /// The answer to [`Drain`].
    pub drained: Recipient<Drained>,
}

/// Works off one node's outbox.
///
/// Receives: [`Wake`], [`Drain`]. Sends: [`Succeeded`], [`Drained`], and [`Died`] when it is gone. A batch and a
/// reconcile may be in flight at once. Stops when rsync cannot be started. A restart forgets the backoff of the node, and
/// nothing that is pending.
pub struct SyncActor {
    link: Link,
    superior: Superior,
    health: Health,
    batch_runs: bool,
    reconcile_runs: bool,
    draining: bool,
    timer: Option<SpawnHandle>,
    _obituary: Obituary,
}

/// Tells the supervisor that the actor is gone: runs when the actor stops and when it panics.
struct Obituary {
    slot: usize,
    died: Recipient<Died>,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        self.died.do_send(Died { slot: self.slot, panicked: std::thread::panicking() });
    }
}

impl SyncActor {
    /// An actor for the node of `link`.
    pub fn new(link: Link, superior: Superior) -> Self {
        let _obituary = Obituary { slot: link.slot, died: superior.died.clone() };
        let (health, batch_runs, reconcile_runs, draining, timer) = (Health::Well, false, false, false, None);
        SyncActor { link, superior, health, batch_runs, reconcile_runs, draining, timer, _obituary }
    }

    /// Starts whatever may start now, and looks again when the next thing is due.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.timer.take().map(|timer| ctx.cancel_future(timer));
        let look_again = match self.health.may_start(now) {
            Ok(()) => {
                self.start(now, ctx);
                self.health.may_start(now).err().or_else(|| self.next_due(now))
            }
            Err(until) => Some(until),
        };
        let look_again = look_again.filter(|_| !self.link.outbox.lock().is_empty());
        self.timer = look_again.map(|at| ctx.run_later(at.saturating_duration_since(now), Self::on_timer));
        self.report_if_drained(now);
    }

    /// When something can start that does not wait for what is in flight.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let outbox = self.link.outbox.lock();
        let batch = if self.batch_runs { None } else { outbox.next_due(now) };
        batch.into_iter().chain(outbox.reconcile_due(now)).min()
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer = None;
        self.advance(ctx);
    }

    fn start(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let (batch, reconcile) = {
            let outbox = self.link.outbox.lock();
            (!self.batch_runs && outbox.has_due(now), outbox.reconcile_due(now).is_some_and(|at| at <= now))
        };
        if !(batch || reconcile) {
            return;
        }
        if let Err(why) = self.link.root.check() {
            let news = self.health.held(why, now);
            return self.tell(&news, None);
        }
        if reconcile {
            self.start_reconcile(now, ctx);
        }
        if batch {
            self.start_batch(now, ctx);
        }
    }

    fn start_batch(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let mut outbox = self.link.outbox.lock();
        let batch = outbox.lease(BATCH_PATHS, BATCH_BYTES, now);
        let mut disk = Source(self.link.root.path().to_owned());
        let plan = Rc::new(plan(&batch, &outbox, &self.link.excludes, &mut disk, now));
        for path in &plan.lost {
            warn!(self.link.log, "comparing a directory: something in it is gone, and nobody reported it"; "path" => %path);
            outbox.add(&Change::Subtree { path: path.clone() }, now);
        }
        outbox.forget_moves(&plan.returned);
        if plan.is_empty() {
            outbox.settle(now, |path| plan.fate(path, &Blame::default(), &BTreeSet::new()), retry);
            return;
        }
        drop(outbox);
        debug!(self.link.log, "batch"; "plan" => ?plan);
        self.batch_runs = true;
        let running = self.link.transport.clone().deliver(plan.clone());
        let ended = running.into_actor(self).map(move |result, actor, ctx| actor.batch_ended(&plan, now, result, ctx));
        ctx.spawn(ended);
    }

    fn batch_ended(
        &mut self,
        plan: &Plan,
        started: Instant,
        result: Result<Delivery, Failure>,
        ctx: &mut Context<Self>,
    ) {
        self.batch_runs = false;
        let now = Instant::now();
        match result {
            Ok(delivery) => {
                let gone = plan.gone(&mut Source(self.link.root.path().to_owned()));
                let fate = |path: &RelPath| plan.fate(path, &delivery.blamed, &gone);
                let failing = self.link.outbox.lock().settle(now, fate, retry);
                log_delivery(&self.link.log, "mirrored", plan.len(), &delivery, started);
                log_failing(&self.link.log, &failing, &delivery);
                self.succeeded(&delivery);
            }
            Err(failure) => {
                self.link.outbox.lock().roll_back_batch();
                self.failed(&failure, now, ctx);
            }
        }
        self.advance(ctx);
    }

    fn start_reconcile(&mut self, started: Instant, ctx: &mut Context<Self>) {
        if !self.link.outbox.lock().lease_reconcile(started) {
            return;
        }
        debug!(self.link.log, "reconcile");
        self.reconcile_runs = true;
        let running = self.link.transport.clone().reconcile();
        let ended = running.into_actor(self).map(move |result, actor, ctx| actor.reconcile_ended(started, result, ctx));
        ctx.spawn(ended);
    }

    fn reconcile_ended(&mut self, started: Instant, result: Result<Delivery, Failure>, ctx: &mut Context<Self>) {
        self.reconcile_runs = false;
        let now = Instant::now();
        match result {
            Ok(delivery) => {
                if self.settle_reconcile(&delivery.blamed, now) {
                    log_failing(&self.link.log, &[RelPath::root()], &delivery);
                }
                let changes = delivery.tally.changes();
                log_delivery(&self.link.log, "reconciled", changes, &delivery, started);
                self.succeeded(&Delivery { tally: Tally { made_mirror: false, ..delivery.tally }, ..delivery });
            }
            Err(failure) => {
                self.link.outbox.lock().roll_back_reconcile();
                self.failed(&failure, now, ctx);
            }
        }
        self.advance(ctx);
    }

    /// What failed alone is tried again alone: as what it is on disk now. Whether the reconcile failed again as a whole.
    fn settle_reconcile(&mut self, blamed: &Blame, now: Instant) -> bool {
        let mut outbox = self.link.outbox.lock();
        let Blame::Paths(paths) = blamed else { return outbox.postpone_reconcile(now, retry) == 2 };
        outbox.settle_reconcile(now);
        let mut disk = Source(self.link.root.path().to_owned());
        for path in paths.iter().cloned() {
            let change = match disk.look(&path) {
                _ if path.is_root() => Change::Touched { path, is_dir: true, rewritten: false },
                Found::Directory => Change::Subtree { path },
                Found::Missing => Change::Removed { path, is_dir: false },
                Found::File(_) | Found::Other | Found::Unknown => {
                    Change::Touched { path, is_dir: false, rewritten: false }
                }
            };
            outbox.add(&change, now);
        }
        false
    }

    fn succeeded(&mut self, delivery: &Delivery) {
        if delivery.tally.made_mirror {
            warn!(self.link.log, "the mirror did not exist; sending everything");
            self.link.outbox.lock().want_reconcile();
        }
        let news = self.health.succeeded();
        self.tell(&news, None);
        self.superior.succeeded.do_send(Succeeded { slot: self.link.slot });
    }

    fn failed(&mut self, failure: &Failure, now: Instant, ctx: &mut Context<Self>) {
        let news = match self.link.root.check() {
            Err(why) => self.health.held(why, now),
            Ok(()) => self.health.failed(failure, now, fastrand::f64()),
        };
        self.tell(&news, Some(failure));
        if failure.cause == Cause::NotStarted {
            ctx.stop();
        }
    }

    fn tell(&self, news: &News, failure: Option<&Failure>) {
        let log = &self.link.log;
        let pending = || self.link.outbox.lock().len();
        match (news, failure) {
            (News::Fails, Some(failure)) if failure.cause.is_lasting() => {
                error!(log, "node failing"; "pending" => pending(), "why" => %failure);
            }
            (News::Fails, Some(failure)) => warn!(log, "node failing"; "pending" => pending(), "why" => %failure),
            (News::Held(why), _) => error!(log, "nothing is sent"; "pending" => pending(), "why" => %why),
            (News::Recovered, _) => info!(log, "node recovered"; "pending" => pending()),
            (_, Some(failure)) => debug!(log, "try failed"; "why" => %failure),
            (_, None) => (),
        }
    }

    /// Answers [`Drain`]: nothing is left, or nothing more can be done about it now.
    fn report_if_drained(&mut self, now: Instant) {
        if !self.draining {
            return;
        }
        let outbox = self.link.outbox.lock();
        let due = outbox.next_due(now).into_iter().chain(outbox.reconcile_due(now)).min();
        let soon = due.is_some_and(|at| at <= now + DRAIN_PATIENCE);
        let busy = self.batch_runs || self.reconcile_runs || soon;
        if !busy || self.health.is_failing() {
            self.draining = false;
            self.superior.drained.do_send(Drained { slot: self.link.slot });
        }
    }
}

/// How long a path that failed alone is left alone.
fn retry(tries: u32) -> Duration {
    backoff(tries + 1, fastrand::f64())
}

impl Actor for SyncActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.advance(ctx);
    }
}

impl Handler<Wake> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        // Most wakes come while a batch is in flight: what they announce goes with the next one.
        if !self.batch_runs || !self.reconcile_runs {
            self.advance(ctx);
        }
    }
}

impl Handler<Drain> for SyncActor {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.advance(ctx);
    }
}
