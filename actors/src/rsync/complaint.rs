//! Reads a line of rsync's error output that is about an entry: its name, at which end it failed, what was tried, and why
//! the kernel refused it.

use super::output::unescape;

/// Begins with these: not the closing line with the code, and not what ssh or a shell says.
const STARTS: &[&[u8]] = &[
    b"rsync: ",
    b"file has vanished: ",
    b"directory has vanished: ",
    b"could not make way for ",
    b"filename overflows max-path len",
    b"ERROR: ",
];

/// What follows a name in quotes, which may hold quotes itself.
const ENDS_OF_NAMES: &[&[u8]] = &[b" failed", b": ", b" (in ", b" -> ", b") failed"];

/// Calls that make an entry in a directory, and fail where that may not be written.
const MAKES: &[&[u8]] = &[b"mkstemp ", b"mkdir ", b"symlink ", b"mknod ", b"mkfifo "];

/// Calls that set what an entry has beside its content.
const SETS: &[&[u8]] = &[b"failed to set ", b"chown ", b"chgrp ", b"set_acl", b"setxattr("];

/// One line of the error output that is about an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The entry as rsync names it: absolute, or relative to the mirror. `None` if the line names none, or cannot be read.
    pub name: Option<Vec<u8>>,
    /// The end at which it failed, if the line tells.
    pub end: Option<End>,
    /// What was tried.
    pub act: Act,
    /// Why it failed.
    pub why: Why,
}

/// An end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The sender.
    Source,
    /// The receiver, or its generator.
    Node,
}

/// What was tried with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// To make it in its directory.
    Make,
    /// To delete it.
    Delete,
    /// To set its times, permissions, owner or other attributes.
    Attributes,
    /// Anything else.
    Other,
}

/// Why the kernel refused it, by the error number at the end of the line (errno(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// EPERM, EACCES.
    Denied,
    /// EROFS.
    ReadOnly,
    /// ENOSPC, EDQUOT.
    Full,
    /// ENOTSUP, ENOSYS, EINVAL: the file system has no such thing.
    Unsupported,
    /// Another one, or none is named.
    Other,
}

impl Complaint {
    /// Reads a line; `None` if it is about no entry.
    pub fn read(line: &[u8]) -> Option<Complaint> {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if !STARTS.iter().any(|start| line.starts_with(start)) || line.starts_with(b"rsync: warning") {
            return None;
        }
        // The name may hold any words: what was tried is said in front of it.
        let before = &line[..line.iter().position(|&byte| byte == b'"').unwrap_or(line.len())];
        let says = |words: &[&[u8]]| words.iter().any(|word| contains(before, word));
        let act = match () {
            () if contains(before, b"delete_file: ") => Act::Delete,
            () if says(MAKES) => Act::Make,
            () if says(SETS) => Act::Attributes,
            () => Act::Other,
        };
        let end = match () {
            () if contains(before, b"[sender]") || contains(before, b"vanished") => Some(End::Source),
            () if contains(before, b"[receiver]") || contains(before, b"[generator]") => Some(End::Node),
            () if act != Act::Other || !contains(before, b"rsync: ") => Some(End::Node),
            () => None,
        };
        Some(Complaint { name: named(line), end, act, why: why(line) })
    }

    /// All of an error output.
    pub fn all(stderr: &[u8]) -> impl Iterator<Item = Complaint> {
        stderr.split(|&byte| byte == b'\n').filter_map(Complaint::read)
    }
}

fn why(line: &[u8]) -> Why {
    let number = line.strip_suffix(b")").and_then(|line| {
        let open = line.iter().rposition(|&byte| byte == b'(')?;
        std::str::from_utf8(line.get(open + 1..)?).ok()?.parse::<u16>().ok()
    });
    match number {
        Some(1 | 13) => Why::Denied,
        Some(30) => Why::ReadOnly,
        Some(28 | 122) => Why::Full,
        Some(22 | 38 | 95) => Why::Unsupported,
        _ => Why::Other,
    }
}

