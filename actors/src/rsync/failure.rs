//! What an unsuccessful rsync run means: its cause, its cure, and whether trying again soon can help.
//! Decided by what rsync and ssh wrote first and by the exit code second: for one cause several codes race.

use std::fmt;
use std::io;
use std::path::Path;

use super::blame::is_complaint;
use super::run::{Code, Finished, MORE_WAS_SAID};
use crate::path::Escaped;
use crate::root::RootError;

/// Why a node could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub cause: Cause,
    /// What rsync said, on one line.
    pub said: String,
}

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

impl Cause {
    /// What is wrong, in words for logs.
    pub fn words(self) -> &'static str {
        match self {
            Cause::TargetFull => "the node is full",
            Cause::TargetReadOnly => "the node is read-only",
            Cause::Authentication => "the node refuses the login",
            Cause::HostKey => "the node's host key is not known",
            Cause::Unreachable => "the node cannot be reached",
            Cause::NoRemoteRsync => "the node has no rsync",
            Cause::NoModule => "the node's rsync daemon has no such module",
            Cause::Busy => "the node's rsync daemon has no free connection",
            Cause::Refused => "the node's rsync daemon refuses the session",
            Cause::NoisyShell => "the node's login shell prints something",
            Cause::NoRemoteShell => "the remote shell program cannot be run",
            Cause::NoParent => "a directory above the mirror is missing",
            Cause::RejectsMissing => "the node's rsync rejects deletions",
            Cause::UnknownOption => "rsync does not know an option",
            Cause::Protocol => "the rsync versions do not understand each other",
            Cause::SourceGone => "the source is not there",
            Cause::TargetRefused => "the mirror cannot be entered",
            Cause::OptionRefused => "the node refuses an option",
            Cause::Timeout => "the node does not answer",
            Cause::Killed => "rsync was killed",
            Cause::Closed => "the connection to the node broke",
            Cause::Partial => "some paths failed",
            Cause::Vanished => "some paths vanished while they were sent",
            Cause::TooManyDeletions => "reconcile held",
            Cause::NotStarted => "rsync cannot be started",
            Cause::Unknown => "rsync failed",
        }
    }

    /// What the admin can do; empty where it passes by itself.
    pub fn cure(self) -> &'static str {
        match self {
            Cause::TargetFull => "make room at the node, or exclude what need not be there",
            Cause::TargetReadOnly => "remount it writable, or set `read only = no` for the module",
            Cause::Authentication => {
                "install this user's ssh key there; for an rsync daemon give --password-file in `extra`"
            }
            Cause::HostKey => "log in once by hand as this user: ssh asks to accept the key",
            Cause::NoRemoteRsync => "install rsync at the node, or give --rsync-path in `extra`",
            Cause::NoModule => "name a module that rsyncd.conf at the node has",
            Cause::Busy => "raise `max connections` in rsyncd.conf at the node",
            Cause::Refused => {
                "look at its log; with --rsh in `extra` an rsync daemon is reached through that shell, as rsync itself does"
            }
            Cause::NoisyShell => "let the login scripts print only for interactive shells",
            Cause::NoRemoteShell => "install ssh, or correct --rsh in `extra`",
            Cause::NoParent => "make that directory at the node by hand: one of the two rsyncs is too old for --mkpath",
            Cause::UnknownOption => "correct `extra`, or install a newer rsync at the node",
            Cause::Protocol => "install a newer rsync at the node",
            Cause::TargetRefused => "the mirror must be a directory that this user may enter and write",
            Cause::OptionRefused => "remove `refuse options` from rsyncd.conf at the node, or correct `extra`",
            Cause::Partial => "look at the paths: permissions here and at the node are the usual reason",
            Cause::TooManyDeletions => "if that is right, raise max_delete and reload (SIGHUP) or restart",
            Cause::NotStarted => "look at `rsync` in the configuration and at the limits of the daemon's processes",
            Cause::Unreachable
            | Cause::RejectsMissing
            | Cause::SourceGone
            | Cause::Timeout
            | Cause::Killed
            | Cause::Closed
            | Cause::Vanished
            | Cause::Unknown => "",
        }
    }

    /// Whether it stays until a person does something, so that trying often is of no use.
    pub fn is_lasting(self) -> bool {
        matches!(
            self,
            Cause::Authentication
                | Cause::HostKey
                | Cause::NoRemoteRsync
                | Cause::NoModule
                | Cause::Refused
                | Cause::NoisyShell
                | Cause::NoRemoteShell
                | Cause::NoParent
                | Cause::UnknownOption
                | Cause::Protocol
                | Cause::TargetRefused
                | Cause::OptionRefused
                | Cause::TooManyDeletions
        )
    }
}

