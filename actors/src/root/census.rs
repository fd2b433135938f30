//! The directories of the source, counted in groups: a comparison of everything may go through them by several runs beside
//! each other. The watcher counts, now and then; a count that is behind balances the runs worse, and leaves nothing out.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::path::RelPath;
use crate::patterns::rules::groups::NameGroup;

/// A group of more than one part in so many of all directories is divided further,
const SHARES: u64 = 32;
/// unless there are so many groups already: rsync looks through the rules for each entry.
const MOST: usize = 64;

/// The groups of the source. Clones share them: the watcher writes, others read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census(Arc<Mutex<CountedGroups>>);

/// The groups of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CountedGroups {
    /// The number of all directories.
    pub directories: u64,
    /// The groups, which have no entry in common, with the number of the directories in each.
    pub groups: Vec<(NameGroup, u64)>,
}

/// A name in a directory, with the number of directories that it stands for: itself and all below it.
pub(crate) type CountedName<'n> = (&'n [u8], u64);

/// A group that may be divided further. The heaviest comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Divisible<'n> {
    weight: u64,
    group: NameGroup,
    names: Vec<CountedName<'n>>,
}

impl CountedGroups {
    /// Divides a tree of which only the names of the directories at the top are known.
    pub(crate) fn of_equal(names: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let names: Vec<Vec<u8>> = names.into_iter().collect();
        let directories = 1 + names.len() as u64;
        let at_the_top =
            |dir: &RelPath| names.iter().filter(|_| dir.is_root()).map(|name| (name.as_slice(), 1)).collect();
        let groups = divided(directories, at_the_top);
        CountedGroups { directories, groups }
    }
}

impl Census {
    /// Returns the last count; nothing if nobody counted.
    pub(crate) fn read(&self) -> CountedGroups {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the count if the number of directories has changed much since, or this is the first one.
    pub(crate) fn refresh(&self, directories: u64, groups: impl FnOnce() -> Vec<(NameGroup, u64)>) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if directories.abs_diff(counted.directories) * 4 > counted.directories {
            *counted = CountedGroups { directories, groups: groups() };
        }
    }
}

/// Divides a tree of so many directories into groups. `children` counts the directories in a directory.
pub(crate) fn divided<'n>(
    directories: u64,
    children: impl Fn(&RelPath) -> Vec<CountedName<'n>>,
) -> Vec<(NameGroup, u64)> {
    let mut left = BinaryHeap::from(named_alike(&RelPath::root(), children(&RelPath::root())));
    let mut found = Vec::new();
    while let Some(Divisible { weight, group, names }) = left.pop() {
        let parts = match weight * SHARES > directories && found.len() + left.len() < MOST {
            true if group.is_name => {
                let dir = group.inside();
                named_alike(&dir, children(&dir))
            }
            true => named_alike(&group.dir, names),
            false => Vec::new(),
        };
        // What cannot be divided would come again and again.
        match parts.is_empty() || parts.iter().any(|part| part.group == group) {
            true => found.push((group, weight)),
            false => left.extend(parts),
        }
    }
    found.retain(|(group, _)| group.has_rules());
    found
}

/// Divides the names in a directory by the first byte in which they differ. A name that comes twice counts as one: a directory
/// that was moved away is still known for a moment when another one has its name.
fn named_alike<'n>(dir: &RelPath, counted: Vec<CountedName<'n>>) -> Vec<Divisible<'n>> {
    let mut names = BTreeMap::<&[u8], u64>::new();
    counted.into_iter().for_each(|(name, weight)| *names.entry(name).or_default() += weight);
    let Some((&first, _)) = names.first_key_value() else { return Vec::new() };
    let alike = |name: &[u8]| first.iter().zip(name).take_while(|(a, b)| a == b).count();
    let alike = names.keys().map(|name| alike(name)).min().unwrap_or_default();
    let mut groups = BTreeMap::<Option<u8>, Vec<CountedName<'n>>>::new();
    for (name, weight) in names {
        groups.entry(name.get(alike).copied()).or_default().push((name, weight));
    }
    let divisible = |names: Vec<CountedName<'n>>| {
        let is_name = names.len() == 1;
        let mut start = names.first().map(|(name, _)| name.to_vec()).unwrap_or_default();
        if !is_name {
            start.truncate(alike + 1);
        }
        let weight = names.iter().map(|(_, weight)| weight).sum();
        Divisible { weight, group: NameGroup { dir: dir.clone(), start, is_name }, names }
    };
    groups.into_values().map(divisible).collect()
}

