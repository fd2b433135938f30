//! Scans: watches all directories below one, and gives up the watches that have no directory any more. Tries the directories
//! again that could not be watched; the time for that, and the consequences for the nodes, are up to the observer.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use super::place::Placed;
use super::{Attached, Dirs, FoundDirectories};
use crate::path::RelPath;
use crate::root::arriving::AtNodes;
use crate::root::reach::look::Meta;
use crate::root::walk::PackedNames;
use crate::temp_name;
use crate::watch_error::WatchError;
use crate::watcher::tree::NodeId;

/// The result of [`Dirs::retry`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Retried {
    /// Directories that are watched from now on, with all below them.
    pub watched: Vec<RelPath>,
    /// `true` if the names in the tree are out of date.
    pub tangled: bool,
}

impl Dirs {
    /// Watches everything below a directory, and gives up the watches below it that have no directory any more: repairs
    /// the tree from what is on disk. Says what was not watched.
    pub(crate) fn scan(&mut self, top: NodeId) -> FoundDirectories {
        self.scan_from(top, false)
    }

    pub(super) fn scan_from(&mut self, top: NodeId, new: bool) -> FoundDirectories {
        let mut seen = HashSet::from([top]);
        let mut kept = HashSet::new();
        let mut left = vec![(top, new)];
        let mut news = FoundDirectories::default();
        while let Some((dir, below_new)) = left.pop() {
            let path = self.tree.path(dir);
            let listed = self.reach.open(&path, false).and_then(|opened| {
                if !self.is_at(dir, &path, &opened) {
                    return Ok(false);
                }
                let mut names = self.reach.directories_in(&opened, &path)?;
                self.nameless.find_files(&opened, &path, &self.reach);
                while let Some(name) = names.pop() {
                    let name = OsStr::from_bytes(&name);
                    let Some((id, is_news)) = self.watch_entry(dir, &path, &opened, name, &mut news) else { continue };
                    if seen.insert(id) {
                        left.push((id, below_new || is_news));
                        news.count += usize::from(is_news);
                        news.tops.extend((is_news && !below_new).then(|| path.join(name)));
                    }
                }
                Ok(true)
            });
            if !matches!(listed, Ok(true)) {
                // What cannot be listed can be watched all the same: keep what is.
                kept.extend(self.tree.subtree(dir));
            }
            if let Some(error) = listed.err().and_then(|error| WatchError::of_directory(&self.on_disk(&path), error)) {
                self.add_blind(path, error);
            }
            self.coverage.step();
        }
        seen.extend(kept);
        let stale = self.tree.prune(top, &seen);
        self.retire(stale);
        news
    }

    /// Watches the entry `name` of `parent`, which is at `path` and open; `None` if it cannot be or is not to be. With it
    /// whether it was not watched before, or not at this name.
    fn watch_entry(
        &mut self,
        parent: NodeId,
        path: &RelPath,
        opened: &Arc<OwnedFd>,
        name: &OsStr,
        news: &mut FoundDirectories,
    ) -> Option<(NodeId, bool)> {
        let path = path.join(name);
        if self.excludes.matching(&path, true).is_some() || self.leaves_alone(&path, false) {
            return None;
        }
        // By its open parent: a name may lead elsewhere by now.
        match self.watch_named(&path, opened, name) {
            Ok(watch) => match self.place(watch?, parent, name) {
                Placed::New(id) => {
                    self.blind.forget(&path);
                    Some((id, true))
                }
                Placed::Moved(id) => Some((id, true)),
                Placed::Known(id) => Some((id, false)),
                Placed::Tangled => {
                    news.tangled = true;
                    None
                }
            },
            Err(error) => {
                self.add_blind(path.clone(), error.about(self.on_disk(&path)));
                None
            }
        }
    }

