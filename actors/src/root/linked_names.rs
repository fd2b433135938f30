//! Files of the source that have several names. The kernel tells which name was written, and not which others the file has:
//! they are remembered here, and looked for in the whole tree where one is missing. All of it is a hint: each name is looked
//! at before it is used.

mod known;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::known::KnownNames;
use self::search::{SearchResult, search};
use super::Root;
use super::reach::look::FileId;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;

/// Names of linked files that one batch takes along. Where there are more, the whole tree is compared after it.
pub(crate) const MOST_IN_BATCH: usize = 20_000;

/// The record of the names of linked files. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HardLinks(Arc<SharedNames>);

/// The record, and the right to search.
#[derive(Debug, Default)]
struct SharedNames {
    known: Mutex<KnownNames>,
    /// Held during a search of the whole tree. Who needs no search does not wait for it.
    searching: Mutex<()>,
}

/// The source as a question about names sees it.
#[derive(Clone, Copy)]
pub(crate) struct LinkGround<'g> {
    pub root: &'g Root,
    pub excludes: &'g Excludes,
    /// Tells if somebody still waits for the answer.
    pub is_waiting: &'g (dyn Fn() -> bool + Sync),
}

/// The entries of a batch that may have other names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkQuestion {
    /// Files with several names.
    pub files: BTreeSet<RelPath>,
    /// Directories that are sent with all that is below them.
    pub trees: BTreeSet<RelPath>,
    /// Directories of which the entries are compared.
    pub levels: BTreeSet<RelPath>,
}

/// The names of the files of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkGroups {
    /// All names of one file each.
    pub groups: Vec<BTreeSet<RelPath>>,
    /// `true` if there are more than a batch takes.
    pub cut: bool,
}

/// The names of files with several, and the number of names that the kernel counts of each.
type LinkedFiles = BTreeMap<FileId, FoundFile>;

/// One file with several names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundFile {
    links: u64,
    names: BTreeSet<RelPath>,
}

impl LinkQuestion {
    /// Tells if nothing in it has other names.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.trees.is_empty() && self.levels.is_empty()
    }

    /// Tells if the answer tells all names of what another question is about.
    pub(crate) fn has_all_of(&self, other: &LinkQuestion) -> bool {
        let in_trees = |path: &RelPath| self.trees.contains(path) || self.covers(path);
        other.files.iter().all(|file| self.files.contains(file) || in_trees(file))
            && other.trees.iter().all(in_trees)
            && other.levels.iter().all(|dir| self.levels.contains(dir) || in_trees(dir))
    }

    /// Tells if a run over this directory compares the entry.
    fn covers(&self, path: &RelPath) -> bool {
        path.ancestors().any(|dir| self.trees.contains(&dir))
    }
}

impl HardLinks {
    /// Finds the names of the files of a batch. Looks at the disk, and may walk over the whole tree: for a thread that may wait.
    /// The answer is of no use if nobody waits for it any more.
    pub(crate) fn groups(&self, ground: LinkGround<'_>, question: &LinkQuestion) -> LinkGroups {
        let root = ground.root;
        let (mut found, mut cut) = (LinkedFiles::new(), false);
        question.files.iter().for_each(|path| note(root, path, &mut found));
        for dir in &question.levels {
            for name in root.names(dir, usize::MAX) {
                note(root, &dir.join(&name), &mut found);
            }
        }
        for top in &question.trees {
            let SearchResult { files, left_out, .. } = search(ground, top, &BTreeSet::new());
            merge(&mut found, files);
            cut |= left_out;
        }
        cut |= self.complete(ground, &mut found);
        // The walk may have been long.
        for (id, file) in &mut found {
            file.names.retain(|name| is_name_of(ground, name, *id));
        }
        let answer = grouped(found, question);
        LinkGroups { cut: cut || answer.cut, ..answer }
    }

