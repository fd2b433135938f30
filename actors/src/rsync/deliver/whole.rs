//! Compares the whole tree at one node: by one run, or by several beside each other over parts of the tree that have nothing
//! in common. The limit of deletions is one for all of them. The comparison is made when all have succeeded; what some of
//! them have done stays done.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::poll_fn;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::task::Poll;

use rustix::fs::FileType;

use super::{Deliverer, NAMED, NameRule};
use crate::path::RelPath;
use crate::patterns::rules;
use crate::patterns::rules::groups;
use crate::root::census::{CountedGroups, balanced};
use crate::rsync::jobs::{JobGround, JobWork, TakenJobs};
use crate::rsync::learned::ReconciledMirror;
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::report::output::{self, Line};
use crate::rsync::runner::run_order::{Order, TreePart, Work};
use crate::rsync::traits::{Sample, learn_traits};
use crate::transport::Delivery;
use crate::transport::failure::{Cause, Failure};
use crate::transport::progress::{Latest, Meter, Piece};

/// The runs of a comparison.
struct Division {
    parts: Vec<TreePart>,
    /// The directories above the parts.
    frame: Rc<BTreeSet<RelPath>>,
    /// Filter rules of all runs.
    filters: Vec<OsString>,
    /// Held until the end.
    _taken: TakenJobs,
}

impl Division {
    /// Notes for runs that follow if the node took something of these, and returns that: then it does not refuse everything.
    fn note_taken(&self, ended: &[Result<Delivery, Failure>]) -> bool {
        let takes_some = took_some(ended);
        self.parts.iter().for_each(|part| part.takes_others.set(takes_some));
        takes_some
    }
}

/// The listeners to the runs of a comparison, of which each is told by its number.
struct Listeners<'a> {
    line: &'a dyn Fn(usize, &[u8]),
    end: &'a dyn Fn(usize),
}

/// Compares the whole tree at one node.
pub(in crate::rsync) struct Reconciler {
    deliverer: Rc<Deliverer>,
}

impl Reconciler {
    pub(in crate::rsync) fn new(deliverer: Rc<Deliverer>) -> Self {
        Reconciler { deliverer }
    }

    /// Compares the whole tree, and keeps `latest` meanwhile. What the node has below the directories `kept` is not deleted.
    pub(crate) async fn reconcile_all(&self, kept: &[RelPath], latest: Latest) -> Result<Delivery, Failure> {
        let mut division = self.divide().await;
        let meter = Meter::start(latest, division.parts.len());
        let passed_over = self.deliverer.target.root.arriving().pass_over([RelPath::root()]);
        let exact = passed_over.paths.iter().flat_map(rules::exact);
        division.filters = exact.chain(kept.iter().flat_map(rules::kept)).collect();
        let clashes = self.deliverer.clashes(kept, &division.filters).await?;
        division.filters.extend(clashes.rules());
        // If this never ends, another reconcile is to come, too.
        self.deliverer.new_mirror.borrow_mut().reconcile_comes();
        let prepared = self.prepare(&mut division).await;
        self.deliverer.new_mirror.borrow_mut().reconcile_came();
        let prepared = prepared?;
        // It sends everything to a mirror that was made before, or that it makes itself.
        let mirror = ReconciledMirror::take(&self.deliverer.new_mirror);
        let sample = RefCell::new(Sample::begin());
        let line = |part: usize, said: &[u8]| {
            let split = Piece::split_from(said);
            if let Some((piece, _)) = &split {
                meter.hear(part, piece);
            }
            sample.borrow_mut().hear(split.map_or(said, |(_, rest)| rest));
            for line in output::parts(said) {
                match line {
                    Line::MadeMirror => mirror.made(),
                    Line::Deleted(path) if self.deliverer.names() != NameRule::Apart => {
                        self.deliverer.note_deleted(path)
                    }
                    _ => (),
                }
            }
        };
        let end = |part: usize| meter.ended(part);
        let mut result = self.compare(&division, &Listeners { line: &line, end: &end }).await;
        result.iter_mut().for_each(|delivery| delivery.add(prepared.clone()));
        let is_new = mirror.is_new();
        if result.is_ok() {
            mirror.succeeded();
        }
        if is_new {
            let passed_over = !self.deliverer.target.known_traits().is_empty();
            self.deliverer.forget_node();
            if passed_over && let Ok(delivery) = &mut result {
                // What the mirror before this one could not hold was not compared.
                let order = Order { rules: &division.filters, ..Order::of(Recipe::Full) };
                delivery.add(self.deliverer.counted(order, None, &mut |_| ()).await?);
            }
        } else if result.is_ok() {
            // The node has now what it is asked about.
            self.deliverer.target.learned.borrow_mut().may_tell_names();
        }
        if let Ok(delivery) = &mut result {
            clashes.note_in(delivery);
            self.deliverer.complete_reconcile(delivery).await;
            self.learn_from(delivery, sample.into_inner()).await;
        }
        result
    }

