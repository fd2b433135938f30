//! New names of files that have other names, too. One of them mostly goes at once: somebody renames by a link and a removal,
//! as an rsync with `--link-dest` does at a relay. Until then nothing is told of the new name. A plain data structure
//! without clock, disk or actor.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::messages::FindMoved;
use crate::path::RelPath;

/// The time that a new name waits for another one to go.
pub(crate) const LINK_TIME: Duration = Duration::from_millis(500);
/// A smaller file is sent as soon as it is linked.
const LARGE: u64 = 64 * 1024;
/// Names that wait; further ones are told at once.
const MOST: usize = 20_000;

/// The names that wait, and those that went meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// `true` once somebody finds what such names were before.
    waits: bool,
    /// New names of files, with the times at which each is told in any case.
    files: BTreeMap<RelPath, Instant>,
    gone: Vec<RelPath>,
    /// `true` while an answer is to come: a second question waits for it.
    asked: bool,
}

impl Linked {
    /// Lets new names wait from now on.
    pub(crate) fn recognise(&mut self) {
        self.waits = true;
        self.asked = false;
    }

    /// Notes that the last question was answered.
    pub(crate) fn answered(&mut self) {
        self.asked = false;
    }

    /// Lets the new name of a file of this size wait. Returns true if it waits.
    pub(crate) fn holds_file(&mut self, path: &RelPath, size: u64, now: Instant) -> bool {
        let holds = self.waits && size >= LARGE && self.files.len() < MOST;
        if holds {
            self.files.insert(path.clone(), now + LINK_TIME);
        }
        holds
    }

    /// Waits no longer for what is at a path, of which something else is told. Returns true if it was waited for.
    pub(crate) fn ends(&mut self, path: &RelPath) -> bool {
        !self.files.is_empty() && self.files.remove(path).is_some()
    }

    /// Notes a name that went.
    pub(crate) fn left(&mut self, path: &RelPath) {
        if !self.files.is_empty() && self.gone.len() < MOST {
            self.gone.push(path.clone());
        }
    }

    /// Takes the names that went while others waited.
    pub(crate) fn take_gone(&mut self) -> Option<FindMoved> {
        if self.gone.is_empty() || self.asked {
            return None;
        }
        self.asked = true;
        let gone = std::mem::take(&mut self.gone);
        Some(FindMoved { gone, new: self.files.keys().cloned().collect() })
    }

    /// Takes the files that wait no longer.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<RelPath> {
        let is_due = |(path, at): (&RelPath, &Instant)| (*at <= now).then(|| path.clone());
        let due = self.files.iter().filter_map(is_due).collect();
        self.files.retain(|_, at| *at > now);
        due
    }

    /// Takes all files that wait.
    pub(crate) fn flush(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.files).into_keys().collect()
    }

    /// The time at which something waits no longer.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.files.values().min().copied()
    }

    /// The files that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &RelPath> {
        self.files.keys()
    }

    /// Forgets what waits below a directory that went.
    pub(crate) fn forget_below(&mut self, dir: &RelPath) {
        self.files.retain(|path, _| !path.is_below(dir));
    }

    /// Follows the move of a directory with what waits below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        let moved = |(path, at): (&RelPath, &Instant)| Some((path.rebase(from, to)?, *at));
        let moved: Vec<_> = self.files.iter().filter_map(moved).collect();
        self.files.retain(|path, _| !path.is_below(from));
        self.files.extend(moved);
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
        linked.recognise();
        assert!(!linked.holds_file(&rel("small"), LARGE - 1, start));
        linked.left(&rel("before"));
        assert!(linked.holds_file(&rel("a"), LARGE, start));
        assert_eq!(linked.take_gone(), None);
        linked.left(&rel("old"));
        assert_eq!(linked.take_gone(), Some(FindMoved { gone: vec![rel("old")], new: vec![rel("a")] }));
        linked.left(&rel("older"));
        assert_eq!(linked.take_gone(), None, "one question at a time");
        linked.answered();
        assert_eq!(linked.take_gone(), Some(FindMoved { gone: vec![rel("older")], new: vec![rel("a")] }));
        assert_eq!(linked.next(), Some(start + LINK_TIME));
        assert!(linked.due(start + LINK_TIME / 2).is_empty());
        assert_eq!(linked.due(start + LINK_TIME), vec![rel("a")]);
        assert_eq!(linked.next(), None);
    }

    #[test]
    fn what_waits_follows_the_directory_above_it() {
        let (mut linked, start) = (Linked::default(), Instant::now());
        linked.recognise();
        assert!(linked.holds_file(&rel("d/f"), LARGE, start) && linked.holds_file(&rel("g/f"), LARGE, start));
        linked.moved(&rel("d"), &rel("n"));
        assert!(!linked.ends(&rel("d/f")) && linked.ends(&rel("n/f")));
        linked.forget_below(&rel("g"));
        assert_eq!(linked.waiting().count(), 0);
    }
}
