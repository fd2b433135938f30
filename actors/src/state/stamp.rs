//! Stamps: metadata that change whenever an entry changes, so that contents need not be compared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

use super::varint;
use crate::root::reach::look::Meta;

/// Age from which a stamp is trusted: two changes within one tick of the kernel's clock leave the same change time
/// (inode_set_ctime_current in the kernel), and a tick takes up to 10 ms.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// The same for times of whole seconds, which come from a file system with a resolution of one or two seconds.
const COARSE_TICK: Duration = Duration::from_millis(2500);

/// The kinds of entries; the first byte of an encoded stamp has the place in this list in its [`KIND`] bits.
const KINDS: [u8; 8] = *b"fdlpscb?";
const KIND: u8 = 0b0000_0111;
/// Bits of the first byte: the two times are equal; a time is of whole seconds, as on a file system without a finer
/// resolution, or when a program has set it.
const SAME_TIMES: u8 = 0b0000_1000;
const MODIFIED_WHOLE: u8 = 0b0001_0000;
const CHANGED_WHOLE: u8 = 0b0010_0000;

/// A time stamp of the file system, counted from 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Time {
    seconds: i64,
    nanos: u32,
}

/// The metadata of one entry. An entry with the same stamp has not changed, provided that the stamp was not
/// [fresh](Stamp::is_fresh) when it was taken. Each write, rename or change of attributes moves the change time, which
/// no program can set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
        self.changed.since_epoch().is_some_and(|changed| born <= changed)
    }

    /// Tells if type, inode, size and modification time are equal, so that only the attributes may differ.
    pub(crate) fn has_content_of(&self, other: &Stamp) -> bool {
        (self.kind, self.inode, self.size, self.modified) == (other.kind, other.inode, other.size, other.modified)
    }

    /// Tells if the entry changed so shortly before `now` that another change may leave the same stamp.
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        let tick = if self.changed.nanos == 0 { COARSE_TICK } else { TICK };
        let Some(changed) = self.changed.since_epoch() else { return false };
        now.duration_since(changed).map_or(true, |age| age < tick)
    }

    /// Appends the stamp for [`Stamp::decode_after`]. It is short if its inode and times are near those of the stamp
    /// `before` it, which the decoder must know, too.
    pub(super) fn encode_after(&self, before: &Stamp, to: &mut Vec<u8>) {
        let same_times = self.modified == self.changed;
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        to.push(
            kind_code(self.kind)
                | flag(same_times, SAME_TIMES)
                | flag(self.modified.nanos == 0, MODIFIED_WHOLE)
                | flag(self.changed.nanos == 0, CHANGED_WHOLE),
        );
        varint::put(self.size, to);
        varint::put_signed(self.inode.wrapping_sub(before.inode).cast_signed(), to);
        self.changed.encode_from(before.changed.seconds, to);
        if !same_times {
            self.modified.encode_from(self.changed.seconds, to);
        }
    }

    /// Takes a stamp of [`Stamp::encode_after`] off the front of `bytes`; `None` if there is none.
    pub(super) fn decode_after(before: &Stamp, bytes: &mut &[u8]) -> Option<Stamp> {
        let (&head, rest) = bytes.split_first()?;
        *bytes = rest;
        if head & !(KIND | SAME_TIMES | MODIFIED_WHOLE | CHANGED_WHOLE) != 0 {
            return None;
        }
        let kind = *KINDS.get(usize::from(head & KIND))?;
        let size = varint::take(bytes)?;
        let inode = before.inode.wrapping_add(varint::take_signed(bytes)?.cast_unsigned());
        let changed = Time::decode_from(before.changed.seconds, head & CHANGED_WHOLE != 0, bytes)?;
        let modified = if head & SAME_TIMES != 0 {
            changed
        } else {
            Time::decode_from(changed.seconds, head & MODIFIED_WHOLE != 0, bytes)?
        };
        Some(Stamp { kind, size, modified, changed, inode })
    }
}

impl Time {
    /// The time as that of a clock; `None` if it is before 1970, or no clock has it: a file system may tell anything.
    fn since_epoch(self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.seconds).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?.checked_add(Duration::from_nanos(self.nanos.into()))
    }

    /// Appends the difference of the seconds from `origin`, and the nanoseconds if there are any.
    fn encode_from(self, origin: i64, to: &mut Vec<u8>) {
        varint::put_signed(self.seconds.wrapping_sub(origin), to);
        if self.nanos != 0 {
            to.extend_from_slice(&self.nanos.to_le_bytes());
        }
    }

    fn decode_from(origin: i64, is_whole: bool, bytes: &mut &[u8]) -> Option<Time> {
        let seconds = origin.wrapping_add(varint::take_signed(bytes)?);
        if is_whole {
            return Some(Time { seconds, nanos: 0 });
        }
        let (nanos, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(Time { seconds, nanos: u32::from_le_bytes(*nanos) })
    }
}

