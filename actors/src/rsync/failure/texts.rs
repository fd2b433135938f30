//! The table from what rsync, ssh and the shell wrote, and from rsync's exit code, to the cause.

use super::Cause;
use crate::rsync::run::Code;

/// Words that decide whatever the code is, the more telling first.
pub(super) const TEXTS: &[(&str, Cause)] = &[
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

pub(super) fn by_text(text: &str, code: Code) -> Option<Cause> {
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
pub(super) fn by_code(code: Code) -> Cause {
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
