//! Directories of the source that are kept open, for looks that go through the tree in order: by an open directory, the next
//! one in it takes one system call and not one for each name of its path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};

use super::reach::Reach;
use crate::path::RelPath;

/// Directories that are kept open at most. Deeper ones are opened by their whole path.
const OPEN: usize = 64;

/// The directory that was opened last, and those above it.
pub(crate) struct OpenDirs<'r> {
    reach: &'r Reach,
    /// Each lies in the one before; the first is the top.
    open: Vec<OpenDir>,
}

struct OpenDir {
    path: RelPath,
    opened: Arc<OwnedFd>,
    /// The mount that may hang and held the directory when it was opened.
    point: Option<RelPath>,
}

impl<'r> OpenDirs<'r> {
    pub(crate) fn new(reach: &'r Reach) -> Self {
        OpenDirs { reach, open: Vec::new() }
    }

    /// Opens a directory to be read. No symlink is followed below the top. A directory that is open already may have got
    /// another name meanwhile.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(crate) fn open(&mut self, dir: &RelPath) -> io::Result<Arc<OwnedFd>> {
        while self.open.pop_if(|above| above.path != *dir && !dir.is_below(&above.path)).is_some() {}
        // What was unmounted since is still there for who has it open, and would be looked at where a look may not hang.
        while self.open.pop_if(|above| self.reach.point(&above.path) != above.point).is_some() {}
        if dir.depth() >= OPEN {
            return self.reach.open_below(dir);
        }
        if let Some(OpenDir { opened, .. }) = self.open.last().filter(|last| last.path == *dir) {
            // It may have been listed.
            seek(opened, SeekFrom::Start(0))?;
            return Ok(opened.clone());
        }
        let mut opened = self.open.last().map(|above| above.opened.clone());
        for depth in self.open.len()..=dir.depth() {
            let path = dir.prefix(depth);
            let point = self.reach.point(&path);
            let next = match &opened {
                Some(above) => self.reach.open_in(above, &path, OsStr::from_bytes(path.name()))?,
                None => self.reach.open_below(&path)?,
            };
            opened = Some(next.clone());
            self.open.push(OpenDir { path, opened: next, point });
        }
        opened.map_or_else(|| self.reach.open_below(dir), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::walk::PackedNames;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn each_directory_is_the_one_of_its_path_in_whatever_order_they_are_opened() {
        let tree = tempfile::tempdir().unwrap();
        let deep = (0..OPEN + 2).map(|_| "deep").collect::<Vec<_>>().join("/");
        let dirs = ["", "a", "a/b", "a/b/c", "a-b", "a/c", "d/e/f", "a/b", "", &deep, "a/b/c", &deep].map(rel);
        dirs.iter().for_each(|dir| std::fs::create_dir_all(dir.under(tree.path())).unwrap());
        let reach = Reach::of(tree.path());
        let mut open = OpenDirs::new(&reach);
        for dir in &dirs {
            let inode = |stat: rustix::fs::Stat| stat.st_ino;
            let opened = rustix::fs::fstat(open.open(dir).unwrap()).unwrap();
            assert_eq!(inode(opened), inode(rustix::fs::stat(dir.under(tree.path())).unwrap()), "{dir}");
            assert!(open.open.len() <= OPEN);
        }
    }

    #[test]
    fn a_directory_that_was_listed_is_listed_again_from_its_start() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("a/b")).unwrap();
        let reach = Reach::of(tree.path());
        let mut open = OpenDirs::new(&reach);
        let mut names = PackedNames::default();
        for _ in 0..2 {
            reach.names_in(&open.open(&rel("a")).unwrap(), &rel("a"), &mut names).unwrap();
            assert_eq!(names.iter().collect::<Vec<_>>(), [b"b"]);
        }
    }

    #[test]
    fn no_symlink_and_nothing_below_one_is_opened() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("real/below")).unwrap();
        std::os::unix::fs::symlink("real", tree.path().join("link")).unwrap();
        let reach = Reach::of(tree.path());
        let mut open = OpenDirs::new(&reach);
        for (path, is_open) in [("link", false), ("link/below", false), ("real/below", true), ("link/below", false)] {
            assert_eq!(open.open(&rel(path)).is_ok(), is_open, "{path}");
        }
    }
}
