//! What an rsync of somebody else is bringing into the source: files and directories of temporary names, which are left
//! alone until they get their own. The watcher decides which; a comparison of a directory passes over them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::path::RelPath;

/// The most entries that a comparison passes over: each takes two arguments of rsync, whose number is limited.
const MOST: usize = 200;

/// The entries that wait for their names. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arriving(Arc<Mutex<ArrivingEntries>>);

#[derive(Debug, Default)]
struct ArrivingEntries {
    /// The entries by their temporary names.
    entries: BTreeMap<RelPath, AtNodes>,
    /// The directories that are being compared with a node, by the numbers of the comparisons.
    compared: BTreeMap<u64, Vec<RelPath>>,
    comparisons: u64,
    /// `true` once an rsync is known to write here.
    by_rsync: bool,
}

/// The knowledge of whether a node has an entry by its temporary name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtNodes {
    /// No node has the entry: it was made while somebody watched, and nothing has sent it.
    Nowhere,
    /// A node may have the entry: it was there before, or was made in a directory that was just being compared.
    Perhaps,
}

/// A comparison of directories that passes over what is arriving there. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct PassedOver {
    arriving: Arriving,
    number: u64,
    /// The entries to pass over.
    pub paths: Vec<RelPath>,
}

impl Arriving {
    /// Adds an entry. `is_new`: it was made just now.
    pub(crate) fn add(&self, path: RelPath, is_new: bool) {
        let mut state = self.lock();
        state.by_rsync = true;
        let is_compared = state.compared.values().flatten().any(|top| is_within(&path, top));
        let at_nodes = if is_new && !is_compared { AtNodes::Nowhere } else { AtNodes::Perhaps };
        state.entries.entry(path).or_insert(at_nodes);
    }

    /// Notes that somebody's rsync brings what is in the source.
    pub(crate) fn note_rsync(&self) {
        self.lock().by_rsync = true;
    }

    /// Tells if an rsync of somebody else was seen to write in the source since the daemon started.
    pub(crate) fn saw_rsync(&self) -> bool {
        self.lock().by_rsync
    }

    /// Takes an entry that got its name, went, or counts as it is.
    pub(crate) fn take(&self, path: &RelPath) -> Option<AtNodes> {
        let mut state = self.lock();
        if state.entries.is_empty() { None } else { state.entries.remove(path) }
    }

    /// Tells if an entry, or a directory above it, waits for its name.
    pub(crate) fn holds(&self, path: &RelPath) -> bool {
        let entries = &self.lock().entries;
        !entries.is_empty() && (entries.contains_key(path) || path.ancestors().any(|dir| entries.contains_key(&dir)))
    }

    /// Forgets what is below a directory that went.
    pub(crate) fn forget_below(&self, dir: &RelPath) {
        self.lock().entries.retain(|path, _| !path.is_below(dir));
    }

    /// Follows the move of a directory. The nodes may have any of it by then.
    pub(crate) fn moved(&self, from: &RelPath, to: &RelPath) {
        let mut state = self.lock();
        let moved: Vec<RelPath> = state.entries.keys().filter_map(|path| path.rebase(from, to)).collect();
        state.entries.retain(|path, _| path != from && !path.is_below(from));
        state.entries.extend(moved.into_iter().map(|path| (path, AtNodes::Perhaps)));
    }

    /// Begins a comparison of these directories with a node.
    pub(crate) fn pass_over(&self, tops: impl IntoIterator<Item = RelPath>) -> PassedOver {
        let tops: Vec<RelPath> = tops.into_iter().collect();
        let mut state = self.lock();
        let mut paths = Vec::new();
        for (path, at_nodes) in &mut state.entries {
            if !tops.iter().any(|top| is_within(path, top)) {
                continue;
            }
            if paths.len() < MOST {
                paths.push(path.clone());
            } else {
                *at_nodes = AtNodes::Perhaps;
            }
        }
        state.comparisons += 1;
        let number = state.comparisons;
        state.compared.insert(number, tops);
        drop(state);
        PassedOver { arriving: self.clone(), number, paths }
    }

    fn lock(&self) -> MutexGuard<'_, ArrivingEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PassedOver {
    fn drop(&mut self) {
        self.arriving.lock().compared.remove(&self.number);
    }
}

fn is_within(path: &RelPath, top: &RelPath) -> bool {
    top.is_root() || path == top || path.is_below(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_comparison_passes_over_what_arrives_in_its_directories_and_may_take_along_what_comes_later() {
        let arriving = Arriving::default();
        ["d/.a.XXXXXX", "e/.b.XXXXXX"].iter().for_each(|path| arriving.add(rel(path), true));
        let passed = arriving.pass_over([rel("d")]);
        assert_eq!(passed.paths, [rel("d/.a.XXXXXX")]);
        assert!(arriving.saw_rsync() && !Arriving::default().saw_rsync());
        arriving.add(rel("d/.c.XXXXXX"), true);
        arriving.add(rel("e/.d.XXXXXX"), true);
        drop(passed);
        arriving.add(rel("d/.e.XXXXXX"), true);
        arriving.add(rel("d/.f.XXXXXX"), false);
        for (path, expected) in [
            ("d/.a.XXXXXX", Some(AtNodes::Nowhere)),
            ("d/.c.XXXXXX", Some(AtNodes::Perhaps)),
            ("e/.d.XXXXXX", Some(AtNodes::Nowhere)),
            ("d/.e.XXXXXX", Some(AtNodes::Nowhere)),
            ("d/.f.XXXXXX", Some(AtNodes::Perhaps)),
            ("d/.f.XXXXXX", None),
        ] {
            assert_eq!(arriving.take(&rel(path)), expected, "{path}");
        }
    }

    #[test]
    fn more_entries_than_a_run_can_name_may_be_at_the_nodes_by_their_temporary_names() {
        let arriving = Arriving::default();
        let name = |number: usize| rel(&format!(".{number:03}.XXXXXX"));
        (0..=MOST).for_each(|number| arriving.add(name(number), true));
        assert_eq!(arriving.pass_over([RelPath::root()]).paths.len(), MOST);
        assert_eq!(arriving.take(&name(MOST - 1)), Some(AtNodes::Nowhere));
        assert_eq!(arriving.take(&name(MOST)), Some(AtNodes::Perhaps));
    }

    #[test]
    fn entries_follow_their_directory_and_hold_what_is_below_them() {
        let arriving = Arriving::default();
        arriving.add(rel("d/.~tmp~"), true);
        assert!(arriving.holds(&rel("d/.~tmp~/f")) && !arriving.holds(&rel("d")));
        arriving.moved(&rel("d"), &rel("e"));
        assert!(!arriving.holds(&rel("d/.~tmp~")));
        assert_eq!(arriving.take(&rel("e/.~tmp~")), Some(AtNodes::Perhaps));
        arriving.add(rel("d/.a.XXXXXX"), true);
        arriving.forget_below(&rel("d"));
        assert!(!arriving.holds(&rel("d/.a.XXXXXX")));
    }
}
