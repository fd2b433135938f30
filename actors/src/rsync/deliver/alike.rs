//! Finds what a deletion may have taken with it: entries of the source that the node does not tell from the deleted ones by
//! their names. Looks at the source alone; what is found is compared once more, after the deletion.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::rsync::names;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;
use crate::transport::comparison::Difference;

/// Names that are looked at where the node tells cases apart: a part of it may lie on another file system, or ignore case by
/// itself (`chattr +F`). So many cost about a millisecond.
const A_FEW: usize = 5000;
/// Entries of the source that are looked at for one to ask the node about,
const CANDIDATES: usize = 500;
/// and those of one directory: there may be nothing but directories at the top.
const OF_ONE: usize = 250;

/// The node's rule for names that differ only in case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// The node has not been asked.
    Unknown,
    /// Two names that differ in case alone are two entries.
    Apart,
    /// Two names that differ in case alone are one entry.
    One,
    /// The node could not be asked: it has nothing that tells.
    Unclear,
    /// There was no mirror: nothing in it could be taken for another entry.
    NoMirror,
}

impl NameRule {
    /// Tells if runs beside each other may each delete in a part of the tree: none takes an entry of another part for one that
    /// the source does not have.
    pub(crate) fn allows_parts(self) -> bool {
        matches!(self, NameRule::Apart | NameRule::NoMirror)
    }

    /// Tells if nothing speaks for two names that differ in case alone being one entry. Where they are, and nobody has asked yet,
    /// either of two such files may be the one that the node has, in whatever order they are sent.
    pub(crate) fn may_be_apart(self) -> bool {
        !matches!(self, NameRule::One | NameRule::Unclear)
    }

    /// Concludes from two answers about the same names.
    pub(crate) fn confirmed_by(self, second: NameRule) -> NameRule {
        if self == second {
            self
        } else if second == NameRule::One {
            NameRule::One
        } else {
            NameRule::Unclear
        }
    }
}

/// The node's answer about a sample.
#[derive(Debug, Default)]
pub(crate) struct NamesSeen {
    /// It has the file.
    has_name: bool,
    /// It has something by the other name.
    has_other: bool,
    /// The mirror would be made.
    is_new: bool,
}

impl NamesSeen {
    /// A line of a run that lists both, tells of each whether the node has it, and changes nothing.
    pub(crate) fn hear(&mut self, said: &[u8], sample: Option<&(RelPath, RelPath)>) {
        match (Line::parse(said), sample) {
            (Line::MadeMirror, _) => self.is_new = true,
            (Line::Sent(path, _), Some((name, _))) if path == *name => {
                self.has_name = !output::difference(said).is_some_and(|(_, how)| how == Difference::Missing);
            }
            (Line::Deleted(path), Some((_, other))) => self.has_other |= path == *other,
            _ => (),
        }
    }

    /// Concludes from the answer how the node treats other names; `is_sound` if it was about a sample.
    pub(crate) fn names(&self, is_sound: bool) -> NameRule {
        match (self.has_name && is_sound, self.has_other) {
            _ if self.is_new => NameRule::NoMirror,
            (true, true) => NameRule::One,
            (true, false) => NameRule::Apart,
            (false, _) => NameRule::Unclear,
        }
    }
}

/// The names of removed entries, folded, below the directory that it stands for.
#[derive(Debug, Default)]
struct Trie {
    is_removed: bool,
    below: HashMap<Vec<u8>, Trie>,
}

impl Trie {
    fn of(removed: &BTreeSet<RelPath>) -> Trie {
        let mut trie = Trie::default();
        removed.iter().for_each(|path| trie.add(path.as_bytes().split(|&byte| byte == b'/')));
        trie
    }

    /// Tells if a path is like a removed one, or below one that is.
    fn covers(&self, path: &RelPath) -> bool {
        let mut trie = self;
        for name in path.as_bytes().split(|&byte| byte == b'/') {
            let Some(below) = trie.below.get(&names::folded(name)) else { return false };
            if below.is_removed {
                return true;
            }
            trie = below;
        }
        false
    }

    fn add<'n>(&mut self, mut names: impl Iterator<Item = &'n [u8]>) {
        match names.next() {
            Some(name) => self.below.entry(names::folded(name)).or_default().add(names),
            None => self.is_removed = true,
        }
    }
}

