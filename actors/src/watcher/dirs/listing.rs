//! The subdirectories of a directory.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, RawDir, RawDirEntry};

use super::list_within;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;

/// Room for one reading of a listing, in bytes: some 1,000 entries.
const LISTING: usize = 32 * 1024;

/// The number of directories that a watcher of this tree would watch, the root included. Those that cannot be listed
/// count without what is below them.
pub fn count(reach: &Reach, excludes: &Excludes) -> usize {
    let mut left = vec![RelPath::root()];
    let mut counted = 0;
    while let Some(dir) = left.pop() {
        counted += 1;
        // What cannot be listed counts for itself alone.
        let _ = reach.open(&dir, false).and_then(|opened| {
            list_within(reach, &dir, &opened, &mut |name, is_dir| {
                let path = is_dir.then(|| dir.join(name));
                left.extend(path.filter(|dir| excludes.matching(dir, true).is_none()));
            })
        });
    }
    counted
}

/// Tells `found` the names of the entries, each with `true` if it is a directory. Not by `std::fs::read_dir`, which takes 32 KiB from the heap and asks
/// the kernel once more for every directory.
pub(super) fn list(opened: &OwnedFd, found: &mut dyn FnMut(&OsStr, bool)) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            found(OsStr::from_bytes(name.to_bytes()), is_directory(opened, &entry));
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
