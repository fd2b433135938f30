//! The remote shell of an rsync that is confined: ssh, or whatever the user names, is started outside.
//!
//! ssh reads keys, runs any program that its configuration names, and may need privileges. Inside it could do none of
//! that, or rsync could read the keys. So rsync starts this program under [`WORD`] in its place, which hands over its
//! words and its standard input, output and error output through a socket, and ends as the remote shell ends. The
//! daemon starts the remote shell, with nothing between it and rsync.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitStatus;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::children::program::{ChildProgram, ChildStdio};
use crate::children::{Children, Group};
use crate::node::{Kind, Node};
use crate::path::Escaped;
use crate::rsync::remote_shell::RemoteShell;
use crate::rsync::runner::priority;
use crate::site::Site;

/// The first argument of this program when it stands in for a remote shell; the number of the socket and the words
/// follow.
pub(crate) const WORD: &str = "--remote-shell";
/// The variable by which rsync finds a program that connects to rsync daemons (rsync(1), ENVIRONMENT VARIABLES).
const CONNECT: &str = "RSYNC_CONNECT_PROG";
/// More words than so many bytes are refused. The kernel takes a message of some 200 kB.
const LONGEST: usize = 160 * 1024;
/// The end of a remote shell that could not be started, or ended by a signal: as rsync and ssh have it.
const NOT_STARTED: u8 = 14;
const BROKEN: u8 = 255;

/// A socket through which the rsync that inherits the far end gets a remote shell.
#[derive(Debug)]
pub(crate) struct Door {
    near: OwnedFd,
    far: OwnedFd,
    /// This program itself, whatever has its name by now.
    helper: OwnedFd,
    /// The value of [`CONNECT`], if rsync is to connect by a program.
    connect: Option<OsString>,
}

impl Door {
    /// One for a run to a node, and the arguments of the run; `None` where it needs no remote shell.
    ///
    /// # Errors
    /// When the socket cannot be made, or this program not be opened.
    pub(crate) fn of(site: &Site, node: &Node, arguments: &[OsString]) -> io::Result<(Option<Door>, Vec<OsString>)> {
        let mut arguments = arguments.to_vec();
        let program = std::env::var_os(CONNECT).filter(|program| !program.is_empty());
        let shell = match node.kind() {
            Kind::Local => None,
            Kind::Ssh => Some(remote_shell(site, &arguments)),
            Kind::Daemon => site.extra.rsh().map(|shell| with_family(site, shell.into())),
        };
        if shell.is_none() && (node.kind() != Kind::Daemon || program.is_none()) {
            return Ok((None, arguments));
        }
        let (near, far) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&near, true)?;
        let helper = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let mut door = Door { near, far, helper, connect: None };
        match (shell, program) {
            (Some(shell), _) => {
                let end = arguments.iter().rposition(|word| word == "--").unwrap_or(arguments.len());
                arguments.splice(end..end, door.words(&shell));
            }
            (None, Some(program)) => {
                let quoted = shell_words::quote(&program.to_string_lossy()).into_owned();
                door.connect = Some(format!("exec {} sh -c {quoted}", door.prefix()).into());
            }
            (None, None) => (),
        }
        Ok((Some(door), arguments))
    }

    /// Returns this program, opened, to be started as the helper.
    pub(crate) fn helper(&self) -> BorrowedFd<'_> {
        self.helper.as_fd()
    }

    /// Adds what the process is to find in its environment.
    pub(crate) fn equip(&self, command: &mut ChildProgram) {
        command.envs(self.connect.iter().map(|program| (CONNECT, program)));
    }

    /// The near end, and what the process inherits.
    pub(crate) fn into_parts(self) -> (OwnedFd, Vec<OwnedFd>) {
        (self.near, vec![self.far, self.helper])
    }

    fn prefix(&self) -> String {
        format!("/proc/self/fd/{} {WORD} {}", self.helper.as_raw_fd(), self.far.as_raw_fd())
    }

    /// The last `--rsh` counts. rsync knows by the name of a remote shell how to write to it.
    fn words(&self, shell: &OsStr) -> Vec<OsString> {
        let mut value = OsString::from(format!("--rsh={} ", self.prefix()));
        value.push(shell);
        let blocks = [&b"rsh"[..], b"remsh"].contains(&name_of(shell));
        [value].into_iter().chain(blocks.then(|| "--blocking-io".into())).collect()
    }
}

