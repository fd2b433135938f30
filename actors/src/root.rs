//! The source: checks that it is still the directory that the daemon started with, and that its content is complete. A
//! source that was replaced, unmounted, emptied or deleted must not look like a tree whose files were all deleted.

pub(crate) mod arriving;
pub(crate) mod census;
mod identity;
pub(crate) mod linked_names;
pub(crate) mod open_dirs;
pub mod reach;
mod sighting;
pub(crate) mod walk;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::FileType;
use rustix::io::Errno;

use self::arriving::Arriving;
use self::census::Census;
use self::identity::Identity;
use self::linked_names::HardLinks;
use self::reach::Reach;
use self::reach::Silent;
use self::reach::look::Meta;
use self::sighting::{FIRST, Sighting};
use crate::errno::is_gone;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;

/// Names in the second look at what is in the source, before all are listed.
const MORE: u64 = 4096;

/// The directory that was at `wpath` when the daemon started; `wpath` may be a symlink to it. Clones share their state.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    identity: Arc<Identity>,
    /// `None` if any content is accepted.
    guards: Option<Arc<Guards>>,
    /// `true` if the source had no content when it was last looked at.
    was_empty: Arc<AtomicBool>,
    supersedes: bool,
    reach: Reach,
    arriving: Arriving,
    census: Census,
    hard_links: HardLinks,
}

/// The conditions under which entries that are missing in the source count as deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guards {
    /// `true` if the source may be empty.
    pub allow_empty: bool,
    /// Entry that the source must have.
    pub marker: Option<RelPath>,
    /// Patterns of the entries that do not count as content.
    pub excludes: Arc<RwLock<Excludes>>,
}

/// The reason why the source is not the directory that the daemon started with, or is not complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Nothing is at the path, or no directory.
    #[error("the source is missing")]
    Missing,
    /// Another directory is at the path.
    #[error(
        "the source was replaced by another directory: bring the old one back (mount it?), or restart inosync to \
         mirror the new one"
    )]
    Replaced,
    /// The same directory is at the path, but its file system was unmounted meanwhile, so the watches are lost.
    #[error("the source was unmounted, and is mounted again")]
    Remounted,
    /// The source had no content, and another directory, which has some, took its place.
    #[error("the source was empty, and another directory with content took its place: that one is mirrored now")]
    Superseded,
    /// The source holds nothing, or only excluded entries.
    #[error(
        "the source is empty: bring the content back (mount it?), or write allow_empty: true and reload if it is \
         meant to be empty"
    )]
    Emptied,
    /// The entry that the source must have is missing.
    #[error(
        "the marker `{0}` is missing in the source: bring the content back (mount it?), or make the marker again if \
         the source is complete"
    )]
    NoMarker(RelPath),
    /// A file system does not answer: that of the source, or one that is mounted below, so that the source cannot be
    /// compared as a whole.
    #[error("the file system at `{path}` ({kind}) does not answer: mend what serves it, or unmount it (umount -l)", path = .0.path, kind = .0.kind)]
    Silent(Silent),
    /// The source cannot be looked at.
    #[error("the source cannot be looked at: {0}")]
    Unknown(io::ErrorKind),
}

impl RootError {
    /// Tells if the content is missing; such content may come back piece by piece.
    pub(crate) fn is_about_content(&self) -> bool {
        matches!(self, RootError::Emptied | RootError::NoMarker(_))
    }
}

impl Root {
    /// Reads the text of the symlink at a path of the source; `None` if there is something else.
    pub(crate) fn link_text(&self, path: &RelPath) -> Option<Vec<u8>> {
        self.reach.read_link(path).ok()
    }

    /// Lists at most `most` names in a directory of the source; none if the directory cannot be read.
    pub(crate) fn names(&self, dir: &RelPath, most: usize) -> Vec<OsString> {
        self.reach.names(dir, most).unwrap_or_default()
    }

