//! The identity of the source: a root that was replaced, unmounted or deleted must not look like a tree whose files
//! were all deleted.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The directory that was at `wpath` when the daemon started, by device and inode. `wpath` may be a symlink to it.
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
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(Root { path: path.to_owned(), device: meta.dev(), inode: meta.ino() }),
            Ok(_) => Err(RootError::Missing),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells it from other directories even over restarts of the machine, which may number its device anew.
    pub fn subject(&self) -> String {
        let made = fs::metadata(&self.path).and_then(|meta| meta.created()).ok();
        format!("1 {:?} {} {made:?}", self.path, self.inode)
    }

    /// Opens it, if it is still the same. What is opened stays the same directory whatever happens to the name.
    ///
    /// # Errors
    /// How it differs.
    pub fn open(&self) -> Result<OwnedFd, RootError> {
        let directory = File::options()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(&self.path)
            .map_err(|error| unusable(&error))?;
        let meta = directory.metadata().map_err(|error| unusable(&error))?;
        if (meta.dev(), meta.ino()) == (self.device, self.inode) {
            Ok(directory.into())
        } else {
            Err(RootError::Replaced)
        }
    }

    /// Whether a process works in it, and it is still there: a process that was started in it may sit in a directory that
    /// was moved away, or is covered by a mount.
    pub fn is_cwd_of(&self, process: i32) -> bool {
        let cwd = PathBuf::from(format!("/proc/{process}/cwd"));
        let same =
            |path: &Path| fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode));
        same(&cwd) && same(&self.path)
    }

    /// Whether the same directory is still there. To be asked just before anything is sent.
    ///
    /// # Errors
    /// How it differs.
    pub fn check(&self) -> Result<(), RootError> {
        if Root::of(&self.path)? == *self { Ok(()) } else { Err(RootError::Replaced) }
    }
}

fn unusable(error: &io::Error) -> RootError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => RootError::Missing,
        kind => RootError::Unknown(kind),
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
        assert_eq!(root.open().err(), Some(RootError::Replaced));
        fs::remove_dir(&path).unwrap();
        assert_eq!(root.check(), Err(RootError::Missing));
        std::os::unix::fs::symlink("other", &path).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        assert_eq!(root.open().err(), Some(RootError::Replaced), "a symlink was pointed elsewhere");
        fs::remove_file(&path).unwrap();
        fs::rename(dir.path().join("old"), &path).unwrap();
        assert_eq!(root.check(), Ok(()));
        assert!(root.open().is_ok());
    }

    #[test]
    fn a_process_is_in_the_source_only_while_the_source_is_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("root"), dir.path().join("aside"));
        fs::create_dir(&path).unwrap();
        let root = Root::of(&path).unwrap();
        let mut waits = std::process::Command::new("sleep").arg("60").current_dir(&path).spawn().unwrap();
        let process = waits.id().cast_signed();
        assert!(root.is_cwd_of(process));
        assert!(!root.is_cwd_of(std::process::id().cast_signed()), "it works elsewhere");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!root.is_cwd_of(process), "the source was moved away and made anew");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert!(root.is_cwd_of(process), "it is back");
        waits.kill().unwrap();
        waits.wait().unwrap();
        assert!(!root.is_cwd_of(process), "the process is gone");
    }
}
