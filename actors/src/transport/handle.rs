//! The transport to a node, as other threads hold it. The transport itself and the node's SyncActor live on the thread of one
//! Arbiter, so that neither needs a lock; what others want of the transport is done there.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use actix::prelude::*;
use send_wrapper::SendWrapper;
use tokio::sync::oneshot;

use super::Transport;

/// A [`Transport`] that stays on one thread. Clones share it; when the last one is dropped, the transport is dropped on its
/// thread.
#[derive(Clone)]
pub(crate) struct TransportHandle(Arc<Residence>);

struct Residence {
    /// The thread; `None` if it is the one on which the handle was made.
    thread: Option<ArbiterHandle>,
    make: Box<dyn Fn() -> Rc<dyn Transport> + Send + Sync>,
    /// Made when it is first used.
    transport: OnceLock<SendWrapper<Rc<dyn Transport>>>,
}

/// A transport on its way to its thread, where it is dropped. If that thread has ended, it is forgotten.
struct Homebound(Option<SendWrapper<Rc<dyn Transport>>>);

impl TransportHandle {
    /// A transport on the thread of an Arbiter, or on this one. `make` runs on that thread.
    pub(crate) fn new(
        thread: Option<ArbiterHandle>,
        make: impl Fn() -> Rc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        let handle = TransportHandle(Arc::new(Residence { thread, make: Box::new(make), transport: OnceLock::new() }));
        if handle.0.thread.is_none() {
            handle.here();
        }
        handle
    }

    /// The Arbiter on which the transport is used; `None` if it is the one on which the handle was made.
    pub(crate) fn thread(&self) -> Option<&ArbiterHandle> {
        self.0.thread.as_ref()
    }

    /// Returns the transport. To be called on its thread only.
    pub(crate) fn here(&self) -> Rc<dyn Transport> {
        Rc::clone(self.0.transport.get_or_init(|| SendWrapper::new((self.0.make)())))
    }

    /// Does something with the transport on its thread, after all that was told or asked before: at once on that thread. What is
    /// sent to the SyncActor may overtake it.
    pub(crate) fn tell(&self, act: impl FnOnce(Rc<dyn Transport>) + Send + 'static) {
        match &self.0.thread {
            Some(thread) if !self.is_here() => {
                let handle = self.clone();
                // A thread that has ended serves nobody any more.
                let _ = thread.spawn_fn(move || act(handle.here()));
            }
            _ => act(self.here()),
        }
    }

    /// Lets a future run on the thread of the transport; it runs to its end even if nobody waits for the answer. The
    /// receiver fails if the future panics or the thread has ended.
    pub(crate) fn ask<F>(
        &self,
        act: impl FnOnce(Rc<dyn Transport>) -> F + Send + 'static,
    ) -> oneshot::Receiver<F::Output>
    where
        F: Future<Output: Send> + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.tell(move |transport| {
            actix::spawn(async move {
                // Whoever does not listen any more need not know.
                let _ = tell.send(act(transport).await);
            });
        });
        told
    }

    fn is_here(&self) -> bool {
        self.0.transport.get().is_some_and(SendWrapper::valid)
    }
}

impl From<Rc<dyn Transport>> for TransportHandle {
    /// A transport that stays on this thread.
    fn from(transport: Rc<dyn Transport>) -> Self {
        let transport = SendWrapper::new(transport);
        TransportHandle::new(None, move || Rc::clone(&transport))
    }
}

impl Drop for Residence {
    fn drop(&mut self) {
        let transport = Homebound(self.transport.take());
        if let Some(thread) = &self.thread {
            let _ = thread.spawn_fn(move || drop(transport));
        }
    }
}

impl Drop for Homebound {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take().filter(|transport| !transport.valid()) {
            std::mem::forget(transport);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use super::*;
    use crate::path::RelPath;
    use crate::transport::plan::Plan;
    use crate::transport::progress::Latest;
    use crate::transport::{Delivery, Lane, NodeFacts, Running, Worked};

    /// The threads on which it was made, used and dropped.
    type Threads = Arc<Mutex<Vec<ThreadId>>>;

    struct Witness(Threads);

    impl Witness {
        fn made(threads: Threads) -> Rc<dyn Transport> {
            let witness = Witness(threads);
            witness.note();
            Rc::new(witness)
        }

        fn note(&self) {
            self.0.lock().unwrap().push(thread::current().id());
        }
    }

    impl Transport for Witness {
        fn deliver(self: Rc<Self>, _: Rc<Plan>, _: Lane, _: Worked) -> Running {
            self.reconcile(Vec::new(), Latest::default())
        }

        fn reconcile(self: Rc<Self>, _: Vec<RelPath>, _: Latest) -> Running {
            Box::pin(async { Ok(Delivery::default()) })
        }

        fn facts(&self) -> NodeFacts {
            self.note();
            NodeFacts::default()
        }
    }

    impl Drop for Witness {
        fn drop(&mut self) {
            self.note();
        }
    }

    #[actix::test]
    async fn a_transport_is_made_used_and_dropped_on_its_thread() {
        let (arbiter, threads) = (Arbiter::new(), Threads::default());
        let made = threads.clone();
        let handle = TransportHandle::new(Some(arbiter.handle()), move || Witness::made(made.clone()));
        let other = handle.clone();
        other.ask(|transport| async move { transport.facts() }).await.unwrap();
        drop(other);
        let id = handle.ask(|_| async { thread::current().id() }).await.unwrap();
        drop(handle);
        while Arc::strong_count(&threads) > 1 {
            actix::clock::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(*threads.lock().unwrap(), [id; 3]);
        assert_ne!(id, thread::current().id());
        arbiter.stop();
    }

    #[actix::test]
    async fn without_a_thread_of_its_own_all_is_done_at_once_on_this_one() {
        let threads = Threads::default();
        let handle = TransportHandle::from(Witness::made(threads.clone()));
        handle.tell(|transport| drop(transport.facts()));
        drop(handle);
        assert_eq!(*threads.lock().unwrap(), [thread::current().id(); 3]);
    }

    #[actix::test]
    async fn nobody_waits_for_a_thread_that_has_ended_or_for_a_question_that_panics() {
        let (arbiter, threads) = (Arbiter::new(), Threads::default());
        let made = threads.clone();
        let handle = TransportHandle::new(Some(arbiter.handle()), move || Witness::made(made.clone()));
        let panics = handle.ask(|_| async { std::panic::resume_unwind(Box::new(())) });
        assert!(panics.await.is_err());
        arbiter.stop();
        arbiter.join().unwrap();
        assert!(handle.ask(|_| async {}).await.is_err());
        drop(handle);
    }
}
