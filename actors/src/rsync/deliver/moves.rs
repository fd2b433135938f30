//! The first runs of a plan: the node makes out of its own files what was renamed or moved. All of it is a hint: what a
//! node could not link or build is sent as if nothing had been tried.
//!
//! # The life of a move
//! 1. **Watch**: the halves of a rename are paired by cookie. A file is told as `Removed` of the old name, then `Renamed`; a
//!    directory as `MovedAway`, then `MovedTo`, or `MovedOut` when nothing follows.
//! 2. **Outbox** (`outbox/origins.rs`): remembers for each new name what the node has the entry as. Chains fold. The removal of
//!    the old name is a pending path of its own, which goes with the batch of the new one. For directories only with
//!    `dir_moves: Replicate`; with `Log` the old name stays in `outbox/away.rs`, and `outbox/unmirrored.rs` counts what differs
//!    by it.
//! 3. **Plan**: `renamed` and `moved` stand beside the lists of what is sent: they are hints. A name that would be linked in the
//!    wrong order (rotations, swaps) goes by a third one (`via`).
//! 4. **Link and Build** (`rsync/deliver/moves.rs`) run before what is sent: Link in a directory of hard links
//!    (`rsync/staging.rs`) under both names; Build in the new directory, with the old one at the node as `--link-dest` and the
//!    patterns as they are seen from there (`rules_below` in `patterns/rules.rs`). Without links, `rsync/deliver/next_best.rs`.
//! 5. **The rest** is sent as ever: what no line of rsync says to be linked, and what changed meanwhile. Removals come last;
//!    that of
//!    an old name goes beside the rest once rsync has told of the link (`deletes_beside` in `rsync/deliver.rs`).
//! 6. `Mirrored` reaches the log (`supervisor/move_log.rs`). The state forgets the old name as soon as both names are known
//!    (`outbox/unsaved.rs`).

use crate::root::Root;
use crate::rsync::report::failure;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Instant;

use slog::debug;

use super::next_best::NextBest;
use super::{Deliverer, NameRule, Runs};
use crate::path::RelPath;
use crate::patterns::rules;
use crate::rsync::names::folded;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::blame::blame;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;
use crate::rsync::report::temporary;
use crate::rsync::runner::process::Code;
use crate::rsync::runner::run_order::{Ears, Order, Work};
use crate::rsync::staging::{Staging, Twins};
use crate::transport::Lane;
use crate::transport::blame::Blame;
use crate::transport::failure::Failure;
use crate::transport::heard::Listener;
use crate::transport::plan::Plan;
use crate::transport::rename::{Relocation, Rename};
use crate::transport::{Delivery, Moved, Worked};

/// The part of a plan that is sent after its moves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Paths that exist, as [`Plan::present`].
    pub present: BTreeSet<RelPath>,
    /// Large files, as [`Plan::large`].
    pub large: BTreeSet<RelPath>,
    /// Directories with all below them, as [`Plan::subtrees`].
    pub subtrees: BTreeSet<RelPath>,
    /// Directories whose files are compared by content, as [`Plan::subtrees_rewritten`].
    pub subtrees_rewritten: BTreeSet<RelPath>,
    /// Files below a subtree, whatever their size and time say: sent after it.
    pub late: BTreeSet<RelPath>,
    /// `true` if links failed where sending may not. If it does not, they are not tried for a while.
    pub links_failed: bool,
    /// Old names of files that the node has by their new names.
    pub left_names: BTreeSet<RelPath>,
    /// Names of files that have one in a directory which was built: the run that built it named no other.
    pub relinked: BTreeSet<RelPath>,
}

/// The files that are at the node by their new names.
type Stored = Rc<RefCell<BTreeSet<RelPath>>>;

/// Links that one run makes.
struct Links {
    twins: Vec<Twins>,
    stored: Stored,
}

