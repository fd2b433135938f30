//! Keeps standbys at one node: starts them, ends them, and hands them over to runs.

use std::ffi::OsString;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use slog::{debug, info};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use crate::node::Kind;
use crate::rsync::recipe;
use crate::rsync::recipe::Recipe;
use crate::rsync::runner::Runner;
use crate::rsync::runner::process::{Connected, Process};
use crate::rsync::runner::run_order::{Order, Work};
use crate::rsync::runner::speed::Share;
use crate::rsync::runner::standby::{CONNECTS, Handover, LIFETIME};
use crate::transport::failure::Failure;

/// The next standbys are started when all that were fed have done their work, from which they would take the processor, but
/// not later than this: over a long line a standby takes as long to connect as another one to work.
const REFILL_AT_LATEST: Duration = Duration::from_millis(20);
/// A standby of this machine that works for longer than this waits for something else than a processor.
const AT_WORK: Duration = Duration::from_millis(250);

/// The way in which a process stopped waiting.
enum Left {
    /// It was asked for, or is of no use any more.
    Taken,
    /// It ended by itself.
    Died,
    /// It waited for too long.
    Expired,
}

impl Runner {
    /// The node took something, or failed: then nothing is kept ready until it succeeds.
    pub(crate) fn keep_ready(self: &Rc<Self>, well: bool) {
        if well {
            self.wake();
        } else {
            self.rest();
        }
    }

    /// The node may be tried again: standbys are kept again.
    pub(crate) fn wake(self: &Rc<Self>) {
        self.standbys.borrow_mut().succeeded();
        self.refill();
    }

    /// Ends all that wait: none is kept before a run succeeds.
    pub(crate) fn rest(&self) {
        self.standbys.borrow_mut().clear();
        self.changed.notify_waiters();
    }

    /// Ends all that wait: none is ever kept again.
    pub(crate) fn retire(&self) {
        self.standbys.borrow_mut().retire();
        self.changed.notify_waiters();
    }

    /// Starts the next standbys once one that was fed has done its work. Only at a node of this machine is a late one known
    /// to work: at others it is the line that takes the time.
    pub(super) async fn refill_after(self: &Rc<Self>, mut works: oneshot::Receiver<()>) {
        let (fed, member) = self.at_work.begin();
        let is_late = tokio::time::timeout(REFILL_AT_LATEST, &mut works).await.is_err();
        let member = Some(member).filter(|_| is_late && self.target.node.kind() == Kind::Local);
        drop(fed);
        // Whoever is last starts all that are wanted.
        if is_late || self.at_work.is_idle() {
            self.refill();
        }
        if member.is_some() {
            let _ = tokio::time::timeout(AT_WORK, works).await;
        }
    }

    /// Starts the standbys that are wanted, once the connection that they share is there or was tried, and the processors
    /// are not needed for more than that.
    pub(crate) fn refill(self: &Rc<Self>) {
        if self.standbys.borrow().rests() {
            return;
        }
        if self.at_work.crowd.is_dense() {
            return self.refill_when_eased();
        }
        let Some(master) = self.master.clone() else { return self.refill_now() };
        master.wanted();
        if !master.is_starting() {
            return self.refill_now();
        }
        let is_first = self.standbys.borrow_mut().await_master(Instant::now());
        if is_first {
            let runner = Rc::downgrade(self);
            spawn_local(async move {
                master.ready().await;
                if let Some(runner) = runner.upgrade() {
                    runner.standbys.borrow_mut().master_was_tried();
                    runner.refill_now();
                    runner.changed.notify_waiters();
                }
            });
        }
    }

    fn refill_when_eased(self: &Rc<Self>) {
        if self.at_work.set_waits(true) {
            return;
        }
        let crowd = self.at_work.crowd.clone();
        let runner = Rc::downgrade(self);
        spawn_local(async move {
            crowd.eased().await;
            if let Some(runner) = runner.upgrade() {
                runner.at_work.set_waits(false);
                runner.refill();
            }
        });
    }

    /// Tells if an rsync may wait at the node. How long one may say nothing that reads all that is listed is not known
    /// before the list is.
    fn keeps_standbys(&self) -> bool {
        self.target.site.standby && !self.target.site.extra.reads_contents()
    }

