//! The form of the saved stamps. Their keys are sorted, and so many that follow each other are in one block that it fills a
//! page of the database. Each entry of a block has only the part of its key that differs from the key before, and its
//! stamp is encoded beside the stamp before.
//!
//! A save changes one block at a time (`state/store/entries.rs`). A file with tables of another version is begun anew, after one
//! comparison of everything; so another form of a table needs another name.

use crate::state::stamp::Stamp;
use crate::state::varint;

/// Size of a page of the database in bytes.
const PAGE: usize = 4096;
/// Bytes of a page that the database takes for itself if there is one block in it.
const OVERHEAD: usize = 12;

/// The bytes of a block are not of an [`Encoding`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DamagedBlock;

/// An entry: its key and its stamp.
pub(super) type Stamped = (Vec<u8>, Stamp);

/// A block that is being written.
struct Encoding {
    row: Vec<u8>,
    bytes: Vec<u8>,
    /// The last entry.
    key: Vec<u8>,
    stamp: Stamp,
}

impl Encoding {
    /// Begins a block that has this key in the database. No key in it comes before that one.
    fn new(row: &[u8]) -> Self {
        Encoding { row: row.to_vec(), bytes: Vec::new(), key: row.to_vec(), stamp: Stamp::default() }
    }

    /// Appends an entry, of which the key comes after all others.
    fn push(&mut self, (key, stamp): &Stamped) {
        let shared = self.key.iter().zip(key).take_while(|(one, other)| one == other).count();
        varint::put(shared as u64, &mut self.bytes);
        varint::put((key.len() - shared) as u64, &mut self.bytes);
        self.bytes.extend_from_slice(&key[shared..]);
        stamp.encode_after(&self.stamp, &mut self.bytes);
        self.key.clone_from(key);
        self.stamp = *stamp;
    }

    /// Returns the size of a block with this key that fills a page.
    fn full(&self) -> usize {
        PAGE.saturating_sub(OVERHEAD + self.row.len())
    }
}

/// Encodes sorted entries as blocks with their keys in the database, the first of which is `row`. None is larger than a page,
/// but for a single entry with a very long key.
pub(super) fn encode(row: &[u8], entries: &[Stamped]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut whole = Encoding::new(row);
    entries.iter().for_each(|entry| whole.push(entry));
    let (size, full) = (whole.bytes.len(), whole.full().max(1));
    if size <= full {
        return vec![(whole.row, whole.bytes)];
    }
    // All of about the same size, so that a block into which more come, one by one, is not divided each time.
    let enough = size.div_ceil(size.div_ceil(full));
    let mut blocks = Vec::new();
    let mut block = Encoding::new(row);
    for entry in entries {
        let before = block.bytes.len();
        block.push(entry);
        if before > 0 && (before >= enough || block.bytes.len() > block.full()) {
            block.bytes.truncate(before);
            blocks.push((block.row, block.bytes));
            block = Encoding::new(&entry.0);
            block.push(entry);
        }
    }
    blocks.push((block.row, block.bytes));
    blocks
}

/// Reads a block, entry by entry.
pub(super) struct Decoding<'b> {
    rest: &'b [u8],
    key: Vec<u8>,
    stamp: Stamp,
    is_first: bool,
}

impl<'b> Decoding<'b> {
    /// Begins to read the block that has the key `row` in the database.
    pub(super) fn new(row: &[u8], bytes: &'b [u8]) -> Self {
        Decoding { rest: bytes, key: row.to_vec(), stamp: Stamp::default(), is_first: true }
    }

