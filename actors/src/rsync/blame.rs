//! Finds the paths that rsync's error output names, so that one bad path does not hold up the others of its batch.

use super::node::Node;
use super::output::unescape;
use crate::path::RelPath;

/// What an error output blames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// These paths; whatever else was listed is done.
    Paths(Vec<RelPath>),
    /// Some line could not be read, so any path may have failed.
    Anything,
}

impl Default for Blame {
    /// Nothing is blamed.
    fn default() -> Self {
        Blame::Paths(Vec::new())
    }
}

impl Blame {
    /// Blames what another run blames, too.
    pub fn add(&mut self, other: Blame) {
        match (&mut *self, other) {
            (Blame::Paths(paths), Blame::Paths(more)) => paths.extend(more),
            (_, Blame::Anything) => *self = Blame::Anything,
            (Blame::Anything, Blame::Paths(_)) => (),
        }
    }

    /// Whether this entry may have failed: it, or what is above or below it, is blamed.
    pub fn touches(&self, entry: &RelPath) -> bool {
        match self {
            Blame::Anything => true,
            Blame::Paths(bad) => {
                bad.iter().any(|bad| bad == entry || bad.is_below(entry) || entry.is_below(bad) && !bad.is_root())
            }
        }
    }

    /// Whether nothing is blamed.
    pub fn is_empty(&self) -> bool {
        *self == Blame::default()
    }
}

/// Reads an error output of a run that ended with code 23 or 24. `source` is the absolute path of the source.
pub fn blame(stderr: &[u8], source: &[u8], node: &Node) -> Blame {
    let mut paths = Vec::new();
    for line in stderr.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_start).filter(|line| is_complaint(line)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match named(line).and_then(|name| inside(&name, source, node.mirror_root())) {
            Some(path) => {
                // The receiver writes under another name first; a file may have such a name by itself.
                let at_sender = line.starts_with(b"rsync: [sender]") || line.windows(8).any(|word| word == b"vanished");
                paths.extend(without_temporary(&path).filter(|_| !at_sender));
                paths.push(path);
            }
            None => return Blame::Anything,
        }
    }
    if paths.is_empty() { Blame::Anything } else { Blame::Paths(paths) }
}

/// Whether the line is about a path: not the closing line with the code, and not what ssh says.
pub(super) fn is_complaint(line: &[u8]) -> bool {
    let about_path = [
        &b"rsync: "[..],
        b"file has vanished: ",
        b"directory has vanished: ",
        b"could not make way for ",
        b"filename overflows max-path len",
        b"ERROR: ",
    ];
    about_path.iter().any(|start| line.starts_with(start)) && !line.starts_with(b"rsync: warning")
}

