//! Where renamed files are linked while a node is told of them: a directory of the daemon on the file system of the source.
//!
//! Two names of one file in one list make rsync link the second to the first at the node (rsync(1), `--hard-links`): with
//! the old name and the new one a rename costs some bytes. The source itself has only the new name, so both are made here.
//! The links are made below a descriptor of the source and through no symlink: no file from elsewhere gets in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::fs::{flock, linkat, mkdirat, openat, openat2, statat, statx, unlinkat};
use rustix::io::Errno;
use slog::{Logger, warn};

use crate::path::RelPath;

/// The start of the names in the directory; nothing else in it is ever touched.
const PREFIX: &str = "links-";

/// The directory. It is of one daemon at a time, and removed with what is in it when it is closed or dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    /// Locked; `None` once it is closed.
    base: Mutex<Option<File>>,
    past: Mutex<StagingPast>,
    log: Logger,
}

/// What was done in the directory, and how that went.
#[derive(Debug)]
struct StagingPast {
    /// The number of the last [`Stage`].
    last: u64,
    standing: Standing,
    /// `true` once the log has told of a failure.
    warned: bool,
}

/// The knowledge about linking files of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No file was linked yet.
    Untried,
    /// Some were linked without a failure.
    Works,
    /// None can be linked here.
    Broken,
}

/// The directory of one rsync process, removed with what is in it when it is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    staging: Arc<Staging>,
    name: String,
    directory: OwnedFd,
    /// The numbers of its device and its inode.
    identity: (u64, u64),
}

/// Two names that a file gets in a [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Twins {
    /// The name of the file in the source.
    pub file: RelPath,
    /// The name that the node has the file by.
    pub has: RelPath,
    /// The name that the node is to have the file by as well.
    pub gets: RelPath,
}