    /// The entries below a watched directory, each before what is below it; `None` if they are more than `most`, not all
    /// of them can be had, or one is or was a directory of another name. Adds the number that it looked at to `looked`.
    pub(crate) fn entries_below(
        &mut self,
        top: &RelPath,
        most: usize,
        looked: &mut usize,
    ) -> Option<Vec<(RelPath, Meta)>> {
        let mut found = Vec::new();
        let mut left = vec![top.clone()];
        let mut names = PackedNames::default();
        while let Some(dir) = left.pop() {
            let node = self.find(&dir)?;
            let opened = self.reach.open(&dir, false).ok()?;
            // What another one holds that came to its name is told with that.
            if self.reach.point(&dir).is_some() || !self.is_at(node, &dir, &opened) {
                return None;
            }
            self.reach.names_in(&opened, &dir, &mut names).ok()?;
            if !self.tree.has_all_children_in(node, &names) {
                return None;
            }
            for name in names.iter().map(OsStr::from_bytes) {
                if *looked >= most {
                    return None;
                }
                *looked += 1;
                let path = dir.join(name);
                let meta = match self.reach.look_in(&opened, &dir, name) {
                    Ok(meta) => meta,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(_) => return None,
                };
                if self.excludes.matching(&path, meta.is_dir()).is_some() {
                    continue;
                }
                if meta.is_dir() && !self.tree.has(&path) {
                    if self.nameless.is_left_alone(&path) || self.leaves_alone(&path, true) {
                        continue;
                    }
                    // Made since the scan, or moved here: the event of a move does not tell what is in it.
                    if self.attach_unknown(node, name) != Attached::New {
                        return None;
                    }
                }
                left.extend(meta.is_dir().then(|| path.clone()));
                if meta.is_file() {
                    self.nameless.found_file(&dir, OsStr::from_bytes(path.name()));
                }
                found.push((path, meta));
            }
        }
        Some(found)
    }

    /// Leaves a directory alone if its name is one of rsync's, it is not watched yet, and something changed in it not long
    /// ago. `is_new`: it was made just now.
    pub(crate) fn leaves_alone(&mut self, path: &RelPath, is_new: bool) -> bool {
        let may_be_left = self.nameless.awaits_names() && temp_name::is_of_directory(path);
        may_be_left
            && !self.tree.has(path)
            && !self.excludes.excludes(path, true)
            && self.nameless.leaves_alone(path, is_new, &self.reach)
    }

    /// Takes the directories of temporary names in which nothing changed for long, each as an entry of the directory that
    /// holds it.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(NodeId, OsString)> {
        let mut taken = Vec::new();
        for path in self.nameless.due(now) {
            let at_nodes = self.nameless.end_waiting(&path);
            if !self.leaves_alone(&path, at_nodes == Some(AtNodes::Nowhere)) {
                let parent = path.parent().and_then(|parent| self.find(&parent));
                taken.extend(parent.map(|parent| (parent, OsStr::from_bytes(path.name()).to_owned())));
            }
        }
        taken
    }

    /// Tries all directories again that are not watched, topmost first. What cannot be had once more is in
    /// [`Dirs::blind`] as before.
    pub(crate) fn retry(&mut self) -> Retried {
        let (refused, starved) = self.blind.begin_retry();
        let mut retried = Retried::default();
        for path in refused.iter().chain(starved.iter()) {
            self.retry_one(path, &mut retried);
        }
        self.blind.end_retry(&refused);
        retried
    }

    fn retry_one(&mut self, path: &RelPath, retried: &mut Retried) {
        let Some(parent) = path.parent() else {
            return self.retry_in(self.root(), retried);
        };
        if self.mounts.has(path) && self.is_file(path) {
            return self.watch_file(path);
        }
        // What is not watched above it is on the list itself, or gone.
        let Some(parent) = self.find(&parent) else { return };
        match self.attach(parent, OsStr::from_bytes(path.name())) {
            Attached::New => retried.watched.push(path.clone()),
            // It could not be listed, or stands for some that it holds.
            Attached::Known | Attached::Moved => {
                if let Some(dir) = self.find(path) {
                    self.retry_in(dir, retried);
                }
            }
            Attached::Tangled | Attached::Elsewhere => retried.tangled = true,
            Attached::Nothing | Attached::Blind => (),
        }
    }

    fn retry_in(&mut self, dir: NodeId, retried: &mut Retried) {
        let news = self.scan(dir);
        retried.watched.extend(news.tops);
        retried.tangled |= news.tangled;
    }
}
