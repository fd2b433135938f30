//! Paths inside the watched tree: relative and as raw bytes, so that no name is lost. Escaped only for people.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A path below `wpath`, as bytes, without a leading or trailing slash and without empty, `.` or `..` components. The
/// empty path is the root of the tree. Clones share the bytes.
///
/// Paths are ordered by their bytes, so everything below a path is one range: see [`RelPath::below`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<[u8]>);

/// The error for bytes that are no path inside a tree: absolute, or with an empty, `.` or `..` component, or a NUL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a plain relative path")]
pub struct NotInside(String);

impl RelPath {
    /// Returns the root of the tree.
    pub fn root() -> Self {
        RelPath(Arc::from([]))
    }

    /// Checks bytes that come from outside, and makes a path of them.
    ///
    /// # Errors
    /// [`NotInside`] when a component is empty, `.` or `..`, or holds a NUL byte.
    pub fn new(bytes: &[u8]) -> Result<Self, NotInside> {
        let plain = |c: &[u8]| !c.is_empty() && c != b"." && c != b".." && !c.contains(&0);
        if bytes.is_empty() || bytes.split(|&b| b == b'/').all(plain) {
            Ok(RelPath(Arc::from(bytes)))
        } else {
            Err(NotInside(Escaped(bytes).to_string()))
        }
    }

    /// Joins components, topmost first, each as the kernel reports it; no components make the root.
    pub(crate) fn of_names(names: &[&[u8]]) -> Self {
        debug_assert!(names.iter().all(|name| !name.is_empty() && !name.contains(&b'/')));
        RelPath(names.join(&b'/').into())
    }

    /// Returns the path of the entry `name` in this directory; `name` is one component, as the kernel reports it.
    pub fn join(&self, name: &OsStr) -> Self {
        let name = name.as_bytes();
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        if self.is_root() {
            return RelPath(Arc::from(name));
        }
        RelPath([&self.0, &b"/"[..], name].concat().into())
    }

    /// Tells if this is the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes, as rsync and the kernel expect them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// Returns the directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<RelPath> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(RelPath(Arc::from(&self.0[..end])))
    }

    /// Iterates over the directories between the root and this path, topmost first, without both ends.
    pub fn ancestors(&self) -> impl Iterator<Item = RelPath> + '_ {
        let slash = |(at, &byte): (usize, &u8)| (byte == b'/').then_some(at);
        self.0.iter().enumerate().filter_map(slash).map(|end| RelPath(Arc::from(&self.0[..end])))
    }

    /// Returns the number of components; 0 for the root.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { 1 + self.0.iter().filter(|&&b| b == b'/').count() }
    }

    /// Returns the first `depth` components, or the whole path if it has no more.
    pub(crate) fn prefix(&self, depth: usize) -> RelPath {
        if depth == 0 {
            return RelPath::root();
        }
        let mut slashes = self.0.iter().enumerate().filter(|&(_, &b)| b == b'/');
        slashes.nth(depth - 1).map_or_else(|| self.clone(), |(end, _)| RelPath(Arc::from(&self.0[..end])))
    }

    /// Tells if this path lies strictly below `dir`.
    pub fn is_below(&self, dir: &RelPath) -> bool {
        self.tail(dir).is_some_and(|tail| !tail.is_empty())
    }

    /// Replaces the leading `from` by `to`; `None` if this path is neither `from` nor below it.
    pub fn rebase(&self, from: &RelPath, to: &RelPath) -> Option<RelPath> {
        let tail = self.tail(from)?;
        Some(match (to.is_root(), tail.is_empty()) {
            (_, true) => to.clone(),
            (true, false) => RelPath(Arc::from(tail)),
            (false, false) => RelPath([&to.0, &b"/"[..], tail].concat().into()),
        })
    }

    /// Returns the range of keys strictly below this path in an ordered map, as start (inclusive) and end (exclusive).
    /// Not for the root, below which everything lies.
    pub(crate) fn below(&self) -> std::ops::Range<RelPath> {
        debug_assert!(!self.is_root());
        let bound = |last: u8| RelPath([&self.0, &[last][..]].concat().into());
        bound(b'/')..bound(b'/' + 1)
    }

    /// Returns the absolute path of this entry in the tree at `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        if self.is_root() { root.to_owned() } else { root.join(OsStr::from_bytes(&self.0)) }
    }

    /// Returns the part after `dir` and its slash; empty for `dir` itself, `None` for paths outside of `dir`.
    fn tail(&self, dir: &RelPath) -> Option<&[u8]> {
        let tail = self.0.strip_prefix(&*dir.0)?;
        if dir.is_root() || tail.is_empty() { Some(tail) } else { tail.strip_prefix(b"/") }
    }
}

