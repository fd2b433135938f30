//! What a probe shows that the node cannot hold: it is asked how the probe differs there from what was written.

use crate::rsync::report::failure;
use std::collections::BTreeMap;
use std::fs::File;

use super::probe::Visit;
use crate::root::reach::Reach;
use crate::rsync::recipe::{self, Context, Invocation, Recipe};
use crate::rsync::report::claims::Claims;
use crate::rsync::runner::process::{Input, PATIENCE, Patience};
use crate::rsync::runner::run_order::Ears;
use crate::rsync::traits::{NodeLooks, SampleSeen, differs};
use crate::transport::failure::Failure;
use crate::transport::traits::Traits;

impl Visit<'_> {
    /// Learns which properties the node cannot store at the place of the probe. None if the node does not tell.
    pub(super) async fn limits(&self) -> Traits {
        let sent = Reach::of(&self.probe.sent());
        let entries = self.probe.names().iter().filter_map(|name| Some((name.clone(), sent.look(name).ok()?)));
        let looks = NodeLooks::take(async |traits| self.look_at(traits).await).await;
        looks.ok().and_then(|looks| looks.found(&entries.collect::<BTreeMap<_, _>>())).unwrap_or_default()
    }

    async fn look_at(&self, traits: &Traits) -> Result<SampleSeen, Failure> {
        let mut seen = SampleSeen::new();
        let mut line = |said: &[u8]| seen.extend(differs(said).filter(|(path, _)| self.probe.names().contains(path)));
        let context = Context { traits: traits.clone(), ..self.context() };
        let list = recipe::entries(self.probe.names(), false);
        let Invocation { arguments, list } = context.invocation(Recipe::Recall, list, &[]);
        let directory = File::open(self.probe.sent()).map_err(|error| self.broken(&error))?;
        let process = self.examiner.runner.process_at_large(directory.into(), &arguments)?;
        let mut ears = Ears::to(&mut line);
        let finished = self
            .examiner
            .runner
            .finish(
                process,
                Input::of(&list),
                &Claims::ANY,
                (Patience::of(PATIENCE), self.examiner.runner.speed.small()),
                &mut ears,
            )
            .await?;
        failure::of(&finished).map_or(Ok(seen), Err)
    }
}