/// The name in quotes; it may hold quotes itself, so the closing one is told by what follows.
fn named(line: &[u8]) -> Option<Vec<u8>> {
    let Some(start) = line.iter().position(|&b| b == b'"') else { return unquoted(line) };
    let rest = &line[start + 1..];
    let closes = |end: usize| {
        let after = &rest[end + 1..];
        after.is_empty() || ENDS_OF_NAMES.iter().any(|next| after.starts_with(next))
    };
    let end = rest.iter().enumerate().find(|&(at, &byte)| byte == b'"' && closes(at))?.0;
    Some(unescape(&rest[..end]))
}

/// The name in a message that does not quote it.
fn unquoted(line: &[u8]) -> Option<Vec<u8>> {
    let after = |needle: &[u8]| {
        let at = line.windows(needle.len()).position(|window| window == needle)?;
        Some(&line[at + needle.len()..])
    };
    // delete_file: rmdir(NAME) failed, delete_file: unlink(NAME) failed
    if let Some(call) = after(b"delete_file: ") {
        let (open, close) = (call.iter().position(|&b| b == b'(')?, call.windows(8).rposition(|w| w == b") failed")?);
        return call.get(open + 1..close).map(unescape);
    }
    let starts = [&b"could not make way for "[..], b"filename overflows max-path len"];
    starts.iter().find(|start| line.starts_with(start))?;
    after(b": ").map(unescape)
}

fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_tried_with_which_entry_and_why_it_failed() {
        let (source, node) = (Some(End::Source), Some(End::Node));
        for (line, name, end, act, why) in [
            (
                r#"rsync: [receiver] mkstemp "/m/.f.aBcDeF" failed: Permission denied (13)"#,
                "/m/.f.aBcDeF",
                node,
                Act::Make,
                Why::Denied,
            ),
            (
                r#"rsync: mkstemp "/m/.f.aBcDeF" failed: Permission denied (13)"#,
                "/m/.f.aBcDeF",
                node,
                Act::Make,
                Why::Denied,
            ),
            (
                r#"rsync: [generator] recv_generator: mkdir "/m/d" failed: No space left on device (28)"#,
                "/m/d",
                node,
                Act::Make,
                Why::Full,
            ),
            (
                r#"rsync: [generator] symlink "/m/l" -> "mkdir " failed: Permission denied (13)"#,
                "/m/l",
                node,
                Act::Make,
                Why::Denied,
            ),
            (
                r#"rsync: [generator] failed to set times on "/m/mkdir x": Operation not permitted (1)"#,
                "/m/mkdir x",
                node,
                Act::Attributes,
                Why::Denied,
            ),
            (
                r#"rsync: [receiver] failed to set permissions on "/m/f": Operation not supported (95)"#,
                "/m/f",
                node,
                Act::Attributes,
                Why::Unsupported,
            ),
            (
                r#"rsync: [generator] chown "/m/f" failed: Operation not permitted (1)"#,
                "/m/f",
                node,
                Act::Attributes,
                Why::Denied,
            ),
            (
                "rsync: [generator] delete_file: unlink(f) failed: Read-only file system (30)",
                "f",
                node,
                Act::Delete,
                Why::ReadOnly,
            ),
            (
                r#"rsync: [receiver] rename "/m/.f.aBcDeF" -> "f": Operation not permitted (1)"#,
                "/m/.f.aBcDeF",
                node,
                Act::Other,
                Why::Denied,
            ),
            (
                r#"rsync: [sender] send_files failed to open "/s/f": Permission denied (13)"#,
                "/s/f",
                source,
                Act::Other,
                Why::Denied,
            ),
            (
                r#"rsync: send_files failed to open "/s/f": Permission denied (13)"#,
                "/s/f",
                None,
                Act::Other,
                Why::Denied,
            ),
            (r#"file has vanished: "/s/f""#, "/s/f", source, Act::Other, Why::Other),
            ("could not make way for new regular file: d/f", "d/f", node, Act::Other, Why::Other),
        ] {
            let expected = Complaint { name: Some(name.into()), end, act, why };
            assert_eq!(Complaint::read(line.as_bytes()), Some(expected), "{line}");
        }
        for line in ["rsync error: some files (code 23)", "Permission denied (publickey).", "", "rsync: warning: x"] {
            assert_eq!(Complaint::read(line.as_bytes()), None, "{line}");
        }
    }
}
