//! Decides on which threads the nodes are served. What a change takes of inosync itself at one node is short, but with
//! hundreds of nodes the last one would wait for all others.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The longest wait for the end of the threads.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nodes of one thread, at least: for fewer, one more thread gains less than it costs.
const NODES: usize = 16;

/// The threads of the nodes beside the main one. Clones share them.
#[derive(Clone, Default)]
pub(super) struct NodeThreads(Rc<RefCell<Vec<Arbiter>>>);

impl NodeThreads {
    /// Returns the thread of the node of a slot in a site of so many nodes, always the same as long as that number stays;
    /// `None` is the main thread. `wanted`: the number of threads that the user wants.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn of(&self, slot: usize, nodes: usize, wanted: Option<usize>) -> io::Result<Option<ArbiterHandle>> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let Some(at) = slot.checked_rem(number(nodes, processors, wanted)) else { return Ok(None) };
        let mut threads = self.0.borrow_mut();
        while threads.len() <= at {
            threads.push(Arbiter::try_new()?);
        }
        Ok(threads.get(at).map(Arbiter::handle))
    }

    /// Ends them and waits until they have given up what they hold, but not for long. The processes that they started end
    /// with them.
    pub(super) async fn end(&self) {
        let threads = std::mem::take(&mut *self.0.borrow_mut());
        threads.iter().for_each(|thread| {
            thread.stop();
        });
        if threads.is_empty() {
            return;
        }
        let (tell, ended) = oneshot::channel();
        // A thread of its own, as the end of the process waits for those of the runtime. Without it, nobody waits.
        let joined = thread::Builder::new().name("ends".into()).spawn(|| {
            for thread in threads {
                // One that panicked has ended, too.
                let _ = thread.join();
            }
            let _ = tell.send(());
        });
        if joined.is_ok() {
            let _ = timeout(PATIENCE, ended).await;
        }
    }
}

/// The number of threads for so many nodes, on so many processors; 0: the main thread serves them.
fn number(nodes: usize, processors: usize, wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| (nodes / NODES).min(processors)).min(nodes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread::ThreadId;

    use slog::{Discard, Logger, o};

    use super::*;
    use crate::children::Children;
    use crate::daemon::{Daemon, DaemonParts};
    use crate::node::Node;
    use crate::path::RelPath;
    use crate::reload::ConfigSnapshot;
    use crate::root::Root;
    use crate::rsync::recipe;
    use crate::site::{InitialSync, Site, version::Version};
    use crate::supervisor::paused::Paused;
    use crate::transport::handle::TransportHandle;
    use crate::transport::plan::Plan;
    use crate::transport::progress::Latest;
    use crate::transport::{Delivery, Lane, Running, Transport, Worked};

    /// A way of which the first comparisons panic. Notes the thread of the others.
    struct PanicsFirst {
        left: AtomicU32,
        compared_on: Arc<Mutex<Vec<ThreadId>>>,
    }

    impl Transport for PanicsFirst {
        fn deliver(self: Rc<Self>, _: Rc<Plan>, _: Lane, _: Worked) -> Running {
            Box::pin(async { Ok(Delivery::default()) })
        }

        fn reconcile(self: Rc<Self>, _: Vec<RelPath>, _: Latest) -> Running {
            if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                panic!("forced");
            }
            self.compared_on.lock().unwrap().push(thread::current().id());
            Box::pin(async { Ok(Delivery::default()) })
        }
    }

    #[actix::test]
    async fn a_sync_actor_that_panics_on_its_thread_is_started_there_again() {
        let source = tempfile::tempdir().unwrap();
        let nodes = ["a:", "b:", "c:"].map(|name| Node::parse(name, "/m").unwrap()).to_vec();
        let site = recipe::tests::site("-a", InitialSync::Full);
        let site = Site { wpath: source.path().to_owned(), nodes, allow_empty: true, ..site };
        let (node_threads, compared_on) = (NodeThreads::default(), Arc::<Mutex<Vec<ThreadId>>>::default());
        let (threads, noted) = (node_threads.clone(), compared_on.clone());
        let transports = Box::new(move |_: &ConfigSnapshot, _: &Node, slot: usize| {
            let noted = noted.clone();
            TransportHandle::new(threads.of(slot, 3, Some(2)).unwrap(), move || -> Rc<dyn Transport> {
                Rc::new(PanicsFirst { left: AtomicU32::new(2), compared_on: noted.clone() })
            })
        });
        let config = ConfigSnapshot { site: Arc::new(site), version: Version::OLDEST };
        let (root, children) = (Root::of(source.path()).unwrap(), Children::default());
        let paused = Paused::default();
        let parts = DaemonParts { config, root, transports, node_threads, children, memory: None, paused };
        let mut daemon = Daemon::of(parts, &Logger::root(Discard, o!()));
        let seen = || compared_on.lock().unwrap().clone();
        while seen().len() < 3 {
            actix::clock::sleep(Duration::from_millis(2)).await;
        }
        let status = daemon.handle().status(true).await.unwrap();
        assert!(status.nodes.iter().all(|node| node.totals.restarts == 2), "{:?}", status.nodes);
        let (mut threads, main) = (seen(), thread::current().id());
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert!(threads.len() == 2 && !threads.contains(&main), "{threads:?} {main:?}");
        daemon.stop();
        daemon.ended().await;
    }

    #[test]
    fn many_nodes_are_served_by_as_many_threads_as_there_are_processors_and_few_by_the_main_one() {
        for (nodes, processors, wanted, expected) in [
            (3, 16, None, 0),
            (15, 16, None, 0),
            (16, 16, None, 1),
            (100, 2, None, 2),
            (100, 16, None, 6),
            (300, 16, None, 16),
            (300, 16, Some(0), 0),
            (2, 1, Some(2), 2),
            (2, 16, Some(8), 2),
        ] {
            assert_eq!(number(nodes, processors, wanted), expected, "{nodes} {processors} {wanted:?}");
        }
    }

    #[actix::test]
    async fn a_node_stays_on_its_thread_and_its_neighbour_is_on_another_one() {
        let threads = NodeThreads::default();
        let name = async |slot| {
            let (tell, told) = oneshot::channel();
            let thread = threads.of(slot, 3, Some(2)).unwrap().unwrap();
            thread.spawn_fn(move || tell.send(thread::current().id()).unwrap());
            told.await.unwrap()
        };
        let (first, second, third) = (name(0).await, name(1).await, name(2).await);
        assert!(first != second && first == third && first == name(0).await);
        assert!(threads.of(0, 3, None).unwrap().is_none());
        threads.end().await;
    }
}
