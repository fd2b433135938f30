//! The most paths that a hook is told in one run, by their number and by their bytes.

use crate::path::RelPath;

/// Number of paths that are kept for a run. A list that hits this limit, or [`BYTES`], is marked as incomplete.
pub(crate) const PATHS: usize = 100_000;

/// Total length in bytes of the paths that are kept for a run.
pub(crate) const BYTES: usize = 16 << 20;

/// Remaining space in a list of paths, by number and by total length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    paths: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { paths: PATHS, bytes: BYTES }
    }
}

impl Room {
    /// Makes room for `paths` paths.
    #[cfg(test)]
    pub(crate) fn of(paths: usize) -> Room {
        Room { paths, ..Room::default() }
    }

    /// Takes the space for a path. Returns false, and takes none, if the path does not fit.
    pub(crate) fn take(&mut self, path: &RelPath) -> bool {
        let bytes = path.as_bytes().len();
        let fits = self.paths > 0 && self.bytes >= bytes;
        if fits {
            (self.paths, self.bytes) = (self.paths - 1, self.bytes - bytes);
        }
        fits
    }

    /// Gives back the space of a path that has left the list.
    pub(crate) fn give_back(&mut self, path: &RelPath) {
        (self.paths, self.bytes) = (self.paths + 1, self.bytes + path.as_bytes().len());
    }
}
