//! Patterns that match nothing of a tree as it is now. Looks at names alone, and into nothing that is excluded.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::excludes::pattern::Candidate;
use crate::patterns::excludes::pattern::Pattern;
use crate::patterns::excludes::rooted;

/// More entries than this are not looked at.
const MOST_ENTRIES: usize = 5_000_000;

/// The patterns that match no entry below `root`, in their order. None if the tree is too large to tell, or a
/// directory does not answer.
pub fn unmatched<'e>(excludes: &'e Excludes, root: &Path, answers: impl Fn(&RelPath) -> bool) -> Vec<&'e Pattern> {
    let mut open: Vec<&Pattern> = excludes.patterns().iter().collect();
    let mut left = vec![RelPath::root()];
    let mut looked = 0;
    while let Some(dir) = left.pop().filter(|_| !open.is_empty()) {
        // What does not answer may hold anything.
        if !answers(&dir) {
            return Vec::new();
        }
        // What this user may not list is no part of the mirror either.
        let Ok(entries) = std::fs::read_dir(dir.under(root)) else { continue };
        for entry in entries.flatten() {
            looked += 1;
            if looked > MOST_ENTRIES {
                return Vec::new();
            }
            let path = dir.join(entry.file_name().as_os_str());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let text = rooted(&path);
            let name = text.len()
                - entry.file_name().as_bytes().iter().map(|&byte| char::from(byte).len_utf8()).sum::<usize>();
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
        let found: Vec<&str> = unmatched(&excludes, dir.path(), |_| true).into_iter().map(Pattern::as_str).collect();
        // What lies in an excluded directory needs no pattern.
        assert_eq!(found, ["*.swp", "b.tmp/", "/b.tmp", "inner", "/gone/"]);
        assert!(unmatched(&Excludes::default(), dir.path(), |_| true).is_empty());
    }
}
