//! What a table has to say of the machine and the programs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// How busy the machine is with others' work: the load average of the last minute.
pub fn load() -> String {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

/// Date, processor, programs, and where the trees are; a line each. `load` is that of the beginning.
pub fn describe(ground: &Path, load: &str) -> Vec<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        format!("{}, {} with {cores} cores, Linux {}", today(), model.trim_matches([' ', '\t', ':']), kernel.trim()),
        format!(
            "inosync {}, {}, {}, {}",
            env!("CARGO_PKG_VERSION"),
            first_line("rsync", "--version"),
            first_line("ssh", "-V"),
            first_line("lsyncd", "--version").replace("Version:", "lsyncd")
        ),
        format!(
            "trees in {}, everything on loopback; load average before it began: {load}",
            ground.parent().unwrap_or(ground).display()
        ),
    ]
}

fn today() -> String {
    let output = Command::new("date").arg("+%Y-%m-%d").output();
    output.map_or_else(|_| "undated".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn first_line(program: &str, option: &str) -> String {
    let Ok(output) = Command::new(program).arg(option).output() else { return format!("no {program}") };
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
    // rsync's goes on with its protocol.
    line.split("  protocol").next().unwrap_or_default().to_owned()
}