impl Failure {
    /// What a finished run means; `None` if it was a success.
    pub fn of(finished: &Finished) -> Option<Failure> {
        if finished.code == Code::Exit(0) {
            return None;
        }
        let text = String::from_utf8_lossy(&finished.stderr);
        let cause = by_text(&text, finished.code).unwrap_or_else(|| by_code(finished.code));
        Some(Failure { cause, said: said(&finished.stderr, finished.code) })
    }

    /// Whether the node itself is the reason, and not some of its paths: nothing else is said in the error output of the
    /// run that failed so.
    pub fn is_of_node(&self, stderr: &[u8]) -> bool {
        if !matches!(self.cause, Cause::TargetReadOnly | Cause::TargetFull) {
            return false;
        }
        let mut complaints = stderr.split(|&b| b == b'\n').filter(|line| is_complaint(line));
        complaints.all(|line| {
            let text = String::from_utf8_lossy(line);
            let says = |(needle, cause): &(&str, Cause)| *cause == self.cause && text.contains(needle);
            MORE_WAS_SAID.trim_ascii() == line || TEXTS.iter().any(says)
        })
    }

    /// The source is not the one that the daemon started with.
    pub fn source_gone(why: RootError) -> Failure {
        Failure { cause: Cause::SourceGone, said: why.to_string() }
    }

    /// A reconcile would delete `count` entries, of which the first are named, and `most` are allowed.
    pub fn too_many_deletions(count: u64, most: u64, first: &[String]) -> Failure {
        let (count, most, first) = (grouped(count), grouped(most), first.join(", "));
        let said = format!("it would delete {count} entries, more than max_delete ({most}): {first}, ...");
        Failure { cause: Cause::TooManyDeletions, said }
    }

    /// The directory that a run was to work in is not to be had.
    pub fn not_staged(error: &io::Error) -> Failure {
        Failure { cause: Cause::Vanished, said: error.to_string() }
    }

    /// rsync could not even be started.
    pub fn not_started(program: &Path, error: &io::Error) -> Failure {
        Failure { cause: Cause::NotStarted, said: format!("{}: {error}", program.display()) }
    }
}

/// Cause, rsync's words and cure on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.words(), self.said)?;
        if self.cause.cure().is_empty() { Ok(()) } else { write!(f, "; {}", self.cause.cure()) }
    }
}

impl std::error::Error for Failure {}

/// Words that decide whatever the code is, the more telling first.
const TEXTS: &[(&str, Cause)] = &[
    ("invalid file mode 00", Cause::RejectsMissing),
    ("Host key verification failed", Cause::HostKey),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Cause::HostKey),
    ("@ERROR: auth failed", Cause::Authentication),
    ("@ERROR: Unknown module", Cause::NoModule),
    ("@ERROR: max connections", Cause::Busy),
    ("Too many authentication failures", Cause::Authentication),
    ("Could not resolve hostname", Cause::Unreachable),
    ("failed to connect to", Cause::Unreachable),
    ("getaddrinfo", Cause::Unreachable),
    ("Connection refused", Cause::Unreachable),
    ("No route to host", Cause::Unreachable),
    ("Network is unreachable", Cause::Unreachable),
    ("Connection timed out", Cause::Unreachable),
    ("the node speaks protocol", Cause::Protocol),
    ("is your shell clean", Cause::NoisyShell),
    ("unknown option", Cause::UnknownOption),
    ("The server is configured to refuse", Cause::OptionRefused),
    ("protocol version mismatch", Cause::Protocol),
    ("due to invalid path from sender", Cause::Vanished),
    ("module is read only", Cause::TargetReadOnly),
    ("No space left on device", Cause::TargetFull),
    ("Disk quota exceeded", Cause::TargetFull),
    ("Read-only file system", Cause::TargetReadOnly),
    ("io timeout", Cause::Timeout),
];

