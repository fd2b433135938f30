//! One ssh connection per node that its rsync runs share (ssh_config(5), ControlMaster), so that they skip the
//! handshake. What is sent over it, and whether the node is well, is for others.
//!
//! No run depends on it: an ssh that finds no such connection, or one whose server takes no more sessions
//! (MaxSessions), makes a connection of its own. The traps: an ssh in the background outlives everything, so the daemon
//! keeps it as a child in the foreground; an ssh that finds a file at its socket's name goes on without sharing, so no
//! name is used twice; and all sessions stand in one queue, so a run that sends much needs a connection of its own, or
//! a small change waits behind all that a slow network has not taken yet.

pub mod login;
pub mod runtime_dir;
mod state;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{Logger, debug};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::children::program::{ChildProgram, ChildStdio};
use crate::children::{Children, Group};
use crate::path::Escaped;
use crate::rsync::runner::master::login::Login;
use crate::rsync::runner::master::runtime_dir::RuntimeDir;
use crate::rsync::runner::master::state::MasterState;
use crate::rsync::runner::process::ENVIRONMENT;

/// Makes ssh a connection for others, and nothing else. First: for ssh the first value of an option counts, and the
/// user's own settings, which may share connections too, come last.
const MASTER: &[&str] = &["-N", "-T", "-o", "ControlMaster=yes", "-o", "ControlPersist=no"];
/// With this set by the user, ssh would leave us once it is logged in.
const FOREGROUND: &str = "ForkAfterAuthentication=no";
/// The answer of an ssh before 8.7 to that; there the user cannot have set it either.
const TOO_OLD: &str = "Bad configuration option: forkafterauthentication";
/// The user's port forwardings would be asked for by every run, and fail in all but the first.
const NO_FORWARDINGS: &str = "ClearAllForwardings=yes";
/// The time that a login may take: `ConnectTimeout` covers less than all of it.
const LOGIN: Duration = Duration::from_secs(30);
/// The interval of the looks for the socket during a login.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of ssh's latest words that are kept.
const WORDS: usize = 1024;

/// The shared connection of one node, started on demand. Dropping it ends the connection with all sessions over it.
#[derive(Debug)]
pub struct Master {
    children: Children,
    directory: Arc<RuntimeDir>,
    ssh: String,
    login: Login,
    log: Logger,
    state: Cell<MasterState>,
    /// Of the latest connection.
    socket: RefCell<PathBuf>,
    /// The task that waits for the end of ssh.
    keeper: RefCell<Option<AbortHandle>>,
    /// The process id of the latest ssh.
    process: Cell<Option<i32>>,
    /// `true` if ssh is too old for [`FOREGROUND`].
    old: Cell<bool>,
    /// The state is another.
    changed: Notify,
}

impl Master {
    /// Starts nothing yet. `ssh` is the program with its options as for rsync's `--rsh`, divided by blanks alone: they
    /// are those of the connection and of the sessions.
    pub fn new(children: Children, directory: Arc<RuntimeDir>, ssh: &str, login: Login, log: Logger) -> Rc<Master> {
        Rc::new(Master {
            children,
            directory,
            ssh: ssh.to_owned(),
            login,
            log,
            state: Cell::new(MasterState::NEW),
            socket: RefCell::default(),
            keeper: RefCell::default(),
            process: Cell::new(None),
            old: Cell::new(false),
            changed: Notify::new(),
        })
    }

    /// Starts the connection, unless it runs or failed a moment ago. Does not wait for it. Must be called on the thread
    /// of an actix system.
    pub fn wanted(self: &Rc<Self>) {
        let mut state = self.state.get();
        if !state.start(Instant::now()) {
            return;
        }
        self.set(state);
        match self.start() {
            Ok(group) => {
                self.process.set(Some(group.id()));
                let keeper = actix::spawn(keep(Rc::downgrade(self), group, self.socket.borrow().clone()));
                self.keeper.replace(Some(keeper.abort_handle()));
            }
            Err(error) => self.ended(&error.to_string()),
        }
    }

    /// Tells if the connection is there for new sessions.
    pub fn is_up(&self) -> bool {
        matches!(self.state.get(), MasterState::Up { .. })
    }

