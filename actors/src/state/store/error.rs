//! The reasons why there is no state.

use std::io;
use std::path::PathBuf;

use crate::state::own;

/// The reason why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses the file.
    #[error(
        "{} is in use by another inosync: stop that one, or give this one another `state_dir`", .0.display()
    )]
    InUse(PathBuf),
    /// The directory or the file cannot be made or opened safely.
    #[error(
        "{} cannot be used: {cause}; {}, or name another directory as `state_dir`; then restart inosync",
        path.display(), cure(cause)
    )]
    Directory {
        /// The path in question.
        path: PathBuf,
        /// The kernel's error, or the reason why the path is not safe.
        #[source]
        cause: io::Error,
    },
    /// The file holds the state of another tree.
    #[error("the state is of another tree")]
    Foreign,
    /// Another version of this program has written the file.
    #[error("another version of inosync wrote the file, in another form")]
    OtherForm,
    /// Some of the file is not as this program writes it, although the database finds nothing wrong.
    #[error("the state has bytes that cannot be read")]
    Damaged,
    /// The source cannot be read.
    #[error("the source cannot be read: {0}")]
    Source(rustix::io::Errno),
    /// The database reports an error.
    #[error("the state cannot be kept: {0}")]
    Database(#[from] redb::Error),
}

impl StoreError {
    /// Returns the text for an error that makes a file useless.
    pub(super) fn of_no_use(&self) -> String {
        match self {
            StoreError::OtherForm => self.to_string(),
            StoreError::Database(why) => format!("the file is damaged: {why}"),
            other => format!("the file is damaged: {other}"),
        }
    }

    /// Tells if another user owns the file or its directory.
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

/// Returns advice for the admin about an error with the file or its directory.
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
