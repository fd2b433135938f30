//! The directories and files that a configuration names on this machine.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use inosync_actors::node::Node;
use inosync_actors::site::extra::Keeps;

use super::ConfigError;
use super::complaint::ConfigComplaint;
use super::keys::Draft;
use super::paths::{absolute, absolute_in, inside, resolve_existing, shown};
use super::value::{ConfigText, Value};

/// rsync, unless the configuration names another.
pub const DEFAULT_RSYNC: &str = "/usr/bin/rsync";

/// Symlinks that are followed from one to the next, as by the kernel.
const MOST_LINKS: usize = 40;

/// The watched directory, which no file of the daemon may lie in.
pub struct Watched {
    /// The path as it is written: a symlink in it may be pointed elsewhere, and the daemon has to notice that.
    pub named: PathBuf,
    /// The path without symlinks in it.
    pub resolved: PathBuf,
}

/// Checks the watched directory.
pub fn wpath(value: &Value<'_>) -> Result<Watched, ConfigComplaint> {
    let path = absolute(value, "wpath")?;
    let resolved = path.canonicalize().and_then(|resolved| Ok((resolved.metadata()?, resolved)));
    match resolved {
        Ok((metadata, resolved)) if metadata.is_dir() => Ok(Watched { named: path.components().collect(), resolved }),
        Ok(_) => Err(value.complaint(format!("wpath `{}` is not a directory", shown(&path)), "name a directory")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = path.to_string_lossy().into_owned();
            let cure = match () {
                () if text.trim() != text => "remove the blank at its beginning or end",
                () if text.contains('*') => "name one directory: `*` is not expanded",
                () => "create the directory, mount its file system, or correct the path",
            };
            Err(value.complaint(format!("wpath `{}` does not exist", shown(&path)), cure))
        }
        Err(error) => {
            let what = format!("wpath `{}` cannot be opened: {error}", shown(&path));
            Err(value.complaint(what, "make it a directory that the user of the daemon can enter"))
        }
    }
}

