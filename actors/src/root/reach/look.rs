//! The looks at the disk that may hang, as values: they are carried out here, or by a process that is asked to.

use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify::{WatchFlags, add_watch};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, open, openat, readlinkat, statat, statfs, statx,
};
use rustix::io::Errno;

use crate::root::walk::PackedNames;

/// Room for one reading of a listing, in bytes: some 1,000 entries.
const LISTING: usize = 32 * 1024;

/// A place to look at: a path, an open directory, or a name in one.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) directory: Option<Arc<OwnedFd>>,
    pub(super) path: PathBuf,
}

impl Place {
    /// A path.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Place {
        Place { directory: None, path: path.into() }
    }

    /// An open directory itself.
    pub(crate) fn opened(directory: &Arc<OwnedFd>) -> Place {
        Place { directory: Some(directory.clone()), path: PathBuf::new() }
    }

    /// The entry of this name in an open directory.
    pub(crate) fn entry(directory: &Arc<OwnedFd>, name: &OsStr) -> Place {
        Place { directory: Some(directory.clone()), path: name.into() }
    }

    fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        match &self.directory {
            // By its open parent a name is not looked up through /proc.
            Some(parent) if !self.path.as_os_str().is_empty() => openat(parent, &self.path, flags, Mode::empty()),
            _ => open(self.path(), flags, Mode::empty()),
        }
    }

    /// A path that leads there, whatever the directory is called by now.
    fn path(&self) -> PathBuf {
        match &self.directory {
            None => self.path.clone(),
            Some(opened) if self.path.as_os_str().is_empty() => itself(opened),
            Some(opened) => itself(opened).join(&self.path),
        }
    }
}

fn itself(opened: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

/// A look at the disk.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    /// Tells if there is an answer at all, from no cache.
    Answer(Place),
    /// The entry itself, symlinks not followed.
    Meta(Place),
    /// The text of a symlink.
    Link(Place),
    /// The names in a directory, at most so many.
    Names(Place, u64),
    /// The names of the directories in one.
    Directories(Place),
    /// Opens a directory. `follow`: also one that a symlink leads to.
    Open {
        /// The directory.
        place: Place,
        /// `true` if a symlink is followed.
        follow: bool,
        /// `true` if the directory is named only (`O_PATH`).
        name_only: bool,
    },
    /// Opens a directory below another one, with no symlink on the way between them.
    OpenBelow(Place, PathBuf),
    /// The number that tells the kind of the file system (statfs(2)).
    Kind(Place),
    /// The names in a directory, with the kind of each.
    Entries(Place),
    /// The time when an entry was made.
    Born(Place),
    /// Opens a file to read it, and reads nothing.
    Read(Place),
    /// Sets a watch.
    Watch {
        /// The directory or file.
        place: Place,
        /// The inotify queue.
        queue: Arc<OwnedFd>,
        /// The events that the kernel is to report.
        mask: u32,
    },
}

/// The result of a look.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Names, with a NUL byte after each; or the text of a symlink.
    pub(super) text: Vec<u8>,
    pub(super) number: i64,
    pub(super) meta: Meta,
    pub(super) opened: Option<OwnedFd>,
}

impl Found {
    /// The number of a watch.
    pub(crate) fn watch(&self) -> i32 {
        i32::try_from(self.number).unwrap_or(-1)
    }

    /// The names with their kinds, of [`Look::Entries`].
    pub(super) fn entries(self) -> Vec<(OsString, FileType)> {
        let entry = |text: &[u8]| {
            let (&kind, name) = text.split_first()?;
            let kind = match kind {
                b'd' => FileType::Directory,
                b'f' => FileType::RegularFile,
                b'l' => FileType::Symlink,
                _ => FileType::Unknown,
            };
            Some((OsStr::from_bytes(name).into(), kind))
        };
        self.text.split(|&byte| byte == 0).filter_map(entry).collect()
    }

    pub(super) fn names(self) -> Vec<OsString> {
        let mut names: Vec<OsString> =
            self.text.split(|&byte| byte == 0).map(|name| OsStr::from_bytes(name).into()).collect();
        names.pop();
        names
    }
}

/// The attributes of an entry, without its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    mode: u32,
    size: u64,
    links: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Numbers of an encoded [`Meta`].
pub(super) const NUMBERS: usize = 8;

impl Meta {
    /// Its kind.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Returns true for a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Returns true for a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Returns true for a symlink.
    pub fn is_symlink(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.size
    }

    /// The number of its names.
    pub(crate) fn nlink(&self) -> u64 {
        self.links
    }

    /// Its inode.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// Its permissions.
    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// When it was last written: seconds and nanoseconds since 1970.
    pub(crate) fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// When it, or its attributes, last changed.
    pub(crate) fn changed(&self) -> (i64, i64) {
        self.changed
    }

    /// The same on the clock. What is before 1970 is long ago.
    pub(crate) fn changed_at(&self) -> SystemTime {
        let (seconds, nanos) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1));
        UNIX_EPOCH + Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
    }

    pub(super) fn encode(&self) -> [u64; NUMBERS] {
        let (modified, changed) = (self.modified, self.changed);
        let times = [modified.0, modified.1, changed.0, changed.1].map(i64::cast_unsigned);
        [self.mode.into(), self.size, self.links, self.inode, times[0], times[1], times[2], times[3]]
    }

    pub(super) fn decode([mode, size, links, inode, times @ ..]: [u64; NUMBERS]) -> Meta {
        let times = times.map(u64::cast_signed);
        let mode = u32::try_from(mode).unwrap_or(0);
        Meta { mode, size, links, inode, modified: (times[0], times[1]), changed: (times[2], times[3]) }
    }
}

