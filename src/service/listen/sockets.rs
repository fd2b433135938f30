//! Opens the sockets of the page of all sites, or takes those that the service manager has opened (sd_listen_fds(3)).

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;
use listenfd::ListenFd;
use rustix::fs::Mode;
use rustix::process::umask;
use slog::{Logger, info};
use tokio::net::{TcpListener, UnixListener};

use super::server::HttpListener;

/// A socket at a path, which is removed when this is dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket that is left is replaced by the next process.
        let _ = fs::remove_file(&self.0);
    }
}

/// The sockets that the service manager has opened.
///
/// # Errors
/// When one of them takes no connections.
pub fn passed(log: &Logger) -> io::Result<Vec<HttpListener>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).filter_map(|number| listener(&mut passed, number, log).transpose()).collect()
}

fn listener(passed: &mut ListenFd, number: usize, log: &Logger) -> io::Result<Option<HttpListener>> {
    let Ok(tcp) = passed.take_tcp_listener(number) else {
        let Some(unix) = passed.take_unix_listener(number)? else { return Ok(None) };
        unix.set_nonblocking(true)?;
        return Ok(Some(HttpListener::Unix(UnixListener::from_std(unix)?)));
    };
    let Some(tcp) = tcp else { return Ok(None) };
    tcp.set_nonblocking(true)?;
    super::tell(tcp.local_addr()?, log);
    Ok(Some(HttpListener::Tcp(TcpListener::from_std(tcp)?)))
}

/// Opens an address.
///
/// # Errors
/// When the address cannot be opened.
pub async fn at_address(address: SocketAddr, log: &Logger) -> io::Result<HttpListener> {
    let listener = TcpListener::bind(address).await?;
    super::tell(listener.local_addr().unwrap_or(address), log);
    Ok(HttpListener::Tcp(listener))
}

/// Opens a socket at a path, to which this user and this group may connect. One that a killed process left is replaced.
///
/// # Errors
/// When the socket cannot be made, or another process serves there.
pub fn at_path(path: &Path, log: &Logger) -> io::Result<(HttpListener, SocketFile)> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let is_left = |why: io::Error| why.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(is_left) {
        fs::remove_file(path)?;
    }
    // The mode is right from the beginning. No other thread makes files meanwhile.
    let before = umask(Mode::from_raw_mode(0o117));
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound?;
    info!(log, "page and metrics are served"; "at" => Escaped(path.as_os_str().as_bytes()).to_string());
    Ok((HttpListener::Unix(listener), SocketFile(path.to_owned())))
}
