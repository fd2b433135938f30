//! Watches the source: kernel events in, changes out. It knows nothing of nodes.

mod blind;
mod bound;
mod closings;
pub(crate) mod coverage;
mod dirs;
mod drain;
mod ledger;
pub(crate) mod linked;
mod moves;
mod names;
mod observer;
mod queue_barrier;
mod quiet;
mod reader;
mod tree;
mod watches;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use actix::prelude::*;
use inotify::Inotify;
use tokio::sync::mpsc;

pub use self::dirs::{Dirs, count as count_directories};
pub(crate) use self::observer::Findings;
pub use self::observer::Observer;
pub use self::reader::RawEvent;
pub use self::watches::Watches;
use crate::watch_error::WatchError;

use self::coverage::WatchCoverage;
use self::ledger::Ledger;
use self::queue_barrier::QueueBarrier;
use self::reader::{Gauge, KernelSaid};
use crate::ending::EndsDaemon;
use crate::messages::{
    Alive, AskReported, AskSeen, Audit, Barrier, DirMove, Exclude, FindMoved, Flush, MovesFound, Observed, Passed,
    Recognise, Rescan, Unseen, WatchReport,
};
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::settle::Settle;
use crate::root::Root;
use crate::root::reach::MountNews;

/// The interval at which a long first scan reports its progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// The most that the kernel's clock for files is behind.
const TICK: Duration = Duration::from_millis(20);

/// The receivers of the watcher's messages.
#[derive(Clone)]
pub(crate) struct WatcherOutlets {
    pub changes: Recipient<Observed>,
    /// Subtrees of which track was lost.
    pub rescans: Recipient<Rescan>,
    /// Directory moves, for the log.
    pub moves: Recipient<DirMove>,
    /// The end of a flush.
    pub flush: Recipient<Flush>,
    pub exclude: Recipient<Exclude>,
    /// Barriers that were passed.
    pub passed: Recipient<Passed>,
    /// Questions whether everything was reported, which was passed on.
    pub reported: Recipient<AskReported>,
    /// Reports on the watches: all set, lost, or failed.
    pub reports: Recipient<WatchReport>,
    /// The count of watched directories, which others read at any time.
    pub coverage: WatchCoverage,
}

/// The settings of a watcher.
pub(crate) struct WatchSettings {
    /// The patterns of what is neither watched nor mirrored. A reload may replace them.
    pub excludes: Excludes,
    /// The interval at which what is not watched is tried again.
    pub poll: Duration,
    /// Files of these names are reported while they are written.
    pub settle: Settle,
    /// `true` if entries of temporary names are left alone until they have their own.
    pub awaits_names: bool,
    /// A directory outside of the tree, by which barriers are answered; without one there are no barriers.
    pub aside: Option<PathBuf>,
}

/// Keeps one watch per directory and says what changed.
///
/// Receives: what its reader thread has from the kernel, [`Flush`], [`Barrier`], [`Exclude`], [`Audit`], [`AskSeen`],
/// [`AskReported`]. Sends:
/// [`WatcherOutlets`]. It runs on a thread of its own, since
/// it scans directories while it handles a message; events wait meanwhile. A panic ends the daemon: a restart would
/// have to watch the whole tree again anyway.
pub(crate) struct WatcherActor {
    root: Root,
    outlets: WatcherOutlets,
    /// The time from which changes are told.
    began: SystemTime,
    settings: WatchSettings,
    /// Finds the names that went among those that were saved.
    recognises: Option<Recipient<FindMoved>>,
    /// `Some` if and only if the tree is watched.
    watching: Option<(Observer, Gauge)>,
    timer: Option<(Instant, SpawnHandle)>,
    /// Closed when this and all of its clones are dropped.
    holds_watches: mpsc::Sender<()>,
    _guard: EndsDaemon,
}

/// The reader -> WatcherActor: one read(2) of the inotify queue.
#[derive(Message)]
#[rtype(result = "()")]
struct Events(Vec<RawEvent>);

/// The reader -> WatcherActor: the kernel's list of mounts is different.
#[derive(Message)]
#[rtype(result = "()")]
struct MountsChanged;

/// Whoever looked -> WatcherActor: what is mounted there did not answer, and does again.
#[derive(Message)]
#[rtype(result = "()")]
struct Answers(RelPath);

