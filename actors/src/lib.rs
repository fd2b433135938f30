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
//! The rooms, each of which knows only those below it (`tests/floors.rs`):
//! - [`daemon`]: puts the actors together.
//! - [`supervisor`]: starts and restarts the SyncActors, logs directory moves, leads reload and stop.
//! - [`watcher`]: inotify watches, one per directory; kernel events in, changes out. [`filter`]: hands them to each node.
//!   [`sync`]: the batches of one node, in two lanes. [`rsync`]: the way to a node by the rsync command: its recipes, its runs
//!   and standbys, and what their ends mean. [`state`]: what is known of the tree and the nodes from one run to the next.
//!   [`hook`]: the programs of the user that are told what arrived.
//! - [`messages`]: the protocol between the actors. [`status`]: the state of the daemon, as one value for all who ask.
//! - [`outbox`]: the changes that a node does not have yet. [`health`]: when a node may be tried. [`order`]: how much of its
//!   work a SyncActor still does. [`reload`]: what another reading of the configuration changes.
//! - [`transport`]: the contract between [`sync`] and [`rsync`], which do not know each other.
//! - [`site`], [`node`], [`root`], [`patterns`]: the configuration, checked. [`path`], [`change`], [`mounts`] and others: what all
//!   of them speak about.
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

pub mod backoff;
pub mod bytes;
pub mod change;
pub mod children;
pub mod daemon;
pub mod ending;
mod errno;
pub mod filter;
pub mod health;
pub mod hook;
pub mod messages;
pub mod mounts;
pub mod node;
pub mod order;
pub mod outbox;
pub mod path;
pub mod patterns;
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
mod timer;
pub mod transport;
pub mod watch_error;
pub mod watcher;
