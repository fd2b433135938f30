//! All sites of this machine: those that run and those that are only configured, each asked for its status.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;
use inosync_actors::status::{Status, Verdict};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::config::{self, sites};
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
pub struct UnaskedSites {
    sites: BTreeMap<OsString, UnaskedSite>,
    /// Directories of sockets that this user may not read.
    closed: Vec<PathBuf>,
}

/// The answer of a site.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum SiteAnswer {
    /// The daemon runs, and this is its status.
    Running {
        /// All that the daemon tells of itself.
        status: Box<Status>,
    },
    /// No daemon runs, although there is a configuration.
    NotRunning,
    /// This user may not ask the daemon.
    NotAllowed,
    /// A daemon runs and gave no answer.
    NoAnswer {
        /// The reason, with the cure.
        why: String,
    },
}

/// A site of this machine and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteStatus {
    /// The name by which `-c` finds it, or the path of its file.
    pub site: String,
    /// The answer of its daemon.
    pub answer: SiteAnswer,
}

/// All sites of this machine and their answers, as JSON has them.
#[derive(Debug, Default, Serialize)]
pub struct AllSites {
    /// Each of them, in the order of their names.
    pub sites: Vec<SiteStatus>,
    /// Directories of sockets that this user may not read: more sites may be there.
    pub closed: Vec<String>,
}

impl SiteAnswer {
    /// The status, if the daemon told it.
    pub fn status(&self) -> Option<&Status> {
        match self {
            SiteAnswer::Running { status } => Some(status),
            _ => None,
        }
    }

    /// The word for a site that tells no status, and the reason if there is one to tell.
    pub fn silence(&self) -> Option<(&'static str, &str)> {
        match self {
            SiteAnswer::Running { .. } => None,
            SiteAnswer::NotRunning => Some(("not running", "")),
            SiteAnswer::NotAllowed => Some(("not allowed", "this user may not ask the daemon")),
            SiteAnswer::NoAnswer { why } => Some(("no answer", why)),
        }
    }

    /// The urgency with which a person should look; `None` if nothing is known of the site.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            SiteAnswer::Running { status } => Some(status.verdict()),
            SiteAnswer::NotRunning | SiteAnswer::NotAllowed => None,
            // It may fail as well, and nobody would know.
            SiteAnswer::NoAnswer { .. } => Some(Verdict::Failing),
        }
    }
}

impl UnaskedSites {
    /// Finds the sockets and the configuration files of this machine.
    pub fn find() -> Self {
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

    /// Tells if there is no site, as far as this user may know.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty() && self.closed.is_empty()
    }

    /// The name of the directory of the socket of the only site, if there is one.
    pub fn only(&self) -> Option<&OsString> {
        self.sites.keys().next().filter(|_| self.sites.len() == 1)
    }

    /// Asks all sites at the same time.
    pub async fn ask(self) -> AllSites {
        let closed = self.closed.iter().map(|dir| Escaped(dir.as_os_str().as_bytes()).to_string()).collect();
        AllSites { sites: ask_all(self.sites).await, closed }
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
