//! A look at the disk: what is at a path of the source at this moment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use crate::errno::is_gone;
use crate::path::RelPath;
use crate::root::Root;

/// The marks of a version of a file, as far as rsync looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileVersion {
    /// The size in bytes.
    pub size: u64,
    /// The time of the last write: seconds and nanoseconds since the epoch.
    pub mtime: (i64, i64),
}

/// The kind of entry on disk at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOnDisk {
    /// No entry, or something above it is no directory.
    Missing,
    /// A directory; not a symlink to one.
    Directory,
    /// A regular file, in this version.
    File(FileVersion),
    /// A symlink or something special.
    Other,
    /// An entry that cannot be looked at.
    Unknown,
}

/// The amount that a batch may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRoom {
    /// The bytes of files that still fit.
    pub bytes: u64,
    /// The entries in subtrees that still fit.
    pub entries: usize,
}

impl BatchRoom {
    /// Takes one entry of so many bytes. Returns true if there was room for it; else it takes no bytes.
    pub fn take(&mut self, bytes: u64) -> bool {
        let fits = self.entries > 0 && bytes <= self.bytes;
        self.entries = self.entries.saturating_sub(1);
        if fits {
            self.bytes -= bytes;
        }
        fits
    }
}

/// A look at the disk.
pub trait Disk {
    /// Looks at `path`, symlinks not followed.
    fn look(&mut self, path: &RelPath) -> EntryOnDisk;

    /// Takes all that is below a directory from `room`. Returns true if there was room for it, and looks no further
    /// than that.
    fn fits(&mut self, dir: &RelPath, room: &mut BatchRoom) -> bool;

    /// The text of the symlink at `path`; `None` if there is something else, as on a disk without symlinks.
    fn read_link(&mut self, _: &RelPath) -> Option<Vec<u8>> {
        None
    }

    /// The part of an absolute path below the root; `None` if it lies elsewhere.
    fn inside(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Tells if something is mounted at a directory or below it that does not answer.
    fn is_silent_below(&mut self, _: &RelPath) -> bool {
        false
    }

    /// Tells if all that was changed before this symlink got its text has been reported.
    fn is_reported(&mut self, _: &RelPath, _: &[u8]) -> bool {
        true
    }
}

/// The source tree on disk.
pub(crate) struct Source {
    root: Root,
    /// Symlinks with their texts, after which all was reported.
    reported: BTreeMap<RelPath, Vec<u8>>,
}

impl Source {
    /// The tree at `root`. Nothing is known of what was reported.
    pub(crate) fn at(root: &Root) -> Source {
        Source { root: root.clone(), reported: BTreeMap::new() }
    }

    /// Notes that these symlinks had these texts before all was reported.
    pub(crate) fn after(self, reported: BTreeMap<RelPath, Vec<u8>>) -> Source {
        Source { reported, ..self }
    }
}

impl Disk for Source {
    fn look(&mut self, path: &RelPath) -> EntryOnDisk {
        match self.root.look_at(path) {
            Ok(meta) if meta.is_dir() => EntryOnDisk::Directory,
            Ok(meta) if meta.is_file() => EntryOnDisk::File(FileVersion { size: meta.len(), mtime: meta.modified() }),
            Ok(_) => EntryOnDisk::Other,
            Err(error) if Errno::from_io_error(&error).is_some_and(is_gone) => EntryOnDisk::Missing,
            Err(_) => EntryOnDisk::Unknown,
        }
    }

    fn fits(&mut self, dir: &RelPath, room: &mut BatchRoom) -> bool {
        let mut left = vec![dir.clone()];
        while let Some(dir) = left.pop() {
            // What cannot be read is not sent either.
            for entry in self.root.names(&dir, room.entries.saturating_add(1)) {
                let path = dir.join(&entry);
                let Ok(meta) = self.root.look_at(&path) else { continue };
                if !room.take(if meta.is_file() { meta.len() } else { 0 }) {
                    return false;
                }
                if meta.is_dir() {
                    left.push(path);
                }
            }
        }
        true
    }

    fn is_silent_below(&mut self, dir: &RelPath) -> bool {
        self.root.reach().is_silent_below(dir)
    }

    fn read_link(&mut self, path: &RelPath) -> Option<Vec<u8>> {
        self.root.link_text(path)
    }

    fn inside(&mut self, absolute: &[u8]) -> Option<Vec<u8>> {
        let absolute = Path::new(OsStr::from_bytes(absolute));
        let below = |root: &Path| absolute.strip_prefix(root).ok().map(|tail| tail.as_os_str().as_bytes().to_vec());
        // The source may be configured by a name that leads through symlinks.
        let root = self.root.path();
        below(root).or_else(|| below(&self.root.reach().resolved()))
    }

    fn is_reported(&mut self, link: &RelPath, text: &[u8]) -> bool {
        self.reported.get(link).is_some_and(|reported| reported == text)
    }
}
