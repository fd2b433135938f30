//! Opens a file of the daemon's own in a directory that other users may be able to write. Files that others put there
//! are neither followed nor read nor written.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fchmod, openat};
use rustix::io::Errno;

/// The reason why a file or its directory is not safe to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Open {
    /// Other users may replace the file.
    #[error("others may replace what is in its directory")]
    Directory,
    /// Another user owns the directory, and so may replace the file.
    #[error("its directory belongs to another user")]
    ForeignDirectory,
    /// Another user owns the file.
    #[error("it belongs to another user")]
    Foreign,
    /// The path leads to a device, a FIFO or the like, or to a file with a second name.
    #[error("it is not a file of its own")]
    NoFile,
}

impl Open {
    /// Returns advice for the admin.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Open::Directory => "let only this user write that directory (chmod go-w)",
            Open::ForeignDirectory => "give that directory to this user (chown)",
            Open::Foreign => "remove it, or give it to this user (chown)",
            Open::NoFile => "remove it",
        }
    }
}

impl From<Open> for io::Error {
    fn from(open: Open) -> Self {
        io::Error::new(io::ErrorKind::PermissionDenied, open)
    }
}

/// Owner and mode of a file or directory.
#[derive(Debug, Clone, Copy)]
struct Owned {
    uid: u32,
    mode: u32,
}

/// Checks that only this user and root can replace files in a directory. A sticky bit protects each user's own files
/// (unlink(2)).
fn check_directory(Owned { uid, mode }: Owned, user: u32) -> Result<(), Open> {
    const STICKY: u32 = 0o1000;
    match () {
        () if uid != user && uid != 0 => Err(Open::ForeignDirectory),
        () if mode & 0o022 != 0 && mode & STICKY == 0 => Err(Open::Directory),
        () => Ok(()),
    }
}

/// The facts about a file that decide if it is safe.
#[derive(Debug, Clone, Copy)]
struct FileFacts {
    owned: Owned,
    is_file: bool,
    names: u64,
}

/// Checks that a file is this user's own. `is_shared` is true if others may put files into its directory.
fn check_file(found: FileFacts, is_shared: bool, user: u32) -> Result<(), Open> {
    match found {
        FileFacts { owned, .. } if owned.uid != user => Err(Open::Foreign),
        // Backups make second names; so does an attacker who wants another file to be overwritten.
        FileFacts { is_file, names, .. } if !is_file || is_shared && names > 1 => Err(Open::NoFile),
        FileFacts { .. } => Ok(()),
    }
}

/// Opens the directory of a file if nobody else can replace the file; the flag is true if others may put files there.
fn directory(file: &Path) -> io::Result<(File, bool)> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let directory = File::from(rustix::fs::open(directory, flags, Mode::empty())?);
    let meta = directory.metadata()?;
    let owned = Owned { uid: meta.uid(), mode: meta.mode() };
    check_directory(owned, user())?;
    Ok((directory, owned.mode & 0o022 != 0))
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens a file for reading and writing, and makes it if it is missing. Only this user may read it, since it holds the
/// names in the tree. The directory may be reached through symlinks; the file itself may not be one.
///
/// # Errors
/// The kernel's error, or [`Open`].
pub(super) fn open(file: &Path) -> io::Result<File> {
    let (directory, is_shared) = directory(file)?;
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // `NONBLOCK`: opening a FIFO would wait for a writer.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match openat(&directory, name.as_bytes(), flags, Mode::RUSR | Mode::WUSR) {
        // The kernel's answer to a symlink.
        Err(Errno::LOOP) => return Err(Open::NoFile.into()),
        opened => File::from(opened?),
    };
    let meta = opened.metadata()?;
    let owned = Owned { uid: meta.uid(), mode: meta.mode() };
    check_file(FileFacts { owned, is_file: meta.is_file(), names: meta.nlink() }, is_shared, user())?;
    // The names in the tree are private.
    fchmod(&opened, Mode::RUSR | Mode::WUSR)?;
    Ok(opened)
}

/// Fails if [`open`] would fail because of the present file or directory. Changes nothing.
///
/// # Errors
/// As for [`open`]; a missing file or directory is not an error.
pub(super) fn inspect(file: &Path) -> io::Result<()> {
    let looked = directory(file).and_then(|(_, is_shared)| Ok((is_shared, file.symlink_metadata()?)));
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok((is_shared, meta)) => {
            let owned = Owned { uid: meta.uid(), mode: meta.mode() };
            let is_file = meta.is_file();
            Ok(check_file(FileFacts { owned, is_file, names: meta.nlink() }, is_shared, user())?)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_is_safe_when_nobody_else_can_replace_what_is_in_it() {
        for (uid, mode, expected) in [
            (7, 0o700, Ok(())),
            (7, 0o755, Ok(())),
            (0, 0o755, Ok(())),
            (0, 0o1777, Ok(())),
            (7, 0o1770, Ok(())),
            (7, 0o777, Err(Open::Directory)),
            (7, 0o775, Err(Open::Directory)),
            (0, 0o757, Err(Open::Directory)),
            (8, 0o755, Err(Open::ForeignDirectory)),
            (8, 0o1777, Err(Open::ForeignDirectory)),
        ] {
            assert_eq!(check_directory(Owned { uid, mode }, 7), expected, "{uid} {mode:o}");
        }
    }

    #[test]
    fn what_others_may_have_put_there_is_neither_followed_nor_changed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("other"), "kept").unwrap();
        symlink("other", at("symlink")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        fs::write(at("linked"), "kept").unwrap();
        fs::hard_link(at("linked"), at("twice")).unwrap();
        let fifo = rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0);
        fifo.unwrap();
        for name in ["symlink", "dangling", "fifo"] {
            assert!(inspect(&at(name)).is_err() && open(&at(name)).is_err(), "{name}");
        }
        assert!(inspect(&at("new")).is_ok() && !at("new").exists());
        let with_mode = |mode: u32| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        open(&at("twice")).unwrap();
        with_mode(0o1777);
        assert!(open(&at("twice")).is_err(), "somebody else may have made the second name");
        with_mode(0o700);
        for name in ["other", "linked"] {
            assert_eq!(fs::read(at(name)).unwrap(), b"kept", "{name}");
        }
        assert!(!at("nothing").exists());
        fs::set_permissions(at("other"), fs::Permissions::from_mode(0o666)).unwrap();
        for name in ["other", "new"] {
            open(&at(name)).unwrap();
            assert_eq!(fs::metadata(at(name)).unwrap().mode() & 0o777, 0o600, "{name}");
        }
        with_mode(0o770);
        assert!(
            inspect(&at("other")).is_err() && open(&at("other")).is_err(),
            "the group may put another one in its place"
        );
    }
}
