//! Translates exclude patterns to rsync filter rules that mean exactly the same, in every kind of run.
//! Does not decide which run gets them. The trap: rsync does not test the ancestors of the paths in a `--files-from`
//! list, so each rule has a companion for what lies below.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::excludes::{Excludes, Pattern, Subject};
use crate::path::RelPath;

/// rsync drops a rule of this many bytes or more.
const MAX_RULE: usize = 4096;

/// The values of rsync's `--filter=` arguments, in order.
///
/// They hold for `-r` and for `--files-from`, and protect what is excluded on the receiver; `--delete` must be among
/// the arguments, or rsync does not send them there.
pub fn rules(excludes: &Excludes) -> Vec<OsString> {
    excludes.patterns().iter().flat_map(pattern_rules).collect()
}

/// The rules that exclude exactly `path`, whatever it is, and all below it; for the root, all below it.
pub fn exact(path: &RelPath) -> Vec<OsString> {
    if path.is_root() {
        return vec![exclude(b"/**")];
    }
    let plain = [b"/", path.as_bytes()].concat();
    let mut escaped = escape(&plain, b"*?[\\");
    if escaped.len() + b"/**".len() >= MAX_RULE {
        // Rather too much is protected than a rule lost; a `?` is no longer than what it stands for.
        escaped = plain.iter().map(|&byte| if b"*?[\\".contains(&byte) { b'?' } else { byte }).collect();
    }
    let whole = if has_wildcard(&plain) { &escaped } else { &plain };
    vec![exclude(whole), exclude(&[&escaped, &b"/**"[..]].concat())]
}

/// The rules that keep all below `path` from being deleted at the node, although it is compared and sent.
pub fn kept(path: &RelPath) -> Vec<OsString> {
    exact(path).into_iter().next_back().map(protect).into_iter().collect()
}

/// The rules of one pattern, each followed by the companion for what lies below.
fn pattern_rules(pattern: &Pattern) -> Vec<OsString> {
    let bodies = match pattern.subject() {
        Subject::Name => vec![pattern.body().to_vec()],
        // Only `**` crosses a slash in rsync.
        Subject::Path => slash_variants(pattern.body()).iter().map(|body| double_stars(body)).collect(),
    };
    let mut rules = Vec::with_capacity(2 * bodies.len());
    for body in bodies {
        let escaped = escape(&body, b"[\\");
        // rsync takes a backslash as an escape if and only if the rule has a wildcard.
        let mut whole = if has_wildcard(&body) { escaped.clone() } else { body };
        if pattern.directories_only() {
            whole.push(b'/');
        }
        rules.push(exclude(&whole));
        rules.push(exclude(&[&escaped, &b"/**"[..]].concat()));
    }
    rules
}

/// Each `?` both as it is and as `/`, which it does not match in rsync. Leaves out what no path is like.
fn slash_variants(body: &[u8]) -> Vec<Vec<u8>> {
    let mut variants = vec![Vec::with_capacity(body.len())];
    for &byte in body {
        let with_slash: Vec<_> =
            if byte == b'?' { variants.iter().map(|start| [start, &b"/"[..]].concat()).collect() } else { vec![] };
        variants.iter_mut().for_each(|start| start.push(byte));
        variants.extend(with_slash);
    }
    let is_path_like = |body: &Vec<u8>| !body.ends_with(b"/") && !body.windows(2).any(|pair| pair == b"//");
    variants.retain(is_path_like);
    variants
}

fn double_stars(body: &[u8]) -> Vec<u8> {
    body.iter().flat_map(|&byte| std::iter::repeat_n(byte, if byte == b'*' { 2 } else { 1 })).collect()
}

/// With a backslash before each of the `special` bytes.
fn escape(body: &[u8], special: &[u8]) -> Vec<u8> {
    body.iter().flat_map(|&byte| special.contains(&byte).then_some(b'\\').into_iter().chain([byte])).collect()
}

/// Whether rsync takes a rule for a wildcard rule.
fn has_wildcard(body: &[u8]) -> bool {
    body.iter().any(|byte| b"*?[".contains(byte))
}

/// The same rule as a protection: it acts at the receiver, and on deletions alone.
fn protect(exclusion: OsString) -> OsString {
    let mut rule = exclusion.into_vec();
    rule[0] = b'P';
    OsString::from_vec(rule)
}

fn exclude(body: &[u8]) -> OsString {
    OsString::from_vec([b"- ", body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rules: &[OsString]) -> Vec<&str> {
        rules.iter().map(|rule| rule.to_str().unwrap()).collect()
    }

    #[test]
    fn each_pattern_becomes_its_rules_and_their_companions() {
        for (pattern, expected) in [
            ("*.bin", &["- *.bin", "- *.bin/**"][..]),
            ("a**?", &["- a*?", "- a*?/**"]),
            ("tmp/", &["- tmp/", "- tmp/**"]),
            ("/a/*", &["- /a/**", "- /a/**/**"]),
            ("*/b/", &["- **/b/", "- **/b/**"]),
            ("/a?b", &["- /a?b", "- /a?b/**", "- /a/b", "- /a/b/**"]),
            // `//` and a `/` at the end are like no path.
            ("/?a?", &["- /?a?", "- /?a?/**"]),
            // A backslash escapes only in a rule with a wildcard, and a companion is one.
            ("a\\b", &["- a\\b", "- a\\\\b/**"]),
            ("a\\*", &["- a\\\\*", "- a\\\\*/**"]),
            ("[a]", &["- \\[a]", "- \\[a]/**"]),
        ] {
            let excludes = Excludes::new(vec![pattern.to_owned()]).unwrap();
            assert_eq!(shown(&rules(&excludes)), expected, "{pattern}");
        }
        assert!(rules(&Excludes::default()).is_empty());
    }

    #[test]
    fn an_exact_rule_takes_no_byte_of_the_path_for_a_wildcard() {
        for (path, expected) in [
            ("a/b", &["- /a/b", "- /a/b/**"][..]),
            ("*?", &["- /\\*\\?", "- /\\*\\?/**"]),
            ("a\\[", &["- /a\\\\\\[", "- /a\\\\\\[/**"]),
            ("a\\\n", &["- /a\\\n", "- /a\\\\\n/**"]),
            ("", &["- /**"]),
        ] {
            assert_eq!(shown(&exact(&RelPath::new(path.as_bytes()).unwrap())), expected, "{path}");
        }
    }

    #[test]
    fn no_rule_is_so_long_that_rsync_drops_it() {
        let longest = Excludes::new(vec!["/*".repeat(1000), format!("/{}", "[".repeat(1999))]).unwrap();
        let deep = RelPath::new("[".repeat(4000).as_bytes()).unwrap();
        for rule in rules(&longest).into_iter().chain(exact(&deep)) {
            assert!(rule.len() - "- ".len() < MAX_RULE, "{}", rule.len());
        }
    }
}
