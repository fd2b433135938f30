//! Tells if rsync may list at once all that a run sends. It takes fewer of the processors' time for many small directories if it
//! does, but holds about 100 bytes for each entry at both ends.

use std::sync::Arc;

use rustix::fs::FileType;

use crate::path::RelPath;
use crate::root::reach::Reach;
use crate::rsync::recipe;
use crate::rsync::runner::run_order::{Order, Work};
use crate::rsync::target::Target;
use crate::transport::Lane;

/// Entries that rsync may list at once: some 5 MB at each end.
const MOST: usize = 50_000;

/// Tells if what a run sends is short enough. The planner has seen that a batch of the fast lane is.
pub(super) async fn is_short(target: &Target, order: &Order<'_>) -> bool {
    let list = match order.work {
        _ if order.lane == Some(Lane::Fast) => return true,
        Work::List(list) if order.recipe.sends_trees() => list,
        _ => return false,
    };
    let (tops, reach) = (recipe::named(list).0, target.root.reach().clone());
    // Whoever waits for it holds this.
    let waits = Arc::new(());
    let asked = Arc::downgrade(&waits);
    let count = move || has_at_most(MOST, tops, &reach, &|| asked.strong_count() > 0);
    let is_short = tokio::task::spawn_blocking(count).await.unwrap_or(false);
    drop(waits);
    is_short
}

/// Tells if there are at most so many entries in and below some directories, while somebody `is_waiting` for the answer.
fn has_at_most(most: usize, tops: Vec<RelPath>, reach: &Reach, is_waiting: &dyn Fn() -> bool) -> bool {
    let mut room = most;
    let mut left = tops;
    while let Some(dir) = left.pop() {
        if !is_waiting() || reach.names(&dir, room + 1).is_ok_and(|names| names.len() > room) {
            return false;
        }
        let entries = reach.entries(&dir).unwrap_or_default();
        room = room.saturating_sub(entries.len());
        let dirs = entries.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
        left.extend(dirs.map(|(name, _)| dir.join(&name)));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_in_and_below_the_directories_counts_until_it_is_too_much_or_nobody_waits() {
        let root = tempfile::tempdir().unwrap();
        for path in ["d/sub/deep", "e"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        for path in ["top", "d/f", "d/sub/deep/f", "e/f"] {
            fs::write(root.path().join(path), "x").unwrap();
        }
        let tops = |names: &[&str]| names.iter().map(|name| RelPath::new(name.as_bytes()).unwrap()).collect::<Vec<_>>();
        let reach = Reach::of(root.path());
        for (most, names, is_waiting, expected) in [
            (5, &["d", "e"][..], true, true),
            (4, &["d", "e"], true, false),
            (4, &["d"], true, true),
            (3, &["d"], true, false),
            (0, &["gone"], true, true),
            (9, &["d"], false, false),
        ] {
            assert_eq!(
                has_at_most(most, tops(names), &reach, &|| is_waiting),
                expected,
                "{most} {names:?} {is_waiting}"
            );
        }
    }
}
