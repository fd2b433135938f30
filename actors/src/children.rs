//! Starts rsync and the user's hooks so that they never outlive the daemon, and ends them together with all processes
//! that they started.

pub(crate) mod process;
pub(crate) mod program;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use self::process::ChildProcess;
use self::program::{ChildProgram, Confinement, Surroundings, Tie};

/// Time that rsync has after a SIGTERM to remove its temporary files, and that a hook has to clean up.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// Interval between checks that all processes have ended.
const POLL: Duration = Duration::from_millis(5);

/// The running child processes of the daemon. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Children(Arc<Mutex<ChildList>>);

#[derive(Debug, Default)]
struct ChildList {
    leaders: BTreeSet<i32>,
    /// `true` once the daemon is ending, after which no process is started.
    closed: bool,
}

/// A process and all processes that it started: a session and process group of its own. Dropping the group ends all of
/// them, by SIGTERM and, after [`GRACE`], by SIGKILL.
#[derive(Debug)]
pub(crate) struct Group {
    /// `None` if and only if [`Group::wait`] has returned the exit status.
    child: Option<ChildProcess>,
    leader: Pid,
    children: Children,
}

impl Children {
    /// Starts a program in `directory` as the leader of a session of its own: the program has no terminal on which to
    /// ask for passwords, and receives no signals meant for the daemon. When the daemon dies, the program gets a
    /// SIGTERM.
    ///
    /// # Errors
    /// When the program cannot be started, or after [`Children::end_all`].
    pub(crate) fn start(&self, program: ChildProgram, directory: Option<OwnedFd>) -> io::Result<Group> {
        self.start_within(program, directory, Confinement::default())
    }

    /// Starts a program like [`Children::start`], confined and with the inherited descriptors of `within`.
    ///
    /// # Errors
    /// As for [`Children::start`].
    pub(super) fn start_within(
        &self,
        program: ChildProgram,
        directory: Option<OwnedFd>,
        within: Confinement,
    ) -> io::Result<Group> {
        if self.list().closed {
            return Err(io::Error::other("inosync is stopping"));
        }
        let child = program.start(&Surroundings { directory, within, tie: Tie::Daemon })?;
        let leader = child.pid();
        let mut list = self.list();
        list.leaders.insert(leader.as_raw_pid());
        let is_late = list.closed;
        drop(list);
        let group = Group { child: Some(child), leader, children: self.clone() };
        if is_late {
            // Another thread has ended all meanwhile, and did not see this one.
            group.kill();
            return Err(io::Error::other("inosync is stopping"));
        }
        Ok(group)
    }

    /// Starts a program like [`Children::start`], except that the program outlives this process and is ended by nobody.
    /// The program inherits the descriptor `holds`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn start_apart(
        program: ChildProgram,
        directory: OwnedFd,
        holds: Option<OwnedFd>,
    ) -> io::Result<ChildProcess> {
        let within = Confinement { rules: None, inherits: holds.into_iter().collect() };
        program.start(&Surroundings { directory: Some(directory), within, tie: Tie::Apart })
    }

    /// Asks the processes of this leader to end, by SIGTERM.
    pub(crate) fn end(&self, leader: i32) {
        let is_ours = self.list().leaders.contains(&leader);
        if let Some(leader) = Pid::from_raw(leader).filter(|_| is_ours) {
            // ESRCH: the group has ended by itself.
            let _ = kill_process_group(leader, Signal::TERM);
        }
    }

    /// Ends all processes and lets no other one start: SIGTERM first, SIGKILL after [`GRACE`].
    pub async fn end_all(&self) {
        self.list().closed = true;
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            for leader in self.list().leaders.iter().filter_map(|&id| Pid::from_raw(id)) {
                // ESRCH: the group has ended by itself.
                let _ = kill_process_group(leader, signal);
            }
            let until = Instant::now() + patience;
            while !self.list().leaders.is_empty() && Instant::now() < until {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, ChildList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Takes standard input, output and error of the process.
    pub(crate) fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        match &mut self.child {
            Some(child) => child.pipes(),
            None => (None, None, None),
        }
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> i32 {
        self.leader.as_raw_pid()
    }

    /// Kills the process and all processes that it started, by SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Ends the process and all processes that it started, and waits for that: by SIGTERM, so that a receiver on this machine
    /// removes what it has not completed, and after [`GRACE`] by SIGKILL.
    ///
    /// # Errors
    /// As for [`Group::wait`].
    pub(crate) async fn end(&mut self) -> io::Result<ExitStatus> {
        let until = Instant::now() + GRACE;
        self.signal(Signal::TERM);
        let ended = tokio::time::timeout(GRACE, self.wait()).await;
        // The leader may be gone before the others have removed anything.
        while test_kill_process_group(self.leader).is_ok() && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
        self.kill();
        match ended {
            Ok(ended) => ended,
            Err(_) => self.wait().await,
        }
    }

    /// Sends a signal to the process and all processes that it started.
    pub(crate) fn signal(&self, signal: Signal) {
        // ESRCH: the group has ended by itself.
        let _ = kill_process_group(self.leader, signal);
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// When the process was waited for before, or waitpid(2) fails.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
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
        let leader = self.leader;
        let children = self.children.clone();
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

#[cfg(test)]
mod tests;
