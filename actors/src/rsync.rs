//! The rsync command: its recipes, its runs, and what their ends mean. [`Rsync`] is the way to one node.

pub mod blame;
pub mod children;
pub mod extra;
pub mod failure;
pub mod master;
pub mod node;
pub mod output;
pub mod recipe;
pub mod run;
pub mod version;

use std::cell::Cell;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use self::blame::{Blame, blame};
use self::children::Children;
use self::failure::{Cause, Failure};
use self::node::{Kind, Node};
use self::output::Line;
use self::recipe::{Context, Invocation, Question, Recipe};
use self::run::{Code, Finished};
use self::version::Version;
use crate::path::RelPath;
use crate::root::Root;
use crate::site::Site;
use crate::sync::plan::Plan;
use crate::sync::{Delivery, Running, Transport};

/// Paths that a run is repeated without, because they could not be read.
const UNREADABLE: usize = 100;

/// How the node's rsync takes deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletions {
    /// Not asked yet.
    Unknown,
    /// As missing entries of any list.
    Listed,
    /// Only in protocol 29: the receiver rejects them otherwise.
    Protocol29,
}

/// What `--check` learns about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examination {
    /// The version of its rsync, if it tells.
    pub version: Option<Version>,
    /// The protocol that it speaks.
    pub protocol: Option<u32>,
    /// Whether it takes deletions only in protocol 29.
    pub deletions29: bool,
}

/// The way to one node by the rsync program. What it learns about the node outlives the SyncActor.
pub struct Rsync {
    site: Rc<Site>,
    root: Root,
    node: Node,
    version: Version,
    children: Children,
    deletions: Cell<Deletions>,
    make_path: Cell<bool>,
    /// Whether a run made the mirror, and that was not told yet: that run itself may have failed.
    made_mirror: Cell<bool>,
}

impl Rsync {
    /// The way from `root` to `node`. `version` is that of the local rsync.
    pub fn new(site: Rc<Site>, root: Root, node: Node, version: Version, children: Children) -> Self {
        let deletions = Cell::new(Deletions::Unknown);
        let (make_path, made_mirror) = (Cell::new(false), Cell::new(false));
        Rsync { site, root, node, version, children, deletions, make_path, made_mirror }
    }

    /// What a reconcile would change at the node: each line of rsync's output goes to `line`. Changes nothing.
    ///
    /// # Errors
    /// When the node cannot be reached or the run fails.
    pub async fn dry_run(&self, mut line: impl FnMut(Line)) -> Result<(), Failure> {
        let finished = self.run_with_path(Recipe::DryRun, &[], &[], &mut |said| line(Line::parse(said))).await?;
        Failure::of(&finished).filter(|failure| failure.cause != Cause::Vanished).map_or(Ok(()), Err)
    }

