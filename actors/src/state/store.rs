//! The file of the state: an embedded database (redb), so that a crash at any moment leaves the last state that was
//! saved as a whole. Its checksums are checked when it is opened. A file that is damaged or of another tree is begun anew.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::own;
use super::stamp::Stamp;
use crate::outbox::backlog::Backlog;
use crate::path::RelPath;

/// Entry -> stamp. The key is the directory, a NUL and the name, so that the entries of one directory are one range.
const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entries");
/// Node -> what it does not have.
const NODES: TableDefinition<&str, &[u8]> = TableDefinition::new("nodes");
/// What the state is about, and how it ended.
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const SUBJECT: &str = "subject";
const CLOSED: &str = "closed";
const MOUNTS: &str = "mounts";

/// Memory for pages of the file.
const CACHE: usize = 4 << 20;

/// How long the file may be in use although nobody uses it: what a daemon that was killed was just starting has it too,
/// until it becomes another program.
const LETS_GO: Duration = Duration::from_secs(1);

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "{} is in use by another inosync: stop that one, or give this one another `state_dir`", .0.display()
    )]
    InUse(PathBuf),
    /// The directory cannot be made or entered.
    #[error(
        "{} cannot be used: {cause}; {}, or name another directory as `state_dir`; then restart inosync",
        path.display(), cure(cause)
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// It is about another tree.
    #[error("the state is of another tree")]
    Foreign,
    /// The source cannot be read.
    #[error("the source cannot be read: {0}")]
    Source(rustix::io::Errno),
    /// The database failed.
    #[error("the state cannot be kept: {0}")]
    Database(#[from] redb::Error),
}

impl StoreError {
    /// Whether another user owns the file or its directory.
    pub fn is_of_another_user(&self) -> bool {
        let StoreError::Directory { cause, .. } = self else { return false };
        let open = cause.get_ref().and_then(|why| why.downcast_ref::<own::Open>());
        matches!(open, Some(own::Open::Foreign | own::Open::ForeignDirectory))
    }
}

macro_rules! database_errors {
    ($($error:ident),+) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                StoreError::Database(error.into())
            }
        }
    )+};
}
database_errors!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Past {
    /// Whether that run was stopped in order, so that no node has what the state does not know.
    pub closed: bool,
    /// What each node that it served does not have, by its key.
    pub backlogs: HashMap<String, Backlog>,
    /// Directories on which a file system was mounted.
    pub mounts: BTreeSet<RelPath>,
}

/// The state on disk.
pub struct Store {
    database: Database,
    file: PathBuf,
    subject: Vec<u8>,
    /// Why what was there is of no use.
    damage: Option<String>,
}

/// A state whose file was closed after it could not be written.
pub struct Closed {
    file: PathBuf,
    subject: Vec<u8>,
}

impl Closed {
    /// Opens the file as it was last saved.
    ///
    /// # Errors
    /// When that cannot be done yet.
    pub fn open(&self) -> Result<Store, StoreError> {
        let Closed { file, subject } = self;
        Ok(Store { database: take(file)?, file: file.clone(), subject: subject.clone(), damage: None })
    }
}

impl Store {
    /// Opens the state in `file`, and begins a run: until [`Writing::save`] says otherwise it is not closed. `subject`
    /// tells what the state is about; of another subject nothing is taken over, and with `spare` that is an error. The past
    /// is `None` if there is none to go on from.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged file is none.
    pub fn open(file: &Path, subject: &[u8], spare: bool) -> Result<(Store, Option<Past>), StoreError> {
        if let Some(directory) = file.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })?;
        }
        let mut damage = None;
        let database = match take(file) {
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse(file.to_owned())),
            Err(DatabaseError::Storage(redb::StorageError::Io(cause)))
                if cause.kind() != io::ErrorKind::InvalidData =>
            {
                return Err(StoreError::Directory { path: file.to_owned(), cause });
            }
            Err(why) => {
                damage = Some(why.to_string());
                begin_anew(file)?
            }
            Ok(database) => database,
        };
        let store = Store { database, file: file.to_owned(), subject: subject.to_owned(), damage };
        let past = store.past();
        // Of what cannot be read nothing is taken over.
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
                let (database, file) = (begin_anew(file)?, file.to_owned());
                let store = Store { database, file, subject: subject.to_owned(), damage: Some(why.to_string()) };
                store.clear()?;
                Ok((store, None))
            }
        }
    }

    /// Why what an earlier run left could not be read, if that is so.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Closes the file: after it could not be written, nothing more can be done with it before it is opened again.
    pub fn close(self) -> Closed {
        Closed { file: self.file, subject: self.subject }
    }

    fn past(&self) -> Result<Option<Past>, StoreError> {
        let read = self.database.begin_read()?;
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
            // A node whose record makes no sense is as one that was never served.
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
        write.delete_table(ENTRIES)?;
        write.delete_table(NODES)?;
        write.delete_table(ABOUT)?;
        write.open_table(ENTRIES)?;
        write.open_table(NODES)?;
        write.open_table(ABOUT)?;
        Ok(write.commit()?)
    }

    /// What was last saved of the tree.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn known(&self) -> Result<Known, StoreError> {
        Ok(Known(self.database.begin_read()?.open_table(ENTRIES)?))
    }

    /// Begins to write. Nothing of it is seen, or outlives a crash, before it is saved.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<Writing, StoreError> {
        Ok(Writing { transaction: self.database.begin_write()? })
    }

    /// What the state is about.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }
}

