//! Decides what an rsync run must be told about a batch, from what is on disk at this moment. A pure function of the
//! batch and of a look at the disk; each rule prevents a loss that was seen with plain rsync.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use self::outcome::Since;
use super::disk::{BatchRoom, Disk, EntryOnDisk, FileVersion};
use crate::outbox::away::MovedAway;
use crate::outbox::links::Behind;
use crate::outbox::need::{PathNeed, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::transport::plan::{LARGE, PROTECTED, Plan, bounded};
use crate::transport::rename::{Doubt, Origin};

/// The time after which track was lost if no report has come: the directory that held it is compared as a whole.
const REPORT_AT_LATEST: Duration = Duration::from_secs(2);

/// The plan of a batch, and the fate of the paths that it does not list.
#[derive(Debug, Default)]
pub struct BatchPlan {
    /// The lists for rsync.
    pub run: Rc<Plan>,
    /// The paths of the batch.
    pub paths: BatchPaths,
}

/// The fate of the paths of a batch, beside the plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchPaths {
    /// Directories that exist again although they were moved away.
    pub returned: BTreeSet<RelPath>,
    /// Directories that hold something whose removal was never reported: to be compared as a whole.
    pub lost: BTreeSet<RelPath>,
    /// Directories that hold a mount which does not answer: rsync cannot list them. `true` for those in which size and
    /// time prove nothing.
    pub split: BTreeMap<RelPath, bool>,
    /// Paths for which there was no room: they belong into the bulk lane.
    pub bulk: BTreeSet<RelPath>,
    /// Paths that are not to go with the batch.
    pub behind: BTreeMap<RelPath, Behind>,
    /// Symlinks, with their texts, before which changes were made that may not have been reported: they are not to go.
    pub unreported_links: BTreeMap<RelPath, Vec<u8>>,
    /// `true` if not all other names of its files go with it: the whole tree is compared after it.
    pub lacks_names: bool,
    /// The entry that is listed for each path. A path without one needs nothing from rsync.
    carriers: BTreeMap<RelPath, RelPath>,
    /// The listed files as they were looked at.
    stamps: BTreeMap<RelPath, FileVersion>,
    /// The directories of which only the attributes are sent.
    dirs: BTreeSet<RelPath>,
    /// Paths that wait for the report of their removal.
    unreported: BTreeSet<RelPath>,
    /// Paths that cannot be looked at.
    unreadable: BTreeSet<RelPath>,
}

/// The facts by which a batch is planned.
pub struct PlanGround<'a> {
    /// The pending set that the batch was taken from.
    pub set: &'a PendingSet,
    /// The patterns that are in force.
    pub excludes: &'a Excludes,
    /// The source as it is now.
    pub disk: &'a mut dyn Disk,
    /// The amount that the fast lane may carry; `None` for the bulk lane.
    pub room: Option<BatchRoom>,
    /// The time of the plan.
    pub now: Instant,
}

/// Decides what to list for a batch.
pub fn plan(batch: &[(RelPath, Pending)], ground: PlanGround<'_>) -> BatchPlan {
    let PlanGround { set, excludes, disk, room, now } = ground;
    let looked = HashMap::new();
    let plan = Plan::default();
    let mut planner = Planner { set, excludes, disk, looked, room, now, plan, paths: BatchPaths::default() };
    for (path, pending) in batch {
        planner.add(path, pending);
    }
    planner.arrange_renames();
    planner.keep_for_bulk();
    planner.arrange_links(batch);
    planner.protect();
    planner.keep();
    drop_covered(&mut planner.plan);
    BatchPlan { run: Rc::new(planner.plan), paths: planner.paths }
}

impl BatchPlan {
    /// Tells if a batch sends the content of files, the attributes of directories and nothing else: such a batch may go
    /// beside others. One that has the root has nothing but the times of directories.
    pub fn is_plain(&self) -> bool {
        let BatchPlan { run, paths } = self;
        let Plan { present, large, closed, .. } = &**run;
        let listed = || [present, large, closed].into_iter().flatten();
        let (present, large, closed) = (present.clone(), large.clone(), closed.clone());
        let lists = Plan { present, large, closed, root: run.root, ..Plan::default() };
        let BatchPaths { carriers, stamps, dirs, .. } = paths;
        let is_known = |path: &RelPath| stamps.contains_key(path) || dirs.contains(path);
        let sent = BatchPaths {
            carriers: carriers.clone(),
            stamps: stamps.clone(),
            dirs: dirs.clone(),
            ..BatchPaths::default()
        };
        (run.root || listed().next().is_some())
            && listed().all(is_known)
            && carriers.iter().all(|(path, listed)| path == listed)
            && **run == lists
            && *paths == sent
    }
}

impl Planner<'_> {
    /// Sends removals after the bulk lane: a removed path may be the old name of one in it.
    fn keep_for_bulk(&mut self) {
        if self.paths.bulk.is_empty() || self.plan.missing.is_empty() {
            return;
        }
        let missing = std::mem::take(&mut self.plan.missing);
        let BatchPaths { carriers, bulk, .. } = &mut self.paths;
        bulk.extend(carriers.iter().filter(|(_, listed)| missing.contains(listed)).map(|(path, _)| path.clone()));
        carriers.retain(|path, _| !bulk.contains(path));
    }
}

