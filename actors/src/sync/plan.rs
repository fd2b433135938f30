//! Decides what an rsync run must be told about a batch, from what is on disk at this moment. A pure function of the
//! batch and of a look at the disk; each rule prevents a loss that was seen with plain rsync.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::fold::{Pending, Scope};
use super::pending::{Fate, MovedAway, PendingSet};
use crate::filter::excludes::Excludes;
use crate::path::RelPath;
use crate::rsync::blame::Blame;

/// A path that is missing is left alone for so long until its removal is reported: the event is on its way.
const REPORT_TIME: Duration = Duration::from_millis(20);
/// When no report has come by then, track was lost: the directory that held it is compared as a whole.
const REPORT_AT_LATEST: Duration = Duration::from_secs(2);

/// A larger file is sent only if its content is known to be new or its size or time differs. Smaller ones cost less than
/// being wrong: a write through mmap(2) changes neither.
const LARGE: u64 = 64 * 1024;
/// Directories that are protected one by one: each takes two arguments of rsync, whose room is bounded.
const PROTECTED: usize = 200;

/// What is on disk at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or something above it is no directory.
    Missing,
    /// A directory; not a symlink to one.
    Directory,
    /// A regular file of so many bytes.
    File(u64),
    /// A symlink or something special.
    Other,
    /// It cannot be looked at.
    Unknown,
}

/// How much a batch may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of files.
    pub bytes: u64,
    /// Entries in subtrees.
    pub entries: usize,
}

impl Room {
    /// Takes one entry of so many bytes; whether there was room for it.
    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.entries > 0 && bytes <= self.bytes;
        (self.bytes, self.entries) = (self.bytes.saturating_sub(bytes), self.entries.saturating_sub(1));
        fits
    }
}

/// A look at the disk.
pub trait Disk {
    /// What is at `path` now, symlinks not followed.
    fn look(&mut self, path: &RelPath) -> Found;

    /// Takes all that is below a directory from `room`; whether there was room for it. Looks no further than that.
    fn fits(&mut self, dir: &RelPath, room: &mut Room) -> bool;
}

/// The source tree on disk.
pub struct Source(pub PathBuf);

impl Disk for Source {
    fn look(&mut self, path: &RelPath) -> Found {
        match fs::symlink_metadata(path.under(&self.0)) {
            Ok(meta) if meta.is_dir() => Found::Directory,
            Ok(meta) if meta.is_file() => Found::File(meta.len()),
            Ok(_) => Found::Other,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Found::Missing
            }
            Err(_) => Found::Unknown,
        }
    }

    fn fits(&mut self, dir: &RelPath, room: &mut Room) -> bool {
        let mut left = vec![dir.under(&self.0)];
        while let Some(dir) = left.pop() {
            // What cannot be read is not sent either.
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if !room.take(if meta.is_file() { meta.len() } else { 0 }) {
                    return false;
                }
                if meta.is_dir() {
                    left.push(entry.path());
                }
            }
        }
        true
    }
}

/// What rsync is to be told. No path is in two of the lists, and none lies below a listed subtree or a missing entry.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The attributes of the root itself are to be sent.
    pub root: bool,
    /// Entries that exist: sent without what is below them, whatever size and time say.
    pub present: BTreeSet<RelPath>,
    /// Files larger than 64 KiB whose content need not be new: sent if size or time differs.
    pub large: BTreeSet<RelPath>,
    /// Directories that exist: made equal with all that is below them.
    pub subtrees: BTreeSet<RelPath>,
    /// As `subtrees`: directories that were removed and made again, so that size and time of what is below prove nothing.
    pub subtrees_rewritten: BTreeSet<RelPath>,
    /// Entries that do not exist: deleted, with all that is below them on the node.
    pub missing: BTreeSet<RelPath>,
    /// Directories that were moved away: kept on the node though they lie below one of the above. Past
    /// 200 of them the directories that held them are kept whole.
    pub protected: BTreeSet<RelPath>,
    /// Directories that exist again although they were moved away.
    pub returned: BTreeSet<RelPath>,
    /// Directories that hold something whose removal was never reported: to be compared as a whole.
    pub lost: BTreeSet<RelPath>,
    /// Paths of the batch for which there was no room: they belong into the bulk lane.
    pub bulk: BTreeSet<RelPath>,
    /// The entry that is listed for each path of the batch. A path without one needs nothing from rsync.
    carriers: BTreeMap<RelPath, RelPath>,
    /// Paths of the batch that wait for the report of their removal.
    unreported: BTreeSet<RelPath>,
    /// Paths of the batch that cannot be looked at.
    unreadable: BTreeSet<RelPath>,
}

