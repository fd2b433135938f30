//! The `rexcludes` patterns and what they match.
//! Looks at names only: the caller says what is a directory (by lstat), and [`rules`](super::rules) tells rsync.

use std::fmt;
use std::sync::Arc;

use wildmatch::WildMatch;

use crate::path::{Escaped, RelPath};

/// Each `?` of a pattern with a `/` inside doubles its rsync rules; 64 of them are enough.
pub const MAX_QUESTION_MARKS: usize = 6;

/// In bytes. Translation at most doubles a pattern and adds 6, and rsync drops a rule of 4096 bytes or more.
pub const MAX_PATTERN: usize = 2000;

/// One exclude pattern, checked.
///
/// `*` and `?` are the only wildcards, and both match a `/`; `[` and `\` stand for themselves. One `?` is one byte.
#[derive(Clone, PartialEq)]
pub struct Pattern {
    text: String,
    /// The text without a trailing slash, runs of `*` collapsed. Has a `/` if and only if `subject` is the path.
    body: String,
    subject: Subject,
    directories_only: bool,
    /// `body`, each byte as one char.
    wild: WildMatch,
}

/// What a pattern is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The last component of a path.
    Name,
    /// The whole path, with a `/` before it.
    Path,
}

/// A pattern that is refused because it could not do what its author means. Says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing to match.
    #[error("an empty pattern matches nothing: remove it")]
    Empty,
    /// Nothing but slashes.
    #[error("`{0}` stands for the whole tree, which cannot be excluded: remove it, or write `*` for everything in it")]
    OnlySlashes(String),
    /// No name and no argument can hold this byte.
    #[error("`{0}` has a NUL byte, which no file name has: remove it")]
    Nul(String),
    /// Longer than [`MAX_PATTERN`].
    #[error("`{start}...` has {length} bytes, over the limit of {MAX_PATTERN}: shorten it with `*`")]
    TooLong {
        /// Its first characters.
        start: String,
        /// In bytes.
        length: usize,
    },
    /// No path has an empty component.
    #[error("`{0}` has `//`, which no path has: write a single `/`")]
    EmptyComponent(String),
    /// No path has such a component.
    #[error("`{0}` has the component `{1}`, which no path has: write the path without it")]
    DotComponent(String, &'static str),
    /// A `/` inside, but not anchored at the top of the tree or free to begin anywhere.
    #[error("`{0}` has a `/` inside but does not say where it begins: write `/{0}` (in wpath) or `*/{0}` (anywhere)")]
    Unanchored(String),
    /// More than [`MAX_QUESTION_MARKS`] with a `/` inside.
    #[error("`{0}` has a `/` and more than {MAX_QUESTION_MARKS} `?`: write `*` for some of them")]
    TooManyQuestionMarks(String),
}

impl Pattern {
    /// Checks a pattern as it is written in the configuration. A newline or blank is part of the name it stands for.
    ///
    /// # Errors
    /// [`PatternError`] for a pattern that can never match or that rsync cannot be told exactly.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let shown = || Escaped(text.as_bytes()).to_string();
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            let start: String = text.chars().take(20).collect();
            return Err(PatternError::TooLong { start: Escaped(start.as_bytes()).to_string(), length: text.len() });
        }
        if text.contains('\0') {
            return Err(PatternError::Nul(shown()));
        }
        if text.bytes().all(|b| b == b'/') {
            return Err(PatternError::OnlySlashes(shown()));
        }
        if text.contains("//") {
            return Err(PatternError::EmptyComponent(shown()));
        }
        for dots in [".", ".."] {
            if text.split('/').any(|component| component == dots) {
                return Err(PatternError::DotComponent(shown(), dots));
            }
        }
        let whole = text.strip_suffix('/').unwrap_or(text);
        let subject = if whole.contains('/') { Subject::Path } else { Subject::Name };
        if subject == Subject::Path {
            if !whole.starts_with(['/', '*']) {
                return Err(PatternError::Unanchored(shown()));
            }
            if whole.matches('?').count() > MAX_QUESTION_MARKS {
                return Err(PatternError::TooManyQuestionMarks(shown()));
            }
        }
        let body = collapse_stars(whole);
        Ok(Pattern {
            wild: WildMatch::new(&latin1(body.as_bytes())),
            directories_only: whole.len() < text.len(),
            text: text.to_owned(),
            body,
            subject,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    pub(super) fn subject(&self) -> Subject {
        self.subject
    }

    pub(super) fn directories_only(&self) -> bool {
        self.directories_only
    }

    fn matches(&self, candidate: Candidate<'_>) -> bool {
        let text = match self.subject {
            Subject::Name => candidate.name,
            Subject::Path => candidate.path,
        };
        (candidate.is_dir || !self.directories_only) && self.wild.matches(text)
    }
}

/// For people: on one line, escaped.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.text.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// The patterns of a site. Clones share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Excludes(Arc<[Pattern]>);

/// A list of patterns with one that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {number}: {cause}")]
pub struct ExcludesError {
    /// Its place in the list, from 1.
    pub number: usize,
    /// What is wrong with it, and what to write instead.
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

    /// The patterns, in the order they were given.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Whether nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a verdict depends on more than a name, so that a moved directory must be judged again.
    pub fn has_anchored(&self) -> bool {
        self.0.iter().any(|pattern| pattern.subject == Subject::Path)
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

    /// Where `path` is cut off: the topmost of it and its ancestors that a pattern matches, and that pattern.
    /// `is_dir` speaks of `path` itself; its ancestors are directories.
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

    /// Whether `path` or an ancestor of it is excluded.
    pub fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        self.deciding(path, is_dir).is_some()
    }

    fn first_match(&self, candidate: Candidate<'_>) -> Option<&Pattern> {
        self.0.iter().find(|pattern| pattern.matches(candidate))
    }
}

/// A path that is compared with patterns; each char is one byte of it.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    /// With a leading slash.
    path: &'a str,
    /// The last component.
    name: &'a str,
    is_dir: bool,
}

/// The path with a `/` before it, as [`Candidate`] wants it.
fn rooted(path: &RelPath) -> String {
    let mut text = String::with_capacity(path.as_bytes().len() + 8);
    text.push('/');
    text.extend(path.as_bytes().iter().map(|&byte| char::from(byte)));
    text
}

/// Each byte as the char of that number: wildmatch takes only `str`, and names are bytes.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// rsync gives `**` a meaning of its own, so no pattern keeps one.
fn collapse_stars(text: &str) -> String {
    let mut body = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '*' || !body.ends_with('*') {
            body.push(c);
        }
    }
    body
}
