//! Brings a node up to date while something that is mounted in the source does not answer. rsync looks at every entry of a
//! directory that rsync lists, whatever is excluded, so no run may list one that holds such a mount. The rest of such a
//! directory is compared piece by piece; entries that only the node has there are found when the mount answers, and the whole
//! tree is compared.

use std::collections::BTreeMap;
use std::time::Instant;

use super::node_link::NodeLink;
use crate::change::Change;
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::root::reach::Silent;
use crate::transport::LINGERS;

/// Entries of one directory that become pieces. What is more waits.
const PIECES: usize = 10_000;

/// The comparison of what lies around mounts that do not answer.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The whole tree was taken apart since a mount does not answer.
    root_was_taken_apart: bool,
}

impl Around {
    /// Sees to it that what can be compared is compared, if the whole tree is to be and cannot. While it `is_compared`, a
    /// mount may yet answer in time.
    pub(super) fn look(&mut self, link: &NodeLink, is_compared: bool, now: Instant) {
        let is_silent = link.root.reach().is_silent();
        // What cannot be looked at at all has no parts.
        let has_parts = !link.root.reach().is_root_silent();
        let mut outbox = link.outbox.lock();
        outbox.cut(is_silent);
        let waits = has_parts && outbox.reconciles() && !is_compared && !link.transport().bounds_deletions();
        if !is_silent {
            self.root_was_taken_apart = false;
        } else if waits && !self.root_was_taken_apart {
            self.root_was_taken_apart = true;
            add(link, &mut outbox, &RelPath::root(), false, (now, now));
        }
    }

    /// Adds the pieces of directories that were to be compared since then, to each if size and time prove nothing of what is
    /// in it.
    pub(super) fn split(
        &mut self,
        link: &NodeLink,
        outbox: &mut PendingSet,
        tops: &BTreeMap<RelPath, bool>,
        (since, now): (Instant, Instant),
    ) {
        tops.iter().for_each(|(top, &rewritten)| add(link, outbox, top, rewritten, (since, now)));
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

/// Carries out a run to its end, or until nothing is left at the node of one that was broken off.
pub(super) async fn until_nothing_lingers<T>(run: impl Future<Output = Result<T, Silent>>) -> Result<T, Silent> {
    let ended = run.await;
    if ended.is_err() {
        tokio::time::sleep(LINGERS).await;
    }
    ended
}

fn add(link: &NodeLink, outbox: &mut PendingSet, top: &RelPath, rewritten: bool, (since, now): (Instant, Instant)) {
    for piece in pieces(&link.root, &link.settings.excludes, top, rewritten) {
        outbox.add_piece(&piece, rewritten, since, now);
    }
}

/// Returns the parts that can be compared of a directory that holds a mount which does not answer.
fn pieces(root: &Root, excludes: &Excludes, top: &RelPath, rewritten: bool) -> Vec<Change> {
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
                false => pieces.push(Change::Touched { path, is_dir: false, rewritten }),
            }
        }
        pieces.push(Change::Touched { path: dir, is_dir: true, rewritten: false });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::transport::Lane;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_directory_has_beside_a_mount_that_hangs_is_compared_as_the_directory_would_be() {
        let dir = tempfile::tempdir().unwrap();
        ["d/n/m", "d/n/e", "d/x"].iter().for_each(|name| std::fs::create_dir_all(dir.path().join(name)).unwrap());
        std::fs::write(dir.path().join("d/f"), "").unwrap();
        let root = Root::of(dir.path()).unwrap();
        root.reach().hangs_at(&rel("d/n/m"));
        let excludes = Excludes::new(vec!["x/".into()]).unwrap();
        for rewritten in [false, true] {
            let (mut set, now) = (PendingSet::default(), Instant::now());
            for piece in pieces(&root, &excludes, &rel("d"), rewritten) {
                set.add_piece(&piece, rewritten, now, now);
            }
            let found = set.lease(Lane::Fast, 99, 9999, now).paths;
            let found: Vec<_> = found.into_iter().map(|(path, pending)| (path, pending.proof.rewritten)).collect();
            let parts = [("d", false), ("d/f", rewritten), ("d/n", false), ("d/n/e", rewritten)];
            assert_eq!(found, parts.map(|(path, rewritten)| (rel(path), rewritten)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_was_broken_off_is_over_when_nothing_of_it_is_left_at_the_node() {
        let begun = tokio::time::Instant::now();
        assert_eq!(until_nothing_lingers(async { Ok(1) }).await, Ok(1));
        assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
        let silent = Silent { path: rel("m"), kind: "fuse".into(), since: SystemTime::UNIX_EPOCH };
        assert_eq!(until_nothing_lingers(async { Err::<(), _>(silent.clone()) }).await, Err(silent));
        assert!(begun.elapsed() >= LINGERS);
    }
}