/// The remote shell that rsync would start: the user's, or that of the arguments.
fn remote_shell(site: &Site, arguments: &[OsString]) -> OsString {
    let shell = match RemoteShell::of(site) {
        RemoteShell::Other(shell) => shell,
        RemoteShell::Ssh(ssh) => {
            let given = arguments.iter().rev().find_map(|word| word.as_bytes().strip_prefix(b"--rsh="));
            given.map_or_else(|| ssh.into(), |given| OsStr::from_bytes(given).to_owned())
        }
    };
    with_family(site, shell)
}

/// rsync itself tells this to what is called ssh.
fn with_family(site: &Site, mut shell: OsString) -> OsString {
    if let Some(family) = site.extra.address_family().filter(|_| name_of(&shell) == b"ssh") {
        shell.push(" ");
        shell.push(family);
    }
    shell
}

/// The name of the program in the value of `--rsh`.
fn name_of(shell: &OsStr) -> &[u8] {
    let program = shell.as_bytes().split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty());
    program.and_then(|program| program.rsplit(|&byte| byte == b'/').next()).unwrap_or_default()
}

// === the daemon's side ===

/// The words and environment that a remote shell is started with.
struct ShellRequest {
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// Its standard input, output and error output.
    pipes: [OwnedFd; 3],
}

/// Serves one process: starts its remote shell in `directory` when it asks for it, tells it how that ended, and ends it
/// when the process is gone. `process` is its number.
pub(crate) async fn serve(
    near: OwnedFd,
    process: i32,
    children: Children,
    directory: Option<OwnedFd>,
    started: impl FnOnce(i32),
) {
    // What it waits for is the same for a socket of messages.
    let Ok(near) = UnixStream::from_std(near.into()) else { return };
    let Some(request) = request(&near).await else { return };
    let complaints = request.pipes[2].try_clone();
    let code = match start(&children, request, directory) {
        Ok(mut group) => {
            started(group.id());
            // Whatever rsync yields to, its remote shell does, too.
            priority::lower_like(process, group.id());
            tokio::select! {
                status = group.wait() => status.map_or(BROKEN, code),
                () = hung_up(&near) => return,
            }
        }
        Err((program, error)) => {
            let _ = complaints.map(|pipe| File::from(pipe).write_all(complaint(&program, &error).as_bytes()));
            NOT_STARTED
        }
    };
    // A process that is gone needs no answer.
    let _ = rustix::net::send(&near, &[code], SendFlags::NOSIGNAL);
}

/// As rsync says it.
fn complaint(program: &OsStr, error: &io::Error) -> String {
    let text = error.to_string();
    let why = text.split(" (os error").next().unwrap_or_default();
    let number = error.raw_os_error().unwrap_or(0);
    format!("rsync: [sender] Failed to exec {}: {why} ({number})\n", Escaped(program.as_bytes()))
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(BROKEN)
}

fn start(
    children: &Children,
    ShellRequest { words, environment, pipes: [stdin, stdout, stderr] }: ShellRequest,
    directory: Option<OwnedFd>,
) -> Result<Group, (OsString, io::Error)> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let mut command = ChildProgram::new(&program);
    command.args(words).envs(crate::rsync::runner::process::ENVIRONMENT).envs(environment);
    command.stdio(ChildStdio::Given(stdin), ChildStdio::Given(stdout), ChildStdio::Given(stderr));
    children.start(command, directory).map_err(|error| (program, error))
}

async fn request(near: &UnixStream) -> Option<ShellRequest> {
    let mut bytes = vec![0; LONGEST];
    loop {
        near.readable().await.ok()?;
        match near.try_io(Interest::READABLE, || Ok(receive(near, &mut bytes)?)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            received => {
                let (length, handed) = received.ok()?;
                let (words, environment) = unpacked(bytes.get(..length)?)?;
                return Some(ShellRequest { words, environment, pipes: handed.try_into().ok()? });
            }
        }
    }
}

fn receive(near: &UnixStream, bytes: &mut [u8]) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(bytes)];
    let received = rustix::net::recvmsg(near, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let handed = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(handed) => handed.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    Ok((received.bytes, handed.collect()))
}

/// Returns when nobody holds the far end any more.
async fn hung_up(near: &UnixStream) {
    loop {
        if near.readable().await.is_err() {
            return;
        }
        let read = near.try_io(Interest::READABLE, || Ok(rustix::net::recv(near, &mut [0_u8; 1], RecvFlags::empty())?));
        if !read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return;
        }
    }
}

