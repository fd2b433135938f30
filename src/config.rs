//! The configuration file: from its text to a checked [`Configuration`], or to an error that names place, cause and cure.
//! Reads the file system only to check paths; nothing is created, and no node is contacted.

mod check;
mod service;
#[cfg(test)]
mod tests;
mod text;
mod values;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inosync_actors::filter::excludes::Excludes;
use inosync_actors::filter::settle::Settle;
use inosync_actors::path::Escaped;
use inosync_actors::rsync::extra::Extra;
use inosync_actors::site::{DirMoves, InitialSync, Site};
use ron::error::Error as Ron;
use ron::value::RawValue;
use serde::Deserialize;

use crate::exit::Exit;
pub use check::fault_of;
pub use service::Service;
use text::{Complaint, SYNTAX_CURE, Source, Value, in_sentence, notation};
use values::{dir_moves, every, extra, initial_sync, patterns, settle};

/// rsync, unless the configuration names another.
const DEFAULT_RSYNC: &str = "/usr/bin/rsync";

/// In bytes: no configuration is so large, and a device has no end.
const LARGEST: u64 = 1 << 20;

/// In seconds. systemd kills a service that takes longer than its own TimeoutStopSec, 90 by default.
const DEFAULT_STOP_TIMEOUT: u64 = 30;

/// In seconds; a longer wait is a mistake in the unit.
const MAX_STOP_TIMEOUT: u64 = 86_400;

/// In seconds: comparing more often would be a way to mirror by itself. The most is a year.
const EVERY: std::ops::RangeInclusive<u64> = 60..=31_536_000;

/// One for each of the usual handful of nodes, and more where much changes; each takes some 1.5 MB.
const DEFAULT_STANDBYS: u64 = 32;

/// More is a mistake: each is an rsync process, here and at the node.
const MAX_STANDBYS: u64 = 10_000;

/// In MiB; some 0.1 s of a fast line.
const DEFAULT_BULK_SIZE: u64 = 8;

/// In MiB, 1 TiB.
const MAX_BULK_SIZE: u64 = 1 << 20;

/// In seconds.
const DEFAULT_WATCH_POLL: u64 = 60;

/// In seconds; what is not watched should not wait for more than a day.
const MAX_WATCH_POLL: u64 = 86_400;

/// In seconds; a longer wait looks like a mirror that does not work.
const MAX_SETTLE: u64 = 86_400;

/// In seconds.
const DEFAULT_HOOK_TIMEOUT: u64 = 60;

/// In seconds; a program that runs for longer does not end.
const MAX_HOOK_TIMEOUT: u64 = 86_400;

/// In KiB/s, some 1 TB/s: rsync keeps the limit in an int.
const MAX_RSPEED: u64 = 1_000_000_000;

/// rsync keeps the limit in an int.
const MAX_MAX_DELETE: u64 = 2_000_000_000;

/// Every key, with an example for when it is missing.
pub const KEYS: &[(&str, &str)] = &[
    ("wpath", "wpath: \"/var/www\", the directory to watch"),
    ("rexcludes", "rexcludes: [\"*.tmp\"]"),
    ("rpath", "rpath: \"/var/www\", the directory on each node"),
    ("rnodes", "rnodes: [\"user@host:\"], what the tree is mirrored to"),
    ("extra", "extra: \"-a\""),
    ("rspeed", "rspeed: 0"),
    ("rsync", "rsync: \"/usr/bin/rsync\""),
    ("logfile", "logfile: \"/var/log/inosync/rsync.log\""),
    ("initial_sync", "initial_sync: Full"),
    ("dir_moves", "dir_moves: Log"),
    ("standby", "standby: true"),
    ("max_standbys", "max_standbys: 32"),
    ("ssh_master", "ssh_master: true"),
    ("bulk_size", "bulk_size: 8"),
    ("state_dir", "state_dir: \"/var/lib/inosync\""),
    ("staging", "staging: \"/srv/inosync-staging\""),
    ("stop_timeout", "stop_timeout: 30"),
    ("allow_empty", "allow_empty: false"),
    ("marker", "marker: \".inosync-marker\""),
    ("max_delete", "max_delete: 1000"),
    ("watch_poll", "watch_poll: 60"),
    ("settle", "settle: [(\"*.part\", 30)]"),
    ("resync_every", "resync_every: 86400"),
    ("verify_every", "verify_every: 604800"),
    ("on_synced", "on_synced: [\"/usr/local/bin/program\", \"argument\"]"),
    ("on_all_synced", "on_all_synced: [\"/usr/local/bin/program\", \"argument\"]"),
    ("hook_timeout", "hook_timeout: 60"),
    ("socket_dir", "socket_dir: \"/run/inosync\""),
    ("listen", "listen: \"127.0.0.1:9877\""),
    ("log", "log: (format: Text, level: Info)"),
];

