//! The outcome of a plan: the fate of each path of a batch after its run.

use std::collections::BTreeSet;
use std::time::Duration;

use super::BatchPlan;
use crate::outbox::fate::Fate;
use crate::path::RelPath;
use crate::sync::disk::{Disk, EntryOnDisk};
use crate::transport::blame::Blame;
use crate::transport::plan::Plan;

/// A path that is missing is left alone for so long until its removal is reported: the event is on its way.
pub(super) const REPORT_TIME: Duration = Duration::from_millis(20);

/// The outcome of listed entries while they were sent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Since {
    /// Entries that are gone. rsync may not have found them, which it does not tell: they were removed, or moved with a
    /// directory above them, and the report of that is still to come.
    pub gone: BTreeSet<RelPath>,
    /// Files of another size or time: rsync may have read neither the old nor the new content.
    pub changed: BTreeSet<RelPath>,
    /// Entries that were missing and are there again: the node may have the earlier entries.
    pub returned: BTreeSet<RelPath>,
    /// Entries that were missing when the plan was made, and there again before the removals: no run touched them.
    pub spared: BTreeSet<RelPath>,
    /// Symlinks that were not sent: their targets failed, or they lead elsewhere now.
    pub left: BTreeSet<RelPath>,
    /// Files that do not fit at the node.
    pub unfit: BTreeSet<RelPath>,
    /// Files that were not tried, as they are beside these and no smaller.
    pub untried: BTreeSet<RelPath>,
    /// The time to leave these alone.
    pub unfit_for: Duration,
}

impl BatchPlan {
    /// Looks again at the listed entries.
    pub fn since(&self, disk: &mut dyn Disk) -> Since {
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, late_links, .. } = &*self.run;
        let mut since = Since::default();
        let lists = [present, large, closed, anew, subtrees, subtrees_rewritten, levels].into_iter().chain(late_links);
        for path in lists.flatten() {
            match (disk.look(path), self.paths.stamps.get(path)) {
                (EntryOnDisk::Missing, _) => drop(since.gone.insert(path.clone())),
                (EntryOnDisk::File(now), Some(then)) if now != *then => drop(since.changed.insert(path.clone())),
                _ => (),
            }
        }
        let is_there = |path: &&RelPath| !matches!(disk.look(path), EntryOnDisk::Missing | EntryOnDisk::Unknown);
        since.returned = self.run.missing.iter().filter(is_there).cloned().collect();
        since
    }

    /// Splits the blamed paths: those that failed alone below a listed subtree, or were set aside in a listed level,
    /// and the rest: whatever else is there has arrived. `true` with those of which size and time proved nothing.
    pub(crate) fn apart(
        &self,
        blamed: &Blame,
        is_set_aside: impl Fn(&RelPath) -> bool,
    ) -> (Vec<(RelPath, bool)>, Blame) {
        let Blame::Paths(paths) = blamed else { return (Vec::new(), blamed.clone()) };
        let whole = |top: &&RelPath| !paths.iter().any(|bad| bad == *top || top.is_below(bad));
        let tops = |list: &BTreeSet<RelPath>| list.iter().filter(whole).cloned().collect::<Vec<_>>();
        let plain = tops(&self.run.subtrees);
        let rewritten = tops(&self.run.subtrees_rewritten);
        let is_below = |tops: &[RelPath], path: &RelPath| tops.iter().any(|top| path.is_below(top));
        let mut apart = Vec::new();
        let mut rest = Vec::new();
        for path in paths.iter().cloned() {
            let new = is_below(&rewritten, &path);
            let in_level = || path.parent().is_some_and(|dir| self.run.levels.contains(&dir)) && is_set_aside(&path);
            if new || is_below(&plain, &path) || in_level() { apart.push((path, new)) } else { rest.push(path) }
        }
        (apart, Blame::Paths(rest))
    }

    /// The fate of a path of the batch when rsync succeeded on all that is neither blamed nor gone.
    pub fn fate(&self, path: &RelPath, blamed: &Blame, since: &Since) -> Fate {
        let carrier = self.paths.carriers.get(path);
        if self.paths.unreported.contains(path) || carrier.is_some_and(|carrier| since.gone.contains(carrier)) {
            return Fate::Unreported { retry_in: REPORT_TIME };
        }
        if carrier.is_some_and(|carrier| since.unfit.contains(carrier)) {
            return Fate::Unfit { retry_in: since.unfit_for };
        }
        if carrier.is_some_and(|carrier| since.untried.contains(carrier)) {
            return Fate::Untried { retry_in: since.unfit_for };
        }
        if self.paths.unreadable.contains(path) || carrier.is_some_and(|carrier| blamed.touches(carrier)) {
            return Fate::Failed;
        }
        if carrier.is_some_and(|carrier| since.left.contains(carrier)) {
            return Fate::Left;
        }
        if since.spared.contains(path) {
            return Fate::Spared;
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
