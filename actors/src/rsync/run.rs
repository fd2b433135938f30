//! Runs rsync once: feeds its list, reads what it says, waits for its end. What the end means is for others.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::children::Children;
use super::recipe::Invocation;

/// What is kept of the error output; the rest is read and dropped.
const STDERR_LIMIT: u64 = 256 * 1024;
/// Stands for what was dropped: a complaint that names no path, so that none passes for delivered.
const MORE_WAS_SAID: &[u8] = b"\nrsync: more was said than is kept\n";
/// How long after rsync's end its output may stay open: a master connection of ssh inherits it and lives on.
const LINGER: Duration = Duration::from_millis(200);

/// A run without any system call that reads or writes for so long hangs: rsync sends keep-alives every half of its
/// `--timeout`, and that option does not cover a sender that waits to open a file, such as a FIFO.
const STALL: Duration = Duration::from_secs(180);
/// How often that is looked at.
const STALL_POLL: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// rsync's exit code (rsync(1), EXIT VALUES).
    Exit(i32),
    /// The signal that ended it.
    Signal(i32),
}

/// A run that ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub code: Code,
    /// What rsync said on its error output.
    pub stderr: Vec<u8>,
}

/// Runs `program` in `directory`; each line of its output goes to `line`, without the newline.
///
/// # Errors
/// When the program cannot be started.
pub async fn run(
    children: &Children,
    program: &Path,
    directory: Option<OwnedFd>,
    invocation: Invocation,
    line: impl FnMut(&[u8]),
) -> io::Result<Finished> {
    let mut command = Command::new(program);
    command.args(&invocation.arguments).env("LC_ALL", "C").env("SSH_ASKPASS_REQUIRE", "never");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = children.start(&mut command, directory)?;
    let (stdin, stdout, stderr) = group.pipes();
    let (mut said, mut hangs) = (Vec::new(), false);
    let status = {
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // EPIPE: rsync ended early; its code tells why.
                let _ = stdin.write_all(&invocation.list).await;
            }
        };
        let pipes = async { tokio::join!(feed, read_lines(stdout, line), read_some(stderr, &mut said)) };
        tokio::pin!(pipes);
        tokio::select! {
            _ = &mut pipes => group.wait().await?,
            () = stalled(group.id()) => {
                hangs = true;
                group.kill();
                group.wait().await?
            }
            status = group.wait() => {
                // Past the linger time somebody else holds the pipe: what rsync itself said has been read.
                let _ = tokio::time::timeout(LINGER, &mut pipes).await;
                status?
            }
        }
    };
    if hangs {
        said = b"io timeout: rsync did nothing for a long time, and was ended".to_vec();
    }
    Ok(Finished { code: code(status), stderr: said })
}

/// Returns when the process does nothing any more.
async fn stalled(process: i32) {
    let counters = || std::fs::read_to_string(format!("/proc/{process}/io")).ok();
    let (mut last, mut since) = (counters(), Instant::now());
    loop {
        tokio::time::sleep(STALL_POLL).await;
        let now = counters();
        if now != last {
            (last, since) = (now, Instant::now());
        } else if now.is_some() && since.elapsed() >= STALL {
            return;
        }
    }
}

fn code(status: ExitStatus) -> Code {
    match (status.code(), status.signal()) {
        (Some(code), _) => Code::Exit(code),
        (None, signal) => Code::Signal(signal.unwrap_or(0)),
    }
}

async fn read_lines(output: Option<impl AsyncRead + Unpin>, mut line: impl FnMut(&[u8])) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut buffer = Vec::new();
    while output.read_until(b'\n', &mut buffer).await.is_ok_and(|read| read > 0) {
        line(buffer.strip_suffix(b"\n").unwrap_or(&buffer));
        buffer.clear();
    }
}

async fn read_some(output: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    // A pipe that cannot be read any further has ended.
    let _ = (&mut output).take(STDERR_LIMIT).read_to_end(said).await;
    let dropped = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    if dropped.is_ok_and(|bytes| bytes > 0) {
        said.extend(MORE_WAS_SAID);
    }
}
