//! Translates exclude patterns to rsync filter rules that mean exactly the same, in every kind of run.
//! Does not decide which run gets them. The trap: rsync does not test the ancestors of the paths in a `--files-from`
//! list, so each rule has a companion for what lies below.

pub(crate) mod groups;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::path::RelPath;
use crate::patterns::excludes::{Excludes, Pattern, PatternSubject};

/// rsync drops a rule of this many bytes or more.
const MAX_RULE: usize = 4096;

/// The values of rsync's `--filter=` arguments, in order.
///
/// The rules hold for `-r` and for `--files-from`, and protect what is excluded on the receiver; `--delete` must be
/// among the arguments, or rsync does not send them there.
pub fn rules(excludes: &Excludes) -> Vec<OsString> {
    excludes.patterns().iter().flat_map(pattern_rules).collect()
}

/// The rules of one pattern.
pub fn of(pattern: &Pattern) -> Vec<OsString> {
    pattern_rules(pattern)
}

/// The rules that mean, in a run over the directory `dir` of the tree as if it were the whole, what [`rules`] means for
/// the same entries in a run over the whole tree. `dir` itself is not excluded.
pub fn rules_below(excludes: &Excludes, dir: &RelPath) -> Vec<OsString> {
    let below = |pattern: &Pattern| match pattern.subject() {
        PatternSubject::Name => pattern_rules(pattern),
        PatternSubject::Path => {
            let rests = rests(pattern.body(), dir);
            rests.iter().flat_map(|rest| path_rules(rest, pattern.directories_only())).collect()
        }
    };
    if dir.is_root() { rules(excludes) } else { excludes.patterns().iter().flat_map(below).collect() }
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

/// The rules of [`exact`] for a run over the directory `dir` as if it were the whole tree: none for a `path` outside of
/// `dir`, and all for `dir` itself or what is above it.
pub fn exact_below(path: &RelPath, dir: &RelPath) -> Vec<OsString> {
    seen_from(path, dir).map(|path| exact(&path)).unwrap_or_default()
}

/// The rules that keep all below `path` from being deleted at the node, although it is compared and sent.
pub(crate) fn kept(path: &RelPath) -> Vec<OsString> {
    exact(path).into_iter().next_back().map(protect).into_iter().collect()
}

/// The rules of [`kept`] for a run over the directory `dir` as if it were the whole tree: none for a `path` outside of
/// `dir`, and all for `dir` itself or what is above it.
pub(crate) fn kept_below(path: &RelPath, dir: &RelPath) -> Vec<OsString> {
    seen_from(path, dir).map(|path| kept(&path)).unwrap_or_default()
}

/// The rules that let exactly `path` and all below it be deleted at the node, where a later rule protects it; `None`
/// where rsync would drop one of them for its length.
pub(crate) fn at_risk(path: &RelPath) -> Option<Vec<OsString>> {
    let longest = b"/".len() + 2 * path.as_bytes().len() + b"R /**".len();
    (longest < MAX_RULE).then(|| exact(path).into_iter().map(|rule| turned(rule, b'R')).collect())
}

/// Tells if a rule is one of [`at_risk`].
pub(crate) fn puts_at_risk(rule: &OsStr) -> bool {
    rule.as_bytes().starts_with(b"R ")
}

/// The part of the tree at `path` that lies in `dir`, as a path relative to `dir`.
fn seen_from(path: &RelPath, dir: &RelPath) -> Option<RelPath> {
    let around = dir == path || path.is_root() || dir.is_below(path);
    if around { Some(RelPath::root()) } else { path.rebase(dir, &RelPath::root()) }
}

/// The rests of the body of a path pattern when it has matched the beginning `/dir`, for each way to match it: a path
/// below matches the pattern if and only if what follows `/dir` matches one of these. Each begins with `/` or `*`.
fn rests(body: &[u8], dir: &RelPath) -> Vec<Vec<u8>> {
    // Where in the body a match may have come to. No `*` stands beside another one.
    let mut places = BTreeSet::from([0]);
    for byte in [b"/", dir.as_bytes()].concat() {
        let mut next = BTreeSet::new();
        for place in places {
            let is_star = body.get(place) == Some(&b'*');
            next.extend(is_star.then_some(place));
            let place = place + usize::from(is_star);
            let fits = body.get(place).is_some_and(|&wanted| wanted == b'?' || wanted == byte);
            next.extend(fits.then_some(place + 1));
        }
        places = next;
    }
    // What is left from an earlier `*` on matches no more than what is left from a later one.
    let last_star = places.iter().rev().find(|&&place| body.get(place) == Some(&b'*')).copied().unwrap_or(0);
    let rest = |&place: &usize| match body.get(place..).and_then(<[u8]>::split_first) {
        Some((b'*', _)) => Some(body[place..].to_vec()),
        // The next byte of a path below is a slash.
        Some((b'/' | b'?', tail)) if !tail.is_empty() => Some([b"/", tail].concat()),
        _ => None,
    };
    places.range(last_star..).filter_map(rest).collect()
}

/// The rules of one pattern, each followed by the companion for what lies below.
fn pattern_rules(pattern: &Pattern) -> Vec<OsString> {
    match pattern.subject() {
        PatternSubject::Name => body_rules(pattern.body().to_vec(), pattern.directories_only()),
        PatternSubject::Path => path_rules(pattern.body(), pattern.directories_only()),
    }
}

/// The rules of a body that is matched against the whole path. rsync anchors those that begin with `/`, and matches
/// those that begin with `**` against the whole path with a `/` before it; one that began with anything else it would
/// match behind each slash.
fn path_rules(body: &[u8], directories_only: bool) -> Vec<OsString> {
    debug_assert!(body.starts_with(b"/") || body.starts_with(b"*"));
    let variants = slash_variants(body);
    // Only `**` crosses a slash in rsync.
    variants.iter().flat_map(|body| body_rules(double_stars(body), directories_only)).collect()
}

/// The rule of a body in rsync's notation, and its companion.
fn body_rules(body: Vec<u8>, directories_only: bool) -> Vec<OsString> {
    let escaped = escape(&body, b"[\\");
    // rsync takes a backslash as an escape if and only if the rule has a wildcard.
    let mut whole = if has_wildcard(&body) { escaped.clone() } else { body };
    if directories_only {
        whole.push(b'/');
    }
    vec![exclude(&whole), exclude(&[&escaped, &b"/**"[..]].concat())]
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

/// Tells if rsync takes a rule for a wildcard rule.
fn has_wildcard(body: &[u8]) -> bool {
    body.iter().any(|byte| b"*?[".contains(byte))
}

/// Turns a rule into a protection: it acts at the receiver, and on deletions alone.
fn protect(exclusion: OsString) -> OsString {
    turned(exclusion, b'P')
}

/// The rule of another kind for the same entries.
fn turned(exclusion: OsString, kind: u8) -> OsString {
    let mut rule = exclusion.into_vec();
    rule[0] = kind;
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
    fn what_is_put_at_risk_is_one_path_with_all_below_it() {
        let rules = |path: &[u8]| at_risk(&RelPath::new(path).unwrap());
        assert_eq!(shown(&rules(b"d/a").unwrap()), ["R /d/a", "R /d/a/**"]);
        assert_eq!(shown(&rules(b"d/[a]*").unwrap()), ["R /d/\\[a]\\*", "R /d/\\[a]\\*/**"]);
        assert!(rules(b"d/a").unwrap().iter().all(|rule| puts_at_risk(rule)));
        assert!(!exact(&RelPath::new(b"R ").unwrap()).iter().any(|rule| puts_at_risk(rule)));
        // rsync drops a rule that is too long, and the path would stay as if nothing had failed.
        assert_eq!((rules(&[b'a'; 2044]).is_some(), rules(&[b'a'; 2045]).is_some()), (true, false));
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
    fn what_is_left_of_a_pattern_below_a_directory_becomes_rules_of_the_directory() {
        for (pattern, dir, expected) in [
            ("*.bin", "a", &["- *.bin", "- *.bin/**"][..]),
            ("/a/b", "a", &["- /b", "- /b/**"]),
            ("/a/b/", "a", &["- /b/", "- /b/**"]),
            ("/a/b", "a/b", &[]),
            ("/a/b", "c", &[]),
            ("/a/b", "a/bc", &[]),
            ("/a*", "ab", &["- **", "- **/**"]),
            ("/a*c", "ab", &["- **c", "- **c/**"]),
            ("/a*/", "ab", &["- **/", "- **/**"]),
            // What begins with `?` matches the slash behind the directory, and is anchored.
            ("/a?b?", "a", &["- /b?", "- /b?/**"]),
            ("/a?", "a", &[]),
            // Of two `*` the later one leaves the more.
            ("*/a*b", "xa", &["- **/a**b", "- **/a**b/**"]),
            ("*/a*b", "x/a", &["- **b", "- **b/**"]),
            ("*/b/c", "x/b", &["- **/b/c", "- **/b/c/**", "- /c", "- /c/**"]),
            ("/*[/b", "a[", &["- **\\[/b", "- **\\[/b/**", "- /b", "- /b/**"]),
            ("/a/b", "", &["- /a/b", "- /a/b/**"]),
        ] {
            let excludes = Excludes::new(vec![pattern.to_owned()]).unwrap();
            let dir = RelPath::new(dir.as_bytes()).unwrap();
            assert_eq!(shown(&rules_below(&excludes, &dir)), expected, "{pattern} below {dir}");
        }
    }

    #[test]
    fn an_exact_rule_follows_its_path_into_the_directory() {
        for (path, dir, expected) in [
            ("a/b", "a", &["- /b", "- /b/**"][..]),
            ("a/b", "a/b", &["- /**"]),
            ("a", "a/b", &["- /**"]),
            ("", "a", &["- /**"]),
            ("a/b", "", &["- /a/b", "- /a/b/**"]),
            ("ab", "a", &[]),
            ("b", "a", &[]),
        ] {
            let (path, dir) = (RelPath::new(path.as_bytes()).unwrap(), RelPath::new(dir.as_bytes()).unwrap());
            assert_eq!(shown(&exact_below(&path, &dir)), expected, "{path} below {dir}");
            let protections: Vec<String> = expected.last().map(|rule| rule.replacen('-', "P", 1)).into_iter().collect();
            assert_eq!(shown(&kept_below(&path, &dir)), protections, "{path} below {dir}");
        }
    }

    /// Each string of up to `longest` of these bytes.
    fn strings(letters: &[u8], longest: usize) -> Vec<Vec<u8>> {
        let mut all = vec![vec![]];
        let mut from = 0;
        for _ in 0..longest {
            let longer: Vec<_> =
                all[from..].iter().flat_map(|s| letters.iter().map(|&b| [s, &[b][..]].concat())).collect();
            from = all.len();
            all.extend(longer);
        }
        all
    }

    #[test]
    fn what_is_left_of_a_pattern_matches_below_the_directory_what_the_pattern_matches() {
        let paths: Vec<RelPath> = strings(b"ab/", 5)
            .iter()
            .filter_map(|path| RelPath::new(path).ok())
            .filter(|path| !path.is_root())
            .collect();
        let matches = |body: &[u8], path: &RelPath| {
            let latin1 = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
            wildmatch::WildMatch::new(&latin1(body)).matches(&latin1(&[b"/", path.as_bytes()].concat()))
        };
        let patterns =
            strings(b"ab/*?", 5).into_iter().filter_map(|text| Pattern::parse(&String::from_utf8(text).ok()?).ok());
        let mut matched = 0;
        for pattern in
            patterns.filter(|pattern| pattern.subject() == PatternSubject::Path && !pattern.directories_only())
        {
            for path in &paths {
                for dir in path.ancestors() {
                    let rests = rests(pattern.body(), &dir);
                    assert!(rests.iter().all(|rest| rest.starts_with(b"/") || rest.starts_with(b"*")), "{rests:?}");
                    let rest = path.rebase(&dir, &RelPath::root()).unwrap();
                    let expected = matches(pattern.body(), path);
                    matched += usize::from(expected);
                    assert_eq!(rests.iter().any(|body| matches(body, &rest)), expected, "{pattern} {path} below {dir}");
                }
            }
        }
        assert!(matched > 1000, "{matched}");
    }

    #[test]
    fn no_rule_is_so_long_that_rsync_drops_it() {
        let longest = Excludes::new(vec!["/*".repeat(1000), format!("/{}", "[".repeat(1999))]).unwrap();
        let deep = RelPath::new("[".repeat(4000).as_bytes()).unwrap();
        let dir = RelPath::new(b"a").unwrap();
        for rule in rules(&longest).into_iter().chain(rules_below(&longest, &dir)).chain(exact(&deep)) {
            assert!(rule.len() - "- ".len() < MAX_RULE, "{}", rule.len());
        }
    }
}
