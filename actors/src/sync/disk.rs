//! A look at the disk: what is at a path of the source at this moment.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::path::RelPath;

/// What tells two versions of a file apart, as far as rsync looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// In bytes.
    pub size: u64,
    /// The time of the last write: seconds and nanoseconds since the epoch.
    pub mtime: (i64, i64),
}

/// What is on disk at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or something above it is no directory.
    Missing,
    /// A directory; not a symlink to one.
    Directory,
    /// A regular file.
    File(Stamp),
    /// A symlink or something special.
    Other,
    /// It cannot be looked at.
    Unknown,
}

/// How much a batch may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of files.
    pub bytes: u64,
    /// Entries in subtrees.
    pub entries: usize,
}

impl Room {
    /// Takes one entry of so many bytes; whether there was room for it. One for which there was not takes no bytes.
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
    /// What is at `path` now, symlinks not followed.
    fn look(&mut self, path: &RelPath) -> Found;

    /// Takes all that is below a directory from `room`; whether there was room for it. Looks no further than that.
    fn fits(&mut self, dir: &RelPath, room: &mut Room) -> bool;
}

/// The source tree on disk.
pub struct Source(pub PathBuf);

impl Disk for Source {
    fn look(&mut self, path: &RelPath) -> Found {
        match fs::symlink_metadata(path.under(&self.0)) {
            Ok(meta) if meta.is_dir() => Found::Directory,
            Ok(meta) if meta.is_file() => {
                Found::File(Stamp { size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()) })
            }
            Ok(_) => Found::Other,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Found::Missing
            }
            Err(_) => Found::Unknown,
        }
    }

    fn fits(&mut self, dir: &RelPath, room: &mut Room) -> bool {
        let mut left = vec![dir.under(&self.0)];
        while let Some(dir) = left.pop() {
            // What cannot be read is not sent either.
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if !room.take(if meta.is_file() { meta.len() } else { 0 }) {
                    return false;
                }
                if meta.is_dir() {
                    left.push(entry.path());
                }
            }
        }
        true
    }
}