/// The name in quotes; it may hold quotes itself, so the closing one is told by what follows.
fn named(line: &[u8]) -> Option<Vec<u8>> {
    let Some(start) = line.iter().position(|&b| b == b'"') else { return unquoted(line) };
    let rest = &line[start + 1..];
    let closes = |end: usize| {
        let after = &rest[end + 1..];
        let next = [&b" failed"[..], b": ", b" (in ", b" -> ", b") failed"];
        after.is_empty() || next.iter().any(|next| after.starts_with(next))
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

/// The path in the tree that an absolute name at the source or at the node stands for.
fn inside(name: &[u8], source: &[u8], mirror: &[u8]) -> Option<RelPath> {
    let below = |root: &[u8]| {
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let tail = name.strip_prefix(root)?;
        if tail.is_empty() { Some(tail) } else { tail.strip_prefix(b"/") }
    };
    let relative = if name.starts_with(b"/") { below(source).or_else(|| below(mirror))? } else { name };
    // The mirror itself is `.` inside of it.
    let relative =
        relative.strip_suffix(b".").filter(|rest| rest.is_empty() || rest.ends_with(b"/")).unwrap_or(relative);
    RelPath::new(relative.strip_suffix(b"/").unwrap_or(relative)).ok()
}

/// The receiver writes `name` as `.name.XXXXXX` first (rsync(1), `--temp-dir`).
pub(super) fn without_temporary(path: &RelPath) -> Option<RelPath> {
    let name = path.name();
    let parts = name.strip_prefix(b".").and_then(|rest| rest.split_last_chunk::<7>());
    match (parts, path.parent()) {
        (Some((stem, [b'.', suffix @ ..])), Some(dir))
            if !stem.is_empty() && suffix.iter().all(u8::is_ascii_alphanumeric) =>
        {
            use std::os::unix::ffi::OsStrExt;
            Some(dir.join(std::ffi::OsStr::from_bytes(stem)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blamed(stderr: &str) -> Option<Vec<String>> {
        let node = Node::parse("", "/mnt/mirror").unwrap();
        match blame(stderr.as_bytes(), b"/srv/www", &node) {
            Blame::Paths(paths) => Some(paths.iter().map(RelPath::to_string).collect()),
            Blame::Anything => None,
        }
    }

    #[test]
    fn paths_are_found_in_what_either_end_says() {
        for (line, path) in [
            (r#"rsync: [sender] send_files failed to open "/srv/www/d/f": Permission denied (13)"#, "d/f"),
            (r#"rsync: [sender] link_stat "/srv/www/a" failed: No such file or directory (2)"#, "a"),
            (r#"rsync: [generator] failed to set permissions on "/mnt/mirror/d": Operation not permitted (1)"#, "d"),
            (r#"rsync: [receiver] write failed on "/mnt/mirror/x"y": No space left on device (28)"#, "x\"y"),
            (
                r#"rsync: [sender] send_files failed to open "/srv/www/.env.secret": Permission denied (13)"#,
                ".env.secret",
            ),
            (r#"file has vanished: "/srv/www/.env.secret""#, ".env.secret"),
            (r#"file has vanished: "/srv/www/a\#012b""#, "a\\x0ab"),
            ("could not make way for new regular file: d/f", "d/f"),
            ("rsync: [generator] delete_file: rmdir(d(1)) failed: Device or resource busy (16)", "d(1)"),
            ("rsync: [generator] delete_file: unlink(f) failed: Operation not permitted (1)", "f"),
            (r#"rsync: [sender] readlink_stat("/srv/www/d") failed: Permission denied (13)"#, "d"),
            ("filename overflows max-path len by 3: d/f", "d/f"),
            (r#"directory has vanished: "/srv/www/d""#, "d"),
            (r#"rsync: [generator] failed to set times on "/mnt/mirror/.": Operation not permitted (1)"#, "."),
            (r#"rsync: [generator] failed to set times on "/mnt/mirror/d/.": Operation not permitted (1)"#, "d"),
            (r#"ERROR: daemon refused to receive file "d/f""#, "d/f"),
        ] {
            let stderr = format!("{line}\nrsync error: some files could not be transferred (code 23) at main.c(1)\n");
            assert_eq!(blamed(&stderr), Some(vec![path.to_string()]), "{line}");
        }
    }

    #[test]
    fn a_temporary_name_at_the_node_stands_for_itself_and_for_the_file() {
        for (stderr, names) in [
            (
                r#"rsync: [receiver] mkstemp "/mnt/mirror/d/.f.aBcDeF" failed: Permission denied (13)"#,
                ["d/f", "d/.f.aBcDeF"],
            ),
            (r#"rsync: [receiver] rename "/mnt/mirror/.f.aBcDeF" -> "f": Is a directory (21)"#, ["f", ".f.aBcDeF"]),
        ] {
            assert_eq!(blamed(stderr), Some(names.map(str::to_owned).to_vec()), "{stderr}");
        }
    }

    #[test]
    fn when_a_line_names_no_path_of_ours_any_may_have_failed() {
        for stderr in [
            "",
            "rsync error: code 23",
            "rsync: [sender] something else broke\n",
            "ERROR: something failed verification\n",
            "rsync: [receiver] \"/etc/x\": no",
        ] {
            assert_eq!(blamed(stderr), None, "{stderr}");
        }
    }
}
