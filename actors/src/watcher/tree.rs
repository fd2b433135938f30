//! The places of each watch: an arena of the names of watched directories, found by watch descriptor. Never touches
//! the disk. A directory has one watch, and one place in the tree, or several where mounts show it at more than one.
//! A place follows the inode, so a directory rename is one relinking, whatever is below it.

mod census;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::watcher::watches::WatchDescriptor;

use super::names::{Name, Names, reserve};
use crate::path::RelPath;
use crate::root::walk::PackedNames;

/// No node: the end of a list of siblings, or the parent of the root.
const NONE: u32 = u32::MAX;
/// The parent of a node that is free.
const FREE: u32 = NONE - 1;

/// A place of a watched directory. Valid until it is removed; numbers are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

struct DirId {
    parent: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    watch: WatchDescriptor,
    name: Name,
}

/// The places of the watched directories. Two may claim one name for a moment, while events that tell them apart are still
/// queued.
pub(crate) struct Tree {
    /// A free node counts as none: an `Option` would take memory.
    nodes: Vec<DirId>,
    free: Vec<u32>,
    /// One place of the directory of each watch,
    by_watch: HashMap<i32, u32>,
    /// and the others of the few that have several. A list in each node would cost the usual tree memory.
    others: HashMap<i32, Vec<u32>>,
    names: Names,
}

impl Tree {
    /// A tree that holds only its root.
    pub(crate) fn new(root: WatchDescriptor) -> Self {
        let by_watch = HashMap::from([(root.get_watch_descriptor_id(), 0)]);
        let mut names = Names::default();
        let name = names.add(b"");
        let root = DirId { parent: NONE, first_child: NONE, next: NONE, previous: NONE, watch: root, name };
        Tree { nodes: vec![root], free: Vec::new(), by_watch, others: HashMap::new(), names }
    }

    /// The directory at the top.
    pub(crate) fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// The number of watched directories, the root included, each counted once whatever names it has.
    pub fn count(&self) -> usize {
        self.by_watch.len()
    }

    /// Tells if this watch belongs to a directory of the tree.
    pub(crate) fn knows(&self, watch: i32) -> bool {
        self.by_watch.contains_key(&watch)
    }

