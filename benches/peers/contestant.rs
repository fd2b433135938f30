//! The daemons that are compared: inosync and lsyncd, configured alike and started on the same trees.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{Arena, Ground, RPATH, SEED, Way};
use crate::mirror;
use crate::process::{self, Process};
use crate::trouble::{At, Outcome};

/// How long a daemon may take until it mirrors a change.
const START: Duration = Duration::from_secs(120);
/// A daemon whose processes need no processor time for so long has nothing more to do.
const QUIET: Duration = Duration::from_millis(500);
/// How long it may take until then.
const QUIET_AT_LATEST: Duration = Duration::from_secs(20);

/// Who does a piece of work, and so a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The daemon of this project.
    Inosync,
    /// Another build of it.
    OtherBuild,
    /// The least that the work can cost: what is done by hand, with all known in advance.
    ByHand,
    /// rsync as a script would call it after the change.
    Rsync,
    /// lsyncd that collects changes for so many seconds, in its mode `rsync`.
    Lsyncd(u32),
    /// The same in its mode `rsyncssh`, which moves by `ssh mv`.
    LsyncdSsh(u32),
}

impl Who {
    pub const COLUMNS: [Who; 7] =
        [Who::Inosync, Who::OtherBuild, Who::ByHand, Who::Rsync, Who::Lsyncd(1), Who::Lsyncd(0), Who::LsyncdSsh(1)];

    /// Seconds that it collects changes.
    fn delay(self) -> u32 {
        match self {
            Who::Lsyncd(delay) | Who::LsyncdSsh(delay) => delay,
            Who::Inosync | Who::OtherBuild | Who::ByHand | Who::Rsync => 0,
        }
    }

    pub fn is_lsyncd(self) -> bool {
        matches!(self, Who::Lsyncd(_) | Who::LsyncdSsh(_))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Inosync => f.write_str("inosync"),
            Who::OtherBuild => f.write_str("the other build"),
            Who::ByHand => f.write_str("by hand"),
            Who::Rsync => f.write_str("plain rsync"),
            Who::Lsyncd(delay) => write!(f, "lsyncd, delay {delay}"),
            Who::LsyncdSsh(delay) => write!(f, "lsyncd rsyncssh, delay {delay}"),
        }
    }
}

/// What a daemon is to mirror, and with which rsync.
pub struct Job {
    pub source: PathBuf,
    /// The mirrors without [`RPATH`], as inosync and rsync write them.
    pub nodes: Vec<String>,
    pub rsync: PathBuf,
    /// More of inosync's configuration, each key with a comma behind it.
    pub inosync_keys: &'static str,
}

impl Job {
    pub fn new(arena: &Arena, ways: &[Way]) -> Job {
        let nodes = ways.iter().map(|&way| arena.node(way)).collect();
        Job { source: arena.source(), nodes, rsync: "/usr/bin/rsync".into(), inosync_keys: "" }
    }

    fn inosync_config(&self) -> String {
        let Job { source, nodes, rsync, inosync_keys } = self;
        format!(
            "(wpath: {source:?}, rpath: {RPATH:?}, rnodes: {nodes:?}, rsync: {rsync:?}, {inosync_keys}stop_timeout: 2)\n"
        )
    }

    /// As inosync does it by default: links, times and permissions, no losses within a second.
    fn lsyncd_config(&self, who: Who, ground: &Ground, log: &Path) -> String {
        let sync = |node: &String| {
            let Job { source, rsync, .. } = self;
            let mode = match (who, node.split_once(':')) {
                (Who::LsyncdSsh(_), Some((host, dir))) => {
                    let ssh = ground.path().join("bin/ssh");
                    format!(
                        "default.rsyncssh, host = {host:?}, targetdir = \"{dir}{RPATH}/\", ssh = {{ binary = {ssh:?} }}"
                    )
                }
                _ => format!("default.rsync, target = \"{node}{RPATH}/\""),
            };
            let delay = who.delay();
            format!(
                "sync {{ {mode}, source = {source:?}, delay = {delay}, rsync = {{ \
                 binary = {rsync:?}, links = true, times = true, perms = true, _extra = {{ \"--modify-window=-1\" }} \
                 }} }}\n"
            )
        };
        let syncs: String = self.nodes.iter().map(sync).collect();
        format!("settings {{ nodaemon = true, insist = true, logfile = {log:?} }}\n{syncs}")
    }
}

