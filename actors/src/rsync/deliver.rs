//! Carries out plans: which runs a plan takes, in which order, and what came of them.

mod alike;
mod divided_list;
mod links;
mod moves;
mod next_best;
mod removals;
mod runs;
mod spare;
mod whole;

pub(super) use self::alike::{NameRule, NamesSeen, Sampler, is_still_sample};
pub(super) use self::whole::Reconciler;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use slog::debug;

use self::divided_list::ListSending;
use self::links::{leave_changed, leave_lacking};
use self::runs::{Runs, Started};
use super::examine::Examiner;
use super::jobs::Jobs;
use super::learned::NewMirror;
use super::recipe::{self, Recipe};
use super::runner::Runner;
use super::target::Target;
use crate::path::RelPath;
use crate::patterns::rules;
use crate::rsync::report::aside::{Aside, Without};
use crate::rsync::report::complaint::{Act, Complaint, End};
use crate::rsync::report::itemized::Itemized;
use crate::rsync::report::output::{self, Line};
use crate::rsync::report::refusal::{Refusal, refusal};
use crate::rsync::report::untaken::note_untaken;
use crate::rsync::runner::process::{Code, Finished};
use crate::rsync::runner::run_order::{Ears, Order, Work};
use crate::transport::Lane;
use crate::transport::blame::Blame;
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::{Plan, bounded};
use crate::transport::traits::Trait;
use crate::transport::{Again, Delivery, Worked};

/// Entries that are named when a reconcile would delete too many.
const NAMED: usize = 3;

/// Carries out plans and reconciles at one node.
pub(super) struct Deliverer {
    pub(super) target: Rc<Target>,
    runner: Rc<Runner>,
    pub(super) examiner: Rc<Examiner>,
    /// Deleted at the node by comparisons; nobody looked yet at what went with it.
    deleted: RefCell<BTreeSet<RelPath>>,
    /// Names of the node that share their files, by the one that is to be deleted.
    shared_files: RefCell<BTreeMap<RelPath, RelPath>>,
    new_mirror: RefCell<NewMirror>,
    /// The runs of all nodes that go through many directories.
    jobs: Jobs,
}

impl Deliverer {
    pub(super) fn new(target: Rc<Target>, runner: Rc<Runner>, examiner: Rc<Examiner>, jobs: Jobs) -> Rc<Self> {
        let deleted = RefCell::default();
        let shared_files = RefCell::default();
        Rc::new(Deliverer { target, runner, examiner, deleted, shared_files, new_mirror: RefCell::default(), jobs })
    }

    /// Carries out a plan.
    pub(super) async fn deliver_plan(
        self: Rc<Self>,
        plan: Rc<Plan>,
        lane: Lane,
        worked: Worked,
    ) -> Result<Delivery, Failure> {
        let (plan, clashes) = self.spare(plan, lane).await?;
        self.await_deletion(&plan, lane);
        let mut runs = Runs::default();
        let mut rest = self.make_moves(&plan, lane, &mut runs).await?;
        let deleting = deletes_beside(&plan, &rest.left_names)
            .then(|| Started::begin(|worked| self.clone().delete(plan.clone(), lane, worked)));
        leave_changed(&mut rest.present, &plan, &self.target.root, &mut runs.delivery);
        // New content is in place before old content goes.
        for (recipe, paths) in [
            (Recipe::Present, &rest.present),
            (Recipe::Large, &rest.large),
            (Recipe::Closed, &plan.closed),
            (Recipe::Anew, &plan.anew),
            (Recipe::Subtrees, &rest.subtrees),
            (Recipe::SubtreesRewritten, &rest.subtrees_rewritten),
            (Recipe::Present, &rest.late),
        ] {
            if !paths.is_empty() {
                self.send_first(recipe, paths, &plan, lane, &mut runs).await?;
            }
        }
        self.send_late_links(&plan, lane, &mut runs).await?;
        if !rest.relinked.is_empty() {
            self.send_first(Recipe::Large, &rest.relinked, &plan, lane, &mut runs).await?;
        }
        match deleting {
            Some(deleting) => {
                runs.join(deleting).await?;
                runs.sent_root = true;
            }
            None => self.delete_last(&plan, lane, &mut runs).await?,
        }
        if plan.root && !runs.sent_root {
            runs.add(|worked| self.clone().send(Recipe::Root, Vec::new(), plan.clone(), lane, worked)).await?;
        }
        // Nobody listens any more when the batch was given up.
        let _ = worked.send(());
        let mut delivery = runs.ended().await?;
        self.complete_removals(&plan, lane, &mut delivery).await?;
        let told = delivery.tally.made_mirror;
        // Else the reconcile takes the mark.
        delivery.tally.made_mirror = self.new_mirror.borrow_mut().taken_by_delivery(told);
        self.learn_of_links(rest.links_failed);
        clashes.note_in(&mut delivery);
        blame_other_names(&plan, &mut delivery);
        Ok(delivery)
    }

