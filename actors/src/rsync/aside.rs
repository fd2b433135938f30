//! Sets aside what does not fit at the node. rsync ends at the first write that fails (exit code 11), and all that sorts after
//! that file is not sent: so the run is repeated at once without it. Where not even a small file fits, the node is full.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

use slog::debug;

use super::Rsync;
use super::Work;
use super::complaint::{Complaint, End, Why, lines, words};
use super::failure::{Cause, Failure};
use super::itemized::Itemized;
use super::output::Bytes;
use super::recipe::{self, Recipe};
use super::run::{Code, Finished};
use crate::filter::rules;
use crate::path::{Escaped, RelPath};
use crate::sync::Delivery;

/// Files that a run is repeated without. Where more do not fit, the node is full.
const MOST: usize = 50;
/// So many files of a list are tried one by one. Then what is as large as one of them does not fit either.
const ONE_BY_ONE: usize = 8;
/// A file of so few bytes does not fit only where nothing does.
const SMALL: u64 = 16 * 1024;

/// The words of the complaints about a write that failed, which end a run.
const WRITES: &[&[u8]] = &[b"write failed on ", b"ftruncate failed on ", b"fsync failed on ", b"close failed on "];

/// A file that did not fit.
struct Unfit {
    path: RelPath,
    size: u64,
    failure: Failure,
}

/// What a run is repeated without.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// What these filter rules exclude.
    Rules(Vec<OsString>),
    /// What is not in this list.
    List(Vec<u8>),
}

/// What is set aside in one delivery.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// What does not fit.
    unfit: BTreeSet<RelPath>,
    /// What was not tried, as it is in the same directory and no smaller.
    untried: BTreeSet<RelPath>,
    /// The size of the smallest file that did not fit.
    smallest: u64,
    /// Why the first did not.
    failure: Option<Failure>,
}

impl Aside {
    /// One more file. Whether the run may be repeated without it.
    fn add(&mut self, Unfit { path, size, failure }: Unfit) -> bool {
        self.smallest = if self.failure.is_some() { self.smallest.min(size) } else { size };
        self.failure.get_or_insert(failure);
        size > SMALL && self.unfit.insert(path) && self.has_room()
    }

    fn has_room(&self) -> bool {
        self.unfit.len() + self.untried.len() <= MOST
    }

    /// Tells in a delivery what was set aside in it.
    pub fn note_in(self, delivery: &mut Delivery) {
        let Aside { unfit, untried, failure, .. } = self;
        delivery.fail(unfit.iter().cloned().chain(untried), failure);
        delivery.aside.extend(unfit);
    }

    /// What of a list is left: `size` is that of a file of the source, and `has_arrived` says that the node has it by now.
    fn rest(
        &mut self,
        list: &[u8],
        size: impl Fn(&RelPath) -> Option<u64>,
        has_arrived: impl Fn(&RelPath) -> bool,
    ) -> Vec<u8> {
        let (mut paths, root) = recipe::named(list);
        // What a run that was broken off said of directories may not hold.
        paths.retain(|path| !self.unfit.contains(path) && (size(path).is_none() || !has_arrived(path)));
        if self.unfit.len() >= ONE_BY_ONE {
            let is_unfit = |path: &RelPath| size(path).is_some_and(|size| size >= self.smallest);
            let (unfit, rest) = paths.into_iter().partition(is_unfit);
            self.unfit.extend::<Vec<RelPath>>(unfit);
            paths = rest;
        }
        match paths.is_empty() {
            true => recipe::verified([&RelPath::root()]),
            false => recipe::entries(&paths, root),
        }
    }
}

impl Rsync {
    /// If a run ended because a file does not fit, sets that aside, and says without what the run is to be repeated. `None` if
    /// it ended otherwise, or the node is full.
    pub(super) fn set_aside(
        &self,
        recipe: Recipe,
        work: Work<'_>,
        finished: &Finished,
        itemized: &Itemized,
        aside: &mut Aside,
    ) -> Option<Without> {
        let unfit = self.unfit(finished)?;
        let (path, size) = (unfit.path.clone(), unfit.size);
        debug!(self.log, "a file does not fit at the node"; "path" => %path, "size" => size, "why" => %unfit.failure);
        if !aside.add(unfit) {
            return None;
        }
        match work {
            Work::List(list) if recipe.names_files() => {
                // The receiver stores one file after the other, and those after this one it has not stored.
                let has_arrived = |other: &RelPath| !itemized.has(&path) && itemized.has(other);
                let rest = aside.rest(list, |path| self.size(path), has_arrived);
                aside.has_room().then_some(Without::List(rest))
            }
            _ => {
                let beside = self.beside(&path, size).into_iter().filter(|other| !itemized.has(other));
                let untried: Vec<RelPath> = beside.filter(|other| aside.untried.insert(other.clone())).collect();
                let rules = [path].iter().chain(&untried).flat_map(rules::exact).collect();
                aside.has_room().then_some(Without::Rules(rules))
            }
        }
    }

