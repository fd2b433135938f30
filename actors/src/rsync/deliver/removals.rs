//! Deletes at a node what was removed from the source: in a second way where the first one failed, and with a look at what the
//! node may have deleted beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{debug, warn};
use tokio::sync::oneshot;

use super::alike::{NameRule, alike};
use super::{Deliverer, is_top};
use crate::path::{Escaped, RelPath};
use crate::patterns::rules;
use crate::root::reach::Reach;
use crate::rsync::learned::{Deletions, Warning};
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::report::complaint::Complaint;
use crate::rsync::runner::above::Above;
use crate::rsync::runner::process::{Code, Finished};
use crate::rsync::runner::run_order::{Order, Work};
use crate::rsync::verify::apart;
use crate::transport::Lane;
use crate::transport::blame::Blame;
use crate::transport::failure::{Cause, Failure};
use crate::transport::plan::Plan;
use crate::transport::{Again, Delivery, Worked};

/// Runs that delete what is missing, if directories above it go again and again.
const TRIES: usize = 3;

/// Entries that one run of the second way deletes: each takes two arguments of rsync.
const AT_ONCE: usize = 200;

/// The start of the line by which an rsync daemon reports that its own filter (`exclude` in rsyncd.conf(5)) keeps an
/// entry.
const REFUSED: &[u8] = b"ERROR: daemon refused to receive ";

/// Entries that are remembered of those that comparisons deleted.
const DELETED: usize = 20_000;

/// Names that are remembered until the old one of a renamed file is deleted.
const SHARED: usize = 10_000;

/// The time after which a kernel no longer reports an entry by a name that was deleted by another one. By default file systems
/// of FUSE keep names for one second (`entry_timeout` in mount.fuse3(8)).
const FORGOTTEN: Duration = Duration::from_secs(2);

/// The removals of a plan, as they are at one moment.
struct StillMissing {
    /// The entries that are missing.
    entries: BTreeSet<RelPath>,
    /// The entries that are there again.
    spared: BTreeSet<RelPath>,
    /// The directories above all of them, as they were before.
    above: Arc<Above>,
}

impl Deliverer {
    /// Lets an rsync wait for what a plan deletes, if none does: it connects while other runs of the plan are at work.
    pub(super) fn await_deletion(&self, plan: &Plan, lane: Lane) {
        let is_kept = self.runner.standbys.borrow().wants(Recipe::Missing);
        let deletions = self.target.learned.borrow().deletions();
        if !is_kept && may_wait(plan, lane, deletions) {
            self.runner.standbys.borrow_mut().want(Recipe::Missing, 1, Instant::now());
            self.runner.refill();
        }
    }

    /// Deletes what of a plan is missing. If directories above it go meanwhile, what is below the others is deleted all the same.
    pub(super) async fn delete(
        self: Rc<Self>,
        plan: Rc<Plan>,
        lane: Lane,
        mut worked: Worked,
    ) -> Result<Delivery, Failure> {
        let mut delivery = Delivery::default();
        let mut left = plan.missing.clone();
        for _ in 0..TRIES {
            let StillMissing { entries, spared, above } = self.still_missing(left).await?;
            delivery.spared.extend(spared);
            if entries.is_empty() {
                // An empty list would send nothing.
                if plan.root {
                    delivery.add(self.send(Recipe::Root, Vec::new(), plan, lane, worked).await?);
                }
                return Ok(delivery);
            }
            let failure = match self.delete_listed((&entries, &above), &plan, lane, worked).await {
                Err(failure) if failure.cause == Cause::Vanished => failure,
                outcome => {
                    delivery.add(outcome?);
                    delivery.removed.extend(entries);
                    return Ok(delivery);
                }
            };
            let (intact, gone) = apart(move || above.split(entries)).await?;
            if gone.is_empty() {
                return Err(failure);
            }
            delivery.add(Delivery {
                blamed: Blame::Paths(gone.into_iter().collect()),
                failure: Some(failure),
                ..Delivery::default()
            });
            left = intact;
            // Who waits for the first run waits for its end now.
            worked = oneshot::channel().0;
        }
        // The attributes of the root were to go along.
        left.extend(plan.root.then(RelPath::root));
        delivery.blamed.add(Blame::Paths(left.into_iter().collect()));
        Ok(delivery)
    }

