//! Writes the rules by which a run goes through some entries of the tree alone, or past them: several runs beside each other
//! go through the whole tree together, and none of them through what another one has.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{MAX_RULE, escape, exclude, has_wildcard, turned};
use crate::path::RelPath;

/// The directories in one directory whose names begin alike, with all that is below them; or the entry of one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NameGroup {
    /// The directory.
    pub dir: RelPath,
    /// The beginning of the names.
    pub start: Vec<u8>,
    /// `true` if `start` is the whole name: the group has one entry.
    pub is_name: bool,
}

impl NameGroup {
    /// Tells if rsync takes the rules of the group: it drops those that are too long, and nobody would go through the group.
    pub(crate) fn has_rules(&self) -> bool {
        b"+ //*/".len() + 2 * (self.dir.as_bytes().len() + self.start.len()) < MAX_RULE
    }

    /// The directory that has all of the group.
    pub(crate) fn inside(&self) -> RelPath {
        if self.is_name { self.dir.join(OsStr::from_bytes(&self.start)) } else { self.dir.clone() }
    }

    /// The rule that excludes the group, and nothing else of its directory. A file belongs to the run that goes past the groups,
    /// which else would delete the temporary one that it is written to: its name begins otherwise.
    fn excluded(&self) -> OsString {
        let mut body = below(&self.dir);
        body.extend(&self.start);
        match self.is_name {
            true if has_wildcard(&body) => exclude(&escape(&body, b"*?[\\")),
            true => exclude(&body),
            false => exclude(&[&escape(&body, b"*?[\\"), &b"*/"[..]].concat()),
        }
    }
}

/// The rules of a run that goes past these groups, and through all else.
pub(crate) fn past<'g>(groups: impl IntoIterator<Item = &'g NameGroup>) -> Vec<OsString> {
    groups.into_iter().map(NameGroup::excluded).collect()
}

/// The rules of a run that goes through these groups, and past all else but the directories above them. They come behind
/// all others: what is excluded anyway stays so.
pub(crate) fn only(groups: &[NameGroup]) -> Vec<OsString> {
    let above = above(groups);
    let included = groups.iter().map(|group| turned(group.excluded(), b'+'));
    // What is no directory by now holds no group: it belongs to the run that goes past them.
    let entered = above.iter().filter(|dir| !dir.is_root()).map(|dir| turned(directory(dir), b'+'));
    let others = above.iter().map(|dir| exclude(&[&escape(&below(dir), b"*?[\\"), &b"*"[..]].concat()));
    included.chain(entered).chain(others).collect()
}

/// The directories above groups, the root included.
pub(crate) fn above<'g>(groups: impl IntoIterator<Item = &'g NameGroup>) -> BTreeSet<RelPath> {
    let above = |group: &'g NameGroup| group.dir.ancestors().chain([group.dir.clone()]).collect::<Vec<_>>();
    groups.into_iter().flat_map(above).chain([RelPath::root()]).collect()
}

/// The rule that excludes exactly `dir`, if it is a directory.
fn directory(dir: &RelPath) -> OsString {
    let body = [b"/", dir.as_bytes(), b"/"].concat();
    exclude(&if has_wildcard(&body) { escape(&body, b"*?[\\") } else { body })
}

/// The beginning of the paths of all entries of a directory.
fn below(dir: &RelPath) -> Vec<u8> {
    if dir.is_root() { b"/".to_vec() } else { [b"/", dir.as_bytes(), b"/"].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(dir: &str, start: &str, is_name: bool) -> NameGroup {
        NameGroup { dir: RelPath::new(dir.as_bytes()).unwrap(), start: start.into(), is_name }
    }

    #[test]
    fn runs_over_groups_and_past_them_have_rules_of_the_same_entries() {
        for (groups, alone, rest) in [
            (vec![group("", "a", true)], &["+ /a", "- /*"][..], &["- /a"][..]),
            (vec![group("", "a", false)], &["+ /a*/", "- /*"], &["- /a*/"]),
            // A backslash escapes only in a rule with a wildcard.
            (vec![group("", "a\\", true)], &["+ /a\\", "- /*"], &["- /a\\"]),
            (vec![group("", "[a\\", true)], &["+ /\\[a\\\\", "- /*"], &["- /\\[a\\\\"]),
            (vec![group("", "a\\", false)], &["+ /a\\\\*/", "- /*"], &["- /a\\\\*/"]),
            (
                vec![group("d*", "x", true), group("d*/e", "y", false), group("", "z", true)],
                &["+ /d*/x", "+ /d*/e/y*/", "+ /z", "+ /d*/", "+ /d*/e/", "- /*", "- /d*/*", "- /d*/e/*"],
                &["- /d*/x", "- /d*/e/y*/", "- /z"],
            ),
        ] {
            let shown = |rules: Vec<OsString>| rules.iter().map(|rule| rule.to_str().unwrap().to_owned()).collect();
            let escaped = |rules: &[&str]| rules.iter().map(|rule| rule.replace("d*", "d\\*")).collect::<Vec<_>>();
            let found: Vec<String> = shown(only(&groups));
            assert_eq!(found, escaped(alone));
            let found: Vec<String> = shown(past(&groups));
            assert_eq!(found, escaped(rest));
        }
        assert!(group("d", &"x".repeat(2000), true).has_rules() && !group("d", &"x".repeat(2044), true).has_rules());
    }
}
