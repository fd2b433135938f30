//! The keys that are about the process and not about mirroring: how others reach it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use slog::Level;

use super::check;
use super::complaint::{Complaint, Complaints};
use super::paths;
use super::reader::Reader;
use super::text::Value;
use crate::logging::{Format, LogStyle};

/// What the command needs beside the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// How the log looks.
    pub log: LogStyle,
    /// Directories in which the control socket may be, the best first; in each it is in a directory of this site alone.
    pub sockets: Vec<PathBuf>,
    /// Where the page and the metrics are served; `None` if they are not.
    pub listen: Option<SocketAddr>,
}

impl Service {
    /// As these keys say, as far as they are given.
    pub fn read(read: &mut Reader<'_>, own: &check::Own<'_>) -> Option<Service> {
        let log = read.optional("log", LogStyle::default(), |value| log_style(&value));
        let sockets = read.key("socket_dir", |value| {
            value.as_ref().map(|value| own.directory(value, "socket_dir", "each start")).transpose()?;
            sockets(own.config, value.as_ref())
        });
        let listen = read.maybe("listen", |value| address(&value));
        Some(Service { log: log?, sockets: sockets?, listen: listen? })
    }
}

/// The directories of this site in which the control socket may be: below the one that the configuration names, or else
/// those of a service, of root and of a login. None if there is to be no socket.
pub fn sockets(config: &Path, value: Option<&Value<'_>>) -> Result<Vec<PathBuf>, Complaint> {
    let parents = match value {
        Some(value) if value.string()?.is_empty() => Vec::new(),
        Some(value) => vec![paths::absolute(value, "socket_dir")?],
        None => usual_places(),
    };
    let name = check::site_name(config);
    Ok(parents.into_iter().map(|parent| parent.join(&name)).collect())
}

/// systemd's `RuntimeDirectory=` (systemd.exec(5)), its usual value, and that of a user's session (XDG base directories).
/// Who asks a service need not be in its environment, so all are looked at.
fn usual_places() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd gives several directories with colons between them.
    let first = |paths: OsString| std::env::split_paths(&paths).next();
    let session = variable("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("inosync"));
    let usual = PathBuf::from("/run/inosync");
    let mut places: Vec<PathBuf> =
        variable("RUNTIME_DIRECTORY").and_then(first).into_iter().chain([usual]).chain(session).collect();
    places.dedup();
    places
}

/// The address of the page.
fn address(value: &Value<'_>) -> Result<SocketAddr, Complaint> {
    let text = value.string()?;
    let parsed = text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
    parsed.ok_or_else(|| {
        let what = format!("`listen`: `{}` is no address with a port", text.escape_default());
        value.complaint(what, "write an IP address and a port: \"127.0.0.1:9877\", or \"[::1]:9877\"")
    })
}

/// How the log looks.
fn log_style(value: &Value<'_>) -> Result<LogStyle, Complaints> {
    let group = value.group("Log", "log: (format: Json, level: Info)")?;
    let mut wrong = Complaints::default();
    wrong.add(group.strangers(&["format", "level"], Some("log")));
    let LogStyle { format, level } = LogStyle::default();
    let part = |key: &str| group.get(key).map(|value| value.within("log"));
    let formats = [("Text", Format::Text), ("Json", Format::Json)];
    let levels = [("Warning", Level::Warning), ("Info", Level::Info), ("Debug", Level::Debug)];
    let format = wrong.keep(part("format").map_or(Ok(format), |value| value.choice(&formats)));
    let level = wrong.keep(part("level").map_or(Ok(level), |value| value.choice(&levels)));
    match format.zip(level) {
        Some((format, level)) => wrong.or(LogStyle { format, level }),
        None => Err(wrong),
    }
}
