//! Sets aside what does not fit at the node. rsync ends at the first write that fails (exit code 11), and all that
//! sorts after that file is not sent: so the run is repeated at once without it. Where not even a small file fits, the
//! node is full.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use slog::debug;

use crate::bytes::Bytes;
use crate::path::{Escaped, RelPath};
use crate::patterns::rules;
use crate::root::Root;
use crate::rsync::recipe;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::complaint::{Complaint, End, Why, lines, words};
use crate::rsync::report::itemized::Itemized;
use crate::rsync::report::temporary;
use crate::rsync::runner::process::{Code, Finished};
use crate::rsync::runner::run_order::Work;
use crate::rsync::target::Target;
use crate::transport::Delivery;
use crate::transport::blame::Blame;
use crate::transport::failure::{Cause, Failure};

/// Files that do not fit, without which a run is repeated. Where there are more, the node is full. A
/// comparison leaves out at most this number of files untried that lie beside one of them.
const MOST: usize = 50;
/// So many files of a list are tried one by one. Then what is as large as one of them in its directory is not tried.
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

/// The entries without which a run is repeated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// Entries that these filter rules exclude.
    Rules(Vec<OsString>),
    /// Entries that are not in this list.
    List(Vec<u8>),
}

/// The entries that are set aside in one delivery.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Files that do not fit, with their sizes.
    unfit: BTreeMap<RelPath, u64>,
    /// Files that were not tried, as they are in the same directory and no smaller. The node may have them as they are.
    untried: BTreeSet<RelPath>,
    /// Paths that broken-off runs blamed: they have not arrived, although they were sent.
    blamed: Blame,
    /// The reason why the first entry did not fit.
    failure: Option<Failure>,
}

impl Aside {
    /// One more file. Whether the run may be repeated without it.
    fn add(&mut self, Unfit { path, size, failure }: Unfit) -> bool {
        self.failure.get_or_insert(failure);
        size > SMALL && self.unfit.insert(path, size).is_none() && self.unfit.len() <= MOST
    }

    /// For each directory in which something did not fit the size of the smallest such file.
    fn smallest(&self) -> BTreeMap<Option<RelPath>, u64> {
        let mut smallest = BTreeMap::new();
        for (path, &size) in &self.unfit {
            smallest.entry(path.parent()).and_modify(|least: &mut u64| *least = size.min(*least)).or_insert(size);
        }
        smallest
    }

    /// Tells in a delivery what was set aside in it.
    pub(crate) fn note_in(self, delivery: &mut Delivery) {
        let Aside { unfit, untried, failure, .. } = self;
        // What does not fit is told at once, what else failed only when it fails again.
        let failure = failure.or(delivery.failure.take());
        delivery.fail(unfit.keys().chain(&untried).cloned(), failure);
        delivery.aside.extend(unfit.into_keys());
        delivery.untried.extend(untried);
    }

    /// Returns the rest of a list: `size` is that of a file of the source, and `was_stored` says that the node
    /// has come to it.
    fn rest(
        &mut self,
        list: &[u8],
        size: impl Fn(&RelPath) -> Option<u64>,
        was_stored: impl Fn(&RelPath) -> bool,
    ) -> Vec<u8> {
        let (listed, root) = recipe::named(list);
        // What a run that was broken off said of directories may not hold.
        let has_arrived = |path: &RelPath| size(path).is_some() && was_stored(path) && !self.blamed.touches(path);
        let is_done =
            |path: &RelPath| self.unfit.contains_key(path) || self.untried.contains(path) || has_arrived(path);
        let (mut done, mut paths) = listed.into_iter().partition::<BTreeSet<RelPath>, _>(is_done);
        if self.unfit.len() >= ONE_BY_ONE {
            let smallest = self.smallest();
            let is_as_large = |path: &RelPath| {
                smallest.get(&path.parent()).is_some_and(|&least| size(path).is_some_and(|size| size >= least))
            };
            let (untried, rest) = paths.into_iter().partition::<BTreeSet<RelPath>, _>(is_as_large);
            done.extend(untried.iter().cloned());
            self.untried.extend(untried);
            paths = rest;
        }
        // The run that was broken off has written in these, and has not set their times.
        paths.extend(done.iter().filter_map(RelPath::parent).filter(|dir| !dir.is_root()));
        match paths.is_empty() {
            true => recipe::verified([&RelPath::root()]),
            false => recipe::entries(&paths, root),
        }
    }
}

