//! Asking the daemon that runs, as a person does from another terminal.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Node, Site, daemon, wait};

/// What a question came to.
#[derive(Debug)]
pub struct Asked {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    /// Runs inosync with the configuration and these options, beside the daemon.
    pub fn ask(&self, options: &[&str]) -> Asked {
        self.ask_about(&self.config_file().display().to_string(), options)
    }

    /// As [`Site::ask`], with a configuration file that is as it is.
    pub fn ask_about(&self, config: &str, options: &[&str]) -> Asked {
        self.ask_all(&[&["-c", config], options].concat())
    }

    /// Runs inosync with these arguments alone, where sites are the configuration files beside the source.
    pub fn ask_all(&self, arguments: &[&str]) -> Asked {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inosync"));
        command.args(arguments).current_dir("/").stdin(Stdio::null());
        let search = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{search}", self.beside("bin").display()));
        command.env("RUNTIME_DIRECTORY", daemon::runtime_dir(&self.beside("")));
        command.env("CONFIGURATION_DIRECTORY", self.beside(""));
        let output = command.output().expect("inosync can be run");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Asked { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The status as JSON, as soon as there is a daemon that tells it: a reload may start another one.
    pub fn status(&self) -> Value {
        let mut last = String::new();
        let told = wait::until(|| {
            let asked = self.ask(&["status", "--json"]);
            last = format!("{asked:?}");
            serde_json::from_str(&asked.stdout).ok()
        });
        told.unwrap_or_else(|| self.fail(&last))
    }

    /// What the status says of a node.
    pub fn status_of(&self, node: Node) -> Value {
        let (status, name) = (self.status(), self.shown(node));
        let nodes = status["nodes"].as_array().expect("there is a list of nodes");
        let found = nodes.iter().find(|found| found["name"] == name.as_str());
        found.cloned().unwrap_or_else(|| self.fail(&format!("no {name} in {status:#}")))
    }

    /// Waits until the status of a node is as wanted.
    pub fn expect_status(&self, node: Node, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let found = wait::until(|| Some(self.status_of(node)).filter(|status| is_so(status)));
        found.unwrap_or_else(|| self.fail(&format!("{node} is not {what}: {:#}", self.status_of(node))))
    }

    /// Waits until a node is in this state.
    pub fn expect_state(&self, node: Node, state: &str) -> Value {
        self.expect_status(node, state, |status| status["state"]["is"] == state)
    }

    /// The number of watches that the kernel has for the daemon. Where a state is kept, one of them is for no directory of the
    /// tree: that by which moments are told.
    pub fn kernel_watches(&self) -> usize {
        let infos = fs::read_dir(format!("/proc/{}/fdinfo", self.daemon().id())).expect("the daemon runs").flatten();
        let counts =
            infos.map(|info| fs::read_to_string(info.path()).unwrap_or_default().matches("inotify wd").count());
        counts.max().unwrap_or_default()
    }
}
