//! The client of the control socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inosync_actors::path::Escaped;
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{Answer, Request, SOCKET};

/// The longest answer, in bytes; an answer has some kilobytes for each node.
const LONGEST: u64 = 16 * 1024 * 1024;
/// Time limit for an answer; the daemon may ask its nodes for their rsync for up to two seconds.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Time limit for what is known already: one daemon that hangs must not hold up a look at all.
const GLANCE_TIME: Duration = Duration::from_secs(1);
/// No time limit: the daemon answers when it is so.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Time limit for a reload, in which the daemon may start anew and watch a large tree.
const RELOAD_TIME: Duration = Duration::from_secs(600);

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No socket was found.
    #[error("no daemon answers for {config}: it does not run, or not with this file; looked in: {places}")]
    NoDaemon {
        /// The path of the configuration file.
        config: String,
        /// The directories that were tried.
        places: String,
    },
    /// The configuration says that there is no socket.
    #[error("{config} says that there is no control socket: remove `socket_dir: \"\"` and restart the daemon")]
    NoSocket {
        /// The path of the configuration file.
        config: String,
    },
    /// The socket belongs to another user.
    #[error("{place} may not be entered: ask as the daemon's user, or as root")]
    NotAllowed {
        /// The directory of the socket.
        place: String,
    },
    /// The answer is missing or of another version.
    #[error("the daemon does not answer as expected: {0}; if inosync was upgraded, restart the daemon")]
    Garbled(io::Error),
    /// The daemon took the question and did not answer in time.
    #[error("the daemon does not answer within {} s: it is stopped, or busy", .0.as_secs())]
    Silent(Duration),
}

/// Asks the daemon of this configuration file.
///
/// # Errors
/// When no daemon answers.
pub async fn ask(config: &Path, places: &[PathBuf], request: &Request) -> Result<Answer, AskError> {
    let shown = |path: &Path| Escaped(path.as_os_str().as_encoded_bytes()).to_string();
    if places.is_empty() {
        return Err(AskError::NoSocket { config: shown(config) });
    }
    let time = match request {
        Request::Glance => GLANCE_TIME,
        Request::Reload => RELOAD_TIME,
        Request::Wait { timeout, .. } => {
            timeout.map_or(FOR_EVER, |time| Duration::from_secs(time.into()) + ANSWER_TIME)
        }
        _ => ANSWER_TIME,
    };
    let mut refused = None;
    for place in places {
        match connect(place).await {
            Ok(stream) => {
                let answer = tokio::time::timeout(time, converse(stream, request)).await;
                return answer.map_err(|_| AskError::Silent(time))?.map_err(AskError::Garbled);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused.get_or_insert(place);
            }
            // There is no socket, or one that a killed daemon left.
            Err(_) => (),
        }
    }
    // Only now: a later place may have had a socket of this user.
    if let Some(place) = refused {
        return Err(AskError::NotAllowed { place: shown(place) });
    }
    let places = places.iter().map(|place| shown(place)).collect::<Vec<_>>().join(", ");
    Err(AskError::NoDaemon { config: shown(config), places })
}

/// The socket in the directory that is open as `dir`: a path of any length could not be connected to (unix(7)).
pub(super) fn within(dir: RawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{dir}")).join(SOCKET)
}

async fn connect(place: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let dir = File::from(rustix::fs::open(place, flags, Mode::empty())?);
    let stream = UnixStream::connect(within(dir.as_raw_fd())).await?;
    // The answer is trusted, so its author must be the owner of the directory.
    let peer = stream.peer_cred()?.uid();
    if peer == 0 || peer == dir.metadata()?.uid() { Ok(stream) } else { Err(io::ErrorKind::NotFound.into()) }
}

async fn converse(stream: UnixStream, request: &Request) -> io::Result<Answer> {
    let (reader, mut writer) = stream.into_split();
    let mut asked = serde_json::to_vec(request)?;
    asked.push(b'\n');
    writer.write_all(&asked).await?;
    let mut line = String::new();
    BufReader::new(reader).take(LONGEST).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}
