//! The Landlock rules of one process: which files it may reach, and how. Rules are tied to files and directories, not to
//! their names, so that a domain remembers what had the names.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use landlock::{Access, AccessFs, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr};
use rustix::fs::{FileType, Mode, OFlags};

use super::{HANDLED, table};
use crate::root::reach::named::{NamedFile, is_on_disk};

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
    pub(super) path: PathBuf,
    /// Device and inode, if anything is there.
    pub(super) inode: Option<(u64, u64)>,
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
    pub(super) fn allow_mirror(&mut self, path: &Path, found: &NamedFile) -> io::Result<()> {
        let NamedFile { inode, is_on_disk, .. } = *found;
        self.seen.mirrors.push(NamedInode { path: path.to_owned(), inode, is_on_disk });
        self.allow_target(found, Need::Write)
    }

    /// Allows what was found, if anything was.
    pub(super) fn allow_target(&mut self, found: &NamedFile, need: Need) -> io::Result<()> {
        match &found.opened {
            Some(opened) => self.add_as(opened.as_fd(), need, found.is_dir),
            None => Ok(()),
        }
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
        self.add_as(opened, need, is_dir)
    }

    /// Adds a rule for what is open, and is a directory or not.
    pub(super) fn add_as(&mut self, opened: BorrowedFd<'_>, need: Need, is_dir: bool) -> io::Result<()> {
        let rights = if is_dir { need.rights() } else { need.rights() & AccessFs::from_file(HANDLED) };
        (&mut self.ruleset).add_rule(PathBeneath::new(opened, rights)).map_err(io::Error::other)?;
        Ok(())
    }
}
