//! What a node gets while something that is mounted in the source does not answer. rsync looks at every entry of a directory
//! that it lists, whatever is excluded, so no run may list one that holds such a mount. What else such a directory has is
//! compared piece by piece; what only the node has in it is found when the mount answers, and the whole tree is compared.

use std::collections::BTreeSet;
use std::time::Instant;

use super::link::NodeLink;
use crate::change::Change;
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::Root;

/// Entries of one directory that become pieces. What is more waits.
const PIECES: usize = 10_000;

/// The comparison of what lies around mounts that do not answer.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The whole tree was taken apart since a mount does not answer.
    root_was_taken_apart: bool,
}

impl Around {
    /// Whether the whole tree can be compared; if not, and that is wanted, what can be compared of it is.
    pub(super) fn look(&mut self, link: &NodeLink, now: Instant) {
        let is_silent = link.root.reach().is_silent();
        let mut outbox = link.outbox.lock();
        outbox.cut(is_silent);
        if !is_silent {
            self.root_was_taken_apart = false;
        } else if outbox.reconciles() && !link.transport.bounds_deletions() && !self.root_was_taken_apart {
            self.root_was_taken_apart = true;
            add(link, &mut outbox, &RelPath::root(), now);
        }
    }

    /// These directories were to be compared.
    pub(super) fn split(&mut self, link: &NodeLink, outbox: &mut PendingSet, tops: &BTreeSet<RelPath>, now: Instant) {
        tops.iter().for_each(|top| add(link, outbox, top, now));
        if tops.is_empty() {
            return;
        }
        if !outbox.reconciles() {
            self.root_was_taken_apart = true;
        }
        // What the pieces leave out is owed to the node, whatever a reconcile that waits was wanted for.
        outbox.want_reconcile();
    }
}

fn add(link: &NodeLink, outbox: &mut PendingSet, top: &RelPath, now: Instant) {
    pieces(&link.root, &link.excludes, top).iter().for_each(|piece| outbox.add(piece, now));
}

/// What can be compared of a directory that holds a mount which does not answer.
fn pieces(root: &Root, excludes: &Excludes, top: &RelPath) -> Vec<Change> {
    let (mut left, mut pieces) = (vec![top.clone()], Vec::new());
    while let Some(dir) = left.pop() {
        for name in root.names(&dir, PIECES) {
            let path = dir.join(&name);
            // That is what does not answer, or is gone.
            let Ok(meta) = root.look_at(&path) else { continue };
            if excludes.matching(&path, meta.is_dir()).is_some() {
                continue;
            }
            match meta.is_dir() {
                true if root.reach().is_silent_below(&path) => left.push(path),
                true => pieces.push(Change::Subtree { path }),
                false => pieces.push(Change::Touched { path, is_dir: false, rewritten: false }),
            }
        }
        pieces.push(Change::Touched { path: dir, is_dir: true, rewritten: false });
    }
    pieces
}
