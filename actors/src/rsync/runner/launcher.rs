//! Starts the rsyncs of a node, within their bounds.

use crate::rsync::report::failure;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::rsync::recipe::Context;
use crate::rsync::recipe::Recipe;
use crate::rsync::report::claims::Claims;
use crate::rsync::runner::Runner;
use crate::rsync::runner::confine::{Bounds, FailedPlace};
use crate::rsync::runner::process::{Finished, Input, Process};
use crate::rsync::runner::run_order::{Ears, Order};
use crate::rsync::staging::{self, Staging};
use crate::transport::failure::{Cause, Failure};

impl Runner {
    /// Starts an rsync that mirrors what is in `directory`, and reaches nothing else.
    pub(crate) async fn process(&self, directory: OwnedFd, arguments: &[OsString]) -> Result<Process, Failure> {
        let Some(reach) = &self.reach else { return self.process_at_large(directory, arguments) };
        let bounds = Bounds::of(reach, &self.target.site, &self.target.node, &directory, arguments).await;
        let process = bounds.and_then(|(bounds, arguments)| {
            Process::start(&self.children, &self.target.site.rsync, Some(directory), &arguments, Some(bounds))
        });
        process.map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::TimedOut => Failure::new(Cause::Timeout, error.to_string()),
            _ => match FailedPlace::of(error) {
                Some(FailedPlace { place, cause }) => Failure::place_fails(place, cause),
                None => Failure::not_started(&self.target.site.rsync, error),
            },
        }
    }

    /// Starts an rsync that mirrors nothing that others can write.
    pub(crate) fn process_at_large(&self, directory: OwnedFd, arguments: &[OsString]) -> Result<Process, Failure> {
        let process = Process::start(&self.children, &self.target.site.rsync, Some(directory), arguments, None);
        process.map_err(|error| Failure::not_started(&self.target.site.rsync, &error))
    }

    /// Tells if the mirror is to be on this machine and is missing: a confined run that begins now would never reach it.
    pub(crate) async fn lacks_mirror(&self) -> Result<bool, Failure> {
        let Some(reach) = &self.reach else { return Ok(false) };
        reach.lacks_mirror().await.map_err(|error| self.not_started(&error))
    }

    /// Makes a mirror of this machine that is missing, by a run that opens no file: before it is there, no rule can be made
    /// for it. `Some` if that failed.
    pub(crate) async fn make_mirror(
        self: &Rc<Self>,
        order: &Order<'_>,
        ears: &mut Ears<'_>,
    ) -> Result<Option<Finished>, Failure> {
        if order.recipe.only_looks() || !self.lacks_mirror().await? {
            return Ok(None);
        }
        let invocation = self.context(false).invocation(Recipe::Root, Vec::new(), &[]);
        let process = self.process_at_large(self.target.source()?, &invocation.arguments)?;
        let mut ears = Ears::to(&mut *ears.line);
        let patience = self.patience(Recipe::Root, None);
        let finished = self
            .finish(process, Input::of(&invocation.list), &Claims::ANY, (patience, self.speed.small()), &mut ears)
            .await?;
        Ok(failure::of(&finished).map(|_| finished))
    }

    pub(crate) fn stage(&self) -> Result<staging::Stage, Failure> {
        let stage = self.staging.as_ref().map_or(Err(io::ErrorKind::NotFound.into()), Staging::stage);
        stage.map_err(|error| Failure::not_staged(&error))
    }

    /// `shares`: over the connection that the node's runs share.
    pub(crate) fn context(&self, shares: bool) -> Context<'_> {
        let rsh = self.master.as_ref().map(|master| if shares { master.rsh() } else { master.rsh_alone() });
        let make_path = self.target.learned.borrow().makes_path;
        Context {
            site: &self.target.site,
            node: &self.target.node,
            version: self.target.version,
            make_path,
            reading: Duration::ZERO,
            limit: self.speed.of_small(),
            max_delete: self.target.max_delete(),
            part: &[],
            rsh,
            traits: self.target.known_traits(),
        }
    }
}
