//! Limits the standbys of all nodes together.

use std::cell::Cell;
use std::rc::Rc;

/// The standbys that all nodes together may still have.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    total: usize,
    left: Rc<Cell<usize>>,
}

/// One standby of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Budget);

impl Budget {
    /// A budget of so many standbys.
    pub(crate) fn new(standbys: usize) -> Self {
        Budget { total: standbys, left: Rc::new(Cell::new(standbys)) }
    }

    /// The size of the whole budget.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn take(&self) -> Option<Permit> {
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        Some(Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let left = &self.0.left;
        left.set(left.get() + 1);
    }
}
