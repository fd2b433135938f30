//! The attributes of an entry, as they are handed from one process to another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

/// The attributes of an entry, without its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    mode: u32,
    size: u64,
    links: u64,
    inode: u64,
    device: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Tells one file from all others, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// Numbers of an encoded [`Meta`], or of a [`Sighting`](crate::root::sighting::Sighting).
pub(in crate::root) const NUMBERS: usize = 9;

impl Meta {
    /// Returns the kind of the entry.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Returns true for a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Returns true for a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Returns true for a symlink.
    pub fn is_symlink(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.size
    }

    /// The number of its names.
    pub(crate) fn nlink(&self) -> u64 {
        self.links
    }

    /// Returns the number of the inode.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// Returns the numbers of the device and the inode: equal for all names of one file.
    pub(crate) fn file_id(&self) -> FileId {
        FileId { device: self.device, inode: self.inode }
    }

    /// Returns the permissions, without the kind.
    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Returns the time of the last write: seconds and nanoseconds since 1970.
    pub(crate) fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// Returns the time of the last change of the content or the attributes.
    pub(crate) fn changed(&self) -> (i64, i64) {
        self.changed
    }

    /// The same on the clock. What is before 1970 is long ago.
    pub(crate) fn changed_at(&self) -> SystemTime {
        let (seconds, nanos) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1));
        UNIX_EPOCH + Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
    }

    pub(super) fn encode(&self) -> [u64; NUMBERS] {
        let (modified, changed) = (self.modified, self.changed);
        let times = [modified.0, modified.1, changed.0, changed.1].map(i64::cast_unsigned);
        [self.mode.into(), self.size, self.links, self.inode, self.device, times[0], times[1], times[2], times[3]]
    }

    pub(super) fn decode([mode, size, links, inode, device, times @ ..]: [u64; NUMBERS]) -> Meta {
        let times = times.map(u64::cast_signed);
        let mode = u32::try_from(mode).unwrap_or(0);
        Meta { mode, size, links, inode, device, modified: (times[0], times[1]), changed: (times[2], times[3]) }
    }
}

// The types of the fields differ between the architectures.
#[allow(clippy::unnecessary_cast)]
impl From<&rustix::fs::Stat> for Meta {
    fn from(stat: &rustix::fs::Stat) -> Meta {
        Meta {
            mode: stat.st_mode as u32,
            size: stat.st_size as u64,
            links: stat.st_nlink as u64,
            inode: stat.st_ino as u64,
            device: stat.st_dev as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}
