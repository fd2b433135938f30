//! What systemd is told of the daemon: sd_notify(3). Without a service manager that asks for it, nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use inosync_actors::supervisor::monitor::{DaemonMonitor, DaemonProgress};
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// What a stop takes beside `stop_timeout`: the last save, and children that end.
const END: Duration = Duration::from_secs(20);

/// Tells the service manager how the process is doing.
#[derive(Clone)]
pub struct Notify {
    stage: Rc<Cell<Stage>>,
    /// How often it wants to hear that the daemon is alive.
    watchdog: Option<Duration>,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    /// Also while the configuration is read again.
    Ready,
    Stopping,
}

/// Tells of one daemon until it is dropped.
pub struct Companion(JoinHandle<()>);

impl Drop for Companion {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Notify {
    /// As the environment of this process says.
    pub fn of_process() -> Notify {
        Notify { stage: Rc::new(Cell::new(Stage::Starting)), watchdog: sd_notify::watchdog_enabled() }
    }

    /// From now on tells that this daemon is ready, how far it is, and that it is alive. It is ready when all its watches
    /// stand, and again after each reload that it has carried out.
    pub fn accompany(&self, monitor: DaemonMonitor) -> Companion {
        let (notify, beating) = (self.clone(), monitor.clone());
        Companion(actix::spawn(async move {
            tokio::join!(notify.follow(monitor), notify.watch_over(beating));
        }))
    }

    async fn follow(&self, mut monitor: DaemonMonitor) {
        let mut before = DaemonProgress::default();
        while let Some(progress) = monitor.progress().await {
            self.further(before, progress);
            before = progress;
        }
    }

    fn further(&self, before: DaemonProgress, now: DaemonProgress) {
        if self.stage.get() == Stage::Stopping {
            return;
        }
        let Some(directories) = now.watching else {
            return tell(&[NotifyState::Status(&format!("scanning the source: {} directories so far", now.scanned))]);
        };
        let status = format!(
            "watching {}, {}",
            count(directories, "directory", "directories"),
            count(now.nodes, "node", "nodes")
        );
        if before.watching.is_none() || now.reloads != before.reloads {
            self.stage.set(Stage::Ready);
            tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else {
            tell(&[NotifyState::Status(&status)]);
        }
    }

    /// A daemon that is stuck does not beat: then it is silent, and the service manager starts it anew.
    async fn watch_over(&self, monitor: DaemonMonitor) {
        let Some(every) = self.watchdog else { return };
        let mut time = interval((every / 2).max(Duration::from_millis(1)));
        time.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            time.tick().await;
            if monitor.is_alive().await {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }

    /// The configuration is read again. To be followed by a reload of the daemon, or [`Notify::kept`].
    pub fn reloading(&self) {
        if self.stage.get() == Stage::Ready {
            let time = NotifyState::monotonic_usec_now().ok();
            let states = [NotifyState::Reloading, NotifyState::Status("reading the configuration again")];
            tell(&states.into_iter().chain(time).collect::<Vec<_>>());
        }
    }

    /// The configuration was not accepted.
    pub fn kept(&self) {
        if self.stage.get() == Stage::Ready {
            let status = NotifyState::Status("reload refused: what was read before stays in force");
            tell(&[NotifyState::Ready, status]);
        }
    }

    /// The daemon works off what is pending, for so long at the most.
    pub fn stopping(&self, patience: Duration) {
        self.stage.set(Stage::Stopping);
        let time = format!("EXTEND_TIMEOUT_USEC={}", (patience + END).as_micros());
        let status = NotifyState::Status("stopping: sending what is pending");
        tell(&[NotifyState::Stopping, status, NotifyState::Custom(&time)]);
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn tell(states: &[NotifyState<'_>]) {
    // Who does not listen misses nothing else.
    let _ = sd_notify::notify(states);
}