// The types of the fields differ between the architectures.
#[allow(clippy::unnecessary_cast)]
impl From<&rustix::fs::Stat> for Meta {
    fn from(stat: &rustix::fs::Stat) -> Meta {
        Meta {
            mode: stat.st_mode as u32,
            size: stat.st_size as u64,
            links: stat.st_nlink as u64,
            inode: stat.st_ino as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

impl Look {
    /// Looks, in this thread.
    ///
    /// # Errors
    /// The error of the kernel.
    pub(crate) fn carry_out(&self) -> Result<Found, Errno> {
        let mut found = Found::default();
        match self {
            Look::Answer(place) => answer(&place.path()),
            Look::Meta(place) => found.meta = meta(place)?,
            Look::Link(place) => found.text = readlinkat(CWD, place.path(), Vec::new())?.into_bytes(),
            Look::Names(place, most) => {
                let opened = open(place.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                let mut left = *most;
                list(&opened, &mut |name, _| {
                    found.text.extend(name.to_bytes_with_nul());
                    left = left.saturating_sub(1);
                    left > 0
                })?;
            }
            Look::Directories(place) => {
                let again;
                let opened = match &place.directory {
                    Some(opened) if place.path.as_os_str().is_empty() => opened.as_ref(),
                    _ => {
                        again = open(place.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                        &again
                    }
                };
                found.text = directories(opened)?.into_packed();
            }
            Look::Open { place, follow, name_only } => {
                let nofollow = if *follow { OFlags::empty() } else { OFlags::NOFOLLOW };
                let how = if *name_only { OFlags::PATH } else { OFlags::empty() };
                let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | nofollow | how;
                found.opened = Some(place.open(flags)?);
            }
            Look::OpenBelow(place, below) => found.opened = Some(open_below(&place.path(), below)?),
            Look::Kind(place) => found.number = statfs(place.path())?.f_type as i64,
            Look::Entries(place) => {
                let opened = open(place.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                list(&opened, &mut |name, kind| {
                    let kind = match known(&opened, name, kind) {
                        FileType::Directory => b'd',
                        FileType::RegularFile => b'f',
                        FileType::Symlink => b'l',
                        _ => b'?',
                    };
                    found.text.push(kind);
                    found.text.extend(name.to_bytes_with_nul());
                    true
                })?;
            }
            Look::Born(place) => found.number = born(&place.path())?,
            Look::Read(place) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                drop(open(place.path(), flags, Mode::empty())?);
            }
            Look::Watch { place, queue, mask } => {
                let watch = add_watch(queue, place.path(), WatchFlags::from_bits_retain(*mask))?;
                found.number = watch.into();
            }
        }
        Ok(found)
    }
}

fn meta(place: &Place) -> Result<Meta, Errno> {
    let stat = match &place.directory {
        Some(opened) => return meta_in(opened, place.path.as_os_str()),
        None => statat(CWD, &place.path, AtFlags::SYMLINK_NOFOLLOW),
    };
    stat.map(|stat| Meta::from(&stat))
}

/// Looks at an entry of an open directory; with an empty name, at the directory itself.
///
/// # Errors
/// The error of the kernel.
pub(crate) fn meta_in(opened: &OwnedFd, name: &OsStr) -> Result<Meta, Errno> {
    let stat =
        if name.is_empty() { rustix::fs::fstat(opened) } else { statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) };
    stat.map(|stat| Meta::from(&stat))
}

fn open_below(root: &Path, below: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut fd = openat(CWD, root, flags, Mode::empty())?;
    for name in below.as_os_str().as_bytes().split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        fd = openat(&fd, OsStr::from_bytes(name), flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(fd)
}

/// Lists the subdirectories of an open directory. Not by `std::fs::read_dir`, which takes 32 KiB from the heap and asks the
/// kernel once more for every directory.
///
/// # Errors
/// The error of the kernel.
pub(crate) fn directories(opened: &OwnedFd) -> Result<PackedNames, Errno> {
    let mut names = PackedNames::default();
    list(opened, &mut |name, kind| {
        if known(opened, name, kind) == FileType::Directory {
            names.push(name.to_bytes());
        }
        true
    })?;
    Ok(names)
}

/// Lists an open directory.
///
/// # Errors
/// The error of the kernel.
pub(super) fn names(opened: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    list(opened, &mut |name, _| {
        names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        true
    })?;
    Ok(names)
}

/// Tells `found` each name in an open directory and its kind, as long as it wants more.
pub(crate) fn list(opened: &OwnedFd, found: &mut dyn FnMut(&std::ffi::CStr, FileType) -> bool) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") && !found(entry.file_name(), entry.file_type()) {
            break;
        }
    }
    Ok(())
}

/// The kind of an entry whose listing said `kind`.
pub(crate) fn known(parent: &OwnedFd, name: &std::ffi::CStr, kind: FileType) -> FileType {
    match kind {
        // Not every file system tells it in its listings.
        FileType::Unknown => statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |meta| FileType::from_raw_mode(meta.st_mode)),
        kind => kind,
    }
}

/// Nanoseconds since 1970.
fn born(path: &Path) -> Result<i64, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(CWD, path, flags, StatxFlags::BTIME)?;
    if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(stat.stx_btime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(stat.stx_btime.tv_nsec)))
}

/// Has a look that no cache answers, whatever is said. It reads nothing: a listing may take long where all is well.
fn answer(path: &Path) {
    let flags = AtFlags::STATX_FORCE_SYNC | AtFlags::NO_AUTOMOUNT;
    let _ = statx(CWD, path, flags, StatxFlags::BASIC_STATS);
}
