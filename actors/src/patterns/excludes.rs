//! The `rexcludes` patterns and what they match. Looks at names only: the caller says what is a directory (by lstat),
//! and [`rules`](crate::patterns::rules) tells rsync.

mod pattern;
mod unmatched;
mod warning;

use std::sync::Arc;

use crate::heartbeat;
use crate::path::RelPath;
use crate::patterns::excludes::pattern::Candidate;
pub use crate::patterns::excludes::pattern::Pattern;
pub(crate) use crate::patterns::excludes::pattern::PatternError;
pub(super) use crate::patterns::excludes::pattern::PatternSubject;
pub use crate::patterns::excludes::unmatched::unmatched;
pub use crate::patterns::excludes::warning::warning;

/// The patterns of a site. Clones share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Excludes(Arc<[Pattern]>);

/// A list of patterns with one that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {number}: {cause}")]
pub struct ExcludesError {
    /// Its place in the list, from 1.
    pub number: usize,
    /// The fault of the pattern.
    pub cause: PatternError,
}

impl Excludes {
    /// Checks the patterns as they are written in the configuration.
    ///
    /// # Errors
    /// [`ExcludesError`] for the first that [`Pattern::parse`] refuses.
    pub fn new(patterns: Vec<String>) -> Result<Excludes, ExcludesError> {
        let parse = |(at, text): (usize, &String)| {
            Pattern::parse(text).map_err(|cause| ExcludesError { number: at + 1, cause })
        };
        patterns.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Excludes)
    }

    /// Takes patterns that have been checked.
    pub fn from_patterns(patterns: Vec<Pattern>) -> Excludes {
        Excludes(patterns.into())
    }

    /// The same, and the file of a heartbeat, which no run over the tree sends or deletes.
    pub fn with_heartbeat(&self) -> Excludes {
        Excludes(self.0.iter().cloned().chain(Pattern::parse(heartbeat::PATTERN).ok()).collect())
    }

    /// The patterns, in the order they were given.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Tells if nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells if a verdict depends on more than a name, so that a moved directory must be judged again.
    pub(crate) fn has_anchored(&self) -> bool {
        self.0.iter().any(|pattern| pattern.subject() == PatternSubject::Path)
    }

    /// The first pattern that matches this very path, whatever is true of its ancestors. The root is never matched.
    pub fn matching(&self, path: &RelPath, is_dir: bool) -> Option<&Pattern> {
        if self.is_empty() || path.is_root() {
            return None;
        }
        let text = rooted(path);
        let start = text.rfind('/').map_or(0, |slash| slash + 1);
        self.first_match(Candidate { path: &text, name: &text[start..], is_dir })
    }

    /// The patterns for the entries of one directory.
    pub(crate) fn in_directory(&self, dir: &RelPath) -> ExcludesInDirectory<'_> {
        let mut text = if self.is_empty() { String::new() } else { rooted(dir) };
        if !self.is_empty() && !dir.is_root() {
            text.push('/');
        }
        ExcludesInDirectory { excludes: self, start: text.len(), text }
    }

    /// The point at which `path` is cut off: the topmost of it and its ancestors that a pattern matches, and that
    /// pattern. `is_dir` speaks of `path` itself; its ancestors are directories.
    pub fn deciding(&self, path: &RelPath, is_dir: bool) -> Option<(RelPath, &Pattern)> {
        if self.is_empty() || path.is_root() {
            return None;
        }
        let text = rooted(path);
        let mut start = 1;
        for depth in 1.. {
            let end = text[start..].find('/').map(|slash| start + slash);
            let cut = end.unwrap_or(text.len());
            let candidate = Candidate { path: &text[..cut], name: &text[start..cut], is_dir: is_dir || end.is_some() };
            if let Some(pattern) = self.first_match(candidate) {
                return Some((path.prefix(depth), pattern));
            }
            start = end? + 1;
        }
        None
    }

    /// Tells if `path` or an ancestor of it is excluded.
    pub fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        self.deciding(path, is_dir).is_some()
    }

    fn first_match(&self, candidate: Candidate<'_>) -> Option<&Pattern> {
        self.0.iter().find(|pattern| pattern.matches(candidate))
    }
}

