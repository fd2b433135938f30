//! Files that were made without a name (`O_TMPFILE`) and got one by linkat(2). What is written by the descriptor that
//! made them is told of no name, so they are watched themselves.

use std::collections::VecDeque;

use crate::path::RelPath;
use crate::watcher::watches::WatchDescriptor;

/// Files that are watched themselves: the last ones. That a descriptor was closed does not say that it was the last
/// one.
const MOST: usize = 256;

/// The files that are watched themselves, the oldest first.
#[derive(Default)]
pub(super) struct Unnamed(VecDeque<(WatchDescriptor, RelPath)>);

impl Unnamed {
    /// A file is watched. Returns the watches that are to be given up for that.
    pub(super) fn add(&mut self, watch: WatchDescriptor, path: RelPath) -> Option<WatchDescriptor> {
        self.0.retain(|(known, _)| *known != watch);
        self.0.push_back((watch, path));
        if self.0.len() > MOST { self.0.pop_front().map(|(oldest, _)| oldest) } else { None }
    }

    /// The file that a watch belongs to.
    pub(super) fn by_watch(&self, watch: i32) -> Option<&RelPath> {
        self.0.iter().find(|(known, _)| known.get_watch_descriptor_id() == watch).map(|(_, path)| path)
    }

    /// The numbers of all watches.
    pub(super) fn watches(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().map(|(watch, _)| watch.get_watch_descriptor_id())
    }

    /// The kernel ended a watch.
    pub(super) fn ended(&mut self, watch: i32) {
        self.0.retain(|(known, _)| known.get_watch_descriptor_id() != watch);
    }

    /// Files went from these names. Returns their watches, which are to be given up.
    pub(super) fn forget(&mut self, goes: impl Fn(&RelPath) -> bool) -> Vec<WatchDescriptor> {
        let (gone, left) = std::mem::take(&mut self.0).into_iter().partition(|(_, path)| goes(path));
        self.0 = left;
        let gone: VecDeque<_> = gone;
        gone.into_iter().map(|(watch, _)| watch).collect()
    }

    /// A directory was moved with what is below it.
    pub(super) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        for (_, path) in &mut self.0 {
            if let Some(new) = path.rebase(from, to) {
                *path = new;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use inotify::{Inotify, WatchMask};

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn the_last_files_are_watched_at_the_names_that_they_have() {
        let (inotify, dir) = (Inotify::init().unwrap(), tempfile::tempdir().unwrap());
        let watch = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            crate::watcher::Watches::of(&inotify).unwrap().add(path, WatchMask::MODIFY).unwrap()
        };
        let mut unnamed = Unnamed::default();
        for n in 0..=MOST {
            let given_up = unnamed.add(watch(&n.to_string()), rel(&format!("d/{n}")));
            assert_eq!(given_up.is_some(), n == MOST);
        }
        let number = watch("1").get_watch_descriptor_id();
        assert_eq!(unnamed.add(watch("1"), rel("d/one")), None, "it has another name");
        assert_eq!(unnamed.by_watch(number), Some(&rel("d/one")));
        unnamed.moved(&rel("d"), &rel("e"));
        assert_eq!(unnamed.by_watch(number), Some(&rel("e/one")));
        assert_eq!(unnamed.forget(|path| *path == rel("e/one")).len(), 1);
        assert_eq!((unnamed.by_watch(number), unnamed.0.len()), (None, MOST - 1));
        assert_eq!(unnamed.forget(|path| path.is_below(&rel("e"))).len(), MOST - 1);
    }
}