/// The file as it is written. Each value is read on its own, so that an error knows its position.
#[derive(Deserialize)]
#[serde(rename = "Site", deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    wpath: &'a RawValue,
    #[serde(borrow)]
    rexcludes: Option<&'a RawValue>,
    #[serde(borrow)]
    rpath: &'a RawValue,
    #[serde(borrow)]
    rnodes: &'a RawValue,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
    #[serde(borrow)]
    rspeed: Option<&'a RawValue>,
    #[serde(borrow)]
    rsync: Option<&'a RawValue>,
    #[serde(borrow)]
    logfile: Option<&'a RawValue>,
    #[serde(borrow)]
    initial_sync: Option<&'a RawValue>,
    #[serde(borrow)]
    dir_moves: Option<&'a RawValue>,
    #[serde(borrow)]
    standby: Option<&'a RawValue>,
    #[serde(borrow)]
    max_standbys: Option<&'a RawValue>,
    #[serde(borrow)]
    ssh_master: Option<&'a RawValue>,
    #[serde(borrow)]
    bulk_size: Option<&'a RawValue>,
    #[serde(borrow)]
    state_dir: Option<&'a RawValue>,
    #[serde(borrow)]
    staging: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_timeout: Option<&'a RawValue>,
    #[serde(borrow)]
    allow_empty: Option<&'a RawValue>,
    #[serde(borrow)]
    marker: Option<&'a RawValue>,
    #[serde(borrow)]
    max_delete: Option<&'a RawValue>,
    #[serde(borrow)]
    watch_poll: Option<&'a RawValue>,
    #[serde(borrow)]
    settle: Option<&'a RawValue>,
    #[serde(borrow)]
    resync_every: Option<&'a RawValue>,
    #[serde(borrow)]
    verify_every: Option<&'a RawValue>,
    #[serde(borrow)]
    on_synced: Option<&'a RawValue>,
    #[serde(borrow)]
    on_all_synced: Option<&'a RawValue>,
    #[serde(borrow)]
    hook_timeout: Option<&'a RawValue>,
    #[serde(borrow)]
    socket_dir: Option<&'a RawValue>,
    #[serde(borrow)]
    listen: Option<&'a RawValue>,
    #[serde(borrow)]
    log: Option<&'a RawValue>,
}

/// A configuration file, checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What is mirrored, and how.
    pub site: Site,
    /// What the process needs beside that.
    pub service: Service,
}

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot read the configuration: {cause}\n  name a readable file with -c FILE")]
    Unreadable {
        /// Its name, for people.
        file: String,
        /// What the kernel said.
        #[source]
        cause: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Wrong(Complaint),
    /// It is right, but this machine lacks something.
    #[error("{0}")]
    Environment(Complaint),
}

impl ConfigError {
    /// How the command ends because of it.
    pub fn exit_code(&self) -> Exit {
        match self {
            ConfigError::Unreadable { .. } | ConfigError::Wrong(_) => Exit::Config,
            ConfigError::Environment(_) => Exit::Environment,
        }
    }
}

impl From<Complaint> for ConfigError {
    fn from(complaint: Complaint) -> Self {
        ConfigError::Wrong(complaint)
    }
}

/// What the file says of whom to ask, and of what is mirrored: read without the checks of this machine, so that there is
/// an answer also while the source is missing.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The watched directory, as it is named.
    pub wpath: PathBuf,
    /// What is neither watched, sent nor deleted.
    pub excludes: Excludes,
    /// As [`Service::sockets`].
    pub sockets: Vec<PathBuf>,
}

