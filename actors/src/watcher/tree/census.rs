//! Counts the watched directories for the [census](crate::root::census) of the source.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{NodeId, Tree};
use crate::path::RelPath;
use crate::patterns::rules::groups::NameGroup;
use crate::root::census::{CountedName, divided};

impl Tree {
    /// The groups of the directories of the tree.
    pub(crate) fn groups(&self) -> Vec<(NameGroup, u64)> {
        let all = self.subtree(self.root());
        let mut weights = vec![0_u32; self.nodes.len()];
        // Those below come behind those above.
        for NodeId(at) in all.into_iter().rev() {
            let weight = weights[at as usize] + 1;
            weights[at as usize] = weight;
            if let Some(parent) = self.node(at).and_then(|node| weights.get_mut(node.parent as usize)) {
                *parent += weight;
            }
        }
        let children = |dir: &RelPath| -> Vec<CountedName<'_>> {
            let children = self.first_at(dir).into_iter().flat_map(|NodeId(dir)| self.children(dir));
            let counted = |at: u32| Some((self.names.get(self.node(at)?.name), u64::from(weights[at as usize])));
            children.filter_map(counted).collect()
        };
        divided(u64::from(weights[self.root().0 as usize]), children)
    }

    /// One of the places of this name.
    fn first_at(&self, path: &RelPath) -> Option<NodeId> {
        let names = path.as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        names
            .into_iter()
            .try_fold(self.root(), |dir, name| self.children_named(dir, OsStr::from_bytes(name)).into_iter().next())
    }
}
