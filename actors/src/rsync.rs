//! The rsync command: its recipes, its runs, and what their ends mean. [`Rsync`] is the way to one node.

pub mod audience;
mod deliver;
mod examine;
mod learned;
mod names;
pub mod recipe;
pub mod report;
pub mod runner;
mod shared;
pub(crate) mod staging;
mod target;
pub(crate) mod traits;
mod transport;
pub(crate) mod verify;

use crate::rsync::report::failure;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;

use slog::o;

use self::audience::{Audience, Counter};
use self::deliver::{NameRule, NamesSeen, sample};
pub use self::examine::{Examination, Finding, Probe, ProbePlace, Probed, own_name};
use self::learned::{Deletions, NewMirror};
use self::recipe::{Invocation, Recipe};
use self::runner::Runner;
pub use self::shared::Shared;
use self::target::Target;
use crate::children::Children;
use crate::node::Node;
use crate::path::RelPath;
use crate::root::Root;
use crate::rsync::report::output::Line;
use crate::rsync::runner::order::{Ears, Order, Work};
use crate::rsync::runner::process::{self, Finished};
use crate::site::Site;
use crate::site::version::Version;
use crate::transport::failure::{Cause, Failure};
use crate::transport::traits::Traits;

/// The way to one node by the rsync program. What it learns about the node outlives the SyncActor.
pub struct Rsync {
    target: Rc<Target>,
    runner: Rc<Runner>,
    /// Deleted at the node by comparisons; nobody looked yet at what went with it.
    deleted: RefCell<BTreeSet<RelPath>>,
    /// Names of the node that share their files, by the one that is to be deleted.
    shared_files: RefCell<BTreeMap<RelPath, RelPath>>,
    new_mirror: RefCell<NewMirror>,
    audience: Rc<dyn Audience>,
    counter: Counter,
}

impl Rsync {
    /// The way from `root` to `node`. `version` is that of the local rsync.
    pub fn new(site: Rc<Site>, root: Root, node: Node, version: Version, shared: Shared) -> Rc<Self> {
        let log = shared.log.new(o!("node" => node.name().to_owned()));
        let target = Target::new(site, root, node, version, log);
        let runner = Runner::new(target.clone(), &shared);
        Rc::new(Rsync {
            target,
            runner,
            deleted: RefCell::default(),
            shared_files: RefCell::default(),
            new_mirror: RefCell::default(),
            audience: shared.audience,
            counter: shared.counter,
        })
    }

    /// Tells what a reconcile would change at the node: each line of rsync's output goes to `line`. Changes nothing.
    ///
    /// # Errors
    /// When the node cannot be reached or the run fails.
    pub async fn dry_run(self: &Rc<Self>, mut line: impl FnMut(Line)) -> Result<(), Failure> {
        let mut ears = Ears { line: &mut |said| line(Line::parse(said)), worked: None };
        let finished = self.runner.run_making_path(&Order::of(Recipe::DryRun), &mut ears).await?;
        failure::of(&finished).filter(|failure| failure.cause != Cause::Vanished).map_or(Ok(()), Err)
    }

    /// Finds out how the node takes deletions, and how it tells names apart.
    async fn probe(self: &Rc<Self>) -> Result<(), Failure> {
        let sample = sample(&self.target.root, &self.target.site.excludes);
        let list = sample.as_ref().map_or_else(Vec::new, |(name, other)| recipe::entries([name, other], true));
        let mut seen = NamesSeen::default();
        let mut hear = |said: &[u8]| sample.as_ref().into_iter().for_each(|sample| seen.hear(said, sample));
        let order = Order { work: Work::List(&list), ..Order::of(Recipe::Probe) };
        let finished = self.runner.run(&order, &mut Ears { line: &mut hear, worked: None }).await?;
        self.target.learned.borrow_mut().tells_names(seen.names());
        if seen.names() != NameRule::Unclear {
            self.target.note_case(seen.names() == NameRule::One);
        }
        self.learn(&finished)
    }

    fn learn(&self, probed: &Finished) -> Result<(), Failure> {
        match failure::of(probed) {
            None => self.target.learned.borrow_mut().takes_deletions(Deletions::Listed),
            Some(Failure { cause: Cause::RejectsMissing, .. }) => {
                self.target.learned.borrow_mut().takes_deletions(Deletions::Protocol29)
            }
            // The directory above the mirror is missing, which the next run cures: it says nothing of deletions.
            Some(Failure { cause: Cause::NoParent, .. }) if self.runner.can_make_path() => (),
            // The node's daemon excludes the name that is asked for, and looks no further.
            Some(Failure { cause: Cause::Partial | Cause::NodeExcludes, .. })
                if examine::is_excluded(&probed.stderr) =>
            {
                self.target.learned.borrow_mut().takes_deletions(Deletions::Listed);
            }
            Some(failure) => return Err(failure),
        }
        Ok(())
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
