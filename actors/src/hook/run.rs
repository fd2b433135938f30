//! One run of a hook: starts the program without a shell, in `/` and in a session of its own, gives it the changed
//! paths, and ends it when it exceeds its time limit.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::process::ChildStdin;
use tokio::time::timeout;

use super::runner::Fault;
use super::{ChangeList, Occasion, fault_of};
use crate::children::program::{ChildProgram, ChildStdio};
use crate::children::{Children, GRACE, Group};
use crate::path::Escaped;
use crate::site::Hook;

/// Number of bytes that are kept of the first line on standard error.
const SAID: u64 = 300;
/// Time that standard error may stay open after the end of the program: a process that the program started may hold it
/// open.
const LINGER: Duration = Duration::from_millis(200);

/// The program with its input.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The program and its arguments.
    pub hook: Hook,
    /// The event that starts the program.
    pub occasion: Occasion,
    /// The node that received the changes; `None` if all nodes did.
    pub node: Option<String>,
    /// Path of the source.
    pub wpath: PathBuf,
    /// Changes that the program is told.
    pub list: Rc<ChangeList>,
    /// Time limit of the run.
    pub patience: Duration,
}

/// The result of a run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The kind of failure.
    pub fault: Fault,
    /// First line of standard error, for people.
    pub said: String,
}

impl Call {
    /// Runs the program to its end.
    ///
    /// # Errors
    /// When the program cannot be started, exceeds its time limit, or ends with an error.
    pub(crate) async fn run(self, children: Children) -> Result<(), Failed> {
        let not_started = |error: io::Error| {
            let program = &self.hook.program;
            let why = fault_of(program).map(|fault| format!("{} {fault}", Escaped(program.as_os_str().as_bytes())));
            Failed { fault: Fault::NotStarted(why.unwrap_or_else(|| error.to_string())), said: String::new() }
        };
        let mut group = self.start(&children).map_err(not_started)?;
        let (stdin, _, stderr) = group.pipes();
        let mut said = Vec::new();
        let ended = {
            let pipes = async {
                tokio::join!(tell(stdin, &self.list), first_line(stderr, &mut said));
            };
            let end = timeout(self.patience, group.wait());
            tokio::pin!(pipes, end);
            tokio::select! {
                ended = &mut end => {
                    let _ = timeout(LINGER, pipes).await;
                    ended
                }
                // The program may close its pipes and go on.
                () = &mut pipes => end.await,
            }
        };
        let fault = match ended {
            Ok(status) => fault(status.map_err(not_started)?),
            Err(_) => {
                end(&mut group).await;
                Some(Fault::TimedOut(self.patience))
            }
        };
        fault.map_or(Ok(()), |fault| Err(Failed { fault, said: Escaped(&said).to_string() }))
    }

    fn start(&self, children: &Children) -> io::Result<Group> {
        let mut program = ChildProgram::new(&self.hook.program);
        program.args(&self.hook.arguments);
        program.stdio(ChildStdio::Piped, ChildStdio::Null, ChildStdio::Piped);
        program.envs(self.environment()).env_remove("INOSYNC_NODE");
        program.envs(self.node.iter().map(|node| ("INOSYNC_NODE", node)));
        // Without read permission there, chdir(2) would do, and so does this.
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        children.start(program, Some(root))
    }

    fn environment(&self) -> [(&'static str, OsString); 8] {
        let ChangeList { tally, batches, .. } = &*self.list;
        let complete = if self.list.is_complete() { "1" } else { "0" };
        [
            ("INOSYNC_HOOK", self.occasion.name().into()),
            ("INOSYNC_WPATH", self.wpath.clone().into()),
            ("INOSYNC_SENT", tally.sent.to_string().into()),
            ("INOSYNC_DELETED", tally.deleted.to_string().into()),
            ("INOSYNC_BYTES", tally.bytes.to_string().into()),
            ("INOSYNC_BATCHES", batches.to_string().into()),
            ("INOSYNC_PATHS", self.list.len().to_string().into()),
            ("INOSYNC_COMPLETE", complete.into()),
        ]
    }
}

/// Writes the paths with a NUL after each, the root as `.`.
async fn tell(stdin: Option<ChildStdin>, list: &ChangeList) {
    let Some(stdin) = stdin else { return };
    let mut stdin = BufWriter::with_capacity(64 * 1024, stdin);
    for path in list.iter() {
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        // EPIPE: the program does not read its input.
        if stdin.write_all(name).await.is_err() || stdin.write_all(b"\0").await.is_err() {
            return;
        }
    }
    let _ = stdin.flush().await;
}

/// Reads the first line into `line`, and drops the rest, so that the program never blocks on a full pipe.
async fn first_line(output: Option<impl AsyncRead + Unpin>, line: &mut Vec<u8>) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    // A read error leaves the line as far as it was read.
    let _ = (&mut output).take(SAID).read_until(b'\n', line).await;
    line.truncate(line.trim_ascii_end().len());
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}

