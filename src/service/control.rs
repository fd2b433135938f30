//! The control socket, by which commands ask a running daemon: a Unix socket in a directory that only the user of the daemon
//! and root may enter. Each connection carries one request and one answer, each a line of JSON.

mod client;
mod server;
mod wait;

use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use inosync_actors::daemon::Handle;
use inosync_actors::path::{Escaped, RelPath};
use inosync_actors::site::Site;
use inosync_actors::status::{OrderOutcome, PathInfo, Status};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use client::{AskError, ask};
pub use server::{Socket, serve};
pub use wait::{NodeStanding, WaitedNode};

/// The name of the socket in the directory of its site.
const SOCKET: &str = "socket";

/// A question to the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The status of the daemon, its source and its nodes.
    Status,
    /// The status as it is known without asking any node: the answer comes at once.
    Glance,
    /// The source and the patterns that are in force, whatever the file says by now.
    InForce,
    /// An order to read the configuration again; answered when the new one is in force.
    Reload,
    /// The knowledge of one path.
    Explain {
        /// The bytes of the path relative to `wpath`.
        path: Vec<u8>,
    },
    /// News: another process made a node equal to the tree by a comparison of everything.
    Compared {
        /// The destination of the node, for people.
        dest: String,
        /// The age of the beginning of the comparison, in milliseconds.
        began_ms_ago: u64,
    },
    /// An order to pause or resume a node.
    Pause {
        /// The name of the node, as in the configuration or the log.
        node: String,
        /// True to pause, false to resume.
        paused: bool,
    },
    /// An order to try at once what failed.
    Retry {
        /// The name of the node; `None` for all.
        node: Option<String>,
    },
    /// An order to let a reconcile that is held by `max_delete` delete what it takes, once.
    AllowDeletions {
        /// The name of the node.
        node: String,
    },
    /// A question that is answered when the nodes have all that has changed until now.
    Wait {
        /// The name of the node; `None` for all.
        node: Option<String>,
        /// The longest wait, in seconds.
        timeout: Option<u32>,
    },
}

impl Request {
    /// The name of the node that the request is about.
    pub fn node(&self) -> Option<&str> {
        match self {
            Request::Pause { node, .. } | Request::AllowDeletions { node } => Some(node),
            Request::Retry { node } | Request::Wait { node, .. } => node.as_deref(),
            _ => None,
        }
    }
}

/// The answer to a request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The status of the daemon.
    Status(Box<Status>),
    /// The source and the patterns that are in force.
    InForce(SourceInForce),
    /// The configuration was not accepted, and the one before stays in force.
    ReloadRefused {
        /// The reason, with the cure.
        why: String,
        /// True if the file itself is wrong.
        is_config: bool,
    },
    /// The knowledge of a path.
    Whereabouts(PathInfo),
    /// The request was carried out.
    Done,
    /// The node is not in a state in which the order means anything.
    NothingToDo,
    /// The nodes that were waited for.
    Waited {
        /// Each node that was waited for.
        nodes: Vec<WaitedNode>,
    },
    /// There is no such node.
    NoSuchNode {
        /// The names of all nodes.
        nodes: Vec<String>,
    },
    /// The request cannot be answered now.
    Refused {
        /// The reason of the refusal.
        why: String,
    },
}

/// The keys that are in force and say which paths are mirrored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInForce {
    /// The bytes of the path of the watched directory, as it is named.
    pub wpath: Vec<u8>,
    /// The patterns of names that are neither watched, sent nor deleted.
    pub rexcludes: Vec<String>,
}

/// The reason why a configuration is not accepted by a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadRefusal {
    /// The reason, with the cure.
    pub why: String,
    /// True if the file itself is wrong.
    pub is_config: bool,
}

/// The answer to the client that asked for a reload.
pub type ReloadReply = oneshot::Sender<Result<(), ReloadRefusal>>;

/// The running daemon of this process. A restart of the daemon replaces the handle in it.
#[derive(Clone)]
pub struct DaemonHandle {
    /// The configuration file, for people.
    config: Rc<str>,
    daemon: Rc<RefCell<Option<Handle>>>,
    in_force: Rc<RefCell<SourceInForce>>,
    reloads: mpsc::UnboundedSender<ReloadReply>,
}

impl DaemonHandle {
    /// The handle of a process that mirrors by this file. Requests for a reload are sent to `reloads`.
    pub fn new(config: &Path, reloads: mpsc::UnboundedSender<ReloadReply>) -> Self {
        let path: PathBuf = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        DaemonHandle {
            config: Escaped(path.as_os_str().as_bytes()).to_string().into(),
            daemon: Rc::default(),
            in_force: Rc::default(),
            reloads,
        }
    }

