//! The side of the control socket that asks.

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

/// The most that is read of an answer, in bytes: some kilobytes for each node.
const LONGEST: u64 = 16 * 1024 * 1024;
/// How long a daemon may take to answer; it asks the nodes for their rsync for up to two seconds.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket.
    #[error("no daemon answers for {config}: it does not run, or not with this file; looked in: {places}")]
    NoDaemon {
        /// The configuration file.
        config: String,
        /// Where a socket might be.
        places: String,
    },
    /// There is to be none.
    #[error("{config} says that there is no control socket: remove `socket_dir: \"\"` and restart the daemon")]
    NoSocket {
        /// The configuration file.
        config: String,
    },
    /// There is one, of somebody else's.
    #[error("{place} may not be entered: ask as the daemon's user, or as root")]
    NotAllowed {
        /// Where the socket is.
        place: String,
    },
    /// It answers something else, or nothing.
    #[error("the daemon does not answer as expected: {0}; if inosync was upgraded, restart the daemon")]
    Garbled(io::Error),
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
    let mut refused = None;
    for place in places {
        match connect(place).await {
            Ok(stream) => {
                let answer = tokio::time::timeout(ANSWER_TIME, converse(stream, request)).await;
                let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                return answer.map_err(AskError::Garbled);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused.get_or_insert(place);
            }
            // Nothing is there, or what a killed daemon left.
            Err(_) => (),
        }
    }
    // Another one may be this user's own.
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
    // What is said is believed: whoever says it must own the place where it is looked for.
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
