//! The signals that end a command or the daemon. SIGHUP and SIGUSR1 are in `run.rs`.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for a stop: SIGTERM and SIGINT.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// When the process may not handle signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
