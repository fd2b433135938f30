//! Mounts for a while. Mounting takes root: where it is forbidden that is said.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait;

/// Something that is mounted, for as long as this lives.
pub struct Mount(PathBuf);

impl Mount {
    pub fn tmpfs(at: &Path) -> Option<Mount> {
        Mount::new(&["-t", "tmpfs", "tmpfs"], at)
    }

    pub fn bind(from: &Path, at: &Path) -> Option<Mount> {
        Mount::new(&["--bind", &from.display().to_string()], at)
    }

    /// Mounts by mount(8), with these words.
    pub fn new(what: &[&str], at: &Path) -> Option<Mount> {
        let output = Command::new("mount").args(what).arg(at).output().unwrap();
        if !output.status.success() {
            println!("not tested, no mounts here: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Mount(at.to_owned()))
    }

    /// Unmounts it at once, which takes that nothing uses it.
    pub fn end(self) {
        let output = Command::new("umount").arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::mem::forget(self);
    }
}

impl Drop for Mount {
    /// Standbys that wait in it would keep it busy.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A FUSE file system, with the program that serves it.
pub struct Served {
    pub server: Child,
    _mount: Mount,
}

impl Served {
    /// Shows a directory at another one, by bindfs.
    pub fn new(below: &Path, at: &Path) -> Option<Served> {
        let mut command = Command::new("bindfs");
        let Ok(mut server) = command.arg("-f").arg(below).arg(at).stderr(Stdio::null()).spawn() else {
            println!("not tested, no bindfs here");
            return None;
        };
        let is_served =
            || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&format!(" {} fuse", at.display()));
        if wait::until_within(Duration::from_secs(10), || is_served().then_some(())).is_none() {
            println!("not tested, no FUSE here");
            let _ = server.kill();
            return None;
        }
        Some(Served { server, _mount: Mount(at.to_owned()) })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends by the unmount, unless it cannot.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