    /// Adds all other names of some files: those that are known, and where one is missing, what a search finds. Returns true
    /// if there are too many.
    fn complete(&self, ground: LinkGround<'_>, found: &mut LinkedFiles) -> bool {
        if self.add_known(ground, found).is_empty() {
            return false;
        }
        // One search at a time: the one before may have found what is missing.
        let _searching = self.0.searching.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = self.add_known(ground, found);
        if lacking.is_empty() || !(ground.is_waiting)() {
            return false;
        }
        let SearchResult { files: everything, left_out, .. } = search(ground, &RelPath::root(), &lacking);
        for (file, all) in everything.iter().filter(|(file, _)| lacking.contains(*file)) {
            found.entry(*file).or_default().names.extend(all.names.iter().cloned());
        }
        if left_out || !(ground.is_waiting)() {
            // It is not known what else there is.
            return left_out;
        }
        let mut known = self.known();
        // Somebody may have told of a name when the search had been where it is.
        let with_others = |known: &KnownNames, file: FileId, mut names: BTreeSet<RelPath>| {
            let others = known.others(file, &names).into_iter();
            names.extend(others.filter(|name| is_name_of(ground, name, file)));
            names
        };
        for file in &lacking {
            let FoundFile { links, names } = found.entry(*file).or_default();
            *names = with_others(&known, *file, std::mem::take(names));
            known.searched(*file, *links, names.clone());
        }
        for (file, FoundFile { links, names }) in everything.into_iter().filter(|(file, _)| !lacking.contains(file)) {
            let names = with_others(&known, file, names);
            known.found_beside(file, links, names);
        }
        false
    }

    /// Adds the names that are known, and remembers those that are there. Returns the files of which some are missing.
    fn add_known(&self, ground: LinkGround<'_>, found: &mut LinkedFiles) -> BTreeSet<FileId> {
        let mut known = self.known();
        let mut lacking = BTreeSet::new();
        for (file, FoundFile { links, names }) in found.iter_mut() {
            for name in known.names(*file) {
                if names.contains(&name) {
                    continue;
                }
                match is_name_of(ground, &name, *file) {
                    true => _ = names.insert(name),
                    false => known.forget(*file, &name),
                }
            }
            names.iter().for_each(|name| known.add(*file, name.clone()));
            if !known.is_complete(*file, *links, names.len()) {
                lacking.insert(*file);
            }
        }
        lacking
    }

    fn known(&self) -> MutexGuard<'_, KnownNames> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The groups of a batch: first those that have names elsewhere, which nothing else in the batch takes along.
fn grouped(found: LinkedFiles, question: &LinkQuestion) -> LinkGroups {
    let several = found.into_values().map(|file| file.names).filter(|names| names.len() > 1);
    let is_apart = |names: &BTreeSet<RelPath>| !names.iter().all(|name| question.covers(name));
    let (apart, within): (Vec<_>, Vec<_>) = several.partition(is_apart);
    let mut answer = LinkGroups::default();
    let mut room = MOST_IN_BATCH;
    for group in apart {
        match room.checked_sub(group.len()) {
            Some(left) => {
                room = left;
                answer.groups.push(group);
            }
            None => answer.cut = true,
        }
    }
    for group in within {
        if let Some(left) = room.checked_sub(group.len()) {
            room = left;
            answer.groups.push(group);
        }
    }
    answer
}

/// Adds a name if it is one of a file that has several.
fn note(root: &Root, path: &RelPath, found: &mut LinkedFiles) {
    if let Ok(meta) = root.look_at(path)
        && meta.is_file()
        && meta.nlink() > 1
    {
        let file = found.entry(meta.file_id()).or_default();
        file.links = meta.nlink();
        file.names.insert(path.clone());
    }
}

fn merge(found: &mut LinkedFiles, more: LinkedFiles) {
    for (file, FoundFile { links, names }) in more {
        let known = found.entry(file).or_default();
        known.links = links;
        known.names.extend(names);
    }
}

/// Tells if a name that was found or remembered is still one of this file, by directories alone, and is mirrored.
fn is_name_of(LinkGround { root, excludes, .. }: LinkGround<'_>, name: &RelPath, file: FileId) -> bool {
    let is_dir = |dir: RelPath| root.look_at(&dir).is_ok_and(|meta| meta.is_dir());
    root.look_at(name).is_ok_and(|meta| meta.is_file() && meta.file_id() == file)
        && name.ancestors().all(is_dir)
        && !excludes.excludes(name, false)
}

#[cfg(test)]
mod tests;
