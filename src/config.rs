//! The configuration file: from its text to a checked [`Configuration`], or to an error that names place, cause and cure.
//! Reads the file system only to check paths; nothing is created, and no node is contacted.

mod check;
mod complaint;
mod mistakes;
mod names;
mod notation;
mod open;
mod other_format;
mod paths;
pub mod permissions;
mod reader;
mod service;
#[cfg(test)]
mod tests;
mod text;
mod values;
mod warnings;

use std::path::{Path, PathBuf};

use inosync_actors::filter::excludes::Excludes;
use inosync_actors::filter::settle::Settle;
use inosync_actors::rsync::extra::Extra;
use inosync_actors::site::{DirMoves, InitialSync, Site};

use crate::exit::Exit;
pub use check::default_state_dir;
pub use complaint::{Complaint, Complaints};
use reader::Reader;
pub use service::Service;
use text::Source;
use values::{dir_moves, every, extra, initial_sync, patterns, settle};

/// Where the configuration is looked for when `-c` is not given.
pub const DEFAULT_PATH: &str = "/etc/inosync/default.ron";

/// rsync, unless the configuration names another.
const DEFAULT_RSYNC: &str = "/usr/bin/rsync";

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
    ("confine", "confine: true"),
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

/// A configuration file, checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What is mirrored, and how.
    pub site: Site,
    /// What the process needs beside that.
    pub service: Service,
    /// What is taken, and most likely not meant as it is written.
    pub warnings: Vec<Complaint>,
}

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Something in it is wrong, or it cannot be read.
    #[error("{0}")]
    Wrong(Complaints),
    /// It is right, but this machine lacks something.
    #[error("{0}")]
    Environment(Complaint),
}

impl ConfigError {
    /// How the command ends because of it.
    pub fn exit_code(&self) -> Exit {
        match self {
            ConfigError::Wrong(_) => Exit::Config,
            ConfigError::Environment(_) => Exit::Environment,
        }
    }

    /// The fault and the cure, for the log.
    pub fn in_one_line(&self) -> String {
        match self {
            ConfigError::Wrong(complaints) => complaints.in_one_line(),
            ConfigError::Environment(complaint) => complaint.in_one_line(),
        }
    }
}

impl From<Complaint> for ConfigError {
    fn from(complaint: Complaint) -> Self {
        ConfigError::Wrong(complaint.into())
    }
}

