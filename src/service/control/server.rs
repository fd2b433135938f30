//! The daemon's side of the control socket.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use inosync_actors::path::Escaped;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use slog::{Logger, warn};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::{DaemonHandle, Request, SOCKET};

/// Time limit for a client to ask, and for it to read the answer.
const CLIENT_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request; a path of 4,096 bytes takes up to 16 KiB.
const LONGEST: u64 = 64 * 1024;
/// The pause before the next try after the process had no descriptor left.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The pause before the second try to make a socket.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The pause before each further try.
const RETRY: Duration = Duration::from_secs(60);

/// The socket; requests are answered until it is dropped.
pub struct Socket(tokio::task::JoinHandle<()>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A listening socket and its directory, which holds nothing else: dropping removes both.
struct BoundSocket {
    listener: UnixListener,
    dir: PathBuf,
    /// The link to the directory at a place where it is looked for.
    link: Option<PathBuf>,
    /// The lock tells other daemons that the directory is in use.
    lock: File,
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if let Some(link) = self.link.as_ref().filter(|link| fs::read_link(link).is_ok_and(|to| to == self.dir)) {
            let _ = fs::remove_file(link);
        }
        // By the descriptor: something else may have the name. The next daemon makes both again.
        let _ = rustix::fs::unlinkat(&self.lock, SOCKET, AtFlags::empty());
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Answers at a socket in the first of these directories that can be used; `None` if there are no directories. While none
/// can be used, mirroring goes on and they are tried again. If the directory is not one of the `usual` places, a link leads
/// to it from there: so it is found although the configuration file cannot be read by now.
pub fn serve(places: &[PathBuf], usual: &[PathBuf], daemon: DaemonHandle, log: &Logger) -> Option<Socket> {
    if places.is_empty() {
        return None;
    }
    let places = places.to_owned();
    let usual = usual.to_owned();
    let log = log.clone();
    Some(Socket(tokio::task::spawn_local(async move {
        let mut bound = bind(&places, &log).await;
        if !usual.contains(&bound.dir) {
            // Without a link the socket is found by the configuration file alone.
            bound.link = usual.iter().find(|place| link(&bound.dir, place).is_ok()).cloned();
        }
        accept(&bound.listener, daemon).await;
    })))
}

async fn bind(places: &[PathBuf], log: &Logger) -> BoundSocket {
    let mut tries = 0;
    loop {
        let mut reasons = Vec::new();
        for dir in places {
            match open(dir) {
                Ok((listener, lock)) => return BoundSocket { listener, dir: dir.clone(), link: None, lock },
                Err(why) => reasons.push(format!("{}: {why}", Escaped(dir.as_os_str().as_encoded_bytes()))),
            }
        }
        tries += 1;
        // A process that a killed daemon was starting may hold the lock for a moment: not worth a line.
        if tries == 2 {
            warn!(log, "no control socket: inosync status, explain, pause and resume have nobody to ask";
                "why" => reasons.join("; "));
        }
        tokio::time::sleep(if tries == 1 { FIRST_RETRY } else { RETRY }).await;
    }
}

/// Links the directory of a socket at this place. What a daemon left there that was killed gives way.
fn link(dir: &Path, place: &Path) -> io::Result<()> {
    make_parent(place)?;
    remove_link(place)?;
    if place.symlink_metadata().is_ok() {
        let (_, lock) = open(place)?;
        rustix::fs::unlinkat(&lock, SOCKET, AtFlags::empty())?;
        fs::remove_dir(place)?;
    }
    std::os::unix::fs::symlink(dir, place)
}

/// Removes a link that a daemon left which was killed.
fn remove_link(place: &Path) -> io::Result<()> {
    if place.is_symlink() { fs::remove_file(place) } else { Ok(()) }
}

fn make_parent(dir: &Path) -> io::Result<()> {
    dir.parent().map_or(Ok(()), |parent| DirBuilder::new().recursive(true).mode(0o755).create(parent))
}

/// Makes the directory, where it is missing, and the socket in it.
fn open(dir: &Path) -> io::Result<(UnixListener, File)> {
    make_parent(dir)?;
    remove_link(dir)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => (),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = File::from(rustix::fs::open(dir, flags, Mode::empty())?);
    let meta = opened.metadata()?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is not a directory that this user alone may enter"));
    }
    flock(&opened, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("in use by another inosync with this configuration"))?;
    // The path of a socket is short (sun_path in unix(7)), that of the directory need not be.
    match rustix::fs::unlinkat(&opened, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => (),
        Err(error) => return Err(error.into()),
    }
    Ok((UnixListener::bind(super::client::within(opened.as_raw_fd()))?, opened))
}

async fn accept(listener: &UnixListener, daemon: DaemonHandle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::task::spawn_local(async move {
                    // A client that went away needs no answer.
                    let _ = converse(stream, daemon).await;
                });
            }
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

async fn converse(stream: UnixStream, daemon: DaemonHandle) -> io::Result<()> {
    // The mode of the directory keeps others out already, unless somebody widens it.
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader).take(LONGEST);
    let mut line = Vec::new();
    timeout(CLIENT_TIME, reader.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => tokio::select! {
            answer = daemon.answer(request) => answer,
            // The client went away: it says nothing more otherwise.
            _ = reader.read_u8() => return Ok(()),
        },
        Err(_) => {
            super::Answer::Refused { why: "the daemon does not know this request: it is of another version".into() }
        }
    };
    let mut said = serde_json::to_vec(&answer)?;
    said.push(b'\n');
    timeout(CLIENT_TIME, writer.write_all(&said)).await?
}
