//! A process that goes on when inosync is killed. The rsync that removes a probe waits for the end of its input, which is
//! that of all who hold the other end: inosync, and the rsync that writes the probe. So the removal comes last, whoever dies.
//!
//! It is not confined: the probe is in a directory that nobody else can write, and its remote shell must outlive inosync.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::MemfdFlags;

use crate::children::Children;
use crate::children::process::ChildProcess;
use crate::children::program::{ChildProgram, ChildStdio};
use crate::rsync::report::noise::is_noise;
use crate::rsync::runner::greeting::Greeting;
use crate::rsync::runner::process::{ENVIRONMENT, Finished, code};

/// The interval at which the output of the process is read.
const POLL: Duration = Duration::from_millis(5);

/// The most that it may say, in bytes: some lines about a probe.
const MOST: u64 = 16 * 1024 * 1024;

/// The process. Its output goes to files without a name: a pipe would break with inosync.
#[derive(Debug)]
pub(crate) struct Apart {
    child: ChildProcess,
    stdout: File,
    stderr: File,
    /// `None` once the list is at its end.
    input: Option<PipeWriter>,
}

/// The result of a process, with its standard output.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The end of the process, with its error output.
    pub finished: Finished,
    pub stdout: Vec<u8>,
}

impl Ended {
    /// The lines of its output.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.stdout.split(|&byte| byte == b'\n')
    }
}

impl Apart {
    /// Starts a process that has the list, and waits for its end, which comes by [`Apart::release`] or when all are dead who
    /// hold it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn waiting(
        program: &Path,
        directory: OwnedFd,
        arguments: &[OsString],
        list: &[u8],
    ) -> io::Result<Apart> {
        let (reader, mut input) = io::pipe()?;
        // It fits into the pipe, so nobody has to read yet.
        input.write_all(list)?;
        let mut apart = Apart::start(program, directory, arguments, reader.into(), None)?;
        apart.input = Some(input);
        Ok(apart)
    }

    /// Starts a process that has the whole list. It holds the input of `after`, which therefore goes on after it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn before(
        after: Option<&Apart>,
        program: &Path,
        directory: OwnedFd,
        arguments: &[OsString],
        list: &[u8],
    ) -> io::Result<Apart> {
        let holds = after.and_then(|after| after.input.as_ref()).map(PipeWriter::try_clone).transpose()?;
        let mut whole = nameless()?;
        whole.write_all(list)?;
        whole.seek(SeekFrom::Start(0))?;
        Apart::start(program, directory, arguments, whole.into(), holds.map(OwnedFd::from))
    }

    fn start(
        program: &Path,
        directory: OwnedFd,
        arguments: &[OsString],
        stdin: OwnedFd,
        holds: Option<OwnedFd>,
    ) -> io::Result<Apart> {
        let stdout = nameless()?;
        let stderr = nameless()?;
        let mut command = ChildProgram::new(program);
        command.args(arguments).envs(ENVIRONMENT);
        let [output, errors] =
            [&stdout, &stderr].map(|file| file.try_clone().map(|file| ChildStdio::Given(file.into())));
        command.stdio(ChildStdio::Given(stdin), output?, errors?);
        let child = Children::start_apart(command, directory, holds)?;
        Ok(Apart { child, stdout, stderr, input: None })
    }

    /// Waits until it is connected: `true`, or has ended before: `false`.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub(crate) async fn connected(&mut self) -> io::Result<bool> {
        loop {
            let has_ended = self.child.try_wait()?.is_some();
            self.bound()?;
            if content(&self.stdout)?.split(|&byte| byte == b'\n').any(|line| Greeting::read(line).is_some()) {
                return Ok(!has_ended);
            }
            if has_ended {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends its input, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) async fn release(&mut self) -> io::Result<Ended> {
        self.input.take();
        let status = loop {
            match tokio::time::timeout(POLL, self.child.wait()).await {
                Ok(status) => break status?,
                Err(_) => self.bound()?,
            }
        };
        let said = content(&self.stderr)?;
        let telling: Vec<&[u8]> = said.split(|&byte| byte == b'\n').filter(|line| !is_noise(line)).collect();
        let finished = Finished { code: code(status), stderr: telling.join(&b'\n') };
        Ok(Ended { finished, stdout: content(&self.stdout)? })
    }
}

impl Apart {
    /// Ends the process if it says more than is read: its output is in memory.
    fn bound(&mut self) -> io::Result<()> {
        for output in [&self.stdout, &self.stderr] {
            if output.metadata()?.len() > MOST {
                self.child.kill()?;
            }
        }
        Ok(())
    }
}

fn nameless() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("inosync", MemfdFlags::CLOEXEC)?.into())
}

/// All that was written, from the start: the writer has a position of its own only as long as nobody else seeks.
fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> OwnedFd {
        File::open("/").unwrap().into()
    }

    fn shell(script: &str) -> Vec<OsString> {
        ["-c", script].map(OsString::from).into()
    }

    #[tokio::test]
    async fn the_one_that_waits_goes_on_after_the_one_that_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = |word: &str, before: &str| shell(&format!("{before}; echo {word} >> {}", log.display()));
        let sh = Path::new("/bin/sh");
        let mut last = Apart::waiting(sh, here(), &script("last", "cat >/dev/null"), b"list").unwrap();
        let mut first = Apart::before(Some(&last), sh, here(), &script("first", "sleep 0.2"), b"").unwrap();
        // As if inosync had died.
        last.input.take();
        assert_eq!(last.release().await.unwrap().finished.code, crate::rsync::runner::process::Code::Exit(0));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\nlast\n");
        first.release().await.unwrap();
    }

    #[tokio::test]
    async fn what_it_says_is_kept() {
        let arguments = shell("cat; echo wrong >&2; exit 3");
        let mut apart = Apart::before(None, Path::new("/bin/sh"), here(), &arguments, b"a\nb\n").unwrap();
        let ended = apart.release().await.unwrap();
        assert_eq!(ended.lines().collect::<Vec<_>>(), [&b"a"[..], b"b", b""]);
        assert_eq!(ended.finished.stderr, b"wrong");
        assert_eq!(ended.finished.code, crate::rsync::runner::process::Code::Exit(3));
    }
}
