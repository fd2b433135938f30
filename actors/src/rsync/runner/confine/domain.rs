//! The Landlock rules of one process: which files it may reach, and how. Rules are tied to files and directories, not to
//! their names, so that a domain remembers what had the names.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use landlock::{Access, AccessFs, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr};
use rustix::fs::{FileType, Mode, OFlags, statfs};

use super::{HANDLED, table};

/// The numbers of file systems that wait for no other machine or program (statfs(2)): btrfs, ext2 to ext4, f2fs, tmpfs,
/// XFS and ZFS.
const DISKS: [u64; 6] = [0x9123_683e, 0xef53, 0xf2f5_2010, 0x0102_1994, 0x5846_5342, 0x2fc1_2fc1];

/// The deeds that are allowed with a file, or with all that is below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// To be read and listed.
    Read,
    /// To be read and started.
    Run,
    /// To be read and written, without making anything.
    Device,
    /// To be written at its end.
    Append,
    /// Everything but to be started.
    Write,
}

impl Need {
    fn rights(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        match self {
            Need::Read => read,
            Need::Run => read | AccessFs::Execute,
            Need::Device => AccessFs::ReadFile | AccessFs::WriteFile,
            Need::Append => AccessFs::WriteFile.into(),
            Need::Write => AccessFs::from_all(HANDLED) & !BitFlags::from(AccessFs::Execute),
        }
    }
}

/// The rules of one process, and what they were made of.
#[derive(Debug)]
pub(crate) struct Domain {
    ruleset: RulesetCreated,
    pub(super) seen: RuleSources,
}

/// The things that had these names when rules were made: rules are tied to files and directories, not to their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleSources {
    /// The files of users and groups. A user or group that is added later is in a new file of the same name.
    pub(super) accounts: Vec<NamedInode>,
    /// Mirrors on this machine, and what belongs to them.
    pub(super) mirrors: Vec<NamedInode>,
}

/// A path with what is there.
#[derive(Debug, Clone)]
pub(super) struct NamedInode {
    path: PathBuf,
    /// Device and inode, if anything is there.
    inode: Option<(u64, u64)>,
    /// `true` if no look at the path can hang.
    pub(super) is_on_disk: bool,
}

impl NamedInode {
    pub(super) fn of(path: &Path) -> NamedInode {
        NamedInode { path: path.to_owned(), inode: inode(path), is_on_disk: is_on_disk(path) }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

pub(super) fn is_same(seen: &NamedInode) -> bool {
    inode(&seen.path) == seen.inode
}

/// Tells if each directory on the way to a path, and what is there, is on a disk of this machine. The top is where the
/// daemon itself runs, whatever that is.
pub(super) fn is_on_disk(path: &Path) -> bool {
    let is_disk =
        |dir: &Path| dir.parent().is_none() || statfs(dir).is_ok_and(|fs| DISKS.contains(&(fs.f_type as u64)));
    path.canonicalize().is_ok_and(|path| path.ancestors().all(is_disk))
}

impl Domain {
    /// The rules that every rsync needs, and no more.
    pub(super) fn of_system(program: &Path) -> io::Result<Domain> {
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(HANDLED)).and_then(Ruleset::create);
        let accounts = ["/etc/passwd", "/etc/group"].map(|path| NamedInode::of(Path::new(path))).into();
        let seen = RuleSources { accounts, mirrors: Vec::new() };
        let mut domain = Domain { ruleset: ruleset.map_err(io::Error::other)?, seen };
        for (paths, need, _) in table::SYSTEM {
            for path in *paths {
                domain.allow(Path::new(path), *need)?;
            }
        }
        if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            domain.allow(&Path::new(&home).join(".popt"), Need::Read)?;
        }
        domain.allow(program, Need::Run)?;
        Ok(domain)
    }

    /// The rules, and what they were made of.
    pub(crate) fn into_parts(self) -> (RulesetCreated, RuleSources) {
        (self.ruleset, self.seen)
    }

    /// Allows a mirror of this machine, or a directory from which rsync links or moves into the mirror. Landlock forbids
    /// a link between directories of different rights.
    pub(super) fn allow_mirror(&mut self, path: &Path) -> io::Result<()> {
        self.seen.mirrors.push(NamedInode::of(path));
        self.allow(path, Need::Write)
    }

    /// A file that rsync makes if it is missing, and writes to.
    pub(super) fn allow_log(&mut self, path: &Path) -> io::Result<()> {
        const MODE: u32 = 0o644;
        // What cannot be made is told by rsync.
        let _ = OpenOptions::new().append(true).create(true).mode(MODE).open(path);
        self.allow(path, Need::Append)
    }

    /// Allows what is there by this name, if anything is.
    pub(super) fn allow(&mut self, path: &Path, need: Need) -> io::Result<()> {
        match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => self.add(opened.as_fd(), need),
            Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => Err(rustix::io::Errno::MFILE.into()),
            // What this user may not reach, rsync may not either.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn add(&mut self, opened: BorrowedFd<'_>, need: Need) -> io::Result<()> {
        let is_dir = FileType::from_raw_mode(rustix::fs::fstat(opened)?.st_mode) == FileType::Directory;
        let rights = if is_dir { need.rights() } else { need.rights() & AccessFs::from_file(HANDLED) };
        (&mut self.ruleset).add_rule(PathBeneath::new(opened, rights)).map_err(io::Error::other)?;
        Ok(())
    }
}
