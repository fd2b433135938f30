//! The checks of paths and nodes against each other and against this machine.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use inosync_actors::node;
use inosync_actors::node::Node;
use inosync_actors::path::{Escaped, RelPath};
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::site::Hook;
use inosync_actors::site::extra::Keeps;

use super::ConfigError;
use super::complaint::{Complaint, Complaints};
use super::paths::{absolute, absolute_in, lies_in, other_notation, resolve_existing, shown};
use super::reader::Reader;
use super::text::{Source, Value};

/// The watched directory.
pub struct Watched {
    /// As it is named: a symlink in it may be pointed elsewhere, which the daemon has to notice.
    pub named: PathBuf,
    /// Without symlinks in it.
    pub resolved: PathBuf,
}

/// Checks the watched directory.
pub fn wpath(value: &Value<'_>) -> Result<Watched, Complaint> {
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

/// The nodes, at least one, each destination once, none in what is mirrored: the watched directory without what is excluded.
/// Those are checked that can be without `rpath`, `wpath` or `rexcludes`, where these are wrong.
pub fn nodes(
    rpath: Option<&Value<'_>>,
    rnodes: Option<&Value<'_>>,
    mirrored: Option<(&Path, &Excludes)>,
) -> Result<Vec<Node>, Complaints> {
    let mut wrong = Complaints::default();
    let path = rpath.and_then(|value| wrong.keep(rpath_text(value)));
    let Some(rnodes) = rnodes else { return wrong.or(Vec::new()) };
    let values = match rnodes.list() {
        Ok(values) => values,
        Err(complaint) => {
            wrong.add(complaint);
            return Err(wrong);
        }
    };
    if values.is_empty() {
        let cure = "name at least one: \"user@host:\" (ssh), \"host::module\" (rsync daemon), \"\" (this machine)";
        wrong.add(rnodes.complaint("`rnodes` is empty: there is nothing to mirror to", cure));
    }
    let mut nodes: Vec<(usize, Node)> = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let Some(parsed) = wrong.keep(node(value, rpath.zip(path.as_deref()))) else { continue };
        // Where one is depends on `rpath`.
        if path.is_some() {
            if let Some((local, (wpath, excludes))) = parsed.local_path().zip(mirrored) {
                wrong.keep(separate(value, local, wpath, excludes));
            }
            let collided = nodes.iter().find_map(|(at, node)| Some((*at, collision(&parsed, node)?)));
            if let Some((earlier, how)) = collided {
                let line = values.get(earlier).map_or(0, Value::line);
                let dest = Escaped(parsed.dest().as_bytes());
                let what = format!("`rnodes[{at}]`: {dest} {how} `rnodes[{earlier}]` on line {line}");
                wrong.add(value.complaint(what, "keep one of them, or give them directories apart from each other"));
            }
        }
        nodes.push((at, parsed));
    }
    wrong.or(nodes.into_iter().map(|(_, node)| node).collect())
}

fn rpath_text(value: &Value<'_>) -> Result<String, Complaint> {
    let path = value.string()?;
    if let Some((what, cure)) = other_notation(&path, "rpath", "/") {
        return Err(value.complaint(what, cure));
    }
    node::check_rpath(&path).map_err(|error| value.refuse(&error, error.cure()))?;
    Ok(path)
}

/// One node; below a directory of any name if `rpath` is not known.
fn node(value: &Value<'_>, rpath: Option<(&Value<'_>, &str)>) -> Result<Node, Complaint> {
    let text = value.string()?;
    if let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.eq_ignore_ascii_case("rsync")) {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let what = format!("`{}`: `{}://` is no notation of rsync's", value.key(), Escaped(scheme.as_bytes()));
        let cure = match scheme {
            "file" => format!("write a directory of this machine: \"/{path}\""),
            _ => format!("write \"{host}:\" for a host by ssh, \"{host}::MODULE\" for an rsync daemon"),
        };
        return Err(value.complaint(what, cure));
    }
    if text.starts_with(['~', '$'])
        && let Some((what, cure)) = other_notation(&text, value.key(), "/")
    {
        return Err(value.complaint(what, cure));
    }
    Node::parse(&text, rpath.map_or("/unknown", |(_, path)| path)).map_err(|error| match rpath {
        Some((rpath, path)) if error.is_about_rpath(path) => rpath.refuse(&error, error.cure()),
        _ => value.refuse(&error, error.cure()),
    })
}

/// How two nodes get in each other's way: one of them inside the other would be deleted as not in the source.
fn collision(node: &Node, earlier: &Node) -> Option<&'static str> {
    let (inside, around) = match (node.local_path(), earlier.local_path()) {
        (Some(node), Some(earlier)) => {
            let (node, earlier) = (resolve_existing(node), resolve_existing(earlier));
            (lies_in(&node, &earlier), lies_in(&earlier, &node))
        }
        _ => (node == earlier || earlier.encloses(node), node == earlier || node.encloses(earlier)),
    };
    match (inside, around) {
        (true, true) => Some("is the same destination as"),
        (true, false) => Some("lies inside the mirror of"),
        (false, true) => Some("lies around the mirror of"),
        (false, false) => None,
    }
}

