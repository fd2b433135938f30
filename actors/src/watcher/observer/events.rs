//! Handles the events of the kernel: of a directory itself, and of its entries at one of its places. Those of files are
//! for [`Files`](super::files::Files).

use std::ffi::OsString;
use std::time::Instant;

use inotify::EventMask;

use super::files::EntryEvent;
use super::{Observer, last_name};
use crate::change::{Change, Reason};
use crate::messages::DirMove;
use crate::path::RelPath;
use crate::root::arriving::AtNodes;
use crate::root::reach::look::Meta;
use crate::watcher::dirs::Attached;
use crate::watcher::moves::Departure;
use crate::watcher::reader::RawEvent;
use crate::watcher::tree::NodeId;

/// A directory got other attributes. MODIFY: its time alone was set (`touch -m`; fsnotify_change in the kernel).
const ATTRIBUTES: EventMask = EventMask::ATTRIB.union(EventMask::MODIFY);
/// Deleted entries that are remembered until that is told, which comes next: mostly one.
const ENDED: usize = 1000;

impl Observer {
    /// Takes one event in.
    pub fn handle(&mut self, event: RawEvent, now: Instant) {
        let RawEvent { watch, mask, cookie, name } = event;
        if mask.contains(EventMask::IGNORED) {
            self.dirs.last_event_came(watch);
        }
        if self.is_mark(watch, mask) {
            return;
        }
        if mask.contains(EventMask::Q_OVERFLOW) {
            return self.track.lose(Reason::Overflow, now);
        }
        let event = EntryEvent { mask, cookie, now };
        let Some(name) = name else { return self.own_event(watch, event) };
        let mut places = self.dirs.places(watch);
        let Some(first) = places.next() else {
            drop(places);
            return self.stray(watch, event);
        };
        // The others are mostly none, which takes no memory.
        let others: Vec<NodeId> = places.collect();
        for &dir in &others {
            self.entry_event(dir, name.clone(), event);
        }
        self.entry_event(first, name, event);
    }

    /// Handles an event of a directory, or of a mounted file, about itself.
    fn own_event(&mut self, watch: i32, event: EntryEvent) {
        let EntryEvent { mask, now, .. } = event;
        let places: Vec<NodeId> = self.dirs.places(watch).collect();
        if places.is_empty() {
            return self.file_or_stray(watch, event);
        }
        let is_root = places.contains(&self.dirs.root());
        if is_root && mask.intersects(EventMask::IGNORED | EventMask::UNMOUNT | EventMask::DELETE_SELF) {
            self.root.went(false, &mut self.found, now);
        } else if is_root && mask.contains(EventMask::MOVE_SELF) {
            self.root.went(true, &mut self.found, now);
        } else if mask.contains(EventMask::UNMOUNT) {
            self.unmounted(watch, now);
        } else if mask.contains(EventMask::IGNORED) {
            self.watch_ended(watch, now);
        } else if mask.intersects(ATTRIBUTES) {
            places.into_iter().for_each(|place| self.attributes_set(place, now));
        }
    }

    /// Handles other attributes of a directory. Mostly the event also comes from the directory above it, which
    /// reports the change then. No directory is above the root, and none reports a directory that is mounted over
    /// another.
    fn attributes_set(&mut self, place: NodeId, now: Instant) {
        let path = self.dirs.path(place);
        if path.is_root() {
            if self.dirs.blind().forget(&path) {
                self.track.lose(Reason::Unlistable, now);
            }
            self.found.touched(path, true);
        } else if self.dirs.mounts().has(&path) {
            self.found.touched(path, true);
        }
    }

