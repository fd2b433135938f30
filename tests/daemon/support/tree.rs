//! Compares two trees as a mirror has to be equal: names as bytes, type, content, mode, mtime to the nanosecond, link
//! target. Not the owner, which a mirror keeps only when asked to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether a path (relative, as bytes) is left out of a comparison.
pub type Skip = fn(&[u8]) -> bool;

/// A tree without the contents of its files, by relative path; the root is the empty path.
pub type Tree = BTreeMap<Vec<u8>, Entry>;

/// What a file system keeps of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Keeps {
    /// The unit of times, in nanoseconds.
    pub unit: i64,
    /// The first and the last second.
    pub seconds: (i64, i64),
    pub modes: bool,
    pub symlinks: bool,
    /// Whether an entry of this path can be there.
    pub names: fn(&[u8]) -> bool,
}

impl Keeps {
    pub const ALL: Keeps =
        Keeps { unit: 1, seconds: (i64::MIN, i64::MAX), modes: true, symlinks: true, names: |_| true };

    fn has(&self, path: &[u8], entry: &Entry) -> bool {
        (self.names)(path) && (self.symlinks || !matches!(entry.kind, Kind::Symlink { .. }))
    }

    fn are_same(&self, one: &Entry, other: &Entry) -> bool {
        let times = [one, other].map(|entry| {
            let seconds = entry.mtime.0.clamp(self.seconds.0, self.seconds.1);
            let nanos = if seconds == entry.mtime.0 { entry.mtime.1 } else { 0 };
            i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
        });
        let apart = (times[0] - times[1]).abs();
        one.kind == other.kind && (one.mode == other.mode || !self.modes) && apart < i128::from(self.unit)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: Kind,
    mode: u32,
    mtime: (i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    File { size: u64 },
    Directory,
    Symlink { target: Vec<u8> },
    Other,
}

/// The tree at `root`; empty when there is none. What vanishes meanwhile is not in it.
pub fn read(root: &Path, skip: Skip) -> Tree {
    let mut tree = Tree::new();
    // The error is a tree that is changing under our eyes: the next attempt sees it whole.
    let _ = add(root, Vec::new(), skip, &mut tree);
    tree
}

fn add(root: &Path, path: Vec<u8>, skip: Skip, tree: &mut Tree) -> io::Result<()> {
    let full = absolute(root, &path);
    let meta = fs::symlink_metadata(&full)?;
    let kind = if meta.is_dir() {
        Kind::Directory
    } else if meta.is_symlink() {
        Kind::Symlink { target: fs::read_link(&full)?.into_os_string().into_vec() }
    } else if meta.is_file() {
        Kind::File { size: meta.size() }
    } else {
        Kind::Other
    };
    let entry = Entry { kind, mode: meta.mode() & 0o7777, mtime: (meta.mtime(), meta.mtime_nsec()) };
    tree.insert(path.clone(), entry);
    if meta.is_dir() {
        for child in fs::read_dir(&full)? {
            let name = child?.file_name();
            let child = if path.is_empty() { name.as_bytes().to_vec() } else { [&path, name.as_bytes()].join(&b'/') };
            if !skip(&child) {
                // As in `read`: a vanished child must not hide its siblings.
                let _ = add(root, child, skip, tree);
            }
        }
    }
    Ok(())
}

/// The names of each file with several in a tree, by each of these names.
fn linked(root: &Path, skip: Skip) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut files = BTreeMap::<(u64, u64), Vec<Vec<u8>>>::new();
    for path in read(root, skip).into_keys() {
        if let Ok(meta) = fs::symlink_metadata(absolute(root, &path))
            && meta.is_file()
            && meta.nlink() > 1
        {
            files.entry((meta.dev(), meta.ino())).or_default().push(path);
        }
    }
    let several = files.into_values().filter(|names| names.len() > 1);
    several.flat_map(|names| names.clone().into_iter().map(move |name| (name, names.clone()))).collect()
}

/// The names that are not one file with the same others in both trees, each with a line that says how.
pub fn linked_otherwise(source: &Path, mirror: &Path, skip: Skip) -> BTreeMap<Vec<u8>, String> {
    let (expected, found) = (linked(source, skip), linked(mirror, skip));
    let names = expected.keys().chain(found.keys()).filter(|name| expected.get(*name) != found.get(*name));
    let shown = |names: Option<&Vec<Vec<u8>>>| {
        names.map_or("alone".to_owned(), |names| names.iter().map(|name| show(name)).collect::<Vec<_>>().join(" = "))
    };
    let line = |name: &Vec<u8>| {
        format!("links    {}: {}, in the source {}", show(name), shown(found.get(name)), shown(expected.get(name)))
    };
    names.map(|name| (name.clone(), line(name))).collect()
}

/// What differs between the trees, one line each, at most `limit` lines.
pub fn differences(source: &Path, mirror: &Path, skip: Skip, keeps: &Keeps, limit: usize) -> Vec<String> {
    let mut lines: Vec<String> = differing(source, mirror, skip, keeps).into_iter().map(|(_, how)| how).collect();
    let more = lines.len().saturating_sub(limit);
    lines.truncate(limit);
    if more > 0 {
        lines.push(format!("... and {more} more"));
    }
    lines
}

/// The paths that differ between the trees, as far as the mirror can keep them, each with a line that says how.
/// Contents are read only where all else agrees.
pub fn differing(source: &Path, mirror: &Path, skip: Skip, keeps: &Keeps) -> Vec<(Vec<u8>, String)> {
    let (mut expected, mut found) = (read(source, skip), read(mirror, skip));
    found.retain(|path, _| (keeps.names)(path) && expected.get(path).is_none_or(|entry| keeps.has(path, entry)));
    expected.retain(|path, entry| keeps.has(path, entry));
    let missing = expected.iter().filter(|(path, _)| !found.contains_key(*path));
    let extra = found.iter().filter(|(path, _)| !expected.contains_key(*path));
    let changed = expected.iter().filter_map(|(path, entry)| Some((path, entry, found.get(path)?)));
    let line = |path: &[u8], how: &str, what: &str| (path.to_vec(), format!("{how}  {}{what}", show(path)));

    let mut lines: Vec<_> = missing.map(|(path, entry)| line(path, "missing", &format!("  {entry}"))).collect();
    lines.extend(extra.map(|(path, entry)| line(path, "extra  ", &format!("  {entry}"))));
    lines.extend(
        changed
            .filter(|(_, expected, found)| !keeps.are_same(expected, found))
            .map(|(path, expected, found)| line(path, "differs", &format!("  source: {expected}; node: {found}"))),
    );
    if lines.is_empty() {
        let files = expected.iter().filter(|(_, entry)| matches!(entry.kind, Kind::File { .. }));
        let other = files.filter(|(path, _)| !same_content(&absolute(source, path), &absolute(mirror, path)));
        lines.extend(other.map(|(path, _)| line(path, "content", "")));
    }
    lines
}

fn absolute(root: &Path, path: &[u8]) -> std::path::PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

fn same_content(one: &Path, other: &Path) -> bool {
    let (Ok(mut one), Ok(mut other)) = (File::open(one), File::open(other)) else { return false };
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        match (fill(&mut one, &mut left), fill(&mut other, &mut right)) {
            (Ok(0), Ok(0)) => return true,
            (Ok(n), Ok(m)) if n == m && left[..n] == right[..m] => {}
            _ => return false,
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

fn show(path: &[u8]) -> String {
    if path.is_empty() { "(the root)".to_owned() } else { path.escape_ascii().to_string() }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::File { size } => write!(f, "file of {size} bytes")?,
            Kind::Directory => f.write_str("directory")?,
            Kind::Symlink { target } => write!(f, "symlink to {}", target.escape_ascii())?,
            Kind::Other => f.write_str("special file")?,
        }
        write!(f, ", mode {:04o}, mtime {}.{:09}", self.mode, self.mtime.0, self.mtime.1)
    }
}
