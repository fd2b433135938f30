//! One exclude pattern: what is a pattern at all, and what it matches. Leaves lists of patterns and the ancestors of a
//! path to [`Excludes`](crate::patterns::excludes::Excludes).

use std::fmt;

use wildmatch::WildMatch;

use crate::path::{Escaped, Shown};
use crate::patterns::excludes::warning;

/// Each `?` of a pattern with a `/` inside doubles its rsync rules; 64 of them are enough.
pub(crate) const MAX_QUESTION_MARKS: usize = 6;

/// In bytes. Translation at most doubles a pattern and adds 6, and rsync drops a rule of 4096 bytes or more.
pub(crate) const MAX_PATTERN: usize = 2000;

/// One exclude pattern, checked.
///
/// `*` and `?` are the only wildcards, and both match a `/`; `[` and `\` stand for themselves. One `?` is one byte.
#[derive(Clone, PartialEq)]
pub struct Pattern {
    text: String,
    /// The text without a trailing slash, runs of `*` collapsed. Has a `/` if and only if `subject` is the path.
    body: String,
    subject: PatternSubject,
    directories_only: bool,
    /// `body`, each byte as one char.
    wild: WildMatch,
}

/// The part of a path that a pattern is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternSubject {
    /// The last component of a path.
    Name,
    /// The whole path, with a `/` before it.
    Path,
}

/// A pattern that is refused because it could not do what its author means.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern is empty.
    #[error("an empty pattern matches nothing")]
    Empty,
    /// The pattern consists of slashes only.
    #[error("`{0}` stands for the whole tree, which cannot be excluded")]
    OnlySlashes(Shown),
    /// No name and no argument can hold this byte.
    #[error("`{0}` has a NUL byte, which no file name has")]
    Nul(Shown),
    /// The pattern is longer than [`MAX_PATTERN`].
    #[error("`{start}...` has {length} bytes, over the limit of {MAX_PATTERN}")]
    TooLong {
        /// The first characters of the pattern.
        start: Shown,
        /// The length in bytes.
        length: usize,
    },
    /// No path has an empty component.
    #[error("`{0}` has `//`, which no path has")]
    EmptyComponent(Shown),
    /// No path has such a component.
    #[error("`{0}` has the component `{1}`, which no path has")]
    DotComponent(Shown, &'static str),
    /// The home directory of a shell.
    #[error("`{0}` begins with `~`, which is no home directory here")]
    Home(Shown),
    /// A `/` inside, but not anchored at the top of the tree or free to begin anywhere.
    #[error("`{0}` has a `/` inside but does not say where it begins")]
    Unanchored(Shown),
    /// More than [`MAX_QUESTION_MARKS`] with a `/` inside.
    #[error("`{0}` has a `/` and more than {MAX_QUESTION_MARKS} `?`")]
    TooManyQuestionMarks(Shown),
}

impl PatternError {
    /// The text to write instead.
    pub fn cure(&self) -> String {
        match self {
            PatternError::Empty | PatternError::Nul(_) => "remove it".into(),
            PatternError::OnlySlashes(_) => "remove it, or write `*` for everything in it".into(),
            PatternError::TooLong { .. } => "shorten it with `*`".into(),
            PatternError::EmptyComponent(text) => {
                let folded = fold(text.as_str(), "//", "/");
                format!("write a single `/`: `{}`", Shown::from(folded.as_str()))
            }
            PatternError::DotComponent(text, ".") => {
                let plain = fold(&format!("/{}", text.as_str()), "/./", "/");
                let plain = fold(plain.strip_suffix("/.").unwrap_or(&plain), "//", "/");
                format!("write the path below wpath without it: `{}`", Shown::from(plain.as_str()))
            }
            PatternError::DotComponent(..) => "write the path below wpath without it".into(),
            PatternError::Home(text) => {
                let below = text.as_str().trim_start_matches('~');
                format!("write the path below wpath, such as `{}`", Shown::from(below))
            }
            PatternError::Unanchored(text) => warning::cure_of(text.as_str())
                .unwrap_or_else(|| format!("write `/{text}` (in wpath) or `*/{text}` (anywhere)")),
            PatternError::TooManyQuestionMarks(_) => "write `*` for some of them".into(),
        }
    }
}

