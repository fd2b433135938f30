//! The model: a source, the kernel's reports of it, and a node that runs make equal, path by path. The pending set and the
//! planner between them are the real ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use inosync_actors::change::Change;
use inosync_actors::outbox::lease::LeaseId;
use inosync_actors::outbox::pending::PendingSet;
use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::site::DirMoves;
use inosync_actors::sync::disk::{BatchRoom, Disk, EntryOnDisk, FileVersion};
use inosync_actors::sync::plan::{BatchPlan, PlanGround, Since, plan};
use inosync_actors::transport::Lane;
use inosync_actors::transport::blame::Blame;
use inosync_actors::transport::plan::Plan;
use inosync_actors::transport::rename::{Doubt, Relocation, Rename, goes_first};

/// Small, so that paths collapse to subtrees and to the whole tree.
const CAP: usize = 12;
const SIZES: [u64; 4] = [1, 70_000, 5, 200_000];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Dir,
    File(u32),
    /// A symlink to another path of the tree. Any other number makes it another one.
    Link(&'static str, u32),
}

/// What is at each path but the root, which is always a directory.
pub type Tree = BTreeMap<RelPath, Entry>;

fn is_dir(tree: &Tree, path: &RelPath) -> bool {
    path.is_root() || tree.get(path) == Some(&Entry::Dir)
}

fn with_below(tree: &Tree, top: &RelPath) -> Vec<RelPath> {
    tree.keys().filter(|path| *path == top || path.is_below(top)).cloned().collect()
}

fn remove(tree: &mut Tree, top: &RelPath) {
    tree.retain(|path, _| path != top && !path.is_below(top));
}

/// Some versions cannot be told apart by it.
fn stamp(version: u32) -> FileVersion {
    FileVersion { size: SIZES[version as usize % SIZES.len()], mtime: (i64::from(version / 8), 0) }
}

struct Shown<'a>(&'a Tree);

impl Disk for Shown<'_> {
    fn look(&mut self, path: &RelPath) -> EntryOnDisk {
        match self.0.get(path) {
            Some(Entry::Dir) => EntryOnDisk::Directory,
            Some(Entry::File(version)) => EntryOnDisk::File(stamp(*version)),
            Some(Entry::Link(..)) => EntryOnDisk::Other,
            None => EntryOnDisk::Missing,
        }
    }

    fn read_link(&mut self, path: &RelPath) -> Option<Vec<u8>> {
        match self.0.get(path) {
            Some(Entry::Link(to, _)) => Some(format!("/{to}").into_bytes()),
            _ => None,
        }
    }

    fn inside(&mut self, absolute: &[u8]) -> Option<Vec<u8>> {
        Some(absolute.to_vec())
    }

    fn fits(&mut self, dir: &RelPath, room: &mut BatchRoom) -> bool {
        self.0.keys().filter(|path| path.is_below(dir)).all(|_| room.take(10))
    }
}

/// A run that has been started: it has read what there was then.
pub struct Run {
    id: LeaseId,
    plan: BatchPlan,
    read: Tree,
    applied: bool,
    /// What it could not do.
    failed: Vec<RelPath>,
    /// Links that it did not send.
    left: BTreeSet<RelPath>,
}

pub struct World {
    pub source: Tree,
    pub node: Tree,
    /// Directories that the watcher does not know yet, because the report of them has not come: nothing below them is
    /// reported.
    pub unwatched: BTreeSet<RelPath>,
    pub reports: VecDeque<Change>,
    pub set: PendingSet,
    pub runs: Vec<Run>,
    /// What the reconcile that runs has read.
    pub reconcile: Option<Tree>,
    pub now: Instant,
    pub version: u32,
    pub moved: bool,
    pub dir_moves: DirMoves,
    /// What happened, for people.
    pub story: Vec<String>,
}

// === the source ===

impl World {
    pub fn new(dir_moves: DirMoves) -> Self {
        let mut set = PendingSet::new(CAP);
        set.set_dir_moves(dir_moves);
        World {
            dir_moves,
            set,
            source: Tree::new(),
            node: Tree::new(),
            unwatched: BTreeSet::new(),
            reports: VecDeque::new(),
            runs: Vec::new(),
            reconcile: None,
            now: Instant::now(),
            version: 0,
            moved: false,
            story: Vec::new(),
        }
    }

    fn report(&mut self, change: Change, about: &RelPath) {
        if !about.ancestors().any(|dir| self.unwatched.contains(&dir)) {
            self.reports.push_back(change);
        }
    }

