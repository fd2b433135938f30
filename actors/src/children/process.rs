//! A process that was started, until its end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, PidfdFlags, WaitOptions, kill_process, pidfd_open, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A process that was started. Dropping it does not end it, and leaves no zombie.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    exit: ProcessExit,
    pipes: Pipes,
}

/// The daemon's ends of the pipes to a process, each taken once.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// The end of a process.
#[derive(Debug)]
struct ProcessExit {
    pid: Pid,
    source: ExitSource,
}

/// The source from which the daemon learns of the end of a process.
#[derive(Debug)]
enum ExitSource {
    /// The descriptor of the process (pidfd_open(2), Linux 5.3).
    Descriptor(AsyncFd<OwnedFd>),
    /// Any SIGCHLD.
    Signals(Signal),
    /// waitpid(2) told: nothing more is to come.
    Known(ExitStatus),
}

impl ChildProcess {
    /// A child for which nobody has waited.
    ///
    /// # Errors
    /// When neither a descriptor nor a signal can tell of the end of the process, which is killed.
    pub(super) fn new(pid: Pid, pipes: Pipes) -> io::Result<Self> {
        match ExitSource::of(pid) {
            Ok(source) => Ok(ChildProcess { exit: ProcessExit { pid, source }, pipes }),
            Err(error) => {
                kill_process(pid, rustix::process::Signal::KILL)?;
                waitpid(Some(pid), WaitOptions::empty())?;
                Err(error)
            }
        }
    }

    /// Returns the number of the process.
    pub(crate) fn pid(&self) -> Pid {
        self.exit.pid
    }

    /// Takes standard input, output and error output, as far as they are pipes.
    pub(crate) fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        let Pipes { stdin, stdout, stderr } = std::mem::take(&mut self.pipes);
        // What cannot be made non-blocking is no pipe.
        let stdin = stdin.and_then(|pipe| ChildStdin::from_std(pipe.into()).ok());
        let stdout = stdout.and_then(|pipe| ChildStdout::from_std(pipe.into()).ok());
        let stderr = stderr.and_then(|pipe| ChildStderr::from_std(pipe.into()).ok());
        (stdin, stdout, stderr)
    }

    /// Kills the process, by SIGKILL, if it has not been waited for.
    ///
    /// # Errors
    /// When kill(2) fails.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self.exit.source {
            ExitSource::Known(_) => Ok(()),
            _ => Ok(kill_process(self.exit.pid, rustix::process::Signal::KILL)?),
        }
    }

    /// Returns how the process ended, if it has.
    ///
    /// # Errors
    /// When waitpid(2) fails.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.exit.look()
    }

    /// Waits until the process ends. May be dropped and called again.
    ///
    /// # Errors
    /// As for [`ChildProcess::try_wait`].
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.exit.wait().await
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let (Ok(None), Ok(runtime)) = (self.exit.look(), tokio::runtime::Handle::try_current()) else { return };
        let known = ExitSource::Known(ExitStatus::default());
        let mut exit = ProcessExit { pid: self.exit.pid, source: std::mem::replace(&mut self.exit.source, known) };
        drop(runtime.spawn(async move { exit.wait().await }));
    }
}

impl ProcessExit {
    fn look(&mut self) -> io::Result<Option<ExitStatus>> {
        if let ExitSource::Known(status) = self.source {
            return Ok(Some(status));
        }
        let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG)? else { return Ok(None) };
        let status = ExitStatus::from_raw(status.as_raw());
        self.source = ExitSource::Known(status);
        Ok(Some(status))
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.look()? {
                return Ok(status);
            }
            match &mut self.source {
                ExitSource::Descriptor(descriptor) => descriptor.readable().await?.clear_ready(),
                ExitSource::Signals(signals) => drop(signals.recv().await),
                ExitSource::Known(_) => (),
            }
        }
    }
}

impl ExitSource {
    #[allow(unsafe_code)]
    fn of(pid: Pid) -> io::Result<Self> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            // SAFETY: the descriptor is owned, and closed with the `AsyncFd`.
            Ok(descriptor) => {
                Ok(ExitSource::Descriptor(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE)? }))
            }
            // An older kernel, or a filter of system calls.
            Err(_) => Ok(ExitSource::Signals(signal(SignalKind::child())?)),
        }
    }
}
