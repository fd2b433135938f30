//! Starts rsync, and the user's hooks, so that they never outlive the daemon, and ends them with everything that they
//! started.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use landlock::RulesetCreated;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// How long rsync may take to remove its temporary files after a SIGTERM, and a hook to tidy up.
pub const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether all are gone.
const POLL: Duration = Duration::from_millis(5);

/// The processes of the daemon. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Children(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    leaders: BTreeSet<i32>,
    /// Whether the daemon is ending: nothing is started any more.
    closed: bool,
}

/// One process with all that it started: a session and process group of its own. Dropping it ends them all.
#[derive(Debug)]
pub struct Group {
    /// `None` if and only if the process was waited for.
    child: Option<Child>,
    leader: Pid,
    children: Children,
}

impl Children {
    /// Starts a program in `directory` as the leader of a session of its own: it has no terminal to ask for passwords on,
    /// and no signal meant for the daemon reaches it. When the daemon dies, it gets a SIGTERM.
    ///
    /// # Errors
    /// When the program cannot be started, or [`Children::end_all`] was called.
    pub fn start(&self, command: &mut Command, directory: Option<OwnedFd>) -> io::Result<Group> {
        self.start_within(command, directory, Within::default())
    }

    /// Starts a program as [`Children::start`] does, with these bounds.
    ///
    /// # Errors
    /// As for [`Children::start`].
    pub(super) fn start_within(
        &self,
        command: &mut Command,
        directory: Option<OwnedFd>,
        within: Within,
    ) -> io::Result<Group> {
        if self.list().closed {
            return Err(io::Error::other("inosync is stopping"));
        }
        lead_session(command, directory, within, Tie::Daemon);
        let child = command.spawn()?;
        let leader = child.id().and_then(|id| Pid::from_raw(id as i32));
        let leader = leader.ok_or_else(|| io::Error::other("the process ended before it had a number"))?;
        self.list().leaders.insert(leader.as_raw_pid());
        Ok(Group { child: Some(child), leader, children: self.clone() })
    }

    /// Starts a program as [`Children::start`] does, but it goes on when this process dies, and nobody ends it. It inherits
    /// `holds`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_apart(command: &mut Command, directory: OwnedFd, holds: Option<OwnedFd>) -> io::Result<Child> {
        let within = Within { rules: None, inherits: holds.into_iter().collect() };
        lead_session(command, Some(directory), within, Tie::Apart);
        command.spawn()
    }

    /// Ends all, for good: SIGTERM, and after a grace time SIGKILL.
    pub async fn end_all(&self) {
        self.list().closed = true;
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            for leader in self.list().leaders.iter().filter_map(|&id| Pid::from_raw(id)) {
                // ESRCH: it ended by itself.
                let _ = kill_process_group(leader, signal);
            }
            let until = Instant::now() + patience;
            while !self.list().leaders.is_empty() && Instant::now() < until {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// The pipes of the process.
    pub fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        match &mut self.child {
            Some(child) => (child.stdin.take(), child.stdout.take(), child.stderr.take()),
            None => (None, None, None),
        }
    }

    /// The number of the process.
    pub fn id(&self) -> i32 {
        self.leader.as_raw_pid()
    }

    /// Ends the process and all that it started, at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends a signal to the process and all that it started.
    pub fn signal(&self, signal: Signal) {
        // ESRCH: it ended by itself.
        let _ = kill_process_group(self.leader, signal);
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// When it was waited for already.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let child = self.child.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let status = child.wait().await?;
        self.child = None;
        self.children.list().leaders.remove(&self.leader.as_raw_pid());
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let (leader, children) = (self.leader, self.children.clone());
        let _ = kill_process_group(leader, Signal::TERM);
        let reap = async move {
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                let _ = kill_process_group(leader, Signal::KILL);
                let _ = child.wait().await;
            }
            children.list().leaders.remove(&leader.as_raw_pid());
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(reap)),
            Err(_) => drop(kill_process_group(leader, Signal::KILL)),
        }
    }
}

/// What a process gets beside its standard input and output, and what is taken from it.
#[derive(Debug, Default)]
pub(super) struct Within {
    /// It may do what these rules allow, and no more (landlock(7)).
    pub rules: Option<RulesetCreated>,
    /// What it inherits, under the same numbers.
    pub inherits: Vec<OwnedFd>,
}

/// What binds a process to the one that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// It gets a SIGTERM when that dies.
    Daemon,
    /// Nothing.
    Apart,
}

/// Between fork and exec there is no safe way to run anything.
#[allow(unsafe_code)]
fn lead_session(command: &mut Command, directory: Option<OwnedFd>, within: Within, tie: Tie) {
    let daemon = rustix::process::getpid();
    let Within { mut rules, inherits } = within;
    let prepare = move || {
        rustix::process::setsid()?;
        if let Some(directory) = &directory {
            rustix::process::fchdir(directory)?;
        }
        for inherited in &inherits {
            rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::empty())?;
        }
        if tie == Tie::Daemon {
            // The signal follows the thread that forks: the main thread, which lives as long as the daemon.
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            if rustix::process::getppid() != Some(daemon) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        // Last: the program is all that it starts with.
        match rules.take().map(RulesetCreated::restrict_self) {
            Some(Err(_)) => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    };
    // SAFETY: `prepare` makes some system calls, all async-signal-safe, and allocates nothing: also `restrict_self` makes but
    // two, and closes the rules.
    unsafe { command.pre_exec(prepare) };
}
