//! Looks at the entries of the source, each carried out where it holds up nobody else.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use rustix::fs::FileType;

use super::Reach;
use super::look::{self, Found, Look, Meta, Place};
use crate::path::RelPath;
use crate::root::walk::PackedNames;

/// File systems whose inode numbers are their own and last, by the numbers of statfs(2). Others make them up (overlay,
/// FUSE, FAT), or are of another machine.
const LASTING: [i64; 7] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x2FC1_2FC1, // zfs
    0xF2F5_2010, // f2fs
    0xCA45_1A4E, // bcachefs
];

impl Reach {
    /// Carries out a look at what is at `path`. Where that lies on what may hang, another process does.
    ///
    /// # Errors
    /// The error of the kernel; `TimedOut` if the file system does not answer.
    pub(crate) fn carry_out(&self, path: &RelPath, look: Look) -> io::Result<Found> {
        match self.holder(path) {
            None => Ok(look.carry_out()?),
            Some(ground) => ground.carry_out(&look),
        }
    }

    /// Looks at the entry at `path`, symlinks not followed.
    ///
    /// # Errors
    /// As of all looks: that of the kernel, and `TimedOut` if the file system does not answer.
    pub fn look(&self, path: &RelPath) -> io::Result<Meta> {
        Ok(self.carry_out(path, Look::Meta(self.place(path)))?.meta())
    }

    /// Looks at an entry of an open directory, which is at `dir`; with an empty name, at the directory itself.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn look_in(&self, opened: &Arc<OwnedFd>, dir: &RelPath, name: &OsStr) -> io::Result<Meta> {
        if !self.0.any.load(Ordering::Acquire) {
            // Of millions of entries: without a copy of the name.
            return Ok(look::meta_in(opened, name)?);
        }
        let path = if name.is_empty() { dir.clone() } else { dir.join(name) };
        Ok(self.carry_out(&path, Look::Meta(Place::entry(opened, name)))?.meta())
    }

    /// The text of the symlink at `path`.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn read_link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        Ok(self.carry_out(path, Look::Link(self.place(path)))?.text)
    }

    /// The names in a directory, at most so many.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn names(&self, dir: &RelPath, most: usize) -> io::Result<Vec<OsString>> {
        Ok(self.carry_out(dir, Look::Names(self.place(dir), most as u64))?.names())
    }

    /// The names in a directory, each with its kind.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub fn entries(&self, dir: &RelPath) -> io::Result<Vec<(OsString, FileType)>> {
        Ok(self.carry_out(dir, Look::Entries(self.place(dir)))?.entries())
    }

    /// The time when what is at `path` was made.
    ///
    /// # Errors
    /// As for [`Reach::look`], and where the file system does not keep that time.
    pub(crate) fn born(&self, path: &RelPath) -> io::Result<SystemTime> {
        let nanos = u64::try_from(self.carry_out(path, Look::Born(self.place(path)))?.number).unwrap_or(0);
        Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
    }

    /// Opens the file at `path` to read it, and closes it.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn try_to_read(&self, path: &RelPath) -> io::Result<()> {
        self.carry_out(path, Look::Read(self.place(path))).map(drop)
    }

    /// Lists the names in an open directory, which is at `dir`, in place of those that `names` has.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn names_in(&self, opened: &Arc<OwnedFd>, dir: &RelPath, names: &mut PackedNames) -> io::Result<()> {
        names.clear();
        match self.holder(dir) {
            None => look::names(opened, names)?,
            Some(ground) => {
                let found = ground.carry_out(&Look::Names(Place::opened(opened), u64::MAX))?;
                *names = PackedNames::packed(found.text);
            }
        }
        Ok(())
    }

    /// The names of the directories in an open directory, which is at `dir`.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn directories_in(&self, opened: &Arc<OwnedFd>, dir: &RelPath) -> io::Result<PackedNames> {
        match self.holder(dir) {
            None => Ok(look::directories(opened)?),
            Some(ground) => Ok(PackedNames::packed(ground.carry_out(&Look::Directories(Place::opened(opened)))?.text)),
        }
    }

    /// Opens a directory, as it is named (`O_PATH`) or to be read. The top may be named by a symlink.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn open(&self, dir: &RelPath, name_only: bool) -> io::Result<Arc<OwnedFd>> {
        let look = Look::Open { place: self.place(dir), follow: dir.is_root(), name_only };
        opened(self.carry_out(dir, look)?)
    }

    /// Opens the directory `name`, which is at `dir`, in an open one.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(in crate::root) fn open_in(
        &self,
        above: &Arc<OwnedFd>,
        dir: &RelPath,
        name: &OsStr,
    ) -> io::Result<Arc<OwnedFd>> {
        let look = Look::Open { place: Place::entry(above, name), follow: false, name_only: false };
        opened(self.carry_out(dir, look)?)
    }

    /// Opens a directory to be read. No symlink is followed below the top.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn open_below(&self, dir: &RelPath) -> io::Result<Arc<OwnedFd>> {
        let below = PathBuf::from(OsStr::from_bytes(dir.as_bytes()));
        opened(self.carry_out(dir, Look::OpenBelow(Place::at(&self.0.root), below))?)
    }

    /// The number of the kind of the file system at `path` (statfs(2)).
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn kind(&self, path: &RelPath) -> io::Result<i64> {
        Ok(self.carry_out(path, Look::Kind(self.place(path)))?.number)
    }

    /// Tells if an entry at `path` keeps its inode number as long as it exists, and no other one has it.
    pub(crate) fn has_lasting_inodes(&self, path: &RelPath) -> bool {
        self.kind(path).is_ok_and(|kind| LASTING.contains(&(kind & 0xFFFF_FFFF)))
    }

    /// The path without symlinks to which the one at `path` leads in the end; `None` if that is not in the tree, or nothing.
    pub(crate) fn resolve(&self, path: &RelPath) -> Option<RelPath> {
        let resolved = self.carry_out(path, Look::Resolved(self.place(path))).ok()?.text;
        let below = Path::new(OsStr::from_bytes(&resolved)).strip_prefix(self.resolved()).ok()?.to_owned();
        RelPath::new(below.as_os_str().as_bytes()).ok()
    }

    pub(super) fn place(&self, path: &RelPath) -> Place {
        Place::at(path.under(&self.0.root))
    }
}

fn opened(found: Found) -> io::Result<Arc<OwnedFd>> {
    found.opened.map(Arc::new).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
