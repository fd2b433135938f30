//! One rsync process: started, perhaps left waiting for its list, fed, and read to its end. What the end means is for
//! others.

mod line;
mod watch;

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, setpriority_pgrp};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use self::watch::{Life, Subject, stalled};
pub use self::watch::{PATIENCE, Patience};
use super::children::{Children, Group};
use super::greeting::Greeting;
use super::noise::is_noise;
use super::recipe::Invocation;
use super::staging::Stage;
use super::unset::is_unset;

/// What is kept of the error output; the rest is read and dropped.
const STDERR_LIMIT: usize = 256 * 1024;
/// Stands for what was dropped: a complaint that names no path, so that none passes for delivered.
pub(super) const MORE_WAS_SAID: &[u8] = b"\nrsync: more was said than is kept\n";
/// What is kept of complaints about attributes: there may be one for each entry of the tree, and what did not arrive must
/// still be told.
const ATTRIBUTES_LIMIT: usize = STDERR_LIMIT / 2;
/// Stands for those that were dropped.
pub(super) const MORE_ATTRIBUTES: &[u8] = b"rsync: more attributes could not be set than are told\n";
/// How long after rsync's end its output may stay open: whatever it started may hold it and live on.
const LINGER: Duration = Duration::from_millis(200);

/// The lowest priority (nice(1)); that of the disk follows it (ioprio_set(2)).
const LOWEST: i32 = 19;

/// What rsync says with [`Process::DEBUG`] when all work is done and it only waits for its children. It looks for their end
/// every 20 ms (rsync's `wait_process_with_flush`).
const WORKED: &[u8] = b"client_run waiting on ";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// rsync's exit code (rsync(1), EXIT VALUES).
    Exit(i32),
    /// The signal that ended it.
    Signal(i32),
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How.
    pub code: Code,
    /// What rsync said on its error output.
    pub stderr: Vec<u8>,
}

/// What an rsync that is connected has learned of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The protocol that it speaks.
    pub protocol: u32,
}

/// An rsync that was started and waits for its list. Dropping it ends it before it could take the end of its input for
/// the end of a list.
#[derive(Debug)]
pub struct Process {
    group: Group,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<ChildStderr>,
    /// What came of a line that is not complete.
    partial: Vec<u8>,
    /// Whether rsync says when the other end has answered: what comes before that is not rsync's own.
    greets: bool,
    /// What it said of that.
    greeting: Option<Greeting>,
    /// The directory that it works in, if it has one of its own: removed after its end.
    stage: Option<Stage>,
    /// The process whose connection it uses, if it is not its own or that of one that it started.
    carrier: Option<i32>,
    started: Instant,
    /// What it had read then, if it was left waiting.
    read: Option<u64>,
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
    let process = Process::start(children, program, directory, &invocation.arguments)?;
    process.finish(&invocation.list, Patience::of(PATIENCE), line, || ()).await
}

impl Process {
    /// The option that makes rsync say that it is connected and that its work is done. It is not passed to the other end.
    pub const DEBUG: &str = "--debug=PROTO,EXIT2";

