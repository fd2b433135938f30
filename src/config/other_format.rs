//! Files that are no configuration of inosync: of other programs, in other notations, or no text at all.

use super::complaint::ConfigComplaint;
use super::record::NOTATION;
use super::value::ConfigText;

const MIGRATE: &str = "write it anew in inosync's notation: docs/migrating.md has each setting beside its key";
const BRACES: &str = "write `(` and `)` instead of `{` and `}`, and the keys without quotes: (wpath: \"/from\", ...)";
const PARENTHESES: &str = "write `(` above the first key, `)` below the last one, and a comma behind each value";

/// A complaint about a file that does not begin as a configuration: it names the program or the notation.
pub fn recognise(source: ConfigText<'_>) -> Option<ConfigComplaint> {
    let text = source.text;
    let start = beginning(text);
    let rest = &text[start..];
    let complaint = |at: usize, length: usize, what: &str, cure| Some(source.complaint(at..at + length, what, cure));
    if let Some(nul) = text.find('\0').filter(|_| !rest.starts_with('(')) {
        let cure = "name the configuration with -c FILE, a text such as config.ron.example";
        return complaint(nul, 1, "the file is no text", cure);
    }
    let word: &str = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
    let behind = rest[word.len()..].trim_start_matches([' ', '\t']);
    if rest.starts_with('(') || behind.starts_with('(') && !text.contains("default.") {
        return None;
    }
    if let Some(at) = lsyncd(text) {
        return complaint(at, 1, "this is a configuration of lsyncd, one pair of parentheses is wanted", MIGRATE);
    }
    let wanted = |what: &str| format!("{what}, but the configuration must be one pair of parentheses");
    let word_length = word.len().max(1);
    match () {
        () if behind.starts_with('{') => complaint(start, 1, &wanted("this has braces, as JSON has"), BRACES),
        () if rest.starts_with("---") => complaint(start, 3, &wanted("this is YAML"), PARENTHESES),
        () if rest.starts_with('<') => complaint(start, 1, &wanted("this is XML"), NOTATION),
        () if rest.starts_with('[') => {
            complaint(start, 1, &wanted("this begins with a bracket (INI, TOML, JSON)"), NOTATION)
        }
        () if behind.starts_with('=') && !behind.starts_with("==") || matches!(word, "import" | "from") => {
            complaint(start, word_length, &wanted("the keys are assigned, as for the Python inosync"), MIGRATE)
        }
        () if behind.starts_with(':') => {
            let what = "the configuration must be one pair of parentheses around all keys";
            complaint(start, word_length, what, PARENTHESES)
        }
        () => complaint(start, word_length, "the configuration must be one pair of parentheses", NOTATION),
    }
}

/// The place where a program in Lua calls what lsyncd offers.
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

/// The beginning of the text behind blanks and comments in any notation.
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
