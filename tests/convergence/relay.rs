//! A relay between the local mirror and a leaf (`INOSYNC_TEST_RELAY`): a second daemon, which faults hit as well.

use rustix::process::Signal;

use crate::faults::Fault;
use crate::generate::Moves;
use crate::settings::{Between, between, hard_links};
use crate::support::{self, Local, Site, wait};

/// The second daemon, and what it is doing.
pub struct Relay {
    pub site: Site,
    state: RelayState,
    logs: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RelayState {
    Runs,
    Stopped,
    Ends,
    Dead,
}

impl Relay {
    /// Starts a relay behind the local mirror of a site that runs, if the environment wants one.
    pub fn behind(first: &Site, moves: Moves) -> Option<Relay> {
        let between = between()?;
        let seed = first.mirror(Local).join("seed");
        assert!(wait::until(|| seed.exists().then_some(())).is_some(), "the relay gets nothing");
        let mut site = Site::behind(first, Local, &[Local]);
        if moves == Moves::Mirrored {
            site.config("dir_moves: Replicate");
        }
        if between == Between::BeatingRelay {
            site.config("heartbeat: 1");
        }
        if hard_links() {
            site.config("extra: \"-H\"");
        }
        site.config("stop_timeout: 5");
        // The mirror may be read-only or full for a while.
        site.config("bulk_size: 1");
        site.start();
        Some(Relay { site, state: RelayState::Runs, logs: String::new() })
    }

    /// Makes a fault happen to this daemon. Returns false if there is no such one.
    pub fn begin(&mut self, fault: Fault, number: u64) -> bool {
        match fault {
            Fault::Kill => return self.kill(number),
            Fault::Stop => self.disturb(Signal::STOP, RelayState::Stopped),
            Fault::Term => self.disturb(Signal::TERM, RelayState::Ends),
            Fault::Crash => {
                self.heal();
                self.logs += &self.site.crash();
                self.state = RelayState::Dead;
            }
            _ => return false,
        }
        true
    }

    fn disturb(&mut self, signal: Signal, state: RelayState) {
        self.heal();
        self.site.daemon().signal(signal);
        self.state = state;
    }

    fn kill(&self, number: u64) -> bool {
        if self.state == RelayState::Dead || !self.site.watches() {
            return false;
        }
        let running = self.site.daemon().running("rsync");
        let Some(&pid) = running.get(number as usize % running.len().max(1)) else { return false };
        support::signal(pid, Signal::KILL);
        true
    }

    /// Lets the daemon run.
    pub fn heal(&mut self) {
        match self.state {
            RelayState::Runs => return,
            RelayState::Stopped => self.site.daemon().signal(Signal::CONT),
            RelayState::Ends => {
                let ended = self.site.wait();
                self.logs += &ended.log;
                self.site.launch();
            }
            RelayState::Dead => self.site.launch(),
        }
        self.state = RelayState::Runs;
    }

    /// Ends the daemon as a user does, and starts it again, with or without the state that it kept.
    pub fn restart(&mut self, with_state: bool) {
        let ended = self.site.stop();
        self.logs += &ended.log;
        if !with_state {
            let _ = std::fs::remove_dir_all(self.site.beside("state"));
        }
        self.site.start();
    }

    /// What all its daemons said.
    pub fn log(&self) -> String {
        format!("--- relay\n{}{}\n--- source\n", self.logs, self.site.log_lines().join("\n"))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.state == RelayState::Stopped {
            self.site.daemon().signal(Signal::CONT);
        }
    }
}
