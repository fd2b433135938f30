//! The faults that a script brings about, by name, and which of them exclude each other. How each is done is in
//! [`ground`](crate::ground).

use std::fmt;

/// Something that goes wrong, at a moment or for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An rsync or ssh process of the daemon, or its far side on this machine, is killed.
    Kill,
    /// The daemon is stopped, until the kernel's event queue has overflowed.
    Stop,
    /// The daemon is killed, and started again.
    Crash,
    /// The daemon is told to end, and started again.
    Term,
    /// The sshd is down.
    Sshd,
    /// The rsync daemon is down.
    Rsyncd,
    /// The file system of the local mirror is read-only.
    ReadOnly,
    /// The file system of the local mirror is full.
    Full,
    /// An entry of the ssh node's mirror cannot be changed (`chattr +i`).
    Immutable,
    /// The rsync of the ssh node is one that rejects the deletion of missing arguments.
    Receiver,
}

pub const ALL: [Fault; 10] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Crash,
    Fault::Term,
    Fault::Sshd,
    Fault::Rsyncd,
    Fault::ReadOnly,
    Fault::Full,
    Fault::Immutable,
    Fault::Receiver,
];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Stop => "stop",
            Fault::Crash => "crash",
            Fault::Term => "term",
            Fault::Sshd => "sshd",
            Fault::Rsyncd => "rsyncd",
            Fault::ReadOnly => "readonly",
            Fault::Full => "full",
            Fault::Immutable => "immutable",
            Fault::Receiver => "receiver",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// Faults of one group are never there at once: they would undo each other.
    pub fn group(self) -> u8 {
        match self {
            Fault::Kill => 0,
            Fault::Stop | Fault::Crash | Fault::Term => 1,
            Fault::ReadOnly | Fault::Full => 2,
            Fault::Sshd | Fault::Immutable | Fault::Receiver => 3,
            Fault::Rsyncd => 4,
        }
    }

    /// Whether it has no end.
    pub fn is_a_moment(self) -> bool {
        self == Fault::Kill
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
