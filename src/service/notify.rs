//! Notifies the service manager of the state of the daemon: sd_notify(3). Without such a service manager nothing is sent.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use inosync_actors::supervisor::watchdog::{DaemonMonitor, DaemonProgress};
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Time of a stop beside `stop_timeout`: the last save, and children that end.
const STOP_EXTRA: Duration = Duration::from_secs(20);

/// Messages that may wait for a service manager that does not read; later ones are dropped.
const UNREAD: usize = 16;

/// The connection to the service manager.
#[derive(Clone)]
pub struct Notify {
    notified: Rc<Cell<Notified>>,
    /// The interval at which the service manager expects a sign of life.
    watchdog: Option<Duration>,
}

/// The last state that the service manager was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notified {
    Starting,
    /// Also while the configuration is read again.
    Ready,
    Stopping,
}

/// Sends notifications about one daemon until it is dropped.
pub struct NotifyTask(JoinHandle<()>);

impl Drop for NotifyTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Notify {
    /// The service manager that the environment names.
    pub fn of_process() -> Notify {
        Notify { notified: Rc::new(Cell::new(Notified::Starting)), watchdog: sd_notify::watchdog_enabled() }
    }

    /// Sends readiness, status and signs of life of this daemon from now on. The daemon is ready when all its watches stand,
    /// and again after each reload.
    pub fn follow(&self, monitor: DaemonMonitor) -> NotifyTask {
        let notify = self.clone();
        NotifyTask(actix::spawn(async move {
            tokio::join!(notify.send_progress(monitor.clone()), notify.send_signs_of_life(monitor));
        }))
    }

    async fn send_progress(&self, mut monitor: DaemonMonitor) {
        let mut before = DaemonProgress::default();
        while let Some(progress) = monitor.progress().await {
            self.send_change(before, progress);
            before = progress;
        }
    }

    fn send_change(&self, before: DaemonProgress, now: DaemonProgress) {
        if self.notified.get() == Notified::Stopping {
            return;
        }
        let Some(directories) = now.watching else {
            return send(&[NotifyState::Status(&format!("scanning the source: {} directories so far", now.scanned))]);
        };
        let status = format!(
            "watching {}, {}",
            count(directories, "directory", "directories"),
            count(now.nodes, "node", "nodes")
        );
        if before.watching.is_none() || now.reloads != before.reloads {
            self.notified.set(Notified::Ready);
            send(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else {
            send(&[NotifyState::Status(&status)]);
        }
    }

    /// A daemon that is stuck gives no sign of life, and the service manager restarts it.
    async fn send_signs_of_life(&self, monitor: DaemonMonitor) {
        let Some(every) = self.watchdog else { return };
        let mut time = interval((every / 2).max(Duration::from_millis(1)));
        time.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            time.tick().await;
            if monitor.is_alive().await {
                send(&[NotifyState::Watchdog]);
            }
        }
    }

    /// A reload begins. It ends with a reload of the daemon, or with [`Notify::reload_refused`].
    pub fn reloading(&self) {
        if self.notified.get() == Notified::Ready {
            let time = NotifyState::monotonic_usec_now().ok();
            let states = [NotifyState::Reloading, NotifyState::Status("reading the configuration again")];
            send(&states.into_iter().chain(time).collect::<Vec<_>>());
        }
    }

    /// The configuration was not accepted.
    pub fn reload_refused(&self) {
        if self.notified.get() == Notified::Ready {
            let status = NotifyState::Status("reload refused: what was read before stays in force");
            send(&[NotifyState::Ready, status]);
        }
    }

    /// The daemon stops: pending changes are sent for at most `patience`.
    pub fn stopping(&self, patience: Duration) {
        self.notified.set(Notified::Stopping);
        let time = format!("EXTEND_TIMEOUT_USEC={}", (patience + STOP_EXTRA).as_micros());
        let status = NotifyState::Status("stopping: sending what is pending");
        send(&[NotifyState::Stopping, status, NotifyState::Custom(&time)]);
    }
}

/// Tells the service manager that the page of all sites is served.
pub fn serving() {
    send(&[NotifyState::Ready]);
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Sends on a thread of its own: a service manager that does not read its socket blocks whoever writes to it.
fn send(states: &[NotifyState<'_>]) {
    static MANAGER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let manager = MANAGER.get_or_init(|| std::env::var_os("NOTIFY_SOCKET").and_then(|_| start_sender()));
    let Some(manager) = manager else { return };
    let message = states.iter().map(NotifyState::to_string).collect::<Vec<_>>().join("\n");
    // A service manager that does not listen misses nothing else.
    let _ = manager.try_send(message);
}

/// Returns `None` if no thread can be started: then nothing is told.
fn start_sender() -> Option<SyncSender<String>> {
    let (manager, messages) = sync_channel::<String>(UNREAD);
    let sender = thread::Builder::new().name("notify".into());
    let sender = sender.spawn(move || {
        for message in messages {
            let _ = sd_notify::notify(&[NotifyState::Custom(&message)]);
        }
    });
    sender.ok().map(|_| manager)
}
