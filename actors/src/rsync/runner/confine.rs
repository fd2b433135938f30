//! Keeps each rsync to what it mirrors, by Landlock (landlock(7)): it may read the directory that it is started in,
//! write a mirror of this machine, and read the few system files of `table`.
//!
//! Whoever may write in the source can swap a directory for a symlink at any moment, and rsync opens listed paths by
//! name. However often it is looked before, the last look is the kernel's: what a swapped symlink leads to cannot be
//! opened. A rule is tied to the inode of a directory, not to its name, and holds for whatever is mounted below it.
//!
//! The remote shell is started outside ([`shell`](crate::rsync::runner::shell)): inside, it could not read its keys, or
//! rsync could.

mod table;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError,
};
use rustix::fs::{FileType, Mode, OFlags, statfs};
use tokio::sync::oneshot;

use crate::children::Children;
use crate::node::{Kind, Node};
use crate::path::Escaped;
use crate::rsync::recipe::Invocation;
use crate::rsync::report::claims::Bearing;
use crate::rsync::runner::process::{Code, Patience, Process};
use crate::rsync::runner::shell::Door;
use crate::site::Site;

/// The rights that are taken away: all of these. Later ones are about devices, the network and signals.
const HANDLED: ABI = ABI::V3;
/// A receiver renames and links between directories, which the first version forbids whatever the rules say.
const RECEIVES: i32 = 2;
/// The argument of each run that changes nothing.
const DRY_RUN: &str = "--dry-run";
/// The time that a file system may take to tell what is there: a mirror on a network that is down tells nothing, for
/// ever.
const ANSWERS: Duration = Duration::from_secs(10);
/// The numbers of file systems that wait for no other machine or program (statfs(2)): btrfs, ext2 to ext4, f2fs, tmpfs,
/// XFS and ZFS.
const DISKS: [u64; 6] = [0x9123_683e, 0xef53, 0xf2f5_2010, 0x0102_1994, 0x5846_5342, 0x2fc1_2fc1];
/// Questions of that kind that may wait at one node.
const MOST_WAITING: usize = 8;

/// The deeds that are allowed with a file, or with all that is below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
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

/// Why the rsyncs of a site are not confined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unconfined {
    /// The configuration says so.
    #[error("confine: false")]
    Configured,
    /// There is no Landlock.
    #[error("this kernel has no Landlock (it takes Linux 5.13, and `landlock` in /sys/kernel/security/lsm)")]
    NoLandlock,
    /// The program is not rsync itself.
    #[error("{0} is a script, and nobody knows what else it needs: name rsync itself by the key rsync")]
    Script(String),
    /// The program would lose what it is installed with.
    #[error("{0} has privileges of its own (setuid, setgid or setcap), which it would lose")]
    Privileged(String),
    /// It does not start so.
    #[error("{program} does not start in there: {why}: report it, with `ldd {program}`")]
    Broken {
        /// Its path, for people.
        program: String,
        /// The result of the start.
        why: String,
    },
}

/// The confinement of the rsyncs of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    /// The version of the kernel's interface.
    abi: i32,
    /// `true` if the rsync of a local node is, too.
    receives: bool,
}

impl std::fmt::Display for Confined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Landlock ABI {}", self.abi)?;
        if self.receives { Ok(()) } else { f.write_str(", but not for a mirror on this machine, which takes ABI 2") }
    }
}

/// Finds out how the rsyncs of a site can be confined: one that tells its version is started so.
///
/// # Errors
/// Why they cannot be.
pub async fn standing(site: &Site) -> Result<Confined, Unconfined> {
    if !site.confine {
        return Err(Unconfined::Configured);
    }
    let abi = abi().ok_or(Unconfined::NoLandlock)?;
    let program = Escaped(site.rsync.as_os_str().as_bytes()).to_string();
    if is_script(&site.rsync) {
        return Err(Unconfined::Script(program));
    }
    if is_privileged(&site.rsync) {
        return Err(Unconfined::Privileged(program));
    }
    match tells_version(site).await {
        Ok(Code::Exit(0)) => Ok(Confined { abi, receives: abi >= RECEIVES || !has_local(site) }),
        Ok(Code::Exit(code)) => Err(Unconfined::Broken { program, why: format!("exit code {code}") }),
        Ok(Code::Signal(signal)) => Err(Unconfined::Broken { program, why: format!("signal {signal}") }),
        Err(error) => Err(Unconfined::Broken { program, why: error.to_string() }),
    }
}

fn has_local(site: &Site) -> bool {
    site.nodes.iter().any(|node| node.kind() == Kind::Local)
}

async fn tells_version(site: &Site) -> io::Result<Code> {
    let bounds = Bounds { domain: Domain::of_system(&site.rsync)?, door: None };
    let Invocation { arguments, list } = Invocation { arguments: vec!["--version".into()], list: Vec::new() };
    let process = Process::start(&Children::default(), &site.rsync, None, &arguments, Some(bounds))?;
    Ok(process
        .finish(&list, Patience::of(crate::rsync::runner::process::PATIENCE), |_| Bearing::Nothing, || ())
        .await?
        .code)
}