impl Rest {
    /// Takes from the plan the files that were linked and the directories that were built. The value of a built
    /// directory is `true` if it still lacks something.
    fn of(plan: &Plan, linked: &BTreeSet<RelPath>, built: &BTreeMap<RelPath, bool>) -> Rest {
        let without = |list: &BTreeSet<RelPath>| list.iter().filter(|dir| !built.contains_key(*dir)).cloned().collect();
        let mut rest = Rest {
            present: plan.present.clone(),
            large: plan.large.clone(),
            subtrees: without(&plan.subtrees),
            subtrees_rewritten: without(&plan.subtrees_rewritten),
            ..Rest::default()
        };
        // All that it has is right.
        let is_listed = |dir: &RelPath| plan.subtrees.contains(dir) || plan.subtrees_rewritten.contains(dir);
        let lacking = built.iter().filter(|(dir, lacks)| **lacks && is_listed(dir));
        rest.subtrees.extend(lacking.map(|(dir, _)| dir.clone()));
        rest.relinked = plan.names_of(|name| built.keys().any(|dir| name.is_below(dir)));
        for path in plan.renamed.keys().filter(|path| !linked.contains(*path)) {
            // The node has another file by that name, or none: size and time prove nothing.
            if rest.large.remove(path) {
                rest.present.insert(path.clone());
            } else if !rest.present.contains(path) {
                rest.late.insert(path.clone());
            }
        }
        rest
    }
}

impl Deliverer {
    /// Makes what the node can make of its own files.
    pub(super) async fn make_moves(
        self: &Rc<Self>,
        plan: &Rc<Plan>,
        lane: Lane,
        runs: &mut Runs,
    ) -> Result<Rest, Failure> {
        // A link would make one file of what the node keeps and what is sent.
        let can_link = !plan.renamed.is_empty() && !self.target.site.delete.keeps_removed() && self.can_link();
        let moved = self.relocations(plan);
        let in_place = self.writes_in_place();
        let mut parents = if in_place { BTreeSet::new() } else { plan.parents.clone() };
        for Relocation { to, .. } in &moved {
            parents.extend(plan.parents.iter().filter(|dir| to.is_below(dir)).cloned());
            // rsync would follow a symlink that the node has in its place.
            parents.insert(to.clone());
        }
        if !parents.is_empty() {
            self.send_first(Recipe::Present, &parents, plan, lane, runs).await?;
        }
        let (mut linked, links_failed) =
            if can_link { self.link_all(plan, lane, runs).await? } else { Default::default() };
        if (!can_link || links_failed) && !in_place {
            linked = NextBest { deliverer: self, lane, delivery: &mut runs.delivery }.send(&plan.renamed).await?;
        }
        let mut built = BTreeMap::new();
        for relocation in &moved {
            if runs.delivery.blamed.touches(&relocation.to) {
                continue;
            }
            if let Some(delivery) = self.build(relocation, plan, lane).await? {
                runs.delivery.add(delivery);
                self.note_shared(&relocation.from, &relocation.to);
                built.insert(relocation.to.clone(), holds_others(&self.target.root, &relocation.to));
            }
        }
        let left_names =
            linked.iter().filter_map(|new| plan.renamed.get(new)).map(|rename| rename.old.clone()).collect();
        Ok(Rest { links_failed, left_names, ..Rest::of(plan, &linked, &built) })
    }

    /// A directory was built with all that is below it.
    fn hear_built(&self, dir: &RelPath, plan: &Plan, to: &mut Listener) {
        to.add(dir.clone());
        let mut left = vec![dir.clone()];
        while let Some(dir) = left.pop() {
            // What cannot be read was not sent either.
            for name in self.target.root.names(&dir, usize::MAX) {
                let path = dir.join(&name);
                let is_dir = self.target.root.look_at(&path).is_ok_and(|meta| meta.is_dir());
                if self.target.site.excludes.excludes(&path, is_dir) || covers(&plan.protected, &path) {
                    continue;
                }
                left.extend(is_dir.then(|| path.clone()));
                to.add(path);
            }
            if to.is_cut() {
                break;
            }
        }
    }

    /// Notes whether links are of use, at the end of a delivery that went well.
    pub(super) fn learn_of_links(&self, failed: bool) {
        if failed {
            self.target.learned.borrow_mut().links_failed(Instant::now());
            self.runner.standbys.borrow_mut().forget(Recipe::Link);
        }
    }

    fn can_link(&self) -> bool {
        let tries_links = self.target.learned.borrow().tries_links(Instant::now());
        tries_links && !self.writes_in_place() && self.runner.staging.as_deref().is_some_and(Staging::is_usable)
    }

    /// Tells if the node writes into files that are there: two names of one would change together.
    fn writes_in_place(&self) -> bool {
        self.target.site.extra.writes_in_place()
    }

