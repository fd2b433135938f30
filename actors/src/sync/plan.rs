//! Decides what an rsync run must be told about a batch, from what is on disk at this moment. A pure function of the
//! batch and of a look at the disk; each rule prevents a loss that was seen with plain rsync.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use self::links::{Behind, Leads};
use super::away::MovedAway;
use super::disk::{Disk, Found, Room, Stamp};
use super::fold::{Pending, Scope};
use super::lease::Lane;
use super::origins::{Doubt, Origin, Relocation, Rename};
use super::pending::{Fate, PendingSet};
use crate::filter::excludes::Excludes;
use crate::path::RelPath;
use crate::rsync::blame::Blame;

/// A path that is missing is left alone for so long until its removal is reported: the event is on its way.
const REPORT_TIME: Duration = Duration::from_millis(20);
/// When no report has come by then, track was lost: the directory that held it is compared as a whole.
const REPORT_AT_LATEST: Duration = Duration::from_secs(2);

/// A larger file is sent only if its content is known to be new or its size or time differs, or is compared. Smaller ones cost
/// less than being wrong: a write through mmap(2) changes neither.
pub(crate) const LARGE: u64 = 64 * 1024;
/// Directories that are protected one by one: each takes two arguments of rsync, whose room is bounded.
const PROTECTED: usize = 200;

/// What rsync is to be told. No path is in two of the lists, and none lies below a listed subtree or a missing entry; what
/// was renamed or moved, and the directories for it, are hints beside these lists.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The attributes of the root itself are to be sent.
    pub root: bool,
    /// Entries that exist: sent without what is below them, whatever size and time say.
    pub present: BTreeSet<RelPath>,
    /// Files larger than 64 KiB whose content need not be new: sent if size or time differs.
    pub large: BTreeSet<RelPath>,
    /// Files larger than 64 KiB that were open for writing: sent if the content differs.
    pub closed: BTreeSet<RelPath>,
    /// Directories that exist: made equal with all that is below them.
    pub subtrees: BTreeSet<RelPath>,
    /// As `subtrees`: directories that were removed and made again, so that size and time of what is below prove nothing.
    pub subtrees_rewritten: BTreeSet<RelPath>,
    /// Directories that exist: entries that only the node has in them are deleted, and the others sent, without what is
    /// below subdirectories.
    pub levels: BTreeSet<RelPath>,
    /// Entries that do not exist: deleted, with all that is below them on the node.
    pub missing: BTreeSet<RelPath>,
    /// Files that were renamed, by their new names. Each is also in `present` (its content may have changed since), in
    /// `large` (it has not), or below a listed subtree: what was not linked is sent from there.
    pub renamed: BTreeMap<RelPath, Rename>,
    /// Directories that the node must have before files are linked into them, or directories made out of others.
    pub parents: BTreeSet<RelPath>,
    /// Files at the old names of renamed ones: they are sent whole, as what the node has there is another file.
    pub anew: BTreeSet<RelPath>,
    /// Directories that were moved, in the order in which they are to be made. Each is also in `subtrees`, in
    /// `subtrees_rewritten`, or below one of these.
    pub moved: Vec<Relocation>,
    /// Directories that were moved away: kept on the node though they lie below one of the above. Past
    /// 200 of them the directories that held them are kept whole. With them up to 200 files that settle.
    pub protected: BTreeSet<RelPath>,
    /// Directories of which all that is below is kept on the node, although a listed subtree or level lacks it: a file system was
    /// unmounted from them. The root stands for everything.
    pub kept: BTreeSet<RelPath>,
    /// Directories that exist again although they were moved away.
    pub returned: BTreeSet<RelPath>,
    /// Directories that hold something whose removal was never reported: to be compared as a whole.
    pub lost: BTreeSet<RelPath>,
    /// Paths of the batch for which there was no room: they belong into the bulk lane.
    pub bulk: BTreeSet<RelPath>,
    /// Listed symlinks, and where they led when they were looked at.
    pub links: BTreeMap<RelPath, Leads>,
    /// Those of them that are sent when all that exists was, as they lead to it: first those that lead to no other of them,
    /// then those that lead to these, and so on. The others are in `present`.
    pub late_links: Vec<BTreeSet<RelPath>>,
    /// Directories of the batch that hold a mount which does not answer: rsync cannot list them.
    pub split: BTreeSet<RelPath>,
    /// Paths of the batch that are not to go with it.
    pub behind: BTreeMap<RelPath, Behind>,
    /// The entry that is listed for each path of the batch. A path without one needs nothing from rsync.
    carriers: BTreeMap<RelPath, RelPath>,
    /// What the listed files were.
    stamps: BTreeMap<RelPath, Stamp>,
    /// Paths of the batch that wait for the report of their removal.
    unreported: BTreeSet<RelPath>,
    /// Paths of the batch that cannot be looked at.
    unreadable: BTreeSet<RelPath>,
}

