//! The end of the daemon, and its announcement.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The end of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Somebody asked for it.
    Stopped {
        /// Paths that are not on their nodes, over all nodes.
        pending: usize,
    },
    /// The daemon is to be started anew: somebody asked for it, or the configuration takes it.
    Restart {
        /// Paths that are not on their nodes, over all nodes.
        pending: usize,
    },
    /// The source was empty, and another directory with content is in its place: to be started anew on that one.
    Superseded,
    /// The source cannot be watched; the log says why.
    Unwatchable,
    /// An actor that cannot be restarted panicked.
    Crashed,
}

/// Announces the end of the daemon, once. An actor that holds one and panics ends the daemon.
#[derive(Debug, Clone)]
pub(crate) struct EndsDaemon(Arc<Mutex<Option<oneshot::Sender<Ending>>>>);

impl EndsDaemon {
    /// A guard, and where the end is announced.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Ending>) {
        let (sender, receiver) = oneshot::channel();
        (EndsDaemon(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Announces the end. Only the first announcement counts.
    pub(crate) fn end(&self, ending: Ending) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody listens any more when the command ends on its own account.
            let _ = sender.send(ending);
        }
    }
}

impl Drop for EndsDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(Ending::Crashed);
        }
    }
}