impl Plan {
    /// Whether no rsync run is needed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of listed entries.
    pub fn len(&self) -> usize {
        let Plan { present, large, subtrees, subtrees_rewritten, missing, .. } = self;
        let lists = [present, large, subtrees, subtrees_rewritten, missing];
        usize::from(self.root) + lists.iter().map(|list| list.len()).sum::<usize>()
    }

    /// The listed entries that are gone now. rsync may not have found them, which it does not tell: they were removed, or
    /// moved with a directory above them, and what they became is still to be reported.
    pub fn gone(&self, disk: &mut dyn Disk) -> BTreeSet<RelPath> {
        let Plan { present, large, subtrees, subtrees_rewritten, .. } = self;
        let listed = [present, large, subtrees, subtrees_rewritten].into_iter().flatten();
        listed.filter(|path| disk.look(path) == Found::Missing).cloned().collect()
    }

    /// What became of a path of the batch when rsync succeeded on all that is neither blamed nor gone.
    pub fn fate(&self, path: &RelPath, blamed: &Blame, gone: &BTreeSet<RelPath>) -> Fate {
        let carrier = self.carriers.get(path);
        if self.unreported.contains(path) || carrier.is_some_and(|carrier| gone.contains(carrier)) {
            return Fate::Unreported { retry_in: REPORT_TIME };
        }
        let touches = |carrier: &RelPath| match blamed {
            Blame::Anything => true,
            Blame::Paths(bad) => {
                bad.iter().any(|bad| bad == carrier || bad.is_below(carrier) || carrier.is_below(bad) && !bad.is_root())
            }
        };
        if self.unreadable.contains(path) || carrier.is_some_and(touches) {
            return Fate::Failed;
        }
        Fate::Delivered
    }
}

/// Decides what to list for a batch. `room` is what the fast lane may carry; `None` is for the bulk lane.
pub fn plan(
    batch: &[(RelPath, Pending)],
    set: &PendingSet,
    excludes: &Excludes,
    disk: &mut dyn Disk,
    room: Option<Room>,
    now: Instant,
) -> Plan {
    let mut planner = Planner { set, excludes, disk, looked: HashMap::new(), room, now, plan: Plan::default() };
    for (path, pending) in batch {
        planner.add(path, pending);
    }
    planner.protect();
    planner.plan.drop_covered();
    planner.plan
}

impl Plan {
    /// What a listed subtree covers is not listed beside it.
    fn drop_covered(&mut self) {
        let Plan { present, large, subtrees, subtrees_rewritten, .. } = self;
        let is_subtree = |path: &RelPath| subtrees.contains(path) || subtrees_rewritten.contains(path);
        let covered = |path: &RelPath| is_subtree(path) || path.ancestors().any(|dir| is_subtree(&dir));
        present.retain(|path| !covered(path));
        large.retain(|path| !covered(path));
    }
}

struct Planner<'a> {
    set: &'a PendingSet,
    excludes: &'a Excludes,
    disk: &'a mut dyn Disk,
    /// Directories that were looked at already: many paths share their ancestors.
    looked: HashMap<RelPath, Found>,
    room: Option<Room>,
    now: Instant,
    plan: Plan,
}

