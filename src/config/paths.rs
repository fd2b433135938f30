//! Paths in a configuration: absolute, of this system, and as they are on disk.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::{Escaped, RelPath};

use super::complaint::ConfigComplaint;
use super::value::Value;

/// A path that does not depend on the directory the daemon was started in.
pub fn absolute(value: &Value<'_>, key: &str) -> Result<PathBuf, ConfigComplaint> {
    absolute_in(value, key, "/")
}

/// As [`absolute`]; the cure shows a relative path below `directory`, which ends with a slash.
pub fn absolute_in(value: &Value<'_>, key: &str, directory: &str) -> Result<PathBuf, ConfigComplaint> {
    let text = value.string()?;
    match other_notation(&text, key, directory) {
        Some((what, cure)) => Err(value.complaint(what, cure)),
        None => Ok(text.into()),
    }
}

/// The fault and the cure of a text that is no absolute path: of a shell, a URL, another system, or rsync.
pub fn other_notation(text: &str, key: &str, directory: &str) -> Option<(String, String)> {
    let name = Escaped(text.as_bytes());
    let fault = |what: String, cure: String| Some((format!("{key} `{name}` {what}"), cure));
    let home = || {
        let home = std::env::var("HOME").ok().filter(|home| home.starts_with('/') && key != "rpath");
        home.unwrap_or_else(|| "/home/USER".into())
    };
    let below_home = ["~/", "$HOME/", "${HOME}/"].iter().find_map(|start| text.strip_prefix(start));
    if text.contains('\0') {
        return fault("holds a NUL byte".into(), "remove it".into());
    }
    if let Some(rest) = below_home {
        let what = format!("is relative: `{}` is not expanded", text.split('/').next().unwrap_or_default());
        return fault(what, format!("write the home directory: \"{}/{rest}\"", home()));
    }
    if text.starts_with('~') {
        return fault("is relative: `~` is not expanded".into(), format!("write the home directory: \"{}\"", home()));
    }
    if text.starts_with('$') || text.contains("${") {
        return fault("has a variable, which is not expanded".into(), "write the path that is meant".into());
    }
    if text.starts_with('/') {
        return None;
    }
    if let Some(rest) = text.strip_prefix("file://") {
        return fault("is a URL".into(), format!("write the path: \"{rest}\""));
    }
    if text.trim_start().starts_with('/') {
        return fault("begins with a blank".into(), format!("write \"{}\"", text.trim()));
    }
    if let Some((host, path)) = text.split_once(':').filter(|(host, path)| !host.contains('/') && path.starts_with('/'))
    {
        let cure = format!("write the path alone: \"{path}\"; hosts are in rnodes: [\"{host}:\"]");
        return fault("names a host".into(), cure);
    }
    fault("is relative".into(), format!("write an absolute path, such as \"{directory}{name}\""))
}

/// The path without symlinks, as far as it exists; rsync creates the rest.
pub fn resolve_existing(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(resolved) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { resolved } else { resolved.join(rest) };
        }
    }
    path.to_owned()
}

/// True if `path` is `directory` or below it, also by another name of that directory, such as a bind mount.
pub fn lies_in(path: &Path, directory: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let same = |wanted| path.ancestors().any(|ancestor| identity(ancestor) == Some(wanted));
    // What does not exist yet has no identity.
    path.starts_with(directory) || identity(directory).is_some_and(same)
}

/// The path for people.
pub fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}
/// The part of a path below a directory, both without symlinks in them.
pub fn inside(path: &Path, directory: &Path) -> Option<RelPath> {
    path.strip_prefix(directory).ok().and_then(|rel| RelPath::new(rel.as_os_str().as_bytes()).ok())
}