    /// The file that ended a run, as it did not fit.
    fn unfit(&self, finished: &Finished) -> Option<Unfit> {
        if matches!(finished.code, Code::Exit(0 | 23 | 24)) {
            return None;
        }
        let (line, complaint) = lines(&finished.stderr).find_map(|line| Some((line, unfit(line)?)))?;
        let path = self.inside(complaint.name.as_deref()?)?;
        let size = self.size(&path)?;
        let why = line.rsplit(|&byte| byte == b':').next().unwrap_or(line).trim_ascii();
        let said = format!("{path} ({}): {}", Bytes(size), Escaped(why));
        let cause = if complaint.why == Why::TooLarge { Cause::TooLarge } else { Cause::NoRoom };
        Some(Unfit { path, size, failure: Failure::new(cause, said) })
    }

    /// The size of a file of the source.
    fn size(&self, path: &RelPath) -> Option<u64> {
        let meta = path.under(self.root.path()).symlink_metadata().ok()?;
        meta.is_file().then_some(meta.len())
    }

    /// The files in the same directory that are at least as large.
    fn beside(&self, path: &RelPath, size: u64) -> Vec<RelPath> {
        let dir = path.parent().unwrap_or_else(RelPath::root);
        let entries = fs::read_dir(dir.under(self.root.path())).into_iter().flatten().flatten();
        let large = entries.filter(|entry| entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() >= size));
        large.map(|entry| dir.join(&entry.file_name())).filter(|other| other != path).collect()
    }
}

/// The complaint of a line that says that a file does not fit.
fn unfit(line: &[u8]) -> Option<Complaint> {
    let complaint = Complaint::read(line)?;
    let is_write = words(line).is_some_and(|words| WRITES.contains(&words));
    let is_unfit = matches!(complaint.why, Why::Full | Why::TooLarge) && complaint.end != Some(End::Source);
    (is_write && is_unfit).then_some(complaint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::blame::Blame;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn file(path: &str, size: u64) -> Unfit {
        Unfit { path: rel(path), size, failure: Failure::new(Cause::NoRoom, path) }
    }

    #[test]
    fn only_a_write_that_failed_for_want_of_room_names_a_file_that_does_not_fit() {
        for (line, expected) in [
            (r#"rsync: [receiver] write failed on "/m/d/f": No space left on device (28)"#, Some(Why::Full)),
            (r#"rsync: write failed on "/m/d/f": Disk quota exceeded (122)"#, Some(Why::Full)),
            (r#"rsync: [receiver] write failed on "f" (in m): File too large (27)"#, Some(Why::TooLarge)),
            (r#"rsync: [receiver] close failed on "/m/.f.aBcDeF": Disk quota exceeded (122)"#, Some(Why::Full)),
            (r#"rsync: [receiver] write failed on "/m/d/f": Input/output error (5)"#, None),
            (r#"rsync: [receiver] mkstemp "/m/.f.aBcDeF" failed: No space left on device (28)"#, None),
            (r#"rsync: [generator] recv_generator: mkdir "/m/d" failed: No space left on device (28)"#, None),
            ("rsync: [sender] write error: Broken pipe (32)", None),
        ] {
            assert_eq!(unfit(line.as_bytes()).map(|complaint| complaint.why), expected, "{line}");
        }
    }

    #[test]
    fn a_small_file_the_same_again_or_too_many_end_it() {
        let mut aside = Aside::default();
        assert!(aside.add(file("a", SMALL + 1)));
        assert!(!aside.add(file("a", SMALL + 1)), "it is in the way although it was set aside");
        assert!(!aside.add(file("small", SMALL)));
        let more = (0..).map(|number| file(&format!("b{number}"), 1 << 30));
        assert_eq!(more.take_while(|_| true).position(|unfit| !aside.add(unfit)), Some(MOST - 1));
    }

    #[test]
    fn a_list_goes_on_without_what_does_not_fit_and_what_arrived() {
        let list = recipe::entries(&["a", "big", "dir", "f", "large"].map(rel), true);
        let size = |path: &RelPath| match path.to_string().as_str() {
            "dir" => None,
            "big" => Some(900_000),
            "large" => Some(1_000_000),
            _ => Some(1),
        };
        let rest = |aside: &mut Aside, arrived: &[&str]| {
            let rest = aside.rest(&list, size, |path| arrived.iter().any(|arrived| rel(arrived) == *path));
            let (paths, root) = recipe::named(&rest);
            (paths.iter().map(RelPath::to_string).collect::<Vec<_>>().join(" "), root)
        };
        let mut aside = Aside::default();
        aside.add(file("big", 900_000));
        assert_eq!(rest(&mut aside, &["a", "dir"]), ("dir f large".to_owned(), true));
        assert_eq!(rest(&mut aside, &[]), ("a dir f large".to_owned(), true));
        // After so many, nobody waits for the others that are as large.
        (1..ONE_BY_ONE).for_each(|number| assert!(aside.add(file(&format!("b{number}"), 1_000_000))));
        assert_eq!(rest(&mut aside, &[]), ("a dir f".to_owned(), true));
        assert!(aside.unfit.contains(&rel("large")));
        let mut delivery = Delivery::default();
        aside.note_in(&mut delivery);
        assert_eq!(delivery.aside.len(), ONE_BY_ONE + 1);
        assert_eq!(delivery.failure.map(|failure| failure.said), Some("big".to_owned()), "the first one is told");
        assert!(matches!(&delivery.blamed, Blame::Paths(paths) if paths.len() == ONE_BY_ONE + 1));
    }
}
