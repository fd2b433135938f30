//! What one daemon mirrors: the checked form of the configuration.

pub mod extra;
pub mod version;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::node::Node;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::settle::Settle;
use crate::root::{Guards, Root, RootError};
use crate::site::extra::Extra;

/// One source tree and the nodes that mirror it. Everything in it has been checked.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// The watched directory: absolute; it may be named by a symlink.
    pub wpath: PathBuf,
    /// What is neither watched, sent nor deleted.
    pub excludes: Excludes,
    /// Where the tree is mirrored to; at least one, each destination once.
    pub nodes: Vec<Node>,
    /// The rsync program: absolute.
    pub rsync: PathBuf,
    /// Whether each rsync reaches only what it mirrors.
    pub confine: bool,
    /// The user's own rsync parameters.
    pub extra: Extra,
    /// Limit of what goes to each node in KiB/s; 0 is none.
    pub rspeed: u64,
    /// rsync's own log file (`--log-file`).
    pub logfile: Option<PathBuf>,
    /// The reconcile of each node at start, and whether later comparisons delete.
    pub initial_sync: InitialSync,
    /// What becomes of a directory that is moved within the tree.
    pub dir_moves: DirMoves,
    /// Whether an rsync waits at each node for the next change.
    pub standby: bool,
    /// How many rsync processes may wait so, over all nodes.
    pub max_standbys: usize,
    /// Whether the connections of one ssh node share one login.
    pub ssh_master: bool,
    /// What a batch carries in bytes before larger files and subtrees take the bulk lane.
    pub bulk_size: u64,
    /// Which files are sent only when they were left alone for a time.
    pub settle: Settle,
    /// How often directories are tried again for which no watch was left, and compared meanwhile.
    pub watch_poll: Duration,
    /// Where the state is kept from one run to the next; `None` if each start begins with a reconcile.
    pub state_file: Option<PathBuf>,
    /// A directory of this site alone, on the file system of `wpath`, where renamed files are linked while a node is told
    /// of it; `None` if there is none.
    pub staging: Option<PathBuf>,
    /// How long a stop may take to work off what is pending.
    pub stop_timeout: Duration,
    /// Whether a source without content is taken as it is: everything is deleted at the nodes then.
    pub allow_empty: bool,
    /// An entry of the source without which nothing is sent or deleted.
    pub marker: Option<RelPath>,
    /// How many entries a reconcile may delete at a node; `None` is any number.
    pub max_delete: Option<u64>,
    /// How often each node is compared as a whole although nothing asks for it; `None` is never.
    pub resync_every: Option<Duration>,
    /// How often each node is compared by checksum, without changing anything; `None` is never.
    pub verify_every: Option<Duration>,
    /// What is run when a node has got something.
    pub on_synced: Option<Hook>,
    /// What is run when every node has got something.
    pub on_all_synced: Option<Hook>,
    /// How long such a program may take.
    pub hook_timeout: Duration,
}

/// A program of the user's, which is run without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program: absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Site {
    /// The source as it is now, which must hold what the site says.
    ///
    /// # Errors
    /// When there is no directory. What it holds is not looked at yet: see [`Root::check`].
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

/// The reconcile of a node when the daemon starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialSync {
    /// Makes the node equal to the source: sends what differs and deletes what the source does not have.
    #[default]
    Full,
    /// Sends what differs and deletes nothing; later, only removals that were seen are mirrored.
    Update,
    /// None: only what changes from now on is mirrored. Later comparisons delete nothing, as with `Update`.
    Off,
}

/// What becomes of a directory that is moved within the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirMoves {
    /// The supervisor logs the move; nothing is sent or deleted because of it.
    #[default]
    Log,
    /// Mirrored: the nodes make the directory at its new name out of what they have at the old one, which is then deleted.
    Replicate,
}
