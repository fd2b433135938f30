//! The names that are known of each file with several. A plain data structure without disk or clock.

use std::collections::{BTreeSet, HashMap};

use crate::path::RelPath;
use crate::root::reach::look::FileId;

/// Names that are remembered, some 200 bytes each. Past these all are forgotten: the next question finds them again by a
/// search.
const MOST: usize = 200_000;

/// The names by files.
#[derive(Debug)]
pub(super) struct KnownNames {
    files: HashMap<FileId, KnownFile>,
    count: usize,
    most: usize,
}

/// The names of one file.
#[derive(Debug, Default)]
struct KnownFile {
    names: BTreeSet<RelPath>,
    /// The names that the kernel counted when the whole tree was searched, and those that were found: the others are
    /// outside of the tree, or excluded.
    searched: Option<(u64, usize)>,
}

impl Default for KnownNames {
    fn default() -> Self {
        KnownNames::with_room(MOST)
    }
}

impl KnownNames {
    /// Nothing is known yet, and up to `most` names will be.
    pub(super) fn with_room(most: usize) -> Self {
        KnownNames { files: HashMap::new(), count: 0, most }
    }

    /// The names of a file, as far as they are known.
    pub(super) fn names(&self, file: FileId) -> Vec<RelPath> {
        self.files.get(&file).map(|known| known.names.iter().cloned().collect()).unwrap_or_default()
    }

    /// The names of a file that are known beside these.
    pub(super) fn others(&self, file: FileId, names: &BTreeSet<RelPath>) -> Vec<RelPath> {
        let known = self.files.get(&file).into_iter().flat_map(|known| &known.names);
        known.filter(|name| !names.contains(*name)).cloned().collect()
    }

    /// The number of names that can be added before all are forgotten.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.count)
    }

    /// Adds a name of a file.
    pub(super) fn add(&mut self, file: FileId, name: RelPath) {
        if self.room() == 0 {
            self.files.clear();
            self.count = 0;
        }
        if self.files.entry(file).or_default().names.insert(name) {
            self.count += 1;
        }
    }

    /// Forgets a name that the file has no more.
    pub(super) fn forget(&mut self, file: FileId, name: &RelPath) {
        if let Some(known) = self.files.get_mut(&file)
            && known.names.remove(name)
        {
            self.count -= 1;
        }
    }

    /// Notes the outcome of a search of the whole tree for a file: the names that the kernel counts, and those that are there.
    pub(super) fn searched(&mut self, file: FileId, links: u64, names: BTreeSet<RelPath>) {
        self.count -= self.files.remove(&file).map_or(0, |known| known.names.len());
        let there = names.len();
        names.into_iter().for_each(|name| self.add(file, name));
        if let Some(known) = self.files.get_mut(&file) {
            known.searched = Some((links, there));
        }
    }

    /// Notes the names of a file that a search for others came across, if there is room for them.
    pub(super) fn found_beside(&mut self, file: FileId, links: u64, names: BTreeSet<RelPath>) {
        if names.len() < self.room() {
            self.searched(file, links, names);
        }
    }

    /// Tells if no further name of a file can be found in the tree: the kernel counts `links`, and so many are `there`.
    pub(super) fn is_complete(&self, file: FileId, links: u64, there: usize) -> bool {
        let searched = self.files.get(&file).and_then(|known| known.searched);
        there as u64 >= links || searched.is_some_and(|(counted, found)| counted == links && there >= found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::reach::look::Meta;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn files() -> [FileId; 2] {
        let dir = tempfile::tempdir().unwrap();
        ["a", "b"].map(|name| {
            std::fs::write(dir.path().join(name), name).unwrap();
            Meta::from(&rustix::fs::lstat(dir.path().join(name)).unwrap()).file_id()
        })
    }

    fn set(names: &[&str]) -> BTreeSet<RelPath> {
        names.iter().map(|name| rel(name)).collect()
    }

    #[test]
    fn a_file_is_complete_when_all_its_names_are_there_or_a_search_found_no_more() {
        let [file, _] = files();
        let mut known = KnownNames::default();
        known.add(file, rel("a"));
        for (links, there, expected) in [(1, 1, true), (2, 1, false), (2, 2, true)] {
            assert_eq!(known.is_complete(file, links, there), expected, "{links} {there}");
        }
        // One of three is outside of the tree.
        known.searched(file, 3, set(&["a", "b"]));
        for (links, there, expected) in [(3, 2, true), (3, 3, true), (3, 1, false), (4, 3, false), (2, 1, false)] {
            assert_eq!(known.is_complete(file, links, there), expected, "{links} {there}");
        }
    }

    #[test]
    fn a_name_is_known_until_it_is_forgotten_or_another_search_does_not_find_it() {
        let [file, other] = files();
        let mut known = KnownNames::default();
        ["a", "b", "a"].iter().for_each(|name| known.add(file, rel(name)));
        known.add(other, rel("c"));
        assert_eq!(known.names(file), [rel("a"), rel("b")]);
        known.forget(file, &rel("a"));
        known.forget(file, &rel("c"));
        assert_eq!((known.names(file), known.names(other)), (vec![rel("b")], vec![rel("c")]));
        known.searched(file, 2, set(&["d", "e"]));
        assert_eq!(known.names(file), [rel("d"), rel("e")]);
        assert_eq!(known.room(), MOST - 3);
    }

    #[test]
    fn past_the_bound_all_is_forgotten_and_has_to_be_searched_again() {
        let [file, other] = files();
        let mut known = KnownNames::with_room(3);
        known.searched(file, 3, set(&["a", "b"]));
        known.found_beside(other, 2, set(&["x", "y"]));
        assert_eq!(known.names(other), [], "no room beside what was asked for");
        ["x", "y"].iter().for_each(|name| known.add(other, rel(name)));
        assert_eq!((known.names(file), known.names(other)), (vec![], vec![rel("y")]));
        assert!(!known.is_complete(file, 3, 2));
    }
}
