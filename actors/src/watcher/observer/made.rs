//! New directories where an rsync writes, of which each entry is told by itself: so nothing is sent of a file that has a new
//! name in one, until its other name had the time to go.

use std::time::{Duration, Instant};

use super::Observer;
use crate::change::Change;
use crate::path::RelPath;
use crate::root::reach::look::Meta;
use crate::watcher::dirs::Attached;

/// Entries below a new directory that are told one by one; a directory with more is told as a whole.
const FEW: usize = 2000;
/// The most entries of new directories that are looked at in a row,
const LOOKS: usize = 10_000;
/// which ends when so much time has passed.
const ROW: Duration = Duration::from_secs(1);

/// The entries of new directories that were looked at in this row.
#[derive(Debug, Default)]
pub(super) struct Looks {
    began: Option<Instant>,
    made: usize,
}

impl Looks {
    /// The number of entries that a directory may have which is made now.
    fn left(&mut self, now: Instant) -> usize {
        if self.began.is_none_or(|began| began + ROW <= now) {
            *self = Looks { began: Some(now), made: 0 };
        }
        FEW.min(LOOKS.saturating_sub(self.made))
    }

    /// Counts the look at a directory with so many entries.
    fn add(&mut self, entries: usize) {
        // The directory itself costs about as much as some entries.
        self.made += entries + 10;
    }
}

impl Observer {
    /// Handles a new directory.
    pub(super) fn directory_made(&mut self, path: RelPath, attached: Attached, now: Instant) {
        let is_watched = matches!(attached, Attached::New | Attached::Known);
        let may_be_linked = is_watched && self.files.linked.recognises() && self.dirs.saw_rsync();
        let below = if may_be_linked { self.below_new(&path, now) } else { None };
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

    /// The entries below a new directory; `None` if they are to be told as a whole.
    fn below_new(&mut self, path: &RelPath, now: Instant) -> Option<Vec<(RelPath, Meta)>> {
        let most = self.looks.left(now);
        if most == 0 || !self.dirs.reach().has_lasting_inodes(path) {
            return None;
        }
        let mut looked = 0;
        let below = self.dirs.entries_below(path, most, &mut looked);
        self.looks.add(looked);
        below
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_new_directories_is_looked_at_in_part() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        for (at, entries, left) in [(0, 2000, 2000), (0, 2000, 2000), (1, 2000, 2000), (1, 2000, 2000), (1, 1500, 1960)]
        {
            let now = start + ROW / 2 * at;
            assert_eq!(looks.left(now), left);
            looks.add(entries);
        }
        assert_eq!(looks.left(start + ROW / 2), 450);
        looks.add(450);
        assert_eq!(looks.left(start + ROW / 2), 0);
        assert_eq!(looks.left(start + ROW), FEW);
    }
}
