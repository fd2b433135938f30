//! The walk that finds the names of all files with several.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, statat};

use super::{LinkedFiles, MOST_IN_BATCH};
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::root::reach::look::{self, FileId, Meta};
use crate::root::walk::{PackedNames, Start, Visitor, walk};

/// Names that are kept of one walk. Of the files that are looked for, all are.
const MOST: usize = 2 * MOST_IN_BATCH;

/// The outcome of a walk.
#[derive(Debug, Default)]
pub(super) struct SearchResult {
    /// The files, by all of their names that were found.
    pub files: LinkedFiles,
    count: usize,
    /// `true` if there were too many: some that were not looked for are left out.
    pub left_out: bool,
}

struct LinkSearch<'s> {
    root: &'s Root,
    excludes: &'s Excludes,
    wanted: &'s BTreeSet<FileId>,
    found: Mutex<SearchResult>,
}

/// Finds all files with several names below a directory, each with those of its names that are mirrored. `wanted`: the files
/// that are looked for; where there are very many others, some of them are left out.
pub(super) fn search(root: &Root, excludes: &Excludes, top: &RelPath, wanted: &BTreeSet<FileId>) -> SearchResult {
    let found = LinkSearch { root, excludes, wanted, found: Mutex::default() };
    if let Ok(opened) = root.reach().open_below(top)
        && let Some(((), names)) = found.visit(top, &opened, ())
    {
        walk(root.reach(), Start { path: top.clone(), opened, known: (), names }, &found);
    }
    found.found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl LinkSearch<'_> {
    /// Lists a directory: the names in it that files share, and the directories.
    fn list(&self, dir: &RelPath, opened: &Arc<OwnedFd>) -> io::Result<PackedNames> {
        let mut names = PackedNames::default();
        let mut shared = Vec::new();
        look::list(opened, &mut |name, kind| {
            let path = || dir.join(OsStr::from_bytes(name.to_bytes()));
            match look::known(opened, name, kind) {
                FileType::Directory if self.excludes.matching(&path(), true).is_none() => names.push(name.to_bytes()),
                FileType::RegularFile => {
                    if let Ok(stat) = statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                        let meta = Meta::from(&stat);
                        let is_shared = meta.is_file() && meta.nlink() > 1;
                        if is_shared && self.excludes.matching(&path(), false).is_none() {
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
            let SearchResult { files, count, left_out } = &mut *found;
            for (id, links, path) in shared {
                if *count < MOST || self.wanted.contains(&id) {
                    *count += 1;
                    let file = files.entry(id).or_default();
                    file.links = links;
                    file.names.insert(path);
                } else {
                    *left_out = true;
                }
            }
        }
        Ok(names)
    }
}

impl Visitor for LinkSearch<'_> {
    type Known = ();

    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, (): ()) -> Option<((), PackedNames)> {
        // A mount that may hang is left out: what has a name there is sent by itself.
        if self.root.reach().point(path).is_some() {
            return None;
        }
        self.list(path, opened).ok().map(|names| ((), names))
    }

    fn missed(&self, _: RelPath, _: io::Error) {}
}
