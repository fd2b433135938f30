//! rsync without a daemon: started in advance and fed by hand, or called after the change.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{Arena, Ground, RPATH, Way};
use crate::process::{self, Process};
use crate::trouble::{At, Outcome};

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Between the end of the handshake and the state in which rsync waits for its list.
const SETTLE: Duration = Duration::from_millis(20);

fn command(ground: &Ground, arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/rsync");
    command.args(arguments).env("PATH", ground.search());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// rsync that sends what it is told on its input.
const LISTED: [&str; 10] = [
    "-ltp",
    "--dirs",
    "--no-recursive",
    "--from0",
    "--files-from=-",
    "--delete-missing-args",
    "--delete",
    "--force",
    "--modify-window=-1",
    "--timeout=60",
];

/// An rsync that is connected and waits for its list.
pub struct Warm(Process);

impl Warm {
    /// Starts it and waits until it is ready.
    pub fn start(ground: &Ground, arena: &Arena, way: Way) -> Outcome<Warm> {
        let source = arena.source();
        let mut command = listed(ground, arena, way);
        let warm = Warm(Process::start(command.stdin(Stdio::piped()))?);
        let start = Instant::now();
        // rsync enters the source when the handshake is over.
        while fs::read_link(format!("/proc/{}/cwd", warm.0.id())).is_ok_and(|cwd| cwd != source) {
            (start.elapsed() < LIMIT).then_some(()).at("rsync does not get ready")?;
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(SETTLE);
        Ok(warm)
    }

    /// Has it send one path. The end of its run is not waited for.
    pub fn feed(&mut self, path: &str) -> Outcome<()> {
        let mut stdin = self.0.stdin().at("rsync was fed already")?;
        stdin.write_all(format!("/{path}\0").as_bytes()).at("feeding rsync")
    }

    pub fn finish(mut self) -> Outcome<()> {
        self.0.succeeds_within(LIMIT).then_some(()).at("rsync failed")
    }
}

fn listed(ground: &Ground, arena: &Arena, way: Way) -> Command {
    let mut command = command(ground, &LISTED);
    command.arg("--").arg(format!("{}/", arena.source().display())).arg(format!("{}{RPATH}/", arena.node(way)));
    command
}

/// Sends one path by a run that is started now.
pub fn send(ground: &Ground, arena: &Arena, way: Way, path: &str) -> Outcome<Warm> {
    let mut command = listed(ground, arena, way);
    let mut cold = Warm(Process::start(command.stdin(Stdio::piped()))?);
    cold.feed(path)?;
    Ok(cold)
}

/// What a run cost.
pub struct Cost {
    pub seconds: f64,
    /// Processor time, of the run and its children.
    pub cpu: Duration,
}

/// Makes the whole mirror equal: `rsync -a`.
pub fn mirror(ground: &Ground, source: &Path, dest: &str) -> Outcome<Cost> {
    let mut command = command(ground, &["-a", "--modify-window=-1", "--"]);
    command.arg(format!("{}/", source.display())).arg(format!("{dest}{RPATH}/"));
    let (start, before) = (Instant::now(), process::reaped_cpu());
    let mut run = Process::start(&mut command)?;
    run.succeeds_within(LIMIT).then_some(()).at("rsync -a failed")?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Cost { seconds, cpu: process::reaped_cpu().saturating_sub(before) })
}
