//! The runs of one delivery, in tasks of their own: started one after the other, or beside each other, and waited for at last.

use std::panic;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};

use crate::transport::failure::{Cause, Failure};
use crate::transport::{Delivery, Worked};

/// The runs of one delivery. Each is started when the one before has done its work without a complaint, which is a while
/// before it ends.
#[derive(Default)]
pub(super) struct Runs {
    /// The outcome of those that have ended.
    pub delivery: Delivery,
    /// `true` if one of them has sent the attributes of the root.
    pub sent_root: bool,
    ending: Vec<Run>,
}

/// A run in a task of its own. Dropping it ends the task.
struct Run(JoinHandle<Result<Delivery, Failure>>);

impl Run {
    async fn ended(&mut self) -> Result<Delivery, Failure> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Failure::new(Cause::Killed, "the run was given up")),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A run at work, beside others.
pub(super) struct Started {
    run: Run,
    work: oneshot::Receiver<()>,
}

impl Started {
    /// Starts a run in a task.
    pub(super) fn begin<F>(run: impl FnOnce(Worked) -> F) -> Started
    where
        F: Future<Output = Result<Delivery, Failure>> + 'static,
    {
        let (worked, work) = oneshot::channel();
        Started { run: Run(spawn_local(run(worked))), work }
    }
}

impl Runs {
    /// Starts a run and waits until its work is done.
    pub(super) async fn add<F>(&mut self, run: impl FnOnce(Worked) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<Delivery, Failure>> + 'static,
    {
        self.join(Started::begin(run)).await
    }

    /// Waits until the work of a run is done.
    pub(super) async fn join(&mut self, Started { mut run, work }: Started) -> Result<(), Failure> {
        match work.await {
            Ok(()) => self.ending.push(run),
            Err(_) => self.delivery.add(run.ended().await?),
        }
        Ok(())
    }

    /// Waits for the end of all.
    pub(super) async fn ended(mut self) -> Result<Delivery, Failure> {
        for mut run in self.ending {
            self.delivery.add(run.ended().await?);
        }
        Ok(self.delivery)
    }
}