    /// Splits removals: the entries that are missing at this moment, and those that are there again since the plan was made. The
    /// latter are changes of their own, and may be renamed from elsewhere: the run would send all of them.
    async fn still_missing(&self, planned: BTreeSet<RelPath>) -> Result<StillMissing, Failure> {
        let reach = self.target.root.reach().clone();
        apart(move || {
            let above = Arc::new(Above::of(&reach, &planned));
            let (entries, spared) = planned.into_iter().partition(|path| reach.look(path).is_err());
            StillMissing { entries, spared, above }
        })
        .await
    }

    async fn delete_listed(
        self: &Rc<Self>,
        (missing, above): (&BTreeSet<RelPath>, &Arc<Above>),
        plan: &Plan,
        lane: Lane,
        worked: Worked,
    ) -> Result<Delivery, Failure> {
        if self.target.learned.borrow().deletions() == Deletions::Unknown {
            // Once: what is to be deleted need not wait for the second answer about names.
            self.examiner.probe(&BTreeSet::new()).await?;
        }
        let of = |recipe| Order { lane: Some(lane), above: Some(above), removes: true, ..Order::of(recipe) };
        let root = plan.root || missing.iter().any(is_top);
        if self.target.learned.borrow().deletions() != Deletions::Protocol29 {
            let list = recipe::entries(missing, root);
            match self.listed(Order { work: Work::List(&list), ..of(Recipe::Missing) }, plan, Some(worked)).await {
                Err(failure) if failure.cause == Cause::RejectsMissing => {
                    self.target.learned.borrow_mut().takes_deletions(Deletions::Protocol29)
                }
                other => return other,
            }
        }
        self.runner.standbys.borrow_mut().forget(Recipe::Missing);
        let list = recipe::deletions29(missing);
        let order = Order { work: Work::List(&list), ..of(Recipe::Deletions29) };
        let mut delivery = match self.listed(order, plan, None).await {
            // One of them exists again, and such a receiver then takes none: the rest of the batch is done all the same.
            Err(failure) if failure.cause == Cause::RejectsMissing => Delivery {
                blamed: Blame::Paths(missing.iter().cloned().collect()),
                failure: Some(Failure { cause: Cause::Vanished, ..failure }),
                ..Delivery::default()
            },
            other => other?,
        };
        // That recipe leaves the times of the directories as the deletions made them.
        let parents = recipe::ancestors(missing);
        let (recipe, list) = match parents.is_empty() {
            true => (Recipe::Root, Vec::new()),
            false => (Recipe::Present, recipe::entries(&parents, root)),
        };
        let order = Order { work: Work::List(&list), above: None, ..of(recipe) };
        delivery.add(self.listed(order, plan, None).await?);
        Ok(delivery)
    }

    /// Completes the removals of a delivery: those that failed go a second way, and what the node may have deleted
    /// beside them is to be compared again.
    pub(super) async fn complete_removals(
        self: &Rc<Self>,
        plan: &Plan,
        lane: Lane,
        delivery: &mut Delivery,
    ) -> Result<(), Failure> {
        let tried = std::mem::take(&mut delivery.removed);
        let second = self.delete_by_levels(&tried, plan, lane, delivery).await?;
        let mut deleted = std::mem::take(&mut *self.deleted.borrow_mut());
        if tried.is_empty() && deleted.is_empty() {
            return Ok(());
        }
        let gone = tried.iter().filter(|path| !delivery.blamed.touches(path));
        let shared: Vec<RelPath> = gone.flat_map(|path| self.shared_with(path, second.contains(path))).collect();
        let reach = self.target.root.reach().clone();
        let shared = match shared.is_empty() {
            true => Vec::new(),
            false => {
                let read_only = move |path: &RelPath| holds_read_only(&reach, path);
                apart(move || shared.into_iter().filter(read_only).collect()).await.unwrap_or_default()
            }
        };
        drop_inner(&mut deleted);
        deleted.extend(tried);
        let attributes = Again { rewritten: false, after: Duration::ZERO, once_more: None };
        delivery.again.extend(shared.into_iter().map(|path| (path, attributes)));
        delivery.again.extend(self.deleted_with(deleted).await);
        Ok(())
    }

