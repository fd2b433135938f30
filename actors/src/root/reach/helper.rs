//! Processes that look. The kernel does not end a process that waits for a file system which has its question, and this
//! process must end when it is told to: so another one waits. It is this program under `WORD`, with one end of a socket as
//! its standard input, and ends when nobody holds the other end. The program of a test has a thread for it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};

use super::lock;
use super::look::{Found, Look, NUMBERS, Place};
use super::named::Make;

/// The first argument of this program when it looks for another one.
const WORD: &str = "--look";
/// Numbers at the head of a message.
const HEAD: usize = NUMBERS + 3;
/// More than this is no message.
const LONGEST: u64 = 1 << 32;

/// `true` if this program looks when it is started so.
static LOOKS: AtomicBool = AtomicBool::new(false);

/// The processes that look. Each is here until it is about to be waited for, so that its number is no other's.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Kills all that look, as this process ends: what waits for an answer does not see that nobody wants it any more.
pub fn end_all() {
    for process in lock(&RUNNING).iter().filter_map(|&id| Pid::from_raw(id)) {
        let _ = kill_process(process, Signal::KILL);
    }
}

/// Looks for another process, if these are the arguments for that: returns the exit code. To be called at the start of the
/// program.
pub fn stand_in(arguments: impl IntoIterator<Item = OsString>) -> Option<u8> {
    if arguments.into_iter().nth(1).is_none_or(|word| word != WORD) {
        LOOKS.store(true, Ordering::Relaxed);
        return None;
    }
    if let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() {
        serve(&socket);
    }
    Some(0)
}