    /// Sends the symlinks that go after what they lead to.
    async fn send_late_links(self: &Rc<Self>, plan: &Rc<Plan>, lane: Lane, runs: &mut Runs) -> Result<(), Failure> {
        for links in &plan.late_links {
            let mut links = links.clone();
            leave_lacking(&mut links, plan, &mut runs.delivery);
            leave_changed(&mut links, plan, &self.target.root, &mut runs.delivery);
            if !links.is_empty() {
                self.send_first(Recipe::Present, &links, plan, lane, runs).await?;
            }
        }
        Ok(())
    }

    /// Deletes what is missing, and compares levels, if nothing speaks against that: the last runs of a delivery.
    async fn delete_last(self: &Rc<Self>, plan: &Rc<Plan>, lane: Lane, runs: &mut Runs) -> Result<(), Failure> {
        // Where something does not fit, deletions may be what makes room.
        if !runs.delivery.blamed.is_only(|path| runs.delivery.is_set_aside(path)) {
            // What failed may be the new name of what is to be deleted.
            let held = plan.missing.iter().chain(&plan.levels);
            runs.delivery.blamed.add(Blame::Paths(held.cloned().collect()));
        } else if !runs.delivery.left.is_empty() {
            // A link at the node may still lead there.
            runs.delivery.left.extend(plan.missing.iter().chain(&plan.levels).cloned());
        } else if !plan.missing.is_empty() || !plan.levels.is_empty() {
            if !plan.levels.is_empty() {
                let list = recipe::levels(&plan.levels);
                runs.add(|worked| self.clone().send(Recipe::Levels, list, plan.clone(), lane, worked)).await?;
                let names = plan.names_of(|name| name.parent().is_some_and(|dir| plan.levels.contains(&dir)));
                if !names.is_empty() {
                    let list = recipe::entries(&names, names.iter().any(is_top));
                    runs.add(|worked| self.clone().send(Recipe::Large, list, plan.clone(), lane, worked)).await?;
                }
            }
            if !plan.missing.is_empty() {
                runs.add(|worked| self.clone().delete(plan.clone(), lane, worked)).await?;
                runs.sent_root = true;
            }
        }
        Ok(())
    }

    /// A run of a plan over paths that exist.
    async fn send_first(
        self: &Rc<Self>,
        recipe: Recipe,
        paths: &BTreeSet<RelPath>,
        plan: &Rc<Plan>,
        lane: Lane,
        runs: &mut Runs,
    ) -> Result<(), Failure> {
        let by_size_and_time = matches!(recipe, Recipe::Large | Recipe::Subtrees);
        let leaves = |name: &RelPath| by_size_and_time && plan.is_unproven(name);
        let named = plan.with_other_names(paths, recipe.sends_trees(), leaves);
        runs.sent_root |= plan.root;
        let sending = ListSending { deliverer: self, recipe, plan, lane };
        let mut sent = sending.send(&named, runs).await;
        if sent.is_err() && named.len() > paths.len() && !self.target.links_hard() {
            // The node has just refused a link: what it refused with the other names it may take without them.
            sent = sending.send(paths, runs).await;
            runs.delivery.again.extend(unlinked(plan, &(&*named - paths)));
        }
        if let Err(Failure { cause: Cause::TargetFull, .. }) = &sent
            && !plan.missing.is_empty()
        {
            // Deletions may be what makes room.
            runs.add(|worked| self.clone().delete(plan.clone(), lane, worked)).await?;
        }
        sent
    }

    /// Tells if several runs beside each other are out of the question: hard links may lead from one part of the tree to another,
    /// at a node that ignores case one entry may belong to two parts, and a limited line is full with one.
    pub(super) fn goes_alone(&self) -> bool {
        let has_one_case = self.target.known_traits().has(Trait::OneCase);
        self.target.site.extra.links_hard() || has_one_case || self.runner.speed.is_limited()
    }

    /// Tells if the node may be sent parts of the tree by several runs, and asks it how it tells names apart if that is not
    /// known.
    pub(super) async fn takes_parts(&self) -> bool {
        let names = || self.target.learned.borrow().names();
        // Somebody may have made the mirror since.
        if matches!(names(), NameRule::Unknown | NameRule::NoMirror)
            && let Err(failure) = self.examiner.probe_names(&BTreeSet::new()).await
        {
            debug!(self.target.log, "the node was not asked how it tells names apart"; "why" => %failure);
            return false;
        }
        names().allows_parts()
    }

