//! Files that are no configuration of inosync: of other programs, in other notations, or no text at all.

use std::ops::Range;

use super::notation::CURE;

/// Why a whole file is of no use, and where that is seen.
pub struct Foreign {
    pub at: Range<usize>,
    pub what: &'static str,
    pub cure: &'static str,
}

const MIGRATE: &str = "write it anew in inosync's notation: docs/migrating.md has each setting beside its key";
const PARENTHESES: &str = "write `(` above the first key, `)` below the last one, and a comma behind each value";

/// What kind of file this is, if it does not begin as a configuration.
pub fn foreign(text: &str) -> Option<Foreign> {
    let told = |at: usize, length: usize, what, cure| Some(Foreign { at: at..at + length, what, cure });
    let start = beginning(text);
    let rest = &text[start..];
    let word: &str = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
    let behind = rest[word.len()..].trim_start_matches([' ', '\t']);
    if let Some(nul) = text.find('\0').filter(|_| !rest.starts_with('(')) {
        return told(
            nul,
            1,
            "the file is no text",
            "name the configuration with -c FILE, a text such as config.ron.example",
        );
    }
    if rest.starts_with('(') || behind.starts_with('(') && !text.contains("default.") {
        return None;
    }
    if let Some(at) = lsyncd(text) {
        return told(at, 1, "this is a configuration of lsyncd, one pair of parentheses is wanted", MIGRATE);
    }
    let what = match () {
        () if behind.starts_with('{') => {
            let cure = "write `(` and `)` instead of `{` and `}`, and the keys without quotes: (wpath: \"/from\", ...)";
            return told(
                start,
                1,
                "this has braces, as JSON has, but the configuration must be one pair of parentheses",
                cure,
            );
        }
        () if rest.starts_with("---") => {
            let what = "this is YAML, but the configuration must be one pair of parentheses";
            return told(start, 3, what, PARENTHESES);
        }
        () if rest.starts_with('<') => "this is XML, but the configuration must be one pair of parentheses",
        () if rest.starts_with('[') => {
            "this begins with a bracket (INI, TOML, JSON), but the configuration must be one pair of parentheses"
        }
        () if behind.starts_with('=') && !behind.starts_with("==") || matches!(word, "import" | "from") => {
            let what = "the keys are assigned, as for the Python inosync, but the configuration must be one pair of parentheses";
            return told(start, word.len().max(1), what, MIGRATE);
        }
        () if behind.starts_with(':') => {
            let what = "the configuration must be one pair of parentheses around all keys";
            return told(start, word.len().max(1), what, PARENTHESES);
        }
        () => return told(start, word.len().max(1), "the configuration must be one pair of parentheses", CURE),
    };
    told(start, 1, what, CURE)
}

/// Where a program in Lua calls what lsyncd offers.
fn lsyncd(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        let calls = ["settings", "sync"].iter().any(|name| {
            bare.strip_prefix(name)
                .is_some_and(|rest| rest.trim_start_matches([' ', '\t', '=']).starts_with(['{', '(', '\n', '\r']))
        });
        if calls || bare.contains("default.rsync") || bare.contains("default.direct") {
            return Some(at + line.len() - bare.len());
        }
        at += line.len();
    }
    None
}

/// Where the text begins behind blanks and comments in any notation.
fn beginning(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let blanks = rest.len() - rest.trim_start().len();
        let rest = &rest[blanks..];
        at += blanks;
        let end = match () {
            () if rest.starts_with("#![") => rest.find(']').map(|end| end + 1),
            () if rest.starts_with("//") || rest.starts_with('#') || rest.starts_with("-- ") => rest.find('\n'),
            () if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            () => return at,
        };
        at += end.unwrap_or(rest.len());
    }
}
