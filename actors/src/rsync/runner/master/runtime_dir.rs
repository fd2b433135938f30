//! The daemon's private directory for the control sockets of ssh.
//!
//! Whoever can write there could offer a socket of their own, and ssh would hand its sessions to it. A socket's path is
//! also short by nature, and ssh expands some characters in it.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::TempDir;

/// The beginning of the names of these directories.
const PREFIX: &str = "inosync-ssh-";
/// The longest path that the directory may have. `sun_path` holds 108 bytes, of which a NUL byte takes one. ssh first
/// makes the socket under a name that is 17 bytes longer. The slash and the number take 11.
const LONGEST: usize = 108 - 1 - 17 - 11;
/// The number of other names that are tried, when another daemon took the new directory for one that was left behind.
const TRIES: u32 = 5;

/// A directory that only this user may enter. Removed when dropped; what a killed daemon left behind is removed by the
/// next one.
#[derive(Debug)]
pub struct RuntimeDir {
    dir: TempDir,
    /// The lock tells other daemons, and systemd-tmpfiles, that the directory is in use.
    _lock: File,
    sockets: AtomicU32,
}

impl RuntimeDir {
    /// Makes one where systemd or the login session wants it (`RUNTIME_DIRECTORY`, `XDG_RUNTIME_DIR`), else among the
    /// temporary files.
    ///
    /// # Errors
    /// When no such place is of use: the text names each with the reason.
    pub(crate) fn new() -> io::Result<RuntimeDir> {
        let variables = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().filter_map(std::env::var_os);
        // systemd gives several directories with colons between them.
        let first = |paths: &_| std::env::split_paths(paths).next();
        RuntimeDir::below(variables.filter_map(|paths| first(&paths)).chain([std::env::temp_dir()]))
    }

    /// Makes one below the first of these directories that is of use.
    ///
    /// # Errors
    /// As for [`RuntimeDir::new`].
    pub fn below(parents: impl IntoIterator<Item = PathBuf>) -> io::Result<RuntimeDir> {
        let mut reasons = Vec::new();
        for parent in parents {
            match check(&parent).and_then(|()| make(&parent)) {
                Ok(made) => return Ok(made),
                Err(error) => reasons.push(format!("{}: {error}", parent.display())),
            }
        }
        Err(io::Error::other(reasons.join("; ")))
    }

    /// Returns the path of the directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path for a new socket, never the same twice: an ssh that ends removes its socket by name.
    pub(crate) fn socket(&self) -> PathBuf {
        let number = self.sockets.fetch_add(1, Ordering::Relaxed) + 1;
        self.path().join(number.to_string())
    }
}

/// Tells if a directory below `parent` can be private, and its sockets be named to ssh.
fn check(parent: &Path) -> io::Result<()> {
    // The tempfile crate adds 6 characters.
    let length = parent.as_os_str().len() + 1 + PREFIX.len() + 6;
    if length > LONGEST {
        return Err(io::Error::other("too long for the name of a socket"));
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@=:,".contains(byte);
    if !parent.is_absolute() || !parent.as_os_str().as_encoded_bytes().iter().all(plain) {
        return Err(io::Error::other("not an absolute path of letters, digits and / . _ - + @ = : ,"));
    }
    let ours = rustix::process::geteuid().as_raw();
    if is_safe(&fs::metadata(parent)?, ours) { Ok(()) } else { Err(io::Error::other("other users may rename in it")) }
}

/// Tells if nobody else but root can replace what `user` makes in a directory.
fn is_safe(parent: &Metadata, user: u32) -> bool {
    const STICKY: u32 = 0o1000;
    let mode = parent.mode();
    parent.is_dir() && [user, 0].contains(&parent.uid()) && (mode & 0o022 == 0 || mode & STICKY != 0)
}

fn make(parent: &Path) -> io::Result<RuntimeDir> {
    remove_left_behind(parent);
    let mut last = io::ErrorKind::AlreadyExists.into();
    for _ in 0..TRIES {
        let mut builder = tempfile::Builder::new();
        let dir = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
        match lock(dir.path()) {
            Ok(lock) => return Ok(RuntimeDir { dir, _lock: lock, sockets: AtomicU32::new(0) }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Locks a directory of ours that exists.
fn lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let opened = dir.metadata()?;
    if opened.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
    // It may have been removed meanwhile by another daemon.
    let named = fs::symlink_metadata(path)?;
    if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) {
        Ok(dir)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Removes what daemons left behind that were killed. What cannot be removed stays: it is in nobody's way.
fn remove_left_behind(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let path = entry.path();
        let Ok(_lock) = lock(&path) else { continue };
        for socket in fs::read_dir(&path).into_iter().flatten().flatten() {
            if socket.file_type().is_ok_and(|kind| kind.is_socket()) {
                let _ = fs::remove_file(socket.path());
            }
        }
        // Fails when anything but a socket is in it: that is not ours.
        let _ = fs::remove_dir(&path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::DirBuilder;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn only_its_user_may_enter_it_and_it_is_removed_at_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::below([parent.path().to_owned()]).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o700);
        UnixListener::bind(dir.socket()).unwrap();
        assert_eq!(names(parent.path()), 1);
        drop(dir);
        assert_eq!(names(parent.path()), 0);
    }

    #[test]
    fn no_two_sockets_have_the_same_path() {
        let dir = RuntimeDir::below([std::env::temp_dir()]).unwrap();
        assert_ne!(dir.socket(), dir.socket());
    }

    #[test]
    fn what_a_killed_daemon_left_is_removed_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = || RuntimeDir::below([parent.path().to_owned()]).unwrap();
        let in_use = make();
        let left = parent.path().join("inosync-ssh-LeftBy");
        DirBuilder::new().create(&left).unwrap();
        UnixListener::bind(left.join("1")).unwrap();
        let foreign = parent.path().join("inosync-ssh-Foreign");
        DirBuilder::new().create(&foreign).unwrap();
        fs::write(foreign.join("data"), "").unwrap();
        std::os::unix::fs::symlink(&foreign, parent.path().join("inosync-ssh-Planted")).unwrap();
        let next = make();
        assert!(!left.exists() && foreign.join("data").exists());
        assert!(in_use.path().exists() && next.path().exists());
    }

    #[test]
    fn the_first_place_that_is_of_use_is_taken() {
        let parent = tempfile::tempdir().unwrap();
        let place = |name: &str, mode: u32| {
            let path = parent.path().join(name);
            DirBuilder::new().create(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        let long = place(&"x".repeat(80), 0o700);
        let refused = [
            (PathBuf::from("relative"), "not an absolute path"),
            (place("100%", 0o700), "not an absolute path of letters"),
            (place("a b", 0o700), "not an absolute path of letters"),
            (long, "too long"),
            (place("open", 0o777), "other users may rename in it"),
            (parent.path().join("missing"), "No such file"),
        ];
        for (path, reason) in &refused {
            let error = RuntimeDir::below([path.clone()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {reason}", path.display())), "{error}");
        }
        let good = place("sticky", 0o1777);
        let dir = RuntimeDir::below(refused.map(|(path, _)| path).into_iter().chain([good.clone()])).unwrap();
        assert_eq!(dir.path().parent(), Some(&*good));
    }
}
