//! A look at a file or directory for which rules are made: opened by name, with what identifies it.

use std::fs::{DirBuilder, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open, statfs};
use rustix::io::Errno;

use super::look::{Found, NUMBERS};

/// The numbers of file systems that wait for no other machine or program (statfs(2)): btrfs, ext2 to ext4, f2fs, tmpfs,
/// XFS and ZFS.
const DISKS: [u64; 6] = [0x9123_683e, 0xef53, 0xf2f5_2010, 0x0102_1994, 0x5846_5342, 0x2fc1_2fc1];
/// The permissions of a log that is made.
const LOG_MODE: u32 = 0o644;

/// The thing that is made at a path first, if nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// Nothing: only what is there counts.
    Nothing,
    /// A file that is written at its end.
    Log,
    /// A directory, and those above it.
    Directories,
}

impl Make {
    pub(super) const ALL: [Make; 3] = [Make::Nothing, Make::Log, Make::Directories];
}

/// The file or directory at a path.
#[derive(Debug, Default)]
pub(crate) struct NamedFile {
    /// Opened by name only (`O_PATH`); `None` if nothing is there, or this user may not reach it.
    pub opened: Option<OwnedFd>,
    /// `true` for a directory.
    pub is_dir: bool,
    /// Its device and inode, if it was opened.
    pub inode: Option<(u64, u64)>,
    /// `true` if no look at the path can hang.
    pub is_on_disk: bool,
}

impl NamedFile {
    /// Looks at a path, which may be named by a symlink.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub(super) fn find(path: &Path, make: Make) -> Result<Found, Errno> {
        // Whoever needs what cannot be made tells why.
        match make {
            Make::Nothing => (),
            Make::Log => drop(OpenOptions::new().append(true).create(true).mode(LOG_MODE).open(path)),
            Make::Directories => drop(DirBuilder::new().recursive(true).create(path)),
        }
        let opened = match open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(why @ (Errno::MFILE | Errno::NFILE)) => return Err(why),
            opened => opened.ok(),
        };
        let mut facts = [0; NUMBERS];
        if let Some(opened) = &opened {
            let stat = fstat(opened)?;
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            facts = [stat.st_dev, stat.st_ino, u64::from(is_dir), 0, 0, 0, 0, 0, 0];
        }
        facts[3] = u64::from(is_on_disk(path));
        Ok(Found { facts, opened, ..Found::default() })
    }

    pub(crate) fn of(found: Found) -> NamedFile {
        let [device, inode, is_dir, is_on_disk, ..] = found.facts;
        let inode = found.opened.is_some().then_some((device, inode));
        NamedFile { opened: found.opened, is_dir: is_dir == 1, inode, is_on_disk: is_on_disk == 1 }
    }
}

/// Tells if each directory on the way to a path, and what is there, is on a disk of this machine. The top is where the
/// daemon itself runs, whatever that is.
pub(crate) fn is_on_disk(path: &Path) -> bool {
    let is_disk =
        |dir: &Path| dir.parent().is_none() || statfs(dir).is_ok_and(|fs| DISKS.contains(&(fs.f_type as u64)));
    path.canonicalize().is_ok_and(|path| path.ancestors().all(is_disk))
}