    /// Sets the daemon that runs from now on.
    pub fn set(&self, daemon: Handle) {
        *self.daemon.borrow_mut() = Some(daemon);
    }

    /// Sets the configuration that is in force from now on.
    pub fn set_site(&self, site: &Site) {
        let patterns = site.excludes.patterns().iter();
        *self.in_force.borrow_mut() = SourceInForce {
            wpath: site.wpath.as_os_str().as_bytes().to_owned(),
            rexcludes: patterns.map(|pattern| pattern.as_str().to_owned()).collect(),
        };
    }

    /// The status of the daemon; `None` while none runs.
    pub async fn status(&self, ask_nodes: bool) -> Option<Status> {
        let status = self.current()?.status(ask_nodes).await?;
        Some(Status { config: self.config.to_string(), ..status })
    }

    fn current(&self) -> Option<Handle> {
        self.daemon.borrow().clone()
    }

    /// Answers one request on the socket.
    pub async fn answer(&self, request: Request) -> Answer {
        let Some(daemon) = self.current() else { return ending() };
        match request {
            Request::Status => self.status(true).await.map_or_else(ending, |status| Answer::Status(Box::new(status))),
            Request::Glance => self.status(false).await.map_or_else(ending, |status| Answer::Status(Box::new(status))),
            Request::InForce => Answer::InForce(self.in_force.borrow().clone()),
            Request::Reload => self.reload().await,
            Request::Explain { path } => match RelPath::new(&path) {
                Ok(path) => daemon.path_info(path).await.map_or_else(ending, Answer::Whereabouts),
                Err(why) => Answer::Refused { why: why.to_string() },
            },
            Request::Compared { dest, began_ms_ago } => {
                daemon.compared(dest, Duration::from_millis(began_ms_ago));
                Answer::Done
            }
            Request::Pause { node, paused } => self.came_of(daemon.pause(node, paused).await).await,
            Request::Retry { node } => self.came_of(daemon.retry(node).await).await,
            Request::AllowDeletions { node } => self.came_of(daemon.allow_deletions(node).await).await,
            Request::Wait { node, timeout } => self.wait(node, timeout).await,
        }
    }

    async fn reload(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        // Where nobody takes it, the reply is dropped.
        let _ = self.reloads.send(reply);
        match answer.await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(ReloadRefusal { why, is_config })) => Answer::ReloadRefused { why, is_config },
            Err(_) => ending(),
        }
    }

    /// The answer to an order about a node.
    async fn came_of(&self, outcome: Option<OrderOutcome>) -> Answer {
        match outcome {
            None => ending(),
            Some(OrderOutcome::NoSuchNode) => self.no_such_node().await,
            Some(OrderOutcome::NothingToDo) => Answer::NothingToDo,
            Some(OrderOutcome::Done) => Answer::Done,
        }
    }

    async fn no_such_node(&self) -> Answer {
        let nodes = self.status(false).await.map(|status| status.nodes).unwrap_or_default();
        Answer::NoSuchNode { nodes: nodes.into_iter().map(|node| node.name).collect() }
    }
}

fn ending() -> Answer {
    Answer::Refused { why: "the daemon is starting or ending".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_line_is_a_request_that_is_written_so_again_or_none() {
        let real = [
            Request::Status,
            Request::Reload,
            Request::Explain { path: b"d/f".to_vec() },
            Request::Compared { dest: "h:/m".to_owned(), began_ms_ago: u64::MAX },
            Request::Pause { node: "h".to_owned(), paused: true },
            Request::Wait { node: None, timeout: Some(7) },
        ];
        let mut random = fastrand::Rng::with_seed(1);
        let mut read = 0;
        for round in 0..20_000 {
            let mut line = serde_json::to_vec(&real[round % real.len()]).unwrap();
            for _ in 0..random.usize(..3) {
                let at = random.usize(..line.len());
                match random.u8(..3) {
                    0 => line[at] = random.u8(..),
                    1 => line.truncate(at + 1),
                    _ => line.insert(at, b"{}[]\":,\\0 9e-"[random.usize(..12)]),
                }
            }
            let Ok(request) = serde_json::from_slice::<Request>(&line) else { continue };
            read += 1;
            let again = serde_json::to_string(&request).unwrap();
            let read_again: Request = serde_json::from_str(&again).unwrap();
            assert_eq!(serde_json::to_string(&read_again).unwrap(), again, "{}", line.escape_ascii());
        }
        assert!(read > 1000, "{read}");
    }
}