    async fn send(
        self: Rc<Self>,
        recipe: Recipe,
        list: Vec<u8>,
        plan: Rc<Plan>,
        lane: Lane,
        worked: Worked,
    ) -> Result<Delivery, Failure> {
        let order = Order { work: Work::List(&list), lane: Some(lane), ..Order::of(recipe) };
        self.listed(order, &plan, Some(worked)).await
    }

    /// One run over a list.
    async fn listed(
        self: &Rc<Self>,
        order: Order<'_>,
        plan: &Plan,
        worked: Option<Worked>,
    ) -> Result<Delivery, Failure> {
        let mut filters: Vec<OsString> = plan.protected.iter().flat_map(rules::exact).collect();
        let compares = matches!(order.recipe, Recipe::Subtrees | Recipe::SubtreesRewritten | Recipe::Levels);
        let passed_over = compares.then(|| self.target.root.arriving().pass_over(plan.compared().cloned()));
        filters.extend(passed_over.iter().flat_map(|over| &over.paths).flat_map(rules::exact));
        if compares || order.recipe == Recipe::ByLevels {
            filters.extend(plan.kept.iter().flat_map(rules::kept));
        }
        filters.extend(order.rules.iter().cloned());
        let mut hear = |said: &[u8]| match Line::parse(said) {
            Line::Deleted(path) if compares => self.note_deleted(path),
            _ => (),
        };
        self.counted(Order { rules: &filters, ..order }, worked, &mut hear).await
    }

    /// A run: what it changed, and what failed in it alone. It is repeated without what does not fit at the node, which ended
    /// it. And rsync skips all deletions of a run in which it could not read something: then the rest is done once more
    /// without what it could not read.
    pub(super) async fn counted(
        self: &Rc<Self>,
        order: Order<'_>,
        mut worked: Option<Worked>,
        heard: &mut dyn FnMut(&[u8]),
    ) -> Result<Delivery, Failure> {
        let began = SystemTime::now();
        let mut delivery = Delivery::default();
        let mut aside = Aside::default();
        let mut itemized = Itemized::default();
        let mut filters = order.rules.to_vec();
        let mut rest = None::<Vec<u8>>;
        let mut is_first = true;
        let skips = loop {
            let mut skips = false;
            let mut count = |said: &[u8]| {
                for line in output::parts(said).filter(|line| !order.is_of_frame(line)) {
                    skips |= line == Line::DeletionsSkipped;
                    self.note_made(order.recipe, &line);
                    itemized.add(&line);
                }
                heard(said);
            };
            let mut ears = Ears::to(&mut count).told(worked.take());
            let work = rest.as_deref().map_or(order.work, Work::List);
            let finished = self.runner.run_making_path(&Order { work, rules: &filters, ..order }, &mut ears).await?;
            worked = ears.worked.take();
            let (unset, finished) = self.target.without_unset(finished);
            delivery.unset.add(unset);
            if let Some(without) = self.target.set_aside(order.recipe, work, &finished, &itemized, &mut aside) {
                match without {
                    Without::Rules(rules) => filters.extend(rules),
                    Without::List(list) => rest = Some(list),
                }
                continue;
            }
            let finished = if order.removes { self.without_refused(finished) } else { finished };
            match self.sort_out(&order, &finished, &itemized, &mut delivery)? {
                Blame::Paths(paths) if skips && is_first && !paths.is_empty() => {
                    is_first = false;
                    // What else is in these was sent.
                    let unread = bounded(paths.into_iter().collect());
                    if unread.contains(&RelPath::root()) {
                        break true;
                    }
                    filters.extend(unread.iter().flat_map(rules::exact));
                }
                _ => break skips,
            }
        };
        aside.note_in(&mut delivery);
        note_untaken(&self.target, &order, &itemized, began, &mut delivery);
        let Delivery { blamed, unset, .. } = &mut delivery;
        unset.paths.retain(|path| !blamed.names(path));
        delivery.tally = itemized.done(&delivery.blamed, delivery.unset.entries());
        if skips {
            delivery.blamed = Blame::Anything;
        }
        Ok(delivery)
    }

    /// Notes that a run made the mirror. That it would be made is no news, nor is that it was made to be sent everything.
    fn note_made(&self, recipe: Recipe, line: &Line) {
        if *line == Line::MadeMirror && recipe != Recipe::Full && !recipe.only_looks() {
            self.new_mirror.borrow_mut().made();
            self.forget_node();
        }
    }