/// Reads what [`Outline`] needs.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, or these keys are wrong.
pub fn outline(path: &Path) -> Result<Outline, ConfigError> {
    with_source(path, |source| {
        let written = written(source)?;
        let excludes = source.optional("rexcludes", written.rexcludes);
        let excludes = excludes.map_or(Ok(Vec::new()), |list| patterns(&list))?;
        Ok(Outline {
            wpath: check::absolute(&source.value("wpath", written.wpath), "wpath")?,
            excludes: Excludes::from_patterns(excludes),
            sockets: service::sockets(path, source.optional("socket_dir", written.socket_dir).as_ref())?,
        })
    })
}

/// Reads and checks a configuration file.
///
/// # Errors
/// [`ConfigError`] for the first thing that is wrong.
pub fn load(path: &Path) -> Result<Configuration, ConfigError> {
    with_source(path, check_text)
}

/// The file, unless it is without end.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(std::io::Error::other("it is larger than 1 MiB")) } else { Ok(bytes) }
}

fn with_source<T>(path: &Path, read: impl FnOnce(Source<'_>) -> Result<T, ConfigError>) -> Result<T, ConfigError> {
    let file = || Escaped(path.as_os_str().as_bytes()).to_string();
    let bytes = read_bounded(path).map_err(|cause| ConfigError::Unreadable { file: file(), cause })?;
    match std::str::from_utf8(&bytes) {
        // Some editors put a mark before the first character.
        Ok(text) => read(Source { file: path, text: text.strip_prefix('\u{feff}').unwrap_or(text) }),
        Err(error) => {
            let (text, at) = (String::from_utf8_lossy(&bytes), error.valid_up_to());
            let cure = "save the file as UTF-8; a path that is not UTF-8 cannot be written here";
            Err(Source { file: path, text: &text }.complaint(at..at + 1, "this byte is not UTF-8", cure).into())
        }
    }
}

fn written(source: Source<'_>) -> Result<Written<'_>, Complaint> {
    if source.text.trim().is_empty() {
        let cure = "at least: (wpath: \"/from\", rpath: \"/to\", rnodes: [\"user@host:\"])";
        return Err(source.complaint(0..0, "the file is empty", cure));
    }
    notation().from_str(source.text).map_err(|error| complain_about_notation(source, &error))
}

fn check_text(source: Source<'_>) -> Result<Configuration, ConfigError> {
    let written = written(source)?;
    let value = |key: &'static str, raw| source.optional(key, raw);

    let wpath = check::wpath(&source.value("wpath", written.wpath))?;
    let excludes = value("rexcludes", written.rexcludes).map_or(Ok(Vec::new()), |list| patterns(&list))?;
    let excludes = Excludes::from_patterns(excludes);
    let (rpath, rnodes) = (source.value("rpath", written.rpath), source.value("rnodes", written.rnodes));
    let nodes = check::nodes(&rpath, &rnodes, &wpath.resolved)?;
    let extra = value("extra", written.extra).map_or(Ok(Extra::default()), |value| extra(&value, &nodes))?;
    let number = |key: &'static str, raw, default, (least, most), unit| {
        value(key, raw).map_or(Ok(default), |value: Value<'_>| value.number_from(least, most, unit))
    };
    let rspeed = number("rspeed", written.rspeed, 0, (0, MAX_RSPEED), "KiB/s")?;
    let logfile = value("logfile", written.logfile);
    let logfile = logfile.map(|value| check::logfile(&value, &wpath.resolved, &excludes, &nodes)).transpose()?;
    let initial_sync =
        value("initial_sync", written.initial_sync).map_or(Ok(InitialSync::default()), |value| initial_sync(&value))?;
    let dir_moves = value("dir_moves", written.dir_moves).map_or(Ok(DirMoves::default()), |value| dir_moves(&value))?;
    let stop_timeout =
        number("stop_timeout", written.stop_timeout, DEFAULT_STOP_TIMEOUT, (0, MAX_STOP_TIMEOUT), "seconds")?;
    let resync_every = value("resync_every", written.resync_every).map_or(Ok(None), |value| every(&value))?;
    let verify_every = value("verify_every", written.verify_every).map_or(Ok(None), |value| every(&value))?;
    let hook = |key: &'static str, raw| value(key, raw).map_or(Ok(None), |value| check::hook(&value, key));
    let (on_synced, on_all_synced) =
        (hook("on_synced", written.on_synced)?, hook("on_all_synced", written.on_all_synced)?);
    let hook_timeout =
        number("hook_timeout", written.hook_timeout, DEFAULT_HOOK_TIMEOUT, (1, MAX_HOOK_TIMEOUT), "seconds")?;
    let switch = |key, raw| value(key, raw).map_or(Ok(true), |value: Value<'_>| value.boolean());
    let (standby, ssh_master) = (switch("standby", written.standby)?, switch("ssh_master", written.ssh_master)?);
    let max_standbys = number("max_standbys", written.max_standbys, DEFAULT_STANDBYS, (0, MAX_STANDBYS), "processes")?;
    let bulk_size = number("bulk_size", written.bulk_size, DEFAULT_BULK_SIZE, (0, MAX_BULK_SIZE), "MiB")?;
    let allow_empty = value("allow_empty", written.allow_empty).map_or(Ok(false), |value| value.boolean())?;
    let marker = value("marker", written.marker).map(|value| check::marker(&value, &excludes)).transpose()?;
    let max_delete = value("max_delete", written.max_delete);
    let max_delete = max_delete.map(|value| value.number(MAX_MAX_DELETE, "entries")).transpose()?;
    let watch_poll = number("watch_poll", written.watch_poll, DEFAULT_WATCH_POLL, (1, MAX_WATCH_POLL), "seconds")?;
    let settle = value("settle", written.settle).map_or(Ok(Settle::default()), |value| settle(&value))?;
    let own = check::Own { config: source.file, wpath: &wpath.resolved, excludes: &excludes, nodes: &nodes };
    let state_file = own.state_file(value("state_dir", written.state_dir).as_ref())?;
    let staging = own.staging(value("staging", written.staging).as_ref(), state_file.as_deref())?;
    let [log, socket_dir, listen] =
        [("log", written.log), ("socket_dir", written.socket_dir), ("listen", written.listen)]
            .map(|(key, raw)| value(key, raw));
    let service = Service::of(&own, log.as_ref(), socket_dir.as_ref(), listen.as_ref())?;
    // Last: it is about this machine, and the file itself should be right first.
    let rsync = check::rsync(source, value("rsync", written.rsync).as_ref(), Path::new(DEFAULT_RSYNC))?;

    let stop_timeout = Duration::from_secs(stop_timeout);
    let wpath = wpath.named;
    let (max_standbys, bulk_size) = (usize::try_from(max_standbys).unwrap_or(usize::MAX), bulk_size << 20);
    let site = Site {
        wpath,
        excludes,
        nodes,
        rsync,
        extra,
        rspeed,
        logfile,
        initial_sync,
        dir_moves,
        standby,
        max_standbys,
        ssh_master,
        bulk_size,
        state_file,
        staging,
        stop_timeout,
        allow_empty,
        marker,
        max_delete,
        watch_poll: Duration::from_secs(watch_poll),
        settle,
        resync_every,
        verify_every,
        on_synced,
        on_all_synced,
        hook_timeout: Duration::from_secs(hook_timeout),
    };
    Ok(Configuration { site, service })
}

/// ron's errors about the file as a whole, in our words.
fn complain_about_notation(source: Source<'_>, error: &ron::error::SpannedError) -> Complaint {
    let at = source.error_range(error);
    let allowed = || format!("allowed keys: {}", KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", "));
    let example = |key: &'static str| KEYS.iter().find(|(name, _)| *name == key).map_or(key, |(_, example)| *example);
    match &error.code {
        Ron::NoSuchStructField { found, .. } => source.complaint(at, format!("unknown key `{found}`"), allowed()),
        Ron::MissingStructField { field, .. } => {
            source.complaint(at, format!("the key `{field}` is missing"), format!("add {}", example(field)))
        }
        Ron::DuplicateStructField { field, .. } => {
            source.complaint(at, format!("the key `{field}` is given twice"), "keep one of them")
        }
        Ron::ExpectedStructLike | Ron::ExpectedNamedStructLike(_) | Ron::ExpectedDifferentStructName { .. } => {
            source.complaint(at, "the configuration must be one pair of parentheses", SYNTAX_CURE)
        }
        other => source.complaint(at, in_sentence(other), SYNTAX_CURE),
    }
}
