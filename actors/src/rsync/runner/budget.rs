//! Limits the standbys of all nodes together.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The standbys that all nodes together may still have. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    total: usize,
    account: Arc<Mutex<Account>>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    left: usize,
    /// The nodes that have none.
    bare: usize,
}

/// The part of the budget that one node has.
#[derive(Debug)]
pub(super) struct NodeBudget(Rc<Holder>);

#[derive(Debug)]
struct Holder {
    budget: Budget,
    held: Cell<usize>,
}

/// One standby of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Rc<Holder>);

impl Budget {
    /// A budget of so many standbys.
    pub(crate) fn new(standbys: usize) -> Self {
        Budget { total: standbys, account: Arc::new(Mutex::new(Account { left: standbys, bare: 0 })) }
    }

    /// The size of the whole budget.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Counts one more node, which has none yet.
    pub(super) fn of_node(&self) -> NodeBudget {
        self.account().bare += 1;
        NodeBudget(Rc::new(Holder { budget: self.clone(), held: Cell::new(0) }))
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeBudget {
    /// Takes one. A node that has one gets another only if each node without any can still have one: a burst makes all
    /// nodes ask for more, and the last ones would be without.
    pub(super) fn take(&self) -> Option<Permit> {
        let holder = &self.0;
        let mut account = holder.budget.account();
        let reserved = if holder.held.get() == 0 { 0 } else { account.bare };
        if account.left <= reserved {
            return None;
        }
        account.left -= 1;
        if holder.held.replace(holder.held.get() + 1) == 0 {
            account.bare -= 1;
        }
        Some(Permit(holder.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let held = self.0.held.get() - 1;
        self.0.held.set(held);
        let mut account = self.0.budget.account();
        account.left += 1;
        if held == 0 {
            account.bare += 1;
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // All permits were given back before.
        self.budget.account().bare -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gets_a_second_one_only_if_each_other_node_can_have_its_first() {
        let budget = Budget::new(3);
        let nodes = [(); 3].map(|()| budget.of_node());
        let first = nodes[0].take().unwrap();
        assert!(nodes[0].take().is_none(), "two others have none");
        let second = nodes[1].take().unwrap();
        assert!(nodes[0].take().is_none(), "the third has none");
        drop(second);
        assert!(nodes[0].take().is_none(), "the second will replace what it used");
        let third = nodes[2].take().unwrap();
        assert!(nodes[0].take().is_none());
        let second = nodes[1].take().unwrap();
        assert!(nodes[2].take().is_none(), "nothing is left");
        drop((first, second, third));
        let Account { left, bare } = *budget.account();
        assert_eq!((left, bare), (3, 3));
        let [one, two, three] = nodes;
        drop((two, three));
        assert!([(); 3].map(|()| one.take()).iter().all(Option::is_some), "nodes that are gone need none");
    }

    #[test]
    fn with_fewer_standbys_than_nodes_some_have_one() {
        let budget = Budget::new(2);
        let nodes = [(); 4].map(|()| budget.of_node());
        let permits: Vec<_> = nodes.iter().chain(&nodes).map(NodeBudget::take).collect();
        assert_eq!(permits.iter().flatten().count(), 2);
        assert!(permits[0].is_some() && permits[1].is_some());
    }
}
