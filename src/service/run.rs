//! The process of the daemon: starts the daemon, handles signals, reloads the configuration, and picks the exit code.

use std::path::Path;
use std::time::Duration;

use actix::System;
use inosync_actors::daemon::{Daemon, ProcessContext, StartError};
use inosync_actors::ending::Ending;
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;
use inosync_actors::supervisor::paused::Paused;
use slog::{Logger, error, info, o};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{config_warnings, program, status_log};
use crate::config::{self, Configuration, Service, permissions};
use crate::exit::Exit;
use crate::logging::Log;
use crate::logging::progress_bars::Bars;
use crate::service::control::{self, DaemonHandle, Socket};
use crate::service::listen::Page;
use crate::service::notify::Notify;
use crate::service::signals::StopSignals;
use crate::service::terminal::Terminal;

/// Time limit for the rsync of a new configuration to tell its version.
const VERSION_TIME: Duration = Duration::from_secs(10);

/// The signals that the process handles.
struct Signals {
    stop: StopSignals,
    reload: Signal,
    /// Asks for the status in the log.
    report: Signal,
    terminal: Terminal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        // First: once SIGHUP is handled, it cannot be seen that it was ignored.
        let terminal = Terminal::of_start();
        let reload = signal(SignalKind::hangup())?;
        let report = signal(SignalKind::user_defined1())?;
        Ok(Signals { stop: StopSignals::listen()?, reload, report, terminal })
    }
}

/// The parts of the process that outlive a restart of the daemon.
struct ProcessParts<'a> {
    /// The path of the configuration file.
    path: &'a Path,
    /// The configuration that was last accepted.
    site: Site,
    version: Version,
    signals: Signals,
    daemon: DaemonHandle,
    endpoints: Endpoints,
    context: ProcessContext,
    notify: Notify,
    log: &'a Log,
}

/// The control socket and the page.
struct Endpoints {
    service: Service,
    socket: Option<Socket>,
    page: Option<Page>,
}

impl Endpoints {
    /// Opens the endpoints of these keys.
    fn open(service: Service, daemon: &DaemonHandle, log: &Logger) -> Self {
        let socket = control::serve(&service.sockets, daemon.clone(), log);
        let page = service.listen.map(|address| Page::open(address, daemon.clone(), log));
        Endpoints { service, socket, page }
    }

    /// Changes over to other keys. Returns the names of those that differ.
    fn adapt(&mut self, service: Service, daemon: &DaemonHandle, log: &Logger) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if service.sockets != self.service.sockets {
            changed.push("socket_dir");
            self.socket = None;
            self.socket = control::serve(&service.sockets, daemon.clone(), log);
        }
        if service.listen != self.service.listen {
            changed.push("listen");
            match (service.listen, &mut self.page) {
                (None, page) => *page = None,
                (Some(address), Some(page)) => page.move_to(address, log),
                (Some(address), page @ None) => *page = Some(Page::open(address, daemon.clone(), log)),
            }
        }
        self.service = service;
        changed
    }
}

/// Mirrors the site until it is stopped. `path` is the configuration file.
pub async fn run(path: &Path, configuration: Configuration, version: Version, log: &Log) -> Exit {
    let logger = &log.logger;
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(why) => {
            error!(logger, "signals cannot be handled"; "why" => %why);
            return Exit::Environment;
        }
    };
    let Configuration { site, service, .. } = configuration;
    let daemon = DaemonHandle::default();
    let endpoints = Endpoints::open(service, &daemon, logger);
    let notify = Notify::of_process();
    let context = ProcessContext { audience: Bars::audience(log.bars.as_ref()), paused: Paused::default() };
    let mut process = ProcessParts { path, site, version, signals, daemon, endpoints, context, notify, log };
    let mut superseding = false;
    let exit = loop {
        info!(logger, "inosync starts"; "version" => env!("CARGO_PKG_VERSION"), "wpath" => process.site.wpath.display(),
            "nodes" => process.site.nodes.len(), "rsync" => %process.version);
        match process.mirror(superseding).await {
            Ok(Ending::Restart { .. }) => superseding = false,
            Ok(Ending::Superseded) => {
                info!(logger, "the source was empty, and a directory with content took its place: mirroring that one");
                superseding = true;
            }
            Ok(ending) => break exit_of(ending, logger),
            Err(why) => {
                error!(logger, "inosync cannot start"; "why" => %why);
                break Exit::Environment;
            }
        }
    };
    System::current().stop();
    exit
}

