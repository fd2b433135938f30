//! Runs one rsync at a node. The layers of a run are the functions of this file, from top to bottom:
//!
//! 1. `run_making_path`: a run, repeated with `--mkpath` if a directory above the mirror is missing.
//! 2. `run`: the hooks hear what the run changed.
//! 3. `run_once`: by a standby if one fits, else by a new process; by another connection if that hung.
//! 4. `run_by_standby` and `run_anew`, which waits while the node is busy.
//! 5. `start`: the arguments, the list and the directory of a new process.
//! 6. `finish`: feeds a process and reads it to its end.
//!
//! Each layer returns how rsync ended; what that means is read by `report`.

pub(super) mod above;
pub(super) mod budget;
pub mod confine;
pub(super) mod connection;
pub(super) mod crowd;
pub(super) mod greeting;
pub(super) mod greeting_time;
mod launcher;
mod listener;
pub mod master;
mod overrun;
mod pool;
mod priority;
pub(super) mod process;
mod reading;
mod round_trip;
pub(super) mod run_order;
pub mod shell;
pub(super) mod speed;
pub(super) mod standby;

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use self::confine::NodeBounds;
use self::connection::{HANG_UP, HANG_UPS, STANDBY_PATIENCE, timed_out};
use self::crowd::NodeAtWork;
use self::greeting::Greeting;
use self::listener::RunListener;
use self::master::Master;
use self::overrun::SendPhase;
use self::process::{Code, Finished, Input, Patience, Process};
use self::reading::reading_time;
use self::round_trip::RoundTrips;
use self::run_order::{Ears, Order, Work};
use self::speed::{Share, Speed};
use self::standby::Standbys;
use super::recipe::{self, Context, Invocation, Recipe};
use super::report::claims::{Bearing, Claims};
use super::report::failure;
use super::shared::Shared;
use super::staging::{self, Staging};
use super::target::Target;
use crate::children::Children;
use crate::site::version::Version;
use crate::transport::Lane;
use crate::transport::failure::{Cause, Failure};
use crate::transport::heard::{self, Heard};
use slog::info;
use tokio::sync::{Notify, oneshot};

/// The result of feeding a standby.
enum Fed {
    /// It ended by itself.
    Done(Finished),
    /// No standby fitted, or the one that did broke: a new process has to do the work. If it hung, the shared connection may
    /// be the cause.
    Not {
        /// `true` if the standby hung.
        hung: bool,
    },
}

/// The runs at one node, with what outlives each: standbys, the shared connection and the limits.
pub(super) struct Runner {
    target: Rc<Target>,
    children: Children,
    /// The bounds of its processes; `None` if they are not confined.
    reach: Option<Arc<NodeBounds>>,
    pub(super) speed: Rc<Speed>,
    /// The place in which renamed files are linked, if there is one.
    pub(super) staging: Option<Arc<Staging>>,
    pub(super) standbys: RefCell<Standbys>,
    /// Notified when the standbys have changed.
    changed: Arc<Notify>,
    /// The connection that runs share; `None` where there is none to share.
    master: Option<Rc<Master>>,
    /// The process of the shared connection over which a run hung.
    doubted: Cell<Option<i32>>,
    /// The standbys that were fed and have not done their work.
    at_work: NodeAtWork,
    /// Gets what was changed.
    heard: RefCell<Heard>,
    round_trips: RefCell<RoundTrips>,
}

impl Runner {
    /// Makes a runner. No process is started yet.
    pub(super) fn new(target: Rc<Target>, shared: &Shared) -> Rc<Self> {
        Rc::new(Runner {
            children: shared.children.clone(),
            reach: NodeBounds::of(&target.site, &target.node),
            speed: Speed::new(target.site.rspeed.clone(), shared.alone),
            staging: shared.staging.clone(),
            standbys: RefCell::new(Standbys::new(Recipe::Present, &shared.budget)),
            changed: Arc::default(),
            master: shared.master(&target.site, &target.node),
            doubted: Cell::new(None),
            at_work: NodeAtWork::beside(shared.crowd.clone()),
            heard: RefCell::default(),
            round_trips: RefCell::default(),
            target,
        })
    }

