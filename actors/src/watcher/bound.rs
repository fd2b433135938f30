//! The files that something else is mounted on. Writes to them by another name raise no event in the watched
//! directory, so each has a watch of its own. Never touches the disk.

use std::collections::{BTreeSet, HashMap};

use crate::watcher::watches::WatchDescriptor;

use crate::path::RelPath;

/// The mounted files that are watched, each by its names: one may be mounted in several places.
#[derive(Default)]
pub(crate) struct MountedFiles(HashMap<i32, (WatchDescriptor, BTreeSet<RelPath>)>);

impl MountedFiles {
    /// Records that the file with this watch, and no other, is at `path`. Returns a watch that is of no use any more.
    pub(crate) fn put(&mut self, watch: WatchDescriptor, path: RelPath) -> Option<WatchDescriptor> {
        let number = watch.get_watch_descriptor_id();
        let stale = if self.names(number).any(|name| *name == path) { None } else { self.take(&path) };
        self.0.entry(number).or_insert_with(|| (watch, BTreeSet::new())).1.insert(path);
        stale
    }

    /// Records that no watched file is mounted on this path any more. Returns a watch that is of no use any more.
    pub(crate) fn take(&mut self, path: &RelPath) -> Option<WatchDescriptor> {
        let number = *self.0.iter().find(|(_, (_, names))| names.contains(path))?.0;
        let (_, names) = self.0.get_mut(&number)?;
        names.remove(path);
        if names.is_empty() { self.0.remove(&number).map(|(watch, _)| watch) } else { None }
    }

    /// Notes that the kernel ended a watch, or the queue of all.
    pub(crate) fn ended(&mut self, watch: i32) {
        self.0.remove(&watch);
    }

    /// The names of the file that a watch belongs to; none if the watch belongs to no file.
    pub(crate) fn names(&self, watch: i32) -> impl Iterator<Item = &RelPath> {
        self.0.get(&watch).into_iter().flat_map(|(_, names)| names)
    }

    /// Takes all watches, to be given up.
    pub(crate) fn clear(&mut self) -> Vec<WatchDescriptor> {
        self.0.drain().map(|(_, (watch, _))| watch).collect()
    }

    /// Follows the move of a directory with all below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        for (_, names) in self.0.values_mut() {
            *names = names.iter().map(|path| path.rebase(from, to).unwrap_or_else(|| path.clone())).collect();
        }
    }

    /// All names that are watched.
    pub(crate) fn paths(&self) -> BTreeSet<RelPath> {
        self.0.values().flat_map(|(_, names)| names).cloned().collect()
    }

    /// The numbers of all watches.
    pub(crate) fn watches(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify::{Inotify, WatchMask};

    #[test]
    fn a_file_is_watched_for_as_long_as_it_has_a_name() {
        let (dir, inotify) = (tempfile::tempdir().unwrap(), Inotify::init().unwrap());
        let watch = |name: &str| {
            std::fs::write(dir.path().join(name), "").unwrap();
            crate::watcher::Watches::of(&inotify).unwrap().add(dir.path().join(name), WatchMask::MODIFY).unwrap()
        };
        let rel = |path: &str| RelPath::new(path.as_bytes()).unwrap();
        let (one, other) = (watch("one"), watch("other"));
        let mut bound = MountedFiles::default();
        let names = |bound: &MountedFiles| -> Vec<String> {
            bound.names(one.get_watch_descriptor_id()).map(RelPath::to_string).collect()
        };
        assert_eq!([bound.put(one.clone(), rel("d/f")), bound.put(one.clone(), rel("g"))], [None, None]);
        bound.moved(&rel("d"), &rel("e"));
        assert_eq!(names(&bound), ["e/f", "g"]);
        assert_eq!(bound.put(other.clone(), rel("g")), None, "covered by the other; the one has a name left");
        assert_eq!(names(&bound), ["e/f"]);
        assert_eq!(bound.put(one.clone(), rel("g")), Some(other));
        assert_eq!((bound.take(&rel("g")), bound.take(&rel("g"))), (None, None));
        assert_eq!((bound.take(&rel("e/f")), bound.watches().count()), (Some(one.clone()), 0));
    }
}