/// As [`create`], but waits a moment for whoever has it.
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

fn begin_anew(file: &Path) -> Result<Database, StoreError> {
    fs::remove_file(file).map_err(|cause| StoreError::Directory { path: file.to_owned(), cause })?;
    Ok(create(file)?)
}

/// The tree as it was last saved.
pub struct Known(redb::ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Known {
    /// The state of one entry.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stamp(&self, path: &RelPath) -> Result<Option<Stamp>, StoreError> {
        Ok(self.0.get(&*key(path))?.and_then(|value| Stamp::decode(value.value())))
    }

    /// The entries of a directory, by name and in order. One whose stamp makes no sense has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn children(&self, dir: &RelPath) -> Result<Vec<(RelPath, Option<Stamp>)>, StoreError> {
        let (start, end) = children(dir);
        let mut found = Vec::new();
        for row in self.0.range(&*start..&*end)? {
            let (key, value) = row?;
            let name = &key.value()[start.len()..];
            if !name.is_empty() {
                use std::os::unix::ffi::OsStrExt;
                found.push((dir.join(std::ffi::OsStr::from_bytes(name)), Stamp::decode(value.value())));
            }
        }
        Ok(found)
    }
}

/// A save in the making.
pub struct Writing {
    transaction: WriteTransaction,
}

impl Writing {
    /// The entries, to be changed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn entries(&self) -> Result<Entries<'_>, StoreError> {
        Ok(Entries(self.transaction.open_table(ENTRIES)?))
    }

    /// Saves all, with the backlog of each node by its key, and where file systems are mounted; other nodes are forgotten.
    /// `closed`: the run ends with it.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing is changed.
    pub fn save(
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

    /// Drops all.
    pub fn abort(self) {
        // The file is as it was, whatever comes of it.
        let _ = self.transaction.abort();
    }
}

/// The entries while a save is made.
pub struct Entries<'w>(Table<'w, &'static [u8], &'static [u8]>);

impl Entries<'_> {
    /// The entry is as its stamp says.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&mut self, path: &RelPath, stamp: &Stamp) -> Result<(), StoreError> {
        let before = self.0.insert(&*key(path), &stamp.encode()[..])?;
        let was_dir = before.and_then(|before| Stamp::decode(before.value())).is_some_and(|before| before.is_dir());
        if was_dir && !stamp.is_dir() {
            self.forget_below(path)?;
        }
        Ok(())
    }

    /// Nothing is known of the entry and of all below it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&mut self, path: &RelPath) -> Result<(), StoreError> {
        self.0.remove(&*key(path))?;
        self.forget_below(path)
    }

    /// Nothing is known of what is below a directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_below(&mut self, dir: &RelPath) -> Result<(), StoreError> {
        if dir.is_root() {
            let root = key(dir);
            return Ok(self.0.retain(|key, _| key == &*root)?);
        }
        let (start, end) = children(dir);
        self.0.retain_in(&*start..&*end, |_, _| false)?;
        let deeper = dir.below();
        Ok(self.0.retain_in(deeper.start.as_bytes()..deeper.end.as_bytes(), |_, _| false)?)
    }
}

/// Reads a list of paths with a NUL after each.
fn paths(list: &[u8]) -> BTreeSet<RelPath> {
    list.split(|&b| b == 0).filter(|path| !path.is_empty()).filter_map(|path| RelPath::new(path).ok()).collect()
}

fn key(path: &RelPath) -> Vec<u8> {
    let dir = path.parent().unwrap_or_else(RelPath::root);
    [dir.as_bytes(), b"\0", path.name()].concat()
}

/// The range of the entries of a directory.
fn children(dir: &RelPath) -> (Vec<u8>, Vec<u8>) {
    ([dir.as_bytes(), b"\0"].concat(), [dir.as_bytes(), b"\x01"].concat())
}
/// Fails if the state could not be opened because of what is there now. Changes nothing.
///
/// # Errors
/// [`StoreError::Directory`].
pub fn inspect(file: &Path) -> Result<(), StoreError> {
    own::inspect(file).map_err(|cause| StoreError::Directory { path: file.to_owned(), cause })
}

/// The remedy where a directory cannot be used, for which the kernel says this.
fn cure(why: &io::Error) -> &'static str {
    if let Some(open) = why.get_ref().and_then(|why| why.downcast_ref::<own::Open>()) {
        return open.cure();
    }
    match why.kind() {
        io::ErrorKind::PermissionDenied => "let this user write there",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        io::ErrorKind::ReadOnlyFilesystem => "remount it writable",
        _ => "correct that",
    }
}
