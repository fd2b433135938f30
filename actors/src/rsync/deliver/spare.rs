//! Leaves at a node what the source lost (`delete: Never`). An entry of another kind that is in the way stays, too, and the
//! entry of the source is not sent: rsync would delete the other to make room, whatever its options say. So a run that changes
//! nothing finds these first.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::rc::Rc;

use super::{Deliverer, is_top};
use crate::path::RelPath;
use crate::patterns::rules;
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::report::output::{self, Line, in_the_way};
use crate::rsync::runner::run_order::{Order, Work};
use crate::site::DeleteMode;
use crate::transport::Delivery;
use crate::transport::Lane;
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::Plan;

/// Entries that are left out of a run one by one: each takes two arguments of rsync.
const MOST: usize = 2000;

/// The entries of the source that the node has as another kind of entry.
#[derive(Default)]
pub(crate) struct Clashes(BTreeSet<RelPath>);

impl Clashes {
    /// Notes what a line of rsync says.
    fn hear(&mut self, said: &[u8]) {
        let names =
            output::parts(said).filter_map(|line| if let Line::Sent(path, _) = line { Some(path) } else { None });
        self.0.extend(names.filter(|path| !path.is_root() && output::is_new(said)));
        self.0.extend(in_the_way(said));
    }

    /// The rules that leave the entries, and what is below them, out of a run.
    pub(crate) fn rules(&self) -> Vec<OsString> {
        self.0.iter().flat_map(rules::exact).collect()
    }

    fn hold(&self, path: &RelPath) -> bool {
        self.0.contains(path) || path.ancestors().any(|dir| self.0.contains(&dir))
    }

    /// Adds them to what failed.
    pub(super) fn note_in(self, delivery: &mut Delivery) {
        let failure = self.failure();
        delivery.fail(self.0, failure);
    }

    /// Returns the failure that they are; `None` if nothing is in the way.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let first = self.0.first()?;
        let more = match self.0.len() {
            1 => String::new(),
            number => format!(" and {} more", number - 1),
        };
        Some(Failure::new(Cause::InTheWay, format!("{first}{more}")))
    }
}

/// Lists the directories of what no run works on, since it stays at the node as it is: the source has other times of them now,
/// and nothing else sends these.
fn list_parents(staying: &BTreeSet<RelPath>, plan: &mut Plan) {
    let parents: BTreeSet<RelPath> = staying.iter().filter_map(RelPath::parent).collect();
    for parent in parents {
        let is_listed = plan.listed().any(|(path, below)| *path == parent || below && parent.is_below(path));
        match parent.is_root() {
            true => plan.root = true,
            false if !is_listed => _ = plan.present.insert(parent),
            false => (),
        }
    }
}

impl Deliverer {
    /// The part of a plan that deletes nothing at a node that keeps what the source lost, and what is left out of it. The
    /// whole plan elsewhere.
    pub(super) async fn spare(self: &Rc<Self>, plan: Rc<Plan>, lane: Lane) -> Result<(Rc<Plan>, Clashes), Failure> {
        if !self.target.site.delete.keeps_removed() {
            return Ok((plan, Clashes::default()));
        }
        let mut spared = Plan { missing: BTreeSet::new(), moved: Vec::new(), ..(*plan).clone() };
        list_parents(&plan.missing, &mut spared);
        let mut clashes = Clashes::default();
        let alone: BTreeSet<RelPath> = spared
            .listed()
            .filter(|(path, below)| !below && !spared.levels.contains(*path))
            .map(|(path, _)| path.clone())
            .collect();
        let below: BTreeSet<RelPath> = spared.subtrees.union(&spared.subtrees_rewritten).cloned().collect();
        let mut list = recipe::entries(&alone, alone.iter().any(is_top));
        list.extend(recipe::levels(&spared.levels));
        for (recipe, list) in [(Recipe::Clash, list), (Recipe::ClashBelow, recipe::entries(&below, false))] {
            if !list.is_empty() {
                let order = Order { work: Work::List(&list), lane: Some(lane), ..Order::of(recipe) };
                self.look_for_clashes(order, &mut clashes).await?;
            }
        }
        let Plan { present, large, closed, anew, subtrees, subtrees_rewritten, levels, late_links, .. } = &mut spared;
        let lists = [present, large, closed, anew, subtrees, subtrees_rewritten, levels];
        lists.into_iter().chain(late_links).for_each(|list| list.retain(|path| !clashes.hold(path)));
        spared.renamed.retain(|path, _| !clashes.hold(path));
        spared.parents.retain(|path| !clashes.hold(path));
        spared.links.retain(|path, _| !clashes.hold(path));
        list_parents(&clashes.0, &mut spared);
        spared.protected.extend(clashes.0.iter().cloned());
        // A run shows at least that the node is well.
        spared.root |= spared.is_empty();
        Ok((spared.into(), clashes))
    }

    /// Returns the entries of the whole tree that the node has as another kind of entry; none where these may be deleted.
    pub(crate) async fn clashes(self: &Rc<Self>, kept: &[RelPath], rules: &[OsString]) -> Result<Clashes, Failure> {
        let mut clashes = Clashes::default();
        let keeps = match self.target.site.delete {
            DeleteMode::Never => true,
            DeleteMode::Startup => kept.iter().any(RelPath::is_root),
            DeleteMode::Always | DeleteMode::Running => false,
        };
        if keeps {
            self.look_for_clashes(Order { rules, ..Order::of(Recipe::ClashAll) }, &mut clashes).await?;
        }
        Ok(clashes)
    }

    async fn look_for_clashes(self: &Rc<Self>, order: Order<'_>, clashes: &mut Clashes) -> Result<(), Failure> {
        if self.runner.lacks_mirror().await? {
            return Ok(());
        }
        self.counted(order, None, &mut |said| clashes.hear(said)).await?;
        if clashes.0.len() <= MOST {
            return Ok(());
        }
        let first = clashes.0.first().map(ToString::to_string).unwrap_or_default();
        Err(Failure::new(Cause::InTheWay, format!("{first} and {} more, which is too many", clashes.0.len() - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn what_stays_at_the_node_changes_its_directory_alone() {
        let staying = BTreeSet::from(["top", "d/one", "d/two", "sub/x/y", "listed/z"].map(rel));
        let mut plan =
            Plan { subtrees: BTreeSet::from([rel("sub")]), levels: BTreeSet::from([rel("listed")]), ..Plan::default() };
        list_parents(&staying, &mut plan);
        assert_eq!((plan.present, plan.root), (BTreeSet::from([rel("d")]), true));
    }

    #[test]
    fn a_clash_is_an_entry_that_would_be_made_anew_or_cannot_make_way() {
        let mut clashes = Clashes::default();
        for said in [
            &b">f+++++++++|0|0|d/file"[..],
            b"cd+++++++++|4096|0|dir/",
            b".d..t......|4096|0|there/",
            b">f.st......|5|0|there/file",
            b"cannot delete non-empty directory: full",
            b"cd+++++++++|4096|0|./",
            b"IO error encountered -- skipping file deletion",
        ] {
            clashes.hear(said);
        }
        assert_eq!(clashes.0, BTreeSet::from(["d/file", "dir", "full"].map(rel)));
        assert!(clashes.hold(&rel("dir/below")) && clashes.hold(&rel("full")) && !clashes.hold(&rel("d")));
    }
}