    pub fn write(&mut self, path: &RelPath) {
        if !self.can_hold(path) || is_dir(&self.source, path) {
            return;
        }
        self.version += 1;
        self.source.insert(path.clone(), Entry::File(self.version));
        self.report(Change::Touched { path: path.clone(), is_dir: false, rewritten: true }, path);
    }

    pub fn link(&mut self, path: &RelPath, to: &'static str) {
        if !self.can_hold(path) || self.source.contains_key(path) {
            return;
        }
        self.version += 1;
        self.source.insert(path.clone(), Entry::Link(to, self.version));
        self.report(Change::Touched { path: path.clone(), is_dir: false, rewritten: true }, path);
    }

    pub fn make_dir(&mut self, path: &RelPath) {
        if !self.can_hold(path) || self.source.contains_key(path) {
            return;
        }
        self.source.insert(path.clone(), Entry::Dir);
        let change = match self.version % 2 {
            0 => Change::Subtree { path: path.clone() },
            _ => Change::Made { path: path.clone(), is_new: true },
        };
        self.report(change, path);
        self.unwatched.insert(path.clone());
    }

    pub fn remove(&mut self, top: &RelPath) {
        // Deepest first, as rm does.
        for path in with_below(&self.source, top).into_iter().rev() {
            let is_dir = is_dir(&self.source, &path);
            self.source.remove(&path);
            self.report(Change::Removed { path: path.clone(), is_dir }, &path);
            self.unwatched.remove(&path);
        }
    }

    pub fn rename(&mut self, from: &RelPath, to: &RelPath) {
        let Some(&entry @ (Entry::File(_) | Entry::Link(..))) = self.source.get(from) else { return };
        if from == to || !self.can_hold(to) || is_dir(&self.source, to) {
            return;
        }
        self.source.remove(from);
        self.source.insert(to.clone(), entry);
        self.report(Change::Removed { path: from.clone(), is_dir: false }, from);
        let is_known = !from.ancestors().any(|dir| self.unwatched.contains(&dir));
        let change = match is_known {
            true => Change::Renamed { from: from.clone(), to: to.clone() },
            false => Change::Touched { path: to.clone(), is_dir: false, rewritten: true },
        };
        self.report(change, to);
    }

    /// The watcher knows both ends, as of directories that it has watched for a while.
    pub fn move_dir(&mut self, from: &RelPath, to: &RelPath) {
        let free = self.can_hold(to) && !self.source.contains_key(to) && to != from && !to.is_below(from);
        let known = |path: &RelPath| !path.ancestors().chain([path.clone()]).any(|dir| self.unwatched.contains(&dir));
        if self.source.get(from) != Some(&Entry::Dir) || !free || !known(from) || !known(to) || !self.reports.is_empty()
        {
            return;
        }
        self.moved = true;
        for path in with_below(&self.source, from) {
            let entry = self.source.remove(&path).unwrap();
            self.source.insert(path.rebase(from, to).unwrap(), entry);
        }
        self.reports.push_back(Change::MovedAway { path: from.clone() });
        self.reports.push_back(Change::MovedTo { from: from.clone(), to: to.clone() });
    }

    fn can_hold(&self, path: &RelPath) -> bool {
        path.parent().is_some_and(|dir| is_dir(&self.source, &dir))
    }

    /// The watcher hears of one thing.
    pub fn hear(&mut self) {
        let Some(change) = self.reports.pop_front() else { return };
        if let Change::Subtree { path } | Change::Made { path, .. } = &change {
            // From now on it is watched, with all that is below it.
            self.unwatched.retain(|dir| dir != path && !dir.is_below(path));
        }
        self.set.add(&change, self.now);
        if let Change::Made { path: top, .. } = change {
            for path in with_below(&self.source, &top).into_iter().filter(|path| *path != top) {
                let found = match is_dir(&self.source, &path) {
                    true => Change::Made { path, is_new: true },
                    false => Change::Touched { path, is_dir: false, rewritten: true },
                };
                self.set.add(&found, self.now);
            }
        }
    }
}

// === the node ===

