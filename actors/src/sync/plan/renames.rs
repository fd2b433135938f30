//! Renamed entries of a batch, and how the node makes them out of its own.

use std::collections::BTreeSet;

use super::Planner;
use crate::outbox::need::{Pending, Scope};
use crate::path::RelPath;
use crate::sync::disk::{EntryOnDisk, FileVersion};
use crate::transport::plan::{LARGE, Plan};
use crate::transport::rename::{Doubt, Origin, Relocation, Rename, detour, goes_first};

/// Size below which a renamed file is sent: that takes no more than to link it, and one run less.
const LINKED: u64 = 4 * 1024;
/// Number of directories that are made out of others in one batch; each takes a run of its own.
const MOVED: usize = 100;
/// Guessed part of a file that goes over the wire when it was renamed and may have changed a little.
const CHANGED: u64 = 16;

impl Planner<'_> {
    /// The name at which the node has the entry found at a path, if that is of use.
    pub(super) fn hint(&self, path: &RelPath, pending: &Pending, found: EntryOnDisk) -> Option<Origin> {
        let origin = self.set.origin(path)?;
        let is_of_use = match found {
            // What failed is sent as it is.
            _ if pending.retry.tries > 0 => false,
            EntryOnDisk::File(stamp) => {
                !origin.is_dir && stamp.size > if pending.proof.rewritten { LARGE } else { LINKED }
            }
            EntryOnDisk::Directory => origin.is_dir && pending.scope == Scope::Subtree && self.plan.moved.len() < MOVED,
            EntryOnDisk::Missing | EntryOnDisk::Other | EntryOnDisk::Unknown => false,
        };
        is_of_use.then(|| origin.clone())
    }

    /// Notes that a listed path is made out of an entry of the node.
    pub(super) fn use_hint(&mut self, new: RelPath, Origin { old, is_dir, doubt }: Origin) {
        if is_dir {
            self.plan.moved.push(Relocation { to: new, from: old, doubt });
        } else {
            self.plan.renamed.insert(new, Rename { old, via: None });
        }
    }

    /// Takes the hints for names below the listed subtrees.
    fn hints_below(&mut self) {
        let Plan { subtrees, subtrees_rewritten, .. } = &self.plan;
        let tops = subtrees.iter().chain(subtrees_rewritten);
        // What may have changed is compared in a subtree by size and time alone.
        let below = tops
            .flat_map(|top| self.set.origins_below(top))
            .filter(|(_, origin)| origin.doubt == Doubt::None || origin.is_dir);
        let below: Vec<RelPath> = below.map(|(new, _)| new.clone()).collect();
        for new in below {
            let replaces = new.ancestors().any(|dir| self.plan.subtrees_rewritten.contains(&dir));
            let in_doubt = |origin: Origin| if replaces { Origin { doubt: Doubt::Replaced, ..origin } } else { origin };
            let pending = Pending::new(Scope::Subtree);
            let found = if self.is_reached(&new) { self.disk.look(&new) } else { EntryOnDisk::Missing };
            let is_dir = found == EntryOnDisk::Directory;
            if let Some(origin) = self.hint(&new, &pending, found).filter(|_| !self.excludes.excludes(&new, is_dir)) {
                self.use_hint(new, in_doubt(origin));
            }
        }
    }

    /// Tells if all above a path are directories.
    fn is_reached(&mut self, path: &RelPath) -> bool {
        let ancestors: Vec<RelPath> = path.ancestors().collect();
        ancestors.into_iter().all(|dir| self.look_above(&dir) == EntryOnDisk::Directory)
    }

    /// Completes the renames of the plan.
    pub(super) fn arrange_renames(&mut self) {
        self.hints_below();
        if self.plan.renamed.is_empty() && self.plan.moved.is_empty() {
            return;
        }
        let Planner { plan, excludes, disk, .. } = self;
        detour_in(plan, |via| !excludes.excludes(via, false) && disk.look(via) == EntryOnDisk::Missing);
        self.plan.moved = in_order(std::mem::take(&mut self.plan.moved));
        list_parents(&mut self.plan);
    }

    /// The bytes of a file that go over the wire, at a guess.
    pub(super) fn cost(stamp: FileVersion, pending: &Pending, hint: Option<&Origin>) -> u64 {
        match hint {
            Some(Origin { doubt: Doubt::None, .. }) if pending.proof.rewritten => stamp.size / CHANGED,
            Some(Origin { doubt: Doubt::None, .. }) => 0,
            _ => stamp.size,
        }
    }
}

/// Gives a detour to each new name that rsync would look at before the old one, or that is the old name of another
/// file: it is linked in a second run, so that nothing that is needed is replaced before.
fn detour_in(plan: &mut Plan, mut can_use: impl FnMut(&RelPath) -> bool) {
    let olds: BTreeSet<RelPath> = plan.renamed.values().map(|rename| rename.old.clone()).collect();
    let mut impossible = Vec::new();
    for (new, rename) in &mut plan.renamed {
        let is_needed = olds.contains(new);
        if is_needed || !goes_first(&rename.old, new) {
            rename.via = Some(detour(new)).filter(|via| goes_first(via, new) && can_use(via));
        }
        if is_needed && rename.via.is_none() {
            impossible.push(new.clone());
        }
    }
    for new in impossible {
        plan.renamed.remove(&new);
        if plan.large.remove(&new) {
            plan.present.insert(new);
        }
    }
}

/// The directories above new names that may not be at the node yet: those of a listed subtree.
fn list_parents(plan: &mut Plan) {
    let Plan { subtrees, subtrees_rewritten, .. } = &plan;
    let is_subtree = |dir: &RelPath| subtrees.contains(dir) || subtrees_rewritten.contains(dir);
    let names = plan.renamed.keys().chain(plan.moved.iter().map(|moved| &moved.to));
    plan.parents =
        names.flat_map(|new| new.ancestors().skip_while(|dir| !is_subtree(dir)).collect::<Vec<_>>()).collect();
}

/// Moves in an order in which each directory is used before something else comes to its name, if there is one.
fn in_order(mut left: Vec<Relocation>) -> Vec<Relocation> {
    let mut ordered = Vec::with_capacity(left.len());
    let meets = |from: &RelPath, to: &RelPath| from == to || from.is_below(to) || to.is_below(from);
    left.sort_by(|one, other| one.to.cmp(&other.to));
    while !left.is_empty() {
        let is_free = |at: &usize| {
            let mut others = left.iter().enumerate().filter(|(other, _)| other != at);
            !others.any(|(_, other)| meets(&other.from, &left[*at].to))
        };
        let next = (0..left.len()).find(is_free).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests;