fn fault(status: ExitStatus) -> Option<Fault> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(Fault::Exit(code)),
        (None, signal) => Some(Fault::Signal(signal.unwrap_or_default())),
    }
}

/// Ends the program and all processes that it started: SIGTERM first, SIGKILL after [`GRACE`].
async fn end(group: &mut Group) {
    for signal in [Signal::TERM, Signal::KILL] {
        group.signal(signal);
        if timeout(GRACE, group.wait()).await.is_ok() {
            break;
        }
    }
    // Other processes of the group may have ignored the SIGTERM.
    group.kill();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::path::RelPath;
    use crate::transport::Tally;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn call(program: &str, arguments: &[&str], patience: Duration) -> Call {
        let mut list = ChangeList::default();
        [&b""[..], b"a\nb", b"d/\xff"].iter().for_each(|path| list.add(RelPath::new(path).unwrap()));
        list.count(Tally { sent: 2, deleted: 1, bytes: 77, ..Tally::default() });
        let arguments = arguments.iter().map(|word| word.to_string()).collect();
        Call {
            hook: Hook { program: program.into(), arguments },
            occasion: Occasion::Synced,
            node: Some("h:".to_owned()),
            wpath: "/src".into(),
            list: Rc::new(list),
            patience,
        }
    }

    fn failed(fault: Fault, said: &str) -> Result<(), Failed> {
        Err(Failed { fault, said: said.to_owned() })
    }

    #[tokio::test]
    async fn it_is_told_on_its_input_and_in_its_environment() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out").display().to_string();
        let script = "cat > \"$1\"; { pwd; env | grep ^INOSYNC_ | sort; } > \"$1\".env";
        let run = call("/bin/sh", &["-c", script, "sh", &out], PATIENCE).run(Children::default());
        assert_eq!(run.await, Ok(()));
        assert_eq!(fs::read(&out).unwrap(), b".\0a\nb\0d/\xff\0");
        let told = fs::read_to_string(out + ".env").unwrap();
        let expected = "/\nINOSYNC_BATCHES=1\nINOSYNC_BYTES=77\nINOSYNC_COMPLETE=1\nINOSYNC_DELETED=1\n\
            INOSYNC_HOOK=on_synced\nINOSYNC_NODE=h:\nINOSYNC_PATHS=3\nINOSYNC_SENT=2\nINOSYNC_WPATH=/src\n";
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn a_failure_is_told_with_the_first_line_of_what_it_said() {
        for (script, expected) in [
            ("exit 0", Ok(())),
            ("exec <&- >&- 2>&-; exit 0", Ok(())),
            ("printf 'no \\033 cache\\nmore\\n' >&2; exit 3", failed(Fault::Exit(3), "no \\x1b cache")),
            ("exec <&- >&- 2>&-; exit 4", failed(Fault::Exit(4), "")),
            ("kill -9 $$", failed(Fault::Signal(9), "")),
            ("sleep 3 & echo one >&2; exit 5", failed(Fault::Exit(5), "one")),
        ] {
            let start = Instant::now();
            let result = call("/bin/sh", &["-c", script], PATIENCE).run(Children::default()).await;
            assert_eq!((result, start.elapsed() < PATIENCE / 2), (expected, true), "{script}");
        }
        let result = call("/no/such", &[], PATIENCE).run(Children::default()).await;
        assert!(matches!(result, Err(Failed { fault: Fault::NotStarted(_), .. })), "{result:?}");
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("ended").display().to_string();
        let begun = dir.path().join("begun").display().to_string();
        let mut patience = Duration::from_millis(300);
        for first in ["", "exec <&- 2>&-; "] {
            let script = format!("{first}trap 'echo > \"$1\"; exit' TERM; echo > \"$2\"; sleep 1000 & wait");
            loop {
                let run = call("/bin/sh", &["-c", &script, "sh", &mark, &begun], patience).run(Children::default());
                assert_eq!(run.await, failed(Fault::TimedOut(patience), ""), "{script}");
                if fs::remove_file(&begun).is_ok() {
                    break;
                }
                // The machine is busy: the script was ended before it could set its trap.
                patience *= 2;
            }
            assert!(fs::remove_file(&mark).is_ok(), "{script}: it was not asked to end");
        }
        let deaf = call("/bin/sh", &["-c", "trap '' TERM; while :; do sleep 0.1; done"], patience);
        assert_eq!(deaf.run(Children::default()).await, failed(Fault::TimedOut(patience), ""));
    }
}
