//! The daemon of a [`Site`]: started, reloaded, ended.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::Site;
use crate::support::daemon::{Daemon, Ended};
use crate::support::wait;

/// The age of what was written before a start. A daemon sends what is younger than 20 ms ahead of its reconcile, which then
/// has less to send, and is another run.
const OLDER: Duration = Duration::from_millis(25);

impl Site {
    /// Starts the daemon and waits until it watches.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// As [`Site::start`], with more options.
    pub fn start_with(&mut self, options: &[&str]) {
        self.start_by(&[], options);
    }

    /// As [`Site::start_with`], through a program that becomes inosync.
    pub fn start_by(&mut self, launcher: &[&str], options: &[&str]) {
        self.launch_by(launcher, options);
        self.expect_watching();
    }

    /// Every later start is through this program, which becomes inosync.
    pub fn always_start_by(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(|word| word.to_string()).collect();
    }

    /// Starts the daemon and waits for nothing.
    pub fn launch(&mut self) {
        self.launch_by(&[], &[]);
    }

    /// As [`Site::launch`], with more options.
    pub fn launch_with(&mut self, options: &[&str]) {
        self.launch_by(&[], options);
    }

    fn launch_by(&mut self, launcher: &[&str], options: &[&str]) {
        let config = self.config_file().display().to_string();
        let always: Vec<&str> = self.launcher.iter().map(String::as_str).collect();
        let launcher = [&always[..], launcher].concat();
        thread::sleep(OLDER);
        self.daemon = Some(Daemon::start(self.base(), &launcher, &[&["-c", &config], options].concat()));
    }

    /// The daemon, which has been started, comes to watch.
    pub fn expect_watching(&mut self) {
        let started = wait::until(|| {
            let watches = self.watches();
            (watches || self.daemon.as_mut().is_some_and(Daemon::has_ended)).then_some(watches)
        });
        if started != Some(true) {
            self.fail("the daemon ended or does not come to watch");
        }
    }

    /// Makes the daemon read the configuration as it is now, and waits until it says what comes of it.
    #[track_caller]
    pub fn reload(&self) -> String {
        self.config_file();
        self.reload_file()
    }

    /// As [`Site::reload`], with the file as it lies there.
    #[track_caller]
    pub fn reload_file(&self) -> String {
        let said = || {
            let lines = self.log_lines().into_iter();
            lines.filter(|line| line.contains("reloaded") || line.contains("reload refused")).collect::<Vec<_>>()
        };
        let before = said().len();
        self.daemon().signal(Signal::HUP);
        let line = wait::until(|| said().get(before).cloned());
        line.unwrap_or_else(|| self.fail("nothing comes of a reload"))
    }

    /// Starts the daemon and waits until every node equals the source, and the comparison that made it so is over.
    #[track_caller]
    pub fn start_mirrored(&mut self) {
        self.start();
        self.expect_identical();
        self.expect_compared();
    }

    /// Runs inosync with the configuration and these options to its end.
    pub fn run(&self, options: &[&str]) -> Ended {
        let config = self.config_file().display().to_string();
        self.run_plain(&[&["-c", &config], options].concat())
    }

    /// Runs inosync with just these arguments to its end.
    pub fn run_plain(&self, args: &[&str]) -> Ended {
        Daemon::start(self.base(), &[], args).wait()
    }

    /// As [`Site::run`], through a program that is given inosync and its arguments as its own last ones.
    pub fn run_by(&self, launcher: &[&str], options: &[&str]) -> Ended {
        let config = self.config_file().display().to_string();
        Daemon::start(self.base(), launcher, &[&["-c", &config], options].concat()).wait()
    }

    /// The running daemon.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the test started the daemon")
    }

    /// Whether it has come to watch, also after a reload that starts it anew.
    pub fn watches(&self) -> bool {
        let log = self.daemon().log();
        log.rfind("watching") > log.rfind("inosync starts").max(log.rfind("starting anew"))
    }

    pub fn log_lines(&self) -> Vec<String> {
        self.daemon.as_ref().map_or_else(Vec::new, |daemon| daemon.log().lines().map(str::to_owned).collect())
    }

    /// The lines at WARN or above.
    pub fn troubles(&self) -> Vec<String> {
        let is_trouble = |line: &String| [" WARN ", " ERRO ", " CRIT "].iter().any(|level| line.contains(level));
        self.log_lines().into_iter().filter(is_trouble).collect()
    }

    /// Asks the daemon to stop by SIGTERM and waits for its end.
    pub fn stop(&mut self) -> Ended {
        self.daemon().signal(Signal::TERM);
        self.wait()
    }

    /// Kills the daemon alone; what it started is left as it is. Returns its log.
    pub fn crash(&mut self) -> String {
        self.daemon.take().expect("the test started the daemon").crash()
    }

    /// Waits for the end of a daemon that has been asked to stop.
    pub fn wait(&mut self) -> Ended {
        self.daemon.take().expect("the test started the daemon").wait()
    }
}
