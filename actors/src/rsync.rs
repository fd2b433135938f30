//! The rsync command: its recipes, its runs, and what their ends mean. [`Rsync`] is the way to one node.

pub mod audience;
mod beat;
mod deliver;
mod examine;
mod jobs;
mod learned;
mod names;
pub mod recipe;
mod remote_shell;
pub mod report;
pub mod runner;
mod shared;
pub(crate) mod staging;
mod target;
pub(crate) mod traits;
mod transport;
pub(crate) mod verify;

use crate::rsync::report::failure;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use slog::o;

use self::audience::{Audience, Counter};
use self::deliver::{Deliverer, Reconciler};
pub use self::examine::{Examination, Examiner, Finding, Probe, ProbePlace, Probed, own_name};
use self::recipe::{Invocation, Recipe};
use self::runner::Runner;
pub use self::shared::Shared;
use self::target::Target;
use self::verify::IsPending;
use crate::children::Children;
use crate::node::Node;
use crate::path::RelPath;
use crate::root::Root;
use crate::rsync::report::output::Line;
use crate::rsync::runner::process;
use crate::rsync::runner::run_order::{Ears, Order};
use crate::site::Site;
use crate::site::version::Version;
use crate::transport::comparison::Comparison;
use crate::transport::failure::{Cause, Failure};
use crate::transport::traits::Traits;

/// The way to one node by the rsync program. The facts that it learns about the node outlive the SyncActor.
pub struct Rsync {
    target: Rc<Target>,
    runner: Rc<Runner>,
    examiner: Rc<Examiner>,
    deliverer: Rc<Deliverer>,
    reconciler: Reconciler,
    audience: Arc<dyn Audience>,
    counter: Counter,
}

impl Rsync {
    /// The way from `root` to `node`. `version` is that of the site's rsync program.
    pub fn new(site: Arc<Site>, root: Root, node: Node, version: Version, shared: Shared) -> Rc<Self> {
        let log = shared.log.new(o!("node" => node.name().to_owned()));
        let version = site.own_version(&node).unwrap_or(version);
        let target = Target::new(site.at(&node).into(), root, node, version, log);
        let runner = Runner::new(target.clone(), &shared);
        let examiner = Examiner::new(target.clone(), runner.clone());
        let deliverer = Deliverer::new(target.clone(), runner.clone(), examiner.clone(), shared.jobs.clone());
        let reconciler = Reconciler::new(deliverer.clone());
        let Shared { audience, counter, .. } = shared;
        Rc::new(Rsync { target, runner, examiner, deliverer, reconciler, audience, counter })
    }

    /// Tells what a reconcile would change at the node: each line of rsync's output goes to `line`. Changes nothing.
    ///
    /// # Errors
    /// When the node cannot be reached or the run fails, and at last when something is in the way that stays.
    pub async fn dry_run(self: &Rc<Self>, mut line: impl FnMut(Line)) -> Result<(), Failure> {
        let mut hear = |said: &[u8]| line(Line::parse(said));
        let mut ears = Ears::to(&mut hear);
        let clashes = self.deliverer.clashes(&[], &[]).await?;
        let rules = clashes.rules();
        let order = Order { rules: &rules, ..Order::of(Recipe::DryRun) };
        let finished = self.runner.run_making_path(&order, &mut ears).await?;
        let failure = failure::of(&finished).filter(|failure| failure.cause != Cause::Vanished);
        failure.or_else(|| clashes.failure()).map_or(Ok(()), Err)
    }

    /// Returns the part that asks the node and changes nothing there, or leaves nothing there.
    pub fn examiner(&self) -> &Rc<Examiner> {
        &self.examiner
    }

    /// Compares the whole tree. The node may have anything below the directories `kept`.
    ///
    /// # Errors
    /// When the node cannot be compared.
    pub async fn compare(&self, kept: &[RelPath], is_pending: &IsPending<'_>) -> Result<Comparison, Failure> {
        verify::compare(&self.deliverer, kept, is_pending).await
    }

    /// Returns what the node is known to hold or not to hold.
    pub fn known_traits(&self) -> Traits {
        self.target.known_traits()
    }

    /// The arguments of a run, for people to read.
    pub fn shown(&self, recipe: Recipe) -> String {
        recipe::shown(&self.target.site, &self.runner.context(false).invocation(recipe, Vec::new(), &[]).arguments)
    }
}

/// The version of a local rsync.
///
/// # Errors
/// When it cannot be run or prints no version of rsync.
pub async fn local_version(children: &Children, program: &Path) -> io::Result<Version> {
    let invocation = Invocation { arguments: vec!["--version".into()], list: Vec::new() };
    let mut version = None;
    process::run(children, program, None, invocation, |line| {
        version = version.or_else(|| Version::parse(&String::from_utf8_lossy(line)));
    })
    .await?;
    version.ok_or_else(|| io::Error::other("it prints no version of rsync"))
}