/// Words and variables as one message: the number of variables, those, and the words, with a NUL byte between them.
fn packed(words: &[OsString], environment: &[(OsString, OsString)]) -> Vec<u8> {
    let number = environment.len().to_string().into_bytes();
    let variables = environment.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let words = words.iter().map(|word| word.as_bytes().to_vec());
    [number].into_iter().chain(variables).chain(words).collect::<Vec<_>>().join(&0)
}

type Unpacked = (Vec<OsString>, Vec<(OsString, OsString)>);

fn unpacked(message: &[u8]) -> Option<Unpacked> {
    let mut parts = message.split(|&byte| byte == 0);
    let number: usize = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut environment = Vec::new();
    for _ in 0..number {
        let variable = parts.next()?;
        let (name, value) = variable.split_at(variable.iter().position(|&byte| byte == b'=')?);
        environment.push((own(name), own(value.get(1..)?)));
    }
    Some((parts.map(own).collect(), environment))
}

// === the side of the process that rsync starts ===

/// Stands in for a remote shell, if these are the arguments for that: returns the exit code of the remote shell.
pub fn stand_in(arguments: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != WORD {
        return None;
    }
    let socket = arguments.next()?.to_str()?.parse().ok()?;
    Some(hand_over(socket, &arguments.collect::<Vec<_>>()).unwrap_or_else(|error| {
        eprintln!("inosync: the remote shell cannot be started: {error}");
        NOT_STARTED
    }))
}

/// The inherited descriptor of this number, open until the end.
#[allow(unsafe_code)]
fn inherited(number: RawFd) -> io::Result<BorrowedFd<'static>> {
    if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
        return Err(io::Error::from(rustix::io::Errno::BADF));
    }
    // SAFETY: it is open, nothing else in this process knows of it, and nobody closes it.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

fn hand_over(socket: RawFd, words: &[OsString]) -> io::Result<u8> {
    let socket = inherited(socket)?;
    // It holds the far end, too: while it lives, the remote shell does.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // What rsync tells a remote shell beside its words.
    let is_of_rsync = |(name, _): &(OsString, OsString)| name.as_bytes().starts_with(b"RSYNC_");
    let environment: Vec<_> = std::env::vars_os().filter(is_of_rsync).collect();
    let message = packed(words, &environment);
    if message.len() > LONGEST {
        return Err(io::ErrorKind::ArgumentListTooLong.into());
    }
    let stdin = io::stdin();
    let stdout = io::stdout();
    let stderr = io::stderr();
    let pipes = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&pipes));
    rustix::net::sendmsg(socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
    // From here on they are the remote shell's: the other end of a pipe must see when it closes them.
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    let mut answer = [0; 1];
    match rustix::net::recv(socket, &mut answer, RecvFlags::empty())?.0 {
        0 => Ok(BROKEN),
        _ => Ok(answer[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_variables_are_handed_over_as_they_are() {
        let own = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        for (words, environment) in [
            (own(&["ssh", "-l", "u", "h", "rsync --server . '/a b'", ""]), vec![]),
            (own(&["ssh"]), vec![variable("RSYNC_PORT", "873"), variable("RSYNC_X", "a=b")]),
        ] {
            assert_eq!(unpacked(&packed(&words, &environment)), Some((words, environment)));
        }
        for broken in [&b""[..], b"x", b"1\0ssh", b"2\0A=1"] {
            assert_eq!(unpacked(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn only_a_program_that_is_asked_to_stands_in() {
        for arguments in [&["inosync"][..], &["inosync", "-c", "/f"], &["inosync", WORD], &["inosync", WORD, "x"]] {
            assert_eq!(stand_in(arguments.iter().map(OsString::from)), None, "{arguments:?}");
        }
        assert_eq!(stand_in(["inosync", WORD, "987", "ssh"].map(OsString::from)), Some(NOT_STARTED));
    }

    #[test]
    fn a_remote_shell_is_known_by_its_name() {
        for (shell, name) in [("ssh -p 2", "ssh"), ("/opt/bin/ssh", "ssh"), (" rsh  -x", "rsh"), ("", "")] {
            assert_eq!(name_of(shell.as_ref()), name.as_bytes(), "{shell}");
        }
    }

    #[test]
    fn a_remote_shell_that_cannot_be_started_is_told_as_rsync_tells_it() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(
            complaint("ssh".as_ref(), &error),
            "rsync: [sender] Failed to exec ssh: No such file or directory (2)\n"
        );
    }
}
