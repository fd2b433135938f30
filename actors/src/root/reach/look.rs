//! The looks at the disk that may hang, as values: they are carried out here, or by a process that is asked to.

use std::ffi::{CStr, OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{WatchFlags, add_watch};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, open, openat, readlinkat, statat, statfs, statx,
};
use rustix::io::Errno;

pub(in crate::root) use super::meta::NUMBERS;
pub(crate) use super::meta::{FileId, Meta};
use super::named::{Make, NamedFile};
use crate::root::sighting::Sighting;

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
    /// A path from the working directory, or an absolute one.
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
        /// The directory to open.
        place: Place,
        /// `true` if a symlink is followed.
        follow: bool,
        /// `true` if the directory is named only (`O_PATH`).
        name_only: bool,
    },
    /// Opens a directory below another one, with no symlink on the way between them.
    OpenBelow(Place, PathBuf),
    /// A directory that may be the source: its identity, and the first names in it, each with its kind.
    Root {
        /// The path, of which a symlink is followed.
        place: Place,
        /// The most names that are read.
        most: u64,
        /// `true` if the directory itself is wanted too, to be read.
        opens: bool,
    },
    /// The path without symlinks.
    Resolved(Place),
    /// A place that rules are made for, after it was made if need be.
    Target(Place, Make),
    /// The number that tells the kind of the file system (statfs(2)).
    Kind(Place),
    /// The names in a directory, with the kind of each.
    Entries(Place),
    /// The time when an entry was made.
    Born(Place),
    /// Opens a file to read it, and reads nothing.
    Read(Place),
    /// Sets a watch of inotify(7).
    Watch {
        /// The directory or file.
        place: Place,
        /// The inotify queue that gets the watch.
        queue: Arc<OwnedFd>,
        /// The events that the kernel is to report.
        mask: u32,
    },
}

/// The result of a look.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Names, with a NUL byte after each; or the text of a symlink.
    pub(in crate::root) text: Vec<u8>,
    pub(in crate::root) number: i64,
    /// An encoded [`Meta`] or [`Sighting`].
    pub(in crate::root) facts: [u64; NUMBERS],
    pub(in crate::root) opened: Option<OwnedFd>,
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

    pub(in crate::root) fn add_entry(&mut self, kind: FileType, name: &CStr) {
        self.text.push(match kind {
            FileType::Directory => b'd',
            FileType::RegularFile => b'f',
            FileType::Symlink => b'l',
            _ => b'?',
        });
        self.text.extend(name.to_bytes_with_nul());
    }

    pub(super) fn meta(&self) -> Meta {
        Meta::decode(self.facts)
    }

    pub(super) fn names(self) -> Vec<OsString> {
        let mut names: Vec<OsString> =
            self.text.split(|&byte| byte == 0).map(|name| OsStr::from_bytes(name).into()).collect();
        names.pop();
        names
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
            Look::Meta(place) => found.facts = meta(place)?.encode(),
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
                    found.add_entry(known(&opened, name, kind), name);
                    true
                })?;
            }
            Look::Root { place, most, opens } => found = Sighting::find(&place.path(), *most, *opens)?,
            Look::Target(place, make) => found = NamedFile::find(&place.path(), *make)?,
            Look::Resolved(place) => {
                let resolved = place.path().canonicalize();
                let resolved = resolved.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                found.text = resolved.into_os_string().into_vec();
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

/// Adds the names in an open directory.
///
/// # Errors
/// The error of the kernel.
pub(super) fn names(opened: &OwnedFd, names: &mut PackedNames) -> Result<(), Errno> {
    list(opened, &mut |name, _| {
        names.push(name.to_bytes());
        true
    })
}

/// Tells `found` each name in an open directory and its kind, as long as it wants more.
pub(crate) fn list(opened: &OwnedFd, found: &mut dyn FnMut(&CStr, FileType) -> bool) -> Result<(), Errno> {
    list_by(LISTING, opened, found)
}

/// As [`list`], by so many bytes at a time.
pub(in crate::root) fn list_by(
    room: usize,
    opened: &OwnedFd,
    found: &mut dyn FnMut(&CStr, FileType) -> bool,
) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(opened, &mut buffer[..room]);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") && !found(entry.file_name(), entry.file_type()) {
            break;
        }
    }
    Ok(())
}

/// The kind of an entry whose listing said `kind`.
pub(crate) fn known(parent: &OwnedFd, name: &CStr, kind: FileType) -> FileType {
    match kind {
        // Not every file system tells it in its listings.
        FileType::Unknown => statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |meta| FileType::from_raw_mode(meta.st_mode)),
        kind => kind,
    }
}

/// Returns the time of birth in nanoseconds since 1970.
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
