//! Errors of system calls that say that nothing is there.

use rustix::io::Errno;

/// Whether a path leads nowhere, any more: nothing is there, what is above it is no directory, or the file system does not know
/// any more what it was (network file systems, unions).
pub fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE)
}