fn by_text(text: &str, code: Code) -> Option<Cause> {
    let found = TEXTS.iter().find(|(needle, _)| text.contains(needle)).map(|(_, cause)| *cause);
    if found.is_some() {
        return found;
    }
    let lines = |needles: &[&str]| text.lines().any(|line| needles.iter().all(|needle| line.contains(needle)));
    // What a remote shell says. rsync itself ends such words with the errno, and its lines may be torn by another process.
    let shell_lacks = |line: &str| {
        let words = [": not found", ": No such file or directory", ": command not found", ": Command not found."];
        line.contains("rsync") && (words.iter().any(|end| line.ends_with(end)) || line.contains("command not found: "))
    };
    // ssh lists the methods in the brackets, rsync the errno.
    let methods = |line: &str| line.contains("Permission denied (") && !line.contains("Permission denied (13)");
    match code {
        _ if text.lines().any(methods) => Some(Cause::Authentication),
        Code::Exit(12 | 127 | 255) if text.lines().any(shell_lacks) => Some(Cause::NoRemoteRsync),
        Code::Exit(11) if lines(&["mkdir", "No such file or directory"]) => Some(Cause::NoParent),
        Code::Exit(3 | 23) if lines(&["change_dir", "[sender]"]) || lines(&["getcwd()"]) => Some(Cause::SourceGone),
        _ => None,
    }
}

/// rsync(1), EXIT VALUES.
fn by_code(code: Code) -> Cause {
    match code {
        Code::Exit(1) => Cause::UnknownOption,
        // Without a word about the protocol: the receiver gave up on a list that no longer fits what is on disk.
        Code::Exit(2) => Cause::Vanished,
        Code::Exit(3) => Cause::TargetRefused,
        Code::Exit(4) => Cause::OptionRefused,
        Code::Exit(5) => Cause::Refused,
        Code::Exit(10 | 12 | 255) => Cause::Closed,
        Code::Exit(14) => Cause::NoRemoteShell,
        Code::Exit(16 | 19 | 20 | 137 | 143) | Code::Signal(_) => Cause::Killed,
        Code::Exit(23) => Cause::Partial,
        Code::Exit(24) => Cause::Vanished,
        Code::Exit(25) => Cause::TooManyDeletions,
        Code::Exit(30 | 35) => Cause::Timeout,
        Code::Exit(127) => Cause::NoRemoteRsync,
        Code::Exit(_) => Cause::Unknown,
    }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let starts_group = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    let group = |(at, digit)| starts_group(at).then_some(',').into_iter().chain([digit]);
    digits.chars().enumerate().flat_map(group).collect()
}

