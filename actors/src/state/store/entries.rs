//! The stamps during a save.

use std::ops::Bound;

use redb::{ReadableTable, Table};

use super::block::{self, Decoding, Stamped};
use super::{StoreError, children, key};
use crate::path::RelPath;
use crate::state::stamp::Stamp;

/// Entries in the open block, at most; then they are written as blocks of the usual size.
const MOST_OPEN: usize = 2_000;

/// The stamps during a save. Changes take effect at [`Entries::finish`].
pub(crate) struct Entries<'w> {
    table: Table<'w, &'static [u8], &'static [u8]>,
    open: Option<OpenBlock>,
}

/// The block that changes, which may have grown to many.
struct OpenBlock {
    /// Its key in the table.
    row: Vec<u8>,
    /// The key of the block behind it.
    end: Option<Vec<u8>>,
    entries: Vec<Stamped>,
    is_stored: bool,
    is_changed: bool,
}

impl OpenBlock {
    fn covers(&self, key: &[u8]) -> bool {
        *self.row <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// Sets a stamp, and returns the earlier one.
    fn put(&mut self, key: Vec<u8>, stamp: Stamp) -> Option<Stamp> {
        let at = self.first_from(&key);
        self.is_changed = true;
        match self.entries.get_mut(at).filter(|(found, _)| *found == key) {
            Some((_, found)) => Some(std::mem::replace(found, stamp)),
            None => {
                self.entries.insert(at, (key, stamp));
                None
            }
        }
    }

    /// Drops the entries from `start` to before `end`, and returns the first of them.
    fn remove(&mut self, start: &[u8], end: &[u8]) -> Option<Stamped> {
        let range = self.first_from(start)..self.first_from(end);
        let removed = self.entries.drain(range).next();
        self.is_changed |= removed.is_some();
        removed
    }

    /// The place of the first entry that does not come before a key.
    fn first_from(&self, key: &[u8]) -> usize {
        self.entries.partition_point(|(found, _)| **found < *key)
    }
}

impl<'w> Entries<'w> {
    pub(super) fn new(table: Table<'w, &'static [u8], &'static [u8]>) -> Self {
        Entries { table, open: None }
    }

    /// Sets the stamp of an entry. Stamps below an entry that is no longer a directory are dropped. Entries that come in the
    /// order of their paths, directory by directory, are written fastest, and in the fewest blocks.
    ///
    /// # Errors
    /// When the file cannot be written, or is damaged.
    pub(crate) fn set(&mut self, path: &RelPath, stamp: &Stamp) -> Result<(), StoreError> {
        let key = key(path);
        let block = self.block(&key)?;
        let before = block.put(key, *stamp);
        if block.entries.len() >= MOST_OPEN {
            self.write_open()?;
        }
        if before.is_some_and(|before| before.is_dir()) && !stamp.is_dir() {
            self.forget_below(path)?;
        }
        Ok(())
    }

    /// Drops the stamps of an entry and of everything below it.
    ///
    /// # Errors
    /// When the file cannot be written, or is damaged.
    pub(crate) fn forget(&mut self, path: &RelPath) -> Result<(), StoreError> {
        if path.is_root() {
            self.open = None;
            return Ok(self.table.retain(|_, _| false)?);
        }
        let key = key(path);
        self.block(&key)?.remove(&key, &[&*key, b"\0"].concat());
        self.forget_below(path)
    }

    /// Drops the stamps of everything below a directory.
    ///
    /// # Errors
    /// When the file cannot be written, or is damaged.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) -> Result<(), StoreError> {
        if dir.is_root() {
            return self.forget_all_but(&key(dir));
        }
        let (start, end) = children(dir);
        self.remove_range(&start, &end)?;
        let deeper = dir.below();
        self.remove_range(deeper.start.as_bytes(), deeper.end.as_bytes())
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        self.write_open()
    }