    /// What the node is. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn examine(&self) -> Result<Examination, Failure> {
        // A forced command at the node may refuse the question for the version.
        let mut finished = self.ask(Question::Version).await?;
        if Failure::of(&finished.0).is_some_and(|failure| failure.cause != Cause::RejectsMissing) {
            finished = self.ask(Question::Protocol).await?;
        }
        let (finished, protocol) = finished;
        self.learn(&finished)?;
        let version = match self.node.kind() {
            Kind::Local => Some(self.version),
            // The remote shell may have said something before.
            Kind::Ssh | Kind::Daemon => String::from_utf8_lossy(&finished.stderr).lines().find_map(Version::parse),
        };
        Ok(Examination { version, protocol, deletions29: self.deletions.get() == Deletions::Protocol29 })
    }

    async fn ask(&self, question: Question) -> Result<(Finished, Option<u32>), Failure> {
        let mut protocol = None;
        let invocation = self.context().question(question);
        let finished = self.start(invocation, &mut |said| protocol = protocol.or(output::protocol(said))).await?;
        Ok((finished, protocol))
    }

    /// Finds out how the node takes deletions.
    async fn probe(&self) -> Result<(), Failure> {
        let finished = self.run(Recipe::Probe, &[], &[], &mut |_| ()).await?;
        self.learn(&finished)
    }

    fn learn(&self, probed: &Finished) -> Result<(), Failure> {
        match Failure::of(probed) {
            None => self.deletions.set(Deletions::Listed),
            Some(Failure { cause: Cause::RejectsMissing, .. }) => self.deletions.set(Deletions::Protocol29),
            // The directory above the mirror is missing, which the next run cures: it says nothing of deletions.
            Some(Failure { cause: Cause::NoParent, .. }) if self.can_make_path() => (),
            Some(failure) => return Err(failure),
        }
        Ok(())
    }

    /// The arguments of a run, for people to read.
    pub fn shown(&self, recipe: Recipe) -> String {
        recipe::shown(&self.site, &self.context().invocation(recipe, Vec::new(), []).arguments)
    }

    async fn deliver_plan(&self, plan: &Plan) -> Result<Delivery, Failure> {
        let mut delivery = Delivery::default();
        // New content is in place before old content goes.
        for (recipe, paths) in [
            (Recipe::Present, &plan.present),
            (Recipe::Large, &plan.large),
            (Recipe::Subtrees, &plan.subtrees),
            (Recipe::SubtreesRewritten, &plan.subtrees_rewritten),
        ] {
            if !paths.is_empty() {
                let root = plan.root || paths.iter().any(is_top);
                let sent = self.listed(recipe, recipe::entries(paths, root), plan, &mut delivery).await;
                if let Err(Failure { cause: Cause::TargetFull, .. }) = &sent
                    && !plan.missing.is_empty()
                {
                    // Deletions may be what makes room.
                    self.delete(plan, &mut delivery).await?;
                }
                sent?;
            }
        }
        if !plan.missing.is_empty() && !delivery.blamed.is_empty() {
            // What failed may be the new name of what is to be deleted.
            delivery.blamed.add(Blame::Paths(plan.missing.iter().cloned().collect()));
        } else if !plan.missing.is_empty() {
            self.delete(plan, &mut delivery).await?;
        } else if plan.root && plan.len() == 1 {
            self.listed(Recipe::Root, Vec::new(), plan, &mut delivery).await?;
        }
        delivery.tally.made_mirror |= self.made_mirror.take();
        Ok(delivery)
    }

    async fn delete(&self, plan: &Plan, delivery: &mut Delivery) -> Result<(), Failure> {
        if self.deletions.get() == Deletions::Unknown {
            self.probe().await?;
        }
        let root = plan.root || plan.missing.iter().any(is_top);
        if self.deletions.get() != Deletions::Protocol29 {
            let list = recipe::entries(&plan.missing, root);
            match self.listed(Recipe::Missing, list, plan, delivery).await {
                Err(failure) if failure.cause == Cause::RejectsMissing => self.deletions.set(Deletions::Protocol29),
                other => return other,
            }
        }
        match self.listed(Recipe::Deletions29, recipe::deletions29(&plan.missing), plan, delivery).await {
            // One of them exists again, and such a receiver then takes none: the rest of the batch is done all the same.
            Err(failure) if failure.cause == Cause::RejectsMissing => {
                delivery.blamed.add(Blame::Paths(plan.missing.iter().cloned().collect()));
                delivery.failure.get_or_insert(Failure { cause: Cause::Vanished, ..failure });
            }
            other => other?,
        }
        // That recipe leaves the times of the directories as the deletions made them.
        let parents = recipe::ancestors(&plan.missing);
        if !parents.is_empty() {
            self.listed(Recipe::Present, recipe::entries(&parents, root), plan, delivery).await
        } else {
            self.listed(Recipe::Root, Vec::new(), plan, delivery).await
        }
    }

    /// One run over a list; paths that failed alone go to `delivery`.
    async fn listed(&self, recipe: Recipe, list: Vec<u8>, plan: &Plan, delivery: &mut Delivery) -> Result<(), Failure> {
        let protected: Vec<RelPath> = plan.protected.iter().cloned().collect();
        self.counted(recipe, &list, protected, delivery).await
    }

    async fn reconcile_all(&self) -> Result<Delivery, Failure> {
        let mut delivery = Delivery::default();
        self.counted(Recipe::Full, &[], Vec::new(), &mut delivery).await?;
        // It sent everything to it.
        self.made_mirror.set(false);
        Ok(delivery)
    }

    /// A run whose changes are added to `delivery`, and what failed in it alone. rsync skips all deletions of a run in
    /// which it could not read something: then the rest is done once more without what it could not read.
    async fn counted(
        &self,
        recipe: Recipe,
        list: &[u8],
        mut protected: Vec<RelPath>,
        delivery: &mut Delivery,
    ) -> Result<(), Failure> {
        for first in [true, false] {
            let mut skipped = false;
            let mut count = |said: &[u8]| {
                let line = Line::parse(said);
                skipped |= line == Line::DeletionsSkipped;
                self.made_mirror.set(self.made_mirror.get() || line == Line::MadeMirror);
                delivery.tally.count(&line);
            };
            let finished = self.run_with_path(recipe, list, &protected, &mut count).await?;
            let blamed = self.sort_out(&finished, delivery)?;
            match blamed {
                Blame::Paths(paths) if skipped && first && (1..=UNREADABLE).contains(&paths.len()) => {
                    protected.extend(paths);
                }
                _ if skipped => {
                    delivery.blamed = Blame::Anything;
                    break;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// What a finished run blames, which is added to `delivery`; or its failure as a whole.
    fn sort_out(&self, finished: &Finished, delivery: &mut Delivery) -> Result<Blame, Failure> {
        let Some(failure) = Failure::of(finished) else { return Ok(Blame::default()) };
        // These codes say that the rest is done, whatever the cause.
        if !matches!(finished.code, Code::Exit(23 | 24)) {
            return Err(failure);
        }
        // rsync names what it reads by the path that it was started in, with symlinks resolved.
        let source = self.root.path().canonicalize().unwrap_or_else(|_| self.root.path().to_owned());
        let blamed = blame(&finished.stderr, source.as_os_str().as_bytes(), &self.node);
        delivery.blamed.add(blamed.clone());
        delivery.failure.get_or_insert(failure);
        Ok(blamed)
    }

    /// A run; when a directory above the mirror is missing, once more with the directories made on the way.
    async fn run_with_path(
        &self,
        recipe: Recipe,
        list: &[u8],
        protected: &[RelPath],
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<Finished, Failure> {
        let finished = self.run(recipe, list, protected, line).await?;
        let no_parent = Failure::of(&finished).is_some_and(|failure| failure.cause == Cause::NoParent);
        if !(no_parent && self.can_make_path()) {
            return Ok(finished);
        }
        self.make_path.set(true);
        let again = self.run(recipe, list, protected, line).await?;
        match Failure::of(&again) {
            // The node's rsync is too old for it: the first end tells what is wrong.
            Some(failure) if matches!(failure.cause, Cause::UnknownOption | Cause::Closed) => {
                self.make_path.set(false);
                Ok(finished)
            }
            _ => Ok(again),
        }
    }

    fn can_make_path(&self) -> bool {
        !self.make_path.get() && self.version >= Version::MAKES_PATHS
    }

    async fn run(
        &self,
        recipe: Recipe,
        list: &[u8],
        protected: &[RelPath],
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<Finished, Failure> {
        self.start(self.context().invocation(recipe, list.to_vec(), protected), line).await
    }

    async fn start(&self, invocation: Invocation, line: &mut dyn FnMut(&[u8])) -> Result<Finished, Failure> {
        let directory = self.root.open().map_err(Failure::source_gone)?;
        let finished = run::run(&self.children, &self.site.rsync, Some(directory), invocation, line).await;
        finished.map_err(|error| Failure::not_started(&self.site.rsync, &error))
    }

    fn context(&self) -> Context<'_> {
        Context { site: &self.site, node: &self.node, version: self.version, make_path: self.make_path.get() }
    }
}

impl Transport for Rsync {
    fn deliver(self: Rc<Self>, plan: Rc<Plan>) -> Running {
        Box::pin(async move { self.deliver_plan(&plan).await })
    }

    fn reconcile(self: Rc<Self>) -> Running {
        Box::pin(async move { self.reconcile_all().await })
    }
}

/// The version of a local rsync.
///
/// # Errors
/// When it cannot be run or prints no version of rsync.
pub async fn local_version(children: &Children, program: &Path) -> io::Result<Version> {
    let invocation = Invocation { arguments: vec!["--version".into()], list: Vec::new() };
    let mut version = None;
    run::run(children, program, None, invocation, |line| {
        version = version.or_else(|| Version::parse(&String::from_utf8_lossy(line)));
    })
    .await?;
    version.ok_or_else(|| io::Error::other("it prints no version of rsync"))
}

fn is_top(path: &RelPath) -> bool {
    path.depth() == 1
}