/// The place of a kind in [`KINDS`]; the last one is that of unknown kinds.
fn kind_code(kind: u8) -> u8 {
    KINDS.iter().zip(0..).find(|(known, _)| **known == kind).map_or(KIND, |(_, code)| code)
}

impl From<&Meta> for Stamp {
    fn from(meta: &Meta) -> Self {
        let time = |(seconds, nanos): (i64, i64)| Time { seconds, nanos: u32::try_from(nanos).unwrap_or(0) };
        let modified = time(meta.modified());
        let changed = time(meta.changed());
        Stamp { kind: kind(meta.kind()), size: meta.len(), modified, changed, inode: meta.inode() }
    }
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
pub(super) use self::tests::{any_stamp, stamp};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any stamp at all, to which the common ones belong.
    pub(in crate::state) fn any_stamp() -> impl Strategy<Value = Stamp> {
        let seconds = prop_oneof![any::<i64>(), 1_799_999_000..1_800_000_000i64];
        let nanos = prop_oneof![Just(0), 0..1_000_000_000u32, any::<u32>()];
        let time = (seconds, nanos).prop_map(|(seconds, nanos)| Time { seconds, nanos });
        let numbers = || prop_oneof![any::<u64>(), 0..100_000u64];
        (proptest::sample::select(&KINDS[..]), numbers(), numbers(), time.clone(), time, any::<bool>()).prop_map(
            |(kind, size, inode, changed, other, same)| {
                let modified = if same { changed } else { other };
                Stamp { kind, size, modified, changed, inode }
            },
        )
    }

    pub(in crate::state) fn stamp(seconds: i64, nanos: u32) -> Stamp {
        let modified = Time { seconds: -1, nanos: 7 };
        Stamp { kind: b'f', size: 3, modified, changed: Time { seconds, nanos }, inode: 9 }
    }

    fn encoded(stamp: &Stamp, before: &Stamp) -> Vec<u8> {
        let mut bytes = Vec::new();
        stamp.encode_after(before, &mut bytes);
        bytes
    }

    #[test]
    fn a_stamp_is_short_beside_a_similar_one() {
        let at = |seconds, nanos| Time { seconds, nanos };
        let now = 1_800_000_000;
        let file = |size, modified, changed, inode| Stamp { kind: b'f', size, modified, changed, inode };
        let before = file(1, at(now, 5), at(now, 5), 40_000_000);
        for (what, stamp, length) in [
            ("a new file", file(0, at(now, 7), at(now, 7), 40_000_001), 8),
            ("a file with an old time", file(30_000, at(now - 90_000_000, 7), at(now + 1, 9), 40_000_002), 18),
            ("the same, in whole seconds", file(30_000, at(now - 90_000_000, 0), at(now + 1, 0), 40_000_002), 10),
            ("a large file, far away", file(1 << 40, at(now - 3, 7), at(now - 90_000_000, 9), 9), 27),
            ("the extremes", file(u64::MAX, at(i64::MIN, u32::MAX), at(i64::MAX, u32::MAX), u64::MAX), 34),
        ] {
            let bytes = encoded(&stamp, &before);
            assert_eq!(bytes.len(), length, "{what}");
            let mut rest = &*[&bytes[..], b"rest"].concat();
            assert_eq!((Stamp::decode_after(&before, &mut rest), rest), (Some(stamp), &b"rest"[..]), "{what}");
            for end in 0..bytes.len() {
                assert_eq!(Stamp::decode_after(&before, &mut &bytes[..end]), None, "{what}, cut at {end}");
            }
        }
    }

    #[test]
    fn what_no_stamp_can_be_is_none() {
        let good = encoded(&stamp(5, 0), &Stamp::default());
        assert!(Stamp::decode_after(&Stamp::default(), &mut &*good).is_some());
        for head in [0b0100_0000, 0b1000_0000] {
            let bytes = [&[good[0] | head], &good[1..]].concat();
            assert_eq!(Stamp::decode_after(&Stamp::default(), &mut &*bytes), None, "{head:b}");
        }
    }

    #[test]
    fn every_kind_of_entry_has_a_code_of_its_own() {
        for (code, known) in KINDS.into_iter().enumerate() {
            assert_eq!(usize::from(kind_code(known)), code);
        }
        assert_eq!(kind_code(b'x'), kind_code(b'?'));
    }

    proptest! {
        #![proptest_config(crate::proptests::config(500))]

        #[test]
        fn fuzz_any_stamp_is_read_as_it_was_written(stamp in any_stamp(), before in any_stamp()) {
            let bytes = encoded(&stamp, &before);
            let mut rest = &*bytes;
            prop_assert_eq!(Stamp::decode_after(&before, &mut rest), Some(stamp));
            prop_assert!(rest.is_empty());
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
            (i64::MAX, u32::MAX, false),
            (i64::MIN, 0, false),
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
