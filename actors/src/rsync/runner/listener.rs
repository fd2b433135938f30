//! Listens to what runs say that they changed, for the hooks.

use std::collections::HashSet;
use std::fs;

use crate::path::RelPath;
use crate::rsync::Rsync;
use crate::rsync::deliver::covers;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;
use crate::rsync::runner::order::{Order, Work};
use crate::rsync::runner::process::{Code, Finished};
use crate::transport::blame::Blame;
use crate::transport::heard;
use crate::transport::plan::Plan;

/// Listens to one run.
pub(super) struct Listener {
    to: heard::Listener,
    /// The directory that the names are relative to.
    base: RelPath,
    /// Whether only what is stored counts: the run says more, of a directory that is not the source.
    only_stored: bool,
}

impl Listener {
    /// One line of output.
    pub fn hear(&mut self, said: &[u8]) {
        if self.only_stored {
            return output::stored(said).into_iter().for_each(|path| self.to.add(path));
        }
        for line in output::parts(said) {
            if let Line::Sent(path, _) | Line::Deleted(path) = line {
                path.rebase(&RelPath::root(), &self.base).into_iter().for_each(|path| self.to.add(path));
            }
        }
    }
}

impl Rsync {
    /// A comparison of everything has ended: what it said is done, if it did not end before it was through.
    pub(super) fn prove(&self, finished: &Finished, listener: Listener) {
        let mut listener = listener.to;
        let (unset, finished) = &self.without_unset(finished.clone());
        let is_unset = |path: &RelPath| unset.root && path.is_root();
        match (finished.code, self.failure_of(finished).map(|_| self.blamed(finished))) {
            (Code::Exit(0), _) | (_, None) => listener.prove(is_unset),
            (Code::Exit(23 | 24), Some(Blame::Paths(paths))) => {
                let paths: HashSet<RelPath> = paths.into_iter().collect();
                listener.prove(|path| paths.contains(path) || is_unset(path));
            }
            _ => (),
        }
    }

    /// Listens to a run that begins now; `None` if it changes nothing, or nobody is to be told.
    pub(super) fn listener(&self, order: &Order<'_>) -> Option<Listener> {
        if order.recipe.only_looks() {
            return None;
        }
        let only_stored = order.recipe == Recipe::Link;
        let base = match order.work {
            Work::Directory(moved) | Work::Names(moved, _) => moved.to.clone(),
            Work::List(_) | Work::Links(_) => RelPath::root(),
        };
        let to = self.unsaid()?;
        // What fails in a batch stays pending, and is not told before it has arrived.
        let to = if order.recipe == Recipe::Full { to.needs_proof() } else { to };
        Some(Listener { to, base, only_stored })
    }

    /// For what a run that begins now changes without saying so: what the node links to what it has.
    pub(crate) fn unsaid(&self) -> Option<heard::Listener> {
        self.heard.borrow().listen()
    }

    /// A directory was built with all that is below it.
    pub(crate) fn hear_built(&self, dir: &RelPath, plan: &Plan, to: &mut heard::Listener) {
        to.add(dir.clone());
        let mut left = vec![dir.clone()];
        while let Some(dir) = left.pop() {
            // What cannot be read was not sent either.
            for entry in fs::read_dir(dir.under(self.root.path())).into_iter().flatten().flatten() {
                let (path, is_dir) = (dir.join(&entry.file_name()), entry.file_type().is_ok_and(|kind| kind.is_dir()));
                if self.site.excludes.excludes(&path, is_dir) || covers(&plan.protected, &path) {
                    continue;
                }
                left.extend(is_dir.then(|| path.clone()));
                to.add(path);
            }
            if to.is_cut() {
                break;
            }
        }
    }
}
