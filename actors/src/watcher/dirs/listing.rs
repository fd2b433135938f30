//! The subdirectories of a directory.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry};

use crate::path::RelPath;
use crate::patterns::excludes::Excludes;

/// Room for one reading of a listing, in bytes: some 1,000 entries.
const LISTING: usize = 32 * 1024;

/// The number of directories that a watcher of this tree would watch, the root included. Those that cannot be listed
/// count without what is below them.
pub fn count(root: &Path, excludes: &Excludes) -> usize {
    let mut left = vec![RelPath::root()];
    let mut counted = 0;
    while let Some(dir) = left.pop() {
        counted += 1;
        // What cannot be listed counts for itself alone.
        let _ = open(root, &dir, OFlags::empty()).and_then(|opened| {
            list(&opened, &mut |name| {
                left.extend(Some(dir.join(name)).filter(|dir| excludes.matching(dir, true).is_none()));
            })
        });
    }
    counted
}

pub(super) fn open(root: &Path, dir: &RelPath, how: OFlags) -> io::Result<OwnedFd> {
    // The root may be named by a symlink; below it, one that took the place of a directory leads out of the tree.
    let follow = if dir.is_root() { OFlags::empty() } else { OFlags::NOFOLLOW };
    Ok(rustix::fs::open(dir.under(root), OFlags::DIRECTORY | OFlags::CLOEXEC | follow | how, Mode::empty())?)
}

/// Tells `found` the names of the subdirectories. Not by `std::fs::read_dir`, which takes 32 KiB from the heap and asks
/// the kernel once more for every directory.
pub(super) fn list(opened: &OwnedFd, found: &mut dyn FnMut(&OsStr)) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") && is_directory(opened, &entry) {
            found(OsStr::from_bytes(name.to_bytes()));
        }
    }
    Ok(())
}

fn is_directory(parent: &OwnedFd, entry: &RawDirEntry<'_>) -> bool {
    match entry.file_type() {
        // Not every file system tells it in its listings.
        FileType::Unknown => rustix::fs::statat(parent, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|meta| FileType::from_raw_mode(meta.st_mode) == FileType::Directory),
        kind => kind == FileType::Directory,
    }
}
