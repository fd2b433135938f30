//! The file of the saved state: opened, checked, and replaced by an empty one if it is damaged or of another tree. It is an
//! embedded database (redb), so that a crash at any moment leaves the last complete save.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};

mod block;
mod entries;
mod error;

use self::block::{DamagedBlock, Decoding};
pub(crate) use self::entries::Entries;
pub use self::error::StoreError;
use super::own;
use super::stamp::Stamp;
use super::stamps::Stamps;
use crate::outbox::backlog::Backlog;
use crate::path::RelPath;

/// The stamps, in blocks of many entries. The key of an entry is the directory, a NUL and the name, so that the entries of one
/// directory form one range. The key of a block comes after all entries of the blocks before it, and after none of its own.
const BLOCKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blocks");
/// Node key -> backlog.
const NODES: TableDefinition<&str, &[u8]> = TableDefinition::new("nodes");
/// The subject of the state, the mounts, and a mark if the last run was closed.
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
/// Another form of the file has other tables.
const TABLES: [&str; 3] = ["blocks", "nodes", "about"];
const SUBJECT: &str = "subject";
const CLOSED: &str = "closed";
const MOUNTS: &str = "mounts";

/// Size of the database's page cache, in bytes.
const CACHE: usize = 4 << 20;

/// Time to wait for a file that is in use: a process that a killed daemon had just forked holds the file until its
/// exec.
const LETS_GO: Duration = Duration::from_secs(1);

/// The leftovers of an earlier run.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// `true` if that run was stopped in order, so that no node has entries that are missing in the state.
    pub closed: bool,
    /// Changes that each node lacks, by the node's key.
    pub backlogs: HashMap<String, Backlog>,
    /// Directories on which a file system was mounted.
    pub mounts: BTreeSet<RelPath>,
}

/// The open file of the state.
pub(crate) struct Store {
    database: Database,
    file: PathBuf,
    subject: Vec<u8>,
    /// The reason why the previous file is of no use.
    useless: Option<String>,
}

/// A state whose file was closed after a failed write.
pub(crate) struct Closed {
    file: PathBuf,
    subject: Vec<u8>,
}

impl Closed {
    /// Opens the file with the contents of the last save. Returns false with it if it does not have that any more, as when
    /// somebody deleted it to make room: then it is empty.
    ///
    /// # Errors
    /// When the file still cannot be opened.
    pub(crate) fn open(&self) -> Result<(Store, bool), StoreError> {
        let Closed { file, subject } = self;
        let store = Store { database: take(file)?, file: file.clone(), subject: subject.clone(), useless: None };
        let is_known = matches!(store.past(), Ok(Some(_)));
        if !is_known {
            store.clear()?;
        }
        Ok((store, is_known))
    }
}

