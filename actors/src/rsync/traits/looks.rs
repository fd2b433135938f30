//! What follows from what a node says of the same entries, compared in several ways. Looks at nothing.

use std::collections::BTreeMap;

use super::sample::{Differs, EntryType, SampleSeen};
use crate::path::RelPath;
use crate::root::reach::look::Meta;
use crate::transport::failure::Failure;
use crate::transport::traits::WINDOWS;
use crate::transport::traits::{Trait, Traits};

/// The bits of a mode that a receiver may clear for reasons of its own: setuid, setgid, sticky.
const SPECIAL: u32 = 0o7000;
/// The mean length of a year, in seconds.
const YEAR: i64 = 31_556_952;

/// The differences of a sample at a node, by the way to compare.
#[derive(Debug)]
pub(crate) struct NodeLooks {
    /// The answer to the exact comparison.
    exact: SampleSeen,
    /// With windows, from the smallest on, where the times of files differed: to the first that does all that one can do.
    windows: Vec<(u8, SampleSeen)>,
}

impl NodeLooks {
    /// Takes as many as it needs. `look` says how the entries differ at a node that has these traits.
    pub(crate) async fn take(look: impl AsyncFn(&Traits) -> Result<SampleSeen, Failure>) -> Result<NodeLooks, Failure> {
        let mut looks = NodeLooks { exact: look(&Traits::default()).await?, windows: Vec::new() };
        if late_files(&looks.exact) == 0 {
            return Ok(looks);
        }
        for window in WINDOWS {
            let seen = look(&Traits::from_iter([Trait::CoarseTimes(window)])).await?;
            let is_last = late_files(&seen) == 0;
            looks.windows.push((window, seen));
            if is_last {
                break;
            }
        }
        Ok(looks)
    }

    /// Concludes which properties the node cannot store, from those entries that are `still` as they were when they
    /// were sent; `None` if these do not tell.
    pub(crate) fn found(mut self, still: &BTreeMap<RelPath, Meta>) -> Option<Traits> {
        let NodeLooks { exact, windows } = &mut self;
        for seen in windows.iter_mut().map(|(_, seen)| seen).chain([&mut *exact]) {
            seen.retain(|path, _| still.contains_key(path));
        }
        if exact.is_empty() {
            // A time that is a whole second is kept by all.
            let is_exact = still.values().any(|meta| meta.is_file() && meta.modified().1 != 0);
            return is_exact.then(Traits::default);
        }
        // The smallest that does as much as the largest, if that does anything.
        let least = windows.last().map_or(0, |(_, seen)| late_files(seen));
        let window = windows.iter().find(|(_, seen)| late_files(seen) == least && least < late_files(exact));
        let found = lacks(exact, window.map(|(window, seen)| (*window, seen)), still);
        (!found.is_empty()).then_some(found)
    }
}

/// Counts the files that differ in time.
fn late_files(seen: &SampleSeen) -> usize {
    seen.values().filter(|differs| differs.kind == EntryType::File && differs.time).count()
}