    /// Completes a comparison of the whole tree: what it may have deleted beside what it was to delete is compared again.
    pub(super) async fn complete_reconcile(self: &Rc<Self>, delivery: &mut Delivery) {
        let mut deleted = std::mem::take(&mut *self.deleted.borrow_mut());
        drop_inner(&mut deleted);
        let (root, removed) = (self.target.root.clone(), deleted.clone());
        // Without any such entry the node is not asked.
        let has_any = move || !alike(&root, &removed, NameRule::Unknown).is_empty();
        if !deleted.is_empty() && apart(has_any).await.unwrap_or(false) {
            delivery.again.extend(self.deleted_with(deleted).await);
        }
    }

    /// The entries that the node may have deleted with these, each with the way in which it is compared again.
    async fn deleted_with(self: &Rc<Self>, deleted: BTreeSet<RelPath>) -> BTreeMap<RelPath, Again> {
        let alike = self.alike(deleted).await;
        let again = match self.names() {
            NameRule::Apart => Again { rewritten: false, after: FORGOTTEN, once_more: None },
            // At once a file is sent whole, whatever the node's kernel reports; what it reports of a directory may be what
            // was deleted by another name.
            NameRule::One | NameRule::Unclear | NameRule::NoMirror | NameRule::Unknown => {
                Again { rewritten: true, after: Duration::ZERO, once_more: Some(FORGOTTEN) }
            }
        };
        alike.into_iter().map(|path| (path, again)).collect()
    }

    /// The second way. The owner of a directory may delete it although nobody may write in it, by its mode: rsync makes it
    /// writable when it finds it beside others, not when it is listed.
    async fn delete_by_levels(
        self: &Rc<Self>,
        tried: &BTreeSet<RelPath>,
        plan: &Plan,
        lane: Lane,
        delivery: &mut Delivery,
    ) -> Result<BTreeSet<RelPath>, Failure> {
        if delivery.blamed == Blame::Anything {
            return Ok(BTreeSet::new());
        }
        let has_failed = |path: &&RelPath| tried.contains(*path) && delivery.blamed.touches(path);
        let failed = plan.missing.iter().filter(has_failed).filter_map(|path| Some((path, rules::at_risk(path)?)));
        let failed: Vec<_> = failed.collect();
        for some in failed.chunks(AT_ONCE) {
            let (paths, at_risk): (Vec<&RelPath>, Vec<_>) = some.iter().cloned().unzip();
            let list = recipe::levels(&paths.iter().filter_map(|path| path.parent()).collect::<BTreeSet<_>>());
            let work = Work::List(&list);
            let rules = &at_risk.concat()[..];
            let order = Order { work, rules, lane: Some(lane), removes: true, ..Order::of(Recipe::ByLevels) };
            let second = self.listed(order, plan, None).await?;
            debug!(self.target.log, "removals went a second way"; "paths" => ?paths, "blamed" => ?second.blamed);
            replace_blame(delivery, &paths, second);
        }
        Ok(failed.into_iter().map(|(path, _)| path.clone()).collect())
    }

    /// A comparison deleted this at the node. It is remembered until a delivery goes well.
    pub(super) fn note_deleted(&self, path: RelPath) {
        let mut deleted = self.deleted.borrow_mut();
        if deleted.len() < DELETED {
            deleted.insert(path);
        }
    }

    /// The node made a file or directory out of what it has by an old name, which will be deleted.
    pub(super) fn note_shared(&self, old: &RelPath, new: &RelPath) {
        let mut shared = self.shared_files.borrow_mut();
        if shared.len() < SHARED {
            shared.insert(old.clone(), new.clone());
        }
    }

    /// The new names of what a removed entry shared its files with, if they may have changed with it. A receiver that is not root
    /// makes writable what it deletes, in a directory or the second way, and that is the file by its new name.
    fn shared_with(&self, removed: &RelPath, went_second_way: bool) -> Vec<RelPath> {
        let mut shared = self.shared_files.borrow_mut();
        let below: Vec<RelPath> = shared.range(removed.below()).map(|(old, _)| old.clone()).collect();
        let news = below.into_iter().chain([removed.clone()]).filter_map(|old| Some((shared.remove(&old)?, old)));
        let may_change = |(new, old): &(RelPath, RelPath)| {
            went_second_way || old != removed || self.target.root.look_at(new).is_ok_and(|meta| meta.is_dir())
        };
        news.filter(may_change).map(|(new, _)| new).collect()
    }

