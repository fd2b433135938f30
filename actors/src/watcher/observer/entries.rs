//! Handles the events of an entry of a directory, at one of the places of that directory.

use std::ffi::OsString;
use std::time::Instant;

use inotify::EventMask;

use super::{ATTRIBUTES, Observer, YOUNG, last_name};
use crate::change::Change;
use crate::messages::DirMove;
use crate::path::RelPath;
use crate::root::arriving::AtNodes;
use crate::watcher::dirs::Attached;
use crate::watcher::moves::{Departure, FileDeparture};
use crate::watcher::tree::NodeId;

impl Observer {
    pub(super) fn entry_event(&mut self, dir: NodeId, name: OsString, mask: EventMask, cookie: u32, now: Instant) {
        if mask.contains(EventMask::ISDIR) {
            self.directory_event(dir, name, mask, cookie, now);
        } else {
            self.file_event(self.dirs.entry(dir, &name), mask, cookie, now);
        }
    }

    pub(super) fn file_event(&mut self, path: RelPath, mask: EventMask, cookie: u32, now: Instant) {
        if mask.contains(EventMask::CREATE) {
            self.file_created(path, now);
        } else if mask.contains(EventMask::MOVED_TO) {
            self.file_arrived(path, cookie);
        } else if mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
            let silent = self.quiet.is_silent(&path);
            let written = self.quiet.settled(&path);
            let silent = self.forget_unnamed(&path) || silent;
            let arriving = self.root.arriving().take(&path);
            if mask.contains(EventMask::MOVED_FROM) {
                let nameless = arriving.is_some();
                self.file_moves.departed(cookie, FileDeparture { from: path.clone(), written, silent, nameless });
            }
            match arriving {
                Some(AtNodes::Nowhere) => self.touched_above(&path),
                Some(AtNodes::Perhaps) | None => self.found.changes.push(Change::Removed { path, is_dir: false }),
            }
        } else {
            self.content_event(path, mask, now);
        }
    }

    fn file_arrived(&mut self, to: RelPath, cookie: u32) {
        self.quiet.settled(&to);
        self.forget_unnamed(&to);
        self.root.arriving().take(&to);
        let mounts = self.dirs.mounts();
        let departure = self.file_moves.arrived(cookie, |from| mounts.holder(from) == mounts.holder(&to));
        let Some(FileDeparture { from, written, silent, nameless }) = departure else { return self.written(to) };
        if !nameless {
            self.found.changes.push(Change::Renamed { from, to: to.clone() });
        }
        if silent {
            self.watch_unnamed(to.clone());
        }
        if written || silent || nameless {
            self.written(to);
        }
    }

    /// Handles a new entry. A regular file is about to be written and closed. Links and other entries without content
    /// of their own never are, so they count now.
    fn file_created(&mut self, path: RelPath, now: Instant) {
        match self.root.look_at(&path) {
            Ok(meta) if meta.is_file() && meta.nlink() == 1 => self.made(path, now),
            // Small ones mostly have their own names by now.
            Err(_) if self.quiet.is_nameless(&path) => self.made(path, now),
            _ => self.touched(path, false),
        }
    }

    fn directory_event(&mut self, dir: NodeId, name: OsString, mask: EventMask, cookie: u32, now: Instant) {
        let path = self.dirs.entry(dir, &name);
        self.unwatched.explained(&path);
        if self.is_left_alone(&path, mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM)) {
            return;
        }
        if mask.contains(EventMask::CREATE) {
            if self.dirs.leaves_alone(&path, true) {
                return;
            }
            self.attach(dir, &name, now);
            self.found.changes.push(Change::Created { path });
        } else if mask.contains(EventMask::MOVED_TO) {
            self.directory_arrived(dir, name, path, cookie, now);
        } else if mask.contains(EventMask::MOVED_FROM) {
            // An excluded directory is not watched: where it arrives, it is new.
            if !self.dirs.excludes(&path) {
                self.moves.departed(cookie, Departure { from: path.clone(), parent: dir }, now);
                self.found.changes.push(Change::MovedAway { path });
            }
        } else if mask.contains(EventMask::DELETE) {
            self.quiet.forget_below(&path);
            self.dirs.forget_nameless_below(&path);
            self.forget_unnamed_below(&path);
            // Not every file system ends the watches of what it deletes, and what is open is not deleted yet.
            if !self.ended.remove(&(dir, name.clone())) {
                self.dirs.check_name(dir, &name);
            }
            self.found.changes.push(Change::Removed { path, is_dir: true });
        } else if mask.intersects(ATTRIBUTES) {
            self.directory_touched(dir, &name, path, now);
        }
    }

    /// Handles other attributes of a directory: the directory, or entries below it, may have become readable.
    fn directory_touched(&mut self, dir: NodeId, name: &OsString, path: RelPath, now: Instant) {
        let was_blind = self.dirs.blind().forget(&path);
        match self.attach(dir, name, now) {
            Attached::New => self.found.changes.push(Change::Subtree { path }),
            _ if was_blind => {
                self.rescan_watches(dir, name, now);
                self.found.changes.push(Change::Subtree { path });
            }
            _ => self.touched(path, true),
        }
    }

    fn directory_arrived(&mut self, dir: NodeId, name: OsString, to: RelPath, cookie: u32, now: Instant) {
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
            self.found.changes.push(Change::Subtree { path: to.clone() });
            return self.found.moves.push(DirMove::In { to });
        };
        if attached != Attached::Moved {
            self.moves.unsettled(Departure { from: from.clone(), parent }, now);
        }
        self.quiet.moved(&from, &to);
        self.dirs.move_nameless(&from, &to);
        self.unnamed.moved(&from, &to);
        self.found.changes.push(Change::MovedTo { from: from.clone(), to: to.clone() });
        if attached == Attached::New {
            self.found.changes.push(Change::Subtree { path: to.clone() });
        } else if self.dirs.verdicts_depend_on_place()
            || self.dirs.has_second_names()
            || self.scanned.is_some_and(|at| now < at + YOUNG)
        {
            self.rescan_watches(dir, &name, now);
        }
        self.retaken(&from);
        self.found.moves.push(DirMove::Within { from, to });
    }

    pub(super) fn moved_out(&mut self, from: RelPath) {
        self.quiet.forget_below(&from);
        self.dirs.forget_nameless_below(&from);
        self.forget_unnamed_below(&from);
        self.dirs.moved_out(&from);
        self.found.changes.push(Change::MovedOut { path: from.clone() });
        self.retaken(&from);
        self.found.moves.push(DirMove::Out { from });
    }
}
