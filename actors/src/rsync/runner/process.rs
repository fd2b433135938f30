//! One rsync process: started, perhaps left waiting for its list, fed, and read to its end. What the end means is for
//! others.

mod heard;
mod input;
mod lines;
mod pipe_reader;
mod tcp;
mod watch;

use std::cell::Cell;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::process::ChildStdin;
use tokio::sync::oneshot;

pub(crate) use self::heard::MORE_ATTRIBUTES;
use self::heard::{ErrorOutput, Talk, listen};
pub(crate) use self::input::Input;
use self::lines::{Lines, Text};
use self::pipe_reader::PipeReader;
use self::watch::{Life, Reply, Stall, Subject, stalled};
pub(crate) use self::watch::{PATIENCE, Patience};
use crate::children::program::{ChildProgram, ChildStdio, Confinement};
use crate::children::{Children, Group};
use crate::rsync::recipe::Invocation;
use crate::rsync::report::claims::Bearing;
use crate::rsync::runner::confine::{Bounds, RuleSources};
use crate::rsync::runner::greeting::Greeting;
use crate::rsync::runner::{priority, shell};
use crate::rsync::staging::Stage;

/// The time after rsync's end for which its output may stay open: whatever it started may hold it and live on.
const LINGER: Duration = Duration::from_millis(200);

/// The most that is read of an rsync that waits and is not greeted, in bytes: a message of the day is short.
const IDLE_TALK: u64 = 1024 * 1024;

/// The environment of rsync and of a remote shell: words that can be read, and nobody who is asked for a password.
pub(crate) const ENVIRONMENT: [(&str, &str); 2] = [("LC_ALL", "C"), ("SSH_ASKPASS_REQUIRE", "never")];

/// The line of rsync with [`Process::DEBUG`] when all work is done and rsync only waits for its children. It looks for
/// their end every 20 ms (rsync's `wait_process_with_flush`).
const WORKED: &[u8] = b"client_run waiting on ";

/// The way in which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// rsync's exit code (rsync(1), EXIT VALUES).
    Exit(i32),
    /// The signal that ended it.
    Signal(i32),
}

/// A run that ended.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// The code or signal.
    pub code: Code,
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The end of a run that had nothing to do.
    pub(crate) fn nothing_to_do() -> Finished {
        Finished { code: Code::Exit(0), stderr: Vec::new() }
    }
}

/// The facts that a connected rsync has of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connected {
    /// The protocol that it speaks.
    pub protocol: u32,
}

/// An rsync that was started and waits for its list. Dropping it ends it before it could take the end of its input for
/// the end of a list.
#[derive(Debug)]
pub(crate) struct Process {
    group: Group,
    stdin: Option<ChildStdin>,
    stdout: Option<Lines>,
    stderr: Option<PipeReader>,
    /// Bytes of text that told nothing.
    idle_talk: u64,
    /// `true` if rsync says when the other end has answered: what comes before that is not rsync's own.
    greets: bool,
    /// The greeting of the other end, if it came while the process was left waiting.
    greeted: Option<Greeted>,
    /// The directory that it works in, if it has one of its own: removed after its end.
    stage: Option<Stage>,
    /// The process whose connection it uses, if it is not its own or that of one that it started.
    carrier: Option<i32>,
    /// The things of which the rules that confine the process were made; nothing if it is not confined.
    seen: RuleSources,
    /// Its remote shell, if that was started outside.
    shell: Rc<Cell<Option<i32>>>,
    started: Instant,
}

/// The greeting of the other end to a process that waited.
#[derive(Debug, Clone, Copy)]
struct Greeted {
    greeting: Greeting,
    /// Bytes that the process had read by then.
    read: Option<u64>,
}

/// Runs `program` in `directory`; each line of its output goes to `line`, without the newline.
///
/// # Errors
/// When the program cannot be started.
pub(crate) async fn run(
    children: &Children,
    program: &Path,
    directory: Option<OwnedFd>,
    invocation: Invocation,
    mut line: impl FnMut(&[u8]),
) -> io::Result<Finished> {
    let process = Process::start(children, program, directory, &invocation.arguments, None)?;
    let line = |text: &[u8]| {
        line(text);
        Bearing::Nothing
    };
    process.finish(Input::of(&invocation.list), Patience::of(PATIENCE), line, || ()).await
}

