//! The page and the metrics (`listen`): HTTP for reading only, on the main thread beside the supervisor. A fault here does not
//! keep the daemon from mirroring.

mod answer;
mod connections;
mod history;
mod host;
mod metrics;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use inosync_actors::status::Status;
use slog::{Logger, error, info, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::service::control::DaemonHandle;
use connections::{ClientEntry, Connections};
use history::History;

/// The pause between two tries to listen at an address, and after the process had no descriptor left.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Time limit for the head of a request. An idle connection is closed after as long.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time limit for a connection: a client that does not read its answer must not keep others out. An open page connects
/// again.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Time limit for an answer that is being written when its connection has to end.
const LAST_ANSWER_TIME: Duration = Duration::from_secs(5);
/// The most bytes in the head of a request.
const HEAD_SIZE: usize = 16 * 1024;
/// The pause before a daemon that is starting is asked again.
const SOON: Duration = Duration::from_secs(1);
/// The pause between two questions for the rsync of nodes that have not told it.
const ASK_EVERY: Duration = Duration::from_secs(300);

/// The page and the metrics, served until this is dropped.
pub struct Page {
    shared: Rc<AnswerSource>,
    server: Option<Task>,
    _sampler: Task,
}

/// The source of all answers.
struct AnswerSource {
    daemon: DaemonHandle,
    history: RefCell<History>,
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
        let shared = Rc::new(AnswerSource { daemon, history: RefCell::default() });
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
async fn sample(shared: Rc<AnswerSource>) {
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

async fn serve(address: SocketAddr, shared: Rc<AnswerSource>, log: Logger) {
    let listener = bind(address, &log).await;
    info!(log, "page and metrics are served"; "at" => format!("http://{address}/"));
    if !address.ip().is_loopback() {
        warn!(log, "`listen` is not a loopback address: whoever reaches it can read names of files and nodes, without a \
            password: let a firewall or a reverse proxy say who may"; "listen" => %address);
    }
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    let table = Connections::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => table.add(from.ip().to_canonical(), |entry| {
                    connections.spawn_local(converse(stream, entry, shared.clone()))
                }),
                // A client that is gone already needs no pause; without a descriptor left, a try at once would loop.
                Err(why) if is_of_client(&why) => (),
                Err(why) => {
                    warn!(log, "the page takes no connections for a moment"; "why" => %why);
                    sleep(RETRY_AFTER).await;
                }
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

fn is_of_client(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
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

async fn converse(stream: TcpStream, entry: Rc<ClientEntry>, shared: Rc<AnswerSource>) {
    // The address of the connection, not of the listener: 0.0.0.0 is reached by the loopback address, too.
    let is_local = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let service = service_fn(move |request| {
        let entry = entry.clone();
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(entry.answer(answer::answer(&request, is_local, &shared)).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    // An error is the client's affair.
    if timeout(CONNECTION_TIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER_TIME, connection).await;
    }
}

impl AnswerSource {
    async fn status(&self) -> Option<Status> {
        self.daemon.status(false).await
    }
}