    /// Makes a run. If a directory above the mirror is missing, makes another one that makes the directories on the way.
    pub(super) async fn run_making_path(
        self: &Rc<Self>,
        order: &Order<'_>,
        ears: &mut Ears<'_>,
    ) -> Result<Finished, Failure> {
        let could_make_path = self.can_make_path();
        let finished = self.run(order, ears).await?;
        let no_parent = failure::of(&finished).is_some_and(|failure| failure.cause == Cause::NoParent);
        // Another run may have found out meanwhile: what counts is how this one was started.
        if !(no_parent && could_make_path) {
            return Ok(finished);
        }
        self.set_make_path(true);
        let again = self.run(order, ears).await?;
        match failure::of(&again) {
            // The node's rsync is too old for it: the first end tells what is wrong.
            Some(failure) if matches!(failure.cause, Cause::UnknownOption | Cause::Closed | Cause::Silent) => {
                self.set_make_path(false);
                Ok(finished)
            }
            _ => Ok(again),
        }
    }

    /// Returns true if the next run could make the directories above the mirror, and the last one did not.
    pub(super) fn can_make_path(&self) -> bool {
        !self.target.learned.borrow().makes_path && self.target.version >= Version::MAKES_PATHS
    }

    /// Makes a run, and tells the hooks what it changed.
    pub(super) async fn run(self: &Rc<Self>, order: &Order<'_>, ears: &mut Ears<'_>) -> Result<Finished, Failure> {
        let listener = RunListener::of(order, &self.heard.borrow());
        let Some(mut listener) = listener else { return self.run_once(order, ears).await };
        let mut line = |said: &[u8]| {
            listener.hear(said);
            (ears.line)(said);
        };
        let is_there = ears.is_there.clone();
        let mut both = Ears { is_there, ..Ears::to(&mut line).told(ears.worked.take()) };
        let finished = self.run_once(order, &mut both).await;
        ears.worked = both.worked.take();
        finished
    }

    /// Listens for what a run that begins now changes without saying so: what the node links to what it has.
    pub(super) fn unsaid(&self) -> Option<heard::Listener> {
        self.heard.borrow().listen()
    }

    /// Sets who is told what was changed.
    pub(super) fn report_to(&self, heard: &Heard) {
        self.heard.replace(heard.clone());
    }

    /// Makes a run by a standby, or else by a new process. A run that hung on an old connection is made again on another one.
    async fn run_once(self: &Rc<Self>, order: &Order<'_>, ears: &mut Ears<'_>) -> Result<Finished, Failure> {
        // The runs of a batch follow each other, perhaps after a long time.
        self.target.root.check().map_err(Failure::source_gone)?;
        // What may send much has a connection of its own: small changes would wait behind it.
        let mut shares = order.lane == Some(Lane::Fast) || order.recipe == Recipe::Probe;
        if self.may_use_standby(order) {
            match self.run_by_standby(order, ears).await {
                Fed::Done(finished) => return Ok(finished),
                Fed::Not { hung } => shares &= !hung,
            }
        }
        let to_be_told = ears.worked.is_some();
        // The shared connection may be another one by now.
        let carrier = self.carrier(shares);
        let mut finished = self.run_anew(order, shares, ears).await?;
        if carrier.is_some() && timed_out(&finished) {
            self.doubt(carrier);
            // Once it said that its work is done, others may be at work on the same paths.
            if !to_be_told || ears.worked.is_some() {
                finished = self.run_anew(order, false, ears).await?;
            }
        }
        self.give_up_doubted();
        Ok(finished)
    }

