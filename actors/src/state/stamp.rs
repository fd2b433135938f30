//! Stamps: metadata that change whenever an entry changes, so that contents need not be compared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

use crate::root::reach::look::Meta;

/// Age from which a stamp is trusted: two changes within one tick of the kernel's clock leave the same change time
/// (inode_set_ctime_current in the kernel), and a tick takes up to 10 ms.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// The same for times of whole seconds, which come from a file system with a resolution of one or two seconds.
const COARSE_TICK: Duration = Duration::from_millis(2500);

/// Length of an encoded stamp in bytes.
const ENCODED: usize = 1 + 8 + 12 + 12 + 8;

/// A time stamp of the file system, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    seconds: i64,
    nanos: u32,
}

/// The metadata of one entry. An entry with the same stamp has not changed, provided that the stamp was not
/// [fresh](Stamp::is_fresh) when it was taken. Each write, rename or change of attributes moves the change time, which
/// no program can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    kind: u8,
    size: u64,
    modified: Time,
    changed: Time,
    inode: u64,
}

impl Stamp {
    /// Tells if the entry is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == kind(FileType::Directory)
    }

    /// Tells if the entry is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.kind == kind(FileType::RegularFile)
    }

    /// The number of the inode.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// Tells if the stamp can be of an entry that was made then: none changed before it was made.
    pub(crate) fn is_of_one_born(&self, born: SystemTime) -> bool {
        let Ok(seconds) = u64::try_from(self.changed.seconds) else { return false };
        born <= UNIX_EPOCH + Duration::new(seconds, self.changed.nanos)
    }

    /// Tells if type, inode, size and modification time are equal, so that only the attributes may differ.
    pub(crate) fn has_content_of(&self, other: &Stamp) -> bool {
        (self.kind, self.inode, self.size, self.modified) == (other.kind, other.inode, other.size, other.modified)
    }

    /// Tells if the entry changed so shortly before `now` that another change may leave the same stamp.
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        let tick = if self.changed.nanos == 0 { COARSE_TICK } else { TICK };
        let Ok(seconds) = u64::try_from(self.changed.seconds) else { return false };
        let changed = UNIX_EPOCH + Duration::new(seconds, self.changed.nanos);
        now.duration_since(changed).map_or(true, |age| age < tick)
    }

    /// Encodes the stamp for [`Stamp::decode`].
    pub(crate) fn encode(&self) -> [u8; ENCODED] {
        let mut bytes = [0; ENCODED];
        let fields: [&[u8]; 7] = [
            &[self.kind],
            &self.size.to_le_bytes(),
            &self.modified.seconds.to_le_bytes(),
            &self.modified.nanos.to_le_bytes(),
            &self.changed.seconds.to_le_bytes(),
            &self.changed.nanos.to_le_bytes(),
            &self.inode.to_le_bytes(),
        ];
        bytes.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Decodes a stamp of [`Stamp::encode`]; `None` for any other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Stamp> {
        let (&kind, rest) = bytes.split_first()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (modified, rest) = time(rest)?;
        let (changed, rest) = time(rest)?;
        let (inode, rest) = rest.split_first_chunk()?;
        let stamp =
            Stamp { kind, size: u64::from_le_bytes(*size), modified, changed, inode: u64::from_le_bytes(*inode) };
        rest.is_empty().then_some(stamp)
    }
}

impl From<&Meta> for Stamp {
    fn from(meta: &Meta) -> Self {
        let time = |(seconds, nanos): (i64, i64)| Time { seconds, nanos: u32::try_from(nanos).unwrap_or(0) };
        let modified = time(meta.modified());
        let changed = time(meta.changed());
        Stamp { kind: kind(meta.kind()), size: meta.len(), modified, changed, inode: meta.inode() }
    }
}

fn time(bytes: &[u8]) -> Option<(Time, &[u8])> {
    let (seconds, rest) = bytes.split_first_chunk()?;
    let (nanos, rest) = rest.split_first_chunk()?;
    Some((Time { seconds: i64::from_le_bytes(*seconds), nanos: u32::from_le_bytes(*nanos) }, rest))
}

fn kind(kind: FileType) -> u8 {
    match kind {
        FileType::RegularFile => b'f',
        FileType::Directory => b'd',
        FileType::Symlink => b'l',
        FileType::Fifo => b'p',
        FileType::Socket => b's',
        FileType::CharacterDevice => b'c',
        FileType::BlockDevice => b'b',
        FileType::Unknown => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: i64, nanos: u32) -> Stamp {
        let modified = Time { seconds: -1, nanos: 7 };
        Stamp { kind: b'f', size: 3, modified, changed: Time { seconds, nanos }, inode: 9 }
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let written = stamp(i64::MAX, 999_999_999);
        assert_eq!(Stamp::decode(&written.encode()), Some(written));
        for bytes in [&[][..], &written.encode()[1..], &[&written.encode()[..], &[0]].concat()] {
            assert_eq!(Stamp::decode(bytes), None);
        }
    }

    #[test]
    fn a_stamp_is_of_no_entry_that_was_made_after_it() {
        let born = |nanos| UNIX_EPOCH + Duration::new(1000, nanos);
        for (nanos, can_be) in [(0, true), (7, true), (8, false)] {
            assert_eq!(stamp(1000, 7).is_of_one_born(born(nanos)), can_be, "{nanos}");
        }
        assert!(!stamp(-1, 7).is_of_one_born(UNIX_EPOCH));
    }

    #[test]
    fn a_change_is_fresh_while_another_may_leave_the_same_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (seconds, nanos, fresh) in [
            (999, 999_000_000, true),
            (999, 900_000_000, false),
            // Whole seconds: the file system may have no finer resolution.
            (998, 0, true),
            (997, 0, false),
            // The clock was set back.
            (2000, 1, true),
            (-5, 0, false),
        ] {
            assert_eq!(stamp(seconds, nanos).is_fresh(now), fresh, "{seconds}.{nanos}");
        }
    }
}
