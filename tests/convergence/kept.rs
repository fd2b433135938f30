//! Mirrors that keep what the source lost (`INOSYNC_TEST_DELETE=Never`): which differences are right there, and that no name
//! that such a mirror ever had is lost.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::script::Step;
use crate::settings::keeps_removed;
use crate::support::tree::{self, Skip};

/// The names that mirrors had at any time, one set for each.
pub struct Kept(Vec<(PathBuf, BTreeSet<Vec<u8>>)>);

impl Kept {
    pub fn at(mirrors: impl Iterator<Item = PathBuf>) -> Self {
        Kept(mirrors.map(|mirror| (mirror, BTreeSet::new())).collect())
    }

    /// Looks at the mirrors again and again until it is told to stop.
    pub fn watch(&mut self, skip: Skip, stop: &AtomicBool) {
        while keeps_removed() && !stop.load(Ordering::Relaxed) {
            self.look(skip);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn look(&mut self, skip: Skip) {
        for (mirror, names) in &mut self.0 {
            names.extend(tree::read(mirror, skip).into_keys());
        }
    }

    /// The names that are not there any more. What is there now is to be there at the next look, too. Not told is an entry
    /// of which the script changes the kind: rsync deletes a symlink before it sends the file of that name, so both are
    /// lost if the kind changes just before that run, and the file goes during it.
    pub fn lost(&mut self, steps: &[Step], skip: Skip) -> Vec<(PathBuf, Vec<u8>)> {
        if !keeps_removed() {
            return Vec::new();
        }
        let is_gone =
            |mirror: &Path, name: &Vec<u8>| fs::symlink_metadata(mirror.join(OsStr::from_bytes(name))).is_err();
        let changes_kind = |name: &[u8]| steps.iter().any(|step| step.changes_kind(name));
        let gone_at = |(mirror, names): &(PathBuf, BTreeSet<Vec<u8>>)| {
            let gone = names.iter().filter(|name| is_gone(mirror, name) && !changes_kind(name));
            gone.map(|name| (mirror.clone(), name.clone())).collect::<Vec<_>>()
        };
        let gone = self.0.iter().flat_map(gone_at).collect();
        self.look(skip);
        gone
    }
}

/// Tells if a path may differ: only the mirror has it, or what the mirror has in its place is of another kind.
pub fn may_differ(source: &Path, mirror: &Path, path: &[u8]) -> bool {
    let differs = |path: &Path| match [source, mirror].map(|root| kind(root, path.as_os_str().as_bytes())) {
        [Some(here), Some(there)] => here != there,
        _ => false,
    };
    keeps_removed() && (kind(source, path).is_none() || Path::new(OsStr::from_bytes(path)).ancestors().any(differs))
}

/// The entries of a directory that may differ although both sides have them: what a report tells beside the directory.
pub fn in_the_way(source: &Path, mirror: &Path, dir: &[u8]) -> String {
    let names = fs::read_dir(source.join(OsStr::from_bytes(dir))).into_iter().flatten().flatten();
    let paths = names.map(|entry| match dir {
        [] => entry.file_name().into_vec(),
        dir => [dir, entry.file_name().as_bytes()].join(&b'/'),
    });
    let found = paths.filter(|path| kind(mirror, path).is_some() && may_differ(source, mirror, path));
    found.map(|path| format!("; another kind at the node: {}", path.escape_ascii())).collect()
}

fn kind(root: &Path, path: &[u8]) -> Option<FileType> {
    fs::symlink_metadata(root.join(OsStr::from_bytes(path))).ok().map(|meta| meta.file_type())
}