impl Target {
    /// If a run ended because a file does not fit, sets that aside, and says without what the run is to be repeated.
    /// `None` if it ended otherwise, or the node is full.
    pub(crate) fn set_aside(
        &self,
        recipe: Recipe,
        work: Work<'_>,
        finished: &Finished,
        itemized: &Itemized,
        aside: &mut Aside,
    ) -> Option<Without> {
        let unfit = self.unfit(finished, &aside.unfit)?;
        let path = unfit.path.clone();
        let size = unfit.size;
        debug!(self.log, "a file does not fit at the node"; "path" => %path, "size" => size, "why" => %unfit.failure);
        if !aside.add(unfit) {
            return None;
        }
        let said = lines(&finished.stderr).filter(|line| !is_of_the_end(line));
        aside.blamed.add(self.blamed_in(&said.collect::<Vec<_>>().join(&b'\n')));
        match work {
            Work::List(list) if recipe.names_files() => {
                // The receiver stores one file after the other, and those after this one it has not stored. With some
                // options it stores none before the end.
                let stores = !self.site.extra.stores_late() && !itemized.has(&path);
                // Another name of it may not be linked to it yet: rsync links what is in one list.
                let is_one_name = |other: &RelPath| {
                    !self.links_hard() || self.root.look_at(other).is_ok_and(|meta| meta.nlink() == 1)
                };
                aside.untried.extend(self.other_names(&path, list));
                let was_stored = |other: &RelPath| stores && itemized.has(other) && is_one_name(other);
                let rest = aside.rest(list, |path| self.size(path), was_stored);
                Some(Without::List(rest))
            }
            _ => {
                let is_new = |other: &RelPath| !itemized.has(other) && !aside.untried.contains(other);
                let beside = self.beside(&path, size).filter(is_new).take(MOST).collect::<Vec<RelPath>>();
                let rules = [path].iter().chain(&beside).flat_map(rules::exact).collect();
                aside.untried.extend(beside);
                Some(Without::Rules(rules))
            }
        }
    }

    /// The file that ended a run, as it did not fit. `before`: what did not fit in the runs before.
    fn unfit(&self, finished: &Finished, before: &BTreeMap<RelPath, u64>) -> Option<Unfit> {
        if matches!(finished.code, Code::Exit(0 | 23 | 24)) {
            return None;
        }
        let (line, complaint) = lines(&finished.stderr).find_map(|line| Some((line, unfit(line)?)))?;
        let named = self.inside(complaint.name.as_deref()?)?;
        let (path, size) = original(&self.root, &named, before)?;
        let why = line.rsplit(|&byte| byte == b':').next().unwrap_or(line).trim_ascii();
        let said = format!("{path} ({}): {}", Bytes(size), Escaped(why));
        let cause = if complaint.why == Why::TooLarge { Cause::TooLarge } else { Cause::NoRoom };
        Some(Unfit { path, size, failure: Failure::new(cause, said) })
    }

    /// The other names in a list of the same file, which rsync would send by one of them next. Each is one file at the node.
    fn other_names(&self, path: &RelPath, list: &[u8]) -> Vec<RelPath> {
        let linked = |path: &RelPath| self.root.look_at(path).ok().filter(|meta| meta.is_file() && meta.nlink() > 1);
        let Some(file) = linked(path).filter(|_| self.links_hard()) else { return Vec::new() };
        let is_other =
            |other: &RelPath| other != path && linked(other).is_some_and(|meta| meta.file_id() == file.file_id());
        recipe::named(list).0.into_iter().filter(is_other).collect()
    }

    /// The size of a file of the source.
    fn size(&self, path: &RelPath) -> Option<u64> {
        size_of(&self.root, path)
    }

    /// The files in the same directory that are mirrored and at least as large.
    fn beside(&self, path: &RelPath, size: u64) -> impl Iterator<Item = RelPath> {
        let dir = path.parent().unwrap_or_else(RelPath::root);
        let names = self.root.names(&dir, usize::MAX).into_iter();
        let others = names.map(move |name| dir.join(&name));
        let large = others.filter(move |other| size_of(&self.root, other).is_some_and(|other| other >= size));
        large.filter(move |other| other != path && self.site.excludes.matching(other, false).is_none())
    }
}

fn size_of(root: &Root, path: &RelPath) -> Option<u64> {
    let meta = root.look_at(path).ok()?;
    meta.is_file().then_some(meta.len())
}

/// The file of the source that a complaint about a write means, and its size: the receiver may name the temporary one.
/// Where two may be meant, one that is not known `before`.
fn original(root: &Root, named: &RelPath, before: &BTreeMap<RelPath, u64>) -> Option<(RelPath, u64)> {
    let found =
        if temporary::stems(named).next().is_some() { temporary::originals(root, named) } else { vec![named.clone()] };
    let files = || found.iter().filter_map(|path| Some((path.clone(), size_of(root, path)?)));
    files().find(|(path, _)| !before.contains_key(path)).or_else(|| files().next())
}

