//! `overview`: serves a page and the metrics of all sites of this machine, until it is stopped.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;
use slog::{Logger, info};

use crate::exit::Exit;
use crate::logging::{self, Log, LogStyle};
use crate::service::listen::cure;
use crate::service::listen::overview::OverviewPage;
use crate::service::listen::server::HttpListener;
use crate::service::listen::sockets::{self, SocketFile};
use crate::service::notify;
use crate::service::signals::StopSignals;

/// The place at which the command line wants the page, beside the sockets of the service manager.
pub struct WantedPlace {
    /// An address and a port.
    pub address: Option<SocketAddr>,
    /// The path of a socket.
    pub path: Option<PathBuf>,
}

/// The sockets that are served, and the file that belongs to one of them.
struct Sockets {
    listeners: Vec<HttpListener>,
    _file: Option<SocketFile>,
}

/// Serves until a signal asks for a stop.
pub async fn overview(wanted: &WantedPlace, verbose: u8) -> Exit {
    let log = Log::new(verbose, LogStyle::default());
    let Sockets { listeners, _file } = match open(wanted, &log.logger).await {
        Ok(sockets) if !sockets.listeners.is_empty() => sockets,
        Ok(_) => {
            logging::print_error(
                "inosync: overview has no place to serve at: write --listen 127.0.0.1:9876 or --socket PATH, or start it \
                 by systemctl start inosync-overview.socket",
            );
            return Exit::Usage;
        }
        Err(why) => {
            logging::print_error(&format!("inosync: {why}"));
            return Exit::Environment;
        }
    };
    let mut signals = match StopSignals::listen() {
        Ok(signals) => signals,
        Err(why) => {
            logging::print_error(&format!("inosync: signals cannot be handled: {why}"));
            return Exit::Environment;
        }
    };
    let page = OverviewPage::open(listeners, &log.logger);
    notify::serving();
    signals.next().await;
    page.close().await;
    info!(log.logger, "stopped");
    Exit::Done
}

/// Opens all sockets. The error is a sentence with its cure.
async fn open(WantedPlace { address, path }: &WantedPlace, log: &Logger) -> Result<Sockets, String> {
    let passed = sockets::passed(log);
    let mut listeners = passed.map_err(|why| {
        format!("a socket of the service manager takes no connections: {why}: correct the .socket unit")
    })?;
    if let Some(address) = address {
        let opened = sockets::at_address(*address, log).await;
        listeners.push(opened.map_err(|why| format!("{address} cannot be opened: {why}: {}", cure(why.kind())))?);
    }
    let Some(path) = path else { return Ok(Sockets { listeners, _file: None }) };
    let (listener, file) = sockets::at_path(path, log).map_err(|why| refused(path, &why))?;
    listeners.push(listener);
    Ok(Sockets { listeners, _file: Some(file) })
}

fn refused(path: &Path, why: &io::Error) -> String {
    let shown = Escaped(path.as_os_str().as_encoded_bytes());
    let cure = match why.kind() {
        io::ErrorKind::AddrInUse => "end the process that serves there, or name another path",
        io::ErrorKind::NotFound => "create the directory",
        io::ErrorKind::PermissionDenied => "name a path in a directory that this user may write to",
        io::ErrorKind::InvalidInput => "name a path of at most 107 bytes",
        _ => "name another path",
    };
    format!("the socket {shown} cannot be made: {why}: {cure}")
}
