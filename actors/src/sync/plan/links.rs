//! Symlinks of a batch that go after their targets: in the same delivery, or in a later batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{BatchPaths, Planner};
use crate::outbox::lease::about;
use crate::outbox::links::{Behind, is_awaited};
use crate::outbox::need::Pending;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::sync::disk::{Disk, EntryOnDisk};
use crate::transport::plan::Leads;

/// The number of links that the kernel follows to one file.
const HOPS: usize = 40;

/// The paths that a link of a batch goes after.
#[derive(Debug, Default)]
struct After {
    /// Something of the batch that is no link.
    content: bool,
    /// Links of the batch.
    links: BTreeSet<RelPath>,
}

impl Planner<'_> {
    /// Notes a listed symlink and its targets.
    pub(super) fn note_link(&mut self, link: &RelPath) {
        if let Some(text) = self.disk.read_link(link) {
            let to = follow(link, &text, self.excludes, self.disk);
            self.plan.links.insert(link.clone(), Leads { text, to });
        }
    }

    /// Puts the links of a batch behind their targets, and removals behind links.
    pub(super) fn arrange_links(&mut self, batch: &[(RelPath, Pending)]) {
        if self.plan.links.is_empty() {
            return;
        }
        let batch: BTreeMap<RelPath, Pending> = batch.iter().cloned().collect();
        let mut after = BTreeMap::new();
        let mut behind = BTreeMap::new();
        for (link, leads) in &self.plan.links {
            let since = self.set.link_waits_since(link, &leads.text);
            let mut waits = self.set.awaits(link, leads);
            let mut goes_after = After::default();
            for (path, pending) in
                leads.to.iter().flat_map(|to| about(&batch, to)).filter(|(_, pending)| is_awaited(pending))
            {
                match self.paths.carriers.get(path) {
                    _ if self.paths.bulk.contains(path) => waits |= since.is_none_or(|at| pending.is_seen_until(at)),
                    Some(listed) if listed == link => (),
                    Some(listed) if self.plan.links.contains_key(listed) => _ = goes_after.links.insert(listed.clone()),
                    Some(_) => goes_after.content = true,
                    None => (),
                }
            }
            // What waits was looked for when all was reported.
            let is_reported = leads.to.is_empty() || since.is_some() || self.disk.is_reported(link, &leads.text);
            if !is_reported {
                self.paths.unreported_links.insert(link.clone(), leads.text.clone());
                behind.insert(link.clone(), Behind::Report(leads.clone()));
            } else if waits {
                behind.insert(link.clone(), Behind::Targets(leads.clone()));
            }
            after.insert(link.clone(), goes_after);
        }
        follow_behind(&after, &mut behind, &self.plan.links);
        after.retain(|link, _| !behind.contains_key(link));
        self.plan.late_links = in_order(&after);
        self.hold_links_back(&behind);
        if !self.paths.behind.is_empty() && !self.set.needs_room() {
            self.hold_removals_back();
        }
    }

    /// Takes links out of the list of all that exists: those that go later in this delivery, and those that do not go
    /// with it.
    fn hold_links_back(&mut self, links: &BTreeMap<RelPath, Behind>) {
        let late = self.plan.late_links.iter().flatten();
        for link in late.chain(links.keys()) {
            self.plan.present.remove(link);
        }
        let BatchPaths { carriers, behind, .. } = &mut self.paths;
        behind.extend(carriers.iter().filter_map(|(path, listed)| Some((path.clone(), links.get(listed)?.clone()))));
        carriers.retain(|_, listed| !links.contains_key(listed));
        self.plan.links.retain(|link, _| !links.contains_key(link));
    }

    /// Holds removals back: a removed path may be the target of the node's link until the new one is there.
    fn hold_removals_back(&mut self) {
        let missing = std::mem::take(&mut self.plan.missing);
        let levels = std::mem::take(&mut self.plan.levels);
        let BatchPaths { carriers, behind, .. } = &mut self.paths;
        let goes = |listed: &RelPath| missing.contains(listed) || levels.contains(listed);
        behind
            .extend(carriers.iter().filter(|(_, listed)| goes(listed)).map(|(path, _)| (path.clone(), Behind::Links)));
        carriers.retain(|_, listed| !goes(listed));
    }
}