    /// Finds the entries that the node may have deleted because their names look to it like those of removed entries.
    async fn alike(self: &Rc<Self>, removed: BTreeSet<RelPath>) -> BTreeSet<RelPath> {
        if self.names() == NameRule::Unknown
            && let Err(failure) = self.examiner.probe_names(&removed).await
        {
            debug!(self.target.log, "the node was not asked how it tells names apart"; "why" => %failure);
        }
        let root = self.target.root.clone();
        let names = self.names();
        if names == NameRule::Apart {
            return alike(&root, &removed, names);
        }
        // Nothing is found where the daemon ends meanwhile.
        apart(move || alike(&root, &removed, names)).await.unwrap_or_default()
    }

    pub(super) fn names(&self) -> NameRule {
        self.target.learned.borrow().names()
    }

    /// The mirror is a new one: what was learned was of another one.
    pub(super) fn forget_node(&self) {
        self.target.learned.borrow_mut().mirror_is_new();
        self.target.keep_traits(None);
    }

    /// Returns a run that removes, without what the node's own filter refused: that need not be removed there.
    pub(super) fn without_refused(&self, finished: Finished) -> Finished {
        let Some((first, finished)) = split_refused(&finished) else { return finished };
        if self.target.warns_first(Warning::NodeFilter) {
            warn!(self.target.log, "the node's rsync daemon excludes what was removed: it stays there"; "first" => %Escaped(&first),
                "cure" => "exclude the same here (rexcludes), or take it from `exclude` of the module in rsyncd.conf");
        }
        finished
    }
}

/// Tells if an rsync that waits can delete what a plan deletes: it has the rules of the site alone.
fn may_wait(plan: &Plan, lane: Lane, deletions: Deletions) -> bool {
    let has_rules = !plan.protected.is_empty();
    !plan.missing.is_empty() && !has_rules && lane == Lane::Fast && deletions != Deletions::Protocol29
}

/// The first name that the filter of an rsync daemon refused, if it refused any, and how the run ended but for that.
fn split_refused(finished: &Finished) -> Option<(Vec<u8>, Finished)> {
    let lines = || finished.stderr.split_inclusive(|&byte| byte == b'\n');
    let first = lines().find(|line| line.starts_with(REFUSED))?;
    let name = Complaint::read(first.trim_ascii_end()).and_then(|complaint| complaint.name).unwrap_or_default();
    let stderr = lines().filter(|line| !line.starts_with(REFUSED)).collect::<Vec<_>>().concat();
    let is_all = finished.code == Code::Exit(23) && Complaint::all(&stderr).next().is_none();
    let code = if is_all { Code::Exit(0) } else { finished.code };
    Some((name, Finished { code, stderr }))
}

/// Drops what lies in a directory that was deleted too: what is found for that is compared with all that is below it.
fn drop_inner(deleted: &mut BTreeSet<RelPath>) {
    let is_inner = |path: &&RelPath| path.parent().is_some_and(|dir| deleted.contains(&dir));
    let inner: Vec<RelPath> = deleted.iter().filter(is_inner).cloned().collect();
    for path in &inner {
        deleted.remove(path);
    }
}

/// Tells if a file, or one below a directory, may not be written by its owner.
fn holds_read_only(reach: &Reach, path: &RelPath) -> bool {
    let mut left = vec![path.clone()];
    while let Some(path) = left.pop() {
        match reach.look(&path) {
            Ok(meta) if meta.is_file() && meta.permissions() & 0o200 == 0 => return true,
            // What cannot be read was not sent either.
            Ok(meta) if meta.is_dir() => {
                left.extend(reach.names(&path, usize::MAX).unwrap_or_default().iter().map(|name| path.join(name)));
            }
            _ => (),
        }
    }
    false
}