    fn refill_now(self: &Rc<Self>) {
        if !self.keeps_standbys() {
            return;
        }
        loop {
            let now = Instant::now();
            let Some(wanted) = self.standbys.borrow().wanted(now) else { break };
            let context = self.context(true);
            let arguments = self.with_timeout(context.invocation(wanted.recipe, Vec::new(), &[]).arguments);
            let recipe = wanted.recipe;
            let carrier = self.carrier(true);
            let make_path = self.target.learned.borrow().makes_path;
            let (id, asked) = self.standbys.borrow_mut().keep(wanted, make_path, now);
            let runner = self.clone();
            spawn_local(async move {
                let started = runner.standby(recipe, &arguments).await;
                let weak = Rc::downgrade(&runner);
                drop(runner);
                match (started, weak.upgrade()) {
                    (Ok(process), _) => keep(weak, id, process.over(carrier), asked).await,
                    // Only the directory that it would work in may be missing.
                    (Err(_), Some(runner)) if recipe == Recipe::Link => {
                        runner.standbys.borrow_mut().forget(Recipe::Link);
                    }
                    (Err(_), Some(runner)) => runner.left(id, Left::Died),
                    (Err(_), None) => (),
                }
            });
        }
        self.refill_later();
    }

    fn refill_later(self: &Rc<Self>) {
        let next_look = self.standbys.borrow_mut().next_look(Instant::now());
        let Some(at) = next_look else { return };
        let runner = Rc::downgrade(self);
        spawn_local(async move {
            tokio::time::sleep_until(at.into()).await;
            if let Some(runner) = runner.upgrade() {
                runner.standbys.borrow_mut().looks();
                runner.refill();
            }
        });
    }

    /// Later runs make the directories above the mirror, or do not. A standby of the other kind is of no use.
    pub(crate) fn set_make_path(self: &Rc<Self>, make_path: bool) {
        self.target.learned.borrow_mut().makes_path = make_path;
        self.standbys.borrow_mut().outdated();
        self.changed.notify_waiters();
        self.refill();
    }

    /// Starts a process that is to wait.
    async fn standby(&self, recipe: Recipe, arguments: &[OsString]) -> Result<Process, Failure> {
        if recipe != Recipe::Link {
            return self.process(self.target.source()?, arguments).await;
        }
        let stage = self.stage()?;
        let directory = stage.directory().map_err(|error| Failure::not_staged(&error))?;
        Ok(self.process(directory, arguments).await?.in_stage(stage))
    }

    /// The list for a process, and what it is about made in the directory that it works in; `None` if it sits
    /// elsewhere.
    fn list_for(&self, order: &Order<'_>, process: &Process) -> Option<Vec<u8>> {
        match (order.work, process.stage()) {
            (Work::Links(twins), Some(stage)) if stage.is_cwd_of(process.id()) => {
                Some(recipe::twins(stage.place(&self.target.source().ok()?, twins)))
            }
            (Work::List(list), None) if self.target.root.is_cwd_of(process.id()) => {
                // As for a new process: some recipes have a list of their own.
                Some(self.context(true).invocation(order.recipe, list.to_vec(), &[]).list)
            }
            _ => None,
        }
    }

    pub(super) async fn take_standby(self: &Rc<Self>, order: &Order<'_>) -> Option<(Process, Vec<u8>)> {
        if !self.keeps_standbys() {
            return None;
        }
        if self.speed.has_turned() {
            self.standbys.borrow_mut().outdated();
        }
        let make_path = self.target.learned.borrow().makes_path;
        let handed = self.standbys.borrow_mut().take(order.recipe, make_path, Instant::now());
        let process = match handed {
            Some(handed) => handed.await.ok(),
            None => None,
        };
        // Who waits for it waits in vain.
        self.changed.notify_waiters();
        // Dropped, it is killed before it could read anything.
        let process = match (process, &self.reach) {
            (Some(process), Some(reach)) => reach.is_current(process.seen()).await.then_some(process),
            (process, _) => process,
        };
        let fed = process.and_then(|process| self.list_for(order, &process).map(|list| (process, list)));
        if fed.is_none() {
            self.refill();
        }
        fed
    }

