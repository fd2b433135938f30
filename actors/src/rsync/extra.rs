//! The user's own rsync parameters (`extra`), checked against what would break the daemon's use of rsync.
