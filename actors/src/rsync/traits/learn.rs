//! Asks a node about what it was just sent.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::rc::Rc;

use slog::{debug, info};

use super::looks::Looks;
use super::sample::{Sample, Seen, differs};
use crate::path::RelPath;
use crate::rsync::Rsync;
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::runner::order::{Ears, Order, Work};
use crate::rsync::traits::known;
use crate::rsync::verify::apart;
use crate::transport::failure::Failure;
use crate::transport::traits::{Trait, Traits};

impl Rsync {
    /// What is known of the node.
    pub fn known_traits(&self) -> Traits {
        self.learned.borrow().traits.clone().unwrap_or_default()
    }

    /// Asks about a sample of what a comparison has sent, where something may be new of it. What cannot be found out now will
    /// be another time.
    pub(crate) async fn learn_traits(self: &Rc<Self>, sample: Sample) {
        // What is known to be lacking may be kept by now.
        let is_known = self.learned.borrow().traits.as_ref().is_some_and(Traits::is_empty);
        if !sample.is_worth_asking(is_known) {
            return;
        }
        match self.learned(&Rc::new(sample)).await {
            Ok(Some(found)) => self.keep_traits(Some(self.known_traits().followed_by(&found))),
            Ok(None) => (),
            Err(why) => debug!(self.log, "the node was not asked what it keeps"; "why" => %why),
        }
    }

    /// What the node cannot hold; `None` if the sample does not tell.
    async fn learned(self: &Rc<Self>, sample: &Sample) -> Result<Option<Traits>, Failure> {
        let steady = self.steady(sample).await?;
        if steady.is_empty() {
            return Ok(None);
        }
        let looks = Looks::take(async |traits| self.look_at(&steady, traits).await).await?;
        // What has changed while the node was asked says nothing.
        let still = self.steady(sample).await?;
        Ok(looks.found(&still))
    }

    async fn steady(&self, sample: &Sample) -> Result<BTreeMap<RelPath, Metadata>, Failure> {
        let (root, sample) = (self.root.path().to_owned(), sample.clone());
        apart(move || sample.steady(&root)).await
    }

    /// How these entries differ at the node, as if that had these traits.
    async fn look_at(self: &Rc<Self>, entries: &BTreeMap<RelPath, Metadata>, traits: &Traits) -> Result<Seen, Failure> {
        let mut seen = Seen::new();
        let mut line = |said: &[u8]| {
            // The directories above them are told, too.
            seen.extend(differs(said).filter(|(path, _)| entries.contains_key(path)));
        };
        let list = recipe::verified(entries.keys());
        let order = Order { work: Work::List(&list), traits: Some(traits), ..Order::of(Recipe::Recall) };
        let finished = self.run(&order, &mut Ears { line: &mut line, worked: None }).await?;
        match self.failure_of(&finished) {
            Some(failure) => Err(failure),
            None => Ok(seen),
        }
    }

    /// The node was asked how it tells names apart.
    pub(crate) fn note_case(&self, is_one: bool) {
        let mut traits = self.known_traits();
        if traits.set(Trait::OneCase, is_one) {
            self.keep_traits(Some(traits));
        }
    }

    /// Replaces what is known, also on disk, and tells what is new. `None`: nothing is known.
    pub(crate) fn keep_traits(&self, traits: Option<Traits>) {
        let before = std::mem::replace(&mut self.learned.borrow_mut().traits, traits.clone());
        if before == traits {
            return;
        }
        let (before, now) = (before.unwrap_or_default(), traits.clone().unwrap_or_default());
        for gained in now.iter().filter(|one| !before.has(*one)) {
            info!(self.log, "learned of the node"; "what" => %gained);
        }
        for lost in before.iter().filter(|one| !now.has(*one) && traits.is_some()) {
            info!(self.log, "the node is not so any more"; "what" => %lost);
        }
        let kept =
            self.site.state_file.as_deref().map_or(Ok(()), |file| known::keep(file, &self.node, traits.as_ref()));
        if let Err(why) = kept {
            debug!(self.log, "what is known of the node is not kept"; "why" => %why);
        }
    }
}