/// Carries out looks until nobody asks any more.
fn serve(socket: &OwnedFd) {
    while let Ok(Some(message)) = Message::receive(socket) {
        let answer = match message.look().map_or(Err(Errno::INVAL), |look| look.carry_out()) {
            Ok(found) => Message::found(&found),
            Err(error) => {
                Message { numbers: numbers([u64::from(error.raw_os_error().unsigned_abs())]), ..Message::default() }
            }
        };
        if answer.send(socket).is_err() {
            return;
        }
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// A process that looks.
pub(super) struct Helper {
    /// Dropped first: it ends when this is closed.
    socket: OwnedFd,
    /// `None`: it is a thread.
    child: Option<Child>,
}

impl Helper {
    /// A process, or a thread where there is none to be had.
    pub(crate) fn start() -> io::Result<Helper> {
        let process = if LOOKS.load(Ordering::Relaxed) { Helper::process().ok() } else { None };
        process.map_or_else(Helper::thread, Ok)
    }

    fn process() -> io::Result<Helper> {
        let (socket, far) = pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(WORD).stdin(Stdio::from(far)).stdout(Stdio::null()).stderr(Stdio::null());
        // A signal from the terminal is not meant for it.
        let child = command.process_group(0).current_dir("/").spawn()?;
        lock(&RUNNING).insert(child.id().cast_signed());
        Ok(Helper { socket, child: Some(child) })
    }

    fn thread() -> io::Result<Helper> {
        let (socket, far) = pair()?;
        thread::Builder::new().name("look".into()).spawn(move || serve(&far))?;
        Ok(Helper { socket, child: None })
    }

    /// One whose other end carries out nothing yet.
    #[cfg(test)]
    pub(crate) fn alone() -> io::Result<(Helper, Far)> {
        let (socket, far) = pair()?;
        Ok((Helper { socket, child: None }, Far(far)))
    }

    /// Asks, and waits for nothing.
    pub(crate) fn ask(&self, look: &Look) -> io::Result<()> {
        Ok(Message::of(look).send(&self.socket)?)
    }

    /// Returns true if an answer comes within this time.
    pub(crate) fn answers_within(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap_or_default();
        let mut sources = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut sources, Some(&time)).is_ok_and(|ready| ready > 0)
    }

    /// The answer; `BrokenPipe` if the process is gone.
    pub(crate) fn answer(&self) -> io::Result<Found> {
        let Some(message) = Message::receive(&self.socket)? else { return Err(io::ErrorKind::BrokenPipe.into()) };
        match i32::try_from(message.numbers[0]) {
            Ok(0) => Ok(message.into_found()),
            Ok(error) => Err(io::Error::from_raw_os_error(error)),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The other end of a helper that is alone.
#[cfg(test)]
pub(super) struct Far(OwnedFd);

#[cfg(test)]
impl Far {
    /// Carries out what was asked, and whatever will be.
    pub(crate) fn serve(self) {
        thread::spawn(move || serve(&self.0));
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be stuck, and a zombie is nobody's harm: waited for aside, which ends with this process.
            let _ = child.kill();
            lock(&RUNNING).remove(&child.id().cast_signed());
            let _ = thread::Builder::new().name("reap".into()).spawn(move || child.wait());
        }
    }
}

/// A question or an answer: numbers, of which the last one says how many bytes follow, bytes, and open files.
#[derive(Default)]
struct Message {
    numbers: [u64; HEAD],
    bytes: Vec<u8>,
    files: Vec<Arc<OwnedFd>>,
}

fn numbers<const N: usize>(first: [u64; N]) -> [u64; HEAD] {
    let mut all = [0; HEAD];
    all.iter_mut().zip(first).for_each(|(to, from)| *to = from);
    all
}

impl Message {
    /// The kind of the look, its numbers, and whether there is a directory.
    fn of(look: &Look) -> Message {
        let (kind, place, number, more) = match look {
            Look::Answer(place) => (0, place, 0, None),
            Look::Meta(place) => (1, place, 0, None),
            Look::Link(place) => (2, place, 0, None),
            Look::Names(place, most) => (3, place, *most, None),
            Look::Directories(place) => (4, place, 0, None),
            Look::Open { place, follow, name_only } => {
                (5, place, u64::from(*follow) | u64::from(*name_only) << 1, None)
            }
            Look::OpenBelow(place, below) => (6, place, 0, Some(below)),
            Look::Kind(place) => (7, place, 0, None),
            Look::Watch { place, mask, .. } => (8, place, u64::from(*mask), None),
            Look::Entries(place) => (9, place, 0, None),
            Look::Born(place) => (10, place, 0, None),
            Look::Read(place) => (11, place, 0, None),
            Look::Root { place, most, opens } => (12, place, most << 1 | u64::from(*opens), None),
            Look::Resolved(place) => (13, place, 0, None),
            Look::Target(place, make) => (14, place, *make as u64, None),
        };
        let queue = if let Look::Watch { queue, .. } = look { Some(queue.clone()) } else { None };
        let path = place.path.as_os_str().as_bytes();
        let bytes = more.map_or(path.to_vec(), |below| [path, b"\0", below.as_os_str().as_bytes()].concat());
        let has_directory = u64::from(place.directory.is_some());
        let files = place.directory.iter().cloned().chain(queue).collect();
        Message { numbers: numbers([kind, number, has_directory]), bytes, files }
    }

    fn look(self) -> Option<Look> {
        let [kind, number, has_directory, ..] = self.numbers;
        let mut files = self.files.into_iter();
        let directory = if has_directory == 1 { Some(files.next()?) } else { None };
        let mut paths = self.bytes.split(|&byte| byte == 0).map(|path| PathBuf::from(OsStr::from_bytes(path)));
        let place = Place { directory, path: paths.next()? };
        Some(match kind {
            0 => Look::Answer(place),
            1 => Look::Meta(place),
            2 => Look::Link(place),
            3 => Look::Names(place, number),
            4 => Look::Directories(place),
            5 => Look::Open { place, follow: number & 1 != 0, name_only: number & 2 != 0 },
            6 => Look::OpenBelow(place, paths.next()?),
            7 => Look::Kind(place),
            8 => Look::Watch { place, queue: files.next()?, mask: u32::try_from(number).ok()? },
            9 => Look::Entries(place),
            10 => Look::Born(place),
            11 => Look::Read(place),
            12 => Look::Root { place, most: number >> 1, opens: number & 1 != 0 },
            13 => Look::Resolved(place),
            14 => Look::Target(place, *Make::ALL.get(usize::try_from(number).ok()?)?),
            _ => return None,
        })
    }

    fn found(found: &Found) -> Message {
        let mut all = numbers([0, found.number.cast_unsigned()]);
        all[2..2 + NUMBERS].copy_from_slice(&found.facts);
        let files = found.opened.iter().filter_map(|opened| opened.try_clone().ok().map(Arc::new)).collect();
        Message { numbers: all, bytes: found.text.clone(), files }
    }

    fn into_found(self) -> Found {
        let mut facts = [0; NUMBERS];
        facts.copy_from_slice(&self.numbers[2..2 + NUMBERS]);
        let opened = self.files.into_iter().next().and_then(Arc::into_inner);
        let number = self.numbers[1].cast_signed();
        Found { text: self.bytes, number, facts, opened }
    }

    fn send(mut self, socket: &OwnedFd) -> Result<(), Errno> {
        self.numbers[HEAD - 1] = self.bytes.len() as u64;
        let mut bytes: Vec<u8> = self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.append(&mut self.bytes);
        let files: Vec<BorrowedFd<'_>> = self.files.iter().map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&files));
        }
        let mut sent = retried(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL))?;
        while sent < bytes.len() {
            sent += retried(|| rustix::net::send(socket, &bytes[sent..], SendFlags::NOSIGNAL))?;
        }
        Ok(())
    }

    /// `None` when the other end is closed.
    fn receive(socket: &OwnedFd) -> Result<Option<Message>, Errno> {
        let (mut head, mut files) = ([0; HEAD * 8], Vec::new());
        if !fill(socket, &mut head, &mut files)? {
            return Ok(None);
        }
        let mut message = Message { files, ..Message::default() };
        for (number, bytes) in message.numbers.iter_mut().zip(head.as_chunks().0) {
            *number = u64::from_le_bytes(*bytes);
        }
        let length = Some(message.numbers[HEAD - 1]).filter(|length| *length < LONGEST);
        message.bytes = vec![0; length.and_then(|length| usize::try_from(length).ok()).ok_or(Errno::MSGSIZE)?];
        let is_whole = fill(socket, &mut message.bytes, &mut message.files)?;
        Ok(is_whole.then_some(message))
    }
}

fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => (),
            done => return done,
        }
    }
}

/// Reads as much as fits. Returns true if there was as much.
fn fill(socket: &OwnedFd, bytes: &mut [u8], files: &mut Vec<Arc<OwnedFd>>) -> Result<bool, Errno> {
    let mut filled = 0;
    while filled < bytes.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes[filled..])];
        let received = retried(|| recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC))?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = message {
                files.extend(handed.map(Arc::new));
            }
        }
        if received == 0 {
            return Ok(false);
        }
        filled += received;
    }
    Ok(true)
}
