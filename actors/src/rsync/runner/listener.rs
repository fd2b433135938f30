//! Listens to what runs say that they changed, for the hooks.

use crate::path::RelPath;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;
use crate::rsync::runner::run_order::{Order, Work};
use crate::transport::heard::{self, Heard};

/// Listens to one run.
pub(super) struct RunListener {
    to: heard::Listener,
    /// The directory that the names are relative to.
    base: RelPath,
    /// `true` if only what is stored counts: the run says more, of a directory that is not the source.
    only_stored: bool,
}

impl RunListener {
    /// One line of output.
    pub(crate) fn hear(&mut self, said: &[u8]) {
        if self.only_stored {
            return output::stored(said).into_iter().for_each(|path| self.to.add(path));
        }
        for line in output::parts(said) {
            if let Line::Sent(path, _) | Line::Deleted(path) = line {
                path.rebase(&RelPath::root(), &self.base).into_iter().for_each(|path| self.to.add(path));
            }
        }
    }

    /// Listens to a run that begins now, for `heard`. `None` if the run changes nothing, or nobody is to be told.
    pub(crate) fn of(order: &Order<'_>, heard: &Heard) -> Option<RunListener> {
        if order.recipe.only_looks() {
            return None;
        }
        let only_stored = order.recipe == Recipe::Link;
        let base = match order.work {
            Work::Directory(moved) | Work::Names(moved, _) => moved.to.clone(),
            Work::List(_) | Work::Links(_) => RelPath::root(),
        };
        let to = heard.listen()?;
        // What fails in a batch stays pending, and is not told before it has arrived.
        let to = if matches!(order.recipe, Recipe::Full | Recipe::Frame) { to.needs_proof() } else { to };
        Some(RunListener { to, base, only_stored })
    }
}
