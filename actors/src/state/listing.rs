//! Lists the source for the saved state: entries with their stamps, never through a symlink below the root.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::io::Errno;

use super::stamp::Stamp;
use super::stamps::Stamps;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::root::walk::PackedNames;

/// A directory entry with its stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path of the entry.
    pub path: RelPath,
    /// Stamp of the entry.
    pub stamp: Stamp,
}

/// The list of a directory's entries. It keeps its room from one directory to the next.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    names: PackedNames,
    /// The stamps of the entries.
    pub stamps: Stamps,
}

/// An open directory of the source.
pub(crate) struct Dir<'r> {
    fd: Arc<OwnedFd>,
    path: RelPath,
    reach: &'r Reach,
}

impl Dir<'_> {
    /// Opens a directory of a tree whose top may be named by a symlink.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR` or `LOOP` when no directory is at `path`; `TIMEDOUT` when it does not answer; others when it
    /// cannot be opened.
    pub(crate) fn open<'r>(reach: &'r Reach, path: &RelPath) -> Result<Dir<'r>, Errno> {
        let fd = reach.open_below(path).map_err(errno)?;
        Ok(Dir { fd, path: path.clone(), reach })
    }

    /// Takes a directory that is open already.
    pub(crate) fn of_opened<'r>(reach: &'r Reach, path: &RelPath, opened: &Arc<OwnedFd>) -> Dir<'r> {
        Dir { fd: opened.clone(), path: path.clone(), reach }
    }

    /// Returns the path, relative to the root.
    pub(crate) fn path(&self) -> &RelPath {
        &self.path
    }

    /// The open directory itself.
    pub(crate) fn into_opened(self) -> Arc<OwnedFd> {
        self.fd
    }

    /// Returns the stamp of the directory itself.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub(crate) fn stamp(&self) -> Result<Stamp, Errno> {
        let meta = self.reach.look_in(&self.fd, &self.path, OsStr::new(""));
        meta.map(|meta| Stamp::from(&meta)).map_err(errno)
    }

    /// Returns the stamp of an entry in the directory; `None` if the entry does not exist.
    ///
    /// # Errors
    /// The error of fstatat(2), other than `NOENT`.
    pub(crate) fn look(&self, name: &[u8]) -> Result<Option<Stamp>, Errno> {
        match self.reach.look_in(&self.fd, &self.path, OsStr::from_bytes(name)).map_err(errno) {
            Ok(meta) => Ok(Some(Stamp::from(&meta))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the stamps of the directory's entries in the order of their names, in place of those in `listing`; without those
    /// that are excluded, do not answer or vanish meanwhile.
    ///
    /// # Errors
    /// When the directory or one of its entries cannot be read.
    pub(crate) fn list(&self, excludes: &Excludes, listing: &mut Listing) -> Result<(), Errno> {
        let Listing { names, stamps } = listing;
        let mut excludes = excludes.in_directory(&self.path);
        stamps.clear();
        self.reach.names_in(&self.fd, &self.path, names).map_err(errno)?;
        for name in names.iter() {
            let stamp = match self.look(name) {
                Ok(Some(stamp)) => stamp,
                Ok(None) | Err(Errno::TIMEDOUT) => continue,
                Err(error) => return Err(error),
            };
            if excludes.matching(name, stamp.is_dir()).is_none() {
                stamps.push(name, stamp);
            }
        }
        stamps.sort();
        Ok(())
    }

    /// Returns the same entries, each with its path.
    ///
    /// # Errors
    /// When the directory or one of its entries cannot be read.
    pub(crate) fn entries(&self, excludes: &Excludes) -> Result<Vec<Entry>, Errno> {
        let entry = |(name, stamp)| Entry { path: self.path.join(OsStr::from_bytes(name)), stamp };
        let mut listing = Listing::default();
        self.list(excludes, &mut listing)?;
        Ok(listing.stamps.iter().map(entry).collect())
    }
}

/// The error number of a look.
pub(super) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::TIMEDOUT)
}

/// Tells if an error means that the directory no longer exists.
pub(crate) fn is_gone(error: Errno) -> bool {
    crate::errno::is_gone(error)
}
