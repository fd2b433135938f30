//! New names of files that have other names, too. One of them mostly goes at once: somebody renames by a link and a removal,
//! as an rsync with `--link-dest` does at a relay. Until then nothing is told of the new name. A plain data structure
//! without clock, disk or actor.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::messages::FindMoved;
use crate::path::RelPath;

/// The time that a new name waits for another one to go.
pub(crate) const LINK_TIME: Duration = Duration::from_millis(500);
/// The time that a new directory waits for the first such name in it.
const DIRECTORY_TIME: Duration = Duration::from_millis(30);
/// A smaller file is sent as soon as it is linked.
const LARGE: u64 = 64 * 1024;
/// Names that wait; further ones are told at once.
const MOST: usize = 20_000;

/// The entries for which it waits which other names go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Recognised {
    /// None.
    #[default]
    Nothing,
    /// Large files.
    Files,
    /// Large files, and new directories, which may be filled with such names.
    Directories,
}

/// The names that wait, and those that went meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    recognised: Recognised,
    /// New names of files, with the times at which each is told in any case.
    files: BTreeMap<RelPath, Instant>,
    /// New directories of which nothing was told yet, with the same.
    directories: BTreeMap<RelPath, Instant>,
    gone: Vec<RelPath>,
}

impl Linked {
    /// Waits for these from now on.
    pub(crate) fn recognise(&mut self, recognised: Recognised) {
        self.recognised = recognised;
    }

    /// Lets the new name of a file of this size wait. Returns true if it waits.
    pub(crate) fn holds_file(&mut self, path: &RelPath, size: u64, now: Instant) -> bool {
        let holds = self.recognised >= Recognised::Files && size >= LARGE && self.files.len() < MOST;
        if holds {
            self.files.insert(path.clone(), now + LINK_TIME);
        }
        holds
    }

    /// Lets a new directory wait. Returns true if it waits.
    pub(crate) fn holds_directory(&mut self, path: &RelPath, now: Instant) -> bool {
        let holds = self.recognised == Recognised::Directories && self.directories.len() < MOST;
        if holds {
            self.directories.insert(path.clone(), now + DIRECTORY_TIME);
        }
        holds
    }

    /// Waits no longer for what is at a path, of which something else is told. Returns true if it was waited for.
    pub(crate) fn ends(&mut self, path: &RelPath) -> bool {
        let was_file = !self.files.is_empty() && self.files.remove(path).is_some();
        was_file || !self.directories.is_empty() && self.directories.remove(path).is_some()
    }

    /// Notes a name that went.
    pub(crate) fn left(&mut self, path: &RelPath) {
        if !self.files.is_empty() && self.gone.len() < MOST {
            self.gone.push(path.clone());
        }
    }

    /// Takes the names that went while others waited.
    pub(crate) fn take_gone(&mut self) -> Option<FindMoved> {
        if self.gone.is_empty() {
            return None;
        }
        let gone = std::mem::take(&mut self.gone);
        Some(FindMoved { gone, new: self.files.keys().cloned().collect() })
    }

    /// Takes the files and directories that wait no longer.
    pub(crate) fn due(&mut self, now: Instant) -> (Vec<RelPath>, Vec<RelPath>) {
        if self.files.is_empty() && self.directories.is_empty() {
            return Default::default();
        }
        let is_due = |(path, at): (&RelPath, &Instant)| (*at <= now).then(|| path.clone());
        let files: Vec<RelPath> = self.files.iter().filter_map(is_due).collect();
        self.files.retain(|_, at| *at > now);
        let is_filled = |path: &RelPath| self.files.keys().any(|file| file.is_below(path));
        let directories = self.directories.iter().filter(|(path, at)| **at <= now && !is_filled(path));
        let directories: Vec<RelPath> = directories.map(|(path, _)| path.clone()).collect();
        self.directories.retain(|path, _| directories.binary_search(path).is_err());
        (files, directories)
    }

    /// Takes all files and directories that wait.
    pub(crate) fn flush(&mut self) -> (Vec<RelPath>, Vec<RelPath>) {
        let files = std::mem::take(&mut self.files).into_keys().collect();
        (files, std::mem::take(&mut self.directories).into_keys().collect())
    }

    /// The time at which something waits no longer.
    pub(crate) fn next(&self) -> Option<Instant> {
        // A directory with such names in it is not due before they are.
        let times = if self.files.is_empty() { &self.directories } else { &self.files };
        times.values().min().copied()
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &RelPath> {
        self.files.keys().chain(self.directories.keys())
    }

    /// Forgets what waits below a directory that went.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) {
        self.files.retain(|path, _| !path.is_below(dir));
        self.directories.retain(|path, _| !path.is_below(dir));
    }

    /// Follows the move of a directory with what waits below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        for waiting in [&mut self.files, &mut self.directories] {
            let moved = |(path, at): (&RelPath, &Instant)| Some((path.rebase(from, to)?, *at));
            let moved: Vec<_> = waiting.iter().filter_map(moved).collect();
            waiting.retain(|path, _| path != from && !path.is_below(from));
            waiting.extend(moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_large_file_waits_for_another_name_to_go_and_is_told_when_none_does() {
        let (mut linked, start) = (Linked::default(), Instant::now());
        assert!(!linked.holds_file(&rel("a"), LARGE, start), "nothing is recognised");
        linked.recognise(Recognised::Files);
        assert!(!linked.holds_file(&rel("small"), LARGE - 1, start));
        assert!(!linked.holds_directory(&rel("d"), start));
        linked.left(&rel("before"));
        assert!(linked.holds_file(&rel("a"), LARGE, start));
        assert_eq!(linked.take_gone(), None);
        linked.left(&rel("old"));
        assert_eq!(linked.take_gone(), Some(FindMoved { gone: vec![rel("old")], new: vec![rel("a")] }));
        assert_eq!(linked.take_gone(), None);
        assert_eq!(linked.next(), Some(start + LINK_TIME));
        assert_eq!(linked.due(start + LINK_TIME / 2), (vec![], vec![]));
        assert_eq!(linked.due(start + LINK_TIME), (vec![rel("a")], vec![]));
        assert_eq!(linked.next(), None);
    }

    #[test]
    fn a_new_directory_waits_a_moment_and_for_the_files_in_it() {
        let (mut linked, start) = (Linked::default(), Instant::now());
        linked.recognise(Recognised::Directories);
        assert!(linked.holds_directory(&rel("d"), start) && linked.holds_directory(&rel("e"), start));
        assert!(linked.holds_file(&rel("d/f"), LARGE, start));
        assert_eq!(linked.due(start + DIRECTORY_TIME), (vec![], vec![rel("e")]));
        linked.moved(&rel("d"), &rel("n"));
        assert!(!linked.ends(&rel("d/f")) && linked.ends(&rel("n/f")));
        assert_eq!(linked.due(start + DIRECTORY_TIME), (vec![], vec![rel("n")]));
        assert!(linked.holds_directory(&rel("g/h"), start));
        linked.forget_below(&rel("g"));
        assert_eq!(linked.waiting().count(), 0);
    }
}
