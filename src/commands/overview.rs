//! `status` without a site: one look at all sites of this machine, those that run and those that are only configured.

mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;
use inosync_actors::status::Status;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::commands::status;
use crate::commands::target::DaemonTarget;
use crate::config::{self, sites};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, AskError, Request, ask};

/// A site of this machine, before it is asked.
#[derive(Debug, Default)]
struct UnaskedSite {
    /// Its configuration file, if there is one in a directory of sites.
    file: Option<PathBuf>,
    /// Directories in which its socket may be.
    places: Vec<PathBuf>,
}

/// The sites of this machine, by the names of the directories of their sockets.
#[derive(Debug, Default)]
struct UnaskedSites {
    sites: BTreeMap<OsString, UnaskedSite>,
    /// Directories of sockets that this user may not read.
    closed: Vec<PathBuf>,
}

/// The answer of a site.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum SiteAnswer {
    /// The daemon runs, and this is its status.
    Running { status: Box<Status> },
    /// No daemon runs, although there is a configuration.
    NotRunning,
    /// This user may not ask the daemon.
    NotAllowed,
    /// A daemon runs and gave no answer.
    NoAnswer { why: String },
}

/// A site of this machine and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct SiteStatus {
    /// The name by which `-c` finds it, or the path of its file.
    site: String,
    answer: SiteAnswer,
}

/// The answer in JSON.
#[derive(Debug, Serialize)]
struct Overview<'a> {
    sites: &'a [SiteStatus],
    /// Directories of sockets that this user may not read.
    closed: Vec<String>,
}

/// Prints the status of all sites of this machine. Where the only one is the default site, its whole status.
pub async fn overview(json: bool) -> Exit {
    let candidates = UnaskedSites::find();
    let default = sites::file_of(None).unwrap_or_else(|_| config::DEFAULT_PATH.into());
    let only = candidates.sites.keys().next().filter(|_| candidates.sites.len() == 1);
    if only.is_some_and(|only| *only == config::site_name(&default)) {
        return status::status(&DaemonTarget::of(&default), json).await;
    }
    if candidates.sites.is_empty() && candidates.closed.is_empty() {
        logging::print_error(
            "inosync: there is no site: no daemon runs, and there is no /etc/inosync/NAME.ron: write one \
             (inosync.ron(5)), or name the file with -c FILE",
        );
        return Exit::NoAnswer;
    }
    let UnaskedSites { sites, closed } = candidates;
    let found = ask_all(sites).await;
    let closed: Vec<String> = closed.iter().map(|dir| shown(dir)).collect();
    let text = if json {
        serde_json::to_string_pretty(&Overview { sites: &found, closed: closed.clone() }).unwrap_or_default()
    } else {
        table::of(&found)
    };
    logging::print(text.trim_end());
    let unasked = found.iter().filter(|site| site.answer == SiteAnswer::NotAllowed).count();
    if unasked > 0 {
        logging::print_error(&format!(
            "inosync: {unasked} of {} sites may not be asked by this user: ask as root, or as the daemon's user",
            found.len()
        ));
    } else if !closed.is_empty() {
        let closed = closed.join(", ");
        logging::print_error(&format!(
            "inosync: {closed} may not be read by this user, so more sites may run: ask as root"
        ));
    }
    let is_closed = (unasked > 0 || !closed.is_empty()).then_some(Exit::NoAnswer);
    found.iter().map(|site| site.answer.exit()).chain(is_closed).max_by_key(gravity).unwrap_or(Exit::NoAnswer)
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

/// The order of the exit codes: a node that fails is worse than a site of which nothing is known.
fn gravity(exit: &Exit) -> u8 {
    match exit {
        Exit::Failing => 3,
        Exit::NoAnswer => 2,
        Exit::Attention => 1,
        _ => 0,
    }
}

impl SiteAnswer {
    fn exit(&self) -> Exit {
        match self {
            SiteAnswer::Running { status } => status::exit_of(status.verdict()),
            SiteAnswer::NotRunning | SiteAnswer::NotAllowed => Exit::NoAnswer,
            // It may fail as well, and nobody would know.
            SiteAnswer::NoAnswer { .. } => Exit::Failing,
        }
    }
}

impl UnaskedSites {
    /// Finds the sockets and the configuration files of this machine.
    fn find() -> Self {
        let mut found = UnaskedSites::default();
        let dirs = config::socket_dirs_of_all();
        for dir in &dirs {
            found.add_sockets(dir);
        }
        for file in sites::configured() {
            let site = found.sites.entry(config::site_name(&file)).or_default();
            let named = config::outline(&file).map(|outline| outline.sockets).unwrap_or_default();
            let name = config::site_name(&file);
            for place in dirs.iter().map(|dir| dir.join(&name)).chain(named) {
                if !site.places.contains(&place) {
                    site.places.push(place);
                }
            }
            site.file.get_or_insert(file);
        }
        found
    }

    /// Adds the sites that have a directory for their socket in this one.
    fn add_sockets(&mut self, dir: &Path) {
        match std::fs::read_dir(dir) {
            Ok(entries) => {
                let names = entries.flatten().map(|entry| entry.file_name());
                // The path of a file, with `%` for each slash.
                for name in names.filter(|name| name.as_bytes().starts_with(b"%")) {
                    let place = dir.join(&name);
                    self.sites.entry(name).or_default().places.push(place);
                }
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => self.closed.push(dir.to_owned()),
            Err(_) => (),
        }
    }
}

/// The path of the configuration file of which a directory of sockets has its name.
fn file_of(name: &OsString) -> PathBuf {
    let bytes = name.as_bytes().iter().map(|byte| if *byte == b'%' { b'/' } else { *byte });
    OsString::from_vec(bytes.collect()).into()
}

/// Asks all sites at the same time. Sockets that a killed daemon left, of a file that is gone, are no sites.
async fn ask_all(sites: BTreeMap<OsString, UnaskedSite>) -> Vec<SiteStatus> {
    let mut asked = JoinSet::new();
    for (name, UnaskedSite { file, places }) in sites {
        asked.spawn_local(async move {
            let is_configured = file.is_some();
            let file = file.unwrap_or_else(|| file_of(&name));
            let answer = match ask(&file, &places, &Request::Glance).await {
                Ok(Answer::Status(status)) => SiteAnswer::Running { status },
                Ok(Answer::Refused { why }) => SiteAnswer::NoAnswer { why },
                Ok(_) => SiteAnswer::NoAnswer { why: "it is of another version: restart it".to_owned() },
                Err(AskError::NotAllowed { .. }) => SiteAnswer::NotAllowed,
                Err(AskError::NoDaemon { .. } | AskError::NoSocket { .. }) if !is_configured => return None,
                Err(AskError::NoDaemon { .. } | AskError::NoSocket { .. }) => SiteAnswer::NotRunning,
                Err(why) => SiteAnswer::NoAnswer { why: why.to_string() },
            };
            let site = match &answer {
                SiteAnswer::Running { status } if !is_configured && !status.config.is_empty() => status.config.clone(),
                _ => sites::name_of(&file),
            };
            Some(SiteStatus { site, answer })
        });
    }
    let mut found: Vec<SiteStatus> = Vec::new();
    while let Some(site) = asked.join_next().await {
        found.extend(site.ok().flatten());
    }
    found.sort_by(|one, other| one.site.cmp(&other.site));
    found
}
