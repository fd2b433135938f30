//! What the tests of the running library share: a source and two mirrors, and the site that they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use inosync_actors::node::Node;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::patterns::settle::Settle;
use inosync_actors::site::extra::Extra;
use inosync_actors::site::{DeleteMode, DirMoves, InitialSync, Priority, Site};

/// Longer than what a test waits for a stop or a poll.
const DEADLINE: Duration = Duration::from_secs(60);

/// A source and two mirrors in a directory of their own.
pub struct Trees {
    dir: tempfile::TempDir,
    other: &'static str,
}

impl Trees {
    /// The mirrors are `steady` and `other`.
    pub fn new(other: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        ["source", "steady", other].iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        Trees { dir, other }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub fn node(&self, name: &str) -> Node {
        Node::parse("", self.path(name).to_str().unwrap()).unwrap()
    }

    pub fn site(&self) -> Site {
        Site {
            wpath: self.path("source"),
            excludes: Excludes::default(),
            nodes: vec![self.node("steady"), self.node(self.other)],
            options: BTreeMap::new(),
            rsync: PathBuf::from("/usr/bin/rsync"),
            // The program of a test cannot stand in for a remote shell.
            confine: false,
            extra: Extra::default(),
            rspeed: 0.into(),
            priority: Priority::default(),
            logfile: None,
            initial_sync: InitialSync::Full,
            dir_moves: DirMoves::Log,
            delete: DeleteMode::Always,
            standby: true,
            max_standbys: 4,
            ssh_master: false,
            bulk_size: 1 << 20,
            state_file: None,
            staging: None,
            stop_timeout: DEADLINE,
            allow_empty: true,
            marker: None,
            max_delete: None,
            reconcile_jobs: None,
            node_threads: None,
            watch_poll: DEADLINE,
            settle: Settle::default(),
            await_names: true,
            heartbeat: None,
            resync_every: None,
            verify_every: None,
            on_synced: None,
            on_all_synced: None,
            hook_timeout: Duration::from_secs(60),
        }
    }
}