impl Store {
    /// Opens the state in `file` and begins a run, which counts as not closed until [`SaveInProgress::save`] marks it so.
    /// `subject` identifies the tree: the state of another tree is dropped, or left alone with an error if `spare` is
    /// true. The past is `None` if there is none to continue.
    ///
    /// # Errors
    /// See [`StoreError`]; a damaged file is not an error.
    pub(crate) fn open(file: &Path, subject: &[u8], spare: bool) -> Result<(Store, Option<Past>), StoreError> {
        if let Some(directory) = file.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })?;
        }
        let mut useless = None;
        let database = match take(file) {
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse(file.to_owned())),
            Err(DatabaseError::Storage(redb::StorageError::Io(cause)))
                if cause.kind() != io::ErrorKind::InvalidData =>
            {
                return Err(StoreError::Directory { path: file.to_owned(), cause });
            }
            Err(why) => {
                useless = Some(StoreError::from(why).of_no_use());
                begin_anew(file)?
            }
            Ok(database) => database,
        };
        let store = Store { database, file: file.to_owned(), subject: subject.to_owned(), useless };
        let past = store.past();
        // Nothing is taken over from a file that cannot be read.
        match past {
            Ok(Some(past)) => {
                store.mark_open()?;
                Ok((store, Some(past)))
            }
            Ok(None) if spare && store.has_subject()? => Err(StoreError::Foreign),
            Ok(None) => {
                store.clear()?;
                Ok((store, None))
            }
            Err(why) => {
                drop(store);
                let database = begin_anew(file)?;
                let file = file.to_owned();
                let store = Store { database, file, subject: subject.to_owned(), useless: Some(why.of_no_use()) };
                store.clear()?;
                Ok((store, None))
            }
        }
    }

    /// Returns the reason why the state of the earlier run could not be read; `None` if it could.
    pub(crate) fn useless(&self) -> Option<&str> {
        self.useless.as_deref()
    }

    /// Closes the file: after a failed write, the database can do nothing before it is opened again.
    pub(crate) fn close(self) -> Closed {
        Closed { file: self.file, subject: self.subject }
    }

    fn past(&self) -> Result<Option<Past>, StoreError> {
        let read = self.database.begin_read()?;
        check_form(&read)?;
        let about = match read.open_table(ABOUT) {
            Ok(about) => about,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if about.get(SUBJECT)?.is_none_or(|subject| subject.value() != self.subject) {
            return Ok(None);
        }
        let mounts = about.get(MOUNTS)?.map(|list| paths(list.value())).unwrap_or_default();
        let mut past = Past { closed: about.get(CLOSED)?.is_some(), backlogs: HashMap::new(), mounts };
        for row in read.open_table(NODES)?.iter()? {
            let (node, backlog) = row?;
            // A node with a damaged record counts as never served.
            if let Some(backlog) = Backlog::decode(backlog.value()) {
                past.backlogs.insert(node.value().to_owned(), backlog);
            }
        }
        Ok(Some(past))
    }

    fn has_subject(&self) -> Result<bool, StoreError> {
        match self.database.begin_read()?.open_table(ABOUT) {
            Ok(about) => Ok(about.get(SUBJECT)?.is_some()),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn mark_open(&self) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write.open_table(ABOUT)?.remove(CLOSED)?;
        Ok(write.commit()?)
    }

    /// Forgets everything. Nothing is known of any node until the first save.
    fn clear(&self) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write.delete_table(BLOCKS)?;
        write.delete_table(NODES)?;
        write.delete_table(ABOUT)?;
        write.open_table(BLOCKS)?;
        write.open_table(NODES)?;
        write.open_table(ABOUT)?;
        Ok(write.commit()?)
    }

    /// Returns the tree as of the last save.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn known(&self) -> Result<Known, StoreError> {
        Ok(Known(self.database.begin_read()?.open_table(BLOCKS)?))
    }

    /// Begins a save. Nothing of it is visible, or survives a crash, before [`SaveInProgress::save`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self) -> Result<SaveInProgress, StoreError> {
        Ok(SaveInProgress { transaction: self.database.begin_write()? })
    }

    /// Returns the text that identifies the tree.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }
}

