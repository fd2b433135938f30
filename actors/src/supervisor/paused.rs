//! The nodes that are paused, by their names. They are kept in memory: they outlive a
//! reload, and not the process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::node::Node;

/// The names of the nodes that somebody paused. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Paused(Rc<RefCell<BTreeSet<String>>>);

impl Paused {
    /// Returns true if this node is paused.
    pub(super) fn has(&self, node: &Node) -> bool {
        self.0.borrow().contains(node.name())
    }

    /// Pauses this node, or lets it go on. Returns true if that is news.
    pub(super) fn set(&self, node: &Node, paused: bool) -> bool {
        let mut names = self.0.borrow_mut();
        if paused { names.insert(node.name().to_owned()) } else { names.remove(node.name()) }
    }
}
