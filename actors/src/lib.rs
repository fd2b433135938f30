//! The daemon of inosync, without its command line.
//!
//! ```text
//!  kernel ──events──▶ WatcherActor ──Observed, Rescan──▶ FilterActor ──┐ stores each change in every node's Outbox,
//!  (inotify)               │ DirMove                          │        │ then sends Wake
//!                          └──────────────▶ SupervisorActor ◀─┘        ▼
//!                                             │ starts, restarts    SyncActor (one per node) ──plan──▶ rsync ──▶ node
//!                                             └───────────────────▶    ▲ Died, Succeeded, Drained, Mirrored
//! ```
//!
//! In the order in which data flows:
//! - [`messages`]: the whole protocol between the actors.
//! - [`watcher`]: inotify watches, one per directory; kernel events in, changes out.
//! - [`filter`]: the exclude patterns, what they match and what they are for rsync.
//! - [`sync`]: one node's pending set, its batches in two lanes, its backoff.
//! - [`rsync`]: the rsync command: its recipes, its runs and standbys, what its ends mean.
//! - [`state`]: what is known of the tree and the nodes from one run to the next.
//! - [`status`]: how the daemon is doing, as one value for all who ask.
//! - [`hook`]: the programs of the user that are told what arrived.
//! - [`supervisor`]: starts and restarts the SyncActors, logs directory moves, leads reload and stop.
//! - [`reload`]: what another reading of the configuration changes.
//! - [`daemon`]: puts the actors together. [`site`], [`root`] and [`path`] are what they speak about.
//!
//! # Words
//! A *node* mirrors the tree. A *change* says that a path may differ. Changes wait in a node's *pending set* and leave
//! it in a *batch*, one rsync run or a few, in the fast or the bulk *lane*. A *standby* is an rsync that waits at a
//! node for its list. The *origin* of a new name is what a node has the renamed entry as. A *reconcile* compares the
//! whole tree. A node that fails is in *backoff*; while the source is not there, everything is *held*.
//!
//! # Traps
//! inotify: the queue overflows and says so once; a directory can be filled, renamed or deleted before it is watched; the
//! halves of a rename are separate events; a watch follows the inode, not the name, and an inode may stand at several names;
//! a watch may outlive its directory.
//! rsync: a list may be executed although it was cut; a path whose parent is missing, a symlink or a file deletes or
//! writes in the wrong place; a quick rewrite of the same size is skipped by default; exclusions do not cover listed
//! paths. [`sync::plan`] and [`rsync::recipe`] hold the rules against these.

pub mod daemon;
pub mod filter;
mod gone;
pub mod hook;
pub mod messages;
pub mod path;
#[cfg(test)]
mod proptests;
pub mod reload;
pub mod root;
pub mod rsync;
pub mod site;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod sync;
pub mod watcher;