    /// Remembers the directory at `path`, whatever its content.
    ///
    /// # Errors
    /// When there is no directory, or the directory cannot be looked at.
    pub fn of(path: &Path) -> Result<Root, RootError> {
        let reach = Reach::of(path);
        reach.ask_root_patiently().map_err(RootError::Silent)?;
        let (seen, _) = reach.see(path, 0).map_err(|error| unusable(&error))?;
        let identity = Arc::new(Identity::of(seen));
        let was_empty = Arc::default();
        Ok(Root {
            path: path.to_owned(),
            identity,
            guards: None,
            was_empty,
            supersedes: false,
            reach,
            arriving: Arriving::default(),
            census: Census::default(),
            hard_links: HardLinks::default(),
        })
    }

    /// Returns the same source with conditions on its content.
    pub(crate) fn guarded(self, guards: Guards) -> Root {
        let is_empty = self.see(&guards).is_ok_and(|(_, is_empty)| is_empty);
        let was_empty = Arc::new(AtomicBool::new(is_empty));
        Root { guards: Some(Arc::new(guards)), was_empty, ..self }
    }

    /// Replaces, for all clones, the patterns of the entries that do not count as content.
    pub(crate) fn exclude(&self, excludes: Excludes) {
        if let Some(guards) = &self.guards {
            *guards.excludes.write().unwrap_or_else(PoisonError::into_inner) = excludes;
        }
    }

    /// Returns the same source, marked as the successor of an empty one: its content may still be arriving.
    pub(crate) fn superseding(self) -> Root {
        Root { supersedes: true, ..self }
    }

    /// Tells if the source took the place of an empty one.
    pub(crate) fn supersedes(&self) -> bool {
        self.supersedes
    }

    /// Returns the path of the source.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the record of which file systems below the source answer.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Returns the record of what somebody's rsync is bringing into the source.
    pub(crate) fn arriving(&self) -> &Arriving {
        &self.arriving
    }

    /// Returns the count of the directories of the source.
    pub(crate) fn census(&self) -> &Census {
        &self.census
    }

    /// Returns the record of which names of the source belong to one file.
    pub(crate) fn hard_links(&self) -> &HardLinks {
        &self.hard_links
    }

    /// Looks at a path of the source, without following a symlink.
    ///
    /// # Errors
    /// What lstat(2) says; `TimedOut` if the file system there does not answer.
    pub(crate) fn look_at(&self, path: &RelPath) -> io::Result<Meta> {
        self.reach.look(path)
    }

    /// Returns a text that identifies the directory even after a reboot, when its device may have another number.
    pub(crate) fn subject(&self) -> String {
        format!("1 {:?} {} {:?}", self.path, self.identity.inode(), self.identity.made())
    }

    /// Opens the source if it is still the same directory. The open directory stays the same, whatever happens to its
    /// name.
    ///
    /// # Errors
    /// The reason why the source is not the same.
    pub(crate) fn open(&self) -> Result<OwnedFd, RootError> {
        let (seen, directory) = self.reach.see_opened().map_err(|error| self.refused(&error))?;
        if self.identity.is_that_of(&seen) { Ok(directory) } else { Err(RootError::Replaced) }
    }

    /// Tells if a process has the source as its working directory and the source is still at its path. A process may be
    /// left in a directory that was moved away or is covered by a mount.
    pub(crate) fn is_cwd_of(&self, process: i32) -> bool {
        let cwd = PathBuf::from(format!("/proc/{process}/cwd"));
        let seen = |path: &Path| self.reach.see(path, 0).map(|(seen, _)| seen);
        // The name first: a file system that was mounted again may have another device number, which is stored.
        seen(&self.path).is_ok_and(|seen| self.identity.is_that_of(&seen))
            && seen(&cwd).is_ok_and(|seen| self.identity.has_number_of(&seen))
    }

