//! The reading end of a pipe, for what another program writes in many small pieces.
//!
//! The pipe is registered with epoll(7) only while somebody waits for it. tokio registers it for good, edge-triggered, and a pipe
//! that is registered so wakes the thread with each write(2) of the other program, though nobody reads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{ChildStderr, ChildStdout};

use crate::read_pace::Supply;

/// A pipe that cannot be registered is read again after so long.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The reading end of a pipe.
#[derive(Debug)]
pub(crate) struct PipeReader(OwnedFd);

impl PipeReader {
    /// Takes over standard output and error output of a process.
    ///
    /// # Errors
    /// When a pipe cannot be made non-blocking.
    pub(super) fn of_both(
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    ) -> io::Result<(Option<PipeReader>, Option<PipeReader>)> {
        let stdout = stdout.map(|stdout| PipeReader::of(stdout.into_owned_fd()?)).transpose()?;
        let stderr = stderr.map(|stderr| PipeReader::of(stderr.into_owned_fd()?)).transpose()?;
        Ok((stdout, stderr))
    }

    /// Takes over a pipe of which nobody else has this end.
    ///
    /// # Errors
    /// When the pipe cannot be made non-blocking.
    pub(super) fn of(pipe: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(PipeReader(pipe))
    }

    /// Waits for something and reads it; 0 bytes at the end. Nothing is lost when this is dropped and called again.
    ///
    /// # Errors
    /// When read(2) fails, or the runtime ends.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Supply)> {
        let mut supply = Supply::Something;
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Ok(read) if read == buffer.len() => return Ok((read, Supply::Plenty)),
                Ok(read) => return Ok((read, supply)),
                Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => {
                    supply = Supply::Nothing;
                    self.readable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[allow(unsafe_code)]
    async fn readable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is borrowed, and stays open for longer than it is registered.
        match unsafe { AsyncFd::register_with_interest(self.0.as_fd(), Interest::READABLE) } {
            Ok(registered) => registered.readable().await?.retain_ready(),
            // ENOSPC or ENOMEM of epoll_ctl(2): the output has not ended for that.
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
        Ok(())
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
