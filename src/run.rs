//! The daemon as a process: starts it, translates signals, reads the configuration again, and says how it ended.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use actix::System;
use inosync_actors::daemon::{Daemon, Ending, StartError};
use inosync_actors::rsync::audience::Audience;
use inosync_actors::rsync::version::Version;
use inosync_actors::site::Site;
use slog::{Logger, error, info, o};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::bars::Bars;
use crate::config;
use crate::exit::Exit;
use crate::program;
use crate::terminal::Terminal;

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

/// How long the rsync of a new configuration may take to tell its version.
const VERSION_TIME: Duration = Duration::from_secs(10);

/// What the daemon listens to.
struct Signals {
    stop: StopSignals,
    reload: Signal,
    terminal: Terminal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        // First: whether the signal is ignored cannot be seen once it is listened to.
        let terminal = Terminal::of_start();
        Ok(Signals { stop: StopSignals::listen()?, reload: signal(SignalKind::hangup())?, terminal })
    }
}

/// Mirrors the site until it is stopped. `path` is the configuration file, which SIGHUP makes it read again.
pub async fn run(path: &Path, mut site: Site, mut version: Version, bars: Option<&Bars>, log: &Logger) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(why) => {
            error!(log, "signals cannot be handled"; "why" => %why);
            return Exit::Environment;
        }
    };
    let mut superseding = false;
    let exit = loop {
        info!(log, "inosync starts"; "version" => env!("CARGO_PKG_VERSION"), "wpath" => site.wpath.display(),
            "nodes" => site.nodes.len(), "rsync" => %version);
        let audience = Bars::audience(bars);
        match mirror(path, &mut site, &mut version, superseding, &mut signals, (audience, log)).await {
            Ok(Ending::Restart { .. }) => superseding = false,
            Ok(Ending::Superseded) => {
                info!(log, "the source was empty, and a directory with content took its place: mirroring that one");
                superseding = true;
            }
            Ok(ending) => break said(ending, log),
            Err(why) => {
                error!(log, "inosync cannot start"; "why" => %why);
                break Exit::Environment;
            }
        }
    };
    System::current().stop();
    exit
}

/// Mirrors until it is to end or to start anew. `site` and `version` are those of the last reload that was accepted.
/// `superseding`: after [`Ending::Superseded`].
async fn mirror(
    path: &Path,
    site: &mut Site,
    version: &mut Version,
    superseding: bool,
    signals: &mut Signals,
    (audience, log): (Rc<dyn Audience>, &Logger),
) -> Result<Ending, StartError> {
    let start = if superseding { Daemon::start_superseding } else { Daemon::start };
    let mut daemon = start(site.clone(), *version, audience, &log.new(o!()))?;
    let (terminal, mut stopping) = (signals.terminal, false);
    let ending = loop {
        tokio::select! {
            ending = daemon.ended() => break ending,
            () = signals.stop.next() => {
                stopping = true;
                daemon.stop();
            }
            _ = signals.reload.recv() => if terminal.is_gone() {
                info!(log, "the terminal is gone");
                stopping = true;
                daemon.stop();
            } else {
                // The daemon goes on meanwhile, and an rsync that does not tell its version does not keep it from a stop.
                tokio::select! {
                    read = read_again(path, log) => if let Some(read) = read {
                        (*site, *version) = read;
                        daemon.reload(site.clone(), *version);
                    },
                    () = signals.stop.next() => {
                        stopping = true;
                        daemon.stop();
                    }
                }
            }
        }
    };
    match ending {
        // The stop came too late for the daemon to know of it.
        Ending::Restart { pending } if stopping => Ok(Ending::Stopped { pending }),
        Ending::Superseded if stopping => Ok(Ending::Stopped { pending: 0 }),
        ending => Ok(ending),
    }
}

/// The configuration as it is now, if it is right.
async fn read_again(path: &Path, log: &Logger) -> Option<(Site, Version)> {
    let refuse = |why: &str| error!(log, "reload refused: {why}: what was read before stays in force");
    let site = config::load(path).inspect_err(|why| refuse(&in_one_line(&why.to_string()))).ok()?;
    let asked = tokio::time::timeout(VERSION_TIME, program::version(&site.rsync)).await;
    let asked = asked.inspect_err(|_| refuse("rsync does not tell its version")).ok()?;
    let version = asked.inspect_err(|why| refuse(&why.to_string())).ok()?;
    Some((site, version))
}

/// What is wrong and its cure, without the line of the file between them.
fn in_one_line(complaint: &str) -> String {
    let mut lines = complaint.lines().map(str::trim);
    let (what, cure) = (lines.next().unwrap_or_default(), lines.next_back());
    cure.map_or_else(|| what.to_owned(), |cure| format!("{what}: {cure}"))
}

fn said(ending: Ending, log: &Logger) -> Exit {
    match ending {
        Ending::Stopped { pending } | Ending::Restart { pending } => {
            info!(log, "stopped"; "pending" => pending);
            if pending == 0 { Exit::Done } else { Exit::Pending }
        }
        // The daemon is started anew after the latter.
        Ending::Unwatchable | Ending::Superseded => Exit::Environment,
        Ending::Crashed => {
            error!(log, "a defect of inosync ended it: please report the lines above");
            Exit::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_of_several_lines_is_told_in_one() {
        for (complaint, expected) in [
            ("f.ron:2:8: `x` is no y\n    2 | x: 1\n      |    ^\n  write y", "f.ron:2:8: `x` is no y: write y"),
            ("f.ron: cannot read\n  name another", "f.ron: cannot read: name another"),
            ("one line", "one line"),
        ] {
            assert_eq!(in_one_line(complaint), expected);
        }
    }
}