    /// Starts `program` in `directory`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        children: &Children,
        program: &Path,
        directory: Option<OwnedFd>,
        arguments: &[OsString],
    ) -> io::Result<Process> {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").env("SSH_ASKPASS_REQUIRE", "never");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = children.start(&mut command, directory)?;
        let (stdin, stdout, stderr) = group.pipes();
        let stdout = stdout.map(BufReader::new);
        let greets = arguments.iter().any(|word| word == Process::DEBUG);
        Ok(Process {
            group,
            stdin,
            stdout,
            stderr,
            partial: Vec::new(),
            greets,
            greeting: None,
            stage: None,
            carrier: None,
            started: Instant::now(),
            read: None,
        })
    }

    /// The same, which works in a directory of its own.
    pub fn in_stage(mut self, stage: Stage) -> Process {
        self.stage = Some(stage);
        self
    }

    /// The same, over the connection of another process, if it is over one.
    pub fn over(mut self, carrier: Option<i32>) -> Process {
        self.carrier = carrier;
        self
    }

    /// The process whose connection it uses, if it is not its own.
    pub fn carrier(&self) -> Option<i32> {
        self.carrier
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether both ends have greeted each other.
    pub fn has_greeted(&self) -> bool {
        self.greeting.is_some()
    }

    /// The directory of its own, if it has one.
    pub fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    /// The number of the process.
    pub fn id(&self) -> i32 {
        self.group.id()
    }

    /// Whatever else wants the processor or the disk goes first.
    pub fn yield_to_others(&self) {
        // ESRCH: it ended already. Less than before is always allowed.
        let _ = setpriority_pgrp(Pid::from_raw(self.id()), LOWEST);
    }

    /// Waits while nothing is fed to it, until it is connected (`Some`) or ends (`None`). May be dropped and called again.
    pub async fn idle(&mut self) -> Option<Connected> {
        loop {
            match self.idle_line().await {
                Ok(Some(said)) => match Greeting::read(&said) {
                    Some(greeting @ Greeting::Protocol(protocol)) => {
                        (self.greeting, self.read) = (Some(greeting), Life::read(self.id()));
                        return Some(Connected { protocol });
                    }
                    // It ends by itself.
                    Some(Greeting::Text(_)) | None => (),
                },
                Ok(None) | Err(_) => return None,
            }
        }
    }

    async fn idle_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(stdout) = &mut self.stdout else { return Ok(None) };
        let read = stdout.read_until(b'\n', &mut self.partial).await?;
        Ok((read > 0).then(|| std::mem::take(&mut self.partial)))
    }

    /// Feeds the list and waits for the end; each line of output goes to `line`, without the newline. `worked` is called
    /// when rsync says that its work is done and has complained of nothing. A run that hangs for longer than `patience` is
    /// ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn finish(
        mut self,
        list: &[u8],
        patience: Patience,
        mut line: impl FnMut(&[u8]),
        worked: impl FnOnce(),
    ) -> io::Result<Finished> {
        let said = Complaints::default();
        // A complaint may be on its way to us when the end of the work has come already.
        let unheard = self.stderr.as_ref().and_then(|stderr| stderr.as_fd().try_clone_to_owned().ok());
        let is_heard =
            || unheard.as_ref().is_some_and(|pipe| rustix::io::ioctl_fionread(pipe).is_ok_and(|left| left == 0));
        let (mut hangs, mut greeting, greets) = (None, self.greeting, self.greets);
        let greeted = Cell::new(greeting.is_some());
        let subject = Subject { process: self.group.id(), carrier: self.carrier, read: self.read, list: list.len() };
        let status = {
            let stdin = &mut self.stdin;
            let feed = async {
                if let Some(open) = stdin {
                    // EPIPE: rsync ended early; its code tells why.
                    let _ = open.write_all(list).await;
                }
                // Complete: the end of the input is the end of the list.
                stdin.take();
            };
            let mut worked = Some(worked);
            let line = |text: &[u8]| match text {
                text if text.starts_with(WORKED) => {
                    if let Some(worked) = worked.take().filter(|_| is_heard() && said.is_empty()) {
                        worked();
                    }
                }
                text => {
                    greeting = greeting.or_else(|| Greeting::read(text));
                    greeted.set(greeting.is_some());
                    // Else it is the greeting of somebody else: a message of the day.
                    if greeting.is_some() || !greets {
                        line(text);
                    }
                }
            };
            let partial = std::mem::take(&mut self.partial);
            // A carriage return comes before what rsync says of its progress; in names it is escaped.
            let lines = read_lines(self.stdout.take(), partial, b"\n\r", line);
            let pipes = async { tokio::join!(said.listen(self.stderr.take()), lines, feed) };
            tokio::pin!(pipes);
            tokio::select! {
                _ = &mut pipes => self.group.wait().await?,
                stall = stalled(subject, patience, || greeted.get()) => {
                    hangs = Some(stall);
                    self.group.kill();
                    self.group.wait().await?
                }
                status = self.group.wait() => {
                    // Past the linger time somebody else holds the pipe: what rsync itself said has been read.
                    let _ = tokio::time::timeout(LINGER, &mut pipes).await;
                    status?
                }
            }
        };
        let stderr = hangs.map_or_else(|| said.text.take(), |stall| stall.words().as_bytes().to_vec());
        let mut finished = Finished { code: code(status), stderr };
        if let (Code::Exit(code), Some(greeting)) = (finished.code, greeting)
            && let Some(complaint) = greeting.complaint(code)
        {
            finished.stderr.splice(0..0, complaint.into_bytes());
        }
        Ok(finished)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            self.group.kill();
        }
    }
}

