//! The site of a daemon: the configuration after all checks.

pub mod extra;
pub mod options;
pub mod speed_limit;
pub mod version;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::node::Node;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::settle::Settle;
use crate::root::{Guards, Root, RootError};
use crate::site::extra::Extra;
use crate::site::options::NodeOptions;
use crate::site::speed_limit::SpeedLimit;

/// One source tree and the nodes that mirror it, after all checks.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// The watched directory, as an absolute path; the path may be a symlink.
    pub wpath: PathBuf,
    /// Patterns of the paths that are neither watched nor sent nor deleted.
    pub excludes: Excludes,
    /// Nodes that mirror the tree: at least one, each destination once.
    pub nodes: Vec<Node>,
    /// Settings of single nodes, by the names of the nodes: see [`Site::at`].
    pub options: BTreeMap<String, NodeOptions>,
    /// Absolute path of the rsync program.
    pub rsync: PathBuf,
    /// `true` if each rsync may access only the files that its run needs.
    pub confine: bool,
    /// The user's own rsync parameters.
    pub extra: Extra,
    /// Limit of the data rate to each node.
    pub rspeed: SpeedLimit,
    /// Priority of large runs on this machine.
    pub priority: Priority,
    /// rsync's own log file (`--log-file`).
    pub logfile: Option<PathBuf>,
    /// Kind of the reconcile at the start, which also decides if later comparisons delete.
    pub initial_sync: InitialSync,
    /// The times at which what the source lost is deleted at the nodes.
    pub delete: DeleteMode,
    /// Handling of directories that are moved within the tree.
    pub dir_moves: DirMoves,
    /// `true` if standbys are kept at the nodes, ready for the next change.
    pub standby: bool,
    /// Greatest number of standbys, over all nodes.
    pub max_standbys: usize,
    /// `true` if the connections to an ssh node share one login.
    pub ssh_master: bool,
    /// Size limit of a batch in the fast lane, in bytes; larger files and subtrees take the bulk lane.
    pub bulk_size: u64,
    /// Files that are sent only after they have not changed for a time.
    pub settle: Settle,
    /// `true` if files of rsync's temporary names are left alone until they get their own.
    pub await_names: bool,
    /// Interval of the heartbeats; `None` for none.
    pub heartbeat: Option<Duration>,
    /// Interval at which directories without a watch are compared and watching them is tried again.
    pub watch_poll: Duration,
    /// File of the saved state; `None` if each start begins with a reconcile.
    pub state_file: Option<PathBuf>,
    /// Directory for this site alone, on the file system of `wpath`, in which renamed files are linked while a node
    /// mirrors the rename; `None` if there is none.
    pub staging: Option<PathBuf>,
    /// Time limit for sending pending changes at a stop.
    pub stop_timeout: Duration,
    /// `true` if an empty source is accepted, so that everything at the nodes is deleted.
    pub allow_empty: bool,
    /// Entry that the source must have; without it nothing is sent or deleted.
    pub marker: Option<RelPath>,
    /// Greatest number of entries that a reconcile may delete at a node; `None` for no limit.
    pub max_delete: Option<u64>,
    /// Number of runs that a reconcile of a node is divided into; `None` for as many as help.
    pub reconcile_jobs: Option<usize>,
    /// Number of threads that serve the nodes beside the main one; `None` for as many as help.
    pub node_threads: Option<usize>,
    /// Interval of the periodic reconciles of each node; `None` for none.
    pub resync_every: Option<Duration>,
    /// Interval at which each node is compared by checksum, which changes nothing; `None` for never.
    pub verify_every: Option<Duration>,
    /// Program that runs when a node has received changes.
    pub on_synced: Option<Hook>,
    /// Program that runs when every node has received the changes.
    pub on_all_synced: Option<Hook>,
    /// Time limit for a run of these programs.
    pub hook_timeout: Duration,
}

/// A program of the user that is run without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Arguments of the program.
    pub arguments: Vec<String>,
}

impl Site {
    /// Opens the source as it is now, with the site's conditions on its content.
    ///
    /// # Errors
    /// When there is no directory. The content is not checked yet: see [`Root::check`].
    pub fn root(&self) -> Result<Root, RootError> {
        let Site { allow_empty, marker, excludes, .. } = self;
        let guards = Guards {
            allow_empty: *allow_empty,
            marker: marker.clone(),
            excludes: Arc::new(RwLock::new(excludes.clone())),
        };
        Ok(Root::of(&self.wpath)?.guarded(guards))
    }
}

/// The kind of reconcile that each node gets at the start of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialSync {
    /// Makes the node equal to the source: sends differing entries and deletes those that the source does not have.
    #[default]
    Full,
    /// Sends differing entries and deletes nothing; later, only removals that the watcher saw are mirrored.
    Update,
    /// No reconcile: only changes from now on are mirrored. Later comparisons delete nothing, as with `Update`.
    Off,
}

/// The priority of the processes of large runs: reconciles, the bulk lane, and batches of many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Whatever else wants the processor or the disk goes first.
    #[default]
    Low,
    /// That of the daemon.
    Normal,
}

/// The times at which what the source lost is deleted at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DeleteMode {
    /// By every comparison, and when a removal is seen.
    #[default]
    Always,
    /// Not at all: the node keeps what the source lost.
    Never,
    /// By the comparison at the start alone.
    Startup,
    /// Deletes when a removal is seen, and not by comparisons.
    Running,
}

impl DeleteMode {
    /// Returns true if removals are not mirrored when they are seen. Then nothing at the node makes room for an entry of
    /// another kind either.
    pub(crate) fn keeps_removed(self) -> bool {
        matches!(self, DeleteMode::Never | DeleteMode::Startup)
    }

    /// Returns true if no comparison deletes what only the node has, not even the one at the start.
    pub(crate) fn keeps_extras(self) -> bool {
        matches!(self, DeleteMode::Never | DeleteMode::Running)
    }
}

/// The handling of a directory that is moved within the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DirMoves {
    /// The supervisor logs the move; nothing is sent or deleted because of it.
    #[default]
    Log,
    /// Each node makes the directory at its new name from the one that it has at the old name, which is then deleted.
    Replicate,
}
