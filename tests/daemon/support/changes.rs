//! Changes to the tree of a [`Site`], as other programs make them. A change that fails is a mistake in the test.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::site::Site;

impl Site {
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        done(&path, fs::write(self.at(&path), content));
    }

    pub fn append(&self, path: impl AsRef<Path>, content: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.at(&path));
        done(&path, file.and_then(|mut file| file.write_all(content.as_bytes())));
    }

    pub fn mkdir(&self, path: impl AsRef<Path>) {
        done(&path, fs::create_dir_all(self.at(&path)));
    }

    pub fn remove(&self, path: impl AsRef<Path>) {
        let full = self.at(&path);
        let is_dir = full.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        done(&path, if is_dir { fs::remove_dir_all(full) } else { fs::remove_file(full) });
    }

    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        done(&from, fs::rename(self.at(&from), self.at(&to)));
    }

    pub fn symlink(&self, path: impl AsRef<Path>, target: &str) {
        done(&path, symlink(target, self.at(&path)));
    }

    pub fn hard_link(&self, old: impl AsRef<Path>, new: impl AsRef<Path>) {
        done(&new, fs::hard_link(self.at(&old), self.at(&new)));
    }

    pub fn chmod(&self, path: impl AsRef<Path>, mode: u32) {
        done(&path, fs::set_permissions(self.at(&path), Permissions::from_mode(mode)));
    }

    /// Sets the mtime alone.
    pub fn touch(&self, path: impl AsRef<Path>, since_epoch: Duration) {
        let file = File::open(self.at(&path));
        done(&path, file.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + since_epoch)));
    }
}

fn done(path: &impl AsRef<Path>, result: std::io::Result<()>) {
    result.unwrap_or_else(|e| panic!("the test itself fails on {:?}: {e}", path.as_ref()));
}

/// Makes a file on a node behind the back of the daemon, with the directories above it.
pub fn plant(path: &Path, content: &str) {
    done(&path, fs::create_dir_all(path.parent().expect("no root is planted")));
    done(&path, fs::write(path, content));
}
