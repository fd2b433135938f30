//! The whole protocol between the actors, readable alone: who sends what to whom, and what it means.
//!
//! A message to a SyncActor carries no paths: they are first stored in the node's [`Outbox`] and
//! the message only wakes the actor, so that an actor that dies loses nothing.

pub(crate) mod commands;

use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::change::{Change, Reason};
use crate::outbox::Outbox;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::RootError;
use crate::root::reach::MountNews;
use crate::site::Site;
use crate::site::version::Version;
use crate::status::{PathInfo, Status};
use crate::transport::{Moved, Tally};
use crate::watch_error::WatchError;
use crate::work_order::WorkOrder;

/// WatcherActor -> FilterActor: what was seen, in the kernel's order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Observed(pub Vec<Change>);

/// WatcherActor -> FilterActor -> SupervisorActor: track of a subtree was lost; it is compared as a whole. Every way of
/// losing track ends here.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Rescan {
    /// The directory that may differ.
    pub subtree: RelPath,
    /// The way in which track was lost.
    pub reason: Reason,
}

/// WatcherActor -> FilterActor -> SupervisorActor: a directory was moved. For the log; the changes travel in
/// [`Observed`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) enum DirMove {
    /// Renamed or moved within the tree.
    Within {
        /// The name before the move.
        from: RelPath,
        /// The name after the move.
        to: RelPath,
    },
    /// Moved out of the tree, or to an excluded name.
    Out {
        /// The name before the move.
        from: RelPath,
    },
    /// Moved into the tree, or from an excluded name.
    In {
        /// The name after the move.
        to: RelPath,
    },
}

/// FilterActor, SupervisorActor -> SyncActor: the node's outbox has something new.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// SupervisorActor -> FilterActor: from now on every change goes into this outbox. It does when the answer has come.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Serve {
    /// The number of the node, of which no other has the same as long as the daemon runs.
    pub slot: usize,
    /// The outbox of the node.
    pub outbox: Outbox,
    /// The SyncActor that is woken for it; `None` if there is none yet.
    pub wake: Option<Recipient<Wake>>,
}

/// SupervisorActor -> FilterActor: the node was removed from the configuration, no change goes into its outbox any
/// more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Vacate {
    /// The number of the node.
    pub slot: usize,
}

/// SupervisorActor -> WatcherActor -> FilterActor -> SupervisorActor: other patterns hold. When it comes back, what
/// they do not exclude is watched and passes the filter.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Exclude(pub Excludes);

/// SupervisorActor -> WatcherActor: look whether everything is watched that should be.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Audit;

/// Whoever looked -> SupervisorActor: what became of a file system in the source that may hang.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Reached(pub MountNews);

/// WatcherActor -> SupervisorActor: how the watching goes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum WatchReport {
    /// The first scan goes on; this many directories are watched so far.
    Scanning {
        /// The number of directories so far.
        directories: usize,
    },
    /// All watches stand; from here on no change is missed.
    Watching {
        /// The number of watched directories.
        directories: usize,
    },
    /// The tree cannot be watched at all: the daemon ends.
    Failed(WatchError),
    /// This directory is not watched on its own account; the rest goes on.
    Blind {
        /// The path of the directory.
        path: RelPath,
        /// The cause, with the cure.
        why: WatchError,
    },
    /// Other directories are not watched, or were not.
    Unseen(Unseen),
    /// The root was deleted, moved, unmounted or replaced.
    RootLost(RootError),
    /// The root, which was empty, was replaced by a directory with content, which is to be mirrored instead.
    RootSuperseded,
    /// A file system was unmounted from this directory.
    Unmounted {
        /// The path of the directory.
        path: RelPath,
    },
}

/// News of directories that are not watched although nothing is wrong with them.
#[derive(Debug)]
pub(crate) enum Unseen {
    /// No watch is left for some directories. They are compared at intervals instead.
    NoWatchLeft {
        /// Their number, each with all that is below it.
        count: usize,
        /// The first of them.
        first: Vec<RelPath>,
        /// The cause, with the cure.
        why: WatchError,
        /// The interval of their comparison.
        every: Duration,
    },
    /// There was a watch for each of them in the end.
    AllWatched {
        /// The number of watched directories.
        directories: usize,
    },
    /// Directories turned out not to be watched, or not under their names. They are from now on, and are compared.
    Found {
        /// The number of directories.
        count: usize,
        /// The first of them.
        first: Vec<RelPath>,
        /// `true` if the cause is known: track was lost before.
        expected: bool,
    },
    /// The kernel counted other watches.
    Miscounted {
        /// Watches that only the kernel knew; they were given up.
        surplus: usize,
        /// Watches that only the watcher knew.
        missing: usize,
    },
}

/// SupervisorActor -> WatcherActor -> FilterActor -> SupervisorActor: everything that the kernel had reported is in the
/// outboxes when this comes back (as [`Flushed`]).
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Flush;

/// The answer to [`Flush`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Flushed;