/// A mirror inside its source would mirror itself, unless it is excluded as a whole; one around it would delete it.
fn separate(value: &Value<'_>, local: &Path, wpath: &Path, excludes: &Excludes) -> Result<(), Complaint> {
    let target = resolve_existing(local);
    let inside = inside(&target, wpath);
    let how = match (lies_in(&target, wpath), lies_in(wpath, &target)) {
        (true, true) => "is",
        (true, false) if inside.as_ref().is_some_and(|inside| excludes.excludes(inside, true)) => return Ok(()),
        (true, false) => "lies inside",
        (false, true) => "lies around",
        (false, false) => return Ok(()),
    };
    let what = format!("the local mirror `{}` {how} the watched directory `{}`", shown(local), shown(wpath));
    let apart = "choose an rpath or node whose directory is apart from wpath";
    let plain =
        |path: &RelPath| path.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte));
    // Another name would have to be written as a pattern.
    match inside.filter(|inside| !inside.is_root() && plain(inside)) {
        Some(inside) => {
            Err(value.complaint(what, format!("{apart}, or exclude the mirror from it: rexcludes: [\"/{inside}\"]")))
        }
        None => Err(value.complaint(what, apart)),
    }
}

/// What of a path lies below a directory, both without symlinks in them.
fn inside(path: &Path, directory: &Path) -> Option<RelPath> {
    path.strip_prefix(directory).ok().and_then(|rel| RelPath::new(rel.as_os_str().as_bytes()).ok())
}

/// The entry that a complete source has. It need not be there now: its file system may not be mounted yet.
pub fn marker(value: &Value<'_>, excludes: Option<&Excludes>) -> Result<RelPath, Complaint> {
    let text = value.string()?;
    let marker = match RelPath::new(text.as_bytes()) {
        Ok(marker) if !marker.is_root() => marker,
        _ => {
            let what = format!("marker `{}` is not a plain path below wpath", Escaped(text.as_bytes()));
            return Err(
                value.complaint(what, "name a file of the source by its path there, such as marker: \"d/file\"")
            );
        }
    };
    let is_excluded = |excludes: &Excludes| excludes.excludes(&marker, false) || excludes.excludes(&marker, true);
    match excludes.is_some_and(is_excluded) {
        false => Ok(marker),
        true => {
            let what = format!("marker `{marker}` is excluded by `rexcludes`");
            Err(value.complaint(what, "name an entry that is mirrored"))
        }
    }
}

/// What the daemon keeps for itself, in directories that are neither watched nor mirrored.
pub struct Own<'a> {
    /// The configuration file.
    pub config: &'a Path,
    /// The watched directory, without symlinks in it, if it is right.
    pub wpath: Option<&'a Path>,
    /// What is not watched in it, if that is right.
    pub excludes: Option<&'a Excludes>,
    /// Where it is mirrored to.
    pub nodes: &'a [Node],
}

