//! The control socket, by which commands ask a running daemon: a Unix socket in a directory that only the user of the daemon
//! and root may enter. Each connection carries one request and one answer, each a line of JSON.

mod client;
mod server;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use inosync_actors::daemon::Handle;
use inosync_actors::path::RelPath;
use inosync_actors::status::{PathInfo, Status};
use serde::{Deserialize, Serialize};

pub use client::{AskError, ask};
pub use server::{Socket, serve};

/// The name of the socket in the directory of its site.
const SOCKET: &str = "socket";

/// A question to the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The status of the daemon, its source and its nodes.
    Status,
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
}

/// The answer to a request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The status of the daemon.
    Status(Box<Status>),
    /// The knowledge of a path.
    Whereabouts(PathInfo),
    /// The request was carried out.
    Done,
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

/// The running daemon of this process. A restart of the daemon replaces the handle in it.
#[derive(Clone, Default)]
pub struct DaemonHandle(Rc<RefCell<Option<Handle>>>);

impl DaemonHandle {
    /// Sets the daemon that runs from now on.
    pub fn set(&self, daemon: Handle) {
        *self.0.borrow_mut() = Some(daemon);
    }

    /// The status of the daemon; `None` while none runs.
    pub async fn status(&self, ask_nodes: bool) -> Option<Status> {
        self.current()?.status(ask_nodes).await
    }

    fn current(&self) -> Option<Handle> {
        self.0.borrow().clone()
    }

    /// Answers one request on the socket.
    pub async fn answer(&self, request: Request) -> Answer {
        let Some(daemon) = self.current() else { return ending() };
        match request {
            Request::Status => daemon.status(true).await.map_or_else(ending, |status| Answer::Status(Box::new(status))),
            Request::Explain { path } => match RelPath::new(&path) {
                Ok(path) => daemon.path_info(path).await.map_or_else(ending, Answer::Whereabouts),
                Err(why) => Answer::Refused { why: why.to_string() },
            },
            Request::Compared { dest, began_ms_ago } => {
                daemon.compared(dest, Duration::from_millis(began_ms_ago));
                Answer::Done
            }
            Request::Pause { node, paused } => self.pause(&daemon, node, paused).await,
        }
    }

    async fn pause(&self, daemon: &Handle, node: String, paused: bool) -> Answer {
        match daemon.pause(node, paused).await {
            None => ending(),
            Some(false) => {
                let nodes = daemon.status(false).await.map(|status| status.nodes).unwrap_or_default();
                Answer::NoSuchNode { nodes: nodes.into_iter().map(|node| node.name).collect() }
            }
            Some(true) => Answer::Done,
        }
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
            Request::Explain { path: b"d/f".to_vec() },
            Request::Compared { dest: "h:/m".to_owned(), began_ms_ago: u64::MAX },
            Request::Pause { node: "h".to_owned(), paused: true },
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
