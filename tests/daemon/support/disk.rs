//! File systems of other kinds than that of the machine, each in a file beside the site, on a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By exfatprogs and exfat-fuse.
    Exfat,
    /// By ntfs-3g.
    Ntfs,
    /// ext4 with inodes of 128 bytes: times are whole seconds, up to 2038.
    Ext4Old,
}

impl Kind {
    /// Those that take names for one that differ in upper and lower case alone.
    pub const ALL: [Kind; 2] = [Kind::Exfat, Kind::Ntfs];

    /// What a configuration for such a node has in `extra`.
    pub fn extra(self) -> &'static str {
        match self {
            Kind::Exfat => "--no-perms --modify-window=2",
            Kind::Ntfs => "--modify-window=0",
            Kind::Ext4Old => "",
        }
    }

    fn make(self, device: &Path) -> Command {
        let mut command = match self {
            Kind::Exfat => Command::new("mkfs.exfat"),
            Kind::Ntfs => Command::new("mkntfs"),
            Kind::Ext4Old => Command::new("mkfs.ext4"),
        };
        match self {
            Kind::Exfat => &mut command,
            Kind::Ntfs => command.args(["-q", "-F"]),
            Kind::Ext4Old => command.args(["-q", "-F", "-I", "128"]),
        };
        command.arg(device);
        command
    }

    fn mount(self, device: &Path, at: &Path) -> Command {
        let mut command = match self {
            Kind::Exfat => Command::new("mount.exfat-fuse"),
            Kind::Ntfs => Command::new("lowntfs-3g"),
            Kind::Ext4Old => Command::new("mount"),
        };
        if self == Kind::Ntfs {
            command.args(["-o", "ignore_case,permissions"]);
        }
        command.args([device, at]);
        command
    }
}

/// A mounted file system, until the end of the test.
pub struct Disk {
    at: PathBuf,
    /// The loop device that it is on.
    device: PathBuf,
}

impl Disk {
    /// An empty one at a directory, which is made. `None`, said in the output, where this machine has no such file systems.
    pub fn mount(kind: Kind, at: &Path) -> Option<Disk> {
        fs::create_dir_all(at).expect("the directory of the site is writable");
        let image = at.with_extension("disk");
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("the directory of the site is writable");
        let skip = |why: &str| println!("not tested: no {kind:?} can be mounted here: {why}");
        let Some(device) = attach(&image) else {
            skip("no loop device");
            return None;
        };
        let disk = Disk { at: at.to_owned(), device };
        for mut command in [kind.make(&disk.device), kind.mount(&disk.device, at)] {
            // The server of a mount would hold the pipes of a child whose output is read.
            let log = File::create(at.with_extension("log")).expect("the directory of the site is writable");
            let copy = log.try_clone().expect("a file can be opened twice");
            let done = command.env("PATH", search()).stdout(log).stderr(copy).status();
            if !done.as_ref().is_ok_and(|status| status.success()) {
                skip(&format!("{command:?}: {done:?}"));
                return None;
            }
        }
        Some(disk)
    }
}

/// A loop device of a file.
fn attach(image: &Path) -> Option<PathBuf> {
    let made = Command::new("losetup").env("PATH", search()).args(["-f", "--show"]).arg(image).output().ok()?;
    let device = String::from_utf8(made.stdout).ok()?;
    made.status.success().then(|| device.trim_end().into())
}

/// Only root has these in its PATH.
fn search() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever still works in it keeps it until it ends, and that the device.
        let _ = Command::new("umount").arg("-l").arg(&self.at).stderr(Stdio::null()).status();
        let _ = Command::new("losetup").env("PATH", search()).arg("-d").arg(&self.device).status();
    }
}