impl WatcherActor {
    /// A watcher of the tree at `root`; watching begins when it is started. `holds_watches` is dropped when the watches are
    /// given up.
    pub(crate) fn new(
        root: Root,
        outlets: WatcherOutlets,
        settings: WatchSettings,
        holds_watches: mpsc::Sender<()>,
        guard: EndsDaemon,
    ) -> Self {
        WatcherActor {
            root,
            outlets,
            // The kernel's clock for files is a tick behind.
            began: SystemTime::now() - TICK,
            settings,
            recognises: None,
            watching: None,
            timer: None,
            holds_watches,
            _guard: guard,
        }
    }

    fn watch(&self, addr: Addr<Self>) -> Result<(Observer, Gauge), WatchError> {
        let inotify = Inotify::init().map_err(WatchError::of_init)?;
        let watches = Watches::of(&inotify).map_err(WatchError::of_init)?;
        let dirs = Dirs::new(self.root.path().to_owned(), self.settings.excludes.clone(), watches.clone())?;
        let mut dirs = dirs.covering(self.outlets.coverage.clone()).telling_since(self.began);
        if self.settings.awaits_names {
            dirs = dirs.awaiting_names(self.root.arriving().clone());
        }
        let watcher = addr.downgrade();
        self.root.reach().listen(move |heard| {
            let MountNews::Answers { silent, missed: true } = heard else { return };
            if let Some(watcher) = watcher.upgrade() {
                watcher.do_send(Answers(silent.path.clone()));
            }
        });
        let barrier = self.settings.aside.clone().map(|aside| QueueBarrier::new(aside, watches));
        let deliver = move |seen| {
            match seen {
                KernelSaid::Events(batch) => addr.do_send(Events(batch)),
                KernelSaid::Mounts => addr.do_send(MountsChanged),
            }
            addr.connected()
        };
        let gauge = reader::start(inotify, deliver, self.holds_watches.clone()).map_err(WatchError::of_init)?;
        let mut reported = Instant::now();
        let mut observer = Observer::new(self.root.clone(), dirs, &mut |directories| {
            if reported.elapsed() >= PROGRESS {
                reported = Instant::now();
                self.outlets.coverage.write(directories, 0, None);
                self.outlets.reports.do_send(WatchReport::Scanning { directories });
            }
        });
        if let Some(barrier) = barrier {
            observer.use_queue_barrier(barrier);
        }
        observer.use_ledger(Ledger::of(gauge.queue()));
        observer.poll_every(self.settings.poll);
        observer.settle(self.settings.settle.clone());
        if self.settings.awaits_names {
            observer.await_names();
        }
        observer.write_coverage(&self.outlets.coverage, self.root.census());
        let Findings { changes, blind, unseen, .. } = observer.take();
        // With no watch left the daemon would start half blind: better not at all.
        if let Some(Unseen::NoWatchLeft { why: WatchError::Limit { limit, .. }, .. }) = unseen.into_iter().next() {
            let needed = Some(count_directories(self.root.reach(), &self.settings.excludes));
            return Err(WatchError::Limit { limit, needed });
        }
        for (path, why) in blind {
            self.outlets.reports.do_send(WatchReport::Blind { path, why });
        }
        // They go at once, and not with the reconcile that follows.
        if !changes.is_empty() {
            self.outlets.changes.do_send(Observed(changes));
        }
        Ok((observer, gauge))
    }

    /// Passes on what was found and sets the timer for what is due next.
    fn pass_on(&mut self, ctx: &mut Context<Self>) {
        let Some((observer, _)) = &mut self.watching else { return };
        let Findings { changes, rescans, moves, blind, unseen, root_lost, superseded, unmounted, gone, passed } =
            observer.take();
        if !changes.is_empty() {
            self.outlets.changes.do_send(Observed(changes));
        }
        // Behind the removals of the same names.
        if let (Some(gone), Some(recognises)) = (gone, &self.recognises) {
            recognises.do_send(gone);
        }
        rescans.into_iter().for_each(|rescan| self.outlets.rescans.do_send(rescan));
        moves.into_iter().for_each(|moved| self.outlets.moves.do_send(moved));
        for (path, why) in blind {
            self.outlets.reports.do_send(WatchReport::Blind { path, why });
        }
        for path in unmounted {
            self.outlets.reports.do_send(WatchReport::Unmounted { path });
        }
        unseen.into_iter().for_each(|unseen| self.outlets.reports.do_send(WatchReport::Unseen(unseen)));
        if let Some(why) = root_lost {
            self.outlets.reports.do_send(WatchReport::RootLost(why));
        }
        if superseded {
            self.outlets.reports.do_send(WatchReport::RootSuperseded);
        }
        passed.into_iter().for_each(|passed| self.outlets.passed.do_send(passed));
        observer.write_coverage(&self.outlets.coverage, self.root.census());
        let next = observer.next_tick();
        if next != self.timer.map(|(at, _)| at) {
            self.timer.take().map(|(_, handle)| ctx.cancel_future(handle));
            self.timer = next.map(|at| (at, ctx.run_later(at.saturating_duration_since(Instant::now()), Self::tick)));
        }
    }

