//! The files of the tree: decides when the content of a file may be new, and when that is reported.

use std::io;
use std::time::{Duration, Instant};

use inotify::EventMask;

use super::Findings;
use super::unnamed::Unnamed;
use crate::change::Change;
use crate::path::RelPath;
use crate::patterns::settle::Settle;
use crate::root::arriving::AtNodes;
use crate::root::reach::look::Meta;
use crate::transport::plan::LARGE;
use crate::watcher::dirs::Dirs;
use crate::watcher::linked::{self, Linked};
use crate::watcher::moves::{FileDeparture, FileMoves};
use crate::watcher::quiet::Quiet;

/// A file whose name is so much younger than the file was made somewhere else.
const MADE_BEFORE: Duration = Duration::from_secs(1);

/// An event of an entry, whose name stands beside it.
#[derive(Clone, Copy)]
pub(super) struct EntryEvent {
    pub(super) mask: EventMask,
    /// The kernel's number of a move; 0 if the event is of no move.
    pub(super) cookie: u32,
    pub(super) now: Instant,
}

/// The files that are being written, on their way to another name, or watched themselves.
#[derive(Default)]
pub(super) struct Files {
    pub(super) quiet: Quiet,
    moves: FileMoves,
    unnamed: Unnamed,
    pub(super) linked: Linked,
}

impl Files {
    /// Files of these names are reported while they are written, and not only when they are complete.
    pub(super) fn settle(&mut self, settle: Settle) {
        self.quiet.settle(settle);
    }

