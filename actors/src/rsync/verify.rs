//! Compares a node with the source by the content of the files, and changes nothing. The tree may change meanwhile: what
//! differs is looked at again, and by itself, until nothing can be on its way any more.

mod source_view;
mod suspects;

use crate::transport::comparison::Comparison;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use self::source_view::{EntryPlace, SourceView};
use self::suspects::{Movement, SecondLook, Suspects, judge};
use super::deliver::Deliverer;
use super::examine::links_of;
use super::recipe::{self, Recipe};
use crate::node::Kind;
use crate::path::RelPath;
use crate::patterns::rules;
use crate::rsync::report::output::difference;
use crate::rsync::report::temporary;
use crate::rsync::runner::run_order::{Order, Work};
use crate::transport::blame::Blame;
pub(crate) use crate::transport::comparison::Difference;
use crate::transport::comparison::Rewritten;
use crate::transport::failure::{Cause, Failure};

/// The time for which rsync may seem to do nothing: rsync waits while the other end reads.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);
/// The time that changes on their way have to arrive, before entries that differed are looked at again.
const PAUSE: Duration = Duration::from_secs(5);
/// The interval at which the source is asked meanwhile for entries that only the node has: what comes and goes all the time
/// may be in no look.
const GLANCE: Duration = Duration::from_millis(250);
/// The most entries that it is asked for.
const GLANCED_AT: usize = 1000;
/// The number of times that entries which differed are looked at again.
const LOOKS: u32 = 3;
/// Paths in one list, and bytes of their names.
const BATCH_PATHS: usize = 2000;
const BATCH_BYTES: usize = 200_000;

/// `true` if a path is known to be on its way to the node.
pub(crate) type IsPending<'a> = dyn Fn(&RelPath) -> bool + 'a;

/// A comparison that goes on.
struct OngoingComparison<'a> {
    deliverer: &'a Rc<Deliverer>,
    /// Filter rules beside those of the site.
    rules: Vec<OsString>,
    is_pending: &'a IsPending<'a>,
    sight: SourceView,
    suspects: Suspects,
    /// Entries that the source had for a while between two looks.
    flickers: BTreeSet<RelPath>,
    comparison: Comparison,
}

/// Compares the whole tree. What the node has below the directories `kept` it may have.
///
/// # Errors
/// When the node cannot be compared.
pub(super) async fn compare(
    deliverer: &Rc<Deliverer>,
    kept: &[RelPath],
    is_pending: &IsPending<'_>,
) -> Result<Comparison, Failure> {
    let mut looks = OngoingComparison {
        deliverer,
        rules: kept.iter().flat_map(rules::kept).collect(),
        is_pending,
        sight: SourceView(deliverer.target.root.reach().clone()),
        suspects: Suspects::default(),
        flickers: BTreeSet::new(),
        comparison: Comparison::default(),
    };
    let mut since = SystemTime::now();
    looks.at_everything().await?;
    for number in 1..=LOOKS {
        if looks.suspects.is_empty() {
            break;
        }
        looks.pause().await?;
        let started = SystemTime::now();
        looks.again(since, number == LOOKS).await?;
        since = started;
    }
    looks.comparison.unseen = looks.suspects.dropped();
    looks.set_unreadable_apart();
    looks.comparison.rewritten = rewritten_links(deliverer, is_pending).await;
    Ok(looks.comparison)
}

/// The symlinks of the source that the node has otherwise. None where it does not tell.
async fn rewritten_links(deliverer: &Deliverer, is_pending: &IsPending<'_>) -> Vec<Rewritten> {
    if deliverer.target.node.kind() == Kind::Local {
        return Vec::new();
    }
    let reach = deliverer.target.root.reach().clone();
    let excludes = deliverer.target.site.excludes.clone();
    let Ok(links) = apart(move || links_of(&reach, &excludes)).await else { return Vec::new() };
    let mut rewritten = deliverer.examiner.rewritten(&links).await.unwrap_or_default();
    rewritten.retain(|rewritten| !is_pending(&rewritten.link.path));
    rewritten
}

