//! The process of the daemon: starts the daemon, handles signals, reloads the configuration, and picks the exit code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::System;
use inosync_actors::daemon::{Daemon, ProcessContext, StartError};
use inosync_actors::ending::Ending;
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;
use inosync_actors::supervisor::paused::Paused;
use inosync_actors::supervisor::watchdog::DaemonProgress;
use slog::{Logger, error, info, o, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{config_warnings, program, status_log};
use crate::config::{self, ConfigError, Configuration, Service, permissions};
use crate::exit::Exit;
use crate::logging::Log;
use crate::logging::progress_bars::Bars;
use crate::service::control::{self, DaemonHandle, ReloadRefusal, ReloadReply, Socket};
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
    reloads: Reloads,
    endpoints: Endpoints,
    context: ProcessContext,
    notify: Notify,
    log: &'a Log,
}

/// Reloads that clients ask for, one after the other.
struct Reloads {
    requests: mpsc::UnboundedReceiver<ReloadReply>,
    /// The client whose reload is being carried out.
    waits: Option<ReloadReply>,
}

impl Reloads {
    /// Waits for the next request while none is being carried out.
    async fn next(&mut self) -> ReloadReply {
        if self.waits.is_none()
            && let Some(reply) = self.requests.recv().await
        {
            return reply;
        }
        std::future::pending().await
    }

    /// Tells the client that its configuration is in force.
    fn done(&mut self) {
        // A client that went away needs no answer.
        let _ = self.waits.take().map(|reply| reply.send(Ok(())));
    }
}

/// The control socket and the page.
struct Endpoints {
    service: Service,
    /// The places where the control socket is looked for without the configuration.
    usual: Vec<PathBuf>,
    socket: Option<Socket>,
    page: Option<Page>,
}

impl Endpoints {
    /// Opens the endpoints of these keys.
    fn open(service: Service, usual: Vec<PathBuf>, daemon: &DaemonHandle, log: &Logger) -> Self {
        let socket = control::serve(&service.sockets, &usual, daemon.clone(), log);
        let page = service.listen.map(|address| Page::open(address, daemon.clone(), log));
        Endpoints { service, usual, socket, page }
    }

    /// Changes over to other keys. Returns the names of those that differ.
    fn adapt(&mut self, service: Service, daemon: &DaemonHandle, log: &Logger) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if service.sockets != self.service.sockets {
            changed.push("socket_dir");
            self.socket = None;
            self.socket = control::serve(&service.sockets, &self.usual, daemon.clone(), log);
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
    let (ask_reload, reloads) = mpsc::unbounded_channel();
    let daemon = DaemonHandle::new(path, ask_reload);
    let endpoints = Endpoints::open(service, config::usual_sockets(path), &daemon, logger);
    let notify = Notify::of_process();
    let context = ProcessContext { audience: Bars::audience(log.bars.as_ref()), paused: Paused::default() };
    let reloads = Reloads { requests: reloads, waits: None };
    let mut process = ProcessParts { path, site, version, signals, daemon, reloads, endpoints, context, notify, log };
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
        self.keep_paused();
        let context = self.context.clone();
        let mut daemon = start(self.site.clone(), self.version, context, &self.log.logger.new(o!()))?;
        self.daemon.set(daemon.handle());
        self.daemon.set_site(&self.site);
        let mut monitor = daemon.monitor();
        let mut progress = DaemonProgress::default();
        let mut is_followed = true;
        let _notify_task = self.notify.follow(daemon.monitor());
        config_warnings::log_unmatched_when_ready(daemon.monitor(), &self.site, &self.log.logger);
        let mut stopping = false;
        let ending = loop {
            let event = tokio::select! {
                ending = daemon.ended() => break ending,
                () = self.signals.stop.next() => ProcessEvent::Stop,
                _ = self.signals.report.recv() => ProcessEvent::Report,
                _ = self.signals.reload.recv() => ProcessEvent::Reload(None),
                reply = self.reloads.next() => ProcessEvent::Reload(Some(reply)),
                now = monitor.progress(), if is_followed => ProcessEvent::Progress(now),
            };
            let event = match event {
                ProcessEvent::Reload(reply) => self.reload(&daemon, reply).await,
                event => event,
            };
            match event {
                ProcessEvent::Stop => {
                    stopping = true;
                    self.notify.stopping(self.site.stop_timeout);
                    daemon.stop();
                }
                ProcessEvent::Report => self.report(),
                ProcessEvent::Progress(Some(now)) => {
                    if is_in_force(progress, now) {
                        self.reloads.done();
                    }
                    progress = now;
                }
                ProcessEvent::Progress(None) => is_followed = false,
                ProcessEvent::Reload(_) => (),
            }
        };
        match ending {
            // The stop came too late for the daemon to know of it.
            Ending::Restart { pending } if stopping => Ok(Ending::Stopped { pending }),
            Ending::Superseded if stopping => Ok(Ending::Stopped { pending: 0 }),
            ending => Ok(ending),
        }
    }