/// A running daemon; dropping it ends it.
pub struct Contestant {
    pub who: Who,
    pub started: Instant,
    process: Process,
    /// What it wrote, and when; inosync's log.
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Contestant {
    /// Starts `who`, which must be a daemon, in an arena.
    pub fn start(who: Who, ground: &Ground, arena: &Arena, job: &Job) -> Outcome<Contestant> {
        let mut command = match who {
            Who::Lsyncd(_) | Who::LsyncdSsh(_) => {
                let config = arena.path().join("lsyncd.lua");
                let text = job.lsyncd_config(who, ground, &arena.path().join("lsyncd.log"));
                fs::write(&config, text).at(config.display())?;
                let mut command = Command::new("/usr/bin/lsyncd");
                command.arg(config);
                command
            }
            _ => {
                let config = arena.path().join("inosync.ron");
                fs::write(&config, job.inosync_config()).at(config.display())?;
                let mut command = Command::new(inosync(who)?);
                command.arg("-c").arg(config);
                command
            }
        };
        command.current_dir("/").env("PATH", ground.search()).env("STATE_DIRECTORY", arena.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut process = Process::start(&mut command)?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = process.child().stderr.take() {
            let lines = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
                }
            });
        }
        Ok(Contestant { who, started, process, lines })
    }

    /// As [`Contestant::start`], and waits until it has mirrored two changes in a row and has nothing more to do.
    pub fn start_settled(who: Who, ground: &Ground, arena: &Arena, job: &Job, mirror: &Path) -> Outcome<Contestant> {
        let mut contestant = Contestant::start(who, ground, arena, job)?;
        for _ in 0..2 {
            contestant.first_change(arena, mirror)?;
        }
        contestant.settle();
        Ok(contestant)
    }

    /// Waits until what was started is done.
    pub fn settle(&self) {
        let start = Instant::now();
        let (mut cpu, mut since) = (Duration::ZERO, Instant::now());
        while since.elapsed() < QUIET && start.elapsed() < QUIET_AT_LATEST {
            thread::sleep(QUIET / 10);
            let now = process::tree_cpu(self.id());
            if now != cpu {
                (cpu, since) = (now, Instant::now());
            }
        }
    }

    /// Changes a file again and again until a new version of it is on the mirror. Returns when.
    pub fn first_change(&mut self, arena: &Arena, mirror: &Path) -> Outcome<Instant> {
        let before = fs::read(mirror.join(SEED)).ok();
        let start = Instant::now();
        while start.elapsed() < START && !self.process.has_ended() {
            mirror::write(&arena.at(SEED), 16)?;
            let written = Instant::now();
            while written.elapsed() < Duration::from_millis(10) {
                let now = fs::read(mirror.join(SEED)).ok();
                if now.is_some() && now != before {
                    return Ok(Instant::now());
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Err(format!("{} mirrors nothing; its log ends: {}", self.who, self.log_end()).into())
    }

    /// When a line with these words was logged by inosync.
    pub fn logged(&self, words: &str) -> Option<Instant> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find(|(_, line)| line.contains(words)).map(|(at, _)| *at)
    }

    /// Waits until inosync has logged a line with these words. Returns when it did.
    pub fn wait_for(&mut self, words: &str) -> Outcome<Instant> {
        let start = Instant::now();
        while start.elapsed() < START && !self.process.has_ended() {
            if let Some(at) = self.logged(words) {
                return Ok(at);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(format!("{} does not log {words:?}; its log ends: {}", self.who, self.log_end()).into())
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Outcome<()> {
        self.process.terminate();
        let ended = self.process.succeeds_within(START);
        ended.then_some(()).at(format_args!("{} does not stop; its log ends: {}", self.who, self.log_end()))
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn log_end(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> = lines.iter().rev().take(5).map(|(_, line)| line.as_str()).collect();
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

/// The program of the other build.
static OTHER_BUILD: OnceLock<PathBuf> = OnceLock::new();

/// Measures another build beside this one, in turn with it.
pub fn measure_against(other: &Path) -> Outcome<()> {
    let program = other.canonicalize().ok().filter(|path| path.is_file());
    let program = program.at(format_args!("{} is no program", other.display()))?;
    OTHER_BUILD.set(program).ok().at("one build at a time is compared with")
}

/// Tells if there is another build to measure.
pub fn has_other_build() -> bool {
    OTHER_BUILD.get().is_some()
}

/// The inosync that is measured: built with the same profile as this program, which cargo puts into a directory below; or the
/// other build.
pub fn inosync(who: Who) -> Outcome<PathBuf> {
    if let Some(program) = OTHER_BUILD.get().filter(|_| who == Who::OtherBuild) {
        return Ok(program.clone());
    }
    let own = std::env::current_exe().at("the path of this program")?;
    let built = own.ancestors().nth(2).map(|profile| profile.join("inosync"));
    built.filter(|path| path.is_file()).at("inosync is not built: run cargo build --release --locked first")
}
