//! Starts standbys, keeps them, and feeds them.

use std::ffi::OsString;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::failure::{Cause, Failure};
use super::node::Kind;
use super::recipe::{Invocation, Recipe};
use super::run::{Finished, Process};
use super::standby::{Handover, LIFETIME};
use super::{Ears, Rsync};

/// A standby that was fed and does nothing for so long is dead, and a new process is started in its place.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a process stopped waiting.
enum Left {
    /// It was asked for, or is of no use any more.
    Taken,
    /// It ended by itself.
    Died,
    /// It waited for too long.
    Expired,
}

impl Rsync {
    /// Starts the standbys that are wanted.
    pub(super) fn refill(self: &Rc<Self>) {
        if !self.site.standby {
            return;
        }
        loop {
            let now = Instant::now();
            let Some(wanted) = self.standbys.borrow().wanted(now) else { break };
            let arguments = self.standby_arguments(wanted.recipe);
            let Ok(process) = self.process(&self.with_timeout(&arguments)) else {
                self.standbys.borrow_mut().failed(now, fastrand::f64());
                break;
            };
            let (id, asked) = self.standbys.borrow_mut().keep(wanted, arguments);
            spawn_local(keep(Rc::downgrade(self), id, process, asked));
        }
        self.refill_later();
    }

    fn refill_later(self: &Rc<Self>) {
        let retry_at = self.standbys.borrow().retry_at();
        let Some(at) = retry_at.filter(|at| *at > Instant::now()) else { return };
        let rsync = Rc::downgrade(self);
        spawn_local(async move {
            tokio::time::sleep_until(at.into()).await;
            rsync.upgrade().inspect(Rsync::refill);
        });
    }

    /// Runs a list by a standby; `None` if there is none, or it broke: then a new process has to do it.
    pub(super) async fn run_standby(
        self: &Rc<Self>,
        recipe: Recipe,
        invocation: &Invocation,
        ears: &mut Ears<'_>,
    ) -> Option<Finished> {
        let process = self.take_standby(recipe, &invocation.arguments).await?;
        let finished = self.finish(process, &invocation.list, PATIENCE, ears).await.ok()?;
        let broke = |failure: Failure| {
            matches!(failure.cause, Cause::Closed | Cause::Killed | Cause::Timeout | Cause::Unreachable)
        };
        if Failure::of(&finished).is_some_and(broke) {
            self.standbys.borrow_mut().failed(Instant::now(), fastrand::f64());
            return None;
        }
        Some(finished)
    }

    async fn take_standby(self: &Rc<Self>, recipe: Recipe, arguments: &[OsString]) -> Option<Process> {
        if !self.site.standby {
            return None;
        }
        let handed = self.standbys.borrow_mut().take(recipe, arguments, Instant::now());
        let process = match handed {
            Some(handed) => handed.await.ok(),
            None => None,
        };
        self.refill();
        // Dropped, it is killed before it could read anything.
        process.filter(|process| self.root.is_cwd_of(process.id()))
    }

    fn standby_arguments(&self, recipe: Recipe) -> Vec<OsString> {
        self.context().invocation(recipe, Vec::new(), []).arguments
    }

    /// The arguments with a shorter `--timeout`, if it needs one; the last one counts.
    fn with_timeout(&self, arguments: &[OsString]) -> Vec<OsString> {
        let mut arguments = arguments.to_vec();
        if let Some(timeout) = self.standbys.borrow().timeout() {
            let end = arguments.iter().rposition(|word| word == "--").unwrap_or(0);
            arguments.insert(end, format!("--timeout={timeout}").into());
        }
        arguments
    }

    fn left(self: &Rc<Self>, id: u64, left: Left) {
        let now = Instant::now();
        let is_daemon = self.node.kind() == Kind::Daemon;
        match left {
            Left::Taken => return,
            Left::Died => self.standbys.borrow_mut().died(id, is_daemon, now, fastrand::f64()),
            Left::Expired => self.standbys.borrow_mut().expired(id, now),
        }
        self.refill();
    }
}

/// Holds a process until it is asked for, ends, or has waited for too long.
async fn keep(rsync: Weak<Rsync>, id: u64, mut process: Process, mut asked: oneshot::Receiver<Handover>) {
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
            connected = process.idle() => match (connected, rsync.upgrade()) {
                (true, Some(rsync)) => rsync.standbys.borrow_mut().connected(id),
                _ => break Left::Died,
            },
            () = &mut too_long => break Left::Expired,
        }
    };
    if let Some(rsync) = rsync.upgrade() {
        rsync.left(id, left);
    }
}