    /// Returns true if a run may be made by a standby: standbys have no rules of one run, and only some recipes have one.
    fn may_use_standby(&self, order: &Order<'_>) -> bool {
        let has_standbys = match order.recipe {
            Recipe::Build | Recipe::Gather | Recipe::Similar => false,
            // One that the node refuses would only die, again and again: there is none before a run went well.
            Recipe::Link => self.standbys.borrow().wants(Recipe::Link),
            _ => true,
        };
        order.lane == Some(Lane::Fast) && order.rules.is_empty() && has_standbys
    }

    /// Makes a run by a standby, if one fits.
    async fn run_by_standby(self: &Rc<Self>, order: &Order<'_>, ears: &mut Ears<'_>) -> Fed {
        // Before it is taken: what waits has no more than this.
        let share = self.speed.small().free().await;
        let Some((process, list)) = self.take_standby(order).await else { return Fed::Not { hung: false } };
        let to_be_told = ears.worked.is_some();
        let carrier = process.carrier();
        let (at_work, works) = oneshot::channel();
        ears.at_work = Some(at_work);
        if let Some(nice) = order.nice(self.target.site.priority, &list) {
            process.yield_to_others(nice);
        }
        let claims = Claims::of(order.recipe, &list);
        let run = async {
            let finished = self
                .finish(process, Input::of(&list).below(order.above), &claims, (STANDBY_PATIENCE, share), ears)
                .await;
            drop(ears.at_work.take());
            finished
        };
        let (Ok(finished), ()) = tokio::join!(run, self.refill_after(works)) else { return Fed::Not { hung: false } };
        let Some(failure) = failure::of(&finished).filter(connection::is_broken) else {
            self.standbys.borrow_mut().served();
            return Fed::Done(finished);
        };
        self.standbys.borrow_mut().was_useless(Instant::now());
        let hung = failure.cause == Cause::Timeout;
        if hung {
            self.doubt(carrier);
        }
        // Once it said that its work is done, others may be at work on the same paths.
        let was_told = to_be_told && ears.worked.is_none();
        if was_told { Fed::Done(finished) } else { Fed::Not { hung } }
    }

    /// Makes a run by a new process, again and again while the rsync daemon has too few connections.
    async fn run_anew(
        self: &Rc<Self>,
        order: &Order<'_>,
        shares: bool,
        ears: &mut Ears<'_>,
    ) -> Result<Finished, Failure> {
        let mut finished = self.start_over(order, shares, ears).await?;
        let is_busy = |finished: &Finished| failure::of(finished).is_some_and(|failure| failure.cause == Cause::Busy);
        for _ in 0..HANG_UPS {
            if !is_busy(&finished) {
                break;
            }
            self.make_room();
            tokio::time::sleep(HANG_UP).await;
            finished = self.start_over(order, shares, ears).await?;
        }
        Ok(finished)
    }

    /// Makes a run by a new process, and by another one when the limit of the node fell below the share of the first.
    async fn start_over(
        self: &Rc<Self>,
        order: &Order<'_>,
        shares: bool,
        ears: &mut Ears<'_>,
    ) -> Result<Finished, Failure> {
        loop {
            let finished = self.start(order, shares, ears).await?;
            if !std::mem::take(&mut ears.outran) {
                return Ok(finished);
            }
            info!(self.target.log, "a run begins anew: the limit of this node is lower now");
        }
    }

