//! The changes of the source that the watcher reports.

use std::fmt;

use crate::path::RelPath;

/// One path that may now differ between the source and the nodes. A change only says where to look; the disk says what
/// is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The entry itself was created, written, given other attributes or another type.
    Touched {
        /// Path of the entry.
        path: RelPath,
        /// `true` if the kernel reported a directory.
        is_dir: bool,
        /// `true` if the content is new, so that equal size and time prove nothing.
        rewritten: bool,
    },
    /// A file that was open for writing was closed, and no write was reported: it may have been written through
    /// mmap(2).
    Closed {
        /// Path of the file.
        path: RelPath,
    },
    /// The entry was deleted, or is a file that was moved away.
    Removed {
        /// Path of the entry.
        path: RelPath,
        /// `true` if the kernel reported a directory.
        is_dir: bool,
    },
    /// A file was renamed, or moved to another directory: the file at `to` is the former `from`. [`Change::Removed`] of
    /// the old name comes before. The rename is a hint; `to` counts as changed in any case.
    Renamed {
        /// Old path of the file.
        from: RelPath,
        /// New path of the file.
        to: RelPath,
    },
    /// A directory may differ with everything below it, since it is new or events were lost.
    Subtree {
        /// Path of the directory.
        path: RelPath,
    },
    /// A directory was made: everything below it is new as well.
    Created {
        /// Path of the directory.
        path: RelPath,
    },
    /// A directory was made, of which everything below is told by itself: what is there by now comes next, as
    /// [`Change::Touched`] with new content.
    Made {
        /// Path of the directory.
        path: RelPath,
        /// `true` if nothing was told of it before.
        is_new: bool,
    },
    /// A directory may have other attributes and other entries than before. The contents of its subdirectories are not
    /// meant.
    Level {
        /// Path of the directory.
        path: RelPath,
    },
    /// A directory was moved away from this name. Comes before [`Change::MovedTo`] or [`Change::MovedOut`] of the same
    /// directory.
    MovedAway {
        /// Old path of the directory.
        path: RelPath,
    },
    /// The directory of an earlier [`Change::MovedAway`] is now at `to`.
    MovedTo {
        /// Old path of the directory.
        from: RelPath,
        /// New path of the directory.
        to: RelPath,
    },
    /// A directory that was saved as `from` was found at `to`: nobody saw its move. [`Change::Removed`] of the old name comes
    /// before. The move is a hint; all below `to` counts as changed in any case.
    FoundMoved {
        /// Old path of the directory.
        from: RelPath,
        /// New path of the directory.
        to: RelPath,
    },
    /// Another entry took the old name of a directory that moved ([`Change::MovedTo`], [`Change::MovedOut`]), by an
    /// exchange or afterwards. Where moves are not mirrored, the node still has the old directory at that name.
    Retaken {
        /// The name that was taken.
        path: RelPath,
        /// `true` if the entry that took the name is a directory.
        is_dir: bool,
    },
    /// A file system was unmounted from this directory: the entries below are hidden, not deleted.
    Unmounted {
        /// Path of the directory.
        path: RelPath,
    },
    /// A file system was mounted on this directory: entries that an earlier unmount had hidden are no longer hidden.
    Mounted {
        /// Path of the directory.
        path: RelPath,
    },
    /// New names of files wait for other ones to go, or none does any more.
    LinksWait(NewNames),
    /// The comparison with the saved state is complete: all differences have been reported.
    ComparedWithState,
    /// The directory of an earlier [`Change::MovedAway`] left the tree, or its new name is excluded.
    MovedOut {
        /// Old path of the directory.
        path: RelPath,
    },
}

/// The new names of files that are not told yet. While there are any, a removal may be the second half of a rename.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewNames {
    /// There are none.
    #[default]
    None,
    /// They wait for other names to go.
    Wait,
    /// Other names went, and the saved state is asked if they are of the same files.
    Asked,
}

impl Change {
    /// Returns the path to look at; `None` for changes that are not about a single entry.
    pub(crate) fn path(&self) -> Option<&RelPath> {
        match self {
            Change::Touched { path, .. }
            | Change::Closed { path }
            | Change::Removed { path, .. }
            | Change::Renamed { to: path, .. }
            | Change::FoundMoved { to: path, .. }
            | Change::Subtree { path }
            | Change::Created { path }
            | Change::Made { path, .. }
            | Change::Level { path }
            | Change::Retaken { path, .. } => Some(path),
            Change::MovedAway { .. }
            | Change::MovedTo { .. }
            | Change::MovedOut { .. }
            | Change::Unmounted { .. }
            | Change::Mounted { .. }
            | Change::LinksWait(_)
            | Change::ComparedWithState => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = |is_dir: &bool| if *is_dir { "/" } else { "" };
        match self {
            Change::Touched { path, is_dir, rewritten } => {
                write!(f, "{} {path}{}", if *rewritten { "written" } else { "touched" }, slash(is_dir))
            }
            Change::Closed { path } => write!(f, "closed {path}"),
            Change::Renamed { from, to } => write!(f, "renamed {from} to {to}"),
            Change::Removed { path, is_dir } => write!(f, "removed {path}{}", slash(is_dir)),
            Change::Subtree { path } | Change::Created { path } => write!(f, "subtree {path}/"),
            Change::Made { path, .. } => write!(f, "made {path}/"),
            Change::LinksWait(NewNames::None) => f.write_str("no new name waits"),
            Change::LinksWait(NewNames::Wait) => f.write_str("new names wait"),
            Change::LinksWait(NewNames::Asked) => f.write_str("new names wait for an answer"),
            Change::ComparedWithState => f.write_str("compared with the state"),
            Change::Level { path } => write!(f, "level {path}/"),
            Change::MovedAway { path } => write!(f, "moved away {path}/"),
            Change::MovedTo { from, to } => write!(f, "moved {from}/ to {to}/"),
            Change::FoundMoved { from, to } => write!(f, "moved {from}/ to {to}/, as was found"),
            Change::Retaken { path, is_dir } => write!(f, "retaken {path}{}", slash(is_dir)),
            Change::Unmounted { path } => write!(f, "unmounted {path}/"),
            Change::Mounted { path } => write!(f, "mounted {path}/"),
            Change::MovedOut { path } => write!(f, "moved out {path}/"),
        }
    }
}

/// The ways in which the watcher loses track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The kernel's event queue was full (`fs.inotify.max_queued_events`), or the watcher's own.
    Overflow,
    /// An event named a watch that is not known.
    UnknownWatch,
    /// Directories are elsewhere than the names that are known say: they were renamed while they were looked through.
    Outrun,
    /// A directory could not be listed.
    Unlistable,
    /// The watch limit is reached: what is below is not watched.
    WatchLimit,
    /// The root had disappeared and is back.
    RootReturned,
    /// A file system was mounted there.
    Mounted,
    /// The file system mounted there did not answer for a time, and answers again.
    Answers,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::Overflow => "the kernel's event queue overflowed; raise fs.inotify.max_queued_events",
            Reason::UnknownWatch => "an event came from a watch that is not known",
            Reason::Outrun => "directories were renamed while they were looked through",
            Reason::Unlistable => "a directory could not be listed",
            Reason::WatchLimit => "the watch limit is reached; raise it",
            Reason::RootReturned => "the source is back",
            Reason::Mounted => "a file system was mounted there",
            Reason::Answers => "its file system answers again",
        })
    }
}
