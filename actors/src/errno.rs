//! Errors of system calls that mean that an entry does not exist.

use rustix::io::Errno;

/// Tells if the error means that the path leads nowhere: the entry does not exist, a parent is not a directory, or the
/// file system has forgotten the entry (ESTALE from network and union file systems).
pub(crate) fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE)
}
