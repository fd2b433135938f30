//! File systems of other kinds than that of the machine, each in a file beside the site, on a loop device, or over a
//! directory there. Only root can mount them, and not every machine has each: where one cannot be had, that is said.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::FallocateFlags;
use rustix::process::Signal;
use tempfile::TempDir;

use super::tree::Keeps;
use super::{process, wait};

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    /// With inodes of 128 bytes, which have room for whole seconds alone.
    OldExt4,
    Xfs,
    Btrfs,
    /// By exfatprogs and exfat-fuse.
    Exfat,
    /// By ntfs-3g.
    Ntfs,
    Tmpfs,
    /// A tmpfs with room for little: see [`fill`].
    Small,
    /// An overlayfs. What was in the directory is its lower layer.
    Overlay,
    /// A FUSE mount of another directory.
    Bindfs,
}

impl Kind {
    /// All of them, with the names that they have in the environment.
    pub const ALL: [(&'static str, Kind); 10] = [
        ("ext4", Kind::Ext4),
        ("ext4-128", Kind::OldExt4),
        ("xfs", Kind::Xfs),
        ("btrfs", Kind::Btrfs),
        ("exfat", Kind::Exfat),
        ("ntfs", Kind::Ntfs),
        ("tmpfs", Kind::Tmpfs),
        ("small", Kind::Small),
        ("overlay", Kind::Overlay),
        ("bindfs", Kind::Bindfs),
    ];
    /// Those that take names for one that differ in upper and lower case alone.
    pub const IGNORES_CASE: [Kind; 2] = [Kind::Exfat, Kind::Ntfs];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }

    pub fn name(self) -> &'static str {
        Kind::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What a configuration for such a node has in `extra`.
    pub fn extra(self) -> &'static str {
        match self {
            Kind::Exfat => "--no-perms --modify-window=2",
            Kind::Ntfs => "--modify-window=0",
            _ => "",
        }
    }

    /// What it keeps of an entry.
    pub fn keeps(self) -> Keeps {
        match self {
            Kind::OldExt4 => Keeps { unit: SECOND, seconds: (-1 << 31, (1 << 31) - 1), ..Keeps::ALL },
            Kind::Ntfs => Keeps { unit: 100, names: |path| std::str::from_utf8(path).is_ok(), ..Keeps::ALL },
            // From 1980 to 2107.
            Kind::Exfat => Keeps {
                unit: 2 * SECOND,
                seconds: (315_532_800, 4_354_819_198),
                modes: false,
                symlinks: false,
                names: is_windows_name,
            },
            _ => Keeps::ALL,
        }
    }

    /// Whether it can be filled without taking the room of others, and remounted.
    pub fn can_be_filled(self) -> bool {
        !matches!(self, Kind::Exfat | Kind::Ntfs | Kind::Bindfs | Kind::Overlay)
    }

    /// What makes one on a device; `None` where there is no device.
    fn make(self) -> Option<&'static [&'static str]> {
        Some(match self {
            Kind::Ext4 => &["mkfs.ext4", "-q", "-F"],
            Kind::OldExt4 => &["mkfs.ext4", "-q", "-F", "-I", "128"],
            Kind::Xfs => &["mkfs.xfs", "-q", "-f"],
            Kind::Btrfs => &["mkfs.btrfs", "-q", "-f"],
            Kind::Exfat => &["mkfs.exfat"],
            Kind::Ntfs => &["mkntfs", "-q", "-F"],
            Kind::Tmpfs | Kind::Small | Kind::Overlay | Kind::Bindfs => return None,
        })
    }

    /// What mounts one at a directory: a device, if it is on one.
    fn mount(self, device: &Path, at: &Path) -> Command {
        let layer = |name: &str| {
            let dir = at.with_extension(name);
            fs::create_dir_all(&dir).expect("the directory of the site is writable");
            dir.into_os_string().into_string().expect("the name of the site is text")
        };
        let command = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        let mut command = match self {
            Kind::Exfat => command(&["mount.exfat-fuse"]),
            Kind::Ntfs => command(&["lowntfs-3g", "-o", "ignore_case,permissions"]),
            // Only what is used takes memory.
            Kind::Tmpfs => command(&["mount", "-t", "tmpfs", "-o", "size=128m"]),
            Kind::Small => command(&["mount", "-t", "tmpfs", "-o", "size=1m"]),
            Kind::Overlay => {
                let (upper, work) = (layer("upper"), layer("work"));
                let layers = format!("lowerdir={},upperdir={upper},workdir={work}", at.display());
                command(&["mount", "-t", "overlay", "-o", &layers])
            }
            // What is asked is asked of what is below: the kernel remembers nothing that a server that hangs has told.
            Kind::Bindfs => command(&["bindfs", "--multithreaded", "-o", "attr_timeout=0,entry_timeout=0"]),
            Kind::Ext4 | Kind::OldExt4 | Kind::Xfs | Kind::Btrfs => command(&["mount"]),
        };
        match self {
            Kind::Bindfs => command.arg(device),
            Kind::Tmpfs | Kind::Small | Kind::Overlay => command.arg("inosync-test"),
            _ => command.arg(device),
        };
        command.arg(at);
        command
    }
}