/// The patterns for the entries of one directory: the text of its path is made once for all of them.
#[derive(Debug)]
pub(crate) struct ExcludesInDirectory<'e> {
    excludes: &'e Excludes,
    /// The path of the directory, and behind it the name that was looked at last.
    text: String,
    /// The place where names start.
    start: usize,
}

impl ExcludesInDirectory<'_> {
    /// As [`Excludes::matching`], for the entry of that name.
    pub(crate) fn matching(&mut self, name: &[u8], is_dir: bool) -> Option<&Pattern> {
        if self.excludes.is_empty() {
            return None;
        }
        self.text.truncate(self.start);
        self.text.extend(name.iter().map(|&byte| char::from(byte)));
        self.excludes.first_match(Candidate { path: &self.text, name: &self.text[self.start..], is_dir })
    }
}

/// The path with a `/` before it, as [`Candidate`] wants it.
fn rooted(path: &RelPath) -> String {
    let mut text = String::with_capacity(path.as_bytes().len() + 8);
    text.push('/');
    text.extend(path.as_bytes().iter().map(|&byte| char::from(byte)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(patterns: &[&str]) -> Excludes {
        Excludes::new(patterns.iter().map(|&text| text.to_owned()).collect()).unwrap()
    }

    fn rel(path: &[u8]) -> RelPath {
        RelPath::new(path).unwrap()
    }

    const DIR: bool = true;
    const FILE: bool = false;

    #[test]
    fn a_pattern_without_a_slash_is_the_name_of_any_component() {
        for (pattern, path, expected) in [
            ("*.bin", "a.bin", true),
            ("*.bin", "d/a.bin", true),
            ("*.bin", "a.bin/x", true),
            ("*.bin", "a.bin2", false),
            ("*.bin", ".bin", true),
            ("b", "a/b/c", true),
            ("b", "ab", false),
            ("b", "B", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a?c", "a/c", false),
            ("a*c", "a/c", false),
            ("a**c", "abbc", true),
            ("*", "x", true),
        ] {
            assert_eq!(excludes(&[pattern]).excludes(&rel(path.as_bytes()), FILE), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_with_a_slash_is_compared_with_the_path_from_the_top() {
        for (pattern, path, expected) in [
            ("/a", "a", true),
            ("/a", "b/a", false),
            ("/a", "a/b", true),
            ("/a/*.log", "a/x.log", true),
            ("/a/*.log", "a/b/c/x.log", true),
            ("/a/*.log", "b/a/x.log", false),
            ("*/cache", "cache", true),
            ("*/cache", "x/y/cache", true),
            ("*/cache", "x/mycache", false),
            ("*a/b", "xa/b", true),
            ("/a?b", "a/b", true),
            ("/a?b", "a/c", false),
            ("/*", "x", true),
            ("/a*/b", "a/b", true),
            ("/a*/b", "ax/y/b", true),
        ] {
            assert_eq!(excludes(&[pattern]).excludes(&rel(path.as_bytes()), FILE), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_trailing_slash_means_directories_only() {
        for (pattern, path, is_dir, expected) in [
            ("tmp/", "tmp", DIR, true),
            ("tmp/", "tmp", FILE, false),
            ("tmp/", "tmp/x", FILE, true),
            ("tmp/", "a/tmp/x", FILE, true),
            ("/a/tmp/", "a/tmp", FILE, false),
            ("/a/tmp/", "a/tmp", DIR, true),
            ("*/", "x", FILE, false),
            ("*/", "x/y", FILE, true),
        ] {
            let verdict = excludes(&[pattern]).excludes(&rel(path.as_bytes()), is_dir);
            assert_eq!(verdict, expected, "{pattern} {path} {is_dir}");
        }
    }

    #[test]
    fn names_are_bytes_and_only_two_of_them_are_wild() {
        for (pattern, path, expected) in [
            ("a?", &b"a\xff"[..], true),
            ("a?b", "aéb".as_bytes(), false),
            ("a??b", "aéb".as_bytes(), true),
            ("é*", "é\u{e9}".as_bytes(), true),
            ("é", b"\xe9", false),
            ("*\n*", b"x\ny", true),
            ("[ab]", b"a", false),
            ("[ab]", b"[ab]", true),
            ("\\*", b"\\x", true),
            ("\\*", b"*", false),
            ("#x", b"#x", true),
            (" x ", b"x", false),
            ("{a,b}", b"a", false),
            ("*.bin", b"\xff\xfe.bin", true),
        ] {
            assert_eq!(excludes(&[pattern]).excludes(&rel(path), FILE), expected, "{pattern} {}", rel(path));
        }
    }

    #[test]
    fn the_topmost_excluded_ancestor_decides() {
        let excludes = excludes(&["*.bin", "/a/b/", "a"]);
        for (path, expected) in [
            ("x/a/y/z.bin", Some(("x/a", "a"))),
            ("x/y/z.bin", Some(("x/y/z.bin", "*.bin"))),
            ("x/y.bin/z.bin", Some(("x/y.bin", "*.bin"))),
            ("x/y", None),
            ("", None),
        ] {
            let decided = excludes.deciding(&rel(path.as_bytes()), FILE);
            let decided = decided.map(|(cut, pattern)| (cut, pattern.as_str()));
            assert_eq!(decided, expected.map(|(cut, pattern)| (rel(cut.as_bytes()), pattern)), "{path}");
        }
    }

    #[test]
    fn matching_looks_at_this_path_alone() {
        let excludes = excludes(&["/a", "*.bin", "c/", "/b/\u{e9}"]);
        for (path, is_dir, expected) in [
            ("a", DIR, Some("/a")),
            ("b/a", DIR, None),
            ("b/\u{e9}", FILE, Some("/b/\u{e9}")),
            ("\u{e9}", FILE, None),
            ("a/x", FILE, None),
            ("a/x.bin", FILE, Some("*.bin")),
            ("b/c", DIR, Some("c/")),
            ("b/c", FILE, None),
            ("", DIR, None),
        ] {
            let path = rel(path.as_bytes());
            assert_eq!(excludes.matching(&path, is_dir).map(Pattern::as_str), expected, "{path}");
            if let Some(parent) = path.parent() {
                let mut in_parent = excludes.in_directory(&parent);
                in_parent.matching("another".as_bytes(), is_dir);
                assert_eq!(in_parent.matching(path.name(), is_dir).map(Pattern::as_str), expected, "{path}");
            }
        }
    }

    #[test]
    fn the_root_is_never_excluded() {
        let excludes = excludes(&["*", "/*", "*/"]);
        assert!(!excludes.excludes(&RelPath::root(), DIR));
        assert!(excludes.matching(&RelPath::root(), DIR).is_none());
    }

    #[test]
    fn a_pattern_is_anchored_if_its_path_counts() {
        for (pattern, anchored) in [("a", false), ("a/", false), ("*.bin", false), ("/a", true), ("*/a/", true)] {
            assert_eq!(excludes(&["x", pattern]).has_anchored(), anchored, "{pattern}");
        }
        assert!(!Excludes::default().has_anchored() && Excludes::default().is_empty());
    }

    #[test]
    fn a_refused_pattern_is_named_with_its_place_in_the_list() {
        let error = Excludes::new(vec!["a".into(), "/".into()]).unwrap_err();
        assert!(error.to_string().starts_with("pattern 2: `/` stands for"), "{error}");
    }
}