impl Draft<'_> {
    /// rsync's own log file. Its directory exists, and neither the source nor a mirror holds it.
    pub fn logfile(&self, value: &Value<'_>) -> Result<PathBuf, ConfigComplaint> {
        let path = absolute(value, "logfile")?;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(value.complaint(format!("logfile `{}` is no file", shown(&path)), "name a file"));
        };
        if path.is_dir() {
            return Err(value.complaint(format!("logfile `{}` is a directory", shown(&path)), "name a file in it"));
        }
        let directory = match directory.canonicalize() {
            Ok(directory) if directory.is_dir() => directory,
            Ok(_) => {
                let what = format!("the directory of logfile, `{}`, is not a directory", shown(directory));
                return Err(value.complaint(what, "name a file in a directory"));
            }
            Err(error) => {
                let what = format!("the directory of logfile, `{}`, cannot be opened: {error}", shown(directory));
                return Err(value.complaint(what, "create the directory, or correct the path"));
            }
        };
        let resolved = path.canonicalize().unwrap_or_else(|_| directory.join(name));
        self.check_own(&resolved, false, "each run")
            .map_err(|(what, cure)| value.complaint(format!("logfile `{}` {what}", shown(&path)), cure))?;
        Ok(path)
    }

    /// The file of the state: in the directory that the configuration names, or else where this user keeps such things.
    /// `None` if no state is to be kept, or the usual place is watched itself.
    pub fn state_file(&self, value: Option<Value<'_>>) -> Result<Option<PathBuf>, ConfigComplaint> {
        let directory = match value {
            Some(value) => self.directory(&value, "each save")?,
            None => default_state_dir()
                .map(|directory| resolve_existing(&directory))
                .filter(|directory| self.check_own(directory, true, "each save").is_ok()),
        };
        Ok(directory.map(|directory| directory.join(site_file(&self.file, "redb"))))
    }

    /// The directory in which renamed files are linked: in the one that the configuration names, or else beside the file of
    /// the state. `None` if there is to be none.
    pub fn staging(&self, value: Option<Value<'_>>) -> Result<Option<PathBuf>, ConfigComplaint> {
        match value {
            Some(value) => {
                let directory = self.directory(&value, "each link")?;
                Ok(directory.map(|directory| directory.join(site_file(&self.file, "staging"))))
            }
            None => Ok(self.site.state_file.as_ref().map(|state| state.with_extension("staging"))),
        }
    }

    /// The directories of the control socket.
    pub fn sockets(&self, value: Option<Value<'_>>) -> Result<Vec<PathBuf>, ConfigComplaint> {
        if let Some(value) = &value {
            self.directory(value, "each start")?;
        }
        sockets(&self.file, value.as_ref())
    }

    /// A directory that the configuration names; `None` if the text is empty, which stands for no directory. `each` use of
    /// the directory would be a change where it is watched.
    fn directory(&self, value: &Value<'_>, each: &str) -> Result<Option<PathBuf>, ConfigComplaint> {
        if value.string()?.is_empty() {
            return Ok(None);
        }
        let key = value.key();
        let path = absolute(value, key)?;
        if path.exists() && !path.is_dir() {
            return Err(value.complaint(format!("{key} `{}` is not a directory", shown(&path)), "name a directory"));
        }
        match self.check_own(&resolve_existing(&path), true, each) {
            Ok(()) => Ok(Some(path)),
            Err((what, cure)) => Err(value.complaint(format!("{key} `{}` {what}", shown(&path)), cure)),
        }
    }

    /// A complaint if a directory that rsync is to keep files in lies in the mirror of a node, or in the source.
    pub fn misplaced(&self, value: &Value<'_>, keeps: &Keeps, node: &Node) -> Option<ConfigComplaint> {
        let excludes = self.excludes.as_ref()?;
        let found = match (node.local_path(), keeps.absolute()) {
            (Some(mirror), Some(path)) => {
                let mirror = resolve_existing(mirror);
                let path = resolve_existing(Path::new(path));
                if self.is_watched(&path, true) {
                    let what = format!("{} `{}` lies in the watched directory", keeps.option(), shown(&path));
                    return Some(
                        value.refuse(&what, "choose a directory outside of wpath, or exclude it by `rexcludes`"),
                    );
                }
                inside(&path, &mirror).map_or(Ok(()), |inner| keeps.check_inside(&inner, node, excludes))
            }
            _ => keeps.check_at(node, excludes),
        };
        found.err().map(|error| value.refuse(&error, error.cure()))
    }

    /// True if a path, without symlinks in it, is watched.
    fn is_watched(&self, path: &Path, is_dir: bool) -> bool {
        let Some((watched, excludes)) = self.watched.as_ref().zip(self.excludes.as_ref()) else { return false };
        inside(path, watched).is_some_and(|below| !excludes.excludes(&below, is_dir))
    }

    /// Refuses a path, without symlinks in it, at which the daemon or rsync would write into the source or into a mirror.
    /// `each` write would be a change of the source. The error is a fault and its cure.
    fn check_own(&self, path: &Path, is_dir: bool, each: &str) -> Result<(), (String, String)> {
        let noun = if is_dir { "directory" } else { "file" };
        if self.is_watched(path, is_dir) {
            let what = format!("lies in the watched directory: {each} would cause the next");
            return Err((what, format!("choose a {noun} outside of wpath, or exclude it by `rexcludes`")));
        }
        let mut mirrors = self.site.nodes.iter().filter_map(Node::local_path).map(resolve_existing);
        if mirrors.any(|mirror| path.starts_with(mirror)) {
            let what = "lies in a local mirror, which would delete it".to_owned();
            return Err((what, format!("choose a {noun} outside of the mirror")));
        }
        Ok(())
    }
}

/// systemd's `StateDirectory=`, the usual place of root's services, or that of a user's programs (XDG base directories).
pub fn default_state_dir() -> Option<PathBuf> {
    if let Some(directory) = first_of("STATE_DIRECTORY") {
        return Some(directory);
    }
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/inosync".into());
    }
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home).map(|directory| directory.join("inosync"))
}