/// Drops the listed paths that a listed subtree covers.
fn drop_covered(plan: &mut Plan) {
    let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, late_links, .. } = plan;
    let is_subtree = |path: &RelPath| subtrees.contains(path) || subtrees_rewritten.contains(path);
    let covered = |path: &RelPath| is_subtree(path) || path.ancestors().any(|dir| is_subtree(&dir));
    for list in [present, large, closed, anew, levels].into_iter().chain(late_links) {
        list.retain(|path| !covered(path));
    }
}

struct Planner<'a> {
    set: &'a PendingSet,
    excludes: &'a Excludes,
    disk: &'a mut dyn Disk,
    /// Directories that were looked at already: many paths share their ancestors.
    looked: HashMap<RelPath, EntryOnDisk>,
    room: Option<BatchRoom>,
    now: Instant,
    plan: Plan,
    paths: BatchPaths,
}

impl Planner<'_> {
    fn add(&mut self, path: &RelPath, pending: &Pending) {
        if path.is_root() {
            if pending.scope == Scope::Level {
                return self.list_present(path, path, pending, EntryOnDisk::Directory);
            }
            self.plan.root = true;
            self.paths.carriers.insert(path.clone(), path.clone());
            return;
        }
        if pending.is_times() {
            match self.disk.look(path) {
                EntryOnDisk::Directory => (),
                EntryOnDisk::Unknown => return self.unreadable(path),
                // Whatever became of it is reported by itself.
                EntryOnDisk::Missing | EntryOnDisk::File(_) | EntryOnDisk::Other => return,
            }
        }
        for dir in path.ancestors() {
            match self.look_above(&dir) {
                EntryOnDisk::Directory if self.excludes.matching(&dir, true).is_some() => return,
                EntryOnDisk::Directory => (),
                // rsync would follow it at the source, or replace it by a directory at the node.
                found @ (EntryOnDisk::File(_) | EntryOnDisk::Other) => {
                    let pending = Pending { scope: Scope::Entry, ..pending.rewritten(false) };
                    return self.list_present(&dir, path, &pending, found);
                }
                EntryOnDisk::Missing => return self.list_missing(&dir, path, pending),
                EntryOnDisk::Unknown => return self.unreadable(path),
            }
        }
        match self.disk.look(path) {
            found @ (EntryOnDisk::Directory | EntryOnDisk::File(_) | EntryOnDisk::Other) => {
                self.list_present(path, path, pending, found)
            }
            EntryOnDisk::Missing => self.list_missing(path, path, pending),
            EntryOnDisk::Unknown => self.unreadable(path),
        }
    }

    fn look_above(&mut self, dir: &RelPath) -> EntryOnDisk {
        match self.looked.get(dir) {
            Some(found) => *found,
            None => *self.looked.entry(dir.clone()).insert_entry(self.disk.look(dir)).get(),
        }
    }

    fn list_present(&mut self, listed: &RelPath, path: &RelPath, pending: &Pending, found: EntryOnDisk) {
        if self.excludes.matching(listed, found == EntryOnDisk::Directory).is_some() {
            return;
        }
        let pending = &match found {
            // Another directory is there, as after an exchange of two, which reports each as gone.
            EntryOnDisk::Directory if pending.is_removal() && listed == path => {
                Pending { scope: Scope::Subtree, need: PathNeed::Update, ..pending.rewritten(true) }
            }
            _ => *pending,
        };
        if found == EntryOnDisk::Directory && pending.scope != Scope::Entry && self.disk.is_silent_below(listed) {
            // Its pieces are compared with nothing but what the node has by the same names.
            let is_new = pending.proof.rewritten || pending.need != PathNeed::Update;
            self.paths.split.entry(listed.clone()).and_modify(|other| *other |= is_new).or_insert(is_new);
            return;
        }
        let hint = if listed == path { self.hint(path, pending, found) } else { None };
        if self.is_blocked(listed, path) || !self.has_room(listed, pending, found, hint.as_ref()) {
            self.paths.bulk.insert(path.clone());
            return;
        }
        let is_new = match pending.need {
            PathNeed::Update | PathNeed::Times => pending.proof.rewritten,
            PathNeed::Renamed => pending.proof.rewritten || hint.is_none(),
            // What is there although it was removed is another file.
            PathNeed::Removal => true,
        };
        let closed = pending.proof.closed;
        let list = match (found, pending.scope) {
            (EntryOnDisk::Directory, Scope::Subtree) if is_new => &mut self.plan.subtrees_rewritten,
            (EntryOnDisk::Directory, Scope::Subtree) => &mut self.plan.subtrees,
            (EntryOnDisk::Directory, Scope::Level) => &mut self.plan.levels,
            // What the node has by this name may be one inode with what has another name now.
            (EntryOnDisk::File(_), _) if pending.departed && hint.is_none() => &mut self.plan.anew,
            (EntryOnDisk::File(stamp), _) if closed && !is_new && hint.is_none() && stamp.size > LARGE => {
                &mut self.plan.closed
            }
            (EntryOnDisk::File(stamp), _) if !is_new && !closed && (stamp.size > LARGE || hint.is_some()) => {
                &mut self.plan.large
            }
            _ => &mut self.plan.present,
        };
        list.insert(listed.clone());
        match found {
            EntryOnDisk::File(stamp) => drop(self.paths.stamps.insert(listed.clone(), stamp)),
            EntryOnDisk::Directory if pending.scope == Scope::Entry => drop(self.paths.dirs.insert(listed.clone())),
            _ => (),
        }
        self.paths.carriers.insert(path.clone(), listed.clone());
        if found == EntryOnDisk::Other {
            self.note_link(listed);
        }
        if let Some(origin) = hint {
            self.use_hint(path.clone(), origin);
        }
    }

    /// Tells if something else than the path itself would be listed, on which another batch is at work.
    fn is_blocked(&self, listed: &RelPath, path: &RelPath) -> bool {
        self.room.is_some() && listed != path && self.set.is_blocked(listed)
    }

    /// Tells if the lane carries the listed entry. Small files always go: their number is bounded by the batch.
    fn has_room(&mut self, listed: &RelPath, pending: &Pending, found: EntryOnDisk, hint: Option<&Origin>) -> bool {
        let Some(room) = &mut self.room else { return true };
        match found {
            // A directory may have very many entries.
            EntryOnDisk::Directory if pending.scope == Scope::Level => false,
            EntryOnDisk::File(stamp) if stamp.size > LARGE => room.take(Self::cost(stamp, pending, hint)),
            EntryOnDisk::Directory
                if hint.is_some_and(|origin| origin.doubt == Doubt::None) && !pending.proof.rewritten =>
            {
                // Its files are not sent.
                let mut free = BatchRoom { bytes: u64::MAX, entries: room.entries };
                let fits = self.disk.fits(listed, &mut free);
                room.entries = free.entries;
                fits
            }
            EntryOnDisk::Directory if pending.scope == Scope::Subtree => {
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

    /// Lists `top`, the topmost path that is missing: nothing below a missing directory need, or must, be listed.
    fn list_missing(&mut self, top: &RelPath, path: &RelPath, pending: &Pending) {
        if self.excludes.matching(top, false).is_some() {
            return;
        }
        match self.set.moved_away(top) {
            Some(MovedAway::Known) => return,
            Some(MovedAway::Unknown) => {
                self.paths.unreported.insert(path.clone());
                return;
            }
            None => (),
        }
        if self.set.is_hidden(path) {
            // The file system that held it may come back, and so may the path.
        } else if self.set.is_waiting_removal(top, self.now) {
            // It goes with that, and not before. The removal of the path itself may be news since the batch was taken.
        } else if self.set.is_reported_removed(top) && self.is_blocked(top, path) {
            self.paths.bulk.insert(path.clone());
        } else if self.set.is_reported_removed(top) {
            self.plan.missing.insert(top.clone());
            self.paths.carriers.insert(path.clone(), top.clone());
        } else if pending.retry.unreported.is_some_and(|since| self.now >= since + REPORT_AT_LATEST) {
            self.paths.lost.extend(top.parent());
        } else {
            self.paths.unreported.insert(path.clone());
        }
    }

    /// Keeps all on the node that is hidden here, or may be on its way back.
    fn keep(&mut self) {
        let Plan { subtrees, subtrees_rewritten, levels, .. } = &self.plan;
        let compared = || subtrees.iter().chain(subtrees_rewritten).chain(levels);
        let kept = match self.set.is_careful() {
            true => compared().next().map(|_| RelPath::root()).into_iter().collect(),
            false => compared().flat_map(|top| self.set.hidden_about(top)).collect(),
        };
        self.plan.kept = bounded(kept);
    }

    /// Keeps the directories on the node that were moved away, unless their names exist again.
    fn protect(&mut self) {
        let Plan { subtrees, subtrees_rewritten, levels, missing, .. } = &self.plan;
        let tops = subtrees.iter().chain(subtrees_rewritten).chain(levels).chain(missing);
        let below: BTreeSet<RelPath> = tops.flat_map(|top| self.set.moved_away_below(top)).collect();
        let (away, returned): (BTreeSet<_>, _) =
            below.into_iter().partition(|path| self.disk.look(path) == EntryOnDisk::Missing);
        self.paths.returned = returned;
        // Past these the others are sent as they are: what holds them must not be kept from the node for their sake.
        let mut settling = BTreeSet::new();
        for top in self.plan.subtrees.iter().chain(&self.plan.subtrees_rewritten).chain(&self.plan.levels) {
            settling.extend(self.set.settling_below(top, self.now, PROTECTED - settling.len()));
        }
        self.plan.protected = bounded(away);
        self.plan.protected.extend(settling);
    }

    fn unreadable(&mut self, path: &RelPath) {
        self.paths.unreadable.insert(path.clone());
    }
}

pub(crate) mod links;
mod outcome;
mod renames;

#[cfg(test)]
mod tests;
