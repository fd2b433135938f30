//! Counts the standbys of all nodes that are at work. While they are more than the processors, no new standby is started: it
//! would take the processor from them, and a change would be later at the last node.

use std::cell::Cell;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::Notify;

/// The standbys that are at work now, of all nodes. Clones share the number.
#[derive(Debug, Clone)]
pub(crate) struct Crowd(Arc<Count>);

#[derive(Debug)]
struct Count {
    at_work: AtomicUsize,
    processors: usize,
    eased: Notify,
}

/// One standby that is at work, until this is dropped.
#[derive(Debug)]
pub(super) struct Member(Arc<Count>);

impl Crowd {
    /// Nobody is at work. The processors are those that this process may use.
    pub(crate) fn new() -> Self {
        Self::on(thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn on(processors: usize) -> Self {
        Crowd(Arc::new(Count { at_work: AtomicUsize::new(0), processors, eased: Notify::new() }))
    }

    /// Counts one that begins to work.
    pub(super) fn enter(&self) -> Member {
        self.0.at_work.fetch_add(1, Ordering::AcqRel);
        Member(self.0.clone())
    }

    /// Tells if more are at work than there are processors.
    pub(super) fn is_dense(&self) -> bool {
        self.0.at_work.load(Ordering::Acquire) > self.0.processors
    }

    /// Waits until no more are at work than there are processors.
    pub(super) async fn eased(&self) {
        loop {
            let eased = self.0.eased.notified();
            if !self.is_dense() {
                return;
            }
            eased.await;
        }
    }
}

/// The standbys of one node that are at work.
#[derive(Debug)]
pub(super) struct NodeAtWork {
    /// Shared with each of them.
    own: Rc<()>,
    /// Those of all nodes.
    pub crowd: Crowd,
    /// `true` while the next standbys of the node wait until the crowd is eased.
    waits: Cell<bool>,
}

impl NodeAtWork {
    /// None, beside those of other nodes.
    pub(super) fn beside(crowd: Crowd) -> Self {
        NodeAtWork { own: Rc::default(), crowd, waits: Cell::new(false) }
    }

    /// Counts one that begins to work, until the first part is dropped for the node, and the second one for the crowd.
    pub(super) fn begin(&self) -> (Rc<()>, Member) {
        (self.own.clone(), self.crowd.enter())
    }

    /// Tells if none of the node is at work.
    pub(super) fn is_idle(&self) -> bool {
        Rc::strong_count(&self.own) == 1
    }

    /// Notes if the next standbys wait. Returns what was so before.
    pub(super) fn set_waits(&self, waits: bool) -> bool {
        self.waits.replace(waits)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let before = self.0.at_work.fetch_sub(1, Ordering::AcqRel);
        if before == self.0.processors + 1 {
            self.0.eased.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn standbys_wait_while_more_are_at_work_than_there_are_processors() {
        let crowd = Crowd::on(2);
        let two = [crowd.enter(), crowd.enter()];
        assert!(!crowd.is_dense());
        let third = crowd.enter();
        assert!(crowd.is_dense());
        let mut eased = pin!(crowd.eased());
        let mut poll = || eased.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!poll());
        let fourth = crowd.enter();
        drop(third);
        assert!(!poll(), "there is one more than processors");
        drop(fourth);
        assert!(poll() && !crowd.is_dense());
        drop(two);
    }
}
