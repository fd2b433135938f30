//! The identity of a directory, which survives an unmount: some file systems get another device number when mounted
//! again (btrfs, overlay, FUSE, network), and a new file system may get the number of an old one (tmpfs).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::sighting::Sighting;
use crate::mounts;

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
    seen: Sighting,
    /// Source of the mount; `None` if its name tells nothing.
    source: Option<Vec<u8>>,
}

impl Identity {
    /// Takes the identity of a directory.
    pub(crate) fn of(seen: Sighting) -> Identity {
        Identity { device: AtomicU64::new(seen.device), traits: DirectoryTraits::of(seen) }
    }

    /// Returns the inode number of the directory.
    pub(crate) fn inode(&self) -> u64 {
        self.traits.seen.inode
    }

    /// Returns the time when the directory was made, if its file system stores that.
    pub(crate) fn made(&self) -> Option<SystemTime> {
        let (seconds, nanos) = self.traits.seen.born?;
        Some(SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), nanos))
    }

    /// Tells if this directory was seen, and stores its device number if that has changed.
    pub(crate) fn is_that_of(&self, seen: &Sighting) -> bool {
        let known = &self.traits.seen;
        if seen.inode != known.inode || differ(&known.born, &seen.born) || differ(&known.subvolume, &seen.subvolume) {
            return false;
        }
        if self.has_number_of(seen) {
            return true;
        }
        let is_same = self.traits.are_those_of(&DirectoryTraits::of(*seen));
        if is_same {
            self.device.store(seen.device, Ordering::Release);
        }
        is_same
    }

    /// Tells if what was seen has the inode and the last known device number of this one.
    pub(crate) fn has_number_of(&self, seen: &Sighting) -> bool {
        seen.inode == self.inode() && seen.device == self.device.load(Ordering::Acquire)
    }
}

impl DirectoryTraits {
    fn of(seen: Sighting) -> DirectoryTraits {
        DirectoryTraits { seen, source: seen.mount.and_then(mounts::source) }
    }

    /// Tells if both describe the same directory on another device number: no property differs, and at least one
    /// agrees.
    fn are_those_of(&self, other: &DirectoryTraits) -> bool {
        let (this, seen) = (&self.seen, &other.seen);
        let against = this.inode != seen.inode
            || this.kind != seen.kind
            || differ(&this.born, &seen.born)
            || differ(&this.subvolume, &seen.subvolume)
            || differ(&this.id, &seen.id);
        let agree = this.born.is_some() && this.born == seen.born
            || this.id.is_some() && this.id == seen.id
            || self.source.is_some() && self.source == other.source;
        !against && agree
    }
}

/// Tells if both values are known and differ.
fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_some() && other.is_some() && one != other
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::reach::Reach;
    use super::*;

    fn seen(path: &Path) -> Sighting {
        Reach::of(path).see(path, 0).unwrap().0
    }

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
                let identity = Identity::of(seen(dir.path()));
                assert!(identity.is_that_of(&seen(dir.path())));
                // Repeated until the clock has ticked.
                while seen(dir.path()).born == identity.traits.seen.born {
                    unmount(dir.path(), UnmountFlags::empty()).unwrap();
                    tmpfs().unwrap();
                }
                assert!(!identity.is_that_of(&seen(dir.path())));
            });
        });
    }

    #[test]
    fn a_directory_on_another_device_number_is_the_same_if_something_says_so_and_nothing_else() {
        let full =
            Sighting { inode: 5, device: 1, born: Some((1, 2)), subvolume: Some(3), kind: 7, id: Some(9), mount: None };
        let bare = Sighting { born: None, subvolume: None, id: None, ..full };
        let traits = |seen, source: Option<&str>| DirectoryTraits { seen, source: source.map(|name| name.into()) };
        let known = Some("fuse.x h:/d");
        let all = traits(full, known);
        let none = traits(bare, None);
        let born = traits(Sighting { born: full.born, ..bare }, None);
        let id = traits(Sighting { id: full.id, ..bare }, None);
        let source = traits(bare, known);
        for (one, other, expected) in [
            (&all, all.clone(), true),
            (&none, none.clone(), false),
            (&born, born.clone(), true),
            (&id, id.clone(), true),
            (&source, source.clone(), true),
            (&all, born.clone(), true),
            (&born, id.clone(), false),
            (&all, traits(Sighting { inode: 6, ..full }, known), false),
            (&all, traits(Sighting { kind: 8, ..full }, known), false),
            (&all, traits(Sighting { subvolume: Some(4), ..full }, known), false),
            (&all, traits(Sighting { born: Some((1, 3)), ..full }, known), false),
            (&all, traits(Sighting { id: Some(8), ..full }, known), false),
            // Another device node, as after a disk was plugged in again.
            (&all, traits(full, Some("other")), true),
        ] {
            assert_eq!(one.are_those_of(&other), expected, "{one:?} {other:?}");
        }
    }
}