    /// Drops all stamps but one, even if they are damaged.
    fn forget_all_but(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let kept = match self.block(key) {
            Ok(block) => block.remove(key, &[key, b"\0"].concat()),
            Err(StoreError::Damaged) => None,
            Err(error) => return Err(error),
        };
        self.open = None;
        self.table.retain(|_, _| false)?;
        if let Some((key, stamp)) = kept {
            self.block(&key)?.put(key, stamp);
        }
        Ok(())
    }

    fn remove_range(&mut self, start: &[u8], end: &[u8]) -> Result<(), StoreError> {
        if !self.may_hold(start, end)? {
            return Ok(());
        }
        self.write_open()?;
        self.block(start)?.remove(start, end);
        self.write_open()?;
        let inside = (Bound::Excluded(start), Bound::Excluded(end));
        let last = self.table.range::<&[u8]>(inside)?.next_back().transpose()?;
        let Some(last) = last.map(|(row, _)| row.value().to_vec()) else { return Ok(()) };
        let left = self.block(&last)?;
        left.remove(start, end);
        let left = std::mem::take(&mut left.entries);
        self.open = None;
        self.table.retain_in::<&[u8], _>(inside, |_, _| false)?;
        if let Some((first, _)) = left.first() {
            let first = first.clone();
            let block = self.block(&first)?;
            for (key, stamp) in left {
                block.put(key, stamp);
            }
        }
        Ok(())
    }

    /// Tells if there may be an entry from `start` to before `end`. Most that is forgotten has nothing below it.
    fn may_hold(&self, start: &[u8], end: &[u8]) -> Result<bool, StoreError> {
        let open = self.open.as_ref();
        if open.is_some_and(|open| open.first_from(start) < open.first_from(end)) {
            return Ok(true);
        }
        let mut cursor = self.table.upper_bound(Bound::Included(start))?;
        if cursor.peek_next()?.is_some_and(|(row, _)| row.value() < end) {
            return Ok(true);
        }
        let Some((row, bytes)) = cursor.peek_prev()? else { return Ok(false) };
        if open.is_some_and(|open| open.row == row.value()) {
            return Ok(false);
        }
        let mut entries = Decoding::new(row.value(), bytes.value());
        while let Some((key, _)) = entries.next()? {
            if key >= start {
                return Ok(key < end);
            }
        }
        Ok(false)
    }

    /// Opens the block to which a key belongs.
    fn block(&mut self, key: &[u8]) -> Result<&mut OpenBlock, StoreError> {
        let open = match self.open.take_if(|open| open.covers(key)) {
            Some(open) => open,
            None => {
                self.write_open()?;
                self.read(key)?
            }
        };
        Ok(self.open.insert(open))
    }

    fn read(&self, key: &[u8]) -> Result<OpenBlock, StoreError> {
        let mut cursor = self.table.upper_bound(Bound::Included(key))?;
        let end = cursor.peek_next()?.map(|(row, _)| row.value().to_vec());
        let (row, entries, is_stored) = match cursor.peek_prev()? {
            Some((row, bytes)) => {
                let row = row.value();
                (row.to_vec(), Decoding::new(row, bytes.value()).all()?, true)
            }
            // The first block comes before all keys.
            None => (Vec::new(), Vec::new(), false),
        };
        Ok(OpenBlock { row, end, entries, is_stored, is_changed: false })
    }

