//! New directories where an rsync writes, of which each entry is told by itself: so nothing is sent of a file that has a new
//! name in one, until its other name had the time to go.

use std::time::{Duration, Instant};

use crate::path::RelPath;
use crate::root::reach::look::Meta;
use crate::watcher::dirs::Dirs;

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

    /// The entries below a new directory; `None` if they are to be told as a whole.
    pub(super) fn below(&mut self, path: &RelPath, dirs: &mut Dirs, now: Instant) -> Option<Vec<(RelPath, Meta)>> {
        let most = self.left(now);
        if most == 0 || !dirs.reach().has_lasting_inodes(path) {
            return None;
        }
        let mut looked = 0;
        let below = dirs.entries_below(path, most, &mut looked);
        self.add(looked);
        below
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
