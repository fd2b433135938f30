//! Processes, found through /proc: the descendants of a server, and whatever a daemon under test started.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The variable in the environment of a daemon under test, inherited by all it starts, also when it died before them.
pub const MARKER: &str = "INOSYNC_TEST_SITE";

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// The processes that have `MARKER=value` in their environment, in order of their ids; zombies have none, and what was killed
/// while a file system does not answer is as good as one.
pub fn marked(value: &str) -> Vec<u32> {
    let wanted = format!("{MARKER}={value}");
    let is_marked = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|&b| b == 0).any(|variable| variable == wanted.as_bytes()))
    };
    all().into_iter().filter(is_marked).filter(|&pid| !is_killed_and_waits(pid)).collect()
}

/// Whether it ends as soon as the kernel has what it waits for: a file system that has a question of it does not answer.
fn is_killed_and_waits(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let pending = u64::from_str_radix(field("SigPnd:"), 16).unwrap_or(0);
    field("State:").starts_with('D') && pending & 1 << (Signal::KILL.as_raw() - 1) != 0
}

/// The children of `pid`, their children, and so on, without `pid` itself.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(child, _)| child));
        next += 1;
    }
    family.split_off(1)
}

/// The program's name, as the kernel cuts it.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// All of this machine that can be seen.
pub fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

pub fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks and parentheses itself.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
