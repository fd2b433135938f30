//! The binary under test: started as a user starts it, its output kept in files, ended with all it started.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::{process, wait};

/// A running inosync.
pub struct Daemon {
    child: Child,
    output: Output,
    marker: String,
}

/// How a run of inosync ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    /// Standard error, which is the log.
    pub log: String,
    /// The processes that run on without it.
    pub left: Vec<u32>,
}

/// Where a daemon whose files are in `dir` has its sockets.
pub fn runtime_dir(dir: &Path) -> PathBuf {
    let path = dir.join("run");
    fs::create_dir_all(&path).expect("the directory of the site is writable");
    path
}

struct Output {
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Daemon {
    /// Starts inosync, by a launcher that becomes it if there is one. `dir` is where its output goes, and by its name
    /// its processes are known.
    pub fn start(dir: &Path, launcher: &[&str], args: &[&str]) -> Self {
        let output = Output { stdout: dir.join("stdout"), stderr: dir.join("stderr") };
        let file = |path| File::create(path).expect("the directory of the site is writable");
        let marker = dir.display().to_string();
        let search = std::env::var("PATH").unwrap_or_default();
        let line = [launcher, &[env!("CARGO_BIN_EXE_inosync")], args].concat();
        let mut command = Command::new(line[0]);
        // Its private files are looked for below `dir`.
        command
            .env("TMPDIR", dir)
            .env_remove("XDG_RUNTIME_DIR")
            .env("RUNTIME_DIRECTORY", runtime_dir(dir))
            .env("STATE_DIRECTORY", dir.join("state"))
            .env("CONFIGURATION_DIRECTORY", dir)
            .args(&line[1..])
            .current_dir("/")
            .env("PATH", format!("{}:{search}", dir.join("bin").display()))
            .env(process::MARKER, &marker)
            .stdin(Stdio::null())
            .stdout(file(&output.stdout))
            .stderr(file(&output.stderr));
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Daemon { child, output, marker }
    }

    pub fn log(&self) -> String {
        self.output.log()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// What the daemon runs at this moment under this program name: its own children, not the far side of ssh.
    pub fn running(&self, program: &str) -> Vec<u32> {
        let own = self.child.id();
        process::marked(&self.marker).into_iter().filter(|&pid| pid != own && process::name(pid) == program).collect()
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Kills the daemon alone: what it started is left as it is. Returns its log.
    pub fn crash(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        // The next daemon has a log of its own, whoever still writes to this one.
        let _ = fs::remove_file(&self.output.stderr);
        self.marker = "nothing is to be ended with it".to_owned();
        log
    }

    /// Waits for the end, which somebody has asked for already.
    pub fn wait(mut self) -> Ended {
        let child = &mut self.child;
        let status: Option<ExitStatus> = wait::until(|| child.try_wait().expect("the child is ours"));
        let status = status.unwrap_or_else(|| panic!("inosync does not end; its log:\n{}", self.log()));
        // What was killed or told to end by closing its input takes a moment to die, a long one where the machine is busy.
        let mut left = Vec::new();
        wait::until_within(Duration::from_secs(10), || {
            left = process::marked(&self.marker);
            left.is_empty().then_some(())
        });
        Ended {
            code: status.code(),
            stdout: fs::read_to_string(&self.output.stdout).unwrap_or_default(),
            log: self.log(),
            left,
        }
    }
}

impl Output {
    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Does nothing when it has been waited for: its id may be somebody else's by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A child may be starting another one, so ask until none is left.
        wait::until(|| {
            let left = process::marked(&self.marker);
            left.iter().for_each(|&pid| process::signal(pid, Signal::KILL));
            left.is_empty().then_some(())
        });
    }
}