/// What became of listed entries while they were sent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Since {
    /// They are gone. rsync may not have found them, which it does not tell: they were removed, or moved with a directory
    /// above them, and what they became is still to be reported.
    pub gone: BTreeSet<RelPath>,
    /// Files of another size or time: what rsync read may be neither the old nor the new content.
    pub changed: BTreeSet<RelPath>,
    /// Those that were missing are there again: the node may have what they were.
    pub returned: BTreeSet<RelPath>,
    /// Symlinks that were not sent: what they lead to failed, or they lead elsewhere now.
    pub left: BTreeSet<RelPath>,
    /// Files that do not fit at the node.
    pub unfit: BTreeSet<RelPath>,
    /// Files that were not tried, as they are beside these and no smaller.
    pub untried: BTreeSet<RelPath>,
    /// How long to leave these alone.
    pub unfit_for: Duration,
}

impl Plan {
    /// Whether no rsync run is needed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of listed entries.
    pub fn len(&self) -> usize {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing, .. } = self;
        let lists = [present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing];
        usize::from(self.root) + lists.into_iter().chain(&self.late_links).map(BTreeSet::len).sum::<usize>()
    }

    /// The listed entries, and whether each is compared with all that is below it.
    pub fn listed(&self) -> impl Iterator<Item = (&RelPath, bool)> {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, missing, .. } = self;
        let alone = [present, large, closed, anew, levels]
            .into_iter()
            .chain(&self.late_links)
            .flatten()
            .map(|path| (path, false));
        alone.chain([subtrees, subtrees_rewritten, missing].into_iter().flatten().map(|path| (path, true)))
    }

    /// Whether its runs look at what is mounted at this point. rsync looks at each entry of a directory that it lists, also at
    /// what is excluded.
    pub fn reads(&self, point: &RelPath) -> bool {
        let Plan { subtrees, subtrees_rewritten, levels, .. } = self;
        let mut compared = subtrees.iter().chain(subtrees_rewritten).chain(levels);
        compared.any(|top| top.is_root() || point.is_below(top))
            || self.listed().any(|(path, _)| path == point || path.is_below(point))
    }

    /// What became of the listed entries since they were looked at.
    pub fn since(&self, disk: &mut dyn Disk) -> Since {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, stamps, .. } = self;
        let mut since = Since::default();
        let lists =
            [present, large, closed, anew, subtrees, subtrees_rewritten, levels].into_iter().chain(&self.late_links);
        for path in lists.flatten() {
            match (disk.look(path), stamps.get(path)) {
                (Found::Missing, _) => drop(since.gone.insert(path.clone())),
                (Found::File(now), Some(then)) if now != *then => drop(since.changed.insert(path.clone())),
                _ => (),
            }
        }
        let is_there = |path: &&RelPath| !matches!(disk.look(path), Found::Missing | Found::Unknown);
        since.returned = self.missing.iter().filter(is_there).cloned().collect();
        since
    }

    /// Of what is blamed, the paths that failed alone below a listed subtree, or were set aside in a listed level, and the
    /// rest: whatever else is there has arrived. With each whether size and time proved nothing.
    pub fn apart(&self, blamed: &Blame, is_set_aside: impl Fn(&RelPath) -> bool) -> (Vec<(RelPath, bool)>, Blame) {
        let Blame::Paths(paths) = blamed else { return (Vec::new(), blamed.clone()) };
        let whole = |top: &&RelPath| !paths.iter().any(|bad| bad == *top || top.is_below(bad));
        let tops = |list: &BTreeSet<RelPath>| list.iter().filter(whole).cloned().collect::<Vec<_>>();
        let (plain, rewritten) = (tops(&self.subtrees), tops(&self.subtrees_rewritten));
        let is_below = |tops: &[RelPath], path: &RelPath| tops.iter().any(|top| path.is_below(top));
        let (mut apart, mut rest) = (Vec::new(), Vec::new());
        for path in paths.iter().cloned() {
            let new = is_below(&rewritten, &path);
            let in_level = || path.parent().is_some_and(|dir| self.levels.contains(&dir)) && is_set_aside(&path);
            if new || is_below(&plain, &path) || in_level() { apart.push((path, new)) } else { rest.push(path) }
        }
        (apart, Blame::Paths(rest))
    }

    /// What became of a path of the batch when rsync succeeded on all that is neither blamed nor gone.
    pub fn fate(&self, path: &RelPath, blamed: &Blame, since: &Since) -> Fate {
        let carrier = self.carriers.get(path);
        if self.unreported.contains(path) || carrier.is_some_and(|carrier| since.gone.contains(carrier)) {
            return Fate::Unreported { retry_in: REPORT_TIME };
        }
        if carrier.is_some_and(|carrier| since.unfit.contains(carrier)) {
            return Fate::Unfit { retry_in: since.unfit_for };
        }
        if carrier.is_some_and(|carrier| since.untried.contains(carrier)) {
            return Fate::Untried { retry_in: since.unfit_for };
        }
        if self.unreadable.contains(path) || carrier.is_some_and(|carrier| blamed.touches(carrier)) {
            return Fate::Failed;
        }
        if carrier.is_some_and(|carrier| since.left.contains(carrier)) {
            return Fate::Left;
        }
        if carrier.is_some_and(|carrier| since.changed.contains(carrier)) {
            return Fate::Changed;
        }
        if carrier.is_some_and(|carrier| carrier == path && since.returned.contains(carrier)) {
            return Fate::Returned;
        }
        Fate::Delivered
    }
}

