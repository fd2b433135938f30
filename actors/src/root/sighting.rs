//! One look at a directory that may be the source: the properties by which it is recognised, all of them of the same open
//! directory.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, fstatfs, fstatvfs, makedev, open, statx};
use rustix::io::Errno;

use super::reach::look::{Found, NUMBERS, known, list, list_by};

/// Names in a first look at what is in the source: mostly one of them is mirrored, which decides.
pub(super) const FIRST: u64 = 16;
/// Room for them, in bytes.
const FIRST_NAMES: usize = 1024;

/// STATX_SUBVOL (statx(2), since Linux 6.10).
const SUBVOLUME: StatxFlags = StatxFlags::from_bits_retain(0x8000);
/// Magic number of XFS, whose file system id depends on the device number (statfs(2) leaves the id to the file system).
const XFS: u64 = 0x5846_5342;

/// Bits of the number that holds the nanoseconds of the birth: the property is known.
const BORN: u64 = 1 << 32;
const HAS_SUBVOLUME: u64 = 1 << 33;
const HAS_MOUNT: u64 = 1 << 34;

/// The properties of a directory and its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub inode: u64,
    /// Device number of the file system, as it is mounted now.
    pub device: u64,
    /// Birth time of the directory in seconds and nanoseconds; `None` if the file system does not store one.
    pub born: Option<(i64, u32)>,
    /// Number of the subvolume, as a snapshot shares inodes and times with its original; `None` where there are none.
    pub subvolume: Option<u64>,
    /// Magic number of the kind of file system.
    pub kind: u64,
    /// Id of the file system; `None` if it has no stable one.
    pub id: Option<u64>,
    /// Number of the mount, as the kernel lists mounts.
    pub mount: Option<u64>,
}

impl Sighting {
    /// Looks at a directory that may be the source. The names are those of the directory that was identified. Of one that
    /// may not be read there are none, and the number is the error.
    ///
    /// # Errors
    /// When there is no directory, or the directory cannot be looked at.
    pub(super) fn find(path: &Path, most: u64, opens: bool) -> Result<Found, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (opened, refused) = match open(path, flags, Mode::empty()) {
            Err(why @ (Errno::ACCESS | Errno::PERM)) => (open(path, flags | OFlags::PATH, Mode::empty())?, Some(why)),
            opened => (opened?, None),
        };
        let mut found = Found { facts: Sighting::of(&opened)?.encode(), ..Found::default() };
        let mut left = most;
        let mut add = |name: &CStr, kind| {
            found.add_entry(known(&opened, name, kind), name);
            left -= 1;
            left > 0
        };
        let listed = match (refused, most) {
            (Some(why), _) => Err(why),
            (None, 0) => Ok(()),
            (None, 1..=FIRST) => list_by(FIRST_NAMES, &opened, &mut add),
            (None, _) => list(&opened, &mut add),
        };
        found.number = listed.err().map_or(0, |why| why.raw_os_error().into());
        found.opened = opens.then_some(opened);
        Ok(found)
    }

    /// Looks at an open directory.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    fn of(opened: &OwnedFd) -> Result<Sighting, Errno> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::MNT_ID | SUBVOLUME;
        let stat = statx(opened, "", AtFlags::EMPTY_PATH, wanted)?;
        let kind = fstatfs(opened).map_or(0, |fs| fs.f_type as u64);
        let id = fstatvfs(opened).map_or(0, |fs| fs.f_fsid);
        let known = |flag: StatxFlags| stat.stx_mask & flag.bits() != 0;
        Ok(Sighting {
            inode: stat.stx_ino,
            device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
            born: known(StatxFlags::BTIME).then(|| born(&stat)),
            subvolume: known(SUBVOLUME).then_some(stat.stx_subvol),
            kind,
            id: Some(id).filter(|id| *id != 0 && kind != XFS),
            mount: known(StatxFlags::MNT_ID).then_some(stat.stx_mnt_id),
        })
    }

    pub(super) fn encode(&self) -> [u64; NUMBERS] {
        let (seconds, nanos) = self.born.unwrap_or_default();
        let flag = |is_known: bool, flag: u64| if is_known { flag } else { 0 };
        let flags = flag(self.born.is_some(), BORN)
            | flag(self.subvolume.is_some(), HAS_SUBVOLUME)
            | flag(self.mount.is_some(), HAS_MOUNT);
        [
            self.inode,
            self.device,
            seconds.cast_unsigned(),
            u64::from(nanos) | flags,
            self.subvolume.unwrap_or(0),
            self.kind,
            self.id.unwrap_or(0),
            self.mount.unwrap_or(0),
            0,
        ]
    }

    pub(super) fn decode(numbers: [u64; NUMBERS]) -> Sighting {
        let [inode, device, seconds, flags, subvolume, kind, id, mount, _] = numbers;
        let known = |flag: u64| flags & flag != 0;
        let nanos = u32::try_from(flags & (BORN - 1)).unwrap_or(0);
        Sighting {
            inode,
            device,
            born: known(BORN).then_some((seconds.cast_signed(), nanos)),
            subvolume: known(HAS_SUBVOLUME).then_some(subvolume),
            kind,
            id: Some(id).filter(|id| *id != 0),
            mount: known(HAS_MOUNT).then_some(mount),
        }
    }
}

fn born(stat: &Statx) -> (i64, u32) {
    (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_tells_what_it_saw_of_a_directory_as_it_is() {
        let all = Sighting {
            inode: 1,
            device: 2,
            born: Some((-3, 4)),
            subvolume: Some(0),
            kind: 6,
            id: Some(7),
            mount: Some(8),
        };
        let none = Sighting { born: None, subvolume: None, id: None, mount: None, ..all };
        for seen in [all, none, Sighting { born: Some((0, 0)), ..none }] {
            assert_eq!(Sighting::decode(seen.encode()), seen);
        }
    }
}
