//! A walk over the directories of the source on several threads. Each thread goes depth first through directories of its
//! own, and gives half of them away when another thread has none left.

use std::ffi::OsStr;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon_core::{Scope, ThreadPoolBuilder};

use super::reach::Reach;
use crate::path::RelPath;

/// Threads of a walk at most: past that they wait for each other in the kernel.
const THREADS: usize = 16;
/// Directories that a walk keeps open to find those below them. What is below further ones is opened by its whole path.
const OPEN: usize = 128;

/// Names of entries, packed: a directory may have a million of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedNames(Vec<u8>);

impl PackedNames {
    /// Takes names with a NUL byte after each.
    pub(super) fn packed(bytes: Vec<u8>) -> PackedNames {
        PackedNames(bytes)
    }

    /// Adds a name, which has no NUL byte.
    pub(crate) fn push(&mut self, name: &[u8]) {
        self.0.extend_from_slice(name);
        self.0.push(0);
    }

    /// Takes out all names, and keeps the room for others.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The names, with a NUL byte after each.
    pub(super) fn into_packed(self) -> Vec<u8> {
        self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split_inclusive(|&byte| byte == 0).map(|name| name.strip_suffix(b"\0").unwrap_or(name))
    }

    /// Takes out the name that was added last.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.0.pop()?;
        let start = self.0.iter().rposition(|&byte| byte == 0).map_or(0, |nul| nul + 1);
        Some(self.0.split_off(start))
    }

    /// Takes out the names of the first half, at least one.
    fn split(&mut self) -> PackedNames {
        let middle = self.0.len() / 2;
        let end = self.0.iter().skip(middle).position(|&byte| byte == 0).map_or(0, |nul| middle + nul + 1);
        let rest = self.0.split_off(end);
        PackedNames(std::mem::replace(&mut self.0, rest))
    }
}

/// The work at each directory. Several threads call it.
pub(crate) trait Visitor: Sync {
    /// The knowledge of a directory that is wanted where its subdirectories are visited.
    type Known: Copy + Send;

    /// Visits an open directory. Returns its subdirectories to go into, `None` for no further.
    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, parent: Self::Known) -> Option<(Self::Known, PackedNames)>;

    /// Is told a directory that could not be opened.
    fn missed(&self, path: RelPath, error: io::Error);
}

/// A directory whose subdirectories are still to be visited.
pub(crate) struct Start<K> {
    pub path: RelPath,
    pub opened: Arc<OwnedFd>,
    pub known: K,
    pub names: PackedNames,
}

/// As [`Start`]; `opened` is `None` where too many are open.
struct Level<K> {
    path: RelPath,
    opened: Option<Held>,
    known: K,
    names: PackedNames,
}

/// An open directory that counts among those of the walk.
#[derive(Clone)]
struct Held(Arc<Counted>);

struct Counted {
    opened: Arc<OwnedFd>,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Walk<'v, V> {
    reach: &'v Reach,
    visitor: &'v V,
    open: Arc<AtomicUsize>,
}

/// The number of threads that a walk uses here.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS)
}

/// Visits everything below a directory of the source. No symlink is followed.
pub(crate) fn walk<V: Visitor>(reach: &Reach, start: Start<V::Known>, visitor: &V) {
    let walk = Walk { reach, visitor, open: Arc::default() };
    let Start { path, opened, known, names } = start;
    let levels = vec![Level { path, opened: walk.hold(opened), known, names }];
    // The threads end with the walk: it is rare. Where there can be none, this thread does it all.
    match ThreadPoolBuilder::new().num_threads(threads()).thread_name(|_| "walk".into()).build() {
        Ok(pool) if threads() > 1 => pool.scope(|scope| walk.work(Some(scope), levels)),
        _ => walk.work(None, levels),
    }
}

impl<'v, V: Visitor> Walk<'v, V> {
    fn work<'s>(&'s self, scope: Option<&Scope<'s>>, mut levels: Vec<Level<V::Known>>) {
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let known = level.known;
            let path = level.path.join(OsStr::from_bytes(&name));
            match self.open(level.opened.as_ref(), &path, &name) {
                Ok(opened) => {
                    if let Some((known, names)) = self.visitor.visit(&path, &opened, known)
                        && !names.is_empty()
                    {
                        levels.push(Level { path, opened: self.hold(opened), known, names });
                    }
                }
                Err(error) => self.visitor.missed(path, error),
            }
            // An empty queue of this thread: whatever it had to give away was taken.
            if let Some(scope) = scope
                && rayon_core::current_thread_has_pending_tasks() == Some(false)
                && let Some(half) = halve(&mut levels)
            {
                scope.spawn(move |scope| self.work(Some(scope), vec![half]));
            }
        }
    }

    fn open(&self, above: Option<&Held>, path: &RelPath, name: &[u8]) -> io::Result<Arc<OwnedFd>> {
        match above {
            Some(Held(above)) => self.reach.open_in(&above.opened, path, OsStr::from_bytes(name)),
            None => self.reach.open_below(path),
        }
    }

    fn hold(&self, opened: Arc<OwnedFd>) -> Option<Held> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= OPEN {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Held(Arc::new(Counted { opened, open: self.open.clone() })))
    }
}