/// So few directories that a run can name them one by one; if there are more, those that hold them, or the root.
pub fn bounded(mut directories: BTreeSet<RelPath>) -> BTreeSet<RelPath> {
    while directories.len() > PROTECTED {
        directories = directories.iter().filter_map(RelPath::parent).collect();
    }
    directories
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
    planner.arrange_renames();
    planner.plan.keep_for_bulk();
    planner.arrange_links(batch);
    planner.protect();
    planner.keep();
    planner.plan.drop_covered();
    planner.plan
}

impl Plan {
    /// What goes may be the old name of what takes the bulk lane: it goes after that.
    fn keep_for_bulk(&mut self) {
        if self.bulk.is_empty() || self.missing.is_empty() {
            return;
        }
        let missing = std::mem::take(&mut self.missing);
        let Plan { carriers, bulk, .. } = self;
        bulk.extend(carriers.iter().filter(|(_, listed)| missing.contains(listed)).map(|(path, _)| path.clone()));
        carriers.retain(|path, _| !bulk.contains(path));
    }

    /// What a listed subtree covers is not listed beside it.
    fn drop_covered(&mut self) {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, .. } = self;
        let is_subtree = |path: &RelPath| subtrees.contains(path) || subtrees_rewritten.contains(path);
        let covered = |path: &RelPath| is_subtree(path) || path.ancestors().any(|dir| is_subtree(&dir));
        present.retain(|path| !covered(path));
        large.retain(|path| !covered(path));
        closed.retain(|path| !covered(path));
        anew.retain(|path| !covered(path));
        levels.retain(|path| !covered(path));
        self.late_links.iter_mut().for_each(|links| links.retain(|path| !covered(path)));
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
            if pending.scope == Scope::Level {
                return self.list_present(path, path, pending, Found::Directory);
            }
            self.plan.root = true;
            self.plan.carriers.insert(path.clone(), path.clone());
            return;
        }
        for dir in path.ancestors() {
            match self.look_above(&dir) {
                Found::Directory if self.excludes.matching(&dir, true).is_some() => return,
                Found::Directory => (),
                // rsync would follow it at the source, or replace it by a directory at the node.
                found @ (Found::File(_) | Found::Other) => {
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

    fn look_above(&mut self, dir: &RelPath) -> Found {
        match self.looked.get(dir) {
            Some(found) => *found,
            None => *self.looked.entry(dir.clone()).insert_entry(self.disk.look(dir)).get(),
        }
    }

    fn list_present(&mut self, listed: &RelPath, path: &RelPath, pending: &Pending, found: Found) {
        if self.excludes.matching(listed, found == Found::Directory).is_some() {
            return;
        }
        let pending = &match found {
            // Another directory is there, as after an exchange of two, which reports each as gone.
            Found::Directory if pending.removed && listed == path => {
                Pending { scope: Scope::Subtree, rewritten: true, removed: false, ..*pending }
            }
            _ => *pending,
        };
        if found == Found::Directory && pending.scope != Scope::Entry && self.disk.is_silent_below(listed) {
            self.plan.split.insert(listed.clone());
            return;
        }
        let hint = if listed == path { self.hint(path, pending, found) } else { None };
        if self.is_blocked(listed, path) || !self.has_room(listed, pending, found, hint.as_ref()) {
            self.plan.bulk.insert(path.clone());
            return;
        }
        // What is there although it was removed is another file.
        let is_new = pending.rewritten || pending.removed || pending.renamed && hint.is_none();
        let list = match (found, pending.scope) {
            (Found::Directory, Scope::Subtree) if is_new => &mut self.plan.subtrees_rewritten,
            (Found::Directory, Scope::Subtree) => &mut self.plan.subtrees,
            (Found::Directory, Scope::Level) => &mut self.plan.levels,
            // What the node has by this name may be one inode with what has another name now.
            (Found::File(_), _) if pending.departed && hint.is_none() => &mut self.plan.anew,
            (Found::File(stamp), _) if pending.closed && !is_new && hint.is_none() && stamp.size > LARGE => {
                &mut self.plan.closed
            }
            (Found::File(stamp), _) if !is_new && !pending.closed && (stamp.size > LARGE || hint.is_some()) => {
                &mut self.plan.large
            }
            _ => &mut self.plan.present,
        };
        list.insert(listed.clone());
        if let Found::File(stamp) = found {
            self.plan.stamps.insert(listed.clone(), stamp);
        }
        self.plan.carriers.insert(path.clone(), listed.clone());
        if found == Found::Other {
            self.note_link(listed);
        }
        if let Some(origin) = hint {
            self.use_hint(path.clone(), origin);
        }
    }

    /// Whether something else than the path itself would be listed, on which the bulk lane is at work.
    fn is_blocked(&self, listed: &RelPath, path: &RelPath) -> bool {
        self.room.is_some() && listed != path && self.set.is_blocked(listed, Lane::Fast)
    }

    /// Whether the lane carries what would be listed. Small files always go: their number is bounded by the batch.
    fn has_room(&mut self, listed: &RelPath, pending: &Pending, found: Found, hint: Option<&Origin>) -> bool {
        let Some(room) = &mut self.room else { return true };
        match found {
            // A directory may have very many entries.
            Found::Directory if pending.scope == Scope::Level => false,
            Found::File(stamp) if stamp.size > LARGE => room.take(Self::cost(stamp, pending, hint)),
            Found::Directory if hint.is_some_and(|origin| origin.doubt == Doubt::None) && !pending.rewritten => {
                // Its files are not sent.
                let mut free = Room { bytes: u64::MAX, entries: room.entries };
                let fits = self.disk.fits(listed, &mut free);
                room.entries = free.entries;
                fits
            }
            Found::Directory if pending.scope == Scope::Subtree => {
                let bytes = room.bytes;
                let fits = self.disk.fits(listed, room);
                if !fits {
                    // What was looked at is spent, so that the looking has an end, but it is not carried.
                    room.bytes = bytes;
                }
                fits
            }
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
        if self.set.is_hidden(path) {
            // The file system that held it may come back, and so may the path.
        } else if top != path && self.set.is_waiting_removal(top, self.now) {
            // It goes with that, and not before.
        } else if self.set.is_reported_removed(top) && self.is_blocked(top, path) {
            self.plan.bulk.insert(path.clone());
        } else if self.set.is_reported_removed(top) {
            self.plan.missing.insert(top.clone());
            self.plan.carriers.insert(path.clone(), top.clone());
        } else if pending.unreported.is_some_and(|since| self.now >= since + REPORT_AT_LATEST) {
            self.plan.lost.extend(top.parent());
        } else {
            self.plan.unreported.insert(path.clone());
        }
    }

    /// What is hidden, or may be on its way back, stays on the node.
    fn keep(&mut self) {
        let Plan { subtrees, subtrees_rewritten, levels, .. } = &self.plan;
        let compared = || subtrees.iter().chain(subtrees_rewritten).chain(levels);
        let kept = match self.set.is_careful() {
            true => compared().next().map(|_| RelPath::root()).into_iter().collect(),
            false => compared().flat_map(|top| self.set.hidden_about(top)).collect(),
        };
        self.plan.kept = bounded(kept);
    }

    /// What was moved away stays on the node, unless its name exists again.
    fn protect(&mut self) {
        let Plan { subtrees, subtrees_rewritten, levels, missing, .. } = &self.plan;
        let tops = subtrees.iter().chain(subtrees_rewritten).chain(levels).chain(missing);
        let below: BTreeSet<RelPath> = tops.flat_map(|top| self.set.moved_away_below(top)).collect();
        let (away, returned): (BTreeSet<_>, _) =
            below.into_iter().partition(|path| self.disk.look(path) == Found::Missing);
        self.plan.returned = returned;
        // Past these the others are sent as they are: what holds them must not be kept from the node for their sake.
        let mut settling = BTreeSet::new();
        for top in self.plan.subtrees.iter().chain(&self.plan.subtrees_rewritten).chain(&self.plan.levels) {
            settling.extend(self.set.settling_below(top, self.now, PROTECTED - settling.len()));
        }
        self.plan.protected = bounded(away);
        self.plan.protected.extend(settling);
    }

    fn unreadable(&mut self, path: &RelPath) {
        self.plan.unreadable.insert(path.clone());
    }
}

pub mod links;
mod renames;

#[cfg(test)]
mod tests;