    /// Takes the share of a run that begins now. A long one waits until small ones leave it its share.
    pub(crate) async fn share(self: &Rc<Self>, order: &Order<'_>) -> Share {
        if !order.is_large() {
            return self.speed.small().free().await;
        }
        let is_first = self.speed.is_limited() && !self.speed.is_divided();
        if is_first {
            // What waits has the whole limit.
            self.standbys.borrow_mut().outdated();
            self.changed.notify_waiters();
            self.renew_standbys();
        }
        // What only looks sends next to nothing.
        let share = self.speed.long().await.ending(!order.recipe.only_looks()).free().await;
        if is_first {
            self.refill();
        }
        share
    }

    /// Replaces the standbys that wait beside a long run with a part of the limit, and does so when there is the whole
    /// one again.
    fn renew_standbys(self: &Rc<Self>) {
        let runner = Rc::downgrade(self);
        let speed = self.speed.clone();
        spawn_local(async move {
            speed.is_whole_again().await;
            if let Some(runner) = runner.upgrade() {
                runner.standbys.borrow_mut().outdated();
                runner.changed.notify_waiters();
                runner.refill();
            }
        });
    }

    /// The rsync daemon refused a run as it has too few connections. Ends what waits at it.
    pub(crate) fn make_room(&self) {
        if self.standbys.borrow_mut().make_room(Instant::now()) {
            info!(self.target.log, "no rsync waits at this node for a while: its daemon allows too few connections");
            self.changed.notify_waiters();
        }
    }

    /// The arguments with a shorter `--timeout`, if a standby needs one; the last one counts.
    fn with_timeout(&self, mut arguments: Vec<OsString>) -> Vec<OsString> {
        if let Some(timeout) = self.standbys.borrow().timeout() {
            let end = arguments.iter().rposition(|word| word == "--").unwrap_or(0);
            arguments.insert(end, format!("--timeout={timeout}").into());
        }
        arguments
    }

    /// Waits until there is a standby or none is to be expected; `None` if waiting is of no use.
    pub(crate) fn late_standby(&self) -> Option<impl Future<Output = ()> + 'static> {
        if !(self.keeps_standbys() && self.standbys.borrow_mut().is_missing(Instant::now())) {
            return None;
        }
        let changed = self.changed.clone().notified_owned();
        Some(async move { drop(tokio::time::timeout(CONNECTS, changed).await) })
    }

    fn connected(self: &Rc<Self>, id: u64, process: i32) {
        debug!(self.target.log, "an rsync waits"; "process" => process);
        self.standbys.borrow_mut().connected(id);
        self.changed.notify_waiters();
        self.refill();
    }

    fn left(self: &Rc<Self>, id: u64, left: Left) {
        let now = Instant::now();
        let is_daemon = self.target.node.kind() == Kind::Daemon;
        match left {
            Left::Taken => return,
            Left::Died => {
                debug!(self.target.log, "a waiting rsync ended by itself");
                self.standbys.borrow_mut().died(id, is_daemon, now, fastrand::f64());
            }
            Left::Expired => self.standbys.borrow_mut().expired(id, now),
        }
        self.changed.notify_waiters();
        self.refill();
    }
}

/// Holds a process until it is asked for, ends, or has waited for too long.
async fn keep(runner: Weak<Runner>, id: u64, mut process: Process, mut asked: oneshot::Receiver<Handover>) {
    let too_long = tokio::time::sleep(LIFETIME.mul_f64(0.75 + 0.5 * fastrand::f64()));
    tokio::pin!(too_long);
    let left = loop {
        tokio::select! {
            biased;
            to = &mut asked => {
                if let Ok(to) = to {
                    // Whoever asked may be gone: then the process is killed.
                    let _ = to.send(process);
                }
                break Left::Taken;
            }
            connected = process.idle() => match (connected, runner.upgrade()) {
                (Some(Connected { protocol }), Some(runner)) => {
                    runner.target.learned.borrow_mut().speaks(Some(protocol));
                    runner.connected(id, process.id());
                }
                _ => break Left::Died,
            },
            () = &mut too_long => break Left::Expired,
        }
    };
    if let Some(runner) = runner.upgrade() {
        runner.left(id, left);
    }
}