    /// The moves of directories that a run can be told of.
    fn relocations(&self, plan: &Plan) -> Vec<Relocation> {
        // rsync takes no other basis beside it.
        let is_basis = |word: &String| word.starts_with("--copy-dest") || word.starts_with("--compare-dest");
        let has_basis = self.target.site.extra.words().iter().any(is_basis);
        if self.writes_in_place() || has_basis {
            return Vec::new();
        }
        let can = |moved: &&Relocation| {
            let can_name = |path: &RelPath| !path.is_root() && self.target.node.can_name(path);
            can_name(&moved.to) && can_name(&moved.from) && !covers(&plan.protected, &moved.to)
        };
        plan.moved.iter().filter(can).cloned().collect()
    }

    /// Links all that was renamed. Returns what is linked, and whether links are no use.
    async fn link_all(
        self: &Rc<Self>,
        plan: &Rc<Plan>,
        lane: Lane,
        runs: &mut Runs,
    ) -> Result<(BTreeSet<RelPath>, bool), Failure> {
        let may_name = |old: &RelPath| !self.target.site.excludes.excludes(old, false) && !covers(&plan.protected, old);
        // rename(2) leaves both names of one inode as they are: where both are one entry, rsync's temporary name would stay.
        let is_one = |new: &RelPath, old: &RelPath| {
            self.target.learned.borrow().names() != NameRule::Apart && folded(new.as_bytes()) == folded(old.as_bytes())
        };
        let can_be_linked = |(new, rename): &(&RelPath, &Rename)| may_name(&rename.old) && !is_one(new, &rename.old);
        let (first, second) = twins(plan.renamed.iter().filter(can_be_linked));
        let mut linked = BTreeSet::new();
        for twins in [first, second].into_iter().filter(|twins| !twins.is_empty()) {
            let links = Links { twins, stored: Stored::default() };
            let stored = links.stored.clone();
            match runs.add(|worked| self.clone().link(links, lane, worked)).await {
                Ok(()) => linked.append(&mut stored.borrow_mut()),
                Err(failure) if failure.cause.stops_all() => return Err(failure),
                Err(failure) => {
                    debug!(self.target.log, "renamed files are sent"; "why" => %failure);
                    linked.clear();
                    return Ok((linked, true));
                }
            }
        }
        linked.retain(|path| plan.renamed.contains_key(path));
        for (new, Rename { old, .. }) in plan.renamed.iter().filter(|(new, _)| linked.contains(*new)) {
            self.note_shared(old, new);
        }
        if !linked.is_empty() {
            // Every other rename goes by a third name, in two runs.
            self.runner.standbys.borrow_mut().want(Recipe::Link, 2, Instant::now());
        }
        // What is sent once more is counted there.
        let again = |path: &&RelPath| {
            plan.present.contains(*path) || path.ancestors().any(|dir| plan.subtrees_rewritten.contains(&dir))
        };
        runs.delivery.tally.sent += linked.iter().filter(|path| !again(path)).count() as u64;
        Ok((linked, false))
    }

    /// One run that links. What failed in it is not in `stored`.
    async fn link(self: Rc<Self>, links: Links, lane: Lane, worked: Worked) -> Result<Delivery, Failure> {
        let Links { twins, stored } = links;
        let mut delivery = Delivery::default();
        let is_there = Rc::<Cell<bool>>::default();
        let mut left = twins.len();
        let mut hear = |said: &[u8]| {
            left = left.saturating_sub(usize::from(output::is_linked(said)));
            is_there.set(left == 0);
            stored.borrow_mut().extend(output::stored(said));
            match Line::parse(said) {
                Line::Sent(_, bytes) => delivery.tally.bytes += bytes,
                Line::MadeMirror => self.new_mirror.borrow_mut().made(),
                _ => (),
            }
        };
        let mut ears = Ears { is_there: is_there.clone(), ..Ears::to(&mut hear).told(Some(worked)) };
        let order = Order { work: Work::Links(&twins), lane: Some(lane), ..Order::of(Recipe::Link) };
        let finished = self.runner.run_making_path(&order, &mut ears).await?;
        let Some(failure) = failure::of(&finished) else { return Ok(delivery) };
        if !matches!(finished.code, Code::Exit(23 | 24)) {
            return Err(failure);
        }
        // The source names are those of the directory that it ran in: without one of them nothing is known to be linked.
        let originals = |path: &RelPath| temporary::originals(&self.target.root, path);
        let blamed =
            blame(&finished.stderr, self.target.root.path().as_os_str().as_bytes(), &self.target.node, originals);
        let failed = |twins: &Twins| blamed.touches(&twins.has) || blamed.touches(&twins.gets);
        for twins in twins.iter().filter(|twins| blamed == Blame::Anything || failed(twins)) {
            stored.borrow_mut().remove(&twins.gets);
        }
        let nothing = twins.iter().all(|twins| !stored.borrow().contains(&twins.gets));
        if nothing && finished.code == Code::Exit(23) { Err(failure) } else { Ok(delivery) }
    }