/// Balances the groups over at most so many runs. The first run goes also through what is in no group.
pub(crate) fn balanced(counted: CountedGroups, runs: usize) -> Vec<Vec<NameGroup>> {
    let CountedGroups { directories, mut groups } = counted;
    groups.sort_by(|(one, weight), (other, heavier)| heavier.cmp(weight).then_with(|| one.cmp(other)));
    let in_groups: u64 = groups.iter().map(|(_, weight)| weight).sum();
    let mut loads = vec![(directories.saturating_sub(in_groups), Vec::new())];
    loads.resize(runs.max(1), (0, Vec::new()));
    for (group, weight) in groups {
        // Of those that are alike, the last one: the first may have many files in no group.
        if let Some((load, taken)) = loads.iter_mut().rev().min_by_key(|(load, _)| *load) {
            *load += weight;
            taken.push(group);
        }
    }
    let mut loads = loads.into_iter().map(|(_, taken)| taken);
    loads.next().into_iter().chain(loads.filter(|taken| !taken.is_empty())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    /// Groups as people write them.
    fn shown(groups: &[(NameGroup, u64)]) -> Vec<String> {
        let mut shown: Vec<String> = groups.iter().map(|(group, weight)| format!("{} {weight}", name(group))).collect();
        shown.sort();
        shown
    }

    fn name(group: &NameGroup) -> String {
        let dir = if group.dir.is_root() { String::new() } else { format!("{}/", group.dir) };
        format!("{dir}{}{}", String::from_utf8_lossy(&group.start), if group.is_name { "" } else { "*" })
    }

    /// The division of a tree of these directories, each with so many below it that are told by nobody.
    fn of<'d>(dirs: &[(&'d str, u64)]) -> Vec<String> {
        let weight = |path: &RelPath| {
            let is_in = |(dir, _): &&(&str, u64)| rel(dir) == *path || rel(dir).is_below(path);
            dirs.iter().filter(is_in).map(|(_, below)| 1 + below).sum::<u64>()
        };
        let children = |path: &RelPath| {
            let children = dirs.iter().filter(|(dir, _)| rel(dir).parent().as_ref() == Some(path));
            let counted = |(dir, _): &(&'d str, u64)| (dir.rsplit('/').next().unwrap().as_bytes(), weight(&rel(dir)));
            children.map(counted).collect()
        };
        shown(&divided(1 + weight(&RelPath::root()), children))
    }

    #[test]
    fn a_tree_is_divided_where_it_is_heavy() {
        let many: Vec<String> = (0..400).map(|number| format!("user{number:03}")).collect();
        let many: Vec<(&str, u64)> = many.iter().map(|name| (name.as_str(), 9)).collect();
        let users = |range: std::ops::Range<u64>| range.map(|number| format!("user{number:02}* 100"));
        for (dirs, expected) in [
            (&[][..], vec![]),
            (&[("a", 0)], vec!["a 1"]),
            (&[("a", 10), ("b", 20), ("c", 30)], vec!["a 11", "b 21", "c 31"]),
            // All is in one directory, some way down.
            (&[("w", 0), ("w/x", 0), ("w/x/a", 50), ("w/x/b", 40)], vec!["w/x/a 51", "w/x/b 41"]),
            // One name is the beginning of others.
            (&[("a", 100), ("ab", 100), ("ac", 0), ("b", 0)], vec!["a 101", "ab 101", "ac 1", "b 1"]),
        ] {
            assert_eq!(of(dirs), expected);
        }
        assert_eq!(of(&many), users(0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_name_that_comes_twice_is_one_group() {
        for (names, expected) in [
            (&[("x", 5), ("x", 5)][..], &["x 10"][..]),
            (&[("x", 5), ("x", 5), ("xa", 5)], &["x 10", "xa 5"]),
            (&[("xa", 1), ("x", 1), ("y", 200), ("x", 1)], &["x* 3", "y 200"]),
            (&[("xa", 5), ("xa", 5), ("xb", 5)], &["xa 10", "xb 5"]),
        ] {
            let total: u64 = names.iter().map(|(_, weight)| weight).sum();
            let at_the_top = |dir: &RelPath| {
                names.iter().filter(|_| dir.is_root()).map(|(name, weight)| (name.as_bytes(), *weight)).collect()
            };
            assert_eq!(shown(&divided(1 + total, at_the_top)), expected, "{names:?}");
        }
    }

    #[test]
    fn runs_get_groups_of_about_the_same_number_of_directories() {
        let group = |name: &str| NameGroup { dir: RelPath::root(), start: name.into(), is_name: true };
        for (directories, groups, runs, expected) in [
            (10, &[][..], 4, &[&[][..]][..]),
            (100, &[("a", 50), ("b", 30), ("c", 20)], 1, &[&["a", "b", "c"]]),
            (101, &[("a", 50), ("b", 30), ("c", 20)], 2, &[&["b", "c"], &["a"]]),
            (101, &[("a", 50), ("b", 30), ("c", 20)], 8, &[&[], &["c"], &["b"], &["a"]]),
            // Most of the tree is in no group.
            (200, &[("a", 50), ("b", 30), ("c", 20)], 2, &[&[], &["a", "b", "c"]]),
            (41, &[("a", 10), ("b", 10), ("c", 10), ("d", 10)], 2, &[&["b", "d"], &["a", "c"]]),
        ] {
            let groups = groups.iter().map(|(name, weight)| (group(name), *weight)).collect();
            let found = balanced(CountedGroups { directories, groups }, runs);
            let found: Vec<Vec<String>> = found.iter().map(|taken| taken.iter().map(name).collect()).collect();
            assert_eq!(found, expected, "{directories} {runs}");
        }
    }

    #[test]
    fn the_count_is_made_anew_when_a_quarter_has_changed() {
        let census = Census::default();
        for (directories, is_anew) in [(100, true), (125, false), (126, true), (95, false), (94, true), (0, true)] {
            let mut was_anew = false;
            census.refresh(directories, || {
                was_anew = true;
                Vec::new()
            });
            assert_eq!(was_anew, is_anew, "{directories}");
        }
    }
}