/// The paths that a link leads to, as the kernel follows it in the source. None if it leads in a circle, or to
/// something that is excluded: it leads nowhere at a node, whatever is there.
fn follow(link: &RelPath, text: &[u8], excludes: &Excludes, disk: &mut dyn Disk) -> Vec<RelPath> {
    let names = |text: &[u8]| text.split(|&b| b == b'/').map(<[u8]>::to_vec).collect::<VecDeque<_>>();
    let mut to = Vec::new();
    let mut at = link.parent().unwrap_or_else(RelPath::root);
    let mut left = names(text);
    let mut absolute = text.starts_with(b"/").then(|| text.to_vec());
    let mut hops = 0;
    loop {
        if let Some(path) = absolute.take() {
            // What is left of the text of an earlier link is still to come.
            let Some(inside) = disk.inside(&path) else { return to };
            (at, left) = (RelPath::root(), names(&inside));
        }
        let Some(name) = left.pop_front() else { break };
        match &name[..] {
            b"" | b"." => continue,
            b".." => match at.parent() {
                Some(dir) => at = dir,
                None => return to,
            },
            name => {
                let next = at.join(std::os::unix::ffi::OsStrExt::from_bytes(name));
                let Some(text) = disk.read_link(&next) else {
                    at = next;
                    continue;
                };
                hops += 1;
                if next == *link || hops > HOPS || excludes.excludes(&next, false) {
                    return Vec::new();
                }
                if text.starts_with(b"/") {
                    let rest = left.iter().flat_map(|name| [b"/", &name[..]].concat());
                    absolute = Some(text.into_iter().chain(rest).collect());
                } else {
                    left = names(&text).into_iter().chain(left).collect();
                }
                to.push(next);
            }
        }
    }
    if excludes.excludes(&at, disk.look(&at) == EntryOnDisk::Directory) {
        return Vec::new();
    }
    if !at.is_root() && !link.is_below(&at) {
        to.push(at);
    }
    to
}

/// Holds back each link to a link that does not go with the batch.
fn follow_behind(
    after: &BTreeMap<RelPath, After>,
    behind: &mut BTreeMap<RelPath, Behind>,
    links: &BTreeMap<RelPath, Leads>,
) {
    loop {
        let follows = |(link, after): &(&RelPath, &After)| {
            !behind.contains_key(*link) && after.links.iter().any(|other| behind.contains_key(other))
        };
        let more: Vec<RelPath> = after.iter().filter(follows).map(|(link, _)| link.clone()).collect();
        if more.is_empty() {
            return;
        }
        for link in more {
            let leads = links.get(&link).cloned().unwrap_or_default();
            behind.insert(link, Behind::Targets(leads));
        }
    }
}

/// The links that go after something of their batch, in the runs that it takes. Those in a circle do not wait for each
/// other.
fn in_order(after: &BTreeMap<RelPath, After>) -> Vec<BTreeSet<RelPath>> {
    // The number of the run in which each goes; 0 is that of all that exists.
    let mut runs: BTreeMap<&RelPath, usize> = BTreeMap::new();
    loop {
        let next: Vec<_> = after
            .iter()
            .filter(|(link, _)| !runs.contains_key(link))
            .filter_map(|(link, After { content, links })| {
                let latest = links.iter().map(|other| runs.get(other).copied()).collect::<Option<Vec<_>>>()?;
                Some((link, latest.into_iter().map(|run| run + 1).max().unwrap_or(usize::from(*content))))
            })
            .collect();
        if next.is_empty() {
            break;
        }
        runs.extend(next);
    }
    let mut ordered = Vec::new();
    for (link, After { content, .. }) in after {
        let run = runs.get(link).copied().unwrap_or(usize::from(*content));
        if run > 0 {
            ordered.resize(ordered.len().max(run), BTreeSet::new());
            ordered[run - 1].insert(link.clone());
        }
    }
    ordered
}

#[cfg(test)]
mod tests;