/// Replaces `from` until there is none of it.
fn fold(text: &str, from: &str, to: &str) -> String {
    let mut text = text.to_owned();
    while text.contains(from) {
        text = text.replace(from, to);
    }
    text
}

impl Pattern {
    /// Checks a pattern as it is written in the configuration. A newline or blank is part of the name it stands for.
    ///
    /// # Errors
    /// [`PatternError`] for a pattern that can never match or that rsync cannot be told exactly.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let shown = || Shown::from(text);
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            let start: String = text.chars().take(20).collect();
            return Err(PatternError::TooLong { start: Shown::from(start.as_str()), length: text.len() });
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
        if text.starts_with("~/") {
            return Err(PatternError::Home(shown()));
        }
        for dots in [".", ".."] {
            if text.split('/').any(|component| component == dots) {
                return Err(PatternError::DotComponent(shown(), dots));
            }
        }
        let whole = text.strip_suffix('/').unwrap_or(text);
        let subject = if whole.contains('/') { PatternSubject::Path } else { PatternSubject::Name };
        if subject == PatternSubject::Path {
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

    pub(crate) fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    pub(crate) fn subject(&self) -> PatternSubject {
        self.subject
    }

    pub(crate) fn directories_only(&self) -> bool {
        self.directories_only
    }

    /// Tells if it matches this very path, whatever is true of its ancestors.
    pub(super) fn matches(&self, candidate: Candidate<'_>) -> bool {
        let text = match self.subject {
            PatternSubject::Name => candidate.name,
            PatternSubject::Path => candidate.path,
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

/// A path that is compared with patterns; each char is one byte of it.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    /// With a leading slash.
    pub path: &'a str,
    pub name: &'a str,
    pub is_dir: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_cannot_do_what_it_says_is_refused_with_a_cure() {
        for (pattern, cure) in [
            ("", "an empty pattern matches nothing: remove it"),
            ("/", "`/` stands for the whole tree, which cannot be excluded: remove it, or write `*`"),
            ("//", "`//` stands for the whole tree"),
            ("a\0b", "`a\\x00b` has a NUL byte, which no file name has: remove it"),
            ("/a//b", "`/a//b` has `//`, which no path has: write a single `/`"),
            ("a//", "`a//` has `//`"),
            ("a//b///c", "write a single `/`: `a/b/c`"),
            ("./a", "`./a` has the component `.`, which no path has: write the path below wpath without it: `/a`"),
            ("/a/./b/.", "without it: `/a/b`"),
            ("~/a", "`~/a` begins with `~`, which is no home directory here: write the path below wpath, such as `/a`"),
            ("/a/../b", "`/a/../b` has the component `..`"),
            ("../", "`../` has the component `..`"),
            ("a/b", "write `/a/b` (in wpath) or `*/a/b` (anywhere)"),
            ("a/b/", "write `/a/b/` (in wpath) or `*/a/b/` (anywhere)"),
            ("?a/b", "write `/?a/b`"),
            ("/???????", "`/???????` has a `/` and more than 6 `?`: write `*` for some of them"),
            (&"x\n".repeat(1001), "`x\\x0ax\\x0ax\\x0ax\\x0ax\\x0ax\\x0ax\\x0ax\\x0ax\\x0ax\\x0a...` has 2002 bytes"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            let error = format!("{error}: {}", error.cure());
            assert!(error.contains(cure), "{pattern:?}: {error}");
        }
    }

    #[test]
    fn odd_patterns_that_can_match_are_taken() {
        for pattern in ["???????", "*", "/*", "a/", "...", ".*", "/??????", "- a", "!", "a\nb", &"x".repeat(2000)] {
            assert_eq!(Pattern::parse(pattern).unwrap().as_str(), pattern);
        }
    }
}
