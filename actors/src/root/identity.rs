//! The identity of a directory, which survives an unmount: some file systems get another device number when mounted
//! again (btrfs, overlay, FUSE, network), and a new file system may get the number of an old one (tmpfs).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, makedev, statfs, statvfs, statx};

use crate::mounts::source as mount_source;

/// STATX_SUBVOL (statx(2), since Linux 6.10).
const SUBVOLUME: StatxFlags = StatxFlags::from_bits_retain(0x8000);
/// Magic number of XFS, whose file system id depends on the device number (statfs(2) leaves the id to the file system).
const XFS: u64 = 0x5846_5342;

/// The identity of one directory.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Device number of the file system, as it is mounted now.
    device: AtomicU64,
    traits: DirectoryTraits,
}

/// Properties of a directory and its file system that survive an unmount.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DirectoryTraits {
    inode: u64,
    /// Birth time of the directory in seconds and nanoseconds; `None` if the file system does not store one.
    born: Option<(i64, u32)>,
    /// Number of the subvolume, as a snapshot shares inodes and times with its original; `None` where there are none.
    subvolume: Option<u64>,
    /// Magic number of the kind of file system.
    kind: u64,
    /// Id of the file system; `None` if it has no stable one.
    id: Option<u64>,
    /// Source of the mount; `None` if its name tells nothing.
    source: Option<Vec<u8>>,
}

impl Identity {
    /// Takes the identity of the directory at `path`.
    ///
    /// # Errors
    /// When there is no directory, or the directory cannot be looked at.
    pub(crate) fn of(path: &Path) -> io::Result<Identity> {
        let stat = look(path)?;
        Ok(Identity { device: AtomicU64::new(device(&stat)), traits: DirectoryTraits::of(path, &stat) })
    }

    /// Returns the inode number of the directory.
    pub(crate) fn inode(&self) -> u64 {
        self.traits.inode
    }

    /// Tells if this directory is at `path`, and stores its device number if that has changed.
    ///
    /// # Errors
    /// When there is no directory at `path`, or the directory cannot be looked at.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let stat = look(path)?;
        if stat.stx_ino != self.traits.inode || differ(&self.traits.born, &born(&stat)) {
            return Ok(false);
        }
        if differ(&self.traits.subvolume, &subvolume(&stat)) {
            return Ok(false);
        }
        if device(&stat) == self.device.load(Ordering::Acquire) {
            return Ok(true);
        }
        let is_same = self.traits.are_those_of(&DirectoryTraits::of(path, &stat));
        if is_same {
            self.device.store(device(&stat), Ordering::Release);
        }
        Ok(is_same)
    }

    /// Tells if the directory at `path` has the inode and the last known device number of this one.
    pub(crate) fn has_number_of(&self, path: &Path) -> bool {
        look(path)
            .is_ok_and(|stat| stat.stx_ino == self.traits.inode && device(&stat) == self.device.load(Ordering::Acquire))
    }
}

impl DirectoryTraits {
    fn of(path: &Path, stat: &Statx) -> DirectoryTraits {
        let kind = statfs(path).map_or(0, |fs| fs.f_type as u64);
        let has_mount = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        let source = has_mount.then(|| mount_source(stat.stx_mnt_id)).flatten();
        DirectoryTraits {
            inode: stat.stx_ino,
            born: born(stat),
            subvolume: subvolume(stat),
            kind,
            id: id(path, kind),
            source,
        }
    }

    /// Tells if both describe the same directory on another device number: no property differs, and at least one
    /// agrees.
    fn are_those_of(&self, other: &DirectoryTraits) -> bool {
        let against = self.inode != other.inode
            || self.kind != other.kind
            || differ(&self.born, &other.born)
            || differ(&self.subvolume, &other.subvolume)
            || differ(&self.id, &other.id);
        let agree = self.born.is_some() && self.born == other.born
            || self.id.is_some() && self.id == other.id
            || self.source.is_some() && self.source == other.source;
        !against && agree
    }
}

/// Returns a path that leads to an open directory, whatever its present name.
pub(crate) fn itself(opened: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

fn look(path: &Path) -> io::Result<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME | StatxFlags::MNT_ID | SUBVOLUME;
    let stat = statx(CWD, path, AtFlags::empty(), wanted)?;
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => Ok(stat),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn device(stat: &Statx) -> u64 {
    makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

fn born(stat: &Statx) -> Option<(i64, u32)> {
    let knows = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    knows.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}

fn subvolume(stat: &Statx) -> Option<u64> {
    (stat.stx_mask & SUBVOLUME.bits() != 0).then_some(stat.stx_subvol)
}

fn id(path: &Path, kind: u64) -> Option<u64> {
    let id = statvfs(path).ok().map(|fs| fs.f_fsid).filter(|id| *id != 0);
    id.filter(|_| kind != XFS)
}

/// Tells if both values are known and differ.
fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_some() && other.is_some() && one != other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_system_that_got_the_numbers_of_an_old_one_is_told_from_it() {
        use nix::sched::{CloneFlags, unshare};
        use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let dir = tempfile::tempdir().unwrap();
                let tmpfs = || mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), None);
                let is_private = unshare(CloneFlags::CLONE_NEWNS).is_ok()
                    && mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).is_ok();
                if !is_private || tmpfs().is_err() {
                    return println!("not tested, no mounts here");
                }
                let identity = Identity::of(dir.path()).unwrap();
                assert!(identity.is_at(dir.path()).unwrap());
                // Repeated until the clock has ticked.
                while born(&look(dir.path()).unwrap()) == identity.traits.born {
                    unmount(dir.path(), UnmountFlags::empty()).unwrap();
                    tmpfs().unwrap();
                }
                assert!(!identity.is_at(dir.path()).unwrap());
            });
        });
    }

    #[test]
    fn a_directory_on_another_device_number_is_the_same_if_something_says_so_and_nothing_else() {
        let all = DirectoryTraits {
            inode: 5,
            born: Some((1, 2)),
            subvolume: Some(3),
            kind: 7,
            id: Some(9),
            source: Some(b"fuse.x h:/d".to_vec()),
        };
        let none = DirectoryTraits { born: None, subvolume: None, id: None, source: None, ..all.clone() };
        let born = DirectoryTraits { born: all.born, ..none.clone() };
        let id = DirectoryTraits { id: all.id, ..none.clone() };
        let source = DirectoryTraits { source: all.source.clone(), ..none.clone() };
        for (one, other, expected) in [
            (&all, all.clone(), true),
            (&none, none.clone(), false),
            (&born, born.clone(), true),
            (&id, id.clone(), true),
            (&source, source.clone(), true),
            (&all, born.clone(), true),
            (&born, id.clone(), false),
            (&all, DirectoryTraits { inode: 6, ..all.clone() }, false),
            (&all, DirectoryTraits { kind: 8, ..all.clone() }, false),
            (&all, DirectoryTraits { subvolume: Some(4), ..all.clone() }, false),
            (&all, DirectoryTraits { born: Some((1, 3)), ..all.clone() }, false),
            (&all, DirectoryTraits { id: Some(8), ..all.clone() }, false),
            // Another device node, as after a disk was plugged in again.
            (&all, DirectoryTraits { source: Some(b"other".to_vec()), ..all.clone() }, true),
        ] {
            assert_eq!(one.are_those_of(&other), expected, "{one:?} {other:?}");
        }
    }
}