/// Opens the database like [`create`], but waits up to [`LETS_GO`] for another process that has it open.
fn take(file: &Path) -> Result<Database, DatabaseError> {
    let start = Instant::now();
    loop {
        match create(file) {
            Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < LETS_GO => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn create(file: &Path) -> Result<Database, DatabaseError> {
    let opened = own::open(file).map_err(redb::StorageError::Io)?;
    Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(FileBackend::new(opened)?)
}

/// Fails if another version of this program has written the file in another form: older and newer ones leave the tables that
/// they do not know.
fn check_form(read: &ReadTransaction) -> Result<(), StoreError> {
    let is_known = |name: &str| TABLES.contains(&name);
    if read.list_tables()?.all(|table| is_known(table.name())) { Ok(()) } else { Err(StoreError::OtherForm) }
}

fn begin_anew(file: &Path) -> Result<Database, StoreError> {
    fs::remove_file(file).map_err(|cause| StoreError::Directory { path: file.to_owned(), cause })?;
    Ok(create(file)?)
}

/// The tree as of the last save.
pub(crate) struct Known(redb::ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Known {
    /// Returns the stamp of one entry; `None` if it has none.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub(crate) fn stamp(&self, path: &RelPath) -> Result<Option<Stamp>, StoreError> {
        let sought = key(path);
        let mut cursor = self.0.upper_bound(Bound::Included(&*sought))?;
        let Some((row, bytes)) = cursor.prev()? else { return Ok(None) };
        let mut entries = Decoding::new(row.value(), bytes.value());
        while let Some((key, stamp)) = entries.next()? {
            if key >= &*sought {
                return Ok((key == sought).then_some(stamp));
            }
        }
        Ok(None)
    }

    /// Lists the entries of a directory, sorted by name.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged: some names would be missing.
    pub(crate) fn children(&self, dir: &RelPath) -> Result<Stamps, StoreError> {
        let mut found = Stamps::default();
        self.list(dir, &mut found)?;
        Ok(found)
    }

    /// Lists the saved entries of a directory, sorted by name, in place of those that `found` has.
    ///
    /// # Errors
    /// As for [`Known::children`].
    pub(super) fn list(&self, dir: &RelPath, found: &mut Stamps) -> Result<(), StoreError> {
        found.clear();
        let (start, end) = children(dir);
        let mut cursor = self.0.upper_bound(Bound::Included(&*start))?;
        // The block before may have the first of them.
        cursor.prev()?;
        while let Some((row, bytes)) = cursor.next()? {
            if row.value() >= &*end {
                break;
            }
            let mut entries = Decoding::new(row.value(), bytes.value());
            while let Some((key, stamp)) = entries.next()? {
                match key.strip_prefix(&*start) {
                    // The root itself.
                    Some(b"") => (),
                    // No entry has such a name.
                    Some(name) if matches!(name, b"." | b"..") || name.iter().any(|byte| b"/\0".contains(byte)) => {
                        return Err(StoreError::Damaged);
                    }
                    Some(name) => found.push(name, stamp),
                    None if key < &*start => (),
                    None => return Ok(()),
                }
            }
        }
        Ok(())
    }
}

/// A save in progress.
pub(crate) struct SaveInProgress {
    transaction: WriteTransaction,
}

impl SaveInProgress {
    /// Opens the stamps for changes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn entries(&self) -> Result<Entries<'_>, StoreError> {
        Ok(Entries::new(self.transaction.open_table(BLOCKS)?))
    }

    /// Commits the save with the backlog of each node by its key and the mount points; other nodes are forgotten.
    /// `closed` marks the end of the run.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing of the save takes effect.
    pub(crate) fn save(
        self,
        subject: &[u8],
        nodes: &[(String, Backlog)],
        mounts: &BTreeSet<RelPath>,
        closed: bool,
    ) -> Result<(), StoreError> {
        {
            let mut table = self.transaction.open_table(NODES)?;
            table.retain(|node, _| nodes.iter().any(|(key, _)| key == node))?;
            for (node, backlog) in nodes {
                table.insert(node.as_str(), &*backlog.encode())?;
            }
            let mut about = self.transaction.open_table(ABOUT)?;
            about.insert(SUBJECT, subject)?;
            let mounts: Vec<u8> = mounts.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
            about.insert(MOUNTS, &*mounts)?;
            if closed {
                about.insert(CLOSED, &[][..])?;
            }
        }
        Ok(self.transaction.commit()?)
    }

    /// Drops everything that was written since [`Store::write`].
    pub(crate) fn abort(self) {
        // The file keeps the previous save even if this fails.
        let _ = self.transaction.abort();
    }
}

impl From<DamagedBlock> for StoreError {
    fn from(_: DamagedBlock) -> Self {
        StoreError::Damaged
    }
}

/// Parses a list of paths with a NUL after each.
fn paths(list: &[u8]) -> BTreeSet<RelPath> {
    list.split(|&b| b == 0).filter(|path| !path.is_empty()).filter_map(|path| RelPath::new(path).ok()).collect()
}

fn key(path: &RelPath) -> Vec<u8> {
    let dir = path.parent().unwrap_or_else(RelPath::root);
    [dir.as_bytes(), b"\0", path.name()].concat()
}

/// Returns the range of keys of a directory's entries.
fn children(dir: &RelPath) -> (Vec<u8>, Vec<u8>) {
    ([dir.as_bytes(), b"\0"].concat(), [dir.as_bytes(), b"\x01"].concat())
}
/// Fails if the present file or directory would keep the state from being opened. Changes nothing.
///
/// # Errors
/// [`StoreError::Directory`].
pub fn inspect(file: &Path) -> Result<(), StoreError> {
    own::inspect(file).map_err(|cause| StoreError::Directory { path: file.to_owned(), cause })
}