/// The entries of the tree at `root` that a node which tells `names` apart so may take for one of the removed ones, none of
/// which is among them.
pub(super) fn alike(root: &Root, removed: &BTreeSet<RelPath>, names: NameRule) -> BTreeSet<RelPath> {
    let mut search = Search { root, removed, room: usize::MAX, found: BTreeSet::new() };
    if names == NameRule::Apart {
        search.in_few();
    } else {
        search.walk(&RelPath::root(), &Trie::of(removed));
    }
    search.found
}

struct Search<'a> {
    root: &'a Root,
    removed: &'a BTreeSet<RelPath>,
    /// Names that may still be looked at.
    room: usize,
    found: BTreeSet<RelPath>,
}

impl Search<'_> {
    /// Looks beside the removed entries alone, at so few names that it costs nothing; at the other forms of a name always.
    fn in_few(&mut self) {
        self.room = A_FEW;
        let mut dirs: HashMap<RelPath, Trie> = HashMap::new();
        for path in self.removed {
            let Some(dir) = path.parent() else { continue };
            for form in names::other_forms(path.name()) {
                self.note(dir.join(&OsString::from_vec(form)));
            }
            dirs.entry(dir).or_default().add([path.name()].into_iter());
        }
        dirs.iter().for_each(|(dir, trie)| self.walk(dir, trie));
    }

    /// Notes a path if there is something.
    fn note(&mut self, path: RelPath) {
        if !self.removed.contains(&path) && self.root.look_at(&path).is_ok() {
            self.found.insert(path);
        }
    }

    /// Looks for the names of `trie` in a directory, and below it.
    fn walk(&mut self, dir: &RelPath, trie: &Trie) {
        // What cannot be read was not sent either.
        for name in self.root.names(dir, self.room.saturating_add(1)) {
            if self.room == 0 {
                return;
            }
            self.room -= 1;
            let Some(trie) = trie.below.get(&names::folded(name.as_bytes())) else { continue };
            let path = dir.join(&name);
            if !trie.below.is_empty() && self.root.look_at(&path).is_ok_and(|meta| meta.is_dir()) {
                self.walk(&path, trie);
            }
            if trie.is_removed && !self.removed.contains(&path) {
                self.found.insert(path);
            }
        }
    }
}

/// Finds what a node is asked about to tell how it takes names: a file of the source, and the same path with its name in a case
/// that nobody writes. The source does not have the latter, and no rename of case leaves it behind at the node.
pub(crate) struct Sampler<'a> {
    root: &'a Root,
    excludes: &'a Excludes,
    /// Each question has another case: a node on FUSE, SMB or NFS may remember for a while that a name was not there, also if the
    /// file came since.
    turn: usize,
    /// Removed at the node a moment ago: it may remember for a while that it has what went with them.
    removed: Trie,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(root: &'a Root, excludes: &'a Excludes, turn: usize, removed: &BTreeSet<RelPath>) -> Self {
        Sampler { root, excludes, turn, removed: Trie::of(removed) }
    }

    /// A sample of this file; `None` if there is none.
    pub(crate) fn of_file(&self, path: &RelPath) -> Option<(RelPath, RelPath)> {
        let other = names::uncommon(path.name(), self.turn).map(OsString::from_vec)?;
        let other = path.parent()?.join(&other);
        let is_new = self.root.look_at(&other).is_err() && !self.excludes.excludes(&other, false);
        let is_file = self.root.look_at(path).is_ok_and(|meta| meta.is_file());
        (is_new && is_file && !self.removed.covers(path)).then(|| (path.clone(), other))
    }

    /// A sample of the first file that makes one.
    pub(crate) fn of_any(&self) -> Option<(RelPath, RelPath)> {
        let mut dirs = vec![RelPath::root()];
        let mut looked = 0;
        while let Some(dir) = dirs.pop() {
            for name in self.root.names(&dir, OF_ONE) {
                looked += 1;
                if looked > CANDIDATES {
                    return None;
                }
                let path = dir.join(&name);
                let Ok(kind) = self.root.look_at(&path) else { continue };
                if self.excludes.excludes(&path, kind.is_dir()) {
                    continue;
                }
                if kind.is_dir() {
                    // The files of the top come first.
                    dirs.insert(0, path);
                } else if let Some(sample) = self.of_file(&path) {
                    return Some(sample);
                }
            }
        }
        None
    }
}

