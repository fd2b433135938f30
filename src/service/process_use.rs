//! Reads from proc(5) what this process takes of the machine.

use std::fs;
use std::sync::OnceLock;

use inosync_actors::status::ProcessUse;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The use that this process makes of the machine by now.
pub fn of_this_process() -> ProcessUse {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let numbers = stat.as_deref().and_then(numbers);
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok());
    // The directory is open itself while it is read.
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
    ProcessUse {
        pid: std::process::id(),
        cpu_seconds: numbers.map(|numbers| seconds(numbers.user + numbers.system)),
        resident_bytes: pages.map(|pages| pages * page_size() as u64),
        open_fds: open.map(|count| count as u64),
        max_fds: getrlimit(Resource::Nofile).current,
        process_started_at: numbers.and_then(|numbers| Some(booted_at()? + seconds(numbers.started))),
    }
}

/// The figures of proc_pid_stat(5) that are needed, in ticks of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StatTicks {
    user: u64,
    system: u64,
    /// Since the machine was started.
    started: u64,
}

fn numbers(stat: &str) -> Option<StatTicks> {
    // The name of the program stands in parentheses, and may have any in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |number: usize| rest.split(' ').nth(number - 3)?.parse().ok();
    Some(StatTicks { user: field(14)?, system: field(15)?, started: field(22)? })
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// The time at which the machine was started, in seconds since 1970. It is read once: the file is long on a large machine.
fn booted_at() -> Option<f64> {
    static BOOTED_AT: OnceLock<Option<f64>> = OnceLock::new();
    *BOOTED_AT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    })
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_program_of_any_name_is_understood() {
        let rest = "S 1 2 3 0 -1 4194560 5 6 7 8 130 20 0 0 20 0 4 0 9000 1000 200 18446744073709551615";
        let expected = Some(StatTicks { user: 130, system: 20, started: 9000 });
        for name in ["inosync", "a) S 9 (b", "a b"] {
            assert_eq!(numbers(&format!("4711 ({name}) {rest}")), expected, "{name}");
        }
        assert_eq!(numbers("4711 (inosync) S 1"), None);
    }

    #[test]
    fn this_process_has_started_and_holds_something() {
        let before = of_this_process();
        let file = fs::File::open("/proc/self/stat").unwrap();
        let found = of_this_process();
        assert!(found.resident_bytes > Some(100_000), "{found:?}");
        assert!(found.open_fds > Some(3) && found.max_fds >= found.open_fds, "{before:?} {found:?}");
        drop(file);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - found.process_started_at.unwrap();
        assert!((-1.0..600.0).contains(&age), "{age}");
    }
}