impl Process {
    /// The option that makes rsync say that it is connected and that its work is done. It is not passed to the other
    /// end.
    pub(crate) const DEBUG: &str = "--debug=PROTO,EXIT2";

    /// Starts `program` in `directory`, within `bounds` if there are any.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        children: &Children,
        program: &Path,
        directory: Option<OwnedFd>,
        arguments: &[OsString],
        bounds: Option<Bounds>,
    ) -> io::Result<Process> {
        let mut command = ChildProgram::new(program);
        command.args(arguments).envs(ENVIRONMENT);
        command.stdio(ChildStdio::Piped, ChildStdio::Piped, ChildStdio::Piped);
        let (mut within, mut seen, mut near, shell) =
            (Confinement::default(), RuleSources::default(), None, Rc::default());
        if let Some(Bounds { domain, door }) = bounds {
            let (rules, made_of) = domain.into_parts();
            (within.rules, seen) = (Some(rules), made_of);
            if let Some(door) = door {
                door.equip(&mut command);
                let (end, inherits) = door.into_parts();
                near = Some((end, directory.as_ref().map(OwnedFd::try_clone).transpose()?));
                within.inherits = inherits;
            }
        }
        let mut group = children.start_within(command, directory, within)?;
        if let Some((near, directory)) = near {
            let shell: Rc<Cell<Option<i32>>> = Rc::clone(&shell);
            let started = move |process| shell.set(Some(process));
            tokio::task::spawn_local(shell::serve(near, group.id(), children.clone(), directory, started));
        }
        let (stdin, stdout, stderr) = group.pipes();
        // Killed first: without its input it would take what it has for the whole list.
        let outputs = PipeReader::of_both(stdout, stderr).inspect_err(|_| group.kill());
        let (stdout, stderr) = outputs?;
        let stdout = stdout.map(|stdout| Lines::of(stdout, b"\n"));
        let greets = arguments.iter().any(|word| word == Process::DEBUG);
        Ok(Process {
            group,
            stdin,
            stdout,
            stderr,
            idle_talk: 0,
            greets,
            greeted: None,
            stage: None,
            carrier: None,
            seen,
            shell,
            started: Instant::now(),
        })
    }

    /// The same, which works in a directory of its own.
    pub(crate) fn in_stage(mut self, stage: Stage) -> Process {
        self.stage = Some(stage);
        self
    }

    /// The same, over the connection of another process, if it is over one.
    pub(crate) fn over(mut self, carrier: Option<i32>) -> Process {
        self.carrier = carrier;
        self
    }

    /// The process whose connection it uses, if it is not its own.
    pub(crate) fn carrier(&self) -> Option<i32> {
        self.carrier
    }

    /// Returns the things of which the rules that confine the process were made.
    pub(crate) fn seen(&self) -> &RuleSources {
        &self.seen
    }

    /// The time at which the process was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Tells if both ends have greeted each other.
    pub(crate) fn has_greeted(&self) -> bool {
        self.greeted.is_some()
    }

    /// The directory of its own, if it has one.
    pub(crate) fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> i32 {
        self.group.id()
    }

    /// Lets whatever else wants the processor or the disk go first, as far as a nice value says.
    pub(crate) fn yield_to_others(&self, nice: i32) {
        [Some(self.id()), self.shell.get()].into_iter().flatten().for_each(|leader| priority::lower(leader, nice));
    }

    /// Waits while nothing is fed to it, until it is connected (`Some`) or ends (`None`), or says what no rsync says
    /// that waits. May be dropped and called again.
    pub(crate) async fn idle(&mut self) -> Option<Connected> {
        let stdout = self.stdout.as_mut()?;
        while self.idle_talk < IDLE_TALK {
            let text = stdout.next().await?;
            self.idle_talk += text.len();
            let greeting = match text {
                Text::Line(line) => Greeting::read(line),
                Text::Dropped(_) => None,
            };
            // What is no rsync ends by itself.
            if let Some(greeting @ Greeting::Protocol(protocol)) = greeting {
                self.greeted = Some(Greeted { greeting, read: Life::read(self.group.id()) });
                return Some(Connected { protocol });
            }
        }
        None
    }

    /// Feeds the list and waits for the end. Each line of output goes to `line`, without the newline, which says how it
    /// bears on the run. `worked` is called when rsync says that its work is done and has complained of nothing. A run
    /// that hangs for longer than `patience`, or says more than that of what tells nothing, is ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) async fn finish(
        mut self,
        input: Input<'_>,
        patience: Patience,
        line: impl FnMut(&[u8]) -> Bearing,
        worked: impl FnOnce(),
    ) -> io::Result<Finished> {
        let said = ErrorOutput::default();
        let talk = Talk::new(patience);
        // A complaint may be on its way to us when the end of the work has come already.
        let unheard = self.stderr.as_ref().and_then(|stderr| stderr.as_fd().try_clone_to_owned().ok());
        let is_heard =
            || unheard.as_ref().is_some_and(|pipe| rustix::io::ioctl_fionread(pipe).is_ok_and(|left| left == 0));
        let greeting = Cell::new(self.greeted.map(|greeted| greeted.greeting));
        let spoke_of_entry = Cell::new(false);
        let reply = || Reply::of(greeting.get().is_some(), spoke_of_entry.get());
        let shell = Rc::clone(&self.shell);
        let read = self.greeted.and_then(|greeted| greeted.read);
        let subject = Subject { process: self.group.id(), carrier: self.carrier, read, list: input.len() };
        let mut output = RunOutput { line, worked: Some(worked), greeting: &greeting, greets: self.greets };
        let line = |text: &[u8]| {
            let bearing = output.hear(text, || is_heard() && said.is_empty());
            spoke_of_entry.set(spoke_of_entry.get() || bearing == Bearing::Ours);
            bearing
        };
        // A carriage return comes before what rsync says of its progress; in names it is escaped.
        let lines = listen(self.stdout.take().map(|stdout| stdout.ended_by(b"\n\r")), line, &talk);
        let stderr = self.stderr.take().map(|stderr| Lines::of(stderr, b"\n"));
        let complaints = listen(stderr, |line| said.hear(line), &talk);
        let (hangs, status) = {
            let (refuse, refused) = oneshot::channel();
            let pipes = async { tokio::join!(complaints, lines, input.feed(&mut self.stdin, refuse)) };
            tokio::pin!(pipes);
            let (hangs, status) = tokio::select! {
                _ = &mut pipes => (None, None),
                Ok(stall) = refused => (Some(stall), None),
                stall = stalled(subject, patience, reply, || shell.get()) => (Some(stall), None),
                () = talk.is_too_much() => (Some(Stall::Talkative), None),
                status = self.group.wait() => {
                    // Past the linger time somebody else holds the pipe: what rsync itself said has been read.
                    let _ = tokio::time::timeout(LINGER, &mut pipes).await;
                    (None, Some(status?))
                }
            };
            // The pipes stay open until the end: a closed one would end rsync in another way.
            (hangs, ended(&mut self.group, status, hangs).await?)
        };
        let stderr = hangs.map_or_else(|| said.text(), |stall| stall.words().as_bytes().to_vec());
        let mut finished = Finished { code: code(status), stderr };
        if let (Code::Exit(code), Some(greeting)) = (finished.code, greeting.get())
            && let Some(complaint) = greeting.complaint(code)
        {
            finished.stderr.splice(0..0, complaint.into_bytes());
        }
        Ok(finished)
    }
}