/// The version of the kernel's interface, if a thread of this process could be confined.
fn abi() -> Option<i32> {
    static ABI_OF_KERNEL: OnceLock<Option<i32>> = OnceLock::new();
    // A domain is that of one thread, which ends at once.
    *ABI_OF_KERNEL.get_or_init(|| std::thread::spawn(confined_thread).join().ok()?.ok()?)
}

fn confined_thread() -> Result<Option<i32>, RulesetError> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(HANDLED))?.create()?;
    let landlock = ruleset.restrict_self()?.landlock;
    let is_denied = File::open("/").is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    Ok(match landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } if is_denied => {
            Some(kernel_abi.unwrap_or(effective_abi as i32))
        }
        _ => None,
    })
}

fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    File::open(program).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| &start == b"#!")
}

fn is_privileged(program: &Path) -> bool {
    const SET_ID: u32 = 0o6000;
    let changes_id = fs::metadata(program).is_ok_and(|meta| meta.permissions().mode() & SET_ID != 0);
    // The length alone is asked for.
    changes_id || rustix::fs::getxattr(program, c"security.capability", &mut [0_u8; 0]).is_ok()
}

/// The files that one process may reach.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// The rules.
    pub domain: Domain,
    /// Where its remote shell is started, if it needs one.
    pub door: Option<Door>,
}

impl Bounds {
    /// The bounds of an rsync that is started in `directory`, and what its arguments are then.
    ///
    /// # Errors
    /// When the kernel or the limit of open files does not allow it, or a file system does not answer.
    pub(crate) async fn of(
        reach: &Arc<NodeBounds>,
        site: &Site,
        node: &Node,
        directory: &OwnedFd,
        arguments: &[OsString],
    ) -> io::Result<(Bounds, Vec<OsString>)> {
        let changes = !arguments.iter().any(|word| word == DRY_RUN);
        let (made_of, directory) = (reach.clone(), directory.try_clone()?);
        let mut domain = reach.ask(move || made_of.domain(directory.as_fd(), changes)).await??;
        let (door, arguments) = Door::of(site, node, arguments)?;
        if let Some(door) = &door {
            domain.add(door.helper(), Need::Run)?;
        }
        Ok((Bounds { domain, door }, arguments))
    }
}

/// The files that the rsyncs of one node reach, beside the directory that each is started in, by name.
#[derive(Debug)]
pub(crate) struct NodeBounds {
    program: PathBuf,
    logfile: Option<PathBuf>,
    /// Where the mirror is, if it is on this machine.
    mirror: Option<PathBuf>,
    places: Vec<(PlaceKind, PathBuf)>,
    /// Questions that wait for an answer of a file system.
    waiting: AtomicUsize,
}

/// The thing at a place that an option names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    /// A file that is read.
    File,
    /// A file that is made, and written to.
    Log,
    /// A directory that is there, or is not meant to be.
    Directory,
    /// A directory that rsync makes when it needs it.
    Made,
}