/// Tells if a line only says that the other end is gone: why, another one says.
fn is_of_the_end(line: &[u8]) -> bool {
    line.ends_with(b"Broken pipe (32)") && words(line).is_none() || line.starts_with(b"rsync: connection unexpectedly ")
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
    use std::fs;

    use super::*;

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
        // It was sent, and the node said what became of it.
        aside.blamed.add(Blame::Paths(vec![rel("a")]));
        assert_eq!(rest(&mut aside, &["a", "f"]), ("a dir large".to_owned(), true));
        // After so many, nobody waits for the others that are as large, where they are in the same directory.
        (1..ONE_BY_ONE).for_each(|number| assert!(aside.add(file(&format!("other/{number}"), SMALL + 1))));
        assert_eq!(rest(&mut aside, &[]), ("a dir f".to_owned(), true));
        let mut delivery = Delivery { failure: Some(Failure::new(Cause::Partial, "x")), ..Delivery::default() };
        aside.note_in(&mut delivery);
        assert_eq!(delivery.aside.len(), ONE_BY_ONE);
        assert_eq!(delivery.untried, BTreeSet::from([rel("large")]), "it was not seen to fail");
        assert_eq!(
            delivery.failure.map(|failure| failure.said),
            Some("big".to_owned()),
            "the first one is told, before what else failed"
        );
        assert!(matches!(&delivery.blamed, Blame::Paths(paths) if paths.len() == ONE_BY_ONE + 1));
    }

    #[test]
    fn the_directories_of_what_is_left_out_go_in_its_place() {
        for (listed, arrived, expected) in [
            (&["d/big", "d/small"][..], &["d/small"][..], &["d"][..]),
            (&["d/big", "d/small"], &[], &["d", "d/small"]),
            (&["d/e/sent", "d/big", "d"], &["d/e/sent"], &["d", "d/e"]),
            (&["big", "d/sent"], &["d/sent"], &["d"]),
        ] {
            let mut aside = Aside::default();
            ["big", "d/big"].iter().for_each(|path| assert!(aside.add(file(path, SMALL + 1))));
            let list = recipe::entries(&listed.iter().map(|path| rel(path)).collect::<Vec<_>>(), false);
            let size = |path: &RelPath| (path.depth() > 1 || *path == rel("big")).then_some(1);
            let rest = aside.rest(&list, size, |path| arrived.iter().any(|name| rel(name) == *path));
            let expected: Vec<_> = expected.iter().map(|path| rel(path)).collect();
            assert_eq!(recipe::named(&rest).0, expected, "{listed:?} {arrived:?}");
        }
    }

    #[test]
    fn files_of_other_directories_are_tried_whatever_did_not_fit_elsewhere() {
        let list = recipe::entries(&["full/x", "roomy/large"].map(rel), false);
        let mut aside = Aside::default();
        (0..ONE_BY_ONE).for_each(|number| assert!(aside.add(file(&format!("full/{number}"), SMALL + 1))));
        let rest = aside.rest(&list, |_| Some(1 << 30), |_| false);
        assert_eq!(recipe::named(&rest).0, ["full", "roomy/large"].map(rel), "the time of the one is still to be set");
        assert_eq!(aside.untried, BTreeSet::from([rel("full/x")]));
    }

    #[test]
    fn a_temporary_name_means_the_file_that_is_written_under_it() {
        let root = tempfile::tempdir().unwrap();
        for (name, bytes) in [("f", 1), (".f", 2), ("g", 3), (".h.aBcDeF", 4)] {
            fs::write(root.path().join(name), vec![b'x'; bytes]).unwrap();
        }
        for (named, before, expected) in [
            (".g.aBcDeF", &[][..], Some(("g", 3))),
            ("g", &[], Some(("g", 3))),
            (".f.aBcDeF", &[], Some(("f", 1))),
            (".f.aBcDeF", &["f"], Some((".f", 2))),
            (".f.aBcDeF", &["f", ".f"], Some(("f", 1))),
            (".h.aBcDeF", &[], Some((".h.aBcDeF", 4))),
            (".gone.aBcDeF", &[], None),
        ] {
            let before = before.iter().map(|path| (rel(path), 0)).collect();
            let found = original(&Root::of(root.path()).unwrap(), &rel(named), &before);
            assert_eq!(found, expected.map(|(path, size)| (rel(path), size)), "{named}");
        }
    }

    #[test]
    fn that_the_other_end_is_gone_blames_nothing() {
        for (line, expected) in [
            ("rsync: [sender] write error: Broken pipe (32)", true),
            ("rsync: connection unexpectedly closed (33 bytes received so far) [sender]", true),
            (r#"rsync: [receiver] rename "/m/d/.a.aBcDeF" -> "d/a": Operation not permitted (1)"#, false),
            (r#"rsync: [receiver] write failed on "/m/f": Broken pipe (32)"#, false),
        ] {
            assert_eq!(is_of_the_end(line.as_bytes()), expected, "{line}");
        }
    }
}