const SECOND: i64 = 1_000_000_000;

/// Names that Windows takes, of any depth.
fn is_windows_name(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| {
        let forbidden = |byte: &u8| *byte < 32 || br#"\:*?"<>|"#.contains(byte);
        !name.iter().any(forbidden) && !name.ends_with(b" ") && !name.ends_with(b".")
    };
    std::str::from_utf8(path).is_ok() && path.split(|byte| *byte == b'/').all(is_name)
}

/// A mounted file system, until the end of the test.
pub struct Disk {
    pub kind: Kind,
    pub at: PathBuf,
    /// The loop device, if it is on one.
    pub device: Option<PathBuf>,
    /// What a FUSE mount is of: another one, of the directory beside it.
    through: Option<TempDir>,
}

impl Disk {
    /// A new one at a directory, which is made. `None`, said in the output, where this machine has no such file
    /// systems.
    pub fn mount(kind: Kind, at: &Path) -> Option<Disk> {
        Disk::try_mount(kind, at).inspect_err(|why| println!("not tested: no {} here: {why}", kind.name())).ok()
    }

    fn try_mount(kind: Kind, at: &Path) -> Result<Disk, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount it".to_owned());
        }
        fs::create_dir_all(at).expect("the directory of the site is writable");
        // From here on whatever was done is undone when it is dropped.
        let mut disk = Disk { kind, at: at.to_owned(), device: None, through: None };
        if kind == Kind::Bindfs {
            let through = tempfile::tempdir().expect("the temporary directory works");
            let below = at.with_extension("below");
            fs::create_dir_all(&below).expect("the directory of the site is writable");
            let path = disk.through.insert(through).path();
            run(&mut kind.mount(&below, path), at)?;
            run(&mut kind.mount(path, at), at)?;
            return Ok(disk);
        }
        if let Some(make) = kind.make() {
            let image = at.with_extension("disk");
            File::create(&image).and_then(|file| file.set_len(ROOM)).expect("the directory of the site is writable");
            let device = attach(&image).ok_or("no loop device")?;
            disk.device = Some(device.clone());
            run(Command::new(make[0]).args(&make[1..]).arg(device), at)?;
        }
        run(&mut kind.mount(disk.device.as_deref().unwrap_or(Path::new("")), at), at)?;
        // Of ext4.
        let _ = fs::remove_dir(at.join("lost+found"));
        Ok(disk)
    }

    /// A FUSE mount answers no more: what serves it has read each question, and waits for another one. The kernel ends nobody
    /// who waits for an answer to a question that was read. It answers at last: a test that waits for it for ever would leave
    /// it behind.
    pub fn hang(&self) {
        self.when_told()();
    }

    /// Lets it [hang](Disk::hang) when that is called, at once: the processes are looked for now.
    pub fn when_told(&self) -> impl FnOnce() + use<> {
        let servers: Vec<u32> = self.servers().collect();
        move || {
            servers.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
            thread::spawn(move || {
                thread::sleep(wait::DEADLINE * 2);
                servers.iter().for_each(|pid| process::signal(*pid, Signal::CONT));
            });
        }
    }

    /// It answers again.
    pub fn answer(&self) {
        self.servers().for_each(|pid| process::signal(pid, Signal::CONT));
    }

    /// The processes that serve what it is of: they have that directory as their last word.
    fn servers(&self) -> impl Iterator<Item = u32> {
        let at = self.through.as_ref().map_or(self.at.as_path(), TempDir::path);
        let at = at.as_os_str().as_encoded_bytes().to_vec();
        let is_last = move |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.strip_suffix(b"\0").is_some_and(|words| words.rsplit(|&byte| byte == 0).next() == Some(&at[..]))
                && process::name(*pid) != "inosync"
        };
        process::all().into_iter().filter(is_last)
    }

    /// Makes a subvolume of a btrfs.
    pub fn subvolume(&self, path: impl AsRef<Path>) {
        self.btrfs(&[Path::new("create"), &self.at.join(path)]);
    }

    /// Makes a snapshot of a subvolume of a btrfs; of all of it, if `from` is empty.
    pub fn snapshot(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        self.btrfs(&[Path::new("snapshot"), &self.at.join(from), &self.at.join(to)]);
    }

    /// Deletes a subvolume or snapshot of a btrfs.
    pub fn delete_subvolume(&self, path: impl AsRef<Path>) {
        self.btrfs(&[Path::new("delete"), &self.at.join(path)]);
    }

    fn btrfs(&self, words: &[&Path]) {
        let mut command = Command::new("btrfs");
        run(command.arg("subvolume").args(words), &self.at).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// Takes all the room that a directory's file system has, by a file there. Whether there was any.
pub fn fill(ballast: &Path) -> bool {
    let Ok(file) = File::create(ballast) else { return false };
    let mut end = 0;
    // In pieces: what is asked for at once is given as a whole or not at all, and others write meanwhile.
    for piece in [1 << 20, 4096] {
        while rustix::fs::fallocate(&file, FallocateFlags::empty(), end, piece).is_ok() {
            end += piece;
        }
    }
    end > 0
}

/// Of a device: less than the 300 MiB that xfs wants is too small. Only what is used takes room.
const ROOM: u64 = 512 << 20;

/// Runs a command; else what it said. Its output is kept beside the directory that it is about.
fn run(command: &mut Command, at: &Path) -> Result<(), String> {
    // The server of a mount would hold the pipes of a child whose output is read.
    let path = at.with_extension("log");
    let log = File::create(&path).expect("the directory of the site is writable");
    let copy = log.try_clone().expect("a file can be opened twice");
    let done = command.env("PATH", search()).stdin(Stdio::null()).stdout(log).stderr(copy).status();
    if done.as_ref().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let program = Path::new(command.get_program()).display();
    let said = fs::read_to_string(path).unwrap_or_default();
    Err(done.map_or_else(|error| format!("{program}: {error}"), |_| format!("{program}: {}", said.trim_end())))
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
        if self.kind == Kind::Bindfs {
            self.answer();
        }
        // Whatever still works in it keeps it until it ends, and that the device.
        for at in [Some(self.at.as_path()), self.through.as_ref().map(TempDir::path)].into_iter().flatten() {
            let _ = Command::new("umount").arg("-l").arg(at).stderr(Stdio::null()).status();
        }
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").env("PATH", search()).arg("-d").arg(device).status();
        }
    }
}
