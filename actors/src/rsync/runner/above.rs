//! The directories above what a run deletes. rsync sends each of them along, and so the node makes a directory of whatever
//! somebody planted in its place. One that is gone when rsync looks is not sent: the node would then follow a planted symlink, and
//! delete what it leads to. So rsync learns the end of its list when the directories were seen once more, as they were.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::path::RelPath;
use crate::root::reach::Reach;
use crate::root::reach::look::FileId;
use crate::rsync::recipe::ancestors;

/// The directories above some entries, as they were at one moment.
#[derive(Debug)]
pub(crate) struct Above {
    reach: Reach,
    seen: Vec<(RelPath, Option<DirIdentity>)>,
}

/// Tells one directory from a later one of the same name, which may get the inode of the first.
#[derive(Debug, PartialEq, Eq)]
struct DirIdentity {
    file: FileId,
    /// Where the file system keeps that time.
    born: Option<SystemTime>,
}

impl Above {
    /// Looks at the directories above some entries, without the root: that is checked by itself.
    pub(crate) fn of<'p>(reach: &Reach, entries: impl IntoIterator<Item = &'p RelPath>) -> Above {
        let dirs: BTreeSet<RelPath> = ancestors(entries);
        let look = |dir| {
            let seen = identity(reach, &dir);
            (dir, seen)
        };
        Above { reach: reach.clone(), seen: dirs.into_iter().map(look).collect() }
    }

    /// Tells if there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Tells if each of them was a directory, and is still the same.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changed().next().is_none()
    }

    /// Splits entries: those below directories that are still the same, and the others.
    pub(crate) fn split(&self, entries: BTreeSet<RelPath>) -> (BTreeSet<RelPath>, BTreeSet<RelPath>) {
        let changed: BTreeSet<&RelPath> = self.changed().collect();
        entries.into_iter().partition(|path| !path.ancestors().any(|dir| changed.contains(&dir)))
    }

    fn changed(&self) -> impl Iterator<Item = &RelPath> {
        let is_same =
            |(dir, seen): &&(RelPath, Option<DirIdentity>)| seen.is_some() && identity(&self.reach, dir) == *seen;
        self.seen.iter().filter(move |dir| !is_same(dir)).map(|(dir, _)| dir)
    }
}

/// The identity of a directory; `None` if none is there.
fn identity(reach: &Reach, dir: &RelPath) -> Option<DirIdentity> {
    let meta = reach.look(dir).ok().filter(|meta| meta.is_dir())?;
    Some(DirIdentity { file: meta.file_id(), born: reach.born(dir).ok() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn directories_that_go_or_are_replaced_or_were_never_there_have_changed() {
        for (change, is_unchanged) in [
            ("", true),
            ("rm d/sub/other", true),
            ("mkdir d/sub/new && chmod 700 d/sub", true),
            ("rm -r d", false),
            // The clock of the file system is coarse.
            ("sleep 0.02; rm -r d/sub && mkdir d/sub", false),
            ("rm -r d/sub && ln -s . d/sub", false),
            ("mv d e && cp -r e d", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("d/sub")).unwrap();
            fs::write(dir.path().join("d/sub/other"), "other").unwrap();
            let path = RelPath::new(b"d/sub/gone").unwrap();
            let above = Above::of(&Reach::of(dir.path()), [&path]);
            let done = std::process::Command::new("sh").args(["-c", change]).current_dir(dir.path()).status().unwrap();
            assert!(done.success(), "{change}");
            assert_eq!(above.is_unchanged(), is_unchanged, "{change}");
            let entries = BTreeSet::from([path, RelPath::new(b"e").unwrap()]);
            assert_eq!(above.split(entries).0.len(), 1 + usize::from(is_unchanged), "{change}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(!Above::of(&Reach::of(dir.path()), [&RelPath::new(b"d/gone").unwrap()]).is_unchanged());
        assert!(Above::of(&Reach::of(dir.path()), [&RelPath::new(b"gone").unwrap()]).is_unchanged());
    }
}
