//! Where a script is played: a site with a node of each kind, and the means to make each fault happen and heal.
//! Only root can mount and make files immutable: without it those faults are left out, which is said.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::IFlags;
use rustix::process::Signal;

use crate::faults::{ALL, Fault};
use crate::generate::{self, Moves, Recipe};
use crate::relay::Relay;
use crate::script::Step;
use crate::settings::{Between, between, hard_links, keeps_removed, node_fs, reconcile_jobs, round_trip, source_fs};
use crate::support::disk::{self, Kind as FsKind};
use crate::support::tree::Keeps;
use crate::support::{self, Local, Rsyncd, Site, Ssh, wait};

/// Debian's security update of rsync 3.2.7, whose receiver rejects the deletion of missing arguments (upstream issue
/// 910). `make test` puts it here where the package can be had.
const OLD_RSYNC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/rsync-3.2.7/usr/bin/rsync");
const RSYNC: &str = "/usr/bin/rsync";
/// The user `nobody`, by number, as which a daemon runs that may not read everything.
const NOBODY: u32 = 65534;
/// So many watches are soon used up.
const FEW_WATCHES: u32 = 12;
/// Of what the lower layer of a source on an overlayfs is made.
const LOWER: usize = 500;

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Stopped,
    Ends,
    Dead,
}

/// What is wrong with a ground until it is healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing but the faults of the script.
    Sound,
    /// The daemon may not read what only root may.
    Nobody,
    /// The daemon has few watches.
    FewWatches,
}

pub struct Ground {
    /// The relay behind the local mirror, if there is one.
    relay: Option<Relay>,
    pub site: Site,
    state: State,
    /// Where the file system of the local mirror is mounted, if it can be filled.
    mounted: Option<PathBuf>,
    immutable: Option<PathBuf>,
    kind: Kind,
    /// The logs of the daemons that have ended.
    logs: String,
    /// How often each fault happened, in the order of [`ALL`].
    pub counts: [u32; ALL.len()],
}

impl Ground {
    /// A site whose daemon runs; with the means for these faults.
    pub fn new(faults: &[Fault], moves: Moves) -> Self {
        let mut site = Site::new();
        if moves == Moves::Mirrored {
            site.config("dir_moves: Replicate");
        }
        if keeps_removed() {
            site.config("delete: Never");
        }
        if let Some(jobs) = reconcile_jobs() {
            site.config(&format!("reconcile_jobs: {jobs}"));
        }
        if let Some(round_trip) = round_trip() {
            site.relay(Ssh).lengthen(round_trip);
        }
        site.config("bulk_size: 1");
        site.config("stop_timeout: 5");
        if between() == Some(Between::BeatingRelay) {
            site.config("heartbeat: 1");
        }
        if let Some(kind) = source_fs() {
            put_source(&mut site, kind);
        }
        let mut kinds = node_fs();
        let wants_small = faults.contains(&Fault::ReadOnly) || faults.contains(&Fault::Full);
        if kinds.is_empty() && wants_small && !site.mirror_on(Local, FsKind::Tmpfs) {
            println!("left out: readonly, full");
        }
        let mut extra: Vec<String> = kinds.iter().map(|kind| kind.extra().to_owned()).collect();
        for (node, kind) in [Local, Ssh, Rsyncd].into_iter().zip(kinds.drain(..)) {
            assert!(site.mirror_on(node, kind), "INOSYNC_TEST_NODE_FS: no {}", kind.name());
        }
        // The mirror is a directory of the file system, beside the ballast.
        let root = site.mirror(Local);
        site.mirror_at("mirror");
        let mounted = site.disk(&root).is_some_and(|disk| disk.kind.can_be_filled()).then_some(root);
        if faults.contains(&Fault::Receiver) && Path::new(OLD_RSYNC).exists() {
            symlink(RSYNC, site.beside("far-rsync")).unwrap();
            extra.push(format!("--rsync-path={}", site.beside("far-rsync").display()));
        }
        if hard_links() {
            extra.push("-H".to_owned());
        }
        site.config(&format!("extra: {:?}", extra.join(" ").trim()));
        let mut ground = Ground::started(site, mounted, Kind::Sound);
        ground.relay = Relay::behind(&ground.site, moves);
        ground
    }

