//! Starts a program without copying the memory of the daemon.
//!
//! `std` starts a program by fork(2) as soon as anything is to be done between fork and exec, such as setsid(2). fork copies the
//! page tables: 1 ms for 4 MiB of memory, 5 ms for 64 MiB, and every page that the daemon writes afterwards is copied, too. A
//! daemon that watches a million directories would stand still for as long with every rsync. Here parent and child share the memory
//! until the child has become the program (`CLONE_VM` and `CLONE_VFORK` of clone(2), as in posix_spawn(3)), which takes 0.2 ms
//! whatever the size.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use landlock::RulesetCreated;
use nix::libc::{self, c_char};
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use rustix::process::Pid;

use super::process::{ChildProcess, RawPipes};

/// The stack of the child until it is the program, in bytes. It has no guard page: execvpe(3) needs the most, some PATH_MAX (4 KiB)
/// and the arguments, which are added.
const STACK: usize = 64 * 1024;

/// A program to start, with what it gets. Without more, it gets no input, and its output is dropped.
#[derive(Debug)]
pub(crate) struct ChildProgram {
    /// The name of the program, which is looked for in `PATH`, or its path, and the arguments.
    words: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    stdin: ChildStdio,
    stdout: ChildStdio,
    stderr: ChildStdio,
}

/// One of the three standard descriptors of a program.
#[derive(Debug, Default)]
pub(crate) enum ChildStdio {
    /// /dev/null.
    #[default]
    Null,
    /// A pipe, of which the daemon holds the other end.
    Piped,
    /// This descriptor.
    Given(OwnedFd),
}

/// The surroundings of a program: its place, its confinement and its relation to the daemon.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The working directory; `None` for that of the daemon.
    pub(super) directory: Option<OwnedFd>,
    pub(super) within: Confinement,
    pub(super) tie: Tie,
}

/// The confinement of a process, and the descriptors that the process inherits beside its standard ones.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// Landlock rules: the process may do what they allow, and nothing else (landlock(7)).
    pub(crate) rules: Option<RulesetCreated>,
    /// Descriptors that the process inherits under the same numbers.
    pub(crate) inherits: Vec<OwnedFd>,
}

/// The relation between a process and the daemon that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    /// The process gets a SIGTERM when the daemon dies.
    Daemon,
    /// The process outlives the daemon.
    Apart,
}

impl ChildProgram {
    /// A program without arguments, with the environment of the daemon.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        ChildProgram {
            words: vec![program.into()],
            environment: std::env::vars_os().collect(),
            stdin: ChildStdio::Null,
            stdout: ChildStdio::Null,
            stderr: ChildStdio::Null,
        }
    }

    /// Adds arguments.
    pub(crate) fn args(&mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> &mut Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets variables of the environment.
    pub(crate) fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
    ) -> &mut Self {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Leaves a variable of the daemon's environment out.
    pub(crate) fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.remove(name.as_ref());
        self
    }

    /// Sets standard input, output and error output.
    pub(crate) fn stdio(&mut self, stdin: ChildStdio, stdout: ChildStdio, stderr: ChildStdio) -> &mut Self {
        (self.stdin, self.stdout, self.stderr) = (stdin, stdout, stderr);
        self
    }

    /// Starts the program as the leader of a session of its own.
    ///
    /// # Errors
    /// When a word holds a NUL, descriptors or processes are used up, or the program cannot be executed in these surroundings.
    pub(super) fn start(self, around: &Surroundings) -> io::Result<ChildProcess> {
        let words = self.words.into_iter().map(c_string).collect::<io::Result<Vec<_>>>()?;
        let pair = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            c_string(name)
        };
        let environment = self.environment.into_iter().map(pair).collect::<io::Result<Vec<_>>>()?;
        let (stdin, to) = self.stdin.ends(Direction::In)?;
        let (stdout, from) = self.stdout.ends(Direction::Out)?;
        let (stderr, errors) = self.stderr.ends(Direction::Out)?;
        let pid = Exec {
            words: &pointers(&words),
            environment: &pointers(&environment),
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            around,
            daemon: rustix::process::getpid(),
            error: AtomicI32::new(0),
        }
        .start()?;
        ChildProcess::new(pid, RawPipes { stdin: to, stdout: from, stderr: errors })
    }
}

/// The direction in which a standard descriptor of a program is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