    /// Learns of the node by what a comparison has changed there.
    async fn learn_from(&self, delivery: &Delivery, mut sample: Sample) {
        let unset = &delivery.unset;
        sample.leave_out(|path| delivery.blamed.touches(path) || unset.more || unset.paths.contains(path));
        learn_traits(&self.deliverer.target, &self.deliverer.runner, sample).await;
    }

    /// Divides the tree among as many runs as help.
    async fn divide(&self) -> Division {
        let root = &self.deliverer.target.root;
        let mut counted = root.census().read();
        if counted.directories == 0 && self.deliverer.target.site.reconcile_jobs.is_some() {
            counted = self.top_directories();
        }
        let ground = JobGround {
            kind: self.deliverer.target.node.kind(),
            wanted: self.deliverer.target.site.reconcile_jobs,
            work: JobWork::Compare { directories: counted.directories },
            alone: self.deliverer.goes_alone(),
        };
        let mut taken = self.deliverer.jobs.take(ground);
        if taken.number > 1 && !self.deliverer.takes_parts().await {
            taken.keep(1);
        }
        let max_delete = self.deliverer.target.max_delete();
        if taken.number == 1 {
            let parts = vec![TreePart::new(Vec::new(), max_delete, Rc::default())];
            return Division { parts, frame: Rc::default(), filters: Vec::new(), _taken: taken };
        }
        // Past what is gone by now, or is no directory any more, nobody would go.
        let is_directory = |path: &RelPath| path.is_root() || root.look_at(path).is_ok_and(|meta| meta.is_dir());
        counted
            .groups
            .retain(|(group, _)| group.inside().ancestors().chain([group.inside()]).all(|dir| is_directory(&dir)));
        let groups = balanced(counted, taken.number);
        let rules = groups.iter().enumerate().map(|(number, own)| match number {
            0 => groups::past(groups.iter().skip(1).flatten()),
            _ => groups::only(own),
        });
        let mut frame = Rc::default();
        if groups.len() > 1 {
            frame = groups::above(groups.iter().skip(1).flatten()).into();
        }
        let parts = rules.map(|rules| TreePart::new(rules, max_delete, frame.clone())).collect();
        Division { parts, frame, filters: Vec::new(), _taken: taken }
    }

    /// The directories at the top, of which nobody has counted what is below them.
    fn top_directories(&self) -> CountedGroups {
        let entries = self.deliverer.target.root.reach().entries(&RelPath::root()).unwrap_or_default();
        let directories = entries.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
        CountedGroups::of_equal(directories.map(|(name, _)| name.into_vec()))
    }

    /// Counts the deletions, and lets each run delete its share of the most. Makes what several runs would make at the same
    /// time: all but one of those that make the mirror would fail.
    async fn prepare(&self, division: &mut Division) -> Result<Delivery, Failure> {
        if let Some(most) = self.deliverer.target.max_delete() {
            let counts = self.count_deletions(most, division).await?;
            let limits = limits(most, &counts);
            division.parts.iter_mut().zip(limits).for_each(|(part, limit)| part.max_delete.set(Some(limit)));
        }
        if division.frame.is_empty() {
            return Ok(Delivery::default());
        }
        let list = recipe::verified(&*division.frame);
        let order = Order { work: Work::List(&list), rules: &division.filters, ..Order::of(Recipe::Frame) };
        unless_refused(self.deliverer.counted(order, None, &mut |_| ()).await)
    }