/// What rsync says on its error output.
#[derive(Default)]
struct Complaints {
    text: RefCell<Vec<u8>>,
    dropped: Cell<bool>,
    attributes: Cell<usize>,
}

impl Complaints {
    fn is_empty(&self) -> bool {
        self.text.borrow().is_empty()
    }

    async fn listen(&self, output: Option<impl AsyncRead + Unpin>) {
        read_lines(output, Vec::new(), b"\n", |line| {
            let mut text = self.text.borrow_mut();
            if is_noise(line) {
                return;
            }
            let attributes = self.attributes.get() + if is_unset(line) { line.len() + 1 } else { 0 };
            let was_full = self.attributes.replace(attributes) > ATTRIBUTES_LIMIT;
            if attributes > ATTRIBUTES_LIMIT && is_unset(line) {
                text.extend(if was_full { b"" } else { MORE_ATTRIBUTES });
            } else if text.len() + line.len() < STDERR_LIMIT {
                text.extend([line, b"\n"].concat());
            } else if !self.dropped.replace(true) {
                text.extend(MORE_WAS_SAID);
            }
        })
        .await;
    }
}

pub(super) fn code(status: ExitStatus) -> Code {
    match (status.code(), status.signal()) {
        (Some(code), _) => Code::Exit(code),
        (None, signal) => Code::Signal(signal.unwrap_or(0)),
    }
}

/// Hands each line to `line`, without what ended it: one of the bytes of `ends`, or the end of the output. `buffer` is what
/// came of the first one already.
async fn read_lines(
    output: Option<impl AsyncRead + Unpin>,
    mut buffer: Vec<u8>,
    ends: &[u8],
    mut line: impl FnMut(&[u8]),
) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    while let Ok(mut read @ [_, ..]) = output.fill_buf().await {
        let count = read.len();
        while let Some(end) = read.iter().position(|byte| ends.contains(byte)) {
            buffer.extend(&read[..end]);
            line(&buffer);
            buffer.clear();
            read = &read[end + 1..];
        }
        buffer.extend(read);
        output.consume(count);
    }
    if !buffer.is_empty() {
        line(&buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_handed_over_whole_however_they_come() {
        for (ends, expected) in [
            (&b"\n"[..], &[&b"one, two"[..], b"\rthree\rfour", b"", b"five"][..]),
            (b"\n\r", &[b"one, two", b"", b"three", b"four", b"", b"five"]),
        ] {
            let (mut near, far) = tokio::io::duplex(3);
            let writes = async move {
                near.write_all(b" two\n\rthree\rfour\n\nfive").await.unwrap();
            };
            let mut lines = Vec::new();
            let reads = read_lines(Some(far), b"one,".to_vec(), ends, |line| lines.push(line.to_vec()));
            tokio::join!(writes, reads);
            assert_eq!(lines, expected);
        }
    }

    #[tokio::test]
    async fn what_comes_before_the_greeting_is_not_read_as_rsyncs_own_words() {
        let greeting = "(Client) Protocol versions: remote=32, negotiated=32";
        let script =
            format!("echo created by the operations team; echo '*deleting|0|0|f'; echo '{greeting}'; echo own");
        for (option, expected) in [
            (Process::DEBUG, &[greeting, "own"][..]),
            ("--version", &["created by the operations team", "*deleting|0|0|f", greeting, "own"]),
        ] {
            let arguments = ["-c", &script, option].map(OsString::from).to_vec();
            let mut lines = Vec::new();
            let line = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
            let invocation = Invocation { arguments, list: Vec::new() };
            run(&Children::default(), Path::new("/bin/sh"), None, invocation, line).await.unwrap();
            assert_eq!(lines, expected, "{option}");
        }
    }
}