    /// The kernel ended a watch: the directory was deleted, or what is there now is another one.
    fn watch_ended(&mut self, watch: i32, now: Instant) {
        if self.ended.len() >= ENDED {
            self.ended.clear();
        }
        for (parent, name) in self.dirs.ended(watch) {
            match self.dirs.attach_unknown(parent, &name) {
                Attached::New => {
                    self.track.scanned(now);
                    self.found.subtrees([self.dirs.entry(parent, &name)]);
                }
                Attached::Nothing => drop(self.ended.insert((parent, name))),
                _ => (),
            }
        }
    }

    fn file_or_stray(&mut self, watch: i32, event: EntryEvent) {
        let files = self.dirs.files(watch);
        if files.is_empty() {
            if !self.files.own_event(watch, event, &mut self.dirs, &mut self.found) {
                self.stray(watch, event);
            }
            return;
        }
        if event.mask.contains(EventMask::IGNORED) {
            return self.dirs.file_ended(watch);
        }
        files.into_iter().for_each(|path| self.files.event(path, event, &mut self.dirs, &mut self.found));
    }

    fn stray(&mut self, watch: i32, event: EntryEvent) {
        if !event.mask.contains(EventMask::IGNORED) && !self.dirs.was_given_up(watch) && self.root.is_here() {
            self.track.lose(Reason::UnknownWatch, event.now);
        }
    }

    fn entry_event(&mut self, dir: NodeId, name: OsString, event: EntryEvent) {
        let path = self.dirs.entry(dir, &name);
        if event.mask.contains(EventMask::ISDIR) {
            self.directory_event(dir, name, path, event);
        } else {
            self.files.event(path, event, &mut self.dirs, &mut self.found);
        }
    }

