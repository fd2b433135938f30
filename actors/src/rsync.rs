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
pub mod staging;
pub mod traits;
mod transport;
pub mod verify;

use crate::rsync::report::failure;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use slog::{Logger, o};
use tokio::sync::Notify;

use self::audience::{Audience, Counter};
use self::deliver::{Names, Seen, sample};
pub use self::examine::{Examination, Finding, Mirror, Place, Probe, Probed, own_name};
use self::learned::{Deletions, Learned, NewMirror, Warning};
use self::recipe::{Invocation, Recipe};
pub use self::shared::Shared;
use self::staging::Staging;
use crate::children::Children;
use crate::node::Node;
use crate::path::RelPath;
use crate::root::Root;
use crate::rsync::report::output::Line;
use crate::rsync::runner::confine::Reach;
use crate::rsync::runner::master::Master;
use crate::rsync::runner::order::{Ears, Order, Work};
use crate::rsync::runner::process::{self, Finished};
use crate::rsync::runner::speed::Speed;
use crate::rsync::runner::standby::Standbys;
use crate::rsync::traits::known;
use crate::site::Site;
use crate::site::version::Version;
use crate::transport::failure::{Cause, Failure};
use crate::transport::heard::Heard;

/// The way to one node by the rsync program. What it learns about the node outlives the SyncActor.
pub struct Rsync {
    site: Rc<Site>,
    root: Root,
    node: Node,
    version: Version,
    /// What its processes reach; `None` if they are not confined.
    reach: Option<Arc<Reach>>,
    children: Children,
    /// The facts about the node.
    learned: RefCell<Learned>,
    /// Deleted at the node by comparisons; nobody looked yet at what went with it.
    deleted: RefCell<BTreeSet<RelPath>>,
    /// Names of the node that share their files, by the one that is to be deleted.
    shared_files: RefCell<BTreeMap<RelPath, RelPath>>,
    /// The warnings that were logged.
    warned: RefCell<BTreeSet<Warning>>,
    new_mirror: RefCell<NewMirror>,
    standbys: RefCell<Standbys>,
    speed: Rc<Speed>,
    /// Where renamed files are linked, if there is such a place.
    staging: Option<Rc<Staging>>,
    /// The connection that runs share; `None` where there is none to share.
    master: Option<Rc<Master>>,
    /// The process of the shared connection over which a run hung.
    doubted: Cell<Option<i32>>,
    /// Notified when the standbys have changed.
    changed: Arc<Notify>,
    audience: Rc<dyn Audience>,
    counter: Counter,
    /// Where it is told what was changed.
    heard: RefCell<Heard>,
    log: Logger,
}

impl Rsync {
    /// The way from `root` to `node`. `version` is that of the local rsync.
    pub fn new(site: Rc<Site>, root: Root, node: Node, version: Version, shared: Shared) -> Rc<Self> {
        let learned = Learned::of(site.state_file.as_deref().and_then(|file| known::of(file, &node)));
        let master = shared.master(&site, &node);
        let speed = Speed::new(site.rspeed, shared.alone);
        let Shared { children, budget, staging, audience, counter, log, .. } = shared;
        let log = log.new(o!("node" => node.name().to_owned()));
        let standbys = RefCell::new(Standbys::new(Recipe::Present, budget));
        let reach = Reach::of(&site, &node);
        Rc::new(Rsync {
            site,
            root,
            node,
            version,
            reach,
            children,
            learned: RefCell::new(learned),
            deleted: RefCell::default(),
            shared_files: RefCell::default(),
            warned: RefCell::default(),
            new_mirror: RefCell::default(),
            standbys,
            speed,
            staging,
            master,
            doubted: Cell::new(None),
            changed: Arc::default(),
            audience,
            counter,
            heard: RefCell::default(),
            log,
        })
    }

    /// What a reconcile would change at the node: each line of rsync's output goes to `line`. Changes nothing.
    ///
    /// # Errors
    /// When the node cannot be reached or the run fails.
    pub async fn dry_run(self: &Rc<Self>, mut line: impl FnMut(Line)) -> Result<(), Failure> {
        let mut ears = Ears { line: &mut |said| line(Line::parse(said)), worked: None };
        let finished = self.run_making_path(&Order::of(Recipe::DryRun), &mut ears).await?;
        failure::of(&finished).filter(|failure| failure.cause != Cause::Vanished).map_or(Ok(()), Err)
    }

    /// Finds out how the node takes deletions, and how it tells names apart.
    async fn probe(self: &Rc<Self>) -> Result<(), Failure> {
        let sample = sample(self.root.path(), &self.site.excludes);
        let list = sample.as_ref().map_or_else(Vec::new, |(name, other)| recipe::entries([name, other], true));
        let mut seen = Seen::default();
        let mut hear = |said: &[u8]| sample.as_ref().into_iter().for_each(|sample| seen.hear(said, sample));
        let order = Order { work: Work::List(&list), ..Order::of(Recipe::Probe) };
        let finished = self.run(&order, &mut Ears { line: &mut hear, worked: None }).await?;
        self.learned.borrow_mut().tells_names(seen.names());
        if seen.names() != Names::Unclear {
            self.note_case(seen.names() == Names::One);
        }
        self.learn(&finished)
    }

    fn learn(&self, probed: &Finished) -> Result<(), Failure> {
        match failure::of(probed) {
            None => self.learned.borrow_mut().takes_deletions(Deletions::Listed),
            Some(Failure { cause: Cause::RejectsMissing, .. }) => {
                self.learned.borrow_mut().takes_deletions(Deletions::Protocol29)
            }
            // The directory above the mirror is missing, which the next run cures: it says nothing of deletions.
            Some(Failure { cause: Cause::NoParent, .. }) if self.can_make_path() => (),
            // The node's daemon excludes the name that is asked for, and looks no further.
            Some(Failure { cause: Cause::Partial | Cause::NodeExcludes, .. })
                if examine::is_excluded(&probed.stderr) =>
            {
                self.learned.borrow_mut().takes_deletions(Deletions::Listed);
            }
            Some(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Returns true if a warning was not logged before, and notes that it is now.
    fn warns_first(&self, warning: Warning) -> bool {
        self.warned.borrow_mut().insert(warning)
    }

    /// The arguments of a run, for people to read.
    pub fn shown(&self, recipe: Recipe) -> String {
        recipe::shown(&self.site, &self.context(false).invocation(recipe, Vec::new(), &[]).arguments)
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