impl ProcessParts<'_> {
    /// Runs one daemon until it ends. `superseding`: the daemon before ended as [`Ending::Superseded`].
    async fn mirror(&mut self, superseding: bool) -> Result<Ending, StartError> {
        let start = if superseding { Daemon::start_superseding } else { Daemon::start };
        let context = self.context.clone();
        let mut daemon = start(self.site.clone(), self.version, context, &self.log.logger.new(o!()))?;
        self.daemon.set(daemon.handle());
        let _notify_task = self.notify.follow(daemon.monitor());
        config_warnings::log_unmatched_when_ready(daemon.monitor(), &self.site, &self.log.logger);
        let mut stopping = false;
        let ending = loop {
            tokio::select! {
                ending = daemon.ended() => break ending,
                () = self.signals.stop.next() => {
                    stopping = true;
                    self.notify.stopping(self.site.stop_timeout);
                    daemon.stop();
                }
                _ = self.signals.report.recv() => self.report(),
                _ = self.signals.reload.recv() => match self.hangup().await {
                    Hangup::Reload { beside } => daemon.reload(self.site.clone(), self.version, beside),
                    Hangup::Refused => self.notify.reload_refused(),
                    Hangup::Stop => {
                        stopping = true;
                        self.notify.stopping(self.site.stop_timeout);
                        daemon.stop();
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

    /// Decides what a SIGHUP asks for, and reads the configuration for a reload.
    async fn hangup(&mut self) -> Hangup {
        if self.signals.terminal.is_gone() {
            info!(self.log.logger, "the terminal is gone");
            return Hangup::Stop;
        }
        self.notify.reloading();
        // The daemon works meanwhile. An rsync that does not tell its version does not delay a stop.
        let read = tokio::select! {
            read = read_again(self.path, self.site.confine, &self.log.logger) => read,
            () = self.signals.stop.next() => return Hangup::Stop,
        };
        let Some((Configuration { site, service, warnings }, version)) = read else { return Hangup::Refused };
        config_warnings::log(&warnings, &self.log.logger);
        permissions::log(&service.files, &site, &self.log.logger);
        if site.excludes != self.site.excludes {
            config_warnings::log_unmatched(site.excludes.clone(), &site.wpath, &self.log.logger);
        }
        (self.site, self.version) = (site, version);
        let log_differs = self.log.adapt(service.log);
        let mut beside = self.endpoints.adapt(service, &self.daemon, &self.log.logger);
        beside.extend(log_differs.then_some("log"));
        Hangup::Reload { beside }
    }

    /// Logs the status as soon as the daemon has answered.
    fn report(&self) {
        let daemon = self.daemon.clone();
        let log = self.log.logger.clone();
        actix::spawn(async move {
            if let Some(status) = daemon.status(false).await {
                status_log::log(&log, &status);
            }
        });
    }
}

/// The meaning of a SIGHUP.
enum Hangup {
    /// The configuration was read; it may have changed.
    Reload {
        /// The keys that changed and are in force already.
        beside: Vec<&'static str>,
    },
    /// The configuration is wrong; the log has the complaint.
    Refused,
    /// The daemon is to stop.
    Stop,
}

/// Reads the configuration again. `None` if it is wrong.
async fn read_again(path: &Path, confined_before: bool, log: &Logger) -> Option<(Configuration, Version)> {
    let refuse = |why: &str| error!(log, "reload refused: {why}: what was read before stays in force");
    let mut configuration = config::load(path).inspect_err(|why| refuse(&why.in_one_line())).ok()?;
    let asked = tokio::time::timeout(VERSION_TIME, program::versions(&mut configuration.site)).await;
    let asked = asked.inspect_err(|_| refuse("rsync does not tell its version")).ok()?;
    let version = asked.inspect_err(|why| refuse(&why.to_string())).ok()?;
    let confined = program::confine(&mut configuration.site).await;
    if configuration.site.confine != confined_before || confined.is_err() {
        program::log_confined(&confined, log);
    }
    Some((configuration, version))
}

/// Logs the end of the daemon and picks the exit code.
fn exit_of(ending: Ending, log: &Logger) -> Exit {
    match ending {
        Ending::Stopped { pending } | Ending::Restart { pending } => {
            info!(log, "stopped"; "pending" => pending);
            if pending == 0 { Exit::Done } else { Exit::Pending }
        }
        // After the latter the daemon is started again.
        Ending::Unwatchable | Ending::Superseded => Exit::Environment,
        Ending::Crashed => {
            error!(log, "a defect of inosync ended it: please report the lines above");
            Exit::Internal
        }
    }
}