    /// Takes up the pauses of an earlier process.
    fn keep_paused(&self) {
        let log = &self.log.logger;
        match self.context.paused.keep_beside(self.site.state_file.as_deref()) {
            Ok(names) => {
                let known = |name: &&String| self.site.nodes.iter().any(|node| node.name() == name.as_str());
                for name in names.iter().filter(known) {
                    warn!(log, "the node is paused since before this start: nothing is sent until inosync resume"; "node" => name);
                }
            }
            Err(why) => warn!(log, "the pauses of an earlier run cannot be read: all nodes are served"; "why" => %why),
        }
    }

    /// Reads the configuration again and hands it to the daemon, for a client or for a SIGHUP. Returns what is left to be
    /// done.
    async fn reload(&mut self, daemon: &Daemon, reply: Option<ReloadReply>) -> ProcessEvent {
        if reply.is_none() && self.signals.terminal.is_gone() {
            info!(self.log.logger, "the terminal is gone");
            return ProcessEvent::Stop;
        }
        match self.read_again().await {
            Ok(beside) => {
                if reply.is_some() {
                    self.reloads.waits = reply;
                }
                daemon.reload(self.site.clone(), self.version, beside);
            }
            Err(Unread::Refused(refusal)) => {
                self.notify.reload_refused();
                // A client that went away needs no answer.
                let _ = reply.map(|reply| reply.send(Err(refusal)));
            }
            Err(Unread::Stop) => return ProcessEvent::Stop,
        }
        ProcessEvent::Reload(None)
    }

    /// Reads the configuration for a reload. Returns the keys that changed and are in force already.
    async fn read_again(&mut self) -> Result<Vec<&'static str>, Unread> {
        self.notify.reloading();
        // The daemon works meanwhile. An rsync that does not tell its version does not delay a stop.
        let read = tokio::select! {
            read = read_again(self.path, self.site.confine, &self.log.logger) => read,
            () = self.signals.stop.next() => return Err(Unread::Stop),
        };
        let (Configuration { site, service, warnings }, version) = read.map_err(Unread::Refused)?;
        config_warnings::log(&warnings, &self.log.logger);
        permissions::log(&service.files, &site, &self.log.logger);
        if site.excludes != self.site.excludes {
            config_warnings::log_unmatched(site.excludes.clone(), &site.wpath, &self.log.logger);
        }
        (self.site, self.version) = (site, version);
        self.daemon.set_site(&self.site);
        let log_differs = self.log.adapt(service.log);
        let mut beside = self.endpoints.adapt(service, &self.daemon, &self.log.logger);
        beside.extend(log_differs.then_some("log"));
        Ok(beside)
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

/// An event that the process acts on.
enum ProcessEvent {
    /// A signal asks for a stop.
    Stop,
    /// A signal asks for the status in the log.
    Report,
    /// A client, which waits for the answer, or a signal asks for a reload.
    Reload(Option<ReloadReply>),
    /// The daemon is further; `None` when it is gone.
    Progress(Option<DaemonProgress>),
}

/// Tells if a configuration came into force between two reports: by a reload, or by a new start.
fn is_in_force(before: DaemonProgress, now: DaemonProgress) -> bool {
    now.reloads > before.reloads || (before.watching.is_none() && now.watching.is_some())
}

/// The reason why the configuration was not read again.
enum Unread {
    /// The configuration is wrong; the log has the complaint.
    Refused(ReloadRefusal),
    /// The daemon is to stop.
    Stop,
}

/// Reads the configuration again.
async fn read_again(
    path: &Path,
    confined_before: bool,
    log: &Logger,
) -> Result<(Configuration, Version), ReloadRefusal> {
    let refuse = |why: String, is_config: bool| {
        error!(log, "reload refused: {why}: what was read before stays in force");
        ReloadRefusal { why, is_config }
    };
    let loaded = config::load(path);
    let mut configuration = loaded.map_err(|why| refuse(why.in_one_line(), matches!(why, ConfigError::Wrong(_))))?;
    let asked = tokio::time::timeout(VERSION_TIME, program::versions(&mut configuration.site)).await;
    let asked = asked.map_err(|_| refuse("rsync does not tell its version".to_owned(), false))?;
    let version = asked.map_err(|why| refuse(why.to_string(), false))?;
    let confined = program::confine(&mut configuration.site).await;
    if configuration.site.confine != confined_before || confined.is_err() {
        program::log_confined(&confined, log);
    }
    Ok((configuration, version))
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