/// Takes the outcome of the second way for the paths that it tried again, in place of the outcome of the first way.
fn replace_blame(delivery: &mut Delivery, paths: &[&RelPath], second: Delivery) {
    let Delivery { tally, blamed, failure, .. } = second;
    delivery.tally.add(tally);
    let Blame::Paths(first) = &mut delivery.blamed else { return };
    if blamed == Blame::Anything {
        return;
    }
    first.retain(|bad| !paths.iter().any(|path| bad == *path || bad.is_below(path) || path.is_below(bad)));
    delivery.blamed.add(blamed);
    match delivery.blamed.is_empty() {
        true => delivery.failure = None,
        false => delivery.failure = failure.or(delivery.failure.take()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Tally;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn blame(paths: &[&str]) -> Blame {
        Blame::Paths(paths.iter().map(|path| rel(path)).collect())
    }

    #[test]
    fn what_the_filter_of_a_node_refused_has_not_failed() {
        let last =
            "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394)\n";
        let file = "ERROR: daemon refused to receive file \"d/a \"b\".bak\"\n";
        let dir = "ERROR: daemon refused to receive directory \"d\"\n*** Skipping any contents from this failed directory ***\n";
        let other = "rsync: [generator] delete_file: unlink(f) failed: Operation not permitted (1)\n";
        for (stderr, code, expected) in [
            (vec![file, last], 23, Some(("d/a \"b\".bak", 0))),
            (vec![dir, file, last], 23, Some(("d", 0))),
            (vec![other, file, last], 23, Some(("d/a \"b\".bak", 23))),
            (vec![file, "rsync error: timeout\n"], 30, Some(("d/a \"b\".bak", 30))),
            (vec![other, last], 23, None),
            (vec![], 0, None),
        ] {
            let finished = Finished { code: Code::Exit(code), stderr: stderr.concat().into_bytes() };
            let found = split_refused(&finished);
            let expected = expected.map(|(name, code)| (name.as_bytes().to_vec(), Code::Exit(code)));
            assert_eq!(found.as_ref().map(|(name, rest)| (name.clone(), rest.code)), expected, "{stderr:?}");
            assert!(found.is_none_or(|(_, rest)| !rest.stderr.windows(REFUSED.len()).any(|words| words == REFUSED)));
        }
    }

    #[test]
    fn an_rsync_waits_only_for_deletions_that_it_can_make() {
        let paths = |names: &[&str]| names.iter().map(|name| rel(name)).collect();
        for (missing, protected, lane, deletions, expected) in [
            (&["gone"][..], &[][..], Lane::Fast, Deletions::Unknown, true),
            (&["gone"], &[], Lane::Fast, Deletions::Listed, true),
            // Those go by another recipe.
            (&["gone"], &[], Lane::Fast, Deletions::Protocol29, false),
            (&["gone"], &["kept"], Lane::Fast, Deletions::Listed, false),
            (&["gone"], &[], Lane::Bulk, Deletions::Listed, false),
            (&[], &[], Lane::Fast, Deletions::Listed, false),
        ] {
            let plan = Plan { missing: paths(missing), protected: paths(protected), ..Plan::default() };
            assert_eq!(may_wait(&plan, lane, deletions), expected, "{plan:?} {lane:?} {deletions:?}");
        }
    }

    #[test]
    fn of_what_was_deleted_with_its_directory_only_that_is_left() {
        let mut deleted = ["d/x/sub/f", "d/x/sub", "d/x", "d/y", "dd"].map(rel).into();
        drop_inner(&mut deleted);
        assert_eq!(deleted, ["d/x", "d/y", "dd"].map(rel).into());
    }

    #[test]
    fn what_failed_in_the_first_way_counts_as_failed_if_it_failed_in_the_second_one() {
        let denied = Failure::new(Cause::Partial, "rmdir");
        for (first, paths, second, expected) in [
            (&["d/x/sub"][..], &["d/x"][..], Some(&[][..]), &[][..]),
            (&["d/x/sub", "d"], &["d/x"], Some(&[]), &[]),
            (&["d/x/sub", "d/y"], &["d/x"], Some(&[]), &["d/y"]),
            (&["d/x/sub", "d/y/sub"], &["d/x", "d/y"], Some(&["d/y"]), &["d/y"]),
            // Nothing is known of it.
            (&["d/x/sub"], &["d/x"], None, &["d/x/sub"]),
        ] {
            let tally = Tally { deleted: 1, ..Tally::default() };
            let failure = Some(denied.clone());
            let mut delivery =
                Delivery { tally, blamed: blame(first), failure: failure.clone(), ..Delivery::default() };
            let blamed = second.map_or(Blame::Anything, blame);
            let failure = failure.filter(|_| !blamed.is_empty());
            let second = Delivery { tally, blamed, failure, ..Delivery::default() };
            let paths: Vec<RelPath> = paths.iter().map(|path| rel(path)).collect();
            replace_blame(&mut delivery, &paths.iter().collect::<Vec<_>>(), second);
            assert_eq!(delivery.blamed, blame(expected), "{first:?}");
            assert_eq!((delivery.failure.is_some(), delivery.tally.deleted), (!expected.is_empty(), 2), "{first:?}");
        }
    }
}
