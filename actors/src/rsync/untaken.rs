//! Finds what a node was asked to take and did not: a file that is listed, whatever its size and time, is asked for by the
//! receiver, and rsync says so in a line. Of one that it leaves as it is, rsync says nothing, and ends well.

use std::os::unix::fs::MetadataExt;

use super::failure::{Cause, Failure};
use super::itemized::Itemized;
use super::recipe;
use super::{Order, Rsync, Work};
use crate::path::RelPath;
use crate::sync::Delivery;

impl Rsync {
    /// Blames the files that the node left as they were.
    pub(super) fn note_untaken(&self, order: &Order<'_>, itemized: &Itemized, delivery: &mut Delivery) {
        let Work::List(list) = order.work else { return };
        let extra = &self.site.extra;
        // By content it leaves what is equal, and what it has in the other directory it links without a word.
        if !order.recipe.asks_for_all() || extra.reads_contents() || extra.hides_lines() {
            return;
        }
        let (paths, _) = recipe::named(list);
        let is_left =
            |path: &RelPath| !itemized.has(path) && !delivery.blamed.touches(path) && self.is_plain_file(path);
        let left: Vec<RelPath> = paths.into_iter().filter(is_left).collect();
        let failure = left.first().map(|path| Failure::new(Cause::NotTaken, path.to_string()));
        delivery.fail(left, failure);
    }

    /// Of several names of one file rsync sends the first, and may say nothing of the others.
    fn is_plain_file(&self, path: &RelPath) -> bool {
        let meta = path.under(self.root.path()).symlink_metadata();
        meta.is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
    }
}