/// Escapes the path like [`Escaped`], and shows the root as `.`.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { Escaped(&self.0).fmt(f) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Tells if a character must not be shown as it is, since it ends a line, controls a terminal, or changes the order in
/// which other characters are shown (the explicit formatting characters of Unicode's annex 9).
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shows bytes on one line of a log or terminal: [misleading](misleads) characters and invalid UTF-8 as `\xNN`, a
/// backslash doubled.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if misleads(c) => c.to_string().bytes().try_for_each(|b| write!(f, "\\x{b:02x}"))?,
                    c => f.write_char(c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

/// A text from the user that is shown with [misleading](misleads) characters escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// Returns the text as the user wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Shown(text.to_owned())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(misleads) { Escaped(self.0.as_bytes()).fmt(f) } else { f.write_str(&self.0) }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn only_plain_relative_paths_are_paths() {
        for good in ["", "a", "a/b", "...", ".a", "a\nb", "-a", " "] {
            assert!(RelPath::new(good.as_bytes()).is_ok(), "{good:?}");
        }
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b"] {
            assert!(RelPath::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn below_means_behind_a_slash() {
        assert!(rel("a/b").is_below(&rel("a")));
        assert!(rel("a/b").is_below(&RelPath::root()));
        assert!(!rel("a-b").is_below(&rel("a")));
        assert!(!rel("a").is_below(&rel("a")));
        let range = rel("a").below();
        for (path, inside) in
            [("a", false), ("a-", false), ("a/", false), ("a/b", true), ("a/\u{ff}", true), ("a0", false)]
        {
            let path = RelPath(Arc::from(path.as_bytes()));
            assert_eq!(range.contains(&path) && path.0.len() > 2, inside, "{path}");
        }
    }

    #[test]
    fn rebase_follows_a_moved_directory() {
        for (path, from, to, expected) in [
            ("a/b", "a", "c/d", Some("c/d/b")),
            ("a", "a", "c", Some("c")),
            ("ab", "a", "c", None),
            ("a/b", "a", "", Some("b")),
            ("a", "", "c", Some("c/a")),
        ] {
            assert_eq!(rel(path).rebase(&rel(from), &rel(to)), expected.map(rel), "{path} {from} {to}");
        }
    }

    #[test]
    fn components_are_counted_and_cut() {
        assert_eq!(rel("a/b/c").ancestors().collect::<Vec<_>>(), [rel("a"), rel("a/b")]);
        assert_eq!((rel("").depth(), rel("a").depth(), rel("a/b").depth()), (0, 1, 2));
        assert_eq!(
            (rel("a/b").prefix(1), rel("a/b").prefix(2), rel("a/b").prefix(9)),
            (rel("a"), rel("a/b"), rel("a/b"))
        );
        assert_eq!((rel("a/b").parent(), rel("a").parent(), rel("").parent()), (Some(rel("a")), Some(rel("")), None));
    }

    #[test]
    fn people_see_one_line_without_surprises() {
        assert_eq!(Escaped("a\u{202e}b\u{2028}c".as_bytes()).to_string(), "a\\xe2\\x80\\xaeb\\xe2\\x80\\xa8c");
        assert_eq!(Shown::from("a\u{2066}").to_string(), "a\\xe2\\x81\\xa6");
        assert_eq!(Escaped(b"a\nb\xff\\\xc3\xa9\x1b[0m").to_string(), "a\\x0ab\\xff\\\\é\\x1b[0m");
    }
}