impl ChildStdio {
    /// Returns the end of the program, and that of the daemon if it is a pipe. Neither is inherited as it is.
    fn ends(self, direction: Direction) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        match self {
            ChildStdio::Given(given) => Ok((given, None)),
            ChildStdio::Null => {
                let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
                Ok((null.into(), None))
            }
            ChildStdio::Piped => {
                let (reader, writer) = io::pipe()?;
                Ok(match direction {
                    Direction::In => (reader.into(), Some(writer.into())),
                    Direction::Out => (writer.into(), Some(reader.into())),
                })
            }
        }
    }
}

/// A program in the form of execve(2), and what the child does before.
struct Exec<'a> {
    /// Ends with a null.
    words: &'a [*const c_char],
    /// Ends with a null.
    environment: &'a [*const c_char],
    stdio: [BorrowedFd<'a>; 3],
    around: &'a Surroundings,
    daemon: Pid,
    /// The error number of a child that could not become the program, else 0.
    error: AtomicI32,
}

impl Exec<'_> {
    /// Starts the child and returns when it has become the program.
    #[allow(unsafe_code)]
    fn start(&self) -> io::Result<Pid> {
        let mut stack = vec![0; STACK + size_of_val(self.words)];
        // The handlers of this process must not run in the child: they would write to the shared memory. So the child gets no
        // signal before it has none of them.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let child = || {
            let error = self.become_program();
            self.error.store(error.raw_os_error().unwrap_or(libc::EINVAL), Ordering::Relaxed);
            127
        };
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        // SAFETY: this thread stands still until the child has executed the program or ended, so what the child borrows and its
        // stack live long enough. The child changes only its own descriptors, handlers and mask, which are not shared, and
        // `error`; it frees nothing and takes no lock.
        let started = unsafe { clone(Box::new(child), &mut stack, flags, Some(libc::SIGCHLD)) };
        mask.thread_set_mask()?;
        let pid = Pid::from_raw(started?.as_raw()).ok_or(io::ErrorKind::NotFound)?;
        match self.error.load(Ordering::Relaxed) {
            0 => Ok(pid),
            error => {
                // ECHILD where SIGCHLD is ignored: the kernel has reaped it.
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }

    /// Prepares the child and executes the program. Returns only if that fails.
    #[allow(unsafe_code)]
    fn become_program(&self) -> io::Error {
        if let Err(error) = default_handlers().and_then(|()| self.prepare()) {
            return error;
        }
        if let Err(error) = SigSet::empty().thread_set_mask() {
            return error.into();
        }
        // SAFETY: both lists end with a null, and what they point to outlives the call.
        unsafe { libc::execvpe(self.words[0], self.words.as_ptr(), self.environment.as_ptr()) };
        io::Error::last_os_error()
    }

    fn prepare(&self) -> io::Result<()> {
        let around = self.around;
        rustix::process::setsid()?;
        if let Some(directory) = &around.directory {
            rustix::process::fchdir(directory)?;
        }
        let [stdin, stdout, stderr] = self.stdio;
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)?;
        for inherited in &around.within.inherits {
            rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::empty())?;
        }
        if around.tie == Tie::Daemon {
            // The kernel sends the signal when the thread ends that started the child; that is the main thread or one of
            // the nodes, which end after their processes.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
            if rustix::process::getppid() != Some(self.daemon) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        // Last, so that the rules apply to nothing but the program. A copy, as the descriptor of the rules is closed with them:
        // here it would be closed in the child only.
        match around.within.rules.as_ref().map(|rules| rules.try_clone().map(RulesetCreated::restrict_self)) {
            Some(Err(error)) => Err(error),
            Some(Ok(Err(_))) => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    }
}

/// Gives up the handlers of the daemon. What it ignores stays ignored (nohup(1)), except for SIGPIPE, which Rust programs ignore
/// and others do not expect to be ignored.
#[allow(unsafe_code)]
fn default_handlers() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // The last one is left out as sigaction(3) takes a lock for it, which a child that is killed just then would keep.
    let untouched = [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGABRT];
    for signal in Signal::iterator().filter(|signal| !untouched.contains(signal)) {
        // SAFETY: no handler is set; both ways to treat a signal are the kernel's.
        let before = unsafe { sigaction(signal, &default) }?;
        if before.handler() == SigHandler::SigIgn && signal != Signal::SIGPIPE {
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

fn c_string(word: OsString) -> io::Result<CString> {
    CString::new(word.into_vec()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a word holds a NUL"))
}

/// Ends with a null.
fn pointers(words: &[CString]) -> Vec<*const c_char> {
    words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
}
