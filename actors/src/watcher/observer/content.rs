//! Decides when the content of a file may be new, and when it is reported.

use std::io;
use std::time::Instant;

use inotify::EventMask;

use super::Observer;
use crate::change::Change;
use crate::path::RelPath;
use crate::transport::plan::LARGE;

impl Observer {
    /// Handles an event about the content or the attributes of a file.
    pub(super) fn content_event(&mut self, path: RelPath, mask: EventMask, now: Instant) {
        let closed = mask.contains(EventMask::CLOSE_WRITE);
        if (closed || mask.contains(EventMask::MODIFY)) && self.is_arriving(&path, closed, now) {
            return;
        }
        if mask.contains(EventMask::MODIFY) {
            self.quiet.written(path, now);
        } else if mask.contains(EventMask::CLOSE_WRITE) {
            let written = self.quiet.settled(&path);
            if written { self.written(path) } else { self.file_closed(path, now) }
        } else if mask.contains(EventMask::ATTRIB) && !self.quiet.will_count(&path) {
            self.attributes_changed(path, now);
        }
    }

    /// Handles other attributes of a file. The kernel reports those of a deleted file by its last name, and those of
    /// a file that never had a name by its number.
    fn attributes_changed(&mut self, path: RelPath, now: Instant) {
        match self.root.look_at(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            // There what mmap(2) writes changes no time, so that nothing else would show it while the file is open.
            Ok(meta) if meta.is_file() && meta.len() > LARGE && self.is_in_memory(&path) => {
                self.file_closed(path, now);
            }
            _ => self.touched(path, false),
        }
    }

    /// Reports files as written. A file whose name is the only news may have been made without a name.
    pub(super) fn count(&mut self, paths: Vec<RelPath>) {
        for path in self.quiet.take_silent() {
            self.watch_unnamed(path);
        }
        for path in paths {
            self.root.arriving().take(&path);
            self.written(path);
        }
    }

    /// Handles the close of a file that was open for writing without a reported write. Mostly the file is as it was,
    /// as those of databases are; but no event tells of writes through mmap(2).
    fn file_closed(&mut self, path: RelPath, now: Instant) {
        let size = self.root.look_at(&path).map_or(0, |meta| meta.len());
        if size <= LARGE {
            self.found.changes.push(Change::Closed { path });
        } else if self.quiet.closed(path.clone(), size, now) {
            self.compare_closed(now);
        } else {
            self.touched(path, false);
        }
    }

    /// Tells if a file is on a tmpfs.
    fn is_in_memory(&self, path: &RelPath) -> bool {
        const TMPFS_MAGIC: i64 = 0x0102_1994;
        self.root.reach().kind(path).is_ok_and(|kind| kind == TMPFS_MAGIC)
    }

    /// Reports the files that were closed and are to be compared by content now.
    pub(super) fn compare_closed(&mut self, now: Instant) {
        let closed = self.quiet.compared(now);
        self.found.changes.extend(closed.into_iter().map(|path| Change::Closed { path }));
    }
}