impl Planner<'_> {
    fn add(&mut self, path: &RelPath, pending: &Pending) {
        if path.is_root() {
            self.plan.root = true;
            self.plan.carriers.insert(path.clone(), path.clone());
            return;
        }
        for dir in path.ancestors() {
            let found = match self.looked.get(&dir) {
                Some(found) => *found,
                None => *self.looked.entry(dir.clone()).insert_entry(self.disk.look(&dir)).get(),
            };
            match found {
                Found::Directory if self.excludes.matching(&dir, true).is_some() => return,
                Found::Directory => (),
                // rsync would follow it at the source, or replace it by a directory at the node.
                Found::File(_) | Found::Other => {
                    let pending = Pending { scope: Scope::Entry, rewritten: false, ..*pending };
                    return self.list_present(&dir, path, &pending, found);
                }
                Found::Missing => return self.list_missing(&dir, path, pending),
                Found::Unknown => return self.unreadable(path),
            }
        }
        match self.disk.look(path) {
            found @ (Found::Directory | Found::File(_) | Found::Other) => self.list_present(path, path, pending, found),
            Found::Missing => self.list_missing(path, path, pending),
            Found::Unknown => self.unreadable(path),
        }
    }

    fn list_present(&mut self, listed: &RelPath, path: &RelPath, pending: &Pending, found: Found) {
        if self.excludes.matching(listed, found == Found::Directory).is_some() {
            return;
        }
        if !self.has_room(listed, pending, found) {
            self.plan.bulk.insert(path.clone());
            return;
        }
        let list = match (found, pending) {
            (Found::Directory, Pending { scope: Scope::Subtree, rewritten: true, .. }) => {
                &mut self.plan.subtrees_rewritten
            }
            (Found::Directory, Pending { scope: Scope::Subtree, .. }) => &mut self.plan.subtrees,
            (Found::File(size), Pending { rewritten: false, .. }) if size > LARGE => &mut self.plan.large,
            _ => &mut self.plan.present,
        };
        list.insert(listed.clone());
        self.plan.carriers.insert(path.clone(), listed.clone());
    }

    /// Whether the lane carries what would be listed. Small files always go: their number is bounded by the batch.
    fn has_room(&mut self, listed: &RelPath, pending: &Pending, found: Found) -> bool {
        let Some(room) = &mut self.room else { return true };
        match found {
            Found::File(size) if size > LARGE => room.take(size),
            Found::Directory if pending.scope == Scope::Subtree => self.disk.fits(listed, room),
            _ => true,
        }
    }

    /// `top` is the topmost path that is missing: what is below a missing directory need not, and must not, be listed.
    fn list_missing(&mut self, top: &RelPath, path: &RelPath, pending: &Pending) {
        if self.excludes.matching(top, false).is_some() {
            return;
        }
        match self.set.moved_away(top) {
            Some(MovedAway::Known) => return,
            Some(MovedAway::Unknown) => {
                self.plan.unreported.insert(path.clone());
                return;
            }
            None => (),
        }
        if self.set.is_reported_removed(top) {
            self.plan.missing.insert(top.clone());
            self.plan.carriers.insert(path.clone(), top.clone());
        } else if self.set.is_hidden(path) {
            // The file system that held it may come back, and so may the path.
        } else if pending.unreported.is_some_and(|since| self.now >= since + REPORT_AT_LATEST) {
            self.plan.lost.extend(top.parent());
        } else {
            self.plan.unreported.insert(path.clone());
        }
    }

    /// What was moved away stays on the node, unless its name exists again.
    fn protect(&mut self) {
        let Plan { subtrees, subtrees_rewritten, missing, .. } = &self.plan;
        let tops = subtrees.iter().chain(subtrees_rewritten).chain(missing);
        let below: BTreeSet<RelPath> = tops.flat_map(|top| self.set.moved_away_below(top)).collect();
        let (mut away, returned): (BTreeSet<_>, _) =
            below.into_iter().partition(|path| self.disk.look(path) == Found::Missing);
        self.plan.returned = returned;
        while away.len() > PROTECTED {
            away = away.iter().filter_map(RelPath::parent).collect();
        }
        self.plan.protected = away;
    }

    fn unreadable(&mut self, path: &RelPath) {
        self.plan.unreadable.insert(path.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Change;
    use crate::sync::lease::Lane;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    /// A disk on which these directories (with a trailing slash) and files exist.
    struct Table(Vec<&'static str>);

    impl Disk for Table {
        fn look(&mut self, path: &RelPath) -> Found {
            let directory = format!("{path}/");
            match self.0.iter().find(|entry| **entry == path.to_string() || **entry == directory) {
                Some(entry) if entry.ends_with('/') => Found::Directory,
                Some(entry) if entry.starts_with("large") => Found::File(LARGE + 1),
                Some(_) => Found::File(LARGE),
                None => Found::Missing,
            }
        }

        fn fits(&mut self, dir: &RelPath, room: &mut Room) -> bool {
            self.0.iter().filter(|entry| entry.starts_with(&format!("{dir}/"))).all(|_| room.take(LARGE))
        }
    }

    fn touched(path: &str) -> Change {
        Change::Touched { path: rel(path), is_dir: false, rewritten: false }
    }

    fn written(path: &str) -> Change {
        Change::Touched { path: rel(path), is_dir: false, rewritten: true }
    }

    fn removed(path: &str) -> Change {
        Change::Removed { path: rel(path), is_dir: false }
    }

    fn subtree(path: &str) -> Change {
        Change::Subtree { path: rel(path) }
    }

    /// The plan in short: `+present`, `*large`, `#subtrees_rewritten`, `/subtree`, `-missing`, `!protected`, `?unreported`.
    fn planned(disk: &[&'static str], excludes: &[&str], changes: &[Change]) -> String {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        changes.iter().for_each(|change| set.add(change, now));
        let batch = set.lease(Lane::Fast, 99, 9999, now).paths;
        let excludes = Excludes::new(excludes.iter().map(|p| p.to_string()).collect()).unwrap();
        let plan = plan(&batch, &set, &excludes, &mut Table(disk.to_vec()), None, now);
        let lists = [
            ('+', &plan.present),
            ('*', &plan.large),
            ('/', &plan.subtrees),
            ('#', &plan.subtrees_rewritten),
            ('-', &plan.missing),
            ('!', &plan.protected),
            ('?', &plan.unreported),
        ];
        let words = lists.iter().flat_map(|(mark, list)| list.iter().map(move |path| format!("{mark}{path}")));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_exists_is_sent_and_what_was_removed_is_deleted() {
        assert_eq!(planned(&["a", "d/", "d/x"], &[], &[touched("a"), touched("d/x"), removed("d/y")]), "+a +d/x -d/y");
    }

    #[test]
    fn new_content_is_sent_whatever_size_and_time_say() {
        assert_eq!(planned(&["a", "large"], &[], &[written("large"), touched("a")]), "+a +large");
        assert_eq!(planned(&["a", "large"], &[], &[written("a"), touched("large")]), "+a *large");
        assert_eq!(planned(&["large"], &[], &[removed("large"), touched("large")]), "+large", "made again");
        assert_eq!(planned(&["d/"], &[], &[removed("d"), subtree("d")]), "#d", "made again");
    }

    #[test]
    fn of_a_missing_directory_only_the_topmost_is_listed() {
        assert_eq!(planned(&["d/"], &[], &[removed("d/e/f/x"), removed("d/e")]), "-d/e");
    }

    #[test]
    fn nothing_below_a_file_or_symlink_is_listed() {
        assert_eq!(planned(&["d"], &[], &[touched("d/x"), touched("d/e/y")]), "+d");
    }

    #[test]
    fn nothing_excluded_is_listed() {
        let disk = ["cache/", "cache/x", "d/", "d/y.bin", "d/z", "gone/"];
        let changes = [touched("cache/x"), touched("d/y.bin"), touched("d/z"), removed("d/old.bin"), subtree("cache")];
        assert_eq!(planned(&disk, &["*.bin", "cache/"], &changes), "+d/z");
    }

    #[test]
    fn a_directory_is_listed_as_entry_or_as_subtree() {
        assert_eq!(planned(&["d/", "e/", "f"], &[], &[touched("d"), subtree("e"), subtree("f")]), "+d +f /e");
    }

    #[test]
    fn a_missing_path_waits_for_the_report_of_its_removal() {
        assert_eq!(planned(&[], &[], &[touched("d/x")]), "?d/x");
        assert_eq!(planned(&["d/"], &[], &[touched("d/x")]), "?d/x");
    }

    #[test]
    fn a_directory_that_was_moved_away_is_never_deleted() {
        let away = |path| Change::MovedAway { path: rel(path) };
        let out = |path| Change::MovedOut { path: rel(path) };
        assert_eq!(planned(&[], &[], &[touched("d/x"), away("d")]), "?d/x", "the other half may come");
        assert_eq!(planned(&[], &[], &[touched("d/x"), away("d"), out("d")]), "");
        let left_inside = [away("d/e"), out("d/e"), removed("d")];
        assert_eq!(planned(&[], &[], &left_inside), "-d !d/e", "the rest of the directory is deleted around it");
        assert_eq!(planned(&["d/"], &[], &[away("d/e"), out("d/e"), subtree("d")]), "/d !d/e");
    }

    #[test]
    fn a_name_that_exists_again_is_not_protected() {
        let changes = [Change::MovedAway { path: rel("d/e") }, Change::MovedOut { path: rel("d/e") }, subtree("d")];
        assert_eq!(planned(&["d/", "d/e/"], &[], &changes), "/d");
    }

    #[test]
    fn many_moved_directories_are_protected_by_those_that_held_them() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        for n in 0..=PROTECTED {
            set.add(&Change::MovedAway { path: rel(&format!("d/e/{n}")) }, now);
        }
        set.add(&removed("d"), now);
        let batch = set.lease(Lane::Fast, 9, 999, now).paths;
        let plan = plan(&batch, &set, &Excludes::default(), &mut Table(vec![]), None, now);
        assert_eq!(plan.protected, BTreeSet::from([rel("d/e")]));
    }

    #[test]
    fn what_an_unmount_hides_is_not_deleted() {
        let unmounted = Change::Unmounted { path: rel("mnt") };
        assert_eq!(planned(&["mnt/"], &[], &[touched("mnt/x"), unmounted.clone()]), "");
        assert_eq!(planned(&["mnt/"], &[], &[unmounted, touched("mnt/x")]), "");
    }

    #[test]
    fn a_removal_that_is_never_reported_is_looked_for() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&touched("d/x"), now);
        let mut plan_at = |now| {
            let batch = set.lease(Lane::Fast, 9, 999, now);
            let plan = plan(&batch.paths, &set, &Excludes::default(), &mut Table(vec!["d/"]), None, now);
            set.settle(batch.id, now, |path| plan.fate(path, &Blame::default(), &BTreeSet::new()), |_| Duration::ZERO);
            (plan.lost.into_iter().collect::<Vec<_>>(), set.len())
        };
        assert_eq!(plan_at(now), (vec![], 1));
        assert_eq!(plan_at(now + REPORT_TIME), (vec![], 1));
        assert_eq!(plan_at(now + REPORT_AT_LATEST), (vec![rel("d")], 0));
    }

    #[test]
    fn what_the_fast_lane_has_no_room_for_belongs_into_the_bulk_lane() {
        let changes = ["large 1", "large 2", "small", "tree", "bush", "gone"];
        let disk = || Table(vec!["large 1", "large 2", "small", "bush/", "bush/x", "tree/", "tree/x", "tree/y"]);
        let batch: Vec<_> = changes.iter().map(|path| (rel(path), Pending::new(Scope::Subtree, false))).collect();
        let (set, now) = (PendingSet::default(), Instant::now());
        let lists = |room| {
            let plan = plan(&batch, &set, &Excludes::default(), &mut disk(), room, now);
            [plan.large, plan.present, plan.subtrees, plan.bulk]
                .map(|list| list.iter().map(RelPath::to_string).collect::<Vec<_>>())
        };
        let room = Room { bytes: LARGE * 3 / 2, entries: 2 };
        assert_eq!(lists(Some(room)), [vec!["large 1"], vec!["small"], vec![], vec!["bush", "large 2", "tree"]]);
    }

    #[test]
    fn a_failure_keeps_the_paths_that_it_concerns() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        for change in [touched("a"), touched("b"), touched("d/x"), subtree("s")] {
            set.add(&change, now);
        }
        let batch = set.lease(Lane::Fast, 9, 999, now).paths;
        let mut disk = Table(vec!["a", "b", "d/", "d/x", "s/"]);
        let plan = plan(&batch, &set, &Excludes::default(), &mut disk, None, now);
        let blamed = Blame::Paths(vec![rel("a"), rel("d"), rel("s/deep/y")]);
        let kept = |path: &&str, blamed| plan.fate(&rel(path), blamed, &BTreeSet::new()) != Fate::Delivered;
        let all = ["a", "b", "d/x", "s"];
        assert_eq!(all.iter().filter(|p| kept(p, &blamed)).collect::<Vec<_>>(), [&"a", &"d/x", &"s"]);
        assert!(all.iter().all(|path| kept(path, &Blame::Anything)));
        let gone = plan.gone(&mut Table(vec!["b", "d/", "d/x", "s/"]));
        assert_eq!(gone, BTreeSet::from([rel("a")]));
        assert!(matches!(plan.fate(&rel("a"), &Blame::default(), &gone), Fate::Unreported { .. }));
        assert_eq!(plan.fate(&rel("b"), &Blame::default(), &gone), Fate::Delivered);
    }
}