impl Staging {
    /// Makes `path`, takes it, and removes what a killed daemon left in it. `source` is where the files will be that are
    /// linked.
    ///
    /// # Errors
    /// When it cannot be made, is in use or open to others, or files of the source cannot be linked there.
    pub(crate) fn open(path: &Path, source: &Path, log: &Logger) -> io::Result<Staging> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let base = lock(path)?;
        check_owner(&base)?;
        let staging = Staging {
            path: path.to_owned(),
            base: Mutex::default(),
            past: Mutex::new(StagingPast { last: 0, standing: Standing::Untried, warned: false }),
            log: log.clone(),
        };
        let is_beside = ground_of(&base)? == ground_of(&File::open(source)?)?;
        *staging.base() = Some(base);
        staging.clean();
        if is_beside { Ok(staging) } else { Err(io::ErrorKind::CrossesDevices.into()) }
    }

    /// Tells if files may be linked.
    pub(crate) fn is_usable(&self) -> bool {
        self.base().is_some() && self.past().standing != Standing::Broken
    }

    /// A new directory for one process.
    ///
    /// # Errors
    /// When it is closed, or the directory cannot be made.
    pub(crate) fn stage(self: &Arc<Self>) -> io::Result<Stage> {
        let base = self.base();
        let base = base.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let name = format!("{PREFIX}{}", self.past().next());
        mkdirat(base, &name, Mode::RWXU)?;
        let directory = openat(
            base,
            &name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let stat = rustix::fs::fstat(&directory)?;
        let identity = (stat.st_dev, stat.st_ino);
        Ok(Stage { staging: self.clone(), name, directory, identity })
    }

    /// Removes what is in it, and itself if nothing else is, and lets go of it: another one may take it. What was made of
    /// it is of no use any more.
    pub(crate) fn close(&self) {
        if self.base().is_some() {
            self.clean();
            // Fails when anything else is in it.
            let _ = fs::remove_dir(&self.path);
            self.base().take();
        }
    }

    fn base(&self) -> MutexGuard<'_, Option<File>> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn past(&self) -> MutexGuard<'_, StagingPast> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what can be removed; the rest is in nobody's way.
    fn clean(&self) {
        let Some(path) = self.held() else { return };
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The directory that is held, whatever has its name now; `None` once it is closed.
    fn held(&self) -> Option<PathBuf> {
        self.base().as_ref().map(|base| PathBuf::from(format!("/proc/self/fd/{}", base.as_raw_fd())))
    }

    /// A file could not be linked. Where that may be so for all, the log says it once. `apart`: it is not where most others are.
    fn failed(&self, file: &RelPath, why: Errno, apart: bool) {
        if apart && why == Errno::XDEV {
            return;
        }
        let is_of_place = matches!(why, Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::ROFS);
        if !(is_of_place || matches!(why, Errno::PERM | Errno::NOSPC)) {
            return;
        }
        let mut past = self.past();
        if is_of_place && (past.standing == Standing::Untried || why == Errno::NOSYS) {
            past.standing = Standing::Broken;
        }
        if !std::mem::replace(&mut past.warned, true) {
            let cause = io::Error::from(why);
            match why {
                // proc(5), /proc/sys/fs/protected_hardlinks
                Errno::PERM => {
                    warn!(self.log, "a renamed file is sent as a new one, as all that inosync may not link: \
                    they are of other users; run it as their owner, or with CAP_FOWNER"; "file" => %file, "why" => %cause)
                }
                _ => warn!(self.log, "{}", unusable(&self.path, &cause); "file" => %file),
            }
        }
    }
}

impl StagingPast {
    /// The number of the next [`Stage`].
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns the line for the log when there is no such directory.
pub(crate) fn unusable(path: &Path, why: &io::Error) -> String {
    let cure = match why.kind() {
        io::ErrorKind::PermissionDenied => "let this user write there and restart, or ",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there and restart, or ",
        _ => "",
    };
    format!(
        "renamed files are sent as new ones: they cannot be linked in {}: {why}; {cure}write staging: \
         \"/a/directory\" (on the mount that wpath is on, and outside of it, or a directory in it that `rexcludes` \
         excludes)",
        path.display()
    )
}

impl Stage {
    /// For the process that is to be started in it.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub(crate) fn directory(&self) -> io::Result<OwnedFd> {
        self.directory.try_clone()
    }

    /// Tells if a process works in it.
    pub(crate) fn is_cwd_of(&self, process: i32) -> bool {
        fs::metadata(format!("/proc/{process}/cwd")).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity)
    }

    /// Links files of the source at `root`. Returns those for which that was possible: a link is a hint, and a file that is
    /// no regular one, or is gone, or whose names do not go with those of others, is sent without it.
    pub(crate) fn place<'t>(&self, root: &OwnedFd, twins: &'t [Twins]) -> Vec<&'t Twins> {
        let link = |twins: &&Twins| match self.link(root.as_fd(), twins) {
            Ok(()) => {
                self.staging.past().standing = Standing::Works;
                true
            }
            Err(why) => {
                self.staging.failed(&twins.file, why, self.is_apart(root.as_fd(), &twins.file));
                false
            }
        };
        twins.iter().filter(|_| self.staging.is_usable()).filter(link).collect()
    }

    /// Tells if a file is on another mount than the source itself, or in another subvolume.
    fn is_apart(&self, root: BorrowedFd<'_>, file: &RelPath) -> bool {
        let parent = file.parent().and_then(|parent| open_beneath(root, &parent).ok());
        let grounds = parent.and_then(|parent| ground_of(&parent).ok()).zip(ground_of(root).ok());
        grounds.is_some_and(|(there, here)| there != here)
    }

    fn link(&self, root: BorrowedFd<'_>, twins: &Twins) -> rustix::io::Result<()> {
        let parent = twins.file.parent().ok_or(Errno::INVAL)?;
        let parent = open_beneath(root, &parent)?;
        let name = twins.file.name();
        // Where the old name is below a symlink now, the node may have that already, and would write through it.
        match open_beneath(root, &twins.has.parent().ok_or(Errno::INVAL)?) {
            Ok(_) | Err(Errno::NOENT) => (),
            Err(why) => return Err(why),
        }
        is_regular(parent.as_fd(), name)?;
        self.make_parents(&twins.has)?;
        self.make_parents(&twins.gets)?;
        let (has, gets) = (twins.has.as_bytes(), twins.gets.as_bytes());
        linkat(&parent, name, &self.directory, has, AtFlags::empty())?;
        // Another entry may have taken the name meanwhile. The second is linked from the first: they are one file for sure.
        is_regular(self.directory.as_fd(), has)
            .and_then(|()| linkat(&self.directory, has, &self.directory, gets, AtFlags::empty()))
            .inspect_err(|_| {
                let _ = unlinkat(&self.directory, has, AtFlags::empty());
            })
    }

    fn make_parents(&self, path: &RelPath) -> rustix::io::Result<()> {
        for dir in path.ancestors() {
            match mkdirat(&self.directory, dir.as_bytes(), Mode::RWXU) {
                // If it is a file, no link can be made below it.
                Ok(()) | Err(Errno::EXIST) => (),
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(path) = self.staging.held() {
            // What is left is removed when all of it is.
            let _ = fs::remove_dir_all(path.join(&self.name));
        }
    }
}

/// Opens a directory of the tree at `root`: neither it nor a directory above it may be a symlink.
///
/// # Errors
/// When there is no such directory, or the kernel is older than 5.6.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, dir: &RelPath) -> rustix::io::Result<OwnedFd> {
    let path = if dir.is_root() { b"." } else { dir.as_bytes() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// Identifies the ground of a directory: the device, which is another one in each subvolume, and the mount. link(2)
/// needs both to be the same.
fn ground_of(directory: impl AsFd) -> rustix::io::Result<(u32, u32, u64)> {
    let stat = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    // Before Linux 5.8 the mount is not told: then the device decides.
    let mount = if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { stat.stx_mnt_id };
    Ok((stat.stx_dev_major, stat.stx_dev_minor, mount))
}

fn is_regular(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile { Ok(()) } else { Err(Errno::INVAL) }
}

/// Nobody else may put anything in it: what is in it is linked, and sent.
fn check_owner(base: &File) -> io::Result<()> {
    let meta = base.metadata()?;
    if meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write to it, or own it"))
}

fn lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let base = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let in_use = |_| io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it");
    flock(&base, FlockOperation::NonBlockingLockExclusive).map_err(in_use)?;
    let (named, opened) = (fs::symlink_metadata(path)?, base.metadata()?);
    // The one who had it before removes it at the end.
    if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) {
        Ok(base)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests;
