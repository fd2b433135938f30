//! Sends symlinks after what they lead to. What a link leads to was decided when the plan was made: it is looked at once
//! more just before it goes.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Deliverer, Runs};
use crate::path::RelPath;
use crate::rsync::recipe::Recipe;
use crate::transport::Delivery;
use crate::transport::Lane;
use crate::transport::failure::Failure;
use crate::transport::plan::Plan;

impl Deliverer {
    /// Sends the symlinks that go after what they lead to.
    pub(super) async fn send_late_links(
        self: &Rc<Self>,
        plan: &Rc<Plan>,
        lane: Lane,
        runs: &mut Runs,
    ) -> Result<(), Failure> {
        for links in &plan.late_links {
            let (Runs { delivery, .. }, mut links) = (&mut *runs, links.clone());
            let lacks = |link: &RelPath| {
                let gone_wrong = |to: &RelPath| delivery.blamed.touches(to) || delivery.left.contains(to);
                plan.links.get(link).is_some_and(|leads| leads.to.iter().any(gone_wrong))
            };
            let (left, going) = links.into_iter().partition(lacks);
            delivery.left.extend::<BTreeSet<RelPath>>(left);
            links = going;
            self.leave_links(&mut links, plan, delivery);
            if !links.is_empty() {
                self.send_first(Recipe::Present, &links, plan, lane, runs).await?;
            }
        }
        Ok(())
    }

    /// Leaves symlinks for the next batch that lead elsewhere by now: to what nobody looked for.
    pub(super) fn leave_links(&self, paths: &mut BTreeSet<RelPath>, plan: &Plan, delivery: &mut Delivery) {
        paths.retain(|path| {
            let text = plan.links.get(path).map(|leads| &leads.text);
            let is_same = text.is_none_or(|text| self.target.root.link_text(path).as_ref() == Some(text));
            if !is_same {
                delivery.left.insert(path.clone());
            }
            is_same
        });
    }
}