    /// Checks that the same directory is still at the path, whatever its content.
    ///
    /// # Errors
    /// The reason why the source is not the same.
    pub(crate) fn look(&self) -> Result<(), RootError> {
        let Some(guards) = &self.guards else {
            let (seen, _) = self.reach.see(&self.path, 0).map_err(|error| self.refused(&error))?;
            return if self.identity.is_that_of(&seen) { Ok(()) } else { Err(RootError::Replaced) };
        };
        let (seen, is_empty) = self.see(guards).map_err(|error| self.refused(&error))?;
        if self.identity.is_that_of(&seen) {
            self.was_empty.store(is_empty, Ordering::Release);
            Ok(())
        } else if self.was_empty.load(Ordering::Acquire) && !is_empty && guards.missing_marker(&self.reach).is_none() {
            // An empty directory is given up for one with content: it is the place where a file system was to be
            // mounted.
            Err(RootError::Superseded)
        } else {
            Err(RootError::Replaced)
        }
    }

    /// Looks at the directory that is at the path, and tells if it holds only excluded entries. One that cannot be listed
    /// counts as having content.
    fn see(&self, guards: &Guards) -> io::Result<(Sighting, bool)> {
        for most in [FIRST, MORE] {
            let (seen, entries) = self.reach.see(&self.path, most)?;
            let Some(entries) = entries else { return Ok((seen, false)) };
            let is_empty = guards.excludes_all(&entries);
            if !is_empty || (entries.len() as u64) < most {
                return Ok((seen, is_empty));
            }
        }
        let (seen, entries) = self.reach.see(&self.path, u64::from(u32::MAX))?;
        Ok((seen, entries.is_some_and(|entries| guards.excludes_all(&entries))))
    }

    fn refused(&self, error: &io::Error) -> RootError {
        let silent = if error.kind() == io::ErrorKind::TimedOut { self.reach.root_silent() } else { None };
        silent.map_or_else(|| unusable(error), RootError::Silent)
    }

    /// Checks that the same directory is still at the path and that its content is complete. Called just before
    /// anything is sent.
    ///
    /// # Errors
    /// The reason why nothing may be sent.
    pub fn check(&self) -> Result<(), RootError> {
        self.look()?;
        let Some(guards) = &self.guards else { return Ok(()) };
        if !guards.allow_empty && self.was_empty.load(Ordering::Acquire) {
            return Err(RootError::Emptied);
        }
        guards.missing_marker(&self.reach).map_or(Ok(()), |marker| Err(RootError::NoMarker(marker)))
    }
}

impl Guards {
    fn excludes_all(&self, entries: &[(OsString, FileType)]) -> bool {
        let excludes = self.excludes.read().unwrap_or_else(PoisonError::into_inner);
        let is_excluded = |(name, kind): &(OsString, FileType)| {
            excludes.matching(&RelPath::root().join(name), *kind == FileType::Directory).is_some()
        };
        entries.iter().all(is_excluded)
    }

    /// Returns the marker if it is missing. A marker on a file system that does not answer does not count as missing.
    fn missing_marker(&self, reach: &Reach) -> Option<RelPath> {
        let is_missing = |error: io::Error| error.kind() != io::ErrorKind::TimedOut;
        self.marker.clone().filter(|marker| reach.look(marker).is_err_and(is_missing))
    }
}

