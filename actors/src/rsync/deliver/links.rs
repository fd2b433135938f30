//! Symlinks go after what they lead to. What a link leads to was decided when the plan was made: it is looked at once more
//! just before it goes.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::root::Root;
use crate::transport::Delivery;
use crate::transport::plan::Plan;

/// Leaves for the next batch the links to what has failed or was left.
pub(super) fn leave_lacking(links: &mut BTreeSet<RelPath>, plan: &Plan, delivery: &mut Delivery) {
    let lacks = |link: &RelPath| {
        let gone_wrong = |to: &RelPath| delivery.blamed.touches(to) || delivery.left.contains(to);
        plan.links.get(link).is_some_and(|leads| leads.to.iter().any(gone_wrong))
    };
    let (left, going) = std::mem::take(links).into_iter().partition(lacks);
    delivery.left.extend::<BTreeSet<RelPath>>(left);
    *links = going;
}

/// Leaves for the next batch the links that lead elsewhere by now: to what nobody looked for.
pub(super) fn leave_changed(paths: &mut BTreeSet<RelPath>, plan: &Plan, root: &Root, delivery: &mut Delivery) {
    paths.retain(|path| {
        let text = plan.links.get(path).map(|leads| &leads.text);
        let is_same = text.is_none_or(|text| root.link_text(path).as_ref() == Some(text));
        if !is_same {
            delivery.left.insert(path.clone());
        }
        is_same
    });
}