    /// The paths that a finished run blames, which are added to `delivery`; or its failure as a whole. `itemized` is what it
    /// said that it would do.
    fn sort_out(
        &self,
        order: &Order<'_>,
        finished: &Finished,
        itemized: &Itemized,
        delivery: &mut Delivery,
    ) -> Result<Blame, Failure> {
        let Some(failure) = self.target.failure_of(finished) else { return Ok(Blame::default()) };
        // These codes say that the rest is done, whatever the cause.
        if !matches!(finished.code, Code::Exit(23 | 24)) {
            return Err(failure);
        }
        self.target.note_refused_links(&finished.stderr);
        let blamed = self.target.blamed(finished);
        let failure = self.target.partial(finished, failure);
        let refused = refusal(&finished.stderr, itemized, &blamed, |name| self.target.inside(name));
        match refused.beside(order.part.is_some_and(|part| part.takes_others.get())) {
            // There is a second way.
            Refusal::Whole(Cause::Unwritable) if order.recipe.only_deletes() => (),
            // A part of the mirror may lie on a file system of its own, or belong to somebody else: then the rest must not
            // wait for it.
            Refusal::Whole(cause) if !self.target.learned.borrow().is_refused_in_part(cause, Instant::now()) => {
                return Err(self.target.refused(cause, finished, failure));
            }
            Refusal::InPart(cause) => self.target.learned.borrow_mut().refuses_in_part(cause, Instant::now()),
            Refusal::Whole(_) | Refusal::None => (),
        }
        let deletions = Complaint::all(&finished.stderr)
            .filter(|complaint| complaint.act == Act::Delete && complaint.end == Some(End::Node));
        delivery.undeleted.extend(deletions.filter_map(|complaint| self.target.inside(complaint.name.as_deref()?)));
        delivery.blamed.add(blamed.clone());
        delivery.failure.get_or_insert(failure);
        Ok(blamed)
    }
}

/// Tells if a plan deletes nothing but what the node has by other names already, of which `left_names` are the old ones. Such
/// a deletion need not wait for the other runs: one round trip less until the old name is gone.
fn deletes_beside(plan: &Plan, left_names: &BTreeSet<RelPath>) -> bool {
    // A link at the node may still lead to the old name.
    let is_last = !plan.links.is_empty() || !plan.levels.is_empty();
    !plan.missing.is_empty() && plan.missing.is_subset(left_names) && !is_last
}

/// The names that a run was to link and that no other run sends: each is sent by itself.
fn unlinked(plan: &Plan, others: &BTreeSet<RelPath>) -> BTreeMap<RelPath, Again> {
    let left = others.iter().filter(|name| !plan.sends(name));
    let again = |name: &RelPath| {
        let mut same = plan.names.iter().filter(|names| names.contains(name)).flatten();
        Again { rewritten: same.any(|name| plan.is_unproven(name)), after: Duration::ZERO, once_more: None }
    };
    left.map(|name| (name.clone(), again(name))).collect()
}

/// Blames all names of a file of which one is blamed: rsync sends one of them, and says nothing of the others when that fails.
fn blame_other_names(plan: &Plan, delivery: &mut Delivery) {
    let names = plan.names_of(|name| matches!(&delivery.blamed, Blame::Paths(_)) && delivery.blamed.names(name));
    if !names.is_empty() {
        delivery.blamed.add(Blame::Paths(names.into_iter().collect()));
    }
}

fn is_top(path: &RelPath) -> bool {
    path.depth() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::plan::Leads;

    #[test]
    fn names_that_the_node_does_not_link_are_sent_by_themselves() {
        let set = |names: &[&str]| -> BTreeSet<RelPath> {
            names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect()
        };
        let names = vec![set(&["a", "b", "c", "d/e"]), set(&["x", "y"])];
        let plan =
            Plan { present: set(&["a", "c"]), large: set(&["x"]), subtrees: set(&["d"]), names, ..Plan::default() };
        let again = unlinked(&plan, &set(&["b", "c", "d/e", "y"]));
        let again: Vec<_> = again.into_iter().map(|(name, again)| (name.to_string(), again.rewritten)).collect();
        assert_eq!(again, [("b".to_owned(), true), ("y".to_owned(), false)]);
    }

    #[test]
    fn what_the_node_has_by_another_name_is_deleted_beside_the_rest_unless_a_link_may_lead_there() {
        let paths = |names: &[&str]| -> BTreeSet<RelPath> {
            names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect()
        };
        let left_names = paths(&["old", "older"]);
        let links = paths(&["link"]).into_iter().map(|link| (link, Leads::default())).collect::<BTreeMap<_, _>>();
        for (missing, levels, links, expected) in [
            (&["old"][..], &[][..], BTreeMap::new(), true),
            (&["old", "older"], &[], BTreeMap::new(), true),
            (&["old", "gone"], &[], BTreeMap::new(), false),
            (&[], &[], BTreeMap::new(), false),
            (&["old"], &["d"], BTreeMap::new(), false),
            (&["old"], &[], links, false),
        ] {
            let plan = Plan { missing: paths(missing), levels: paths(levels), links, ..Plan::default() };
            assert_eq!(deletes_beside(&plan, &left_names), expected, "{plan:?}");
        }
    }
}
