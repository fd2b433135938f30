//! The daemon as a process: starts it, translates signals, and says how it ended.

use actix::System;
use inosync_actors::daemon::{Daemon, Ending, StartError};
use inosync_actors::rsync::version::Version;
use inosync_actors::site::Site;
use slog::{Logger, error, info, o};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// The signals that ask for a stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the process may not handle signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}

/// Mirrors the site until it is stopped.
pub async fn run(site: Site, version: Version, log: &Logger) -> Exit {
    info!(log, "inosync starts"; "version" => env!("CARGO_PKG_VERSION"), "wpath" => site.wpath.display(),
        "nodes" => site.nodes.len(), "rsync" => %version);
    let mut signals = match StopSignals::listen() {
        Ok(signals) => signals,
        Err(why) => {
            error!(log, "signals cannot be handled"; "why" => %why);
            return Exit::Environment;
        }
    };
    let mut daemon = match Daemon::start(site.clone(), version, &log.new(o!())) {
        Ok(daemon) => daemon,
        Err(why) => return cannot_start(log, &why),
    };
    let ending = loop {
        tokio::select! {
            ending = daemon.ended() => match ending {
                Ending::Superseded => {
                    info!(log, "the source was empty, and a directory with content took its place: mirroring that one");
                    match Daemon::start_superseding(site.clone(), version, &log.new(o!())) {
                        Ok(next) => daemon = next,
                        Err(why) => return cannot_start(log, &why),
                    }
                }
                ending => break ending,
            },
            () = signals.next() => daemon.stop(),
        }
    };
    System::current().stop();
    match ending {
        Ending::Stopped { pending: 0 } => {
            info!(log, "stopped"; "pending" => 0);
            Exit::Done
        }
        Ending::Stopped { pending } => {
            info!(log, "stopped"; "pending" => pending);
            Exit::Pending
        }
        // The loop above goes on after the latter.
        Ending::Unwatchable | Ending::Superseded => Exit::Environment,
        Ending::Crashed => {
            error!(log, "a defect of inosync ended it: please report the lines above");
            Exit::Internal
        }
    }
}

fn cannot_start(log: &Logger, why: &StartError) -> Exit {
    error!(log, "inosync cannot start"; "why" => %why);
    Exit::Environment
}
