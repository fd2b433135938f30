//! Allows a run to say nothing for longer while files are read for their checksums. Both ends read them, and neither
//! tells how far it is: the sender before it lists a file, the node before it asks for one. No run is broken off sooner
//! than a slow disk has read all that it compares; that a line is dead is noticed by other means.

use std::sync::Arc;
use std::time::Duration;

use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::root::reach::look::Meta;
use crate::rsync::audience::extent;
use crate::rsync::recipe;
use crate::rsync::recipe::Recipe;
use crate::rsync::runner::run_order::{Order, Work};
use crate::rsync::target::Target;
use crate::transport::rename::Doubt;

/// Bytes that a slow disk reads in a second, while others want it too.
const PACE: u64 = 10_000_000;

/// The files that are read for checksums.
enum Reads {
    /// All in the tree.
    Everything,
    /// These files, by their names.
    Files(Vec<RelPath>),
    /// The files in these directories, and nothing below others in them.
    Levels(Vec<RelPath>),
    /// All in these directories.
    Below(Vec<RelPath>),
}

impl Reads {
    /// Counts the bytes, unless nobody `is_waiting` for them any more.
    fn bytes(self, reach: &Reach, excludes: &Excludes, is_waiting: &dyn Fn() -> bool) -> u64 {
        let below = |dir| extent(reach, dir, excludes, is_waiting).map_or(0, |extent| extent.bytes);
        let size = |path: &RelPath| reach.look(path).ok().filter(Meta::is_file).map_or(0, |meta| meta.len());
        let names = |dir: RelPath| {
            let entries = reach.entries(&dir).unwrap_or_default().into_iter();
            entries.map(move |(name, _)| dir.join(&name))
        };
        match self {
            Reads::Everything => below(RelPath::root()),
            Reads::Files(paths) => paths.iter().take_while(|_| is_waiting()).map(size).sum(),
            Reads::Levels(dirs) => {
                let files = dirs.into_iter().flat_map(names).filter(|path| excludes.matching(path, false).is_none());
                files.take_while(|_| is_waiting()).map(|path| size(&path)).sum()
            }
            Reads::Below(dirs) => dirs.into_iter().map(below).sum(),
        }
    }
}

/// Returns the longest time that it takes to read what a run compares by content.
pub(super) async fn reading_time(target: &Target, order: &Order<'_>) -> Duration {
    let Some(reads) = reads(order, target.site.extra.reads_contents()) else { return Duration::ZERO };
    let reach = target.root.reach().clone();
    let excludes = target.site.excludes.clone();
    // Whoever waits for it holds this.
    let waits = Arc::new(());
    let asked = Arc::downgrade(&waits);
    let bytes = tokio::task::spawn_blocking(move || reads.bytes(&reach, &excludes, &|| asked.strong_count() > 0));
    // The daemon ends: so will the run.
    let bytes = bytes.await.unwrap_or(0);
    drop(waits);
    Duration::from_secs(bytes / PACE)
}

/// Returns what a run reads for checksums; `always` if the user's parameters ask for checksums of all.
fn reads(order: &Order<'_>, always: bool) -> Option<Reads> {
    let recipe = order.recipe;
    match order.work {
        Work::Directory(moved) if always || moved.doubt == Doubt::Changing => {
            Some(Reads::Below(vec![moved.to.clone()]))
        }
        Work::Names(moved, _) => Some(Reads::Below(vec![moved.to.clone()])),
        Work::Directory(_) | Work::Links(_) => None,
        Work::List(_) if !always && !recipe.reads_contents() => None,
        Work::List(_) if recipe.only_deletes() || matches!(recipe, Recipe::Root | Recipe::ByLevels) => None,
        Work::List(list) if matches!(recipe, Recipe::Levels | Recipe::VerifyLevels) => {
            Some(Reads::Levels(recipe::named(list).0))
        }
        Work::List(_) if !recipe.is_listed() => Some(Reads::Everything),
        Work::List(list) if recipe.names_files() || recipe.verifies() => Some(Reads::Files(recipe::named(list).0)),
        Work::List(list) => Some(Reads::Below(recipe::named(list).0)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_a_run_reads_is_counted_and_only_while_somebody_waits() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("d/sub")).unwrap();
        for (path, bytes) in [("top", 1), ("d/f", 10), ("d/g", 20), ("d/sub/deep", 400)] {
            fs::write(root.path().join(path), vec![b'x'; bytes]).unwrap();
        }
        let rel = |path: &str| RelPath::new(path.as_bytes()).unwrap();
        type Make = fn(Vec<RelPath>) -> Reads;
        let all: [(Make, &str, u64); 6] = [
            (|_| Reads::Everything, "", 431),
            (Reads::Files, "d/f", 10),
            (Reads::Files, "gone", 0),
            (Reads::Levels, "d", 30),
            (Reads::Below, "d", 430),
            (Reads::Below, "gone", 0),
        ];
        for (reads, path, expected) in all {
            for (is_waiting, expected) in [(true, expected), (false, 0)] {
                let bytes = reads(vec![rel(path)]).bytes(&Reach::of(root.path()), &Excludes::default(), &|| is_waiting);
                assert_eq!(bytes, expected, "{path} {is_waiting}");
            }
        }
    }
}
