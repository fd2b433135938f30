//! What the source says of an entry that differs: where it can be looked at again, and whether it changed meanwhile.

use std::io;
use std::time::{Duration, SystemTime};

use crate::path::RelPath;
use crate::root::reach::Reach;
use crate::root::reach::look::Meta;
use crate::transport::comparison::Difference;

/// The most by which a time stamp of the file system that is made now may be older than the clock.
const COARSE: Duration = Duration::from_secs(1);

/// The source tree on disk.
#[derive(Debug, Clone)]
pub(crate) struct SourceView(pub Reach);

/// A place at which an entry can be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryPlace {
    /// As what the source has by this name.
    Entry(RelPath),
    /// In this directory of the source, which does not have it.
    Level(RelPath),
}

impl SourceView {
    /// Returns the place at which to look at an entry again; `None` if it came or went.
    pub(crate) fn place(&self, path: &RelPath, difference: Difference) -> Option<EntryPlace> {
        if difference != Difference::OnlyThere {
            return (self.exists(path) && self.has_directories_above(path)).then(|| EntryPlace::Entry(path.clone()));
        }
        let parent = path.parent().filter(|_| !self.exists(path))?;
        let above = self.meta(&parent).ok().filter(|_| self.has_directories_above(&parent))?;
        Some(if above.is_dir() { EntryPlace::Level(parent) } else { EntryPlace::Entry(parent) })
    }

    /// Tells if the source has it.
    pub(crate) fn exists(&self, path: &RelPath) -> bool {
        self.meta(path).is_ok()
    }

    /// Tells if something changed since then that this entry's being different may come from.
    pub(crate) fn changed(&self, path: &RelPath, difference: Difference, since: SystemTime) -> bool {
        let since = since - COARSE;
        let parent = if difference == Difference::OnlyThere { path.parent() } else { None };
        let subject = parent.as_ref().unwrap_or(path);
        let Ok(meta) = self.meta(subject) else { return true };
        // What comes and goes in a directory does not make it a missing one.
        let itself = match difference {
            Difference::Missing if meta.is_dir() => self.has_come(subject, &meta, since),
            // What is sent to a directory changes its times at the node, until rsync sets them.
            Difference::Attributes if meta.is_dir() => {
                meta.changed_at() >= since || self.has_changed_in(subject, since)
            }
            _ => meta.changed_at() >= since,
        };
        itself || subject.ancestors().any(|dir| self.meta(&dir).map_or(true, |meta| self.has_come(&dir, &meta, since)))
    }

    /// Returns the reason why a file of the source cannot be read, if it cannot.
    pub(crate) fn unreadable(&self, path: &RelPath) -> Option<io::ErrorKind> {
        self.meta(path).ok().filter(Meta::is_file)?;
        self.0.try_to_read(path).err().map(|error| error.kind())
    }

    fn has_changed_in(&self, dir: &RelPath, since: SystemTime) -> bool {
        // What cannot be listed may have changed.
        let Ok(names) = self.0.names(dir, usize::MAX) else { return true };
        names.iter().any(|name| self.meta(&dir.join(name)).map_or(true, |meta| meta.changed_at() >= since))
    }

    /// Tells if a directory was made, or came by a rename, since then. A rename changes its change time alone.
    fn has_come(&self, path: &RelPath, meta: &Meta, since: SystemTime) -> bool {
        let is_renamed = meta.changed() != meta.modified();
        meta.changed_at() >= since && (is_renamed || self.0.born(path).map_or(true, |made| made >= since))
    }

    fn meta(&self, path: &RelPath) -> io::Result<Meta> {
        self.0.look(path)
    }

    /// rsync follows a symlink above what is listed.
    fn has_directories_above(&self, path: &RelPath) -> bool {
        path.ancestors().all(|dir| self.meta(&dir).is_ok_and(|meta| meta.is_dir()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    /// A tree with `d/f`, `d/e/` and a symlink `link` to `d`.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        fs::write(dir.path().join("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("link")).unwrap();
        dir
    }

    #[test]
    fn an_entry_is_looked_at_by_itself_and_one_that_is_missing_here_in_its_directory() {
        use Difference::{Content, Missing, OnlyThere};
        let dir = tree();
        let (entry, level) = (|path| Some(EntryPlace::Entry(rel(path))), |path| Some(EntryPlace::Level(rel(path))));
        for (path, difference, expected) in [
            ("d/f", Content, entry("d/f")),
            ("", Missing, entry("")),
            ("d/gone", Content, None),
            ("d/extra", OnlyThere, level("d")),
            ("extra", OnlyThere, level("")),
            ("d/f", OnlyThere, None),
            // The node has a directory where the source has a file, or a link.
            ("d/f/extra", OnlyThere, entry("d/f")),
            ("link/extra", OnlyThere, entry("link")),
            ("link/f", Content, None),
            ("link/e/extra", OnlyThere, None),
            ("gone/extra", OnlyThere, None),
        ] {
            assert_eq!(
                SourceView(Reach::of(dir.path())).place(&rel(path), difference),
                expected,
                "{path} {difference:?}"
            );
        }
    }

    #[test]
    fn a_difference_may_come_from_what_changed_or_was_moved_meanwhile() {
        use Difference::{Attributes, Content, Missing, OnlyThere};
        let (dir, now, hour) = (tree(), SystemTime::now(), Duration::from_secs(3600));
        let sight = SourceView(Reach::of(dir.path()));
        for (path, difference) in [("d/f", Content), ("d/e", Missing), ("d/extra", OnlyThere), ("d", Attributes)] {
            assert!(sight.changed(&rel(path), difference, now - hour), "{path}");
            assert!(!sight.changed(&rel(path), difference, now + hour), "{path}");
        }
        assert!(sight.changed(&rel("gone"), Content, now + hour));
        assert!(sight.changed(&rel("gone/extra"), OnlyThere, now + hour));
    }

    #[test]
    fn only_a_file_can_be_unreadable() {
        let dir = tree();
        for path in ["d", "d/f", "link", "gone"] {
            assert_eq!(SourceView(Reach::of(dir.path())).unreadable(&rel(path)), None, "{path}");
        }
    }
}
