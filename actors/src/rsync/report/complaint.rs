//! Reads a line of rsync's error output that is about an entry: its name, at which end it failed, what was tried, and why
//! the kernel refused it.

mod formats;

use crate::rsync::report::complaint::formats::{FORMATS, MessageForm, Quoting, UNMARKED};
use crate::rsync::report::output::unescape;

/// One line of the error output that is about an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The entry as rsync names it: absolute, or relative to the mirror. `None` if the line is of no form that is known.
    pub name: Option<Vec<u8>>,
    /// The end at which it failed, if the line tells.
    pub end: Option<End>,
    /// The call that failed.
    pub act: Act,
    /// The kernel's reason for the failure.
    pub why: Why,
}

/// An end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    /// The receiver, or its generator.
    Node,
}

/// A call about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// To make it in its directory.
    Make,
    Delete,
    /// To set its times, permissions, owner or other attributes.
    Attributes,
    Other,
}

/// The kernel's reason, by the error number at the end of the line (errno(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The error numbers EPERM and EACCES.
    Denied,
    ReadOnly,
    /// The error numbers ENOSPC and EDQUOT.
    Full,
    /// EFBIG: there is room, but not for a file of this size.
    TooLarge,
    /// ENOTSUP, ENOSYS, EINVAL, or for an attribute E2BIG, ERANGE: the file system has no such thing.
    Unsupported,
    /// Another one, or none is named.
    Other,
}

impl Complaint {
    /// Reads a line; `None` if it is about no entry: the closing line with the code, or what ssh or a shell says.
    pub(crate) fn read(line: &[u8]) -> Option<Complaint> {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        let Parts { end, format, name } = parts(line)?;
        let act = format.map_or(Act::Other, |format| format.act);
        let end = end.or(format.and_then(|format| format.end));
        // A name at the end may end as an error number does.
        let why = if name.is_some_and(|name| line.ends_with(name)) { Why::Other } else { why(line) };
        Some(Complaint { name: name.map(unescape), end, act, why })
    }

    /// All of an error output.
    pub(crate) fn all(stderr: &[u8]) -> impl Iterator<Item = Complaint> {
        lines(stderr).filter_map(Complaint::read)
    }
}

/// The lines of an error output that are not empty.
pub(crate) fn lines(stderr: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = stderr.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty())
}

/// The words in front of the name, in a line of a form that is known: `mkstemp `.
pub(crate) fn words(line: &[u8]) -> Option<&'static [u8]> {
    parts(line)?.format.map(|format| format.before)
}

/// The parts of a line that is about an entry.
struct Parts<'l> {
    /// The end that says so.
    end: Option<End>,
    /// `None` if its form is not known, or is none of the table.
    format: Option<&'static MessageForm>,
    name: Option<&'l [u8]>,
}

fn parts(line: &[u8]) -> Option<Parts<'_>> {
    let (text, end) = match line.strip_prefix(b"rsync: ") {
        Some(text) if text.starts_with(b"warning") => return None,
        Some(text) => said_by(text),
        None => (UNMARKED.iter().any(|start| line.starts_with(start)).then_some(line)?, None),
    };
    match FORMATS.iter().find_map(|format| Some((format.name(text)?, format))) {
        Some((name, format)) => Some(Parts { end, format: Some(format), name }),
        None => Some(Parts { end, format: None, name: odd(text)? }),
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
        Some(27) => Why::TooLarge,
        Some(7 | 22 | 34 | 38 | 95) => Why::Unsupported,
        _ => Why::Other,
    }
}

/// The text without its speaker, which 3.2.0 and newer write in front: `[sender]`, `[receiver]`, `[generator]`; and its end.
fn said_by(text: &[u8]) -> (&[u8], Option<End>) {
    let ends = [(&b"[sender] "[..], End::Source), (b"[receiver] ", End::Node), (b"[generator] ", End::Node)];
    let told = ends.into_iter().find_map(|(word, end)| Some((text.strip_prefix(word)?, Some(end))));
    // `[Receiver]` is a receiver that has not begun.
    told.or_else(|| Some((text.strip_prefix(b"[Receiver] ")?, Some(End::Node)))).unwrap_or((text, None))
}

/// The names in lines of which the words in front differ; `Some(None)` for a line of no known form.
fn odd(text: &[u8]) -> Option<Option<&[u8]>> {
    if text.starts_with(b"filename overflows max-path len ") {
        return Some(find(text, b": ").map(|at| &text[at + 2..]));
    }
    let checked = text.strip_prefix(b"ERROR: ").and_then(|text| {
        let end = rfind(text, b" failed verification -- ")?;
        Some(&text[..end])
    });
    Some(checked)
}