    /// The places of the directory that this watch belongs to: mostly one.
    pub(crate) fn places(&self, watch: i32) -> impl Iterator<Item = NodeId> + '_ {
        let others = self.others.get(&watch).map(Vec::as_slice).unwrap_or_default();
        self.by_watch.get(&watch).into_iter().chain(others).copied().map(NodeId)
    }

    /// Tells if any directory has several places.
    pub(crate) fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// The numbers of all watches.
    pub(crate) fn watches(&self) -> impl Iterator<Item = i32> + '_ {
        self.by_watch.keys().copied()
    }

    /// The watch of a directory, `None` if it has been removed.
    pub(crate) fn watch(&self, id: NodeId) -> Option<&WatchDescriptor> {
        self.node(id.0).map(|node| &node.watch)
    }

    /// Returns the parent and the name of a directory; `None` for the root and for a directory that was removed.
    pub(crate) fn entry_of(&self, id: NodeId) -> Option<(NodeId, OsString)> {
        let node = self.node(id.0).filter(|node| node.parent != NONE)?;
        Some((NodeId(node.parent), OsStr::from_bytes(self.names.get(node.name)).to_owned()))
    }

    /// The name of a directory, as far as it is known.
    pub(crate) fn path(&self, id: NodeId) -> RelPath {
        self.path_of(id, Vec::new())
    }

    /// The name of the entry `name` of a directory. Every event asks for one.
    pub(crate) fn entry(&self, id: NodeId, name: &OsStr) -> RelPath {
        self.path_of(id, vec![name.as_bytes()])
    }

    /// `names` are those below the directory, lowest first.
    fn path_of<'a>(&'a self, id: NodeId, mut names: Vec<&'a [u8]>) -> RelPath {
        let mut at = id.0;
        while let Some(node) = self.node(at).filter(|node| node.parent != NONE) {
            names.push(self.names.get(node.name));
            at = node.parent;
        }
        names.reverse();
        RelPath::of_names(&names)
    }

    /// The place of a directory that is the entry `name` of `parent`.
    pub(crate) fn at(&self, watch: i32, parent: NodeId, name: &OsStr) -> Option<NodeId> {
        let is_it = |node: &DirId| node.parent == parent.0 && self.is_named(node, name);
        self.places(watch).find(|id| self.node(id.0).is_some_and(is_it))
    }

    /// Records that the directory with this watch is the entry `name` of `parent`, beside what it may be already.
    pub(crate) fn add(&mut self, watch: WatchDescriptor, parent: NodeId, name: &OsStr) -> NodeId {
        let number = watch.get_watch_descriptor_id();
        let name = self.names.add(name.as_bytes());
        let node = DirId { parent: NONE, first_child: NONE, next: NONE, previous: NONE, watch, name };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                reserve(&mut self.nodes, 1);
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        match self.by_watch.entry(number) {
            Entry::Vacant(first) => drop(first.insert(id)),
            Entry::Occupied(_) => self.others.entry(number).or_default().push(id),
        }
        self.link(id, parent.0);
        NodeId(id)
    }

    /// Records that a place is the entry `name` of `parent` now, with all below it. Returns `false` if the place
    /// would come to lie below itself: the names in the tree are out of date.
    pub(crate) fn relink(&mut self, id: NodeId, parent: NodeId, name: &OsStr) -> bool {
        if self.is_at_or_below(parent, id) {
            return false;
        }
        self.unlink(id.0);
        let name = self.names.add(name.as_bytes());
        if let Some(node) = self.node_mut(id.0) {
            let old = std::mem::replace(&mut node.name, name);
            self.names.forget(old);
        }
        self.link(id.0, parent.0);
        self.pack_names();
        true
    }

    /// The places that claim this name: mostly none or one.
    pub(crate) fn children_named(&self, parent: NodeId, name: &OsStr) -> Vec<NodeId> {
        self.children(parent.0)
            .filter(|&id| self.node(id).is_some_and(|node| self.is_named(node, name)))
            .map(NodeId)
            .collect()
    }

    /// Tells if the tree has the directory of this name.
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        let mut at = vec![self.root()];
        for name in path.as_bytes().split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            at = at.into_iter().flat_map(|dir| self.children_named(dir, OsStr::from_bytes(name))).collect();
        }
        !at.is_empty()
    }

    /// Forgets a place and all below it; returns the watches that have no place any more.
    pub(crate) fn remove(&mut self, id: NodeId) -> Vec<WatchDescriptor> {
        if self.node(id.0).is_none() {
            return Vec::new();
        }
        self.unlink(id.0);
        let mut watches = Vec::new();
        let mut left = vec![id.0];
        while let Some(at) = left.pop() {
            left.extend(self.children(at));
            let Some(node) = self.node_mut(at) else { continue };
            node.parent = FREE;
            let name = node.name;
            let watch = node.watch.clone();
            self.names.forget(name);
            self.free.push(at);
            let is_last = self.unplace(watch.get_watch_descriptor_id(), at);
            watches.extend(is_last.then_some(watch));
        }
        self.pack_names();
        watches
    }

    /// A directory and all that is known below it.
    pub(crate) fn subtree(&self, top: NodeId) -> Vec<NodeId> {
        let mut found = vec![top];
        let mut at = 0;
        while let Some(&dir) = found.get(at) {
            found.extend(self.children(dir.0).map(NodeId));
            at += 1;
        }
        found
    }

    /// Forgets every place at or below `top` that is not in `keep`, with what is below it; returns the watches that have no
    /// place any more.
    pub(crate) fn prune(&mut self, top: NodeId, keep: &HashSet<NodeId>) -> Vec<WatchDescriptor> {
        let mut watches = Vec::new();
        let mut left = vec![top.0];
        while let Some(at) = left.pop() {
            if keep.contains(&NodeId(at)) {
                left.extend(self.children(at));
            } else {
                watches.extend(self.remove(NodeId(at)));
            }
        }
        watches
    }

    /// Takes a place from a watch. Returns `true` if it was the last one.
    fn unplace(&mut self, watch: i32, id: u32) -> bool {
        let Some(others) = self.others.get_mut(&watch) else {
            self.by_watch.remove(&watch);
            return true;
        };
        match others.iter().position(|&other| other == id) {
            Some(at) => drop(others.swap_remove(at)),
            None => drop(others.pop().map(|next| self.by_watch.insert(watch, next))),
        }
        if others.is_empty() {
            self.others.remove(&watch);
        }
        false
    }

    fn is_named(&self, node: &DirId, name: &OsStr) -> bool {
        self.names.get(node.name) == name.as_bytes()
    }

    fn pack_names(&mut self) {
        if self.names.is_sparse() {
            let kept = self.nodes.iter_mut().filter(|node| node.parent != FREE);
            self.names.pack(kept.map(|node| &mut node.name));
        }
    }

    fn is_at_or_below(&self, id: NodeId, top: NodeId) -> bool {
        let mut at = id.0;
        while at != top.0 {
            match self.node(at) {
                Some(node) => at = node.parent,
                None => return false,
            }
        }
        true
    }

    fn children(&self, id: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.node(id).map_or(NONE, |node| node.first_child);
        std::iter::successors((first != NONE).then_some(first), |&at| {
            self.node(at).map(|node| node.next).filter(|&next| next != NONE)
        })
    }

    /// Tells if each directory in this one has one of these names.
    pub(crate) fn has_all_children_in(&self, id: NodeId, names: &PackedNames) -> bool {
        let names: HashSet<&[u8]> = names.iter().collect();
        let mut children = self.children(id.0).filter_map(|child| self.node(child));
        children.all(|child| names.contains(self.names.get(child.name)))
    }

    fn link(&mut self, id: u32, parent: u32) {
        let first = self.node(parent).map_or(NONE, |node| node.first_child);
        if let Some(node) = self.node_mut(id) {
            (node.parent, node.previous, node.next) = (parent, NONE, first);
        }
        if let Some(node) = self.node_mut(first) {
            node.previous = id;
        }
        if let Some(node) = self.node_mut(parent) {
            node.first_child = id;
        }
    }

    fn unlink(&mut self, id: u32) {
        let Some((parent, previous, next)) = self.node(id).map(|n| (n.parent, n.previous, n.next)) else { return };
        if let Some(node) = self.node_mut(next) {
            node.previous = previous;
        }
        if let Some(node) = self.node_mut(previous) {
            node.next = next;
        } else if let Some(node) = self.node_mut(parent) {
            node.first_child = next;
        }
    }

    fn node(&self, id: u32) -> Option<&DirId> {
        self.nodes.get(id as usize).filter(|node| node.parent != FREE)
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut DirId> {
        self.nodes.get_mut(id as usize).filter(|node| node.parent != FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify::{Inotify, WatchMask};

    /// Watches of real directories: a descriptor cannot be made by hand.
    struct Dirs(tempfile::TempDir, Inotify);

    impl Dirs {
        fn new() -> Self {
            Dirs(tempfile::tempdir().unwrap(), Inotify::init().unwrap())
        }

        fn watch(&self, name: &str) -> WatchDescriptor {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            crate::watcher::Watches::of(&self.1).unwrap().add(&path, WatchMask::CREATE).unwrap()
        }
    }

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_moved_directory_takes_what_is_below_it_along() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let root = tree.root();
        let a = tree.add(dirs.watch("a"), root, "a".as_ref());
        let b = tree.add(dirs.watch("a/b"), a, "b".as_ref());
        let c = tree.add(dirs.watch("c"), root, "c".as_ref());
        assert_eq!(tree.path(b), rel("a/b"));
        assert!(tree.relink(a, c, "z".as_ref()));
        assert_eq!((tree.path(b), tree.count()), (rel("c/z/b"), 4));
        assert_eq!(tree.at(dirs.watch("a").get_watch_descriptor_id(), c, "z".as_ref()), Some(a));
    }

    #[test]
    fn a_directory_is_never_placed_below_itself() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let a = tree.add(dirs.watch("a"), tree.root(), "a".as_ref());
        let b = tree.add(dirs.watch("a/b"), a, "b".as_ref());
        assert!(!tree.relink(a, b, "a".as_ref()));
        assert_eq!(tree.path(b), rel("a/b"));
    }

    #[test]
    fn a_directory_with_two_places_is_watched_until_the_last_one_goes() {
        let dirs = Dirs::new();
        let (watch, below) = (dirs.watch("a"), dirs.watch("a/b"));
        let mut tree = Tree::new(dirs.watch(""));
        let root = tree.root();
        let places = ["a", "x", "y"].map(|name| tree.add(watch.clone(), root, name.as_ref()));
        let inner = places.map(|place| tree.add(below.clone(), place, "b".as_ref()));
        assert_eq!((tree.count(), tree.has_others()), (3, true));
        let paths = |tree: &Tree| -> Vec<String> {
            let mut paths: Vec<_> =
                tree.places(below.get_watch_descriptor_id()).map(|id| tree.path(id).to_string()).collect();
            paths.sort();
            paths
        };
        assert_eq!(paths(&tree), ["a/b", "x/b", "y/b"]);
        assert_eq!(tree.remove(places[0]), []);
        assert_eq!((paths(&tree), tree.path(inner[1])), (vec!["x/b".into(), "y/b".into()], rel("x/b")));
        assert_eq!(tree.remove(places[2]), []);
        assert_eq!((tree.has_others(), tree.remove(places[1])), (false, vec![watch, below.clone()]));
        assert_eq!((tree.count(), paths(&tree).len()), (1, 0));
    }

    #[test]
    fn removing_a_directory_forgets_all_below_it_and_nothing_else() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let root = tree.root();
        let ids: Vec<_> = ["a", "b", "c"].map(|n| tree.add(dirs.watch(n), root, n.as_ref())).into();
        let below = tree.add(dirs.watch("b/x"), ids[1], "x".as_ref());
        assert_eq!(tree.remove(ids[1]).len(), 2);
        assert_eq!((tree.watch(ids[1]), tree.watch(below), tree.count()), (None, None, 3));
        assert_eq!(tree.children(root.0).count(), 2);
        assert_eq!(tree.children_named(root, "a".as_ref()), [ids[0]]);
        assert!(tree.children_named(root, "b".as_ref()).is_empty());
    }

    #[test]
    fn names_outlive_the_deletion_of_most_others() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let root = tree.root();
        let kept = tree.add(dirs.watch("kept"), root, "kept".as_ref());
        for round in 0..800 {
            let name = format!("{round:0>200}");
            let gone = tree.add(dirs.watch("gone"), root, name.as_ref());
            assert_eq!((tree.path(gone), tree.path(kept)), (rel(&name), rel("kept")));
            tree.remove(gone);
        }
        assert_eq!((tree.entry(kept, "x".as_ref()), tree.entry(root, "x".as_ref())), (rel("kept/x"), rel("x")));
    }

    #[test]
    fn pruning_keeps_what_was_seen() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let root = tree.root();
        let [a, b] = ["a", "b"].map(|n| tree.add(dirs.watch(n), root, n.as_ref()));
        let below = tree.add(dirs.watch("b/x"), b, "x".as_ref());
        assert_eq!(tree.prune(root, &HashSet::from([root, b])).len(), 2);
        assert_eq!((tree.watch(a), tree.watch(below), tree.path(b)), (None, None, rel("b")));
    }
}