/// Takes some of the work out, the topmost, since most may lie below it; `None` if there is too little.
fn halve<K: Copy>(levels: &mut Vec<Level<K>>) -> Option<Level<K>> {
    levels.retain(|level| !level.names.is_empty());
    let has_more = levels.len() > 1;
    let top = levels.first_mut()?;
    let half = top.names.split();
    if top.names.is_empty() && !has_more {
        // A single name is no work for two.
        top.names = half;
        return None;
    }
    Some(Level { path: top.path.clone(), opened: top.opened.clone(), known: top.known, names: half })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;
    use crate::root::reach::look::directories;

    #[test]
    fn names_are_taken_out_one_by_one_or_by_halves() {
        let packed = |names: &[&str]| {
            let mut packed = PackedNames::default();
            names.iter().for_each(|name| packed.push(name.as_bytes()));
            packed
        };
        for (names, first, rest) in [
            (vec!["a"], vec!["a"], vec![]),
            (vec!["a", "b"], vec!["a", "b"], vec![]),
            (vec!["a", "bb", "c", "d"], vec!["a", "bb"], vec!["c", "d"]),
            (vec!["a", "long-name", "c"], vec!["a", "long-name"], vec!["c"]),
        ] {
            let mut names = packed(&names);
            assert_eq!((names.split(), names), (packed(&first), packed(&rest)));
        }
        let mut names = packed(&["a", "bb"]);
        assert_eq!([names.pop(), names.pop(), names.pop()], [Some(b"bb".to_vec()), Some(b"a".to_vec()), None]);
    }

    struct Collect(Mutex<(Vec<RelPath>, Vec<RelPath>)>);

    impl Visitor for Collect {
        type Known = usize;

        fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, depth: usize) -> Option<(usize, PackedNames)> {
            assert_eq!(path.depth(), depth + 1, "each is told what is known of its parent");
            self.0.lock().unwrap().0.push(path.clone());
            Some((depth + 1, directories(opened).unwrap()))
        }

        fn missed(&self, path: RelPath, _: io::Error) {
            self.0.lock().unwrap().1.push(path);
        }
    }

    fn visited(root: &std::path::Path) -> (Vec<RelPath>, Vec<RelPath>) {
        let reach = Reach::of(root);
        let opened = reach.open(&RelPath::root(), false).unwrap();
        let names = directories(&opened).unwrap();
        let collect = Collect(Mutex::default());
        walk(&reach, Start { path: RelPath::root(), opened, known: 0, names }, &collect);
        collect.0.into_inner().unwrap()
    }

    #[test]
    fn each_directory_is_visited_once_however_wide_and_deep_the_tree_is() {
        let tree = tempfile::tempdir().unwrap();
        let mut made = BTreeSet::new();
        // A comb: at each of many levels one directory goes on, and another one waits.
        let mut deep = String::new();
        for level in 0..3 * OPEN {
            made.extend([format!("{deep}tooth"), format!("{deep}on")]);
            std::fs::create_dir(tree.path().join(format!("{deep}tooth"))).unwrap();
            deep += "on/";
            std::fs::create_dir(tree.path().join(&deep)).unwrap();
            let wide = format!("wide{level}");
            std::fs::create_dir(tree.path().join(&wide)).unwrap();
            made.insert(wide);
        }
        std::os::unix::fs::symlink("on", tree.path().join("link")).unwrap();
        let (visited, missed) = visited(tree.path());
        assert_eq!((visited.len(), missed), (made.len(), vec![]));
        assert_eq!(visited.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), made);
    }

    #[test]
    fn a_directory_that_vanished_is_told() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("there")).unwrap();
        let reach = Reach::of(tree.path());
        let opened = reach.open(&RelPath::root(), false).unwrap();
        let mut names = directories(&opened).unwrap();
        names.push(b"gone");
        let collect = Collect(Mutex::default());
        walk(&reach, Start { path: RelPath::root(), opened, known: 0, names }, &collect);
        let path = |name: &str| RelPath::new(name.as_bytes()).unwrap();
        assert_eq!(collect.0.into_inner().unwrap(), (vec![path("there")], vec![path("gone")]));
    }
}
