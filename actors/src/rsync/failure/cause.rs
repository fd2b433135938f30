//! The causes for which a node cannot be brought up to date: one row for each, with its words, its cure and how it ends.

/// The causes that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No room, or a quota, at the node.
    TargetFull,
    /// The node's file system or module is read-only.
    TargetReadOnly,
    /// The node refused who we are.
    Authentication,
    /// ssh does not know, or no longer recognises, the node's host key.
    HostKey,
    /// The host cannot be reached.
    Unreachable,
    /// There is no rsync at the node.
    NoRemoteRsync,
    /// The rsync daemon has no such module.
    NoModule,
    /// The rsync daemon serves all the connections that it may.
    Busy,
    /// The rsync daemon ends the session at its start.
    Refused,
    /// The login shell at the node prints something.
    NoisyShell,
    /// The remote shell program is missing on this host.
    NoRemoteShell,
    /// A directory above the mirror is missing.
    NoParent,
    /// The receiver rejects missing entries.
    RejectsMissing,
    /// One end does not know an option that the other uses.
    UnknownOption,
    /// The ends speak no common protocol.
    Protocol,
    /// The source is not there.
    SourceGone,
    /// The mirror is a file, or may not be written.
    TargetRefused,
    /// The account that writes at the node may not write the mirror.
    Unwritable,
    /// The node takes content, but neither times nor permissions nor owners.
    AttributesRefused,
    /// The node's daemon refuses an option, such as deletions.
    OptionRefused,
    /// No traffic for the whole timeout.
    Timeout,
    /// rsync was killed, here or at the node.
    Killed,
    /// The connection broke.
    Closed,
    /// Some entries failed; the rest was done.
    Partial,
    /// Entries vanished while they were sent; the rest was done.
    Vanished,
    /// A reconcile would delete more than the site allows.
    TooManyDeletions,
    /// rsync could not be started.
    NotStarted,
    /// Anything else.
    Unknown,
}

/// A row of the table of causes.
#[derive(Debug, Clone, Copy)]
struct Row {
    words: &'static str,
    cure: &'static str,
    is_lasting: bool,
}

/// A cause that stays until a person does something.
const fn lasting(words: &'static str, cure: &'static str) -> Row {
    Row { words, cure, is_lasting: true }
}

/// A cause that can pass by itself; `cure` is empty where nobody need do anything.
const fn passing(words: &'static str, cure: &'static str) -> Row {
    Row { words, cure, is_lasting: false }
}

impl Cause {
    fn row(self) -> Row {
        match self {
            Cause::TargetFull => {
                passing("the node is full", "make room at the node, or exclude what need not be there")
            }
            Cause::TargetReadOnly => {
                passing("the node is read-only", "remount it writable, or set `read only = no` for the module")
            }
            Cause::Authentication => lasting(
                "the node refuses the login",
                "install this user's ssh key there; for an rsync daemon give --password-file in `extra`",
            ),
            Cause::HostKey => lasting(
                "the node's host key is not known",
                "log in once by hand as this user: ssh asks to accept the key",
            ),
            Cause::Unreachable => passing("the node cannot be reached", ""),
            Cause::NoRemoteRsync => {
                lasting("the node has no rsync", "install rsync at the node, or give --rsync-path in `extra`")
            }
            Cause::NoModule => {
                lasting("the node's rsync daemon has no such module", "name a module that rsyncd.conf at the node has")
            }
            Cause::Busy => passing(
                "the node's rsync daemon has no free connection",
                "raise `max connections` in rsyncd.conf at the node",
            ),
            Cause::Refused => lasting(
                "the node's rsync daemon refuses the session",
                "look at its log; with --rsh in `extra` an rsync daemon is reached through that shell, as rsync itself does",
            ),
            Cause::NoisyShell => lasting(
                "the node's login shell prints something",
                "let the login scripts print only for interactive shells",
            ),
            Cause::NoRemoteShell => {
                lasting("the remote shell program cannot be run", "install ssh, or correct --rsh in `extra`")
            }
            Cause::NoParent => lasting(
                "a directory above the mirror is missing",
                "make that directory at the node by hand: one of the two rsyncs is too old for --mkpath",
            ),
            Cause::RejectsMissing => passing("the node's rsync rejects deletions", ""),
            Cause::UnknownOption => {
                lasting("rsync does not know an option", "correct `extra`, or install a newer rsync at the node")
            }
            Cause::Protocol => {
                lasting("the rsync versions do not understand each other", "install a newer rsync at the node")
            }
            Cause::SourceGone => passing("the source is not there", ""),
            Cause::TargetRefused => lasting(
                "the mirror cannot be entered",
                "the mirror must be a directory that this user may enter and write",
            ),
            Cause::Unwritable => lasting(
                "the mirror cannot be written",
                "make that directory there and give it to that user (mkdir -p, chown), or correct `rpath` or the node",
            ),
            Cause::AttributesRefused => lasting(
                "times, permissions or owners cannot be set at the node",
                "give what is there to that user (chown -R), or mount it for that user (uid=)",
            ),
            Cause::OptionRefused => lasting(
                "the node refuses an option",
                "remove `refuse options` from rsyncd.conf at the node, or correct `extra`",
            ),
            Cause::Timeout => passing("the node does not answer", ""),
            Cause::Killed => passing("rsync was killed", ""),
            Cause::Closed => passing("the connection to the node broke", ""),
            Cause::Partial => {
                passing("some paths failed", "look at the paths: permissions here and at the node are the usual reason")
            }
            Cause::Vanished => passing("some paths vanished while they were sent", ""),
            Cause::TooManyDeletions => {
                lasting("reconcile held", "if that is right, raise max_delete and reload (SIGHUP) or restart")
            }
            Cause::NotStarted => passing(
                "rsync cannot be started",
                "look at `rsync` in the configuration and at the limits of the daemon's processes",
            ),
            Cause::Unknown => passing("rsync failed", ""),
        }
    }

    /// The fault, in words for logs.
    pub fn words(self) -> &'static str {
        self.row().words
    }

    /// The admin's remedy; empty where it passes by itself.
    pub fn cure(self) -> &'static str {
        self.row().cure
    }

    /// Whether changes go on all the same: the node takes them, if not all that belongs to them.
    pub fn lets_changes_pass(self) -> bool {
        self == Cause::AttributesRefused
    }

    /// Whether it is about what the node stores: that it answers says nothing of it.
    pub fn is_about_storing(self) -> bool {
        matches!(
            self,
            Cause::TargetFull
                | Cause::TargetReadOnly
                | Cause::TargetRefused
                | Cause::Unwritable
                | Cause::AttributesRefused
        )
    }

    /// Whether it stays until a person does something, so that trying often is of no use.
    pub fn is_lasting(self) -> bool {
        self.row().is_lasting
    }
}
