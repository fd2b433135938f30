//! The rsync processes that wait at the nodes of a [`Site`], as the log of a daemon that was started with `-v` tells.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::site::{Node, Site};
use super::{process, wait};

impl Site {
    /// Starts the daemon and waits until every node equals the source and has an rsync that waits.
    #[track_caller]
    pub fn start_warm(&mut self) {
        self.start_with(&["-v"]);
        self.expect_identical();
        self.expect_compared();
        self.expect_only_waiting();
    }

    /// The processes that wait at a node.
    pub fn waiting(&self, node: Node) -> BTreeSet<u32> {
        let lines = self.log_lines();
        let name = format!("node: {}", self.shown_name(node));
        let told = lines.iter().filter(|line| line.contains("an rsync waits") && line.contains(&name));
        let pids = told.filter_map(|line| line.rsplit_once("process: ")?.1.trim().parse().ok());
        let running: BTreeSet<u32> = self.daemon().running("rsync").into_iter().collect();
        pids.filter(|pid| running.contains(pid)).collect()
    }

    /// All rsync processes that the daemon itself started and that run.
    pub fn own_rsyncs(&self) -> Vec<u32> {
        let own = self.daemon().id();
        let mut running = self.daemon().running("rsync");
        running.retain(|&pid| process::parent(pid) == Some(own));
        running
    }

    /// One rsync comes to wait at this node, or more. Returns one.
    #[track_caller]
    pub fn expect_waiting(&self, node: Node) -> u32 {
        let one = wait::until(|| self.waiting(node).first().copied());
        one.unwrap_or_else(|| self.fail(&format!("nothing waits at {node}")))
    }

    /// One of these processes ends, and another one waits at the node.
    #[track_caller]
    pub fn expect_fed(&self, node: Node, before: &BTreeSet<u32>) {
        let fed = || {
            let waiting = self.waiting(node);
            (!before.is_subset(&waiting) && !waiting.is_subset(before)).then_some(())
        };
        if wait::until(fed).is_none() {
            self.fail(&format!("{before:?} wait on at {node}, or nothing waits instead"));
        }
    }

    /// Each live node comes to have an rsync that waits, or more after a time in which one was missing, and no other runs.
    #[track_caller]
    pub fn expect_only_waiting(&self) {
        let waiting = || self.live().map(|node| self.waiting(node).len());
        let only =
            || (waiting().all(|count| count > 0) && waiting().sum::<usize>() == self.own_rsyncs().len()).then_some(());
        if wait::until(only).is_none() {
            self.fail(&format!("{:?} wait, {} run", waiting().collect::<Vec<_>>(), self.own_rsyncs().len()));
        }
    }

    /// Kills what waits at a node, with all that it started.
    pub fn kill_waiting(&self, node: Node) {
        for pid in self.waiting(node) {
            process::signal(pid, Signal::KILL);
            process::descendants(pid).into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
        }
    }

    /// The other end of what waits at a node: the processes of the server, or of a local run.
    pub fn far_side(&self, node: Node) -> Vec<u32> {
        match node {
            Node::Local => self.waiting(node).into_iter().flat_map(process::descendants).collect(),
            _ => self.sessions(node).into_iter().filter(|&pid| process::name(pid) == "rsync").collect(),
        }
    }

    /// The file is on the node within this time.
    #[track_caller]
    pub fn expect_within(&self, time: Duration, node: Node, path: &str, content: &str) {
        let full = self.mirror(node).join(path);
        let arrives = || (fs::read(&full).ok()? == content.as_bytes()).then_some(());
        if wait::until_within(time, arrives).is_none() {
            self.fail(&format!("{path:?} is not on {node} after {time:?}"));
        }
    }

    /// What the log calls a node.
    pub fn shown_name(&self, node: Node) -> String {
        self.shown(node)
    }
}