    /// Handles an event of the file at `path`.
    pub(super) fn event(&mut self, path: RelPath, event: EntryEvent, dirs: &mut Dirs, found: &mut Findings) {
        let untold = self.linked.ends(&path);
        if event.mask.contains(EventMask::CREATE) {
            self.created(path, event.now, dirs, found);
        } else if event.mask.contains(EventMask::MOVED_TO) {
            self.arrived(path, event, dirs, found);
        } else if event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
            self.left(path, event, untold, dirs, found);
        } else if untold && !event.mask.contains(EventMask::MODIFY) {
            self.touched_untold(path, event.mask, found);
        } else {
            self.content_event(path, event, dirs, found);
        }
    }

    /// Handles the event of a file that has a watch of its own, and returns `true` if it was one. The watch of the
    /// directory reports a named file a second time.
    pub(super) fn own_event(&mut self, watch: i32, event: EntryEvent, dirs: &mut Dirs, found: &mut Findings) -> bool {
        let Some(path) = self.unnamed.by_watch(watch).cloned() else { return false };
        if event.mask.contains(EventMask::IGNORED) {
            self.unnamed.ended(watch);
        } else {
            self.content_event(path, event, dirs, found);
        }
        true
    }

    /// Handles a new entry. A regular file is about to be written and closed. Links and other entries without content
    /// of their own never are, so they count now.
    fn created(&mut self, path: RelPath, now: Instant, dirs: &Dirs, found: &mut Findings) {
        match dirs.reach().look(&path) {
            Ok(meta) if meta.is_file() && meta.nlink() == 1 => {
                // An rsync renames by a link and a removal, which may have come by now.
                if dirs.nameless.saw_rsync() {
                    self.holds(&path, &meta, dirs, now);
                }
                self.made(path, dirs, now);
            }
            // Small ones mostly have their own names by now.
            Err(_) if self.quiet.is_nameless(&path) => self.made(path, dirs, now),
            Ok(meta) if meta.is_file() && self.holds(&path, &meta, dirs, now) => (),
            Ok(meta) if meta.is_file() => found.linked(vec![path], dirs.nameless.saw_rsync()),
            _ => self.link_or_other(path, now, dirs, found),
        }
    }

    /// Lets a file wait that may have been linked under its name, and whose other name may go. Returns true if it waits.
    pub(super) fn holds(&mut self, path: &RelPath, meta: &Meta, dirs: &Dirs, now: Instant) -> bool {
        if !self.linked.recognises() || meta.len() < linked::LARGE || self.quiet.is_nameless(path) {
            return false;
        }
        if dirs.nameless.saw_rsync() {
            self.linked.wait_together();
        }
        let reach = dirs.reach();
        // The other one may be gone by now.
        let has_come = || {
            let age = reach.born(path).ok().and_then(|born| meta.changed_at().duration_since(born).ok());
            age.is_some_and(|age| age > MADE_BEFORE)
        };
        (meta.nlink() > 1 || has_come())
            && reach.has_lasting_inodes(path)
            && self.linked.holds_file(path, meta.len(), now)
    }

    /// A name was found to be a new one of a file that went from another.
    pub(super) fn recognised(&mut self, path: &RelPath) {
        if self.linked.ends(path) {
            self.quiet.settled(path);
        }
    }

    /// Reports an entry that is no regular file. What a symlink leads to is told before it.
    pub(super) fn link_or_other(&mut self, path: RelPath, now: Instant, dirs: &Dirs, found: &mut Findings) {
        self.tell_before_link(&path, now, dirs, found);
        found.touched(path, false);
    }

    /// Reports the files that wait and to which something leads, if that is a symlink.
    fn tell_before_link(&mut self, path: &RelPath, now: Instant, dirs: &Dirs, found: &mut Findings) {
        if self.linked.waiting().next().is_none() || !dirs.reach().look(path).is_ok_and(|meta| meta.is_symlink()) {
            return;
        }
        if let Some(target) = dirs.reach().resolve(path) {
            found.linked(self.linked.take_for_link(path, &target, now), dirs.nameless.saw_rsync());
        }
    }

    fn arrived(&mut self, to: RelPath, event: EntryEvent, dirs: &mut Dirs, found: &mut Findings) {
        self.quiet.settled(&to);
        self.forget_unnamed(dirs, |path| *path == to);
        dirs.nameless.end_waiting(&to);
        self.tell_before_link(&to, event.now, dirs, found);
        let mounts = dirs.mounts();
        let departure = self.moves.arrived(event.cookie, |from| mounts.holder(from) == mounts.holder(&to));
        let Some(FileDeparture { from, written, silent, nameless }) = departure else {
            return found.written(to);
        };
        if !nameless {
            found.changes.push(Change::Renamed { from, to: to.clone() });
        }
        if silent {
            self.watch_unnamed(to.clone(), dirs);
        }
        if written || silent || nameless {
            found.written(to);
        }
    }

    /// Handles a name that went. `untold`: it was a new name, of which nothing was told.
    fn left(&mut self, path: RelPath, event: EntryEvent, untold: bool, dirs: &mut Dirs, found: &mut Findings) {
        let silent = self.quiet.is_silent(&path);
        let written = self.quiet.settled(&path) || untold;
        let silent = self.forget_unnamed(dirs, |known| *known == path) || silent;
        let arriving = dirs.nameless.end_waiting(&path);
        if event.mask.contains(EventMask::DELETE) {
            self.linked.left(&path);
        }
        if event.mask.contains(EventMask::MOVED_FROM) {
            let nameless = arriving.is_some();
            self.moves.departed(event.cookie, FileDeparture { from: path.clone(), written, silent, nameless });
        }
        match arriving {
            Some(AtNodes::Nowhere) => found.touched_above(&path),
            Some(AtNodes::Perhaps) | None => found.changes.push(Change::Removed { path, is_dir: false }),
        }
    }

    /// Handles an event about the content or the attributes of a file.
    fn content_event(&mut self, path: RelPath, event: EntryEvent, dirs: &Dirs, found: &mut Findings) {
        let EntryEvent { mask, now, .. } = event;
        let closed = mask.contains(EventMask::CLOSE_WRITE);
        if (closed || mask.contains(EventMask::MODIFY)) && self.is_arriving(&path, closed, dirs, now) {
            return;
        }
        if mask.contains(EventMask::MODIFY) {
            self.quiet.written(path, now);
        } else if mask.contains(EventMask::CLOSE_WRITE) {
            let written = self.quiet.settled(&path);
            if written { found.written(path) } else { self.closed(path, now, dirs, found) }
        } else if mask.contains(EventMask::ATTRIB) && !self.quiet.will_count(&path) {
            self.attributes_changed(path, now, dirs, found);
        }
    }

    /// Handles the close, or other attributes, of a file of which nothing was told. A node may have had another file by its
    /// name.
    fn touched_untold(&mut self, path: RelPath, mask: EventMask, found: &mut Findings) {
        if mask.contains(EventMask::CLOSE_WRITE) {
            self.quiet.settled(&path);
        }
        if !self.quiet.will_count(&path) {
            found.written(path);
        }
    }

    /// Handles other attributes of a file. The kernel reports those of a deleted file by its last name, and those of
    /// a file that never had a name by its number.
    fn attributes_changed(&mut self, path: RelPath, now: Instant, dirs: &Dirs, found: &mut Findings) {
        match dirs.reach().look(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            // There what mmap(2) writes changes no time, so that nothing else would show it while the file is open.
            Ok(meta) if meta.is_file() && meta.len() > LARGE && is_in_memory(&path, dirs) => {
                self.closed(path, now, dirs, found);
            }
            _ => found.touched(path, false),
        }
    }

    /// Handles the close of a file that was open for writing without a reported write. Mostly the file is as it was,
    /// as those of databases are; but no event tells of writes through mmap(2).
    fn closed(&mut self, path: RelPath, now: Instant, dirs: &Dirs, found: &mut Findings) {
        let size = dirs.reach().look(&path).map_or(0, |meta| meta.len());
        if size <= LARGE {
            found.closed(vec![path]);
        } else if self.quiet.closed(path.clone(), size, now) {
            found.closed(self.quiet.compared(now));
        } else {
            found.touched(path, false);
        }
    }

    /// Reports the files that count by now.
    pub(super) fn tick(&mut self, now: Instant, dirs: &mut Dirs, found: &mut Findings) {
        let due = self.quiet.due(now);
        self.count(due, dirs, found);
        found.closed(self.quiet.compared(now));
        found.linked(self.linked.due(now), dirs.nameless.saw_rsync());
    }

    /// Reports all files that are waited for, as they are.
    pub(super) fn flush(&mut self, dirs: &mut Dirs, found: &mut Findings) {
        let left = self.quiet.flush();
        self.count(left, dirs, found);
        found.closed(self.quiet.flush_closed());
        found.linked(self.linked.flush(), dirs.nameless.saw_rsync());
    }

    /// Reports files as written. A file whose name is the only news may have been made without a name.
    fn count(&mut self, paths: Vec<RelPath>, dirs: &mut Dirs, found: &mut Findings) {
        for path in self.quiet.take_silent() {
            self.watch_unnamed(path, dirs);
        }
        for path in paths {
            dirs.nameless.end_waiting(&path);
            self.linked.ends(&path);
            found.written(path);
        }
    }

    /// The time at which [`Files::tick`] has work next.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.quiet.next_check().into_iter().chain(self.linked.next()).min()
    }

    /// The files of which nothing, or not all, has been told.
    pub(super) fn unsettled(&self) -> Vec<RelPath> {
        self.quiet.unsettled().into_iter().chain(self.linked.waiting().cloned()).collect()
    }

    /// The numbers of the watches that files have themselves.
    pub(super) fn watches(&self) -> impl Iterator<Item = i32> + '_ {
        self.unnamed.watches()
    }

    /// Follows the move of a directory with the files below it.
    pub(super) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        self.quiet.moved(from, to);
        self.unnamed.moved(from, to);
        self.linked.moved(from, to);
    }

    /// Waits no longer for the files below a directory, which something else covers or uncovers.
    pub(super) fn covered_below(&mut self, dir: &RelPath, dirs: &mut Dirs) {
        self.quiet.forget_below(dir);
        dirs.nameless.forget_below(dir);
    }

    /// Forgets a directory that went with all that is below it.
    pub(super) fn forget_below(&mut self, dir: &RelPath, dirs: &mut Dirs) {
        self.quiet.forget_below(dir);
        self.linked.forget_below(dir);
        dirs.nameless.forget_below(dir);
        self.forget_unnamed(dirs, |path| path.is_below(dir));
    }

    /// Watches a file of which nothing but its name was told since that is there.
    fn watch_unnamed(&mut self, path: RelPath, dirs: &mut Dirs) {
        if let Some(watch) = dirs.watch_unnamed(&path) {
            let given_up = self.unnamed.add(watch, path);
            dirs.give_up(given_up.into_iter().collect());
        }
    }

    /// Gives up the watches of files that went from their names. Returns `true` if there was any.
    fn forget_unnamed(&mut self, dirs: &mut Dirs, goes: impl Fn(&RelPath) -> bool) -> bool {
        let watches = self.unnamed.forget(goes);
        let was_watched = !watches.is_empty();
        dirs.give_up(watches);
        was_watched
    }
}

/// Tells if a file is on a tmpfs.
fn is_in_memory(path: &RelPath, dirs: &Dirs) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    dirs.reach().kind(path).is_ok_and(|kind| kind == TMPFS_MAGIC)
}