    /// Has the observer do something, if the tree is watched, and passes on what it found.
    fn observe(&mut self, ctx: &mut Context<Self>, work: impl FnOnce(&mut Observer)) {
        if let Some((observer, _)) = &mut self.watching {
            work(observer);
        }
        self.pass_on(ctx);
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.timer = None;
        self.observe(ctx, |observer| observer.tick(Instant::now()));
    }
}

impl Actor for WatcherActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.watch(ctx.address()) {
            Ok((observer, gauge)) => {
                let directories = observer.directories();
                self.watching = Some((observer, gauge));
                self.outlets.reports.do_send(WatchReport::Watching { directories });
                self.pass_on(ctx);
            }
            Err(error) => self.outlets.reports.do_send(WatchReport::Failed(error)),
        }
    }
}

impl Drop for WatcherActor {
    fn drop(&mut self) {
        if let Some((observer, gauge)) = self.watching.take() {
            gauge.end();
            observer.end();
        }
    }
}

impl Handler<Recognise> for WatcherActor {
    type Result = ();

    fn handle(&mut self, Recognise(by): Recognise, _: &mut Self::Context) {
        self.recognises = Some(by);
        if let Some((observer, _)) = &mut self.watching {
            observer.recognise();
        }
    }
}

impl Handler<MovesFound> for WatcherActor {
    type Result = ();

    fn handle(&mut self, MovesFound(new): MovesFound, ctx: &mut Self::Context) {
        self.observe(ctx, |observer| observer.recognised(&new, Instant::now()));
    }
}

impl Handler<MountsChanged> for WatcherActor {
    type Result = ();

    fn handle(&mut self, _: MountsChanged, ctx: &mut Self::Context) {
        self.observe(ctx, |observer| observer.mounts_changed(Instant::now()));
    }
}

impl Handler<Answers> for WatcherActor {
    type Result = ();

    fn handle(&mut self, Answers(path): Answers, ctx: &mut Self::Context) {
        self.observe(ctx, |observer| observer.answers(&path, Instant::now()));
    }
}

impl Handler<Events> for WatcherActor {
    type Result = ();

    fn handle(&mut self, Events(batch): Events, ctx: &mut Self::Context) {
        let Some((observer, gauge)) = &mut self.watching else { return };
        gauge.taken(batch.len());
        let now = Instant::now();
        for event in batch {
            observer.handle(event, now);
        }
        observer.tick(now);
        self.pass_on(ctx);
    }
}

impl Handler<AskSeen> for WatcherActor {
    type Result = bool;

    fn handle(&mut self, AskSeen(path): AskSeen, _: &mut Self::Context) -> bool {
        self.watching.as_ref().is_some_and(|(observer, _)| observer.sees(&path))
    }
}

impl Handler<Audit> for WatcherActor {
    type Result = ();

    fn handle(&mut self, _: Audit, ctx: &mut Self::Context) {
        self.observe(ctx, |observer| observer.audit(Instant::now()));
    }
}

impl Handler<Alive> for WatcherActor {
    type Result = bool;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> bool {
        true
    }
}

impl Handler<Exclude> for WatcherActor {
    type Result = ();

    fn handle(&mut self, exclude: Exclude, ctx: &mut Self::Context) {
        self.settings.excludes = exclude.0.clone();
        self.observe(ctx, |observer| observer.exclude(exclude.0.clone()));
        self.outlets.exclude.do_send(exclude);
    }
}

impl Handler<Barrier> for WatcherActor {
    type Result = ();

    fn handle(&mut self, Barrier { id }: Barrier, ctx: &mut Self::Context) {
        match &mut self.watching {
            Some((observer, _)) => observer.barrier(id),
            None => self.outlets.passed.do_send(Passed { id, lost: true, unsettled: Vec::new() }),
        }
        self.pass_on(ctx);
    }
}