impl World {
    /// As the SyncActor starts a batch.
    pub fn start(&mut self, lane: Lane) {
        let is_beside = self.set.works(lane);
        let due = match lane {
            Lane::Fast if is_beside => self.set.next_beside(self.now),
            Lane::Bulk if is_beside => None,
            _ => self.set.next_due(lane, self.now),
        };
        if self.runs.len() >= 8 || due.is_none_or(|at| at > self.now) {
            return;
        }
        let batch = match is_beside {
            true => self.set.lease_beside(6, 40, self.now),
            false => self.set.lease(lane, 6, 40, self.now),
        };
        let room = (lane == Lane::Fast).then_some(BatchRoom { bytes: 100_000, entries: 3 });
        let excludes = Excludes::default();
        let plan = plan(
            &batch.paths,
            PlanGround { set: &self.set, excludes: &excludes, disk: &mut Shown(&self.source), room, now: self.now },
        );
        if is_beside && !plan.is_plain() {
            return self.set.take_back(&batch);
        }
        for path in &plan.paths.lost {
            self.set.add(&Change::Subtree { path: path.clone() }, self.now);
        }
        for via in plan.run.renamed.values().filter_map(|rename| rename.via.clone()) {
            self.set.make_for_a_while(batch.id, via, self.now);
        }
        self.set.forget_moves(&plan.paths.returned, plan.run.subtrees_rewritten.iter());
        self.set.defer(batch.id, &plan.paths.bulk);
        if !plan.run.links.is_empty() {
            self.set.sends_links(batch.id);
        }
        self.set.hold_back(batch.id, &plan.paths.behind, self.now);
        if plan.run.is_empty() {
            let fate = |path: &RelPath| plan.fate(path, &Blame::default(), &Since::default());
            self.set.settle(batch.id, self.now, fate, |_| RETRY);
            return;
        }
        let read = self.source.clone();
        self.runs.push(Run { id: batch.id, plan, read, applied: false, failed: Vec::new(), left: BTreeSet::new() });
    }

    /// A run does its work, but for what it fails on: every path of which the number has a bit set.
    pub fn work(&mut self, at: usize, failing: u32) {
        let Some(run) = self.runs.iter_mut().filter(|run| !run.applied).nth(at) else { return };
        run.applied = true;
        let Plan { present, large, anew, subtrees, subtrees_rewritten, missing, protected, moved, .. } = &*run.plan.run;
        let (source, read, node) = (&self.source, &run.read, &mut self.node);
        run.plan.run.parents.iter().for_each(|dir| send(source, read, node, dir));
        // That a move could not be made of what the node has is no failure.
        let mut number = 0;
        let mut is_chosen = || {
            number += 1;
            failing >> (number % 31) & 1 == 1
        };
        let linked = link_all(&run.plan.run, source, node, |_| !is_chosen());
        let keeps = |path: &RelPath| protected.iter().any(|dir| dir == path || path.is_below(dir));
        let mut built = BTreeSet::new();
        for Relocation { to: new, from: old, doubt } in moved {
            if !is_chosen() && is_dir(read, new) && is_dir(source, new) {
                build(source, node, (new, old), *doubt != Doubt::None, keeps);
                built.insert(new);
            }
        }
        let mut fails = |path: &RelPath| {
            let fails = is_chosen();
            if fails {
                run.failed.push(path.clone());
            }
            fails
        };
        let has = |node: &Tree, path: &RelPath| linked.contains(path) && same_stamp(source.get(path), node.get(path));
        for path in present.iter().chain(large).chain(anew) {
            let is_there = large.contains(path) && has(node, path);
            if !fails(path) && !is_there {
                send(source, read, node, path);
            }
        }
        for top in subtrees.iter().chain(subtrees_rewritten).filter(|top| !built.contains(top)) {
            if !fails(top) && is_dir(read, top) {
                node.retain(|path, _| !path.is_below(top) || read.contains_key(path) || keeps(path));
                for path in with_below(read, top) {
                    if subtrees_rewritten.contains(top) || !has(node, &path) {
                        send(source, read, node, &path);
                    }
                }
            }
        }
        for link in run.plan.run.late_links.iter().flatten() {
            let leads = &run.plan.run.links[link];
            let lacks = |to: &RelPath| run.left.contains(to) || Blame::Paths(run.failed.clone()).touches(to);
            if leads.to.iter().any(lacks) || Shown(source).read_link(link).as_ref() != Some(&leads.text) {
                run.left.insert(link.clone());
            } else if is_chosen() {
                run.failed.push(link.clone());
            } else {
                send(source, read, node, link);
            }
        }
        // What failed may be the new name of what is to be deleted.
        if !run.failed.is_empty() {
            run.failed.extend(missing.iter().cloned());
            return;
        }
        for path in missing {
            if source.contains_key(path) {
                send(source, source, node, path);
            } else {
                remove(node, path);
            }
        }
    }

    pub fn worked(&mut self, at: usize) {
        if let Some(run) = self.runs.iter().filter(|run| run.applied).nth(at) {
            self.set.worked(run.id);
        }
    }

    /// A run ends. One that has not worked has failed as a whole.
    pub fn end(&mut self, at: usize) {
        if at >= self.runs.len() {
            return;
        }
        let run = self.runs.remove(at);
        if !run.applied {
            return self.set.roll_back_batch(run.id);
        }
        let since = Since { left: run.left, ..run.plan.since(&mut Shown(&self.source)) };
        let blamed = Blame::Paths(run.failed);
        self.set.settle(run.id, self.now, |path| run.plan.fate(path, &blamed, &since), |_| RETRY);
    }

