//! The other names of the files of a batch, where hard links are mirrored: rsync links the names of one file that are in one
//! list. They are looked for in a thread, before the batch is planned for good.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, info};

use super::SyncActor;
use super::plan::BatchPlan;
use crate::outbox::lease::{Batch, LeaseId};
use crate::outbox::need::{Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::outbox::readiness::NameTurn;
use crate::path::RelPath;
use crate::root::hard_links::{LinkGround, LinkGroups, LinkQuestion};
use crate::transport::Lane;
use crate::transport::blame::Blame;
use crate::transport::plan::Plan;

/// The time after which a batch is tried again that waits for the other lane.
const BLOCKED: Duration = Duration::from_millis(100);

/// Symlinks of a batch, with the texts that they had before all was reported.
type ReportedLinks = BTreeMap<RelPath, Vec<u8>>;

impl SyncActor {
    /// Sends a batch as it is planned, with the other names of its files. Where there may be any, it is planned once more when
    /// they are found.
    pub(super) fn send_with_names(
        &mut self,
        lane: Lane,
        batch: Batch,
        (planned, reported): (BatchPlan, ReportedLinks),
        now: Instant,
        ctx: &mut Context<Self>,
    ) {
        let question = self.link_question(&batch, &planned.run);
        if question.is_empty() {
            return self.send_batch(lane, &batch, planned, now, ctx);
        }
        self.lanes.search();
        let (root, excludes) = (self.link.root.clone(), self.link.settings.excludes.clone());
        // Whoever waits for the answer holds this: the search ends with the actor.
        let waits = Arc::new(());
        let asked = Arc::downgrade(&waits);
        let found = tokio::task::spawn_blocking(move || {
            let is_waiting = || asked.strong_count() > 0;
            let ground = LinkGround { root: &root, excludes: &excludes, is_waiting: &is_waiting };
            (root.hard_links().groups(ground, &question), question)
        });
        ctx.spawn(found.into_actor(self).map(move |found, actor, ctx| {
            drop(waits);
            actor.lanes.searched();
            match found {
                Ok(found) => actor.send_found(lane, batch, reported, found, ctx),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The daemon ends.
                Err(_) => actor.link.outbox.lock().roll_back_batch(batch.id),
            }
            actor.advance(ctx);
        }));
    }

    /// Sends a batch with the names that were found, if it may still be sent: the search may have taken long.
    fn send_found(
        &mut self,
        lane: Lane,
        mut batch: Batch,
        reported: ReportedLinks,
        (LinkGroups { groups, cut }, asked): (LinkGroups, LinkQuestion),
        ctx: &mut Context<Self>,
    ) {
        let now = Instant::now();
        if !(self.order.sends() && self.health.may_start(now).is_ok()) {
            return self.link.outbox.lock().roll_back_batch(batch.id);
        }
        if let Err(why) = self.link.root.check() {
            self.link.outbox.lock().roll_back_batch(batch.id);
            return self.hold(why, now);
        }
        let mut planned = self.planned(lane, &batch, reported.clone(), now);
        let blocked = self.blocked(&batch, &planned.run, &groups);
        if !blocked.is_empty() {
            self.link.outbox.lock().let_wait(batch.id, &blocked, now + BLOCKED);
            batch.paths.retain(|(path, _)| !blocked.contains(path));
            planned = self.planned(lane, &batch, reported.clone(), now);
        }
        if !asked.has_all_of(&self.link_question(&batch, &planned.run)) {
            // There was no room for it beside what waits, or it has come since: its other names are not known.
            return self.send_with_names(lane, batch, (planned, reported), now, ctx);
        }
        self.take_along(&batch, &mut planned, groups);
        planned.paths.lacks_names = cut && has_news(&batch.paths);
        self.send_batch(lane, &batch, planned, now, ctx);
    }

    /// Compares the whole tree after a batch that could not take all names along: not before, or the comparison overtakes it.
    /// And once after the node had refused hard links for a while, when it takes them again.
    pub(super) fn compare_for_names(&self, outbox: &mut PendingSet, planned: &BatchPlan, blamed: &Blame) {
        if planned.paths.lacks_names {
            info!(self.link.log, "very many hard links changed: the whole tree is compared to link them");
            outbox.want_resync();
        }
        if !planned.run.names.is_empty() && blamed.is_empty() && self.link.transport.links_hard_again() {
            info!(self.link.log, "the node takes hard links again: the whole tree is compared to link them");
            outbox.want_resync();
        }
    }

    /// The entries of a plan that may have other names.
    fn link_question(&self, batch: &Batch, plan: &Plan) -> LinkQuestion {
        if !self.link.transport.links_hard() {
            return LinkQuestion::default();
        }
        // What failed again goes as it is: another name may be what fails.
        let fails: BTreeSet<&RelPath> =
            batch.paths.iter().filter(|(_, pending)| !pending.takes_names()).map(|(path, _)| path).collect();
        let files = [&plan.present, &plan.large, &plan.closed, &plan.anew].into_iter().flatten();
        let has_others =
            |path: &RelPath| self.link.root.look_at(path).is_ok_and(|meta| meta.is_file() && meta.nlink() > 1);
        let files = files.filter(|path| !fails.contains(path) && has_others(path)).cloned().collect();
        let trees = [&plan.subtrees, &plan.subtrees_rewritten].into_iter().flatten();
        let trees = trees.filter(|path| !fails.contains(path)).cloned().collect();
        LinkQuestion { files, trees, levels: plan.levels.clone() }
    }

    /// The paths of a batch that wait, as another batch is at work on other names of their files. The removals wait with them:
    /// one of them may be that of an old name.
    fn blocked(&self, batch: &Batch, plan: &Plan, groups: &[BTreeSet<RelPath>]) -> BTreeSet<RelPath> {
        let outbox = self.link.outbox.lock();
        let waits = |name: &RelPath| outbox.name_turn(name, batch.id) == NameTurn::After && !plan.sends(name);
        let waiting: Vec<_> = groups.iter().filter(|names| names.iter().any(waits)).collect();
        if waiting.is_empty() {
            return BTreeSet::new();
        }
        let has_name = |path: &RelPath, scope: Scope| {
            waiting.iter().any(|names| {
                names.contains(path) || scope != Scope::Entry && names.iter().any(|name| name.is_below(path))
            })
        };
        let goes_after =
            batch.paths.iter().filter(|(path, pending)| pending.deletes() || has_name(path, pending.scope));
        goes_after.map(|(path, _)| path.clone()).collect()
    }

    /// Adds to a plan the names that its runs take along.
    fn take_along(&self, batch: &Batch, planned: &mut BatchPlan, groups: Vec<BTreeSet<RelPath>>) {
        let mut outbox = self.link.outbox.lock();
        let names = with_turn(&planned.run, &outbox, batch.id, groups, |name| self.link.root.arriving().holds(name));
        if names.is_empty() {
            return;
        }
        debug!(self.link.log, "names of linked files"; "batch" => batch.id.number(), "names" => ?names);
        outbox.takes_along(batch.id, names.iter().flatten().filter(|name| !planned.run.sends(name)));
        Rc::make_mut(&mut planned.run).names = names;
    }

    /// Returns the names that a batch took along and that failed: they are tried by themselves. `alone`: what fails goes without
    /// them the next time.
    pub(super) fn blamed_names(plan: &Plan, blamed: &Blame, alone: bool) -> BTreeSet<RelPath> {
        if *blamed == Blame::Anything && !alone {
            // All is tried again, and takes them along.
            return BTreeSet::new();
        }
        let names = plan.names.iter().flatten().filter(|name| blamed.names(name) && !plan.sends(name));
        names.cloned().collect()
    }
}

/// Tells if a batch has more than what a comparison of the whole tree has just sent. For that no further one is made: it would
/// be followed by the same again.
fn has_news(paths: &[(RelPath, Pending)]) -> bool {
    paths.iter().any(|(_, pending)| !pending.is_only_looked_at())
}

/// The names of each file that go with a plan: those that it sends, and the others whose turn it is.
fn with_turn(
    plan: &Plan,
    set: &PendingSet,
    batch: LeaseId,
    groups: Vec<BTreeSet<RelPath>>,
    arrives: impl Fn(&RelPath) -> bool,
) -> Vec<BTreeSet<RelPath>> {
    let goes = |name: &RelPath| plan.sends(name) || set.name_turn(name, batch) == NameTurn::Now && !arrives(name);
    let going = groups.into_iter().map(|names| names.into_iter().filter(&goes).collect::<BTreeSet<_>>());
    going.filter(|names| names.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;

    #[test]
    fn names_taken_along_are_tried_by_themselves_once_they_are_not_taken_along_again() {
        let set = |names: &[&str]| -> BTreeSet<RelPath> {
            names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect()
        };
        let plan = Plan { present: set(&["a"]), names: vec![set(&["a", "b", "c"])], ..Plan::default() };
        let of_b = Blame::Paths(set(&["a", "b"]).into_iter().collect());
        for (blamed, alone, expected) in [
            (&Blame::Anything, false, &[][..]),
            (&Blame::Anything, true, &["b", "c"]),
            (&of_b, false, &["b"]),
            (&Blame::default(), true, &[]),
        ] {
            assert_eq!(SyncActor::blamed_names(&plan, blamed, alone), set(expected), "{blamed:?} {alone}");
        }
    }

    #[test]
    fn what_a_comparison_left_to_be_looked_at_asks_for_no_further_comparison() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        let path = |name: &str| RelPath::new(name.as_bytes()).unwrap();
        let pending = Pending::new(Scope::Entry).lacked(now, 0, now);
        let looked_at = (path("d"), pending.only_looked_at(now));
        assert!(!has_news(std::slice::from_ref(&looked_at)));
        assert!(has_news(&[looked_at, (path("e"), pending)]));
        set.add(&Change::Subtree { path: path("d") }, now);
        assert!(has_news(&set.lease(Lane::Fast, 9, 99, now).paths));
    }
}
