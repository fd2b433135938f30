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

/// A process that was started. Dropping it does not end it; within a runtime it leaves no zombie.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    exit: ProcessExit,
    pipes: Pipes,
}

/// The daemon's ends of the pipes to a process, as they were made.
#[derive(Debug, Default)]
pub(super) struct RawPipes {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// Standard input, output and error output of a process, as far as they are pipes.
type Pipes = (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

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
    /// When the daemon cannot listen to the end of the process or to its pipes. The process is killed before its input ends: an
    /// rsync would take that for the end of a list.
    pub(super) fn new(pid: Pid, pipes: RawPipes) -> io::Result<Self> {
        let listen = || Ok((ExitSource::of(pid)?, pipes.register()?));
        match listen() {
            Ok((source, registered)) => Ok(ChildProcess { exit: ProcessExit { pid, source }, pipes: registered }),
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
    pub(crate) fn pipes(&mut self) -> Pipes {
        std::mem::take(&mut self.pipes)
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

impl RawPipes {
    /// Registers copies, so that the pipes stay open when one of them cannot be registered.
    fn register(&self) -> io::Result<Pipes> {
        let copy = |pipe: &Option<OwnedFd>| pipe.as_ref().map(OwnedFd::try_clone).transpose();
        let stdin = copy(&self.stdin)?.map(|pipe| ChildStdin::from_std(pipe.into())).transpose()?;
        let stdout = copy(&self.stdout)?.map(|pipe| ChildStdout::from_std(pipe.into())).transpose()?;
        let stderr = copy(&self.stderr)?.map(|pipe| ChildStderr::from_std(pipe.into())).transpose()?;
        Ok((stdin, stdout, stderr))
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
