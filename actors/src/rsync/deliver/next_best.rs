//! The next best way for renamed files where they cannot be linked here or at the node: the node is told where to look for
//! what it has. What it finds there costs checksums at the most.

use std::collections::{BTreeMap, BTreeSet};

use slog::debug;

use super::Deliverer;
use crate::path::RelPath;
use crate::rsync::recipe::{self, Recipe};
use crate::rsync::report::output::Line;
use crate::rsync::runner::run_order::{Ears, Order, Work};
use crate::transport::Delivery;
use crate::transport::Lane;
use crate::transport::failure::Failure;
use crate::transport::rename::{Doubt, Relocation, Rename};

/// Pairs of directories in one delivery; each takes a run of its own.
const PAIRS: usize = 20;

/// The files of one batch, by what tells the node where to look for them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    /// Renamed within their directories: to be found among what is beside them.
    beside: BTreeSet<RelPath>,
    /// Moved to a directory from another under the same names.
    moved: BTreeMap<(RelPath, RelPath), BTreeSet<RelPath>>,
}

impl Groups {
    /// A file that was both renamed and moved belongs to none: no option of rsync finds it.
    fn of<'r>(renamed: impl IntoIterator<Item = (&'r RelPath, &'r Rename)>) -> Groups {
        let mut groups = Groups::default();
        for (new, Rename { old, .. }) in renamed {
            let (Some(to), Some(from)) = (new.parent(), old.parent()) else { continue };
            if to == from {
                groups.beside.insert(new.clone());
            } else if new.name() == old.name() {
                groups.moved.entry((to, from)).or_default().insert(new.clone());
            }
        }
        groups
    }
}

/// Runs for renamed files at a node that cannot link. What they do counts in `delivery`.
pub(super) struct NextBest<'d> {
    pub deliverer: &'d Deliverer,
    pub lane: Lane,
    pub delivery: &'d mut Delivery,
}

impl NextBest<'_> {
    /// Sends renamed files with the help of the files that the node has. Returns those that it has by their new names now.
    pub(super) async fn send(mut self, renamed: &BTreeMap<RelPath, Rename>) -> Result<BTreeSet<RelPath>, Failure> {
        let Groups { beside, moved } = Groups::of(renamed);
        let mut sent = BTreeSet::new();
        let unsaid = self.deliverer.runner.unsaid();
        if !beside.is_empty() {
            let list = recipe::entries(&beside, false);
            if self.helped(Recipe::Similar, Work::List(&list)).await? {
                sent.extend(beside);
            }
        }
        let can_name = |(to, from): &(RelPath, RelPath)| {
            self.deliverer.target.node.can_name(to) && self.deliverer.target.node.can_name(from)
        };
        for ((to, from), files) in moved.into_iter().filter(|(pair, _)| can_name(pair)).take(PAIRS) {
            let names: Vec<RelPath> = files.iter().map(|file| RelPath::of_names(&[file.name()])).collect();
            let list = recipe::entries(&names, false);
            let pair = Relocation { to, from, doubt: Doubt::Changing };
            if self.helped(Recipe::Gather, Work::Names(&pair, &list)).await? {
                sent.extend(files);
            }
        }
        if let Some(mut unsaid) = unsaid {
            sent.iter().cloned().for_each(|path| unsaid.add(path));
        }
        Ok(sent)
    }

    /// One such run: whether all of it went well. What did not is sent as if it had not been tried.
    async fn helped(&mut self, recipe: Recipe, work: Work<'_>) -> Result<bool, Failure> {
        let NextBest { deliverer, lane, delivery } = self;
        let mut count = |said: &[u8]| match Line::parse(said) {
            Line::MadeMirror => deliverer.new_mirror.borrow_mut().made(),
            line => line.count_in(&mut delivery.tally),
        };
        let order = Order { work, lane: Some(*lane), ..Order::of(recipe) };
        let failure = match deliverer.runner.run(&order, &mut Ears::to(&mut count)).await {
            Ok(finished) => deliverer.target.failure_of(&finished),
            Err(failure) => Some(failure),
        };
        match failure {
            None => Ok(true),
            Some(failure) if failure.cause.stops_all() => Err(failure),
            Some(failure) => {
                debug!(deliverer.target.log, "renamed files are sent as new ones"; "why" => %failure);
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn the_node_is_told_where_to_look_for_what_kept_its_directory_or_its_name() {
        let pairs = [("d/b", "d/a"), ("top", "old"), ("e/f", "d/f"), ("e/g", "d/g"), ("f", "d/f"), ("e/x", "d/y")];
        let renamed: BTreeMap<RelPath, Rename> =
            pairs.iter().map(|(new, old)| (rel(new), Rename { old: rel(old), via: None })).collect();
        let groups = Groups::of(&renamed);
        assert_eq!(groups.beside, [rel("d/b"), rel("top")].into());
        let moved = [((rel("e"), rel("d")), [rel("e/f"), rel("e/g")].into()), ((rel(""), rel("d")), [rel("f")].into())];
        assert_eq!(groups.moved, moved.into());
    }
}
