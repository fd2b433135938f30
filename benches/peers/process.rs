//! The processes of a contestant: started, watched through /proc, and ended with all that they started.
//! A process that loses its parent becomes a child of this program, which asked the kernel for it, so none escapes.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, ChildStdin, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use crate::trouble::{At, Outcome};

/// How long a process may take to end by itself when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a process that is to end is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The children that somebody holds as a [`Process`]; all others are strays.
static HELD: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Whether a signal has told this program to end, so that nothing is started any more.
static ENDING: AtomicBool = AtomicBool::new(false);

fn held() -> MutexGuard<'static, BTreeSet<u32>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process the parent of all descendants that lose theirs.
pub fn adopt_orphans() -> Outcome<()> {
    set_child_subreaper(Some(getpid())).at("prctl(PR_SET_CHILD_SUBREAPER)")
}

/// A child; dropping it ends it with its descendants.
pub struct Process {
    child: Child,
    ended: bool,
}

impl Process {
    pub fn start(command: &mut Command) -> Outcome<Process> {
        let mut held = held();
        (!is_ending()).then_some(()).at("interrupted")?;
        let child = command.spawn().at(format_args!("starting {:?}", command.get_program()))?;
        held.insert(child.id());
        Ok(Process { child, ended: false })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its input, once, if it was piped.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The child as the standard library has it, for its other pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn has_ended(&mut self) -> bool {
        self.ended = self.ended || !matches!(self.child.try_wait(), Ok(None));
        self.ended
    }

    /// Waits for its end; true if it came in time and was a success.
    pub fn succeeds_within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.ended = true;
                return status.success();
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Ends it with its descendants at once, as a machine that dies.
    pub fn kill(self) {
        family(self.id()).into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        signal(self.id(), Signal::TERM);
    }

    fn end(&mut self) {
        let family = family(self.id());
        if !self.has_ended() {
            signal(self.id(), Signal::TERM);
            let asked = Instant::now();
            while !self.has_ended() && asked.elapsed() < GRACE {
                thread::sleep(LOOK);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        held().remove(&self.id());
        // Only those that are still somebody's descendants of ours: an id may be another process by now.
        let ours = descendants(own_id());
        family.iter().filter(|pid| ours.contains(pid)).for_each(|&pid| signal(pid, Signal::KILL));
        end_strays();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether [`end_all`] was called.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Ends every descendant of this process, also those that are held. For the end of the program by a signal.
pub fn end_all() {
    // Under the lock: what is being started now is seen below.
    let held = held();
    ENDING.store(true, Ordering::SeqCst);
    drop(held);
    let pids = descendants(own_id());
    pids.iter().for_each(|&pid| signal(pid, Signal::TERM));
    thread::sleep(Duration::from_millis(500));
    descendants(own_id()).into_iter().for_each(|pid| signal(pid, Signal::KILL));
}

fn end_strays() {
    let start = Instant::now();
    loop {
        let strays = strays();
        if strays.is_empty() || start.elapsed() > GRACE {
            return;
        }
        for pid in strays {
            family(pid).into_iter().for_each(|pid| signal(pid, Signal::KILL));
            let _ = waitpid(to_pid(pid), WaitOptions::NOHANG);
        }
        thread::sleep(LOOK);
    }
}

/// Children of this process that nobody holds: their parents are gone.
fn strays() -> Vec<u32> {
    let held = held();
    let all = snapshot();
    let own = own_id();
    all.iter().filter(|(pid, parent)| *parent == own && !held.contains(pid)).map(|(pid, _)| *pid).collect()
}

/// A process and its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = descendants(pid);
    family.insert(0, pid);
    family
}

fn descendants(pid: u32) -> Vec<u32> {
    let all = snapshot();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(all.iter().filter(|(_, parent)| *parent == member).map(|(child, _)| child));
        next += 1;
    }
    family.split_off(1)
}

/// The processor time of a process itself.
pub fn own_cpu(pid: u32) -> Duration {
    stat(pid).map_or(Duration::ZERO, |stat| ticks(stat.own))
}

/// The processor time of a process and of all that it ever started, as far as it was waited for or is still there,
/// orphans included.
pub fn tree_cpu(pid: u32) -> Duration {
    let members = family(pid).into_iter().chain(strays().into_iter().flat_map(family));
    ticks(members.filter_map(stat).map(|stat| stat.own + stat.reaped).sum())
}

/// The processor time of a process, its descendants, and those that they waited for.
pub fn family_cpu(pid: u32) -> Duration {
    ticks(family(pid).into_iter().filter_map(stat).map(|stat| stat.own + stat.reaped).sum())
}

/// The processor time of the children of this process that were waited for.
pub fn reaped_cpu() -> Duration {
    stat(own_id()).map_or(Duration::ZERO, |stat| ticks(stat.reaped))
}

/// The resident memory of a process, in bytes.
pub fn rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The memory of a process and its descendants, in bytes; what several share counts once.
pub fn family_memory(pid: u32) -> u64 {
    let proportional = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    family(pid).into_iter().filter_map(proportional).sum::<u64>() * 1024
}

/// A signal; a process that is gone already is no error.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn own_id() -> u32 {
    std::process::id()
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(count * 1000 / per_second)
}

struct Stat {
    parent: u32,
    /// Ticks in user and system mode, its own and those of the children that it waited for.
    own: u64,
    reaped: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks and parentheses itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
    })
}

/// All processes with their parents.
fn snapshot() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.parent))).collect()
}
