//! Keeps a broken source from breaking the mirror: removals that wait, removals that are not believed, and content that
//! an unmount hides. A plain data structure; its caller decides which paths wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::change::NewNames;
use crate::outbox::calm::Calm;
use crate::outbox::need::Pending;
use crate::path::RelPath;
use crate::transport::plan::bounded;

/// After the content came back the tree is compared not before this time: it may come back file by file.
pub(super) const RETURN_TIME: Duration = Duration::from_secs(10);

/// Removals are looked at again after this time while the source is not complete.
const HELD: Duration = Duration::from_secs(5);

/// All that is known of the source and speaks against deleting at the node.
///
/// No directory of `unmounted` lies below another.
#[derive(Debug, Default)]
pub(super) struct DeletionGuards {
    /// The times at which removals may go.
    calm: Calm,
    /// The source was found without its content, and has not been found with it since.
    emptied: bool,
    /// The content came back: until a reconcile that began after this, a comparison deletes nothing.
    careful: Option<Instant>,
    /// Directories from which a file system was unmounted: what was below them is hidden, not deleted.
    unmounted: BTreeSet<RelPath>,
    /// The source is a mirror that is not complete: what is missing there may not have arrived yet.
    incomplete: bool,
}

impl DeletionGuards {
    /// The guards of another node, which knows as much of the source.
    pub(super) fn beside(&self) -> DeletionGuards {
        DeletionGuards { calm: Calm::default(), unmounted: self.unmounted.clone(), ..*self }
    }

    /// Notes a removal, of a directory with all below it or of any other entry.
    pub(super) fn removed(&mut self, is_dir: bool, now: Instant) {
        self.calm.removed(is_dir, now);
    }

    /// Notes that the file of the last removal is in the source by another name.
    pub(super) fn renamed(&mut self) {
        self.calm.renamed();
    }

    /// Notes if new names of files wait for other ones to go.
    pub(super) fn links_wait(&mut self, names: NewNames, now: Instant) {
        self.calm.links_wait(names, now);
    }

    /// Ends all waiting for calm: the daemon stops.
    pub(super) fn lift_calm(&mut self) {
        self.calm.lift();
    }

    /// Returns the time until which a path waits for calm, if working on it mirrors a removal.
    pub(super) fn holds(&self, pending: &Pending, now: Instant) -> Option<Instant> {
        let held = self.incomplete.then(|| now + HELD);
        let calm = match pending.deletes() {
            true if pending.is_removal() => self.calm.until(now),
            true => self.calm.until_pause(now),
            false => return None,
        };
        calm.max(held)
    }

    /// Returns the time until which a comparison of everything waits: it mirrors all removals that it finds, reported
    /// or not.
    pub(super) fn holds_reconcile(&self, now: Instant) -> Option<Instant> {
        self.calm.until_pause(now).max(self.careful)
    }

    /// Notes that the source is without its content.
    pub(super) fn emptied(&mut self) {
        self.emptied = true;
    }

    /// Notes that the source is as it must be. Returns true if it was not.
    pub(super) fn returned(&mut self, now: Instant) -> bool {
        let was_emptied = std::mem::take(&mut self.emptied);
        if was_emptied {
            self.careful = Some(now + RETURN_TIME);
        }
        was_emptied
    }

    /// Notes that the whole tree was compared by a reconcile that began then.
    pub(super) fn compared(&mut self, began: Instant) {
        self.careful.take_if(|since| *since <= began);
    }

    /// Tells if the content of the source may be on its way still, so that a comparison must not delete.
    pub(super) fn is_careful(&self) -> bool {
        self.careful.is_some() || self.incomplete
    }

    /// Tells if the source is a mirror that is not complete.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Notes if the source is a mirror that is not complete. Returns true if it was until now.
    pub(super) fn hold_removals(&mut self, incomplete: bool) -> bool {
        std::mem::replace(&mut self.incomplete, incomplete) && !incomplete
    }

    /// Tells if a file system was unmounted above this path, so that it is hidden and not deleted.
    pub(super) fn is_hidden(&self, path: &RelPath) -> bool {
        !self.unmounted.is_empty() && path.ancestors().any(|dir| self.unmounted.contains(&dir))
    }

    /// The hidden directories at `top`, above it and below it. If they are very many, the directories that hold them.
    pub(super) fn hidden_about(&self, top: &RelPath) -> BTreeSet<RelPath> {
        let meets = |dir: &&RelPath| *dir == top || dir.is_below(top) || top.is_below(dir);
        bounded(self.unmounted.iter().filter(meets).cloned().collect())
    }

    /// Notes that a file system was unmounted.
    pub(super) fn hide(&mut self, path: &RelPath) {
        if !self.unmounted.contains(path) && !self.is_hidden(path) {
            self.unmounted.retain(|dir| !dir.is_below(path));
            self.unmounted.insert(path.clone());
        }
    }

    /// Notes that what is at and below a directory is mounted, or gone.
    pub(super) fn unhide(&mut self, path: &RelPath) {
        self.unmounted.retain(|dir| dir != path && !dir.is_below(path));
    }

    /// Notes that a directory has another name.
    pub(super) fn rebase(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<RelPath> = self.unmounted.iter().filter_map(|dir| dir.rebase(from, to)).collect();
        self.unhide(from);
        self.unmounted.extend(moved);
    }

    /// Tells if the rules of the type hold.
    pub(super) fn is_sound(&self) -> bool {
        !self.unmounted.iter().any(|dir| self.is_hidden(dir))
    }
}