/// The most telling line of what was said: the first, since later ones are mostly its consequences.
fn said(stderr: &[u8], code: Code) -> String {
    let line = stderr.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    let end = match code {
        Code::Exit(code) => format!("rsync exit code {code}"),
        Code::Signal(signal) => format!("rsync ended by signal {signal}"),
    };
    line.map_or_else(|| end.clone(), |line| format!("{} ({end})", Escaped(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_decides_before_the_code() {
        for (code, stderr, cause) in [
            (2, "invalid file mode 00 for d/x [Receiver]\n", Cause::RejectsMissing),
            (12, "invalid file mode 00 for d/x [Receiver]\n", Cause::RejectsMissing),
            (255, "root@h: Permission denied (publickey).\n", Cause::Authentication),
            (12, "ssh: connect to host h port 22: Connection refused\n", Cause::Unreachable),
            (12, "bash: line 1: rsync: command not found\n", Cause::NoRemoteRsync),
            (127, "sh: 1: /opt/rsync: not found\n", Cause::NoRemoteRsync),
            (5, "@ERROR: Unknown module 'x'\n", Cause::NoModule),
            (5, "@ERROR: max connections (4) reached -- try again later\n", Cause::Busy),
            (5, "@ERROR: auth failed on module x\n", Cause::Authentication),
            (2, "protocol version mismatch -- is your shell clean?\n", Cause::NoisyShell),
            (2, "the node speaks protocol 19\nprotocol version mismatch -- is your shell clean?\n", Cause::Protocol),
            (11, "rsync: [receiver] write failed on \"/m/f\": No space left on device (28)\n", Cause::TargetFull),
            (
                23,
                "rsync: [receiver] mkstemp \"/m/.f.aBcDeF\" failed: Read-only file system (30)\n",
                Cause::TargetReadOnly,
            ),
            (11, "rsync: [Receiver] mkdir \"/x/y\" failed: No such file or directory (2)\n", Cause::NoParent),
            (23, "rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)\n", Cause::Partial),
            (12, "rsync: [sender] link_stat \"/s/rsync\" failed: No such file or directory (2)\n", Cause::Closed),
            (12, "] link_stat \"/s/a\" failed: No such file or directory (2)\nrsync: [sen", Cause::Closed),
            (127, "zsh:1: command not found: rsync\n", Cause::NoRemoteRsync),
            (127, "bash: line 1: /opt/rsync: No such file or directory\n", Cause::NoRemoteRsync),
            (12, "directory has vanished: \"/s/rsync\" not found\n", Cause::Closed),
            (2, "ABORTING due to invalid path from sender: d/x\n", Cause::Vanished),
            (3, "rsync: [Receiver] getcwd(): No such file or directory (2)\n", Cause::SourceGone),
            (24, "file has vanished: \"/s/f\"\n", Cause::Vanished),
            (10, "", Cause::Closed),
            (99, "", Cause::Unknown),
        ] {
            let finished = Finished { code: Code::Exit(code), stderr: stderr.into() };
            assert_eq!(Failure::of(&finished).map(|failure| failure.cause), Some(cause), "{code} {stderr}");
        }
        let killed = Finished { code: Code::Signal(9), stderr: vec![] };
        assert_eq!(Failure::of(&killed).map(|failure| failure.cause), Some(Cause::Killed));
        assert_eq!(Failure::of(&Finished { code: Code::Exit(0), stderr: vec![] }), None);
    }

    #[test]
    fn a_reconcile_that_would_delete_too_much_says_how_much_and_how_to_release_it() {
        let names = ["a".to_owned(), "b/c".to_owned()];
        for (count, most, words) in [
            (1_234, 100, "1,234 entries, more than max_delete (100): a, b/c, ..."),
            (1_234_567, 1_000, "1,234,567 entries, more than max_delete (1,000)"),
            (3, 0, "3 entries, more than max_delete (0)"),
        ] {
            let said = Failure::too_many_deletions(count, most, &names).to_string();
            assert!(said.starts_with(&format!("reconcile held: it would delete {words}")), "{said}");
            assert!(said.ends_with("raise max_delete and reload (SIGHUP) or restart"), "{said}");
        }
        let finished = Finished { code: Code::Exit(25), stderr: vec![] };
        assert_eq!(Failure::of(&finished).map(|failure| failure.cause), Some(Cause::TooManyDeletions));
    }

    #[test]
    fn a_node_is_read_only_when_nothing_else_is_said() {
        let one = "rsync: [receiver] mkstemp \"/m/.f.aBcDeF\" failed: Read-only file system (30)\n";
        let end = "rsync error: some files/attrs were not transferred (code 23) at main.c(1338)\n";
        let other = "rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)\n";
        for (stderr, expected) in [
            ([one, one, end].concat(), true),
            ([one, other, end].concat(), false),
            ([other, end].concat(), false),
            ([one, "\nrsync: more was said than is kept\n"].concat(), true),
        ] {
            let failure = Failure::of(&Finished { code: Code::Exit(23), stderr: stderr.clone().into() }).unwrap();
            assert_eq!(failure.is_of_node(stderr.as_bytes()), expected, "{stderr}");
        }
    }

    #[test]
    fn a_failure_reads_as_cause_words_and_cure() {
        let stderr = b"\nrsync: write failed on \"/m/\x1bf\": No space left on device (28)\n";
        let failure = Failure::of(&Finished { code: Code::Exit(11), stderr: stderr.to_vec() }).unwrap();
        assert_eq!(
            failure.to_string(),
            "the node is full: rsync: write failed on \"/m/\\x1bf\": No space left on device (28) (rsync exit code 11); \
             make room at the node, or exclude what need not be there"
        );
    }
}