    /// Tells if it is being made.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state.get(), MasterState::Starting { .. })
    }

    /// Waits while the connection is being made, half a minute at the most; whether it is up then.
    pub async fn ready(&self) -> bool {
        while self.is_starting() {
            self.changed.notified().await;
        }
        self.is_up()
    }

    /// The socket of the connection; `Some` if and only if it is up.
    pub fn control_path(&self) -> Option<PathBuf> {
        self.is_up().then(|| self.socket.borrow().clone())
    }

    /// The value of rsync's `--rsh` for a run that starts now and sends little: it shares the connection if that is up.
    pub fn rsh(&self) -> String {
        match self.control_path() {
            Some(socket) => self.rsh_with(&socket.to_string_lossy()),
            None => self.rsh_alone(),
        }
    }

    /// The same for a run that may send much, on a connection of its own.
    pub fn rsh_alone(&self) -> String {
        self.rsh_with("none")
    }

    fn rsh_with(&self, socket: &str) -> String {
        format!("{} -o ControlMaster=no -o ControlPath={socket} -o {NO_FORWARDINGS}", self.ssh)
    }

    /// The process that has the connection; `Some` if and only if it is up.
    pub fn process(&self) -> Option<i32> {
        self.process.get().filter(|_| self.is_up())
    }

    /// Ends the connection of this process with all sessions over it: a run over it hung, and ssh has not noticed yet.
    /// The next one is started on demand. Does nothing to a later one.
    pub fn give_up(&self, process: i32) {
        if self.process() != Some(process) {
            return;
        }
        self.stop();
        debug!(self.log, "shared connection ended"; "why" => "a session over it does not answer");
        let mut state = self.state.get();
        state.given_up(Instant::now(), fastrand::f64());
        self.set(state);
    }

    fn start(&self) -> std::io::Result<Group> {
        let socket = self.directory.socket();
        let mut words = self.ssh.split_whitespace();
        let mut command = ChildProgram::new(words.next().unwrap_or("ssh"));
        command.args(MASTER).args(["-o".to_owned(), format!("ControlPath={}", socket.display())]);
        command.args(["-o", NO_FORWARDINGS]);
        if !self.old.get() {
            command.args(["-o", FOREGROUND]);
        }
        command.args(words).args(self.login.words());
        command.envs(ENVIRONMENT);
        command.stdio(ChildStdio::Null, ChildStdio::Null, ChildStdio::Piped);
        self.socket.replace(socket);
        self.children.start(command, None)
    }

    // ## Starting => Up
    fn came_up(&self) {
        debug!(self.log, "shared connection is up");
        let mut state = self.state.get();
        state.came_up(Instant::now());
        self.set(state);
    }

    // ## (Starting | Up) => NotRunning
    fn ended(&self, why: &str) {
        debug!(self.log, "shared connection ended"; "why" => why);
        let mut state = self.state.get();
        state.ended(Instant::now(), fastrand::f64());
        self.set(state);
    }

    // ## Starting => Starting | NotRunning
    /// ssh refused an option that it is too old for: once more without.
    fn start_old(self: &Rc<Self>) {
        self.old.set(true);
        self.state.set(MasterState::NEW);
        self.wanted();
    }

    fn set(&self, state: MasterState) {
        self.state.set(state);
        self.changed.notify_waiters();
    }

    fn stop(&self) {
        if let Some(keeper) = self.keeper.take() {
            // What it holds is dropped with it: the group of ssh.
            keeper.abort();
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Stays with one ssh until it ends, and tells the master what becomes of it.
async fn keep(master: Weak<Master>, mut group: Group, socket: PathBuf) {
    let (_, _, stderr) = group.pipes();
    let mut said = Vec::new();
    let status = {
        let reading = read_latest(stderr, &mut said);
        tokio::pin!(reading);
        let living = live(&master, &mut group, &socket);
        tokio::pin!(living);
        tokio::select! {
            status = &mut living => {
                // What a proxy command of the user holds open is not waited for.
                let _ = tokio::time::timeout(POLL, &mut reading).await;
                status
            }
            () = &mut reading => living.await,
        }
    };
    // One that was killed leaves it, and every later session would complain.
    let _ = std::fs::remove_file(&socket);
    let Some(master) = master.upgrade() else { return };
    let words = String::from_utf8_lossy(&said);
    if words.contains(TOO_OLD) && !master.old.get() {
        return master.start_old();
    }
    let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    master.ended(&last.map_or(status, |line| Escaped(line.as_bytes()).to_string()));
}

/// Waits for the login and then for the end.
async fn live(master: &Weak<Master>, group: &mut Group, socket: &Path) -> std::io::Result<ExitStatus> {
    let logged_in = tokio::select! {
        status = group.wait() => return status,
        logged_in = tokio::time::timeout(LOGIN, appears(socket)) => logged_in.is_ok(),
    };
    if logged_in {
        master.upgrade().inspect(|master| master.came_up());
    } else {
        group.kill();
    }
    group.wait().await
}

/// ssh makes its socket when it is logged in, and gives it its name when it listens.
async fn appears(socket: &Path) {
    while !socket.exists() {
        tokio::time::sleep(POLL).await;
    }
}

async fn read_latest(output: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    let mut buffer = [0; WORDS];
    // A pipe that cannot be read any further has ended.
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        said.extend(&buffer[..read]);
        said.drain(..said.len().saturating_sub(WORDS));
    }
}