impl MessageForm {
    /// The name in a line of this form; `None` if it is of another.
    fn name<'a>(&self, text: &'a [u8]) -> Option<Option<&'a [u8]>> {
        let rest = text.strip_prefix(self.before)?;
        let rest = if self.style == Quoting::For { &rest[find(rest, b" for \"")? + 5..] } else { rest };
        if self.style == Quoting::Bare {
            let end = if self.behind.is_empty() { rest.len() } else { rfind(rest, self.behind)? };
            return Some(Some(&rest[..end]));
        }
        let quoted = rest.strip_prefix(b"\"")?;
        // The name may hold quotes itself: the closing one is told by what follows.
        let mut ends = quoted.iter().enumerate().filter(|&(_, &byte)| byte == b'"').map(|(at, _)| at);
        let closes = |&at: &usize| self.follows(&quoted[at + 1..]);
        let end = if self.style == Quoting::Pair { ends.find(closes) } else { ends.rfind(closes) };
        Some(Some(&quoted[..end?]))
    }

    /// Tells if this can stand behind the closing quote of the name.
    fn follows(&self, after: &[u8]) -> bool {
        let in_module = after.strip_prefix(b" (in ").and_then(|rest| Some(&rest[find(rest, b")")? + 1..]));
        let after = in_module.unwrap_or(after);
        match self.behind {
            [] => after.is_empty() || after.starts_with(b": "),
            behind => after.starts_with(behind),
        }
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

fn rfind(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).rposition(|window| window == word)
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
                source,
                Act::Other,
                Why::Denied,
            ),
            (r#"file has vanished: "/s/f""#, "/s/f", source, Act::Other, Why::Other),
            (
                r#"rsync: [receiver] write failed on "/m/x"y": File too large (27)"#,
                r#"/m/x"y"#,
                node,
                Act::Other,
                Why::TooLarge,
            ),
            (
                r#"rsync: [receiver] open "/m/f" failed: No such file or directory (2)"#,
                "/m/f",
                node,
                Act::Other,
                Why::Other,
            ),
            (r#"rsync: open "/m/f" failed: Permission denied (13)"#, "/m/f", node, Act::Other, Why::Denied),
            (r#"rsync: [receiver] open "/m/f": Permission denied (13)"#, "/m/f", node, Act::Other, Why::Denied),
            (r#"rsync: [generator] mkdir "/m/d" failed: File exists (17)"#, "/m/d", node, Act::Make, Why::Other),
            (
                r#"rsync: [receiver] mkstemp "/d/.f.aBcDeF" (in m) failed: Permission denied (13)"#,
                "/d/.f.aBcDeF",
                node,
                Act::Make,
                Why::Denied,
            ),
            (
                r#"rsync: [generator] symlink "/l" (in m) -> "x" failed: Permission denied (13)"#,
                "/l",
                node,
                Act::Make,
                Why::Denied,
            ),
            (
                r#"rsync: [receiver] rsync_xal_set: fsetxattr("/m/one","user.note") failed: Operation not supported (95)"#,
                "/m/one",
                node,
                Act::Attributes,
                Why::Unsupported,
            ),
            (
                r#"rsync: [receiver] rsync_xal_set: lsetxattr("/m/one","user.note") failed: No space left on device (28)"#,
                "/m/one",
                node,
                Act::Attributes,
                Why::Full,
            ),
            (
                "rsync: [receiver] set_acl: sys_acl_set_file(d/one, ACL_TYPE_ACCESS): Operation not supported (95)",
                "d/one",
                node,
                Act::Attributes,
                Why::Unsupported,
            ),
            (
                "rsync: [generator] set_acl: xacl_set(one, two, ACL_TYPE_DEFAULT): Operation not supported (95)",
                "one, two",
                node,
                Act::Attributes,
                Why::Unsupported,
            ),
            (
                r#"rsync: [receiver] rename failed for "/m/f" (from "/m/.f.aBcDeF"): Is a directory (21)"#,
                "/m/f",
                node,
                Act::Other,
                Why::Other,
            ),
            (
                r#"rsync: [receiver] failed to write xattr user.rsync.%stat for "/m/f": Operation not permitted (1)"#,
                "/m/f",
                node,
                Act::Attributes,
                Why::Denied,
            ),
            ("filename overflows max-path len by 3: d/f: x", "d/f: x", None, Act::Other, Why::Other),
            ("ERROR: d/f failed verification -- update discarded.", "d/f", None, Act::Other, Why::Other),
            (r#"ERROR: daemon refused to receive file "a.bak""#, "a.bak", node, Act::Other, Why::Other),
            ("could not make way for new regular file: d/f", "d/f", node, Act::Other, Why::Other),
            ("could not make way for new regular file: report (30)", "report (30)", node, Act::Other, Why::Other),
        ] {
            let expected = Complaint { name: Some(name.into()), end, act, why };
            assert_eq!(Complaint::read(line.as_bytes()), Some(expected), "{line}");
        }
        for line in ["rsync error: some files (code 23)", "Permission denied (publickey).", "", "rsync: warning: x"] {
            assert_eq!(Complaint::read(line.as_bytes()), None, "{line}");
        }
    }
}