impl Own<'_> {
    /// rsync's own log file. Its directory exists, and neither the source nor a mirror holds it.
    pub fn logfile(&self, value: &Value<'_>) -> Result<PathBuf, Complaint> {
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
        if self.is_watched(&resolved, false) {
            let what =
                format!("logfile `{}` lies in the watched directory: each run would cause the next", shown(&path));
            return Err(value.complaint(what, "choose a file outside of wpath, or exclude it by `rexcludes`"));
        }
        if is_mirrored(&resolved, self.nodes) {
            let what = format!("logfile `{}` lies in a local mirror, which would delete it", shown(&path));
            return Err(value.complaint(what, "choose a file outside of the mirror"));
        }
        Ok(path)
    }

    /// The file of the state: in the directory that the configuration names, or else where this user keeps such things.
    /// `None` if no state is to be kept, or the usual place is watched itself. Its name is that of the configuration file.
    pub fn state_file(&self, value: Option<&Value<'_>>) -> Result<Option<PathBuf>, Complaint> {
        let Some(value) = value else {
            let directory = default_state_dir().map(|directory| resolve_existing(&directory));
            let fits = directory.filter(|directory| self.fault(directory).is_none());
            return Ok(fits.map(|directory| directory.join(site_file(self.config, "redb"))));
        };
        let directory = self.directory(value, "state_dir", "each save")?;
        Ok(directory.map(|directory| directory.join(site_file(self.config, "redb"))))
    }

    /// The directory in which renamed files are linked: in the one that the configuration names, or else beside the file of
    /// the state. `None` if there is to be none. Its name is that of the configuration file.
    pub fn staging(&self, value: Option<&Value<'_>>, state: Option<&Path>) -> Result<Option<PathBuf>, Complaint> {
        let Some(value) = value else {
            return Ok(state.map(|state| state.with_extension("staging")));
        };
        let directory = self.directory(value, "staging", "each link")?;
        Ok(directory.map(|directory| directory.join(site_file(self.config, "staging"))))
    }

    /// A directory that the configuration names; `None` if it says that there is none. `each` use of it would be a change.
    pub fn directory(&self, value: &Value<'_>, key: &str, each: &str) -> Result<Option<PathBuf>, Complaint> {
        if value.string()?.is_empty() {
            return Ok(None);
        }
        let path = absolute(value, key)?;
        if path.exists() && !path.is_dir() {
            return Err(value.complaint(format!("{key} `{}` is not a directory", shown(&path)), "name a directory"));
        }
        let (what, cure) = match self.fault(&resolve_existing(&path)) {
            None => return Ok(Some(path)),
            Some(Fault::Watched) => (
                format!("lies in the watched directory: {each} would cause the next"),
                "choose a directory outside of wpath, or exclude it by `rexcludes`",
            ),
            Some(Fault::Mirrored) => {
                ("lies in a local mirror, which would delete it".into(), "choose a directory outside of the mirror")
            }
        };
        Err(value.complaint(format!("{key} `{}` {what}", shown(&path)), cure))
    }

    /// Why a directory that rsync is to keep files in is no place for them: in the mirror of a node, or in the source.
    pub fn misplaced(&self, value: &Value<'_>, keeps: &Keeps, node: &Node) -> Option<Complaint> {
        let excludes = self.excludes?;
        let found = match (node.local_path(), keeps.absolute()) {
            (Some(mirror), Some(path)) => {
                let (mirror, path) = (resolve_existing(mirror), resolve_existing(Path::new(path)));
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

    /// Whether a path, without symlinks in it, is watched.
    fn is_watched(&self, path: &Path, is_dir: bool) -> bool {
        let (Some(wpath), Some(excludes)) = (self.wpath, self.excludes) else { return false };
        inside(path, wpath).is_some_and(|rel| !excludes.excludes(&rel, is_dir))
    }

    /// Why a directory, without symlinks in its path, is no place for this.
    fn fault(&self, directory: &Path) -> Option<Fault> {
        match () {
            () if self.is_watched(directory, true) => Some(Fault::Watched),
            () if is_mirrored(directory, self.nodes) => Some(Fault::Mirrored),
            () => None,
        }
    }
}

/// Why a directory is no place for what the daemon keeps.
enum Fault {
    /// It is in the source.
    Watched,
    /// It is in a mirror on this machine.
    Mirrored,
}

/// systemd's `StateDirectory=`, the usual place of root's services, or that of a user's programs (XDG base directories).
pub fn default_state_dir() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directories) = std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty()) {
        return directories.as_bytes().split(|&b| b == b':').next().map(|first| OsStr::from_bytes(first).into());
    }
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/inosync".into());
    }
    let home = || variable("HOME").map(|home| home.join(".local/state"));
    variable("XDG_STATE_HOME").or_else(home).map(|directory| directory.join("inosync"))
}

/// One name for each configuration file: its path in one name.
pub fn site_name(config: &Path) -> OsString {
    let path = config.canonicalize().unwrap_or_else(|_| config.to_owned());
    let mut name: Vec<u8> = path.as_os_str().as_bytes().to_vec();
    name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'%');
    OsString::from_vec(name)
}

fn site_file(config: &Path, extension: &str) -> OsString {
    let mut name = site_name(config);
    name.push(".");
    name.push(extension);
    name
}

/// Whether a path, without symlinks in it, is in a mirror on this machine.
fn is_mirrored(path: &Path, nodes: &[Node]) -> bool {
    nodes.iter().filter_map(Node::local_path).map(resolve_existing).any(|mirror| path.starts_with(mirror))
}

/// A program that is run when something was mirrored, with its arguments; an empty list is none. Whether it can be run is not
/// looked at: that it cannot must not keep anybody from mirroring.
pub fn hook(value: &Value<'_>, key: &str) -> Result<Option<Hook>, Complaint> {
    let words = value.list()?;
    let Some((program, arguments)) = words.split_first() else { return Ok(None) };
    let path = absolute_in(program, key, "/usr/bin/")?;
    let mut given = Vec::new();
    for argument in arguments {
        let text = argument.string()?;
        if text.contains('\0') {
            let what = format!("`{key}`: an argument holds a NUL byte, which no program can be given");
            return Err(argument.complaint(what, "leave it out"));
        }
        given.push(text);
    }
    Ok(Some(Hook { program: path, arguments: given }))
}

/// The rsync program, as the file names it.
pub fn rsync(value: &Value<'_>) -> Result<PathBuf, Complaint> {
    absolute_in(value, "rsync", "/usr/bin/")
}

/// Whether the rsync program can be run on this machine.
pub fn program(source: Source<'_>, path: &Path) -> Result<(), ConfigError> {
    let missing = |what: &str| {
        let what = format!("rsync `{}` {what}", shown(path));
        let cure = "install rsync, or name it: rsync: \"/path/of/rsync\"";
        ConfigError::Environment(match Reader::of(source).value("rsync") {
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
