//! Which directory each watch belongs to: an arena of watched directories, found by watch descriptor.
//! It never touches the disk. A node follows the inode, so a directory rename is one relinking, whatever is below it.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use inotify::WatchDescriptor;

use super::names::{Name, Names};
use crate::path::RelPath;

/// No node: the end of a list of siblings, or the parent of the root.
const NONE: u32 = u32::MAX;

/// A watched directory. Valid until it is removed; numbers are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

struct Node {
    parent: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    watch: WatchDescriptor,
    name: Name,
}

/// What [`Tree::place`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Placed {
    /// The watch is new: the directory has not been scanned yet.
    New(NodeId),
    /// The directory was known at this very name.
    Known(NodeId),
    /// The directory was known at another name and has been moved here with all that is below it.
    Moved(NodeId),
    /// The directory would come to lie below itself: the names in the tree are out of date.
    Tangled,
}

/// The watched directories. Two nodes may claim one name for a moment, while events that tell them apart are still
/// queued; the descriptor is what identifies a node.
pub struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    by_watch: HashMap<i32, u32>,
    names: Names,
}

impl Tree {
    /// A tree that holds only its root.
    pub fn new(root: WatchDescriptor) -> Self {
        let by_watch = HashMap::from([(root.get_watch_descriptor_id(), 0)]);
        let mut names = Names::default();
        let name = names.add(b"");
        let root = Node { parent: NONE, first_child: NONE, next: NONE, previous: NONE, watch: root, name };
        Tree { nodes: vec![Some(root)], free: Vec::new(), by_watch, names }
    }

    /// The directory at the top.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// The number of watched directories, the root included.
    pub fn count(&self) -> usize {
        self.by_watch.len()
    }

    /// The directory that this watch belongs to.
    pub fn by_watch(&self, watch: i32) -> Option<NodeId> {
        self.by_watch.get(&watch).copied().map(NodeId)
    }

    /// The watch of a directory, `None` if it has been removed.
    pub fn watch(&self, id: NodeId) -> Option<&WatchDescriptor> {
        self.node(id.0).map(|node| &node.watch)
    }

    /// Which entry of which directory this one is; `None` for the root and for what has been removed.
    pub fn entry_of(&self, id: NodeId) -> Option<(NodeId, OsString)> {
        let node = self.node(id.0).filter(|node| node.parent != NONE)?;
        Some((NodeId(node.parent), OsStr::from_bytes(self.names.get(node.name)).to_owned()))
    }

    /// The name of a directory, as far as it is known.
    pub fn path(&self, id: NodeId) -> RelPath {
        self.path_of(id, Vec::new())
    }

    /// The name of the entry `name` of a directory. Every event asks for one.
    pub fn entry(&self, id: NodeId, name: &OsStr) -> RelPath {
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

    /// Records that the directory with this watch is the entry `name` of `parent`.
    pub fn place(&mut self, watch: WatchDescriptor, parent: NodeId, name: &OsStr) -> Placed {
        let Some(id) = self.by_watch(watch.get_watch_descriptor_id()) else {
            return Placed::New(self.insert(watch, parent, name));
        };
        let same = self.node(id.0).is_some_and(|node| node.parent == parent.0 && self.is_named(node, name));
        if same {
            return Placed::Known(id);
        }
        if self.is_at_or_below(parent, id) {
            return Placed::Tangled;
        }
        self.unlink(id.0);
        let name = self.names.add(name.as_bytes());
        if let Some(node) = self.node_mut(id.0) {
            let old = std::mem::replace(&mut node.name, name);
            self.names.forget(old);
        }
        self.link(id.0, parent.0);
        self.pack_names();
        Placed::Moved(id)
    }

    /// The nodes that claim this name: mostly none or one.
    pub fn children_named(&self, parent: NodeId, name: &OsStr) -> Vec<NodeId> {
        self.children(parent.0)
            .filter(|&id| self.node(id).is_some_and(|node| self.is_named(node, name)))
            .map(NodeId)
            .collect()
    }

    /// Whether the directory of this name is among them.
    pub fn has(&self, path: &RelPath) -> bool {
        let mut at = vec![self.root()];
        for name in path.as_bytes().split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            at = at.into_iter().flat_map(|dir| self.children_named(dir, OsStr::from_bytes(name))).collect();
        }
        !at.is_empty()
    }