    pub fn start_reconcile(&mut self) {
        if self.set.lease_reconcile(self.now) {
            self.reconcile = Some(self.source.clone());
        }
    }

    pub fn end_reconcile(&mut self, succeeds: bool) {
        let Some(read) = self.reconcile.take() else { return };
        if !succeeds {
            return self.set.roll_back_reconcile();
        }
        self.node.retain(|path, _| read.contains_key(path));
        read.keys().for_each(|path| send(&self.source, &read, &mut self.node, path));
        self.set.settle_reconcile(self.now);
    }

    /// The SyncActor dies, and its runs with it: some of them after their work.
    pub fn die(&mut self) {
        self.runs.clear();
        self.reconcile = None;
        self.set.roll_back();
    }
}

const RETRY: Duration = Duration::from_millis(100);

/// Sends one entry: the type that was read, the content that is there now. What has vanished is not sent.
fn send(source: &Tree, read: &Tree, node: &mut Tree, path: &RelPath) {
    let (Some(was), Some(is)) = (read.get(path), source.get(path)) else { return };
    if (*was == Entry::Dir) != (*is == Entry::Dir) {
        return;
    }
    for dir in path.ancestors() {
        if node.get(&dir) != Some(&Entry::Dir) {
            node.insert(dir, Entry::Dir);
        }
    }
    if *is != Entry::Dir {
        remove(node, path);
    }
    node.insert(path.clone(), *is);
}

fn same_stamp(one: Option<&Entry>, other: Option<&Entry>) -> bool {
    matches!((one, other), (Some(Entry::File(one)), Some(Entry::File(other))) if stamp(*one) == stamp(*other))
}

/// The node links its own files to their new names. Returns those that it has linked, or that were sent on the way.
fn link_all(plan: &Plan, source: &Tree, node: &mut Tree, works: impl FnMut(&RelPath) -> bool) -> BTreeSet<RelPath> {
    let mut works = works;
    let staged: Vec<_> = plan.renamed.iter().filter(|(new, _)| works(new)).collect();
    let first = |(new, rename): &(&RelPath, &Rename)| {
        link(source.get(new), node, &rename.old, rename.via.as_ref().unwrap_or(new))
    };
    let mut linked: BTreeSet<RelPath> = BTreeSet::new();
    let mut first = first;
    let on_the_way: Vec<_> = staged.iter().filter(|pair| first(pair)).copied().collect();
    for (new, rename) in on_the_way {
        if rename.via.as_ref().is_none_or(|via| link(source.get(new), node, via, new)) {
            linked.insert(new.clone());
        }
    }
    linked
}

/// The node has the content of `file` at `new`, out of what it has at `old` if that looks the same.
fn link(file: Option<&Entry>, node: &mut Tree, old: &RelPath, new: &RelPath) -> bool {
    let Some(file @ Entry::File(_)) = file else { return false };
    let can_hold =
        |node: &Tree, path: &RelPath| path.parent().is_some_and(|dir| is_dir(node, &dir)) && !is_dir(node, path);
    if !can_hold(node, new) || !can_hold(node, old) {
        return false;
    }
    if goes_first(new, old)
        && let Some(there) = node.get(new).copied()
    {
        // rsync looks at it first.
        let is_same = same_stamp(Some(file), Some(&there));
        node.insert(old.clone(), if is_same { there } else { *file });
        node.insert(new.clone(), if is_same { there } else { *file });
        return !is_same;
    }
    if !same_stamp(Some(file), node.get(old)) {
        node.insert(old.clone(), *file);
    }
    let content = node[old];
    node.insert(new.clone(), content);
    true
}

/// The node makes a directory out of another one that it has. `checked`: by the content of its files.
fn build(
    source: &Tree,
    node: &mut Tree,
    (new, old): (&RelPath, &RelPath),
    checked: bool,
    keeps: impl Fn(&RelPath) -> bool,
) {
    let before = node.clone();
    node.retain(|path, _| !path.is_below(new) || source.contains_key(path) || keeps(path));
    let same =
        |file: Option<&Entry>, other: Option<&Entry>| if checked { file == other } else { same_stamp(file, other) };
    for path in with_below(source, new) {
        let file = source.get(&path);
        if same(file, node.get(&path)) {
            continue;
        }
        send(source, source, node, &path);
        let other = path.rebase(new, old).and_then(|old| before.get(&old));
        if let Some(other) = other.filter(|other| same(file, Some(other))) {
            node.insert(path, *other);
        }
    }
}