    /// A site with one local node, whose daemon runs as `nobody`: what root makes unreadable it cannot read. `None` where
    /// the tests are not run by root.
    pub fn of_nobody() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("not tested: only root can run the daemon as somebody else");
            return None;
        }
        let mut site = Site::on(&[Local]);
        std::os::unix::fs::chown(site.beside(""), Some(NOBODY), Some(NOBODY)).unwrap();
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        site.always_start_by(&["setpriv", &user, &group, "--clear-groups"]);
        Some(Ground::started(site, None, Kind::Nobody))
    }

    /// A site with one local node, whose daemon runs in a namespace that allows few watches. `None` where this machine
    /// allows no such namespace.
    pub fn of_few_watches() -> Option<Self> {
        let mut site = Site::on(&[Local]);
        let limit = site.beside("limit").display().to_string();
        fs::write(&limit, format!("{FEW_WATCHES}\n")).unwrap();
        // What the daemon reads about its limit has to agree with what the kernel enforces.
        let shown = format!("mount --bind {limit} /proc/sys/fs/inotify/max_user_watches");
        let prepare = format!("{shown} && cat {limit} > /proc/sys/user/max_inotify_watches && exec \"$@\"");
        let launcher = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &prepare, "sh"];
        let attempt = Command::new(launcher[0]).args(&launcher[1..]).arg("true").output().unwrap();
        if !attempt.status.success() {
            println!("not tested, no namespace here: {}", String::from_utf8_lossy(&attempt.stderr));
            return None;
        }
        site.always_start_by(&launcher);
        Some(Ground::started(site, None, Kind::FewWatches))
    }

    fn started(site: Site, mounted: Option<PathBuf>, kind: Kind) -> Self {
        let (logs, counts) = (String::new(), [0; ALL.len()]);
        let relay = None;
        let mut ground = Ground { relay, site, state: State::Runs, mounted, immutable: None, kind, logs, counts };
        ground.site.start();
        ground
    }

    /// Makes a fault happen; one of the same group that is there ends first.
    pub fn begin(&mut self, fault: Fault, number: u64) {
        let at_relay = self.relay.as_mut().is_some_and(|relay| number % 2 == 1 && relay.begin(fault, number / 2));
        let happened = match fault {
            _ if at_relay => true,
            Fault::Kill => self.kill(number),
            Fault::Stop => self.disturb(Signal::STOP, State::Stopped),
            Fault::Term => self.disturb(Signal::TERM, State::Ends),
            Fault::Crash => {
                self.heal_daemon();
                self.logs += &self.site.crash();
                self.state = State::Dead;
                true
            }
            Fault::Sshd => self.site.stop_server(Ssh),
            Fault::Rsyncd => self.site.stop_server(Rsyncd),
            Fault::ReadOnly => self.remount("remount,ro").is_ok(),
            Fault::Full => self.fill(),
            Fault::Immutable => self.make_immutable(number),
            Fault::Receiver => self.receive_by(OLD_RSYNC),
        };
        self.counts[ALL.iter().position(|one| *one == fault).unwrap()] += u32::from(happened);
    }

    /// Heals a fault, if it is there.
    pub fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => (),
            Fault::Stop | Fault::Term | Fault::Crash => {
                self.heal_daemon();
                self.relay.iter_mut().for_each(Relay::heal);
            }
            Fault::Sshd => self.site.start_server(Ssh),
            Fault::Rsyncd => self.site.start_server(Rsyncd),
            Fault::ReadOnly if self.mounted.is_some() => {
                self.remount("remount,rw").unwrap_or_else(|said| panic!("it stays read-only: {said}"));
            }
            Fault::ReadOnly => (),
            Fault::Full => drop(self.mounted.as_ref().map(|small| fs::remove_file(small.join("ballast")))),
            Fault::Immutable => drop(self.immutable.take().map(|path| set_immutable(&path, false))),
            Fault::Receiver => drop(self.receive_by(RSYNC)),
        }
    }

    /// Heals everything, and waits until the daemon watches.
    pub fn heal(&mut self) {
        // A busy daemon is behind with what the script did: what is about to be healed has to be met first. Whoever wants it to
        // be there looks for it in the log.
        let trouble = match self.kind {
            Kind::Sound => "",
            Kind::Nobody => "ermission denied",
            Kind::FewWatches => "max_user_watches",
        };
        wait::until(|| self.site.daemon().log().contains(trouble).then_some(()));
        match self.kind {
            Kind::Sound => ALL.into_iter().for_each(|fault| self.end(fault)),
            Kind::Nobody => succeed(Command::new("chmod").args(["-R", "a+rX"]).arg(self.site.source())),
            Kind::FewWatches => {
                fs::write(self.site.beside("limit"), "100000\n").unwrap();
                let pid = self.site.daemon().id().to_string();
                let raise = "cat \"$1\" > /proc/sys/user/max_inotify_watches";
                let mut command = Command::new("nsenter");
                command.args(["--user", "--target", &pid, "sh", "-c", raise, "sh"]).arg(self.site.beside("limit"));
                succeed(&mut command);
            }
        }
        self.site.expect_watching();
        self.relay.iter_mut().for_each(|relay| relay.site.expect_watching());
    }

    /// The mirrors, each with its name and what it can keep; that behind the relay last.
    pub fn mirrors(&self) -> Vec<(String, PathBuf, Keeps)> {
        let own = self.site.live().map(|node| (node.to_string(), self.site.mirror(node), self.site.keeps(node)));
        let keeps = self.site.keeps(Local);
        let leaf = self.relay.iter().map(|relay| ("the leaf".to_owned(), relay.site.mirror(Local), keeps));
        own.chain(leaf).collect()
    }

    /// Ends the daemon as a user does, and starts it again, with or without the state that it kept.
    pub fn restart(&mut self, with_state: bool) {
        let ended = self.site.stop();
        self.logs += &ended.log;
        if !with_state {
            // There is none where the daemon could not write one.
            let _ = fs::remove_dir_all(self.site.beside("state"));
        }
        self.site.start();
        self.relay.iter_mut().for_each(|relay| relay.restart(with_state));
    }

    /// What all daemons said.
    pub fn log(&self) -> String {
        self.relay.as_ref().map_or_else(String::new, Relay::log) + &self.logs + &self.site.log_lines().join("\n")
    }

    fn kill(&self, number: u64) -> bool {
        // Before it watches it asks rsync for its version, and ends without an answer.
        if self.state == State::Dead || !self.site.watches() {
            return false;
        }
        let names = ["rsync", "ssh"];
        let running: Vec<u32> = names.iter().flat_map(|name| self.site.daemon().running(name)).collect();
        let Some(&pid) = running.get(number as usize % running.len().max(1)) else { return false };
        support::signal(pid, Signal::KILL);
        true
    }

    fn disturb(&mut self, signal: Signal, state: State) -> bool {
        self.heal_daemon();
        self.site.daemon().signal(signal);
        self.state = state;
        true
    }

    fn heal_daemon(&mut self) {
        match self.state {
            State::Runs => return,
            State::Stopped => self.site.daemon().signal(Signal::CONT),
            State::Ends => {
                let ended = self.site.wait();
                // 75: some node was down, and does not have everything. It may have been told to end before it listened.
                let before_all = ended.code.is_none() && ended.log.is_empty();
                assert!(before_all || matches!(ended.code, Some(0 | 75)), "{:?}:\n{}", ended.code, ended.log);
                self.logs += &ended.log;
                self.site.launch();
            }
            // What it left runs on beside the new one, as after a real crash.
            State::Dead => self.site.launch(),
        }
        self.state = State::Runs;
    }

    /// What mount(8) said last is the error.
    fn remount(&self, option: &str) -> Result<(), String> {
        let Some(small) = &self.mounted else { return Err("nothing is mounted".to_owned()) };
        let mut last = String::new();
        // It is busy while a file in it is being written.
        let mounted = || mount_command(&["-o", option], small).map_err(|said| last = said).ok();
        let is_done = wait::until_within(Duration::from_secs(2), mounted).is_some();
        if is_done { Ok(()) } else { Err(last) }
    }

    fn fill(&self) -> bool {
        self.mounted.as_ref().is_some_and(|small| disk::fill(&small.join("ballast")))
    }

    fn make_immutable(&mut self, number: u64) -> bool {
        self.end(Fault::Immutable);
        let tree = support::tree::read(&self.site.mirror(Ssh), |_| false);
        // Not the root: an immutable mirror is one that is read-only.
        let paths: Vec<_> = tree.keys().filter(|path| !path.is_empty()).collect();
        let from = number as usize % paths.len().max(1);
        let paths =
            paths[from..].iter().chain(&paths[..from]).map(|path| self.site.mirror(Ssh).join(OsStr::from_bytes(path)));
        self.immutable = paths.into_iter().find(|path| set_immutable(path, true).is_ok());
        self.immutable.is_some()
    }

    fn receive_by(&self, rsync: &str) -> bool {
        let link = self.site.beside("far-rsync");
        let new = self.site.beside("far-rsync.new");
        link.symlink_metadata().is_ok() && symlink(rsync, &new).and_then(|()| fs::rename(&new, &link)).is_ok()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // A stopped daemon cannot end, and what is immutable cannot be removed.
        if self.state == State::Stopped {
            self.site.daemon().signal(Signal::CONT);
        }
        self.end(Fault::Immutable);
    }
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// Puts the source on a file system of this kind.
fn put_source(site: &mut Site, kind: FsKind) {
    if kind == FsKind::Overlay {
        // What the lower layer has becomes another file with the first change of it.
        let recipe = Recipe { operations: LOWER, faults: Vec::new(), moves: Moves::None };
        for step in generate::script(0, &recipe) {
            if let Step::Do(operation) = step {
                let _ = operation.perform(&site.source());
            }
        }
    }
    assert!(site.source_on(kind), "INOSYNC_TEST_SOURCE_FS: no {}", kind.name());
}

fn mount_command(arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(at).output().map_err(|error| error.to_string())?;
    let said = || format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    if output.status.success() { Ok(()) } else { Err(said()) }
}

/// Of a file or directory; nothing else can be made immutable.
fn set_immutable(path: &Path, immutable: bool) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    if !meta.is_file() && !meta.is_dir() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let file = File::open(path)?;
    let mut flags = rustix::fs::ioctl_getflags(&file)?;
    flags.set(IFlags::IMMUTABLE, immutable);
    Ok(rustix::fs::ioctl_setflags(&file, flags)?)
}