/// SupervisorActor -> FilterActor -> StateActor: find out what differs from the saved state. The differences come to the
/// filter as [`Observed`], and [`Change::ComparedWithState`] behind them.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Compare {
    /// `true` if the nodes may have entries that are not in the state: events were lost, or the last run was not
    /// stopped in order.
    pub unsaved_names: bool,
}

/// SyncActor -> WatcherActor -> FilterActor: answer when all that has changed in the source until now is in the outboxes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AskReported(pub oneshot::Sender<()>);

/// SupervisorActor -> StateActor: answer when all differences that were found so far have gone to the filter.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AskCompared(pub oneshot::Sender<()>);

/// WatcherActor -> StateActor: find the names that went among those that were saved, and tell the filter which of the new
/// names these files have. The removals were told before.
#[derive(Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct FindMoved {
    /// Names that went.
    pub gone: Vec<RelPath>,
    /// New names of files, of which nothing else was told.
    pub new: Vec<RelPath>,
}

/// StateActor -> WatcherActor: these new names of files have been told.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct MovesFound(pub Vec<RelPath>);

/// StateActor -> WatcherActor: ask this one which new names of files are of those that went.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Recognise(pub Recipient<FindMoved>);

/// StateActor -> WatcherActor: say [`Passed`] when all that the kernel has reported until now has been passed on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Barrier {
    /// To be named in the answer.
    pub id: u64,
}

/// WatcherActor -> FilterActor -> StateActor: the answer to [`Barrier`]. What was reported before it is in the
/// outboxes.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct Passed {
    /// The barrier that has passed.
    pub id: u64,
    /// `true` if events were lost: then nothing is known of what was reported.
    pub lost: bool,
    /// Files that are being written, and directories that are not watched: what is said of them and of all below them
    /// is not complete.
    pub unsettled: Vec<RelPath>,
}

/// SupervisorActor -> StateActor: nothing more is sent; save once more, say [`Saved`] and stop.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Save;

/// StateActor -> SupervisorActor: the answer to [`Save`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Saved;

/// SupervisorActor -> SyncActor: the root was deleted, moved or unmounted.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct SourceLost;

/// SupervisorActor -> SyncActor: go by this order from now on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Obey(pub WorkOrder);

/// SupervisorActor -> SyncActor: it is time to compare the whole tree (`resync_every`), if the node is well.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Resync;

/// SupervisorActor -> SyncActor: it is time to compare the whole tree by content (`verify_every`), if the node is well.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Verify;

/// SupervisorActor -> SyncActor: somebody has looked at what fails, by a reload or by `resume`: what waits for its
/// next try is tried now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct TryNow;

/// SyncActor -> SupervisorActor: the answer to [`WorkOrder::Drain`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drained {
    /// The number of the node.
    pub slot: usize,
}

/// SyncActor -> SupervisorActor: rsync reached the node; the restart backoff of its SyncActor begins anew.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Succeeded {
    /// The number of the node.
    pub slot: usize,
}

/// SyncActor -> SupervisorActor: some of what the node lacked is there, or was not needed. What rsync said of it is in
/// [`Heard`](crate::transport::heard::Heard). For the hooks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Settled {
    /// The number of the node.
    pub slot: usize,
    /// The work that was done for it.
    pub tally: Tally,
}

/// SyncActor -> SupervisorActor: a directory move was mirrored. For the log.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Mirrored {
    /// The number of the node.
    pub slot: usize,
    /// The move, with what it took.
    pub moved: Moved,
}

/// The guard inside a SyncActor -> SupervisorActor, when the actor is gone for whatever reason.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Died {
    /// The number of the node.
    pub slot: usize,
    /// `true` if a panic ended it.
    pub panicked: bool,
}

/// The command -> SupervisorActor: stop. The first asks for a drain, the second ends at once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

/// Anyone -> SupervisorActor: stop as by [`Stop`], to be started anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Restart;

/// The command -> SupervisorActor -> WatcherActor, FilterActor: whether they answer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub(crate) struct Alive;

/// The command -> SupervisorActor: the configuration was read again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Reload {
    /// The site that it says now.
    pub site: Site,
    /// The version of the rsync that it names.
    pub version: Version,
    /// Keys that changed as well, and are gone by already.
    pub beside: Vec<&'static str>,
}

/// The command -> SupervisorActor: how is it going? `None` when it has ended, or starts anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Status>")]
pub(crate) struct AskStatus {
    /// `true` if nodes are asked for their rsync first, where it is not known: that takes up to two seconds.
    pub ask_nodes: bool,
}

/// The command -> SupervisorActor: what is known of this path?
#[derive(Debug, Clone, Message)]
#[rtype(result = "PathInfo")]
pub(crate) struct AskPath(pub RelPath);

/// SupervisorActor -> WatcherActor: is what happens to this path seen?
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub(crate) struct AskSeen(pub RelPath);

/// The command -> SupervisorActor: another process made a node equal to the tree, by a comparison of everything.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Compared {
    /// The destination of the node, as the status has it.
    pub dest: String,
    /// The time at which the comparison began.
    pub began: Instant,
}
