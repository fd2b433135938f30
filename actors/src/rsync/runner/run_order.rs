//! Describes one run: its recipe, its subject, and the listeners to its output.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::path::RelPath;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::output::{self, Line};
use crate::rsync::runner::above::Above;
use crate::rsync::staging::Twins;
use crate::site::Priority;
use crate::transport::rename::Relocation;
use crate::transport::traits::Traits;
use crate::transport::{Lane, Worked};

/// The nice value of a comparison by content (nice(1)): the lowest.
const IDLE: i32 = 19;
/// The nice value of other large runs.
const LARGE: i32 = 5;
/// The most entries of a small change, whose run yields to nobody.
const SMALL: usize = 32;

/// One run, as its caller describes it.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    /// The kind of run.
    pub recipe: Recipe,
    /// The entries that the run is about.
    pub work: Work<'a>,
    /// The directories above what a run deletes, as they were seen before.
    pub above: Option<&'a Arc<Above>>,
    /// `true` for a run of removals: what the node's own filter refuses counts as done.
    pub removes: bool,
    /// Filter rules beside those of the site.
    pub rules: &'a [OsString],
    /// The part of the tree that the run goes through; `None` for all that the recipe says.
    pub part: Option<&'a TreePart>,
    /// The lane of the batch that the run belongs to, if any.
    pub lane: Option<Lane>,
    /// Traits of the node to compare with, in place of those that are known.
    pub traits: Option<&'a Traits>,
}

impl Order<'_> {
    /// A run of a recipe with an empty list.
    pub(crate) fn of(recipe: Recipe) -> Self {
        Order {
            recipe,
            work: Work::List(&[]),
            above: None,
            removes: false,
            rules: &[],
            part: None,
            lane: None,
            traits: None,
        }
    }

    /// Tells if the run may send much, or go over the whole tree.
    pub(crate) fn is_large(&self) -> bool {
        self.lane == Some(Lane::Bulk) || self.recipe.verifies() || self.recipe.covers_tree()
    }

    /// Tells if a line names a directory that other runs send too.
    pub(crate) fn is_of_frame(&self, line: &Line) -> bool {
        matches!((self.part, line), (Some(part), Line::Sent(path, _)) if part.frame.contains(path))
    }

    /// Returns the nice value of the run with this list; `None` if the run yields to nobody.
    pub(crate) fn nice(&self, priority: Priority, list: &[u8]) -> Option<i32> {
        if self.recipe.verifies() {
            return Some(IDLE);
        }
        let is_large = || self.is_large() || list.iter().filter(|&&byte| byte == 0).count() > SMALL;
        (priority == Priority::Low && self.recipe != Recipe::Probe && is_large()).then_some(LARGE)
    }
}

/// A part of the tree, for a run beside those that go through the other parts.
#[derive(Debug)]
pub(crate) struct TreePart {
    /// The filter rules that exclude the other parts.
    pub rules: Vec<OsString>,
    /// The most entries that may still be deleted.
    pub max_delete: Cell<Option<u64>>,
    /// The directories above several parts. Each run sends them, and none counts them.
    pub frame: Rc<BTreeSet<RelPath>>,
    /// `true` if the node took something of another part.
    pub takes_others: Cell<bool>,
}

impl TreePart {
    pub(crate) fn new(rules: Vec<OsString>, max_delete: Option<u64>, frame: Rc<BTreeSet<RelPath>>) -> Self {
        TreePart { rules, max_delete: Cell::new(max_delete), frame, takes_others: Cell::default() }
    }

    /// Counts what a run has deleted: one that follows it may delete so much less.
    pub(crate) fn count_deletions(&self, said: &[u8]) {
        let deleted = output::parts(said).filter(|line| matches!(line, Line::Deleted(_))).count() as u64;
        self.max_delete.set(self.max_delete.get().map(|most| most.saturating_sub(deleted)));
    }
}

/// The entries that a run is about.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// The listed entries of the source.
    List(&'a [u8]),
    /// Renamed files, for [`Recipe::Link`].
    Links(&'a [Twins]),
    /// A moved directory, for [`Recipe::Build`].
    Directory(&'a Relocation),
    /// A moved directory and the listed entries in it, for [`Recipe::Gather`].
    Names(&'a Relocation, &'a [u8]),
}

/// The listeners to one run.
pub(crate) struct Ears<'a> {
    /// Gets each line of output.
    pub line: &'a mut dyn FnMut(&[u8]),
    /// Is sent when rsync says that its work is done. `None` once it was sent.
    pub worked: Option<Worked>,
    /// `true` as soon as a line has told that all is at the node that others wait for. Then `worked` is sent at once: the two
    /// ends take one or two round trips more to agree that nothing is left to do.
    pub is_there: Rc<Cell<bool>>,
    /// Is dropped when rsync says that its work is done, or ends.
    pub at_work: Option<oneshot::Sender<()>>,
    /// `true` if the run was ended because the limit of the node fell: it is to be made again.
    pub outran: bool,
}

impl<'a> Ears<'a> {
    /// Listens to the lines of output.
    pub(crate) fn to(line: &'a mut dyn FnMut(&[u8])) -> Self {
        Ears { line, worked: None, is_there: Rc::default(), at_work: None, outran: false }
    }

    /// The same, and is told when the work is done.
    pub(crate) fn told(self, worked: Option<Worked>) -> Self {
        Ears { worked, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_runs_yield_and_small_changes_do_not() {
        let many = b"/name\0".repeat(SMALL + 1);
        let few = b"/name\0".repeat(SMALL);
        for (recipe, lane, list, low, normal) in [
            (Recipe::Present, Some(Lane::Fast), &few, None, None),
            (Recipe::Missing, Some(Lane::Fast), &few, None, None),
            (Recipe::Present, Some(Lane::Fast), &many, Some(LARGE), None),
            (Recipe::Present, Some(Lane::Bulk), &few, Some(LARGE), None),
            (Recipe::Subtrees, Some(Lane::Bulk), &few, Some(LARGE), None),
            (Recipe::Full, None, &Vec::new(), Some(LARGE), None),
            (Recipe::Probe, None, &few, None, None),
            (Recipe::Verify, None, &Vec::new(), Some(IDLE), Some(IDLE)),
            (Recipe::VerifyEntries, None, &few, Some(IDLE), Some(IDLE)),
        ] {
            let order = Order { lane, ..Order::of(recipe) };
            assert_eq!(order.nice(Priority::Low, list), low, "{recipe:?} {lane:?}");
            assert_eq!(order.nice(Priority::Normal, list), normal, "{recipe:?} {lane:?}");
        }
    }
}
