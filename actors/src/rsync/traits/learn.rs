//! Asks a node about what it was just sent.

use std::collections::BTreeMap;
use std::rc::Rc;

use slog::debug;

use super::looks::NodeLooks;
use super::sample::{Sample, SampleSeen, differs};
use crate::path::RelPath;
use crate::root::reach::look::Meta;
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::runner::Runner;
use crate::rsync::runner::run_order::{Ears, Order, Work};
use crate::rsync::target::Target;
use crate::rsync::verify::apart;
use crate::transport::failure::Failure;
use crate::transport::traits::Traits;

/// Asks about a sample of what a comparison has sent, where something may be new of it. What cannot be found out now will
/// be another time.
pub(crate) async fn learn_traits(target: &Target, runner: &Rc<Runner>, sample: Sample) {
    // What is known to be lacking may be kept by now.
    let is_known = target.learned.borrow().traits.as_ref().is_some_and(Traits::is_empty);
    if !sample.is_worth_asking(is_known) {
        return;
    }
    match (Learner { target, runner }).learned(&sample).await {
        Ok(Some(found)) => target.keep_traits(Some(target.known_traits().followed_by(&found))),
        Ok(None) => (),
        Err(why) => debug!(target.log, "the node was not asked what it keeps"; "why" => %why),
    }
}

/// Asks one node about its traits.
struct Learner<'a> {
    target: &'a Target,
    runner: &'a Rc<Runner>,
}

impl Learner<'_> {
    /// Learns which properties the node cannot store; `None` if the sample does not tell.
    async fn learned(&self, sample: &Sample) -> Result<Option<Traits>, Failure> {
        let steady = self.steady(sample).await?;
        if steady.is_empty() {
            return Ok(None);
        }
        let looks = NodeLooks::take(async |traits| self.look_at(&steady, traits).await).await?;
        // What has changed while the node was asked says nothing.
        let still = self.steady(sample).await?;
        Ok(looks.found(&still))
    }

    async fn steady(&self, sample: &Sample) -> Result<BTreeMap<RelPath, Meta>, Failure> {
        let reach = self.target.root.reach().clone();
        let sample = sample.clone();
        apart(move || sample.steady(&reach)).await
    }

    /// Compares these entries with the node as if the node had these traits.
    async fn look_at(&self, entries: &BTreeMap<RelPath, Meta>, traits: &Traits) -> Result<SampleSeen, Failure> {
        let mut seen = SampleSeen::new();
        let mut line = |said: &[u8]| {
            // The directories above them are told, too.
            seen.extend(differs(said).filter(|(path, _)| entries.contains_key(path)));
        };
        let list = recipe::verified(entries.keys());
        let order = Order { work: Work::List(&list), traits: Some(traits), ..Order::of(Recipe::Recall) };
        let finished = self.runner.run(&order, &mut Ears::to(&mut line)).await?;
        match self.target.failure_of(&finished) {
            Some(failure) => Err(failure),
            None => Ok(seen),
        }
    }
}