    /// Starts a process for a run, feeds it and reads it to its end.
    async fn start(self: &Rc<Self>, order: &Order<'_>, shares: bool, ears: &mut Ears<'_>) -> Result<Finished, Failure> {
        if let Some(failed) = self.make_mirror(order, ears).await? {
            return Ok(failed);
        }
        let reading = reading_time(&self.target, order).await;
        let share = self.share(order).await;
        let context = Context { reading, limit: share.limit(), ..self.context(shares) };
        let context = Context { traits: order.traits.cloned().unwrap_or(context.traits), ..context };
        let context = match order.part {
            Some(part) => Context { part: &part.rules, max_delete: part.max_delete.get(), ..context },
            None => context,
        };
        let (process, list) = match order.work {
            Work::List(list) => {
                let Invocation { arguments, list } = context.invocation(order.recipe, list.to_vec(), order.rules);
                (self.process(self.target.source()?, &arguments).await?, list)
            }
            Work::Links(twins) => {
                let stage = self.stage()?;
                let list = recipe::twins(stage.place(&self.target.source()?, twins));
                if list.is_empty() {
                    return Ok(Finished::nothing_to_do());
                }
                let directory = stage.directory().map_err(|error| Failure::not_staged(&error))?;
                let arguments = context.invocation(order.recipe, Vec::new(), order.rules).arguments;
                (self.process(directory, &arguments).await?.in_stage(stage), list)
            }
            Work::Directory(moved) | Work::Names(moved, _) => {
                let directory = staging::open_beneath(self.target.source()?.as_fd(), &moved.to);
                let directory = directory.map_err(|errno| Failure::not_staged(&errno.into()))?;
                let Invocation { arguments, list } = match order.work {
                    Work::Names(_, list) => context.gather(moved, list.to_vec()),
                    _ => context.build(moved, order.rules),
                };
                (self.process(directory, &arguments).await?, list)
            }
        };
        let process = process.over(self.carrier(shares));
        let patience = self.patience(order.recipe, process.carrier()).longer_by(reading);
        if let Some(nice) = order.nice(self.target.site.priority, &list) {
            process.yield_to_others(nice);
        }
        let input = Input::of(&list).below(order.above);
        self.finish(process, input, &Claims::of(order.recipe, &list), (patience, share), ears).await
    }

    /// Feeds a process its list and reads it to its end.
    pub(super) async fn finish(
        self: &Rc<Self>,
        process: Process,
        input: Input<'_>,
        claims: &Claims<'_>,
        (patience, share): (Patience, Share),
        ears: &mut Ears<'_>,
    ) -> Result<Finished, Failure> {
        let to_be_told = ears.worked.is_some();
        let to_tell = Cell::new(ears.worked.take());
        // Nobody listens any more when the batch was given up.
        let tell = || _ = to_tell.take().map(|worked| worked.send(()));
        let sending = Cell::new(SendPhase::Goes);
        let sent = share.sent();
        let (is_connected, fed, asked) = (process.has_greeted(), Instant::now(), Cell::new(None));
        let end = overrun::end(&self.children, share.falls(), process.id(), &sending);
        let worked = || {
            sending.set(SendPhase::Done);
            drop(share);
            drop(ears.at_work.take());
            if let Some((first, last)) = asked.get().filter(|_| is_connected) {
                self.note_round_trip(first - fed, last);
            }
            tell();
        };
        let mut greets = self.greets(&process);
        let line = |said: &[u8]| {
            if let Some(greeting) = Greeting::read(said) {
                self.target.learned.borrow_mut().speaks(greeting.protocol());
                greets.heard();
            }
            sent.hear(said);
            let bearing = claims.bearing(said);
            if bearing != Bearing::Foreign {
                (ears.line)(said);
            }
            if bearing == Bearing::Ours {
                let now = Instant::now();
                asked.set(Some((asked.get().map_or(now, |(first, _)| first), now)));
            }
            if ears.is_there.get() {
                tell();
            }
            bearing
        };
        let finished = tokio::select! {
            finished = process.finish(input, patience, line, worked) => finished,
            never = end => match never {},
        };
        ears.worked = to_tell.take();
        // Once it said that its work is done, others may be at work on the same paths.
        let was_told = to_be_told && ears.worked.is_none();
        let has_failed = finished.as_ref().is_ok_and(|finished| finished.code != Code::Exit(0));
        ears.outran = sending.get() == SendPhase::Ended && has_failed && !was_told;
        greets.ended(&finished);
        finished.map_err(|error| Failure::not_started(&self.target.site.rsync, &error))
    }
}