    /// Forgets a directory and all below it; returns their watches.
    pub fn remove(&mut self, id: NodeId) -> Vec<WatchDescriptor> {
        if self.node(id.0).is_none() {
            return Vec::new();
        }
        self.unlink(id.0);
        let mut watches = Vec::new();
        let mut left = vec![id.0];
        while let Some(at) = left.pop() {
            left.extend(self.children(at));
            if let Some(node) = self.nodes.get_mut(at as usize).and_then(Option::take) {
                self.by_watch.remove(&node.watch.get_watch_descriptor_id());
                self.names.forget(node.name);
                self.free.push(at);
                watches.push(node.watch);
            }
        }
        self.pack_names();
        watches
    }

    /// A directory and all that is known below it.
    pub fn subtree(&self, top: NodeId) -> Vec<NodeId> {
        let mut found = vec![top];
        let mut at = 0;
        while let Some(&dir) = found.get(at) {
            found.extend(self.children(dir.0).map(NodeId));
            at += 1;
        }
        found
    }

    /// Forgets every directory at or below `top` that is not in `keep`, with what is below it; returns their watches.
    pub fn prune(&mut self, top: NodeId, keep: &HashSet<NodeId>) -> Vec<WatchDescriptor> {
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

    fn insert(&mut self, watch: WatchDescriptor, parent: NodeId, name: &OsStr) -> NodeId {
        let number = watch.get_watch_descriptor_id();
        let name = self.names.add(name.as_bytes());
        let node = Node { parent: NONE, first_child: NONE, next: NONE, previous: NONE, watch, name };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.nodes.push(None);
                (self.nodes.len() - 1) as u32
            }
        };
        self.nodes[id as usize] = Some(node);
        self.by_watch.insert(number, id);
        self.link(id, parent.0);
        NodeId(id)
    }

    fn is_named(&self, node: &Node, name: &OsStr) -> bool {
        self.names.get(node.name) == name.as_bytes()
    }

    fn pack_names(&mut self) {
        if self.names.is_sparse() {
            self.names.pack(self.nodes.iter_mut().flatten().map(|node| &mut node.name));
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

    fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize)?.as_ref()
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut Node> {
        self.nodes.get_mut(id as usize)?.as_mut()
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
            self.1.watches().add(&path, WatchMask::CREATE).unwrap()
        }
    }

    fn id(placed: Placed) -> NodeId {
        match placed {
            Placed::New(id) | Placed::Known(id) | Placed::Moved(id) => id,
            Placed::Tangled => panic!("tangled"),
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
        let a = id(tree.place(dirs.watch("a"), root, "a".as_ref()));
        let b = id(tree.place(dirs.watch("a/b"), a, "b".as_ref()));
        let c = id(tree.place(dirs.watch("c"), root, "c".as_ref()));
        assert_eq!(tree.path(b), rel("a/b"));
        assert_eq!(tree.place(dirs.watch("a"), c, "z".as_ref()), Placed::Moved(a));
        assert_eq!((tree.path(b), tree.count()), (rel("c/z/b"), 4));
        assert_eq!(tree.place(dirs.watch("a"), c, "z".as_ref()), Placed::Known(a));
    }

    #[test]
    fn a_directory_is_never_placed_below_itself() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let a = id(tree.place(dirs.watch("a"), tree.root(), "a".as_ref()));
        let b = id(tree.place(dirs.watch("a/b"), a, "b".as_ref()));
        assert_eq!(tree.place(dirs.watch("a"), b, "a".as_ref()), Placed::Tangled);
        assert_eq!(tree.path(b), rel("a/b"));
    }

    #[test]
    fn removing_a_directory_forgets_all_below_it_and_nothing_else() {
        let dirs = Dirs::new();
        let mut tree = Tree::new(dirs.watch(""));
        let root = tree.root();
        let ids: Vec<_> = ["a", "b", "c"].map(|n| id(tree.place(dirs.watch(n), root, n.as_ref()))).into();
        let below = id(tree.place(dirs.watch("b/x"), ids[1], "x".as_ref()));
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
        let kept = id(tree.place(dirs.watch("kept"), root, "kept".as_ref()));
        for round in 0..800 {
            let name = format!("{round:0>200}");
            let gone = id(tree.place(dirs.watch("gone"), root, name.as_ref()));
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
        let [a, b] = ["a", "b"].map(|n| id(tree.place(dirs.watch(n), root, n.as_ref())));
        let below = id(tree.place(dirs.watch("b/x"), b, "x".as_ref()));
        assert_eq!(tree.prune(root, &HashSet::from([root, b])).len(), 2);
        assert_eq!((tree.watch(a), tree.watch(below), tree.path(b)), (None, None, rel("b")));
    }
}