impl OngoingComparison<'_> {
    async fn at_everything(&mut self) -> Result<(), Failure> {
        let suspects = &mut self.suspects;
        let keeps = self.deliverer.target.site.delete.keeps_removed();
        let mut kept = 0;
        let mut heard = |said: &[u8]| match difference(said) {
            Some((_, Difference::OnlyThere)) if keeps => kept += 1,
            Some((path, difference)) => suspects.add(path, difference),
            None => (),
        };
        let order = Order { rules: &self.rules, ..Order::of(Recipe::Verify) };
        let looked = self.deliverer.counted(order, None, &mut heard).await?;
        self.comparison.kept = kept;
        self.comparison.blame(looked.blamed, looked.failure);
        Ok(())
    }

    /// Waits before another look, and notes what comes and goes in the source meanwhile.
    async fn pause(&mut self) -> Result<(), Failure> {
        let ends = Instant::now() + PAUSE;
        let only_there =
            self.suspects.leaders().into_iter().filter(|(_, difference)| *difference == Difference::OnlyThere);
        let mut absent: Vec<RelPath> = only_there.map(|(path, _)| path).take(GLANCED_AT).collect();
        while Instant::now() < ends {
            tokio::time::sleep(GLANCE.min(ends.saturating_duration_since(Instant::now()))).await;
            if absent.is_empty() {
                continue;
            }
            let sight = self.sight.clone();
            let glance = move || absent.into_iter().partition(|path| sight.exists(path));
            let (came, rest): (Vec<RelPath>, Vec<RelPath>) = apart(glance).await?;
            self.flickers.extend(came);
            absent = rest;
        }
        Ok(())
    }

    /// Another look at what differed at the one before, which began at `since`.
    async fn again(&mut self, since: SystemTime, is_last: bool) -> Result<(), Failure> {
        let mut verdicts = HashMap::new();
        let mut seen = HashMap::new();
        let leaders = self.suspects.leaders();
        for batch in batches(&leaders) {
            let sight = self.sight.clone();
            let looked_for = batch.to_vec();
            let (entries, levels) = apart(move || places(&sight, &looked_for)).await?;
            if !entries.is_empty() {
                self.listed(Recipe::VerifyEntries, &recipe::verified(&entries), &mut seen).await?;
            }
            if !levels.is_empty() {
                self.listed(Recipe::VerifyLevels, &recipe::levels(&levels), &mut seen).await?;
            }
            let sight = self.sight.clone();
            let looked_for = batch.to_vec();
            let changes = apart(move || changes(&sight, looked_for, since)).await?;
            for ((path, before), (is_there, changed)) in batch.iter().zip(changes) {
                let difference = seen.get(path).copied().filter(|_| is_there);
                let movement = match (self.is_pending(path), changed) {
                    (true, _) => Movement::Pending,
                    (false, _) if *before == Difference::OnlyThere && self.flickers.contains(path) => {
                        Movement::Flickers
                    }
                    (false, true) => Movement::Changed,
                    (false, false) => Movement::None,
                };
                let again = SecondLook { difference, movement, is_last };
                verdicts.insert(path.clone(), judge(*before, again));
            }
        }
        let still = |path: &RelPath, difference| match difference {
            Difference::OnlyThere => seen.get(path) == Some(&Difference::OnlyThere),
            _ => self.sight.exists(path),
        };
        let (differing, unsettled) = self.suspects.decide(&verdicts, is_last, still);
        self.comparison.differing.extend(differing);
        self.comparison.unsettled += unsettled;
        Ok(())
    }

    /// Tells if an entry is on its way, or is what rsync writes to at the node until a file is complete.
    fn is_pending(&self, path: &RelPath) -> bool {
        self.deliverer.target.root.arriving().holds(path)
            || (self.is_pending)(path)
            || temporary::stems(path).any(|file| (self.is_pending)(&file))
    }

    /// A run over a list; what it says is added to what was seen.
    async fn listed(
        &mut self,
        recipe: Recipe,
        list: &[u8],
        seen: &mut HashMap<RelPath, Difference>,
    ) -> Result<(), Failure> {
        let mut heard = |said: &[u8]| {
            if let Some((path, difference)) = difference(said)
                // The look at a directory does not read the files in it.
                && (recipe != Recipe::VerifyLevels || difference == Difference::OnlyThere)
            {
                seen.insert(path, difference);
            }
        };
        let order = Order { work: Work::List(list), rules: &self.rules, ..Order::of(recipe) };
        let looked = self.deliverer.counted(order, None, &mut heard).await?;
        self.comparison.blame(looked.blamed, looked.failure);
        Ok(())
    }

    /// A file of the source that cannot be read has a checksum like no other: rsync does not say why.
    fn set_unreadable_apart(&mut self) {
        let Comparison { differing, blamed, failure, .. } = &mut self.comparison;
        differing.retain(|path, difference| {
            let unreadable = if *difference == Difference::Content { self.sight.unreadable(path) } else { None };
            if let Some(why) = &unreadable {
                blamed.add(Blame::Paths(vec![path.clone()]));
                let said = format!("the source cannot be read: {why}");
                failure.get_or_insert(Failure::new(Cause::Partial, said));
            }
            unreadable.is_none()
        });
    }
}

/// The entries and the directories that are to be listed to look at these again.
fn places(sight: &SourceView, batch: &[(RelPath, Difference)]) -> (BTreeSet<RelPath>, BTreeSet<RelPath>) {
    let mut entries = BTreeSet::new();
    let mut levels = BTreeSet::new();
    for (path, difference) in batch {
        match sight.place(path, *difference) {
            Some(EntryPlace::Entry(path)) => _ = entries.insert(path),
            Some(EntryPlace::Level(path)) => _ = levels.insert(path),
            None => (),
        }
    }
    (entries, levels)
}

/// Of each entry, whether it neither came nor went while it was looked at, and whether it changed since then.
fn changes(sight: &SourceView, batch: Vec<(RelPath, Difference)>, since: SystemTime) -> Vec<(bool, bool)> {
    let change = |(path, difference): (RelPath, Difference)| {
        (sight.place(&path, difference).is_some(), sight.changed(&path, difference, since))
    };
    batch.into_iter().map(change).collect()
}

/// Looks at the disk where nobody waits for it.
pub(super) async fn apart<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(look).await {
        Ok(seen) => Ok(seen),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Failure::new(Cause::Killed, "the look at the source was given up")),
    }
}

/// Splits the entries into lists, one for each run.
fn batches(leaders: &[(RelPath, Difference)]) -> impl Iterator<Item = &[(RelPath, Difference)]> {
    let mut rest = leaders;
    std::iter::from_fn(move || {
        let mut room = BATCH_BYTES;
        let fits = |(path, _): &&(RelPath, Difference)| {
            let fits = room > 0;
            room = room.saturating_sub(path.as_bytes().len());
            fits
        };
        let count = rest.iter().take(BATCH_PATHS).take_while(fits).count();
        let (batch, others) = rest.split_at(count);
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}
