//! Finds what a node was asked to take and did not: a file that is listed, whatever its size and time, is asked for by the
//! receiver, and rsync says so in a line. Of one that it leaves as it is, rsync says nothing, and ends well.

use std::time::SystemTime;

use crate::path::RelPath;
use crate::root::Root;
use crate::root::reach::look::Meta;
use crate::rsync::recipe;
use crate::rsync::report::itemized::Itemized;
use crate::rsync::runner::run_order::{Order, Work};
use crate::rsync::target::Target;
use crate::transport::Delivery;
use crate::transport::failure::{Cause, Failure};

/// Blames the files that the node left as they were in runs since `began`.
pub(crate) fn note_untaken(
    target: &Target,
    order: &Order<'_>,
    itemized: &Itemized,
    began: SystemTime,
    delivery: &mut Delivery,
) {
    let Work::List(list) = order.work else { return };
    let extra = &target.site.extra;
    // By content it leaves what is equal, and what it has in the other directory it links without a word.
    if !order.recipe.asks_for_all() || extra.reads_contents() || extra.hides_lines() {
        return;
    }
    let (paths, _) = recipe::named(list);
    let is_left = |path: &RelPath| {
        !itemized.has(path) && !delivery.blamed.touches(path) && was_plain_file(&target.root, path, began)
    };
    let left: Vec<RelPath> = paths.into_iter().filter(is_left).collect();
    let failure = left.first().map(|path| Failure::new(Cause::NotTaken, path.to_string()));
    delivery.fail(left, failure);
}

/// Tells if a file was there all the time. Of several names of one file rsync sends the first, and may say nothing of
/// the others; of one that was away, or whose directory was, when its turn had come, it says nothing.
fn was_plain_file(root: &Root, path: &RelPath, began: SystemTime) -> bool {
    let look = |path: &RelPath| root.look_at(path).ok();
    // What is made or deleted in a directory sets both of its times, a rename of it one.
    let was_renamed = |meta: &Meta| meta.changed_at() >= began && meta.modified() != meta.changed();
    look(path).is_some_and(|meta| meta.is_file() && meta.nlink() == 1 && meta.changed_at() < began)
        && path.ancestors().all(|dir| look(&dir).is_some_and(|meta| !was_renamed(&meta)))
}
