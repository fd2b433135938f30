//! What the watcher tells of the source.

use std::fmt;

use crate::path::RelPath;

/// One thing that may now differ between the source and the nodes. The truth is on disk: a change only says where to
/// look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The entry itself was created, written, given other attributes or another type.
    Touched {
        /// The entry.
        path: RelPath,
        /// Whether the kernel called it a directory.
        is_dir: bool,
        /// Whether its content is new, so that equal size and time prove nothing.
        rewritten: bool,
    },
    /// A file was closed that was open for writing, and no write was seen: it may have been written through mmap(2).
    Closed {
        /// The file.
        path: RelPath,
    },
    /// The entry was deleted, or it is a file that was moved away.
    Removed {
        /// The entry.
        path: RelPath,
        /// Whether the kernel called it a directory.
        is_dir: bool,
    },
    /// A file was renamed, or moved to another directory: what is at `to` is what was at `from`. [`Change::Removed`] of
    /// the old name came before. A hint, beside the fact that `to` has other content.
    Renamed {
        /// The name that it had.
        from: RelPath,
        /// The name that it has.
        to: RelPath,
    },
    /// A directory may differ with everything below it: it is new, or track of it was lost.
    Subtree {
        /// The directory.
        path: RelPath,
    },
    /// A directory was made: it is new with everything below it.
    Created {
        /// The directory.
        path: RelPath,
    },
    /// A directory may have other entries than before, or other attributes. What is below its subdirectories is not meant.
    Level {
        /// The directory.
        path: RelPath,
    },
    /// A directory was moved away from this name. Comes before what is known of the other end of the move.
    MovedAway {
        /// The name that it had.
        path: RelPath,
    },
    /// The directory of an earlier [`Change::MovedAway`] is now at `to`.
    MovedTo {
        /// The name that it had.
        from: RelPath,
        /// The name that it has.
        to: RelPath,
    },
    /// Something else has the name of an earlier [`Change::MovedTo`] or [`Change::MovedOut`], by an exchange or in the meantime.
    /// Where moves are not mirrored, the node has that directory there still.
    Retaken {
        /// The name.
        path: RelPath,
        /// Whether that is a directory.
        is_dir: bool,
    },
    /// A file system was unmounted from this directory: what was below it is hidden, not deleted.
    Unmounted {
        /// The directory.
        path: RelPath,
    },
    /// A file system was mounted on this directory: what an earlier one hid when it went is hidden no longer.
    Mounted {
        /// The directory.
        path: RelPath,
    },
    /// All that differs from the saved state has been told.
    ComparedWithState,
    /// The directory of an earlier [`Change::MovedAway`] left the tree, or is excluded where it is now.
    MovedOut {
        /// The name that it had.
        path: RelPath,
    },
}

impl Change {
    /// The entry that is to be looked at; `None` if it is no change of a single one.
    pub fn path(&self) -> Option<&RelPath> {
        match self {
            Change::Touched { path, .. }
            | Change::Closed { path }
            | Change::Removed { path, .. }
            | Change::Renamed { to: path, .. }
            | Change::Subtree { path }
            | Change::Created { path }
            | Change::Level { path }
            | Change::Retaken { path, .. } => Some(path),
            Change::MovedAway { .. }
            | Change::MovedTo { .. }
            | Change::MovedOut { .. }
            | Change::Unmounted { .. }
            | Change::Mounted { .. }
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
            Change::ComparedWithState => f.write_str("compared with the state"),
            Change::Level { path } => write!(f, "level {path}/"),
            Change::MovedAway { path } => write!(f, "moved away {path}/"),
            Change::MovedTo { from, to } => write!(f, "moved {from}/ to {to}/"),
            Change::Retaken { path, is_dir } => write!(f, "retaken {path}{}", slash(is_dir)),
            Change::Unmounted { path } => write!(f, "unmounted {path}/"),
            Change::Mounted { path } => write!(f, "mounted {path}/"),
            Change::MovedOut { path } => write!(f, "moved out {path}/"),
        }
    }
}
