//! Which places a directory has, and when it has them no more: the disk decides, not the order of events.

use std::ffi::{OsStr, OsString};

use crate::watcher::watches::WatchDescriptor;

use super::Dirs;
use crate::watcher::tree::NodeId;

/// The result of [`Dirs::attach`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attached {
    /// It was not watched before; now it and all below it are.
    New,
    /// It was watched already, at this name or another one.
    Known,
    /// It was watched already, at the name from which it was moved, and is at this one now.
    Moved,
    /// It is excluded, or not there any more.
    Nothing,
    /// It cannot be watched; [`Blind`](crate::watcher::blind::Blind) says why.
    Blind,
    /// The names in the tree are out of date.
    Tangled,
    /// The directory that holds it is not at its name any more, of which an event is still to tell.
    Elsewhere,
}

/// The result of [`Dirs::place`].
pub(super) enum Placed {
    /// This place is new: what is in it has not been looked at yet.
    New(NodeId),
    /// The directory was known at this very name.
    Known(NodeId),
    /// The directory was known at another name and has been moved here with all that is below it.
    Moved(NodeId),
    /// The directory would come to lie below itself: the names in the tree are out of date.
    Tangled,
}

impl Dirs {
    /// Watches the directory `name` of `parent`, and all below it if it is new.
    pub(crate) fn attach(&mut self, parent: NodeId, name: &OsStr) -> Attached {
        self.attach_or(parent, name, false)
    }

    /// As [`Dirs::attach`], but a directory that is watched under whatever name keeps that.
    pub(crate) fn attach_unknown(&mut self, parent: NodeId, name: &OsStr) -> Attached {
        self.attach_or(parent, name, true)
    }

    fn attach_or(&mut self, parent: NodeId, name: &OsStr, keep_name: bool) -> Attached {
        let path = self.tree.entry(parent, name);
        if self.excludes.matching(&path, true).is_some() {
            return Attached::Nothing;
        }
        let opened = match self.open(parent) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Attached::Elsewhere,
            Err(error) => {
                self.add_blind(path, error);
                return Attached::Blind;
            }
        };
        match self.watch_named(&path, &opened, name) {
            Ok(Some(watch)) if keep_name && self.tree.knows(watch.get_watch_descriptor_id()) => Attached::Known,
            Ok(Some(watch)) => match self.place(watch, parent, name) {
                Placed::New(dir) => {
                    self.blind.forget(&path);
                    if self.scan_from(dir, true).tangled {
                        return Attached::Tangled;
                    }
                    Attached::New
                }
                Placed::Known(_) => Attached::Known,
                Placed::Moved(_) => Attached::Moved,
                Placed::Tangled => Attached::Tangled,
            },
            Ok(None) => Attached::Nothing,
            Err(error) => {
                self.add_blind(path.clone(), error.about(self.on_disk(&path)));
                Attached::Blind
            }
        }
    }

    /// Records that the directory with this watch is the entry `name` of `parent`. A name that it had before is given up if
    /// it was renamed from there: within one mount a directory has one name. Over several mounts it may have several.
    pub(super) fn place(&mut self, watch: WatchDescriptor, parent: NodeId, name: &OsStr) -> Placed {
        let number = watch.get_watch_descriptor_id();
        if let Some(id) = self.tree.at(number, parent, name) {
            return Placed::Known(id);
        }
        let known: Vec<NodeId> = self.tree.places(number).collect();
        let left = known.into_iter().find(|&id| self.is_on_mount_of(id, parent, name) && !self.is_still(id));
        match left {
            Some(id) if self.tree.relink(id, parent, name) => Placed::Moved(id),
            Some(_) => Placed::Tangled,
            None => Placed::New(self.tree.add(watch, parent, name)),
        }
    }

    /// Tells if a place and the entry `name` of `parent` are on one mount, as far as is known.
    fn is_on_mount_of(&self, id: NodeId, parent: NodeId, name: &OsStr) -> bool {
        self.mounts.holder(&self.path(id)) == self.mounts.holder(&self.entry(parent, name))
    }

    /// Tells if a directory is still at its place.
    fn is_still(&mut self, id: NodeId) -> bool {
        id == self.root() || self.open(id).is_ok_and(|opened| opened.is_some())
    }

    /// The kernel ended the watch of a directory, which mostly was deleted: its last event has come. Returns what it was:
    /// the entries of which directories.
    pub(crate) fn ended(&mut self, watch: i32) -> Vec<(NodeId, OsString)> {
        let entries: Vec<_> = self.places(watch).filter_map(|place| self.tree.entry_of(place)).collect();
        loop {
            // With one that lies below it, another may go.
            let place = self.places(watch).find(|place| *place != self.root());
            let Some(place) = place else { break };
            self.detach(place);
        }
        // Its last event has come already.
        self.given_up.last_event_was_read(watch);
        entries
    }

    /// Gives up the directories that claim a name and are not what is on disk there.
    pub(crate) fn check_name(&mut self, parent: NodeId, name: &OsStr) {
        let claims = self.tree.children_named(parent, name);
        if claims.is_empty() {
            return;
        }
        let Ok(Some(opened)) = self.open(parent) else { return };
        // What does not answer is as it was.
        let Ok(there) = self.watch_named(&self.entry(parent, name), &opened, name) else { return };
        for dir in claims {
            if self.tree.watch(dir) != there.as_ref() {
                self.detach(dir);
            }
        }
        if let Some(watch) = there {
            self.retire_stranger(watch);
        }
    }
}
