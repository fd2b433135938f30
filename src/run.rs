//! The daemon as a process: starts it, translates signals, reads the configuration again, and says how it ended.

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

use crate::bars::Bars;
use crate::config::{self, Configuration, Service};
use crate::control::{self, Desk, Socket};
use crate::exit::Exit;
use crate::listen::Page;
use crate::logging::Log;
use crate::notify::Notify;
use crate::terminal::Terminal;
use crate::{advice, exposed, program, status};

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
    /// Asks for the status in the log.
    report: Signal,
    terminal: Terminal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        // First: whether the signal is ignored cannot be seen once it is listened to.
        let terminal = Terminal::of_start();
        let (reload, report) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        Ok(Signals { stop: StopSignals::listen()?, reload, report, terminal })
    }
}

/// What the process has beside the daemon of the moment, which a reload may replace.
struct Process<'a> {
    /// The configuration file, which SIGHUP makes it read again.
    path: &'a Path,
    /// As it was last accepted.
    site: Site,
    version: Version,
    signals: Signals,
    desk: Desk,
    front: Front,
    context: ProcessContext,
    notify: Notify,
    voice: &'a Log,
}

/// Where others reach the daemon.
struct Front {
    service: Service,
    socket: Option<Socket>,
    page: Option<Page>,
}

impl Front {
    /// Goes by these keys.
    fn of(service: Service, desk: &Desk, log: &Logger) -> Self {
        let socket = control::serve(&service.sockets, desk.clone(), log);
        let page = service.listen.map(|address| Page::open(address, desk.clone(), log));
        Front { service, socket, page }
    }

    /// Goes by another reading of them. Returns which ones differ.
    fn adapt(&mut self, service: Service, desk: &Desk, log: &Logger) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if service.sockets != self.service.sockets {
            changed.push("socket_dir");
            self.socket = None;
            self.socket = control::serve(&service.sockets, desk.clone(), log);
        }
        if service.listen != self.service.listen {
            changed.push("listen");
            match (service.listen, &mut self.page) {
                (None, page) => *page = None,
                (Some(address), Some(page)) => page.move_to(address, log),
                (Some(address), page @ None) => *page = Some(Page::open(address, desk.clone(), log)),
            }
        }
        self.service = service;
        changed
    }
}

/// Mirrors the site until it is stopped. `path` is the configuration file.
pub async fn run(path: &Path, configuration: Configuration, version: Version, voice: &Log) -> Exit {
    let log = &voice.logger;
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(why) => {
            error!(log, "signals cannot be handled"; "why" => %why);
            return Exit::Environment;
        }
    };
    let (Configuration { site, service, .. }, desk) = (configuration, Desk::default());
    let front = Front::of(service, &desk, log);
    let notify = Notify::of_process();
    let context = ProcessContext { audience: Bars::audience(voice.bars.as_ref()), paused: Paused::default() };
    let mut process = Process { path, site, version, signals, desk, front, context, notify, voice };
    let mut superseding = false;
    let exit = loop {
        info!(log, "inosync starts"; "version" => env!("CARGO_PKG_VERSION"), "wpath" => process.site.wpath.display(),
            "nodes" => process.site.nodes.len(), "rsync" => %process.version);
        match process.mirror(superseding).await {
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

impl Process<'_> {
    /// Mirrors until the daemon is to end or to start anew. `superseding`: after [`Ending::Superseded`].
    async fn mirror(&mut self, superseding: bool) -> Result<Ending, StartError> {
        let start = if superseding { Daemon::start_superseding } else { Daemon::start };
        let context = self.context.clone();
        let mut daemon = start(self.site.clone(), self.version, context, &self.voice.logger.new(o!()))?;
        self.desk.open(daemon.handle());
        let _companion = self.notify.accompany(daemon.monitor());
        advice::look_when_ready(daemon.monitor(), &self.site, &self.voice.logger);
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
                _ = self.signals.reload.recv() => match self.hung_up().await {
                    HungUp::Reload { beside } => daemon.reload(self.site.clone(), self.version, beside),
                    HungUp::Refused => self.notify.kept(),
                    HungUp::Stop => {
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

    /// What SIGHUP means now.
    async fn hung_up(&mut self) -> HungUp {
        if self.signals.terminal.is_gone() {
            info!(self.voice.logger, "the terminal is gone");
            return HungUp::Stop;
        }
        self.notify.reloading();
        // The daemon goes on meanwhile, and an rsync that does not tell its version does not keep it from a stop.
        let read = tokio::select! {
            read = read_again(self.path, self.site.confine, &self.voice.logger) => read,
            () = self.signals.stop.next() => return HungUp::Stop,
        };
        let Some((Configuration { site, service, warnings }, version)) = read else { return HungUp::Refused };
        advice::log(&warnings, &self.voice.logger);
        exposed::log(self.path, &site, &self.voice.logger);
        if site.excludes != self.site.excludes {
            advice::look(site.excludes.clone(), &site.wpath, &self.voice.logger);
        }
        (self.site, self.version) = (site, version);
        let log_differs = self.voice.adapt(service.log);
        let mut beside = self.front.adapt(service, &self.desk, &self.voice.logger);
        beside.extend(log_differs.then_some("log"));
        HungUp::Reload { beside }
    }

    /// Writes the status to the log, as soon as the daemon has told it.
    fn report(&self) {
        let (desk, log) = (self.desk.clone(), self.voice.logger.clone());
        actix::spawn(async move {
            if let Some(status) = desk.status(false).await {
                status::log(&log, &status);
            }
        });
    }
}

/// What is to be done about a SIGHUP.
enum HungUp {
    /// The configuration was read, and is another one perhaps.
    Reload {
        /// The keys that changed and are gone by already.
        beside: Vec<&'static str>,
    },
    /// It is wrong; the log says so.
    Refused,
    /// The daemon ends.
    Stop,
}

/// The configuration as it is now, if it is right.
async fn read_again(path: &Path, confined_before: bool, log: &Logger) -> Option<(Configuration, Version)> {
    let refuse = |why: &str| error!(log, "reload refused: {why}: what was read before stays in force");
    let mut configuration = config::load(path).inspect_err(|why| refuse(&why.in_one_line())).ok()?;
    let asked = tokio::time::timeout(VERSION_TIME, program::version(&configuration.site.rsync)).await;
    let asked = asked.inspect_err(|_| refuse("rsync does not tell its version")).ok()?;
    let version = asked.inspect_err(|why| refuse(&why.to_string())).ok()?;
    let confined = program::confine(&mut configuration.site).await;
    if configuration.site.confine != confined_before || confined.is_err() {
        program::log_confined(&confined, log);
    }
    Some((configuration, version))
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