    /// Writes the open block, and closes it.
    fn write_open(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.take().filter(|open| open.is_changed) else { return Ok(()) };
        if open.entries.is_empty() {
            if open.is_stored {
                self.table.remove(&*open.row)?;
            }
            return Ok(());
        }
        for (row, bytes) in block::encode(&open.row, &open.entries) {
            self.table.insert(&*row, &*bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::super::{BLOCKS, Store};
    use super::*;
    use crate::outbox::backlog::Backlog;
    use crate::state::stamp::{any_stamp, stamp};

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn opened() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("file"), b"tree", false).unwrap();
        (dir, store)
    }

    /// Saves what `deed` does with the stamps.
    fn save(store: &Store, deed: impl FnOnce(&mut Entries<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let writing = store.write()?;
        let mut entries = writing.entries()?;
        deed(&mut entries)?;
        entries.finish()?;
        writing.save(store.subject(), &Vec::<(String, Backlog)>::new(), &BTreeSet::new(), true)
    }

    /// Paths of directories, and of 50 files in each.
    fn many(dirs: u32) -> Vec<RelPath> {
        let dirs = (0..dirs).map(|dir| format!("customers/site-{:02}/orders-{dir:04}", dir / 50));
        let files = |dir: &str| -> Vec<String> {
            let file = |file| format!("{dir}/product-{:05}-banner.jpg", file * 7919 % 100_000);
            (0..50).map(file).chain([dir.to_owned()]).collect()
        };
        dirs.flat_map(|dir| files(&dir)).map(|path| rel(&path)).collect()
    }

    /// Stamps of files that were written one after the other, a while ago or long ago.
    fn stamp_of(number: usize) -> Stamp {
        stamp(1_800_000_000 + i64::try_from(number / 100).unwrap(), 1 + u32::try_from(number * 7_919).unwrap())
    }

    #[test]
    fn the_file_has_less_than_150_bytes_for_each_entry_however_they_came() {
        type Order = fn(&mut Vec<RelPath>);
        let orders: [(&str, Order, u32, u64); 3] = [
            ("in the order of the keys", |paths| paths.sort_by_key(key), 1_000, 80),
            ("backwards", |paths| paths.sort_by_key(|path| std::cmp::Reverse(key(path))), 100, 150),
            ("in any order", |paths| fastrand::Rng::with_seed(1).shuffle(paths), 100, 150),
        ];
        for (what, order, dirs, most) in orders {
            let (dir, store) = opened();
            let mut paths = many(dirs);
            order(&mut paths);
            save(&store, |entries| {
                paths.iter().enumerate().try_for_each(|(number, path)| entries.set(path, &stamp_of(number)))
            })
            .unwrap();
            drop(store);
            let size = std::fs::metadata(dir.path().join("file")).unwrap().len();
            let each = size / paths.len() as u64;
            assert!(each <= most, "{what}: {each} bytes for each entry");
            let (store, past) = Store::open(&dir.path().join("file"), b"tree", false).unwrap();
            assert!(past.is_some());
            let known = store.known().unwrap();
            for (number, path) in paths.iter().enumerate() {
                assert_eq!(known.stamp(path).unwrap(), Some(stamp_of(number)), "{what}: {path}");
            }
            assert_eq!(known.children(&rel("customers/site-01/orders-0055")).unwrap().iter().count(), 50);
        }
    }

    #[test]
    fn a_block_that_cannot_be_read_is_an_error_until_all_is_saved_anew() {
        let (_dir, store) = opened();
        save(&store, |entries| entries.set(&rel("a"), &stamp(5, 7))).unwrap();
        let writing = store.write().unwrap();
        writing.transaction.open_table(BLOCKS).unwrap().insert(&b"\0a"[..], &b"no block"[..]).unwrap();
        writing.save(b"tree", &[], &BTreeSet::new(), true).unwrap();
        let known = store.known().unwrap();
        assert!(matches!(known.stamp(&rel("a")), Err(StoreError::Damaged)));
        assert!(matches!(known.children(&RelPath::root()), Err(StoreError::Damaged)));
        let one = save(&store, |entries| entries.set(&rel("b"), &stamp(5, 7)));
        assert!(matches!(one, Err(StoreError::Damaged)));
        save(&store, |entries| {
            entries.forget_below(&RelPath::root())?;
            entries.set(&rel("b"), &stamp(5, 7))
        })
        .unwrap();
        let children = store.known().unwrap().children(&RelPath::root()).unwrap();
        assert_eq!(children.iter().collect::<Vec<_>>(), [(&b"b"[..], stamp(5, 7))]);
    }

    /// One thing that a save does.
    #[derive(Debug, Clone)]
    enum Deed {
        Set(RelPath, Stamp),
        Forget(RelPath),
        ForgetBelow(RelPath),
        /// The files of a directory, many enough for several blocks.
        Fill(RelPath, u16),
        /// Ends the save, and begins another one.
        Save,
    }

    fn any_deed() -> impl Strategy<Value = Deed> {
        let path = || "[abc-]{1,2}(/[abc-]{1,2}){0,3}".prop_map(|path| rel(&path));
        let top = || prop_oneof![9 => path(), 1 => Just(RelPath::root())];
        prop_oneof![
            8 => (top(), any_stamp()).prop_map(|(path, stamp)| Deed::Set(path, stamp)),
            2 => path().prop_map(Deed::Forget),
            2 => top().prop_map(Deed::ForgetBelow),
            2 => (path(), 1..400u16).prop_map(|(path, count)| Deed::Fill(path, count)),
            1 => Just(Deed::Save),
        ]
    }

    /// The same by a map.
    #[derive(Default)]
    struct Model(BTreeMap<RelPath, Stamp>);

    impl Model {
        fn set(&mut self, path: &RelPath, stamp: Stamp) {
            let before = self.0.insert(path.clone(), stamp);
            if before.is_some_and(|before| before.is_dir()) && !stamp.is_dir() {
                self.forget_below(path);
            }
        }

        fn forget_below(&mut self, dir: &RelPath) {
            self.0.retain(|path, _| path == dir || !path.is_below(dir));
        }
    }

    fn run(deeds: &[Deed], store: &Store, model: &mut Model) {
        save(store, |entries| {
            for deed in deeds {
                match deed {
                    Deed::Set(path, stamp) => {
                        entries.set(path, stamp)?;
                        model.set(path, *stamp);
                    }
                    Deed::Forget(path) => {
                        entries.forget(path)?;
                        model.0.remove(path);
                        model.forget_below(path);
                    }
                    Deed::ForgetBelow(dir) => {
                        entries.forget_below(dir)?;
                        model.forget_below(dir);
                    }
                    Deed::Fill(dir, count) => {
                        for number in 0..*count {
                            let path = dir.join(std::ffi::OsStr::new(&format!("file-{number}")));
                            entries.set(&path, &stamp(7, number.into()))?;
                            model.set(&path, stamp(7, number.into()));
                        }
                    }
                    Deed::Save => (),
                }
            }
            Ok(())
        })
        .unwrap();
    }

    proptest! {
        #![proptest_config(crate::proptests::config(20))]

        #[test]
        fn fuzz_any_saves_leave_the_stamps_that_a_map_has(
            deeds in proptest::collection::vec(any_deed(), 1..60)
        ) {
            let (_dir, store) = opened();
            let mut model = Model::default();
            for deeds in deeds.split(|deed| matches!(deed, Deed::Save)) {
                run(deeds, &store, &mut model);
                let known = store.known().unwrap();
                let mut dirs = BTreeSet::from([RelPath::root()]);
                for (path, stamp) in &model.0 {
                    prop_assert_eq!(known.stamp(path).unwrap(), Some(*stamp));
                    dirs.extend(path.parent());
                }
                let mut count = usize::from(model.0.contains_key(&RelPath::root()));
                for dir in dirs {
                    let children = known.children(&dir).unwrap();
                    for (name, stamp) in children.iter() {
                        count += 1;
                        prop_assert_eq!(model.0.get(&dir.join(OsStr::from_bytes(name))), Some(&stamp));
                    }
                }
                prop_assert_eq!(count, model.0.len());
                prop_assert_eq!(known.stamp(&rel("absent")).unwrap(), None);
            }
        }
    }
}