/// Concludes which properties the node cannot store, from the differences of an exact comparison and from those that
/// remain with a window.
fn lacks(exact: &SampleSeen, window: Option<(u8, &SampleSeen)>, steady: &BTreeMap<RelPath, Meta>) -> Traits {
    let rest = window.map_or(exact, |(_, seen)| seen);
    // A batch may have worked in a directory at one of the looks, or made something in it since it was sent: not in all.
    let is_same = |path: &RelPath, differs: &Differs| exact.get(path).is_some_and(|before| before == differs);
    let directories = steady.values().filter(|meta| meta.is_dir()).count();
    let is_late = |(path, differs): &(&RelPath, &Differs)| {
        differs.kind == EntryType::Directory && differs.time && steady.contains_key(*path) && is_same(path, differs)
    };
    let all_late = directories > 1 && rest.iter().filter(is_late).count() == directories;
    let mut lacks: Traits = window.map(|(window, _)| Trait::CoarseTimes(window)).into_iter().collect();
    for (path, differs) in rest {
        let Some(meta) = steady.get(path) else { continue };
        let found = match differs {
            Differs { kind: EntryType::File, time: true, .. } => {
                Some(Trait::NotDated(1970 + meta.modified().0.div_euclid(YEAR)))
            }
            Differs { kind: EntryType::Directory, time: true, .. } if all_late => Some(Trait::NoDirectoryTimes),
            Differs { kind: EntryType::Link, time: true, .. } => Some(Trait::NoLinkTimes),
            _ => None,
        };
        // One year says enough.
        let is_dated = lacks.iter().any(|one| matches!(one, Trait::NotDated(_)));
        if let Some(found) = found.filter(|found| !(is_dated && matches!(found, Trait::NotDated(_)))) {
            lacks.set(found, true);
        }
        if differs.kind == EntryType::File && differs.permissions && meta.permissions() & SPECIAL == 0 {
            lacks.set(Trait::NoPermissions, true);
        }
    }
    lacks
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::sample::differs;
    use super::*;
    use crate::root::reach::Reach;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn seen(lines: &[&str]) -> SampleSeen {
        lines.iter().filter_map(|line| differs(line.as_bytes())).collect()
    }

    /// A tree with a file of 2027, one of 2100, two directories and a symlink.
    fn steady() -> BTreeMap<RelPath, Meta> {
        let dir = tempfile::tempdir().unwrap();
        ["d", "e"].into_iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        for (name, seconds) in [("f", 1_800_000_000), ("late", 4_102_444_801)] {
            fs::write(dir.path().join(name), "x").unwrap();
            let time = UNIX_EPOCH + Duration::new(seconds, 5);
            fs::File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(time).unwrap();
        }
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        let reach = Reach::of(dir.path());
        ["d", "e", "f", "l", "late"].map(|name| (rel(name), reach.look(&rel(name)).unwrap())).into()
    }

    #[test]
    fn what_differs_still_after_it_was_sent_the_node_cannot_hold() {
        use Trait::{CoarseTimes, NoDirectoryTimes, NoLinkTimes, NoPermissions, NotDated};
        let steady = steady();
        let coarse = [">f..t......|1|1|f", ".d..t......|1|0|d/", ".L..t......|1|0|l", ">f..t......|1|1|late"];
        for (exact, window, expected) in [
            (&[][..], None, &[][..]),
            (&coarse, Some((0, &[][..])), &[CoarseTimes(0)]),
            (&coarse, Some((1, &[">f..t......|1|1|late"])), &[CoarseTimes(1), NotDated(2100)]),
            (&coarse[3..], None, &[NotDated(2100)]),
            (&[".d..t......|1|0|d/", ".d..t......|1|0|e/", coarse[2]], None, &[NoDirectoryTimes, NoLinkTimes]),
            // Something was made in one of them since.
            (&coarse[1..3], None, &[NoLinkTimes]),
            (&[".f...p.....|1|0|f", ".d...p.....|1|0|d/"], None, &[NoPermissions]),
            // A receiver may take the setgid bit of a directory away.
            (&[".d...p.....|1|0|d/"], None, &[]),
            // A batch worked in it.
            (&[">f..t......|1|1|f"], Some((0, &[".d..t......|1|0|d/"])), &[CoarseTimes(0)]),
        ] {
            let (exact, window) = (seen(exact), window.map(|(window, lines)| (window, seen(lines))));
            let found = lacks(&exact, window.as_ref().map(|(window, seen)| (*window, seen)), &steady);
            assert_eq!(found, expected.iter().copied().collect(), "{exact:?} {window:?}");
        }
    }

    #[test]
    fn the_smallest_window_is_taken_that_does_what_one_can_do() {
        let (steady, file) = (steady(), ">f..t......|1|1|f");
        let late = ">f..t......|1|1|late";
        for (exact, windows, expected) in [
            (&[file][..], &[(0, &[][..])][..], Some(&[Trait::CoarseTimes(0)][..])),
            (&[file], &[(0, &[file]), (1, &[])], Some(&[Trait::CoarseTimes(1)])),
            (
                &[file, late],
                &[(0, &[late]), (1, &[late]), (2, &[late])],
                Some(&[Trait::CoarseTimes(0), Trait::NotDated(2100)]),
            ),
            (&[late], &[(0, &[late]), (1, &[late]), (2, &[late])], Some(&[Trait::NotDated(2100)])),
            // It has changed meanwhile.
            (&[">f..t......|1|1|gone"], &[(0, &[])], Some(&[])),
        ] {
            let windows = windows.iter().map(|(window, lines)| (*window, seen(lines))).collect();
            let found = NodeLooks { exact: seen(exact), windows }.found(&steady);
            assert_eq!(found, expected.map(|traits| traits.iter().copied().collect()), "{exact:?}");
        }
    }

    #[test]
    fn a_node_keeps_all_if_a_time_with_a_fraction_came_back_as_it_was() {
        let mut steady = steady();
        let nothing = || NodeLooks { exact: SampleSeen::new(), windows: Vec::new() };
        assert_eq!(nothing().found(&steady), Some(Traits::default()));
        steady.retain(|path, _| *path == rel("d"));
        assert_eq!(nothing().found(&steady), None, "nobody was asked about a file");
    }
}
