//! The daemon of inosync, without its command line.
//!
//! ```text
//!  kernel ──events──▶ WatcherActor ──Observed, Rescan, DirMove──▶ FilterActor ──changes──▶ Outbox (one per node)
//!  (inotify)                                                       │    │                    │ batches
//!                                                Rescan, DirMove   │    └──Wake──┐           ▼
//!         SupervisorActor ◀────────────────────────────────────────┘             └──▶ SyncActor ─plan─▶ rsync ─▶ node
//!          │  ▲                                                                        │  ▲  (one per node)
//!          │  └──Died, Succeeded, Settled, Mirrored, Drained───────────────────────────┘  │
//!          └─────starts, restarts, stops──────────────────────────────────────────────────┘
//! ```
//!
//! The modules ("rooms"), from the top; each knows only those below it (`tests/floors.rs`):
//! - [`daemon`]: connects the actors.
//! - [`supervisor`]: starts and restarts the SyncActors, and leads reload, stop, status and hooks.
//! - [`watcher`]: one inotify watch per directory; turns kernel events into changes. [`filter`]: drops excluded changes
//!   and hands the others to every node. [`sync`]: sends the batches of one node, in two lanes. [`rsync`]: reaches a
//!   node by rsync: the commands, the runs, the standbys, and the meaning of errors. [`state`]: saves the state of the
//!   tree and the nodes for the next run. [`hook`]: runs the user's programs.
//! - [`messages`]: the protocol between the actors. [`status`]: the status of the daemon as one value.
//! - [`outbox`]: the changes that a node does not have yet. [`health`]: decides when a node may be tried. [`work_order`]:
//!   how much of its work a SyncActor still does. [`reload`]: the consequences of a new configuration.
//! - [`transport`]: the contract between [`sync`] and [`rsync`], which do not know each other.
//! - [`site`], [`node`], [`root`], [`patterns`]: the checked configuration. [`path`], [`change`], [`mounts`] and
//!   others: types that all modules share.
//!
//! # Glossary
//! - **source**, **root**: the directory that is watched and mirrored, `wpath` in the configuration.
//! - **node**: one place that mirrors the source: a local directory, a host reached by ssh, or a module of an rsync
//!   daemon.
//! - **mirror**: the copy of the source at a node.
//! - **site**: one source with its nodes and all settings, as a checked configuration.
//! - **watch**: an inotify watch; each directory of the source needs one.
//! - **change**: the report that a path may differ between the source and the nodes.
//! - **rescan**: the comparison of a subtree after the watcher has lost events there.
//! - **outbox**: the changes that one node does not have yet; it outlives the node's SyncActor.
//! - **pending set**: the content of an outbox: the paths that wait, and the batches that are being sent.
//! - **fold**: a set of waiting paths in which repeated paths merge and a subtree absorbs the paths below it.
//! - **batch**: paths that leave the pending set together and are sent by one rsync run or a few.
//! - **lease**: the hold of a batch on its paths: they leave the pending set only if rsync succeeds, else they return
//!   to it.
//! - **lane**: the kind of a batch: small changes take the *fast* lane, large files and subtrees the *bulk* lane.
//! - **plan**: the lists of paths that the rsync runs of a batch get, made from a look at the disk.
//! - **standby**: an rsync process that is connected to a node and waits for its list of paths.
//! - **reconcile**: an rsync run that compares the whole tree with a node and makes the node equal.
//! - **origin**: the name at a node of an entry that has another name in the source since.
//! - **trait**: a property of files that a node cannot store, such as exact times.
//! - **confinement**: Landlock rules that limit an rsync process to the files of its run.
//! - **hook**: a program of the user that is told which changes arrived (`on_synced`, `on_all_synced`).
//! - **backoff**: the growing pause between the tries at a node that fails.
//! - **held**: nothing is sent to any node, since the source is missing, replaced or empty; a reconcile is held if it
//!   would delete more than `max_delete` entries.
//! - **paused**: nothing is sent to a node, since the admin asked for it (`pause`).
//! - **settle**: to wait until a file has not changed for a time before it is sent.
//! - **saved state**: the file with the stamps of the tree and the changes that each node lacks, kept from run to run.
//! - **stamp**: the metadata that tell if an entry has changed since it was saved.
//! - **barrier**: a moment by which every earlier kernel event has reached the outboxes; in a hook, the changes that
//!   wait for the slower nodes.
//!
//! # Traps
//! inotify: the queue can overflow, and says so once; a directory can be filled, renamed or deleted before it is
//! watched; the two halves of a rename are separate events; a watch follows the inode, not the name, and an inode can
//! have several names; a watch can outlive its directory.
//!
//! rsync: a truncated list can be executed; a path whose parent is missing, or is a symlink or a file, deletes or
//! writes in the wrong place; a quick rewrite of the same size is skipped by default; exclusions do not cover listed
//! paths. [`sync::plan`] and [`rsync::recipe`] hold the rules against these.

pub(crate) mod backoff;
pub mod bytes;
pub mod change;
pub mod children;
pub mod daemon;
pub mod ending;
mod errno;
pub(crate) mod filter;
pub(crate) mod health;
pub mod heartbeat;
pub mod hook;
pub(crate) mod messages;
pub mod mounts;
pub mod node;
pub mod outbox;
pub mod path;
pub mod patterns;
#[cfg(test)]
mod proptests;
mod read_pace;
pub mod reload;
pub mod root;
pub mod rsync;
pub mod site;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod sync;
pub(crate) mod temp_name;
mod timer;
pub mod transport;
pub mod watch_error;
pub mod watcher;
pub(crate) mod work_order;
