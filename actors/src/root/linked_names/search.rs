//! The walk that finds the names of all files with several.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, statat};

use super::{LinkGround, LinkedFiles, MOST_IN_BATCH};
use crate::path::RelPath;
use crate::root::reach::look::{self, FileId, Meta};
use crate::root::walk::{PackedNames, Start, Visitor, walk};

/// Names that are kept of one walk.
const MOST: usize = 2 * MOST_IN_BATCH;
/// Names that are kept of one walk with those of the files that are looked for, some 200 bytes each.
const MOST_WANTED: usize = 10 * MOST_IN_BATCH;

/// The outcome of a walk.
#[derive(Debug, Default)]
pub(super) struct SearchResult {
    /// The files, by all of their names that were found.
    pub files: LinkedFiles,
    count: usize,
    /// `true` if there were too many, and some that were looked for are left out.
    pub left_out: bool,
}

struct LinkSearch<'s> {
    ground: LinkGround<'s>,
    wanted: &'s BTreeSet<FileId>,
    found: Mutex<SearchResult>,
}

/// Finds all files with several names below a directory, each with those of its names that are mirrored. `wanted`: the files
/// that are looked for, all if it is empty; where there are very many others, some of them are left out. Ends early if nobody
/// waits for it any more.
pub(super) fn search(ground: LinkGround<'_>, top: &RelPath, wanted: &BTreeSet<FileId>) -> SearchResult {
    let reach = ground.root.reach();
    let found = LinkSearch { ground, wanted, found: Mutex::default() };
    if let Ok(opened) = reach.open_below(top)
        && let Some(((), names)) = found.visit(top, &opened, ())
    {
        walk(reach, Start { path: top.clone(), opened, known: (), names }, &found);
    }
    found.found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl SearchResult {
    /// Adds a name, if there is room for it.
    fn add(&mut self, file: FileId, links: u64, name: RelPath, wanted: &BTreeSet<FileId>) {
        let is_wanted = wanted.contains(&file);
        if self.count >= if is_wanted { MOST_WANTED } else { MOST } {
            self.left_out |= is_wanted || wanted.is_empty();
            return;
        }
        self.count += 1;
        let file = self.files.entry(file).or_default();
        file.links = links;
        file.names.insert(name);
    }
}

impl LinkSearch<'_> {
    /// Lists a directory: the names in it that files share, and the directories.
    fn list(&self, dir: &RelPath, opened: &Arc<OwnedFd>) -> io::Result<PackedNames> {
        let mut names = PackedNames::default();
        let mut shared = Vec::new();
        look::list(opened, &mut |name, kind| {
            let path = || dir.join(OsStr::from_bytes(name.to_bytes()));
            match look::known(opened, name, kind) {
                FileType::Directory if self.ground.excludes.matching(&path(), true).is_none() => {
                    names.push(name.to_bytes())
                }
                FileType::RegularFile => {
                    if let Ok(stat) = statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                        let meta = Meta::from(&stat);
                        let is_shared = meta.is_file() && meta.nlink() > 1;
                        if is_shared && self.ground.excludes.matching(&path(), false).is_none() {
                            shared.push((meta.file_id(), meta.nlink(), path()));
                        }
                    }
                }
                _ => (),
            }
            true
        })?;
        if !shared.is_empty() {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            shared.into_iter().for_each(|(file, links, path)| found.add(file, links, path, self.wanted));
        }
        Ok(names)
    }
}

impl Visitor for LinkSearch<'_> {
    type Known = ();

    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, (): ()) -> Option<((), PackedNames)> {
        // A mount that may hang is left out: what has a name there is sent by itself.
        if self.ground.root.reach().point(path).is_some() || !(self.ground.is_waiting)() {
            return None;
        }
        self.list(path, opened).ok().map(|names| ((), names))
    }

    fn missed(&self, _: RelPath, _: io::Error) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_room_a_file_that_is_looked_for_is_told_to_be_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let [wanted, other] = ["a", "b"].map(|name| {
            std::fs::write(dir.path().join(name), name).unwrap();
            Meta::from(&rustix::fs::lstat(dir.path().join(name)).unwrap()).file_id()
        });
        let name = || RelPath::new(b"name").unwrap();
        for (count, file, looked_for, expected) in [
            (MOST - 1, other, vec![wanted], (true, false)),
            (MOST, other, vec![wanted], (false, false)),
            (MOST, other, vec![], (false, true)),
            (MOST, wanted, vec![wanted], (true, false)),
            (MOST_WANTED, wanted, vec![wanted], (false, true)),
        ] {
            let mut result = SearchResult { count, ..SearchResult::default() };
            result.add(file, 2, name(), &looked_for.into_iter().collect());
            assert_eq!((!result.files.is_empty(), result.left_out), expected, "{count}");
        }
    }
}
