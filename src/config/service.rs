//! The keys that are about the process and not about mirroring: how others reach it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ron::value::RawValue;
use serde::Deserialize;
use slog::Level;

use super::check;
use super::text::{Complaint, Value};
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
    pub fn of(
        own: &check::Own<'_>,
        log: Option<&Value<'_>>,
        socket_dir: Option<&Value<'_>>,
        listen: Option<&Value<'_>>,
    ) -> Result<Service, Complaint> {
        socket_dir.map(|value| own.directory(value, "socket_dir", "each start")).transpose()?;
        Ok(Service {
            log: log.map_or(Ok(LogStyle::default()), log_style)?,
            sockets: sockets(own.config, socket_dir)?,
            listen: listen.map(address).transpose()?,
        })
    }
}

/// The directories of this site in which the control socket may be: below the one that the configuration names, or else
/// those of a service, of root and of a login. None if there is to be no socket.
pub fn sockets(config: &Path, value: Option<&Value<'_>>) -> Result<Vec<PathBuf>, Complaint> {
    let parents = match value {
        Some(value) if value.string()?.is_empty() => Vec::new(),
        Some(value) => vec![check::absolute(value, "socket_dir")?],
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

/// The key `log` as it is written.
#[derive(Deserialize)]
#[serde(rename = "Log", deny_unknown_fields)]
struct WrittenLog<'a> {
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    #[serde(borrow)]
    level: Option<&'a RawValue>,
}

/// How the log looks.
fn log_style(value: &Value<'_>) -> Result<LogStyle, Complaint> {
    let written: WrittenLog<'_> = value.group("log: (format: Json, level: Info)", "format, level")?;
    let (LogStyle { mut format, mut level }, part) = (LogStyle::default(), |key, raw| value.part(key, raw));
    if let Some(value) = part("format", written.format) {
        format = value.choice(&[("Text", Format::Text), ("Json", Format::Json)])?;
    }
    if let Some(value) = part("level", written.level) {
        level = value.choice(&[("Warning", Level::Warning), ("Info", Level::Info), ("Debug", Level::Debug)])?;
    }
    Ok(LogStyle { format, level })
}
