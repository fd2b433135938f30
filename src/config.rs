//! The configuration file: from its text to a checked [`Configuration`], or to complaints that name place, cause and cure.
//! Reads the file system only to check paths; creates nothing and contacts no node.

mod complaint;
mod exclude_from;
mod file;
mod include;
mod keys;
mod names;
mod node_record;
mod nodes;
mod other_format;
mod paths;
pub mod permissions;
mod places;
mod record;
mod scan;
pub mod sites;
#[cfg(test)]
mod tests;
mod value;
mod values;
mod warnings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::site::Site;

use crate::exit::Exit;
use crate::logging::LogStyle;
pub use complaint::{ConfigComplaint, ConfigComplaints};
use exclude_from::PatternFile;
use include::IncludedFiles;
use keys::Draft;
#[cfg(test)]
pub use keys::KEYS;
pub use places::{default_state_dir, site_name, socket_dirs_of_all, usual_sockets};

/// The configuration file if the command line names none.
pub const DEFAULT_PATH: &str = "/etc/inosync/default.ron";

/// A configuration file, checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The tree, its nodes, and how they are mirrored.
    pub site: Site,
    /// The keys of the process beside those.
    pub service: Service,
    /// Values that are accepted and most likely not meant as they are written.
    pub warnings: Vec<ConfigComplaint>,
}

/// The keys that are about the process and not about mirroring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// The configuration file first, then all other files that the configuration was read from.
    pub files: Vec<PathBuf>,
    /// Format and level of the log.
    pub log: LogStyle,
    /// Directories in which the control socket may be, the best first; each belongs to this site alone.
    pub sockets: Vec<PathBuf>,
    /// Address of the page and the metrics; `None` if they are not served.
    pub listen: Option<SocketAddr>,
}

/// The reason why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is wrong, or cannot be read.
    #[error("{0}")]
    Wrong(ConfigComplaints),
    /// The file is right, but this machine lacks something.
    #[error("{0}")]
    Environment(ConfigComplaint),
}

impl ConfigError {
    /// The exit code of a command that ends because of the error.
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

impl<T: Into<ConfigComplaints>> From<T> for ConfigError {
    fn from(complaints: T) -> Self {
        ConfigError::Wrong(complaints.into())
    }
}

/// The keys that a question to a running daemon needs, read without the checks of this machine: there is an answer also
/// while the source is missing.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The watched directory, as it is named.
    pub wpath: PathBuf,
    /// Patterns of names that are neither watched, sent nor deleted.
    pub excludes: Excludes,
    /// The sockets, as [`Service::sockets`].
    pub sockets: Vec<PathBuf>,
}

/// Reads the keys of an [`Outline`].
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, or these keys are wrong.
pub fn outline(path: &Path) -> Result<Outline, ConfigError> {
    let included = IncludedFiles::of(file::configuration(path)?);
    let mut record = included.record();
    let wpath = record.value("wpath").map_or(Ok(PathBuf::new()), |value| paths::absolute(&value, "wpath"));
    let excludes = record.value("rexcludes").map_or(Ok(Vec::new()), |list| values::patterns(&list));
    let named = record.value("exclude_from").map_or(Ok(Vec::new()), |value| PatternFile::patterns_of(&value));
    let sockets = places::sockets(path, record.value("socket_dir").as_ref());
    let mut patterns = record.keep(excludes).unwrap_or_default();
    patterns.extend(record.keep(named).unwrap_or_default());
    let outline = Outline {
        wpath: record.keep(wpath).unwrap_or_default(),
        excludes: Excludes::from_patterns(patterns),
        sockets: record.keep(sockets).unwrap_or_default(),
    };
    record.finish()?;
    Ok(outline)
}

/// Reads and checks a configuration file, with what it includes.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong, as far as faults can be told apart.
pub fn load(path: &Path) -> Result<Configuration, ConfigError> {
    check(&IncludedFiles::of(file::configuration(path)?))
}

/// Checks a configuration that was read.
fn check(included: &IncludedFiles) -> Result<Configuration, ConfigError> {
    let mut record = included.record();
    let mut draft = Draft::of(&mut record, &included.main.path);
    record.finish()?;
    draft.service.files.splice(0..0, included.paths());
    let programs = std::mem::take(&mut draft.programs);
    let configuration = draft.finish(&record);
    // Last: the program is a matter of this machine, and the file itself should be right first.
    let source = included.main.source();
    places::program(source, record.value("rsync").as_ref(), &configuration.site.rsync)?;
    programs.iter().try_for_each(|(value, path)| places::program(source, Some(value), path))?;
    Ok(configuration)
}

#[cfg(test)]
fn check_text(text: &str) -> Result<Configuration, ConfigError> {
    check(&IncludedFiles::of(file::TextFile::of_text("f", text)))
}