    /// Returns how much each run would delete. Fails if together they would delete more than `most` entries: rsync's own
    /// limit stops only when it has deleted so many.
    async fn count_deletions(&self, most: u64, division: &Division) -> Result<Vec<u64>, Failure> {
        let first = RefCell::new(Vec::new());
        let name = |_: usize, said: &[u8]| match Line::parse(said) {
            Line::Deleted(path) if first.borrow().len() < NAMED => first.borrow_mut().push(path.to_string()),
            _ => (),
        };
        let counted = self.run_parts(Recipe::DryRun, division, &Listeners { line: &name, end: &|_| () }).await;
        let counted = counted.into_iter().map(|counted| Ok(counted?.tally.deleted));
        let counts = counted.collect::<Result<Vec<u64>, Failure>>()?;
        let count = counts.iter().sum();
        if count <= most { Ok(counts) } else { Err(Failure::too_many_deletions(count, most, &first.take())) }
    }

    /// Makes all parts equal.
    async fn compare(&self, division: &Division, listeners: &Listeners<'_>) -> Result<Delivery, Failure> {
        let mut ended = self.run_parts(Recipe::Full, division, listeners).await;
        let is_full =
            |ended: &Result<Delivery, Failure>| ended.as_ref().is_err_and(|failure| failure.cause == Cause::TargetFull);
        let mut all = Delivery::default();
        if ended.iter().any(is_full) {
            // It ended before it came to all that is to be deleted, which may be what makes room.
            let order = Order { rules: &division.filters, ..Order::of(Recipe::Prune) };
            all.tally = self.deliverer.counted(order, None, &mut |_| ()).await.unwrap_or_default().tally;
        }
        let may_fit = division.note_taken(&ended) || all.tally.deleted > 0;
        for (number, ended) in ended.iter_mut().enumerate() {
            if is_full(ended) && may_fit {
                *ended = self.run_part(Recipe::Full, division, number, listeners).await;
            }
        }
        for ended in ended {
            all.add(ended?);
        }
        Ok(all)
    }

    /// Makes a run over each part, all beside each other. Where some went well, those that failed are made again, one after
    /// the other: a node may take fewer connections at a time.
    async fn run_parts(
        &self,
        recipe: Recipe,
        division: &Division,
        listeners: &Listeners<'_>,
    ) -> Vec<Result<Delivery, Failure>> {
        let runs = (0..division.parts.len()).map(|number| self.run_part(recipe, division, number, listeners));
        let mut ended = beside_each_other(runs).await;
        if recipe == Recipe::Full {
            division.note_taken(&ended);
        }
        if ended.iter().any(Result::is_ok) {
            for (number, ended) in ended.iter_mut().enumerate() {
                let may_go_well = |failure: &Failure| {
                    !matches!(failure.cause, Cause::TargetFull | Cause::TooManyDeletions | Cause::SourceGone)
                };
                if ended.as_ref().is_err_and(may_go_well) {
                    *ended = self.run_part(recipe, division, number, listeners).await;
                }
            }
        }
        ended
    }

    async fn run_part(
        &self,
        recipe: Recipe,
        division: &Division,
        number: usize,
        listeners: &Listeners<'_>,
    ) -> Result<Delivery, Failure> {
        let part = division.parts.get(number);
        let order = Order { rules: &division.filters, part, ..Order::of(recipe) };
        let mut hear = |said: &[u8]| {
            part.filter(|_| recipe == Recipe::Full).iter().for_each(|part| part.count_deletions(said));
            (listeners.line)(number, said);
        };
        let ended = self.deliverer.counted(order, None, &mut hear).await;
        (listeners.end)(number);
        ended
    }
}