    /// Makes one directory out of what the node has. `None` if that was not possible.
    async fn build(self: &Rc<Self>, moved: &Relocation, plan: &Plan, lane: Lane) -> Result<Option<Delivery>, Failure> {
        let mut delivery = Delivery::default();
        let mut count = |said: &[u8]| match Line::parse(said) {
            Line::MadeMirror => (),
            line => {
                line.count_in(&mut delivery.tally);
                if let Line::Deleted(path) = line {
                    path.rebase(&RelPath::root(), &moved.to).into_iter().for_each(|path| self.note_deleted(path));
                }
            }
        };
        let filters = rules_in(plan, &moved.to);
        let work = Work::Directory(moved);
        let rules = &filters[..];
        let unsaid = self.runner.unsaid();
        let order = Order { work, rules, lane: Some(lane), ..Order::of(Recipe::Build) };
        let failure = match self.runner.run(&order, &mut Ears::to(&mut count)).await {
            Ok(finished) => self.target.failure_of(&finished),
            Err(failure) => Some(failure),
        };
        match failure {
            None => {
                if let Some(mut unsaid) = unsaid {
                    self.hear_built(&moved.to, plan, &mut unsaid);
                }
                let bytes = delivery.tally.bytes;
                delivery.moved.push(Moved { from: moved.from.clone(), to: moved.to.clone(), bytes });
                Ok(Some(delivery))
            }
            Some(failure) if failure.cause.stops_all() => Err(failure),
            Some(failure) => {
                debug!(self.target.log, "a moved directory is sent"; "directory" => %moved.to, "why" => %failure);
                Ok(None)
            }
        }
    }
}

/// Tells if there is something below a directory that is neither a directory nor a regular file.
fn holds_others(root: &Root, dir: &RelPath) -> bool {
    let mut left = vec![dir.clone()];
    while let Some(dir) = left.pop() {
        // What cannot be read is not sent either.
        for name in root.names(&dir, usize::MAX) {
            let path = dir.join(&name);
            match root.look_at(&path) {
                Ok(meta) if meta.is_dir() => left.push(path),
                Ok(meta) if meta.is_file() => (),
                _ => return true,
            }
        }
    }
    false
}

/// Returns the links of the first run and those of the second run, which finishes the renames by way of a third name.
fn twins<'r>(renamed: impl IntoIterator<Item = (&'r RelPath, &'r Rename)>) -> (Vec<Twins>, Vec<Twins>) {
    let twins = |file: &RelPath, has: &RelPath, gets: &RelPath| Twins {
        file: file.clone(),
        has: has.clone(),
        gets: gets.clone(),
    };
    let mut first = Vec::new();
    let mut second = Vec::new();
    for (new, Rename { old, via }) in renamed {
        first.push(twins(new, old, via.as_ref().unwrap_or(new)));
        second.extend(via.iter().map(|via| twins(new, via, new)));
    }
    (first, second)
}

/// Tells if one of these paths is `path`, or a directory above it.
pub(crate) fn covers(list: &BTreeSet<RelPath>, path: &RelPath) -> bool {
    list.contains(path) || path.ancestors().any(|dir| list.contains(&dir))
}

/// The filter rules of a plan for a run over the directory `dir` as if it were the whole tree.
fn rules_in(plan: &Plan, dir: &RelPath) -> Vec<OsString> {
    let root = RelPath::root();
    let below = |path: &RelPath| path.rebase(dir, &root);
    let exact = plan.protected.iter().filter_map(below).flat_map(|path| rules::exact(&path));
    exact.chain(plan.kept.iter().flat_map(|path| rules::kept_below(path, dir))).collect()
}

#[cfg(test)]
mod tests;