/// Returns how a process ended, and ends it if it is broken off.
async fn ended(group: &mut Group, status: Option<ExitStatus>, stall: Option<Stall>) -> io::Result<ExitStatus> {
    match (status, stall) {
        (Some(status), _) => Ok(status),
        (None, None) => group.wait().await,
        // The other end has no complete list: nothing has begun.
        (None, Some(Stall::Changed)) => {
            group.kill();
            group.wait().await
        }
        (None, Some(_)) => group.end().await,
    }
}

/// The standard output of a run: the greeting, the end of the work, and the lines for the caller.
struct RunOutput<'r, L, W> {
    line: L,
    worked: Option<W>,
    greeting: &'r Cell<Option<Greeting>>,
    greets: bool,
}

impl<L: FnMut(&[u8]) -> Bearing, W: FnOnce()> RunOutput<'_, L, W> {
    /// Takes one line. `is_well`: rsync has complained of nothing.
    fn hear(&mut self, text: &[u8], is_well: impl FnOnce() -> bool) -> Bearing {
        if text.starts_with(WORKED) {
            if let Some(worked) = self.worked.take().filter(|_| is_well()) {
                worked();
            }
            return Bearing::Nothing;
        }
        self.greeting.set(self.greeting.get().or_else(|| Greeting::read(text)));
        // Else it is the greeting of somebody else: a message of the day.
        if self.greeting.get().is_some() || !self.greets { (self.line)(text) } else { Bearing::Nothing }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            self.group.kill();
        }
    }
}