/// Makes nothing of it if the node refused the directories above the parts: the parts meet the same, and tell. What they delete
/// may make room, and what lies on another file system may be taken.
fn unless_refused(sent: Result<Delivery, Failure>) -> Result<Delivery, Failure> {
    match sent {
        Err(Failure { cause: Cause::TargetFull | Cause::TargetReadOnly | Cause::Unwritable, .. }) => {
            Ok(Delivery::default())
        }
        sent => sent,
    }
}

/// Tells if the node took something of one of these runs.
fn took_some(ended: &[Result<Delivery, Failure>]) -> bool {
    ended.iter().any(|ended| ended.as_ref().is_ok_and(|delivery| delivery.tally.changes() > 0))
}

/// Shares out the deletions that are left when each run has deleted what was counted: together they never delete more than
/// `most`.
fn limits(most: u64, counts: &[u64]) -> Vec<u64> {
    let left = most.saturating_sub(counts.iter().sum());
    let share = left / (counts.len() as u64).max(1);
    counts.iter().map(|count| count + share).collect()
}

/// Waits until all have ended.
async fn beside_each_other<T>(runs: impl IntoIterator<Item: Future<Output = T>>) -> Vec<T> {
    let mut runs: Vec<_> = runs.into_iter().map(|run| (Box::pin(run), None)).collect();
    poll_fn(|context| {
        for (run, ended) in runs.iter_mut().filter(|(_, ended)| ended.is_none()) {
            if let Poll::Ready(result) = run.as_mut().poll(context) {
                *ended = Some(result);
            }
        }
        if runs.iter().all(|(_, ended)| ended.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    runs.into_iter().filter_map(|(_, ended)| ended).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Tally;

    fn failed(cause: Cause) -> Result<Delivery, Failure> {
        Err(Failure::new(cause, "why"))
    }

    fn sent(sent: u64) -> Result<Delivery, Failure> {
        Ok(Delivery { tally: Tally { sent, ..Tally::default() }, ..Delivery::default() })
    }

    #[test]
    fn a_node_that_refuses_the_directories_above_the_parts_may_take_the_parts() {
        for (cause, goes_on) in [
            (Cause::TargetFull, true),
            (Cause::TargetReadOnly, true),
            (Cause::Unwritable, true),
            (Cause::SourceGone, false),
            (Cause::NoParent, false),
        ] {
            assert_eq!(unless_refused(failed(cause)).is_ok(), goes_on, "{cause:?}");
        }
        assert_eq!(unless_refused(sent(3)).unwrap().tally.sent, 3);
    }

    #[test]
    fn a_node_takes_some_if_one_run_has_changed_something_there() {
        let refused = || failed(Cause::TargetReadOnly);
        for (ended, expected) in [
            (vec![], false),
            (vec![refused(), refused()], false),
            (vec![sent(0), refused()], false),
            (vec![refused(), sent(1)], true),
        ] {
            assert_eq!(took_some(&ended), expected, "{ended:?}");
        }
    }

    #[test]
    fn a_run_that_is_made_again_deletes_only_what_is_left_of_its_share() {
        for (most, said, expected) in [
            (Some(5), &["*deleting   |0|0|a", ">f+++++++++|1|1|b"][..], Some(4)),
            (Some(5), &["*deleting   |0|0|a", "*deleting   |0|0|d/"], Some(3)),
            (Some(1), &["*deleting   |0|0|a", "*deleting   |0|0|b"], Some(0)),
            (None, &["*deleting   |0|0|a"], None),
        ] {
            let part = TreePart::new(Vec::new(), most, Rc::default());
            said.iter().for_each(|said| part.count_deletions(said.as_bytes()));
            assert_eq!(part.max_delete.get(), expected, "{most:?} {said:?}");
        }
    }

    #[test]
    fn runs_beside_each_other_never_delete_more_than_one_may() {
        for (most, counts, expected) in [
            (10, &[4][..], &[10][..]),
            (10, &[4, 0], &[7, 3]),
            (10, &[4, 3, 0], &[5, 4, 1]),
            (7, &[4, 3, 0], &[4, 3, 0]),
            (0, &[0, 0], &[0, 0]),
        ] {
            let limits = limits(most, counts);
            assert_eq!(limits, expected);
            assert!(limits.iter().sum::<u64>() <= most);
        }
    }
}
