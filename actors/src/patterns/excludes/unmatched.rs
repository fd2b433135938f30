//! Patterns that match nothing of a tree as it is now. Looks at names alone, and into nothing that is excluded.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::excludes::pattern::Candidate;
use crate::patterns::excludes::pattern::Pattern;
use crate::patterns::excludes::rooted;

/// More entries than this are not looked at.
const MOST_ENTRIES: usize = 5_000_000;

/// The patterns that match no entry of a tree, in their order. None if the tree is too large to tell, or a directory does
/// not answer (`TimedOut`). `list` names the entries of a directory; `true` with those that are directories.
pub fn unmatched(excludes: &Excludes, list: impl Fn(&RelPath) -> io::Result<Vec<(OsString, bool)>>) -> Vec<&Pattern> {
    // Nobody wrote that of heartbeats.
    let is_own = |pattern: &&Pattern| pattern.to_string() == crate::heartbeat::PATTERN;
    let mut open: Vec<&Pattern> = excludes.patterns().iter().filter(|pattern| !is_own(pattern)).collect();
    let mut left = vec![RelPath::root()];
    let mut looked = 0;
    while let Some(dir) = left.pop().filter(|_| !open.is_empty()) {
        let entries = match list(&dir) {
            Ok(entries) => entries,
            // What does not answer may hold anything.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Vec::new(),
            // What this user may not list is no part of the mirror either.
            Err(_) => continue,
        };
        for (entry, is_dir) in entries {
            looked += 1;
            if looked > MOST_ENTRIES {
                return Vec::new();
            }
            let path = dir.join(&entry);
            let text = rooted(&path);
            let name = text.len() - entry.as_bytes().iter().map(|&byte| char::from(byte).len_utf8()).sum::<usize>();
            let candidate = Candidate { path: &text, name: &text[name..], is_dir };
            open.retain(|pattern| !pattern.matches(candidate));
            if is_dir && excludes.first_match(candidate).is_none() {
                left.push(path);
            }
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_patterns_that_match_nothing_in_the_tree_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/cache/x")).unwrap();
        fs::write(dir.path().join("a/b.tmp"), "").unwrap();
        fs::write(dir.path().join("a/cache/inner"), "").unwrap();
        fs::write(dir.path().join("a/\u{e9}.o"), "").unwrap();
        let patterns =
            ["*.tmp", "*.swp", "cache/", "b.tmp/", "/a/b.tmp", "/b.tmp", "*/cache", "inner", "\u{e9}.o", "/gone/"];
        let excludes = Excludes::new(patterns.map(String::from).to_vec()).unwrap();
        let list = |path: &RelPath| {
            let entries = fs::read_dir(path.under(dir.path()))?.map(|entry| entry.unwrap());
            Ok(entries.map(|entry| (entry.file_name(), entry.file_type().unwrap().is_dir())).collect())
        };
        let found: Vec<&str> = unmatched(&excludes, list).into_iter().map(Pattern::as_str).collect();
        // What lies in an excluded directory needs no pattern.
        assert_eq!(found, ["*.swp", "b.tmp/", "/b.tmp", "inner", "/gone/"]);
        assert!(unmatched(&Excludes::default(), list).is_empty());
        assert!(unmatched(&excludes, |_| Err(io::ErrorKind::TimedOut.into())).is_empty(), "it may hold anything");
    }
}
