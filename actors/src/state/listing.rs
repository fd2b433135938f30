//! Lists the source for the saved state: entries with their stamps, never through a symlink below the root.

use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, openat, statat};
use rustix::io::Errno;

use super::stamp::Stamp;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;

/// Buffer size in bytes for one read of a directory.
const LISTING: usize = 32 * 1024;

/// A directory entry with its stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path of the entry.
    pub path: RelPath,
    /// Stamp of the entry.
    pub stamp: Stamp,
}

/// An open directory of the source.
pub struct Dir {
    fd: OwnedFd,
    path: RelPath,
}

impl Dir {
    /// Opens a directory of the tree at `root`; `root` itself may be a symlink.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR` or `LOOP` if there is no directory at `path`; other errors if the directory cannot be opened.
    pub fn open(root: &Path, path: &RelPath) -> Result<Dir, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut fd = openat(CWD, root, flags, Mode::empty())?;
        for name in path.as_bytes().split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            fd = openat(&fd, OsStr::from_bytes(name), flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(Dir { fd, path: path.clone() })
    }

    /// Returns the stamp of the directory itself.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub fn stamp(&self) -> Result<Stamp, Errno> {
        rustix::fs::fstat(&self.fd).map(|stat| Stamp::from(&stat))
    }

    /// Returns the stamp of an entry in the directory; `None` if the entry does not exist.
    ///
    /// # Errors
    /// The error of fstatat(2), other than `NOENT`.
    pub fn look(&self, name: &[u8]) -> Result<Option<Stamp>, Errno> {
        match statat(&self.fd, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stamp::from(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the entries, sorted by name, without those that are excluded or vanish meanwhile.
    ///
    /// # Errors
    /// When the directory or one of its entries cannot be read.
    pub fn entries(&self, excludes: &Excludes) -> Result<Vec<Entry>, Errno> {
        let mut names: Vec<CString> = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); LISTING];
        let mut listing = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = listing.next() {
            let name = entry?.file_name().to_owned();
            names.extend(Some(name).filter(|name| !matches!(name.to_bytes(), b"." | b"..")));
        }
        names.sort_unstable();
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            let name = name.to_bytes();
            let Some(stamp) = self.look(name)? else { continue };
            let path = self.path.join(OsStr::from_bytes(name));
            if excludes.matching(&path, stamp.is_dir()).is_none() {
                entries.push(Entry { path, stamp });
            }
        }
        Ok(entries)
    }
}

/// Tells if an error means that the directory no longer exists.
pub fn is_gone(error: Errno) -> bool {
    crate::errno::is_gone(error)
}