impl NodeBounds {
    /// The files that the rsyncs of a node reach; `None` if they are not confined.
    pub(crate) fn of(site: &Site, node: &Node) -> Option<Arc<NodeBounds>> {
        let mirror = node.local_path();
        if !site.confine || mirror.is_some() && abi().is_none_or(|abi| abi < RECEIVES) {
            return None;
        }
        let place = |(option, value): (&'static str, &str)| {
            let at_mirror = |kept| mirror.map(|mirror| (kept, mirror.join(value)));
            match option {
                "password-file" | "early-input" => Some((PlaceKind::File, site.wpath.join(value))),
                "log-file" => at_mirror(PlaceKind::Log),
                "backup-dir" | "partial-dir" if value.starts_with('/') => at_mirror(PlaceKind::Made),
                _ => at_mirror(PlaceKind::Directory),
            }
        };
        Some(Arc::new(NodeBounds {
            program: site.rsync.clone(),
            logfile: site.logfile.clone(),
            mirror: mirror.map(Path::to_owned),
            places: site.extra.places().filter_map(place).collect(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Asks file systems where no other node waits for the answer.
    ///
    /// # Errors
    /// When there is none.
    async fn ask<T: Send + 'static>(self: &Arc<Self>, question: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let no_answer = || io::Error::new(io::ErrorKind::TimedOut, "a file system of this machine does not answer");
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(no_answer());
        }
        let (tell, answer) = oneshot::channel();
        let reach = self.clone();
        let asking = move || {
            // Nobody listens any more when it took too long.
            let _ = tell.send(question());
            reach.waiting.fetch_sub(1, Ordering::Relaxed);
        };
        std::thread::Builder::new().name("reach".into()).spawn(asking)?;
        tokio::time::timeout(ANSWERS, answer).await.ok().and_then(Result::ok).ok_or_else(no_answer)
    }

    /// Tells if the mirror is to be on this machine, and is not there.
    ///
    /// # Errors
    /// When its file system does not answer.
    pub(crate) async fn lacks_mirror(self: &Arc<Self>) -> io::Result<bool> {
        let Some(mirror) = self.mirror.clone() else { return Ok(false) };
        self.ask(move || mirror.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)).await
    }

    /// Tells if what rules were made of is there still. A process that was started before reaches the old ones alone.
    pub(crate) async fn is_current(self: &Arc<Self>, seen: &RuleSources) -> bool {
        if !seen.accounts.iter().all(is_same) {
            return false;
        }
        // A thread for each look would be a fifteenth of the time that a change takes to a mirror on a disk.
        let (on_disks, elsewhere): (Vec<_>, Vec<_>) =
            seen.mirrors.iter().cloned().partition(|mirror| mirror.is_on_disk);
        on_disks.iter().all(is_same)
            && (elsewhere.is_empty() || self.ask(move || elsewhere.iter().all(is_same)).await.unwrap_or(false))
    }

    fn domain(&self, directory: BorrowedFd<'_>, changes: bool) -> io::Result<Domain> {
        let mut domain = Domain::of_system(&self.program)?;
        domain.add(directory, Need::Read)?;
        if let Some(mirror) = &self.mirror {
            domain.allow_mirror(mirror)?;
        }
        if changes && let Some(logfile) = &self.logfile {
            domain.allow_log(logfile)?;
        }
        for (kept, path) in &self.places {
            match kept {
                PlaceKind::File => domain.allow(path, Need::Read)?,
                PlaceKind::Log if changes => domain.allow_log(path)?,
                PlaceKind::Log => (),
                PlaceKind::Directory => domain.allow_mirror(path)?,
                PlaceKind::Made => {
                    if changes {
                        // What cannot be made is told by rsync, when it needs it.
                        let _ = DirBuilder::new().recursive(true).create(path);
                    }
                    domain.allow_mirror(path)?;
                }
            }
        }
        Ok(domain)
    }
}

/// The rules of one process, and what they were made of.
#[derive(Debug)]
pub(crate) struct Domain {
    ruleset: RulesetCreated,
    seen: RuleSources,
}

/// The things that had these names when rules were made: rules are tied to files and directories, not to their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleSources {
    /// The files of users and groups: one that is made meanwhile is in another file of the same name.
    accounts: Vec<NamedInode>,
    /// Mirrors on this machine, and what belongs to them.
    mirrors: Vec<NamedInode>,
}

/// A path with what is there.
#[derive(Debug, Clone)]
struct NamedInode {
    path: PathBuf,
    /// Device and inode, if anything is there.
    inode: Option<(u64, u64)>,
    /// `true` if no look at the path can hang.
    is_on_disk: bool,
}

impl NamedInode {
    fn of(path: &Path) -> NamedInode {
        NamedInode { path: path.to_owned(), inode: inode(path), is_on_disk: is_on_disk(path) }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn is_same(seen: &NamedInode) -> bool {
    inode(&seen.path) == seen.inode
}

/// Tells if each directory on the way to a path, and what is there, is on a disk of this machine. The top is where the
/// daemon itself runs, whatever that is.
fn is_on_disk(path: &Path) -> bool {
    let is_disk =
        |dir: &Path| dir.parent().is_none() || statfs(dir).is_ok_and(|fs| DISKS.contains(&(fs.f_type as u64)));
    path.canonicalize().is_ok_and(|path| path.ancestors().all(is_disk))
}

impl Domain {
    /// The rules that every rsync needs, and no more.
    fn of_system(program: &Path) -> io::Result<Domain> {
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

    /// A mirror of this machine, or a directory from which rsync links or moves into it: the same rights, or it may
    /// not.
    fn allow_mirror(&mut self, path: &Path) -> io::Result<()> {
        self.seen.mirrors.push(NamedInode::of(path));
        self.allow(path, Need::Write)
    }

    /// A file that rsync makes if it is missing, and writes to.
    fn allow_log(&mut self, path: &Path) -> io::Result<()> {
        const MODE: u32 = 0o644;
        // What cannot be made is told by rsync.
        let _ = OpenOptions::new().append(true).create(true).mode(MODE).open(path);
        self.allow(path, Need::Append)
    }

    /// Allows what is there by this name, if anything is.
    fn allow(&mut self, path: &Path, need: Need) -> io::Result<()> {
        match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => self.add(opened.as_fd(), need),
            Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => Err(rustix::io::Errno::MFILE.into()),
            // What this user may not reach, rsync may not either.
            Err(_) => Ok(()),
        }
    }

    fn add(&mut self, opened: BorrowedFd<'_>, need: Need) -> io::Result<()> {
        let is_dir = FileType::from_raw_mode(rustix::fs::fstat(opened)?.st_mode) == FileType::Directory;
        let rights = if is_dir { need.rights() } else { need.rights() & AccessFs::from_file(HANDLED) };
        (&mut self.ruleset).add_rule(PathBeneath::new(opened, rights)).map_err(io::Error::other)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