    /// Returns the next entry; `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], Stamp)>, DamagedBlock> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.step().ok_or(DamagedBlock)?;
        Ok(Some((&self.key, self.stamp)))
    }

    fn step(&mut self) -> Option<()> {
        let shared = usize::try_from(varint::take(&mut self.rest)?).ok()?;
        let length = usize::try_from(varint::take(&mut self.rest)?).ok()?;
        let (end, rest) = self.rest.split_at_checked(length)?;
        let (_, replaced) = self.key.split_at_checked(shared)?;
        // Whoever reads the keys relies on their order.
        let is_later = end.first() > replaced.first();
        let is_row = self.is_first && end.is_empty() && replaced.is_empty();
        if !is_later && !is_row {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(end);
        self.rest = rest;
        self.stamp = Stamp::decode_after(&self.stamp, &mut self.rest)?;
        self.is_first = false;
        Some(())
    }

    /// Returns all entries that are left.
    pub(super) fn all(mut self) -> Result<Vec<Stamped>, DamagedBlock> {
        let mut entries = Vec::new();
        while let Some((key, stamp)) = self.next()? {
            entries.push((key.to_vec(), stamp));
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::state::stamp::{any_stamp, stamp};

    /// Reads what was encoded, and checks the order and the sizes of the blocks.
    fn decoded(row: &[u8], entries: &[Stamped]) -> Vec<Stamped> {
        let blocks = encode(row, entries);
        assert_eq!(blocks[0].0, row);
        assert!(blocks.is_sorted_by(|(one, _), (other, _)| one < other));
        let mut found = Vec::new();
        for (row, bytes) in &blocks {
            let part = Decoding::new(row, bytes).all().unwrap();
            assert!(part.len() == 1 || row.len() + bytes.len() + OVERHEAD <= PAGE || row.len() > PAGE / 2);
            found.extend(part);
        }
        found
    }

    /// The length of a stamp behind the same one.
    fn encoded_stamp() -> usize {
        let mut bytes = Vec::new();
        stamp(5, 7).encode_after(&stamp(5, 7), &mut bytes);
        bytes.len()
    }

    fn numbered(count: usize) -> Vec<Stamped> {
        (0..count).map(|number| (format!("dir\0file-{number:06}").into_bytes(), stamp(5, 7))).collect()
    }

    #[test]
    fn many_entries_become_blocks_of_about_the_same_size() {
        let entries = numbered(10_000);
        assert_eq!(decoded(b"dir\0", &entries), entries);
        let sizes: Vec<usize> = encode(b"dir\0", &entries).iter().map(|(row, bytes)| row.len() + bytes.len()).collect();
        assert!(sizes.len() > 10 && sizes[..sizes.len() - 1].iter().all(|size| size * 10 > PAGE * 9), "{sizes:?}");
        let one_too_many = (1..).map(numbered).find(|entries| encode(b"", entries).len() > 1).unwrap();
        let sizes: Vec<usize> = encode(b"", &one_too_many).iter().map(|(row, bytes)| row.len() + bytes.len()).collect();
        assert!(sizes.iter().all(|size| (PAGE / 3..PAGE * 2 / 3).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_key_may_be_longer_than_a_page() {
        let long = |last: u8| ([&[b'x'; 2 * PAGE][..], &[last]].concat(), stamp(5, 7));
        let entries = [(b"a".to_vec(), stamp(5, 7)), long(1), long(2)];
        assert_eq!(decoded(b"", &entries), entries);
        assert_eq!(encode(b"", &[]), [(Vec::new(), Vec::new())]);
    }

    #[test]
    fn bytes_that_were_not_encoded_are_damage() {
        let whole = &encode(b"d\0", &numbered(9))[0].1;
        for end in 1..whole.len() {
            let read = Decoding::new(b"d\0", &whole[..end]).all();
            assert!(read.is_err() || read.unwrap().len() < 9, "cut at {end}");
        }
        let stamp = &whole[whole.len() - encoded_stamp()..];
        let out_of_order = [&[0, 1, b'b'][..], stamp, &[0, 1, b'a'], stamp].concat();
        let twice = [&[0, 1, b'b'][..], stamp, &[1, 0], stamp].concat();
        for bytes in [&out_of_order[..], &twice, &[9, 0], &[0, 9, b'x']] {
            assert_eq!(Decoding::new(b"a", bytes).all(), Err(DamagedBlock), "{bytes:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::proptests::config(50))]

        #[test]
        fn fuzz_any_entries_are_read_as_they_were_written(
            entries in proptest::collection::btree_map("[ab/]{0,4}\0[a-c]{0,9}", any_stamp(), 0..300)
        ) {
            let entries: BTreeMap<String, Stamp> = entries;
            let entries: Vec<Stamped> =
                entries.into_iter().map(|(key, stamp)| (key.into_bytes(), stamp)).collect();
            prop_assert_eq!(decoded(b"", &entries), entries);
        }

        #[test]
        fn fuzz_any_bytes_are_read_as_a_block_without_a_panic(row: Vec<u8>, bytes: Vec<u8>) {
            let read = Decoding::new(&row, &bytes).all();
            prop_assert!(read.is_err() || read.unwrap().is_sorted_by(|(one, _), (other, _)| one < other));
        }
    }
}
