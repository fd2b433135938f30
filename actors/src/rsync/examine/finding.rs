//! What a probe found out, and how it is read from what rsync says.

use crate::rsync::report::complaint;
use crate::transport::comparison::Rewritten;
use crate::transport::failure::Failure;

/// One fact that a probe found out about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing can be written.
    NotWritable {
        /// The directory that cannot be written.
        path: String,
        /// The user as whom the node writes.
        user: String,
        /// The node's own error message.
        said: String,
        /// `true` if it is on this machine.
        is_here: bool,
        /// `true` if it is the mirror itself.
        is_mirror: bool,
    },
    /// This is a symlink to something that is missing, where a directory is to be made.
    Dangling(String),
    /// The run failed in another way.
    Failed(Failure),
    /// It was written and cannot be removed.
    Stays(String, Failure),
    /// The node keeps no symlinks.
    NoLinks(String),
    /// The node rewrites symlinks.
    Rewritten(Rewritten),
    /// The node's own rsync excludes the probe, so the probe proves nothing.
    Excluded,
    /// rsync ended well and did not say that it sent the probe.
    NotSent,
    /// The node lets one connection in at a time.
    OneAtATime,
}

impl Finding {
    /// Tells if the node was not seen to take the probe.
    pub fn is_unproven(&self) -> bool {
        self.is_fault() || matches!(self, Finding::Excluded | Finding::NotSent)
    }

    /// Tells if it would keep the daemon from its work.
    pub fn is_fault(&self) -> bool {
        matches!(self, Finding::NotWritable { .. } | Finding::Dangling(_) | Finding::Failed(_) | Finding::Stays(..))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::NotWritable { path, user, said, is_here, is_mirror } => {
                let (at, there) = if *is_here { ("", "") } else { (" at the node", " there") };
                let what = if *is_mirror { "the mirror" } else { "the mirror cannot be made:" };
                let can = if *is_mirror { "cannot be written by" } else { "may not be written by" };
                let cure = if *is_mirror { "chown it" } else { "make the mirror and chown it" };
                write!(f, "{what} {path} {can} {user}{at}: {said}; {cure}{there}, or correct rpath")
            }
            Finding::Dangling(path) => write!(
                f,
                "the mirror cannot be made: {path} is a symlink that leads nowhere; make or mount what it points to, or \
                 correct rpath"
            ),
            Finding::Failed(failure) => write!(f, "{failure}"),
            Finding::Stays(name, failure) => {
                write!(
                    f,
                    "a probe could be written but not deleted, so removals will fail: {failure}; remove {name} there"
                )
            }
            Finding::NoLinks(said) => {
                write!(f, "symlinks cannot be made at the node: {said}; each symlink of the source will fail there")
            }
            Finding::Rewritten(rewritten) => write!(f, "{rewritten}; {}", Rewritten::CURE),
            Finding::NotSent => {
                f.write_str("not tried to write: rsync sent no probe, by an option in `extra` perhaps (a limit of size)")
            }
            Finding::OneAtATime => f.write_str(
                "the node let no second connection in, which the daemon has (standbys, lanes): raise `max connections` in \
                 rsyncd.conf there, or start rrsync with -no-lock",
            ),
            Finding::Excluded => f.write_str(
                "not tried to write: the node's rsync excludes the name of the probe (`exclude` in rsyncd.conf)",
            ),
        }
    }
}

/// Reads the number of directories that are missing down to the mirror: rsync says `created 2 directories for /a/b`.
pub(super) fn missing(line: &[u8]) -> Option<usize> {
    let (number, rest) = std::str::from_utf8(line).ok()?.strip_prefix("created ")?.split_once(' ')?;
    let is_it = rest.starts_with("directory for ") || rest.starts_with("directories for ");
    number.parse().ok().filter(|_| is_it)
}

/// The lines that tell of a single fault, without the one at the end that sums them up.
pub(super) fn complaints(stderr: &[u8]) -> Vec<&[u8]> {
    complaint::lines(stderr).filter(|line| !line.starts_with(b"rsync error: ")).collect()
}

pub(super) fn holds(line: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(line).contains(word)
}

/// Tells if the node's rsync daemon says that it excludes a name.
pub(crate) fn is_excluded(line: &[u8]) -> bool {
    holds(line, "daemon-excluded") || holds(line, "daemon refused")
}

pub(super) fn is_about_symlink(line: &[u8]) -> bool {
    complaint::words(line) == Some(b"symlink ")
}

/// The node's words, when it denied to make the file.
pub(super) fn denial(line: &[u8]) -> Option<&'static str> {
    let words = complaint::words(line)?;
    let makes = matches!(words, b"mkstemp " | b"mkdir " | b"recv_generator: mkdir " | b"open " | b"symlink ");
    let denials = ["Permission denied", "Operation not permitted"];
    denials.into_iter().find(|said| makes && holds(line, &format!("failed: {said} (")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_directories_are_missing() {
        for (line, expected) in [
            ("created 1 directory for /m", Some(1)),
            ("created 3 directories for /a/b/c", Some(3)),
            ("created directory /m", None),
            ("created 3 files for /m", None),
            ("cd+++++++++|60|0|./", None),
        ] {
            assert_eq!(missing(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn only_what_the_receiver_may_not_make_is_a_denial() {
        for (line, expected) in [
            ("rsync: [receiver] mkstemp \"/m/.f.MEc3xI\" failed: Permission denied (13)", Some("Permission denied")),
            (
                "rsync: [receiver] mkstemp \"/m/.f.MEc3xI\" failed: Operation not permitted (1)",
                Some("Operation not permitted"),
            ),
            ("rsync: [receiver] mkstemp \"/m/.f.MEc3xI\" failed: Read-only file system (30)", None),
            ("rsync: [generator] chown \"/m/.f\" failed: Operation not permitted (1)", None),
            ("rsync: [generator] chown \"/open mkdir \" failed: Operation not permitted (1)", None),
            ("rsync: mkstemp \"/m/.f.MEc3xI\" failed: Permission denied (13)", Some("Permission denied")),
            (
                "rsync: [generator] recv_generator: mkdir \"/m/d\" failed: Permission denied (13)",
                Some("Permission denied"),
            ),
            ("rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)", None),
        ] {
            assert_eq!(denial(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_mirror_that_may_not_be_written_is_told_with_its_user_and_cure() {
        let finding = |is_here, is_mirror| {
            let (path, user, said) = ("/srv/m".to_owned(), "www".to_owned(), "Permission denied".to_owned());
            Finding::NotWritable { path, user, said, is_here, is_mirror }.to_string()
        };
        let here = "the mirror /srv/m cannot be written by www: Permission denied; chown it, or correct rpath";
        assert_eq!(finding(true, true), here);
        let there = "the mirror /srv/m cannot be written by www at the node: Permission denied; chown it there, or correct rpath";
        assert_eq!(finding(false, true), there);
        let above = "the mirror cannot be made: /srv/m may not be written by www at the node: Permission denied; \
                     make the mirror and chown it there, or correct rpath";
        assert_eq!(finding(false, false), above);
    }
}