/// One name for each configuration file: its path with `%` for each slash.
pub fn site_name(config: &Path) -> OsString {
    let path = config.canonicalize().unwrap_or_else(|_| without_the_file(config, MOST_LINKS));
    let mut name: Vec<u8> = path.as_os_str().as_bytes().to_vec();
    name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'%');
    OsString::from_vec(name)
}

/// The path without symlinks in it, of a file that is not there now.
fn without_the_file(config: &Path, links: usize) -> PathBuf {
    let absolute = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let Some((parent, name)) = absolute.parent().zip(absolute.file_name()) else { return absolute };
    match std::fs::read_link(&absolute) {
        Ok(target) if links > 0 => without_the_file(&parent.join(target), links - 1),
        _ => parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name),
    }
}

fn site_file(config: &Path, extension: &str) -> OsString {
    let mut name = site_name(config);
    name.push(".");
    name.push(extension);
    name
}

/// The rsync program, as the file names it.
pub fn rsync(value: Option<Value<'_>>) -> Result<PathBuf, ConfigComplaint> {
    value.map_or(Ok(DEFAULT_RSYNC.into()), |value| absolute_in(&value, "rsync", "/usr/bin/"))
}

/// Checks that this machine can run the rsync program, which the value names if the file does.
pub fn program(source: ConfigText<'_>, value: Option<&Value<'_>>, path: &Path) -> Result<(), ConfigError> {
    let missing = |what: &str| {
        let what = format!("rsync `{}` {what}", shown(path));
        let cure = "install rsync, or name it: rsync: \"/path/of/rsync\"";
        ConfigError::Environment(match value {
            Some(value) => value.complaint(what, cure),
            None => source.complaint_without_place(what, cure),
        })
    };
    match path.metadata() {
        Ok(metadata) if is_program(&metadata) => Ok(()),
        Ok(metadata) if metadata.is_file() => Err(missing("is not executable")),
        Ok(_) => Err(missing("is not a file")),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing("does not exist")),
        Err(error) => Err(missing(&format!("cannot be found: {error}"))),
    }
}

fn is_program(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

/// The directories of this site in which the control socket may be: below the one that the configuration names, or else
/// those of a service, of root and of a login. None if there is to be no socket.
pub fn sockets(config: &Path, value: Option<&Value<'_>>) -> Result<Vec<PathBuf>, ConfigComplaint> {
    let parents = match value {
        Some(value) if value.string()?.is_empty() => Vec::new(),
        Some(value) => vec![absolute(value, "socket_dir")?],
        None => usual_socket_dirs(),
    };
    let name = site_name(config);
    Ok(parents.into_iter().map(|parent| parent.join(&name)).collect())
}

/// The directories in which the control socket of a site is found without its configuration: there it is, or a link to it.
pub fn usual_sockets(config: &Path) -> Vec<PathBuf> {
    let name = site_name(config);
    usual_socket_dirs().into_iter().map(|parent| parent.join(&name)).collect()
}

/// The directories in which the daemons of this machine have their sockets, as far as this user is concerned: those of its
/// unit alone, or those of the machine and of its session; for root, of all sessions.
pub fn socket_dirs_of_all() -> Vec<PathBuf> {
    if let Some(directory) = first_of("RUNTIME_DIRECTORY") {
        return vec![directory];
    }
    let mut places = usual_socket_dirs();
    if rustix::process::geteuid().is_root() {
        let sessions = std::fs::read_dir("/run/user").into_iter().flatten().flatten();
        places.extend(sessions.map(|session| session.path().join("inosync")));
    }
    places.sort();
    places.dedup();
    places
}

/// systemd's `RuntimeDirectory=` (systemd.exec(5)), its usual value, and that of a user's session (XDG base directories).
/// A client of a service need not be in the environment of the service, so the client tries all.
fn usual_socket_dirs() -> Vec<PathBuf> {
    let session = variable("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("inosync"));
    let usual = PathBuf::from("/run/inosync");
    let mut places: Vec<PathBuf> = first_of("RUNTIME_DIRECTORY").into_iter().chain([usual]).chain(session).collect();
    places.dedup();
    places
}

/// A variable of the environment, unless it is empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The first directory of a variable: systemd gives several with colons between them.
pub(super) fn first_of(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&variable(name)?).next()
}