fn unusable(error: &io::Error) -> RootError {
    let is_missing = error.kind() == io::ErrorKind::NotADirectory || Errno::from_io_error(error).is_some_and(is_gone);
    if is_missing { RootError::Missing } else { RootError::Unknown(error.kind()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_replaced_or_missing_root_is_told_from_the_one_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        fs::create_dir(&path).unwrap();
        let root = Root::of(&path).unwrap();
        assert_eq!(root.check(), Ok(()));
        fs::rename(&path, dir.path().join("old")).unwrap();
        assert_eq!(root.check(), Err(RootError::Missing));
        fs::create_dir(&path).unwrap();
        assert_eq!(root.check(), Err(RootError::Replaced));
        assert_eq!(root.open().err(), Some(RootError::Replaced));
        fs::remove_dir(&path).unwrap();
        assert_eq!(root.check(), Err(RootError::Missing));
        std::os::unix::fs::symlink("other", &path).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        assert_eq!(root.open().err(), Some(RootError::Replaced), "a symlink was pointed elsewhere");
        fs::remove_file(&path).unwrap();
        fs::rename(dir.path().join("old"), &path).unwrap();
        assert_eq!(root.check(), Ok(()));
        assert!(root.open().is_ok());
    }

    #[test]
    fn a_process_is_in_the_source_only_while_the_source_is_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("root"), dir.path().join("aside"));
        fs::create_dir(&path).unwrap();
        let root = Root::of(&path).unwrap();
        let mut waits = std::process::Command::new("sleep").arg("60").current_dir(&path).spawn().unwrap();
        let process = waits.id().cast_signed();
        assert!(root.is_cwd_of(process));
        assert!(!root.is_cwd_of(std::process::id().cast_signed()), "it works elsewhere");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!root.is_cwd_of(process), "the source was moved away and made anew");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert!(root.is_cwd_of(process), "it is back");
        waits.kill().unwrap();
        waits.wait().unwrap();
        assert!(!root.is_cwd_of(process), "the process is gone");
    }

    fn guarded(path: &Path, excluded: &str, allow_empty: bool, marker: Option<&str>) -> Root {
        let excludes = Excludes::new(vec![excluded.to_owned()]).unwrap();
        let marker = marker.map(|name| RelPath::new(name.as_bytes()).unwrap());
        let excludes = Arc::new(RwLock::new(excludes));
        Root::of(path).unwrap().guarded(Guards { allow_empty, marker, excludes })
    }

    #[test]
    fn a_source_without_content_is_told_from_one_with_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let root = guarded(path, "*.tmp", false, None);
        assert_eq!(root.check(), Err(RootError::Emptied), "at the start");
        assert_eq!(guarded(path, "*.tmp", true, None).check(), Ok(()), "it may be empty");
        assert_eq!(Root::of(path).unwrap().check(), Ok(()), "nobody asked");
        for (name, verdict) in [("x.tmp", Err(RootError::Emptied)), (".hidden", Ok(())), ("dir/", Ok(()))] {
            let entry = path.join(name);
            if name.ends_with('/') {
                fs::create_dir(&entry).unwrap()
            } else {
                fs::write(&entry, "").unwrap()
            }
            assert_eq!(root.check(), verdict, "{name}");
            if name.ends_with('/') { fs::remove_dir(&entry).unwrap() } else { fs::remove_file(&entry).unwrap() }
        }
        assert_eq!(root.check(), Err(RootError::Emptied), "emptied");
        assert_eq!(root.look(), Ok(()), "but it is the same");
    }

    #[test]
    fn a_source_without_its_marker_is_not_taken_for_complete() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let root = guarded(dir.path(), "*.tmp", false, Some("d/.here"));
        assert!(matches!(root.check(), Err(RootError::NoMarker(_))));
        std::os::unix::fs::symlink("nowhere", dir.path().join("d/.here")).unwrap();
        assert_eq!(root.check(), Ok(()), "the entry itself counts, not what it points to");
    }

    #[test]
    fn a_directory_with_content_supersedes_an_empty_one_and_no_other() {
        for (old, new, expected) in [
            (None, Some("file"), RootError::Superseded),
            (None, None, RootError::Replaced),
            (None, Some("x.tmp"), RootError::Replaced),
            (Some("file"), Some("file"), RootError::Replaced),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("root");
            fs::create_dir(&path).unwrap();
            let root = guarded(&path, "*.tmp", false, None);
            let _ = old.map(|name| fs::write(path.join(name), "").unwrap());
            let _ = root.check();
            fs::rename(&path, dir.path().join("old")).unwrap();
            assert_eq!(root.check(), Err(RootError::Missing));
            fs::create_dir(&path).unwrap();
            let _ = new.map(|name| fs::write(path.join(name), "").unwrap());
            assert_eq!((root.check(), root.look()), (Err(expected.clone()), Err(expected)), "{old:?} {new:?}");
        }
    }
}