/// Tells if a sample still is one: an answer about names that came or went meanwhile says nothing.
pub(crate) fn is_still_sample(root: &Root, (name, other): &(RelPath, RelPath)) -> bool {
    root.look_at(name).is_ok() && root.look_at(other).is_err()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let full = dir.path().join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            match path.ends_with('/') {
                true => fs::create_dir_all(full).unwrap(),
                false => fs::write(full, path).unwrap(),
            }
        }
        dir
    }

    fn found(source: &[&str], removed: &[&str], names: NameRule) -> Vec<String> {
        let tree = tree(source);
        let removed = removed.iter().map(|path| rel(path)).collect();
        alike(&Root::of(tree.path()).unwrap(), &removed, names).iter().map(RelPath::to_string).collect()
    }

    #[test]
    fn what_a_node_may_take_for_a_removed_entry_is_found() {
        for (source, removed, expected) in [
            (&["ONE", "two"][..], &["one"][..], &["ONE"][..]),
            (&["album/x"], &["Album"], &["album"]),
            (&["d/NAME", "NAME"], &["d/name"], &["d/NAME"]),
            (&["d/One", "d/oNE", "d/two"], &["d/one", "d/TWO"], &["d/One", "d/oNE", "d/two"]),
            (&["caf\u{e9}"], &["cafe\u{301}"], &["caf\u{e9}"]),
            (&["two"], &["one"], &[]),
            // It is there again.
            (&["one"], &["one"], &[]),
            // Both of a pair go.
            (&["x"], &["one", "ONE"], &[]),
        ] {
            for names in [NameRule::One, NameRule::Unclear, NameRule::Unknown, NameRule::Apart] {
                assert_eq!(found(source, removed, names), expected, "{removed:?} in {source:?}, {names:?}");
            }
        }
    }

    #[test]
    fn directories_above_are_taken_for_one_too() {
        let source = ["Docs/b", "docs/a", "DOCS/sub/F", "docs/sub/f"];
        assert_eq!(found(&source, &["Docs/a"], NameRule::One), ["docs/a"]);
        assert_eq!(found(&source, &["docs/SUB/f"], NameRule::One), ["DOCS/sub/F", "docs/sub/f"]);
    }

    #[test]
    fn where_cases_are_told_apart_a_large_directory_is_not_read_and_other_forms_are_found() {
        let tree = tree(&["many/", "many/caf\u{e9}"]);
        (0..A_FEW + 100).for_each(|number| drop(fs::write(tree.path().join(format!("many/{number}")), "")));
        let removed = [rel("many/cafe\u{301}")].into();
        assert_eq!(alike(&Root::of(tree.path()).unwrap(), &removed, NameRule::Apart), [rel("many/caf\u{e9}")].into());
        let root = Root::of(tree.path()).unwrap();
        let mut search = Search { root: &root, removed: &removed, room: 0, found: BTreeSet::new() };
        search.in_few();
        assert_eq!(search.room, 0);
    }

    #[test]
    fn a_node_tells_by_one_file_how_it_takes_names() {
        let sample = (rel("d/name"), rel("d/NAME"));
        let (same, other, new) = (".f         |6|0|d/name", "*deleting  |0|0|d/NAME", ">f+++++++++|6|0|d/name");
        for (said, expected) in [
            (&[".d..t......|4096|0|./", same][..], NameRule::Apart),
            (&[other, ">f..t......|6|0|d/name"], NameRule::One),
            (&[other, same], NameRule::One),
            // It does not have the file yet, or keeps it by a filter of its own.
            (&[new], NameRule::Unclear),
            (&[], NameRule::Unclear),
            (&[other, new], NameRule::Unclear),
            (&["created directory /m", new], NameRule::NoMirror),
        ] {
            let mut seen = NamesSeen::default();
            said.iter().for_each(|line| seen.hear(line.as_bytes(), Some(&sample)));
            assert_eq!(seen.names(true), expected, "{said:?}");
            let unsound = if expected == NameRule::NoMirror { expected } else { NameRule::Unclear };
            assert_eq!(seen.names(false), unsound, "{said:?}");
        }
    }

    #[test]
    fn a_node_is_asked_about_a_file_below_many_directories() {
        let paths: Vec<String> = (0..2 * CANDIDATES).map(|number| format!("{number}/name")).collect();
        let tree = tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let root = Root::of(tree.path()).unwrap();
        let found = Sampler::new(&root, &Excludes::default(), 0, &BTreeSet::new()).of_any();
        assert_eq!(found.map(|(name, _)| name.name().to_owned()), Some(b"name".to_vec()));
    }

    #[test]
    fn only_a_node_that_takes_no_name_for_another_one_is_compared_in_parts() {
        use NameRule::{Apart, NoMirror, One, Unclear, Unknown};
        assert!([Apart, NoMirror].into_iter().all(NameRule::allows_parts));
        assert!(![One, Unclear, Unknown].into_iter().any(NameRule::allows_parts));
    }

    #[test]
    fn a_node_tells_names_apart_only_if_it_says_so_twice() {
        use NameRule::{Apart, One, Unclear};
        // The file came between the looks of the first run, or went between them.
        for (first, second, expected) in [(Apart, Apart, Apart), (Apart, One, One), (Apart, Unclear, Unclear)] {
            assert_eq!(first.confirmed_by(second), expected, "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_node_is_asked_about_a_file_whose_name_in_an_uncommon_case_is_nobodys() {
        let excludes = Excludes::new(vec!["*.bak".to_owned(), "/oThEr".to_owned()]).unwrap();
        for (source, expected) in [
            (&["1", "aaaa.bak", "both", "bOtH", "BOtH", "other", "d/File"][..], Some(("d/File", "d/fIlE"))),
            (&["d/wxyz", "name"], Some(("name", "nAmE"))),
            (&["1", "22/33", "a.c"], None),
            (&["directory/"], None),
        ] {
            let expected = expected.map(|(name, other)| (rel(name), rel(other)));
            let tree = tree(source);
            let root = Root::of(tree.path()).unwrap();
            let found = Sampler::new(&root, &excludes, 0, &BTreeSet::new()).of_any();
            assert_eq!(found, expected, "{source:?}");
            assert!(found.is_none_or(|found| is_still_sample(&root, &found)), "{source:?}");
        }
    }

    #[test]
    fn a_node_is_asked_about_no_file_that_may_have_gone_with_a_removed_one() {
        let tree = tree(&["NAME", "d/FILE", "e/file"]);
        let root = Root::of(tree.path()).unwrap();
        for (removed, gone) in [
            (&[][..], &[][..]),
            (&["name"], &["NAME"]),
            (&["name", "D"], &["NAME", "d/FILE"]),
            (&["name", "d/file", "E/FILE/x"], &["NAME", "d/FILE"]),
            (&["name", "d", "E"], &["NAME", "d/FILE", "e/file"]),
        ] {
            let (excludes, removed) = (Excludes::default(), removed.iter().map(|path| rel(path)).collect());
            let sampler = Sampler::new(&root, &excludes, 0, &removed);
            for file in ["NAME", "d/FILE", "e/file"] {
                assert_eq!(sampler.of_file(&rel(file)).is_none(), gone.contains(&file), "{file} {removed:?}");
            }
            let any = sampler.of_any().map(|(name, _)| name.to_string());
            assert!(any.is_none_or(|name| !gone.contains(&name.as_str())), "{removed:?}");
            assert_eq!(sampler.of_any().is_none(), gone.len() == 3, "{removed:?}");
        }
    }

    #[test]
    fn a_node_is_asked_once_more_about_the_same_file_only_if_that_is_one_still() {
        let tree = tree(&["name", "dir/", "both", "bOtH"]);
        let (root, excludes) = (Root::of(tree.path()).unwrap(), Excludes::default());
        for (file, turn, expected) in [
            ("name", 0, Some("nAmE")),
            ("name", 1, Some("NAmE")),
            ("gone", 0, None),
            ("dir", 0, None),
            ("both", 0, None),
        ] {
            let sample = Sampler::new(&root, &excludes, turn, &BTreeSet::new()).of_file(&rel(file));
            assert_eq!(sample, expected.map(|other| (rel(file), rel(other))), "{file} {turn}");
        }
    }
}
