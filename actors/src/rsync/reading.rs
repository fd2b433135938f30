//! How long a run may say nothing while files are read for their checksums. Both ends read them, and neither tells how far it is:
//! the sender before it lists a file, the node before it asks for one. No run is broken off sooner than a slow disk has read all
//! that it compares; that a line is dead is noticed by other means.

use std::path::Path;
use std::time::Duration;

use super::audience::extent;
use super::recipe;
use super::{Order, Rsync, Work};
use crate::filter::excludes::Excludes;
use crate::path::RelPath;
use crate::sync::origins::Doubt;

/// Bytes that a slow disk reads in a second, while others want it too.
const PACE: u64 = 10_000_000;

/// What is read for checksums.
enum Reads {
    /// All in the tree.
    Everything,
    /// These files.
    Files(Vec<RelPath>),
    /// All in these directories.
    Below(Vec<RelPath>),
}

impl Rsync {
    /// How long it takes at the most to read what this run compares by content.
    pub(super) async fn reading_time(&self, order: &Order<'_>) -> Duration {
        let Some(reads) = self.reads(order) else { return Duration::ZERO };
        let (root, excludes) = (self.root.path().to_owned(), self.site.excludes.clone());
        let below = |dir: RelPath, root: &Path, excludes: &Excludes| {
            extent(root, dir, excludes, &|| true).map_or(0, |extent| extent.bytes)
        };
        let size = |path: &RelPath, root: &Path| path.under(root).symlink_metadata().map_or(0, |meta| meta.len());
        let bytes = tokio::task::spawn_blocking(move || match reads {
            Reads::Everything => below(RelPath::root(), &root, &excludes),
            Reads::Files(paths) => paths.iter().map(|path| size(path, &root)).sum(),
            Reads::Below(dirs) => dirs.into_iter().map(|dir| below(dir, &root, &excludes)).sum(),
        });
        // The daemon ends: so will the run.
        Duration::from_secs(bytes.await.unwrap_or(0) / PACE)
    }

    fn reads(&self, order: &Order<'_>) -> Option<Reads> {
        let (recipe, always) = (order.recipe, self.site.extra.reads_contents());
        match order.work {
            Work::Directory(moved) if always || moved.doubt == Doubt::Changing => {
                Some(Reads::Below(vec![moved.to.clone()]))
            }
            Work::Names(moved, _) => Some(Reads::Below(vec![moved.to.clone()])),
            Work::Directory(_) | Work::Links(_) => None,
            Work::List(_) if !always && !recipe.reads_contents() => None,
            Work::List(_) if !recipe.is_listed() => Some(Reads::Everything),
            Work::List(list) if recipe.names_files() || recipe.verifies() => Some(Reads::Files(recipe::named(list).0)),
            Work::List(list) => Some(Reads::Below(recipe::named(list).0)),
        }
    }
}
