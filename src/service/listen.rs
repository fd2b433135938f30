//! The page and the metrics of a daemon (`listen`) and of all sites (`inosync overview`): HTTP for reading only. In a daemon on
//! the main thread beside the supervisor, where a fault does not keep the daemon from mirroring.

mod answer;
mod connections;
mod every_site;
mod history;
mod host;
mod metrics;
mod one_site;
pub mod overview;
pub mod server;
pub mod sockets;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slog::{Logger, error, info, warn};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::history::History;
use self::one_site::DaemonPaths;
use self::server::HttpListener;
use crate::service::control::DaemonHandle;

/// The pause between two tries to listen at an address.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The pause before a daemon that is starting is asked again.
const SOON: Duration = Duration::from_secs(1);
/// The pause between two questions for the rsync of nodes that have not told it.
const ASK_EVERY: Duration = Duration::from_secs(300);

/// The page and the metrics, served until this is dropped.
pub struct Page {
    shared: Rc<DaemonPaths>,
    server: Option<Task>,
    _sampler: Task,
}

/// A task that ends with its owner.
struct Task(Option<JoinHandle<()>>);

impl Task {
    fn spawn(work: impl Future<Output = ()> + 'static) -> Self {
        Task(Some(spawn_local(work)))
    }

    /// Ends the task, and waits until everything in it is dropped.
    async fn end(mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            // The result says only that the task was cancelled, or had ended.
            let _ = task.await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.as_ref().inspect(|task| task.abort());
    }
}

impl Page {
    /// Serves at this address from now on, or as soon as the address is free.
    pub fn open(address: SocketAddr, daemon: DaemonHandle, log: &Logger) -> Self {
        let shared = Rc::new(DaemonPaths { daemon, history: RefCell::<History>::default() });
        let server = Task::spawn(serve(address, shared.clone(), log.clone()));
        let sampler = Task::spawn(sample(shared.clone()));
        Page { shared, server: Some(server), _sampler: sampler }
    }

    /// Serves at another address instead. The history stays.
    pub fn move_to(&mut self, address: SocketAddr, log: &Logger) {
        let before = self.server.take();
        let shared = self.shared.clone();
        let log = log.clone();
        self.server = Some(Task::spawn(async move {
            if let Some(before) = before {
                // Both addresses may have the same port.
                before.end().await;
            }
            serve(address, shared, log).await;
        }));
    }
}

/// Takes the samples of the plots.
async fn sample(shared: Rc<DaemonPaths>) {
    let mut ticks = interval(history::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked: Option<Instant> = None;
    let mut is_told = true;
    loop {
        ticks.tick().await;
        let ask = !is_told && asked.is_none_or(|at| at.elapsed() >= ASK_EVERY);
        if ask {
            asked = Some(Instant::now());
        }
        let Some(status) = shared.daemon.status(ask).await else {
            ticks.reset_after(SOON);
            continue;
        };
        is_told = status.nodes.iter().all(|node| node.rsync.version.is_some());
        shared.history.borrow_mut().add(&status);
    }
}

async fn serve(address: SocketAddr, shared: Rc<DaemonPaths>, log: Logger) {
    let listener = HttpListener::Tcp(bind(address, &log).await);
    tell(address, &log);
    server::serve(&listener, shared, &log).await;
}

/// Tells the address that is served, and who may read there.
fn tell(address: SocketAddr, log: &Logger) {
    info!(log, "page and metrics are served"; "at" => format!("http://{address}/"));
    if !address.ip().is_loopback() {
        warn!(log, "`listen` is not a loopback address: whoever reaches it can read names of files and nodes, without a \
            password: let a firewall or a reverse proxy say who may"; "listen" => %address);
    }
}

/// Opens the address as soon as that is possible. Logs the reason of a delay once.
async fn bind(address: SocketAddr, log: &Logger) -> TcpListener {
    let mut is_told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(why) => {
                if !is_told {
                    error!(log, "no page and no metrics: `listen` cannot be opened; it is tried again every {} s, and \
                        mirroring goes on: {}", RETRY_AFTER.as_secs(), cure(why.kind());
                        "listen" => %address, "why" => %why);
                }
                is_told = true;
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// The cure of an address that cannot be opened.
pub fn cure(why: io::ErrorKind) -> &'static str {
    match why {
        io::ErrorKind::AddrInUse => "give each configuration a port of its own, or end the program that has this one",
        io::ErrorKind::AddrNotAvailable => "name an address of this machine, such as 127.0.0.1",
        io::ErrorKind::PermissionDenied => "choose a port of 1024 or more",
        _ => "name another address",
    }
}