    fn directory_event(&mut self, dir: NodeId, name: OsString, path: RelPath, event: EntryEvent) {
        let EntryEvent { mask, cookie, now } = event;
        self.audit.explained(&path);
        if self.is_left_alone(&path, mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM)) {
            return;
        }
        if mask.contains(EventMask::CREATE) {
            if self.dirs.leaves_alone(&path, true) {
                return;
            }
            let attached = self.attach(dir, &name, now);
            self.directory_made(path, attached, now);
        } else if mask.contains(EventMask::MOVED_TO) {
            self.directory_arrived(dir, name, path, event);
        } else if mask.contains(EventMask::MOVED_FROM) {
            // An excluded directory is not watched: where it arrives, it is new.
            if !self.dirs.excludes(&path) {
                self.moves.departed(cookie, Departure { from: path.clone(), parent: dir }, now);
                self.found.changes.push(Change::MovedAway { path });
            }
        } else if mask.contains(EventMask::DELETE) {
            self.files.forget_below(&path, &mut self.dirs);
            // Not every file system ends the watches of what it deletes, and what is open is not deleted yet.
            if !self.ended.remove(&(dir, name.clone())) {
                self.dirs.check_name(dir, &name);
            }
            self.found.changes.push(Change::Removed { path, is_dir: true });
        } else if mask.intersects(ATTRIBUTES) {
            self.directory_touched(dir, &name, path, now);
        }
    }

    /// Handles an event about a directory that is left alone, and returns `true` if it was one. `went`: it has another
    /// name, or is deleted.
    fn is_left_alone(&mut self, path: &RelPath, went: bool) -> bool {
        if !self.dirs.nameless.is_left_alone(path) {
            return false;
        }
        match went.then(|| self.dirs.nameless.end_waiting(path)).flatten() {
            Some(AtNodes::Perhaps) => self.found.changes.push(Change::Removed { path: path.clone(), is_dir: true }),
            Some(AtNodes::Nowhere) => self.found.touched_above(path),
            None => (),
        }
        true
    }

    /// Handles a new directory.
    pub(super) fn directory_made(&mut self, path: RelPath, attached: Attached, now: Instant) {
        let is_watched = matches!(attached, Attached::New | Attached::Known);
        let may_be_linked = is_watched && self.files.linked.recognises() && self.dirs.nameless.saw_rsync();
        let below = if may_be_linked { self.looks.below(&path, &mut self.dirs, now) } else { None };
        let Some(below) = below else {
            return self.found.changes.push(Change::Created { path });
        };
        self.files.linked.made(&path, now);
        // What is watched for longer was told before.
        self.found.changes.push(Change::Made { path, is_new: attached == Attached::New });
        // Of temporary names, those that wait are known from here on.
        self.files.note_nameless(&mut self.dirs, now);
        for (path, meta) in below {
            self.entry_found(path, &meta, now);
        }
    }

    /// Tells an entry that was found in a new directory: no event may have told it.
    fn entry_found(&mut self, path: RelPath, meta: &Meta, now: Instant) {
        if meta.is_dir() {
            self.found.changes.push(Change::Made { path, is_new: true });
        } else if !meta.is_file() {
            self.files.link_or_other(path, now, &self.dirs, &mut self.found);
        } else if !self.files.quiet.waits_for(&path) && !self.files.holds(&path, meta, &self.dirs, now) {
            self.found.written(path);
        }
    }

    /// Handles other attributes of a directory: the directory, or entries below it, may have become readable.
    fn directory_touched(&mut self, dir: NodeId, name: &OsString, path: RelPath, now: Instant) {
        let was_blind = self.dirs.blind().forget(&path);
        match self.attach(dir, name, now) {
            Attached::New => self.found.subtrees([path]),
            _ if was_blind => {
                self.rescan_watches(dir, name, now);
                self.found.subtrees([path]);
            }
            _ => self.found.touched(path, true),
        }
    }

    fn directory_arrived(&mut self, dir: NodeId, name: OsString, to: RelPath, event: EntryEvent) {
        let EntryEvent { cookie, now, .. } = event;
        let mounts = self.dirs.mounts();
        let departure = self.moves.arrived(cookie, |from| mounts.holder(from) == mounts.holder(&to));
        if self.dirs.excludes(&to) {
            if let Some(Departure { from, parent }) = departure {
                if let Some(name) = last_name(&from) {
                    self.dirs.check_name(parent, &name);
                }
                self.moved_out(from);
            }
            return;
        }
        if let Some(Departure { from, .. }) = &departure {
            self.dirs.moved(from, &to);
        }
        let attached = self.attach(dir, &name, now);
        let Some(Departure { from, parent }) = departure else {
            // It may have been watched, left and come back, and its half of a move be lost with a directory between.
            if matches!(attached, Attached::Known | Attached::Moved) {
                self.rescan_watches(dir, &name, now);
            }
            self.found.subtrees([to.clone()]);
            return self.found.moves.push(DirMove::In { to });
        };
        if attached != Attached::Moved {
            self.moves.unsettled(Departure { from: from.clone(), parent }, now);
        }
        self.files.moved(&from, &to);
        self.dirs.nameless.moved(&from, &to);
        self.found.changes.push(Change::MovedTo { from: from.clone(), to: to.clone() });
        if attached == Attached::New {
            self.found.subtrees([to.clone()]);
        } else if self.dirs.verdicts_depend_on_place() || self.dirs.has_second_names() || self.track.is_young(now) {
            self.rescan_watches(dir, &name, now);
        }
        self.retaken(&from);
        self.found.moves.push(DirMove::Within { from, to });
    }

    pub(super) fn moved_out(&mut self, from: RelPath) {
        self.files.forget_below(&from, &mut self.dirs);
        self.dirs.moved_out(&from);
        self.found.changes.push(Change::MovedOut { path: from.clone() });
        self.retaken(&from);
        self.found.moves.push(DirMove::Out { from });
    }

    /// Looks at the name that a directory left: an exchange (renameat2(2)) gives the name to another entry at once.
    fn retaken(&mut self, path: &RelPath) {
        if let Ok(meta) = self.dirs.reach().look(path) {
            self.found.changes.push(Change::Retaken { path: path.clone(), is_dir: meta.is_dir() });
        }
    }
}
