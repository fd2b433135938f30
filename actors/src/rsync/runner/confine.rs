//! Keeps each rsync to what it mirrors, by Landlock (landlock(7)): it may read the directory that it is started in,
//! write a mirror of this machine, and read the few system files of `table`.
//!
//! Whoever may write in the source can swap a directory for a symlink at any moment, and rsync opens listed paths by
//! name. However often it is looked before, the last look is the kernel's: what a swapped symlink leads to cannot be
//! opened. A rule is tied to the inode of a directory, not to its name, and holds for whatever is mounted below it.
//!
//! The remote shell is started outside ([`shell`](crate::rsync::runner::shell)): inside, it could not read its keys, or
//! rsync could.

mod domain;
mod table;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use landlock::{ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetError};
use rustix::io::Errno;
use tokio::sync::oneshot;

pub(super) use self::domain::RuleSources;
use self::domain::{Domain, NamedInode, Need, is_same};
use crate::children::Children;
use crate::node::{Kind, Node};
use crate::path::Escaped;
use crate::root::reach::Onlookers;
use crate::root::reach::look::{Found, Look, Place};
use crate::root::reach::named::{Make, NamedFile};
use crate::rsync::recipe::Invocation;
use crate::rsync::report::claims::Bearing;
use crate::rsync::runner::process::{Code, Input, Patience, Process};
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
/// Questions of that kind that may wait at one node.
const MOST_WAITING: usize = 8;

/// The reason why the rsyncs of a site are not confined.
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
        .finish(Input::of(&list), Patience::of(crate::rsync::runner::process::PATIENCE), |_| Bearing::Nothing, || ())
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

/// A place on this machine of which the file system has failed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", Escaped(place.as_os_str().as_bytes()))]
pub(crate) struct FailedPlace {
    /// Its path.
    pub place: PathBuf,
    /// The answer of the file system.
    pub cause: io::Error,
}

impl FailedPlace {
    /// Names the place in an error of a file system that has failed. Other errors are about limits or permissions.
    fn at(place: &Path, cause: io::Error) -> io::Error {
        match Errno::from_io_error(&cause) {
            Some(Errno::NOTCONN | Errno::IO | Errno::STALE | Errno::HOSTDOWN | Errno::NXIO | Errno::NODEV) => {
                io::Error::new(cause.kind(), FailedPlace { place: place.to_owned(), cause })
            }
            _ => cause,
        }
    }

    /// The place that an error names, if it names one.
    pub(crate) fn of(error: &io::Error) -> Option<&FailedPlace> {
        error.get_ref()?.downcast_ref()
    }
}

/// The files that one process may reach.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// The rules of Landlock for it.
    pub domain: Domain,
    /// The directory in which its remote shell is started, if it needs one.
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
    /// The path of the mirror, if it is on this machine.
    mirror: Option<PathBuf>,
    places: Vec<(PlaceKind, PathBuf)>,
    /// Questions that wait for an answer of a file system.
    waiting: AtomicUsize,
    /// Those who look at what is not known to be on disks: the kernel ends no process that hangs there.
    onlookers: Onlookers,
    /// `true` if all that was last looked at is on disks.
    is_on_disks: AtomicBool,
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
            onlookers: Onlookers::default(),
            is_on_disks: AtomicBool::new(false),
        }))
    }

    /// Carries out a look; in this process only if it cannot hang.
    fn look(&self, look: &Look) -> io::Result<Found> {
        match self.is_on_disks.load(Ordering::Acquire) {
            true => Ok(look.carry_out()?),
            false => self.onlookers.carry_out(look),
        }
    }

    fn target(&self, path: &Path, make: Make) -> io::Result<NamedFile> {
        Ok(NamedFile::of(self.look(&Look::Target(Place::at(path), make))?))
    }

    fn is_same(&self, seen: &NamedInode) -> bool {
        self.target(&seen.path, Make::Nothing).is_ok_and(|found| found.inode == seen.inode)
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
        let reach = self.clone();
        let looked = self.ask(move || reach.look(&Look::Meta(Place::at(mirror)))).await?;
        Ok(looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
    }

    /// Tells if what rules were made of is there still. A process that was started before reaches the old ones alone.
    pub(crate) async fn is_current(self: &Arc<Self>, seen: &RuleSources) -> bool {
        // No rule was made for a mirror that was missing: a process from that time never reaches it.
        let lacked_mirror = |seen: &NamedInode| seen.inode.is_none() && self.mirror.as_ref() == Some(&seen.path);
        if !seen.accounts.iter().all(is_same) || seen.mirrors.iter().any(lacked_mirror) {
            return false;
        }
        // A thread for each look would be a fifteenth of the time that a change takes to a mirror on a disk.
        let (on_disks, elsewhere): (Vec<_>, Vec<_>) =
            seen.mirrors.iter().cloned().partition(|mirror| mirror.is_on_disk);
        let reach = self.clone();
        let are_same = move || elsewhere.iter().all(|mirror| reach.is_same(mirror));
        on_disks.iter().all(is_same)
            && (seen.mirrors.len() == on_disks.len() || self.ask(are_same).await.unwrap_or(false))
    }

    fn domain(&self, directory: BorrowedFd<'_>, changes: bool) -> io::Result<Domain> {
        let mut domain = Domain::of_system(&self.program)?;
        domain.add_as(directory, Need::Read, true)?;
        let mut is_on_disks = true;
        let mut found = |path: &Path, make| {
            let found = self.target(path, make).map_err(|error| FailedPlace::at(path, error));
            let found = found.inspect_err(|_| self.is_on_disks.store(false, Ordering::Release))?;
            is_on_disks &= found.is_on_disk;
            io::Result::Ok(found)
        };
        if let Some(mirror) = &self.mirror {
            domain.allow_mirror(mirror, &found(mirror, Make::Nothing)?)?;
        }
        if changes && let Some(logfile) = &self.logfile {
            domain.allow_target(&found(logfile, Make::Log)?, Need::Append)?;
        }
        for (kept, path) in &self.places {
            match kept {
                PlaceKind::File => domain.allow_target(&found(path, Make::Nothing)?, Need::Read)?,
                PlaceKind::Log if changes => domain.allow_target(&found(path, Make::Log)?, Need::Append)?,
                PlaceKind::Log => (),
                PlaceKind::Made if changes => domain.allow_mirror(path, &found(path, Make::Directories)?)?,
                PlaceKind::Directory | PlaceKind::Made => domain.allow_mirror(path, &found(path, Make::Nothing)?)?,
            }
        }
        self.is_on_disks.store(is_on_disks, Ordering::Release);
        Ok(domain)
    }
}

#[cfg(test)]
mod tests;