pub(crate) fn code(status: ExitStatus) -> Code {
    match (status.code(), status.signal()) {
        (Some(code), _) => Code::Exit(code),
        (None, signal) => Code::Signal(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// The end of a run by a script that never ends, and how many lines of it were heard.
    async fn talks(script: &str) -> (Finished, usize) {
        let arguments = ["-c", script, Process::DEBUG].map(OsString::from);
        let process = Process::start(&Children::default(), Path::new("/bin/sh"), None, &arguments, None).unwrap();
        let mut heard = 0;
        let line = |_: &[u8]| {
            heard += 1;
            Bearing::Nothing
        };
        let patience = Patience::of(PATIENCE).talk_within(4 * lines::LONGEST as u64);
        (process.finish(Input::of(b""), patience, line, || ()).await.unwrap(), heard)
    }

    #[tokio::test]
    async fn a_run_whose_text_never_ends_is_ended_however_it_talks() {
        let greeting = "echo '(Client) Protocol versions: remote=32, negotiated=32'";
        for script in [
            "tr '\\0' x </dev/zero",
            "tr '\\0' x </dev/zero >&2",
            "while :; do echo anything; done",
            "while :; do echo anything >&2; done",
        ] {
            let (finished, heard) = talks(&format!("{greeting}; {script}")).await;
            assert_eq!(finished.code, Code::Signal(15), "{script}");
            assert!(String::from_utf8_lossy(&finished.stderr).contains("does not end"), "{script}: {finished:?}");
            assert!(heard <= 4 * lines::LONGEST, "{script}");
        }
    }

    #[tokio::test]
    async fn what_is_ended_may_remove_what_it_has_not_completed_and_ends_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        let begun = dir.path().join("begun");
        let file = begun.display();
        // As a receiver does, which is no leader; and as nobody should.
        let removes = format!(
            "sh -c \"trap 'sleep 0.2; rm {file}; exit' TERM; echo x >{file}; while :; do sleep 0.05; done\" &\n\
             while [ ! -e {file} ]; do sleep 0.01; done"
        );
        let ignores = format!("trap '' TERM; echo x >{file}");
        for (ends, code, is_left) in [(removes, 15, false), (ignores, 9, true)] {
            let (finished, _) = talks(&format!("{ends}\nwhile :; do echo anything; done")).await;
            assert_eq!((finished.code, begun.exists()), (Code::Signal(code), is_left), "{ends}");
        }
    }

    #[tokio::test]
    async fn one_that_waits_and_talks_without_end_is_given_up() {
        for script in ["tr '\\0' x </dev/zero", "while :; do echo anything; done"] {
            let arguments = ["-c", script].map(OsString::from);
            let mut process =
                Process::start(&Children::default(), Path::new("/bin/sh"), None, &arguments, None).unwrap();
            assert!(process.idle().await.is_none(), "{script}");
        }
    }
}
