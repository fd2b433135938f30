//! The identity of the source: a root that was replaced, unmounted or deleted must not look like a tree whose files
//! were all deleted.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory that was at `wpath` when the daemon started, by device and inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The source is not the directory that the daemon started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Nothing is there, or no directory.
    #[error("the source is missing")]
    Missing,
    /// Another directory is there.
    #[error(
        "the source was replaced by another directory: bring the old one back (mount it?), or restart inosync to \
         mirror the new one"
    )]
    Replaced,
    /// It cannot be looked at.
    #[error("the source cannot be looked at: {0}")]
    Unknown(io::ErrorKind),
}

impl Root {
    /// Remembers what is at `path` now.
    ///
    /// # Errors
    /// When there is no directory, or it cannot be looked at.
    pub fn of(path: &Path) -> Result<Root, RootError> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(Root { path: path.to_owned(), device: meta.dev(), inode: meta.ino() }),
            Ok(_) => Err(RootError::Missing),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(RootError::Missing)
            }
            Err(error) => Err(RootError::Unknown(error.kind())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the same directory is still there. To be asked just before anything is sent.
    ///
    /// # Errors
    /// How it differs.
    pub fn check(&self) -> Result<(), RootError> {
        if Root::of(&self.path)? == *self { Ok(()) } else { Err(RootError::Replaced) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_or_missing_root_is_told_from_the_one_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        fs::create_dir(&path).unwrap();
        let root = Root::of(&path).unwrap();
        assert_eq!(root.check(), Ok(()));
        fs::rename(&path, dir.path().join("old")).unwrap();
        assert_eq!(root.check(), Err(RootError::Missing));
        fs::create_dir(&path).unwrap();
        assert_eq!(root.check(), Err(RootError::Replaced));
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("old", &path).unwrap();
        assert_eq!(root.check(), Err(RootError::Missing));
        fs::remove_file(&path).unwrap();
        fs::rename(dir.path().join("old"), &path).unwrap();
        assert_eq!(root.check(), Ok(()));
    }
}