impl From<Complaints> for ConfigError {
    fn from(complaints: Complaints) -> Self {
        ConfigError::Wrong(complaints)
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
    open::with_source(path, |source| {
        let mut read = Reader::of(source);
        let excludes = read.optional("rexcludes", Vec::new(), |list| patterns(&list));
        let wpath = read.required("wpath", |value| paths::absolute(&value, "wpath"));
        let sockets = read.key("socket_dir", |value| service::sockets(path, value.as_ref()));
        let parts = excludes.zip(wpath).zip(sockets);
        read.finish(parts.map(|((excludes, wpath), sockets)| Outline {
            wpath,
            excludes: Excludes::from_patterns(excludes),
            sockets,
        }))
    })
}

/// Reads and checks a configuration file.
///
/// # Errors
/// [`ConfigError`] for all that is wrong in it, as far as that can be told apart.
pub fn load(path: &Path) -> Result<Configuration, ConfigError> {
    open::with_source(path, check_text)
}

fn check_text(source: Source<'_>) -> Result<Configuration, ConfigError> {
    let mut read = Reader::of(source);
    let checked = configuration(&mut read, source);
    let configuration = read.finish(checked)?;
    // Last: it is about this machine, and the file itself should be right first.
    check::program(source, &configuration.site.rsync)?;
    Ok(configuration)
}

/// Everything in the file; `None` if the reader has something to complain about.
fn configuration(read: &mut Reader<'_>, source: Source<'_>) -> Option<Configuration> {
    let wpath = read.required("wpath", |value| check::wpath(&value));
    let excludes = read.optional("rexcludes", Vec::new(), |list| patterns(&list)).map(Excludes::from_patterns);
    let resolved = wpath.as_ref().map(|wpath| wpath.resolved.as_path());
    let (rpath, rnodes) = (read.value("rpath"), read.value("rnodes"));
    let nodes = read.keep(check::nodes(rpath.as_ref(), rnodes.as_ref(), resolved.zip(excludes.as_ref())));
    let own = check::Own {
        config: source.file,
        wpath: resolved,
        excludes: excludes.as_ref(),
        nodes: nodes.as_deref().unwrap_or_default(),
    };

    let extra = read.optional("extra", Extra::default(), |value| extra(&value, &own));
    let confine = read.optional("confine", true, |value| value.boolean());
    let rspeed = read.number("rspeed", 0, (0, MAX_RSPEED), "KiB/s");
    let logfile = read.maybe("logfile", |value| own.logfile(&value));
    let initial_sync = read.optional("initial_sync", InitialSync::default(), |value| initial_sync(&value));
    let dir_moves = read.optional("dir_moves", DirMoves::default(), |value| dir_moves(&value));
    let stop_timeout = read.seconds("stop_timeout", DEFAULT_STOP_TIMEOUT, (0, MAX_STOP_TIMEOUT));
    let resync_every = read.optional("resync_every", None, |value| every(&value));
    let verify_every = read.optional("verify_every", None, |value| every(&value));
    let on_synced = read.optional("on_synced", None, |value| check::hook(&value, "on_synced"));
    let on_all_synced = read.optional("on_all_synced", None, |value| check::hook(&value, "on_all_synced"));
    let hook_timeout = read.seconds("hook_timeout", DEFAULT_HOOK_TIMEOUT, (1, MAX_HOOK_TIMEOUT));
    let standby = read.optional("standby", true, |value| value.boolean());
    let ssh_master = read.optional("ssh_master", true, |value| value.boolean());
    let max_standbys = read.number("max_standbys", DEFAULT_STANDBYS, (0, MAX_STANDBYS), "processes");
    let bulk_size = read.number("bulk_size", DEFAULT_BULK_SIZE, (0, MAX_BULK_SIZE), "MiB");
    let allow_empty = read.optional("allow_empty", false, |value| value.boolean());
    let marker = read.maybe("marker", |value| check::marker(&value, own.excludes));
    let max_delete = read.maybe("max_delete", |value| value.number(MAX_MAX_DELETE, "entries"));
    let watch_poll = read.seconds("watch_poll", DEFAULT_WATCH_POLL, (1, MAX_WATCH_POLL));
    let settle = read.optional("settle", Settle::default(), |value| settle(&value));
    let state_file = read.key("state_dir", |value| own.state_file(value.as_ref()));
    let state = state_file.as_ref().and_then(Option::as_deref);
    let staging = read.key("staging", |value| own.staging(value.as_ref(), state));
    let service = Service::read(read, &own);
    let rsync = read.optional("rsync", DEFAULT_RSYNC.into(), |value| check::rsync(&value));
    let warnings = warnings::warnings(read, &own, extra.as_ref(), wpath.as_ref().map(|wpath| wpath.named.as_path()));

    let site = Site {
        wpath: wpath?.named,
        excludes: excludes?,
        nodes: nodes?,
        rsync: rsync?,
        confine: confine?,
        extra: extra?,
        rspeed: rspeed?,
        logfile: logfile?,
        initial_sync: initial_sync?,
        dir_moves: dir_moves?,
        standby: standby?,
        max_standbys: usize::try_from(max_standbys?).unwrap_or(usize::MAX),
        ssh_master: ssh_master?,
        bulk_size: bulk_size? << 20,
        state_file: state_file?,
        staging: staging?,
        stop_timeout: stop_timeout?,
        allow_empty: allow_empty?,
        marker: marker?,
        max_delete: max_delete?,
        watch_poll: watch_poll?,
        settle: settle?,
        resync_every: resync_every?,
        verify_every: verify_every?,
        on_synced: on_synced?,
        on_all_synced: on_all_synced?,
        hook_timeout: hook_timeout?,
    };
    Some(Configuration { site, service: service?, warnings })
}
