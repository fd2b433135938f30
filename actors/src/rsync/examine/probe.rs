//! The probe: a file and two symlinks of a name that nobody else has, written to a node, read back and removed.
//!
//! The rsync that removes them is connected before they are written, and neither that one nor the one that writes ends with
//! inosync ([`Apart`]): when inosync is killed, what was begun is written to its end, and then removed. What is left when the
//! machine dies has the same name at the next check, which removes it; so does a comparison that deletes.

mod local;

use crate::rsync::report::failure;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::Path;

pub use self::local::Probe;
use super::apart::{Apart, Ended};
use super::finding::{Finding, complaints, denial, holds, is_about_symlink, is_excluded, missing};
use super::{Examination, Examiner, Mirror, NodeReplies};
use crate::node::{Kind, Node};
use crate::path::{Escaped, RelPath};
use crate::rsync::learned::Deletions;
use crate::rsync::recipe::{self, Invocation, Recipe, probe};
use crate::rsync::report::claims::Claims;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;
use crate::rsync::runner::connection::{HANG_UP, HANG_UPS};
use crate::rsync::runner::process::{Input, PATIENCE, Patience};
use crate::rsync::runner::run_order::Ears;
use crate::site::Site;
use crate::site::version::Version;
use crate::transport::failure::{Cause, Failure};
use crate::transport::traits::Traits;

/// The findings of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The place where the probe was written.
    pub place: ProbePlace,
    /// Faults, and facts that deserve a look; empty when all is well.
    pub findings: Vec<Finding>,
    /// The properties that the node cannot store, as far as the probe shows them.
    pub limits: Traits,
}

/// The place where a probe is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbePlace {
    /// The mirror itself, which exists.
    Mirror,
    /// In a directory above it: there is no mirror yet.
    Above(String),
    /// Nowhere: there is no mirror, and the node does not tell which directory above it is there.
    Nowhere,
}

/// One probe of one node.
pub(super) struct Visit<'a> {
    pub(super) examiner: &'a Examiner,
    pub(super) probe: &'a Probe,
    site: &'a Site,
    node: &'a Node,
    is_mirror: bool,
    /// `true` if the times of the mirror are those of the source, and are to be so again.
    restores: bool,
    /// The properties that the node cannot store, once the node was asked.
    limits: RefCell<Traits>,
}

impl Examiner {
    /// Writes the probe to the node, reads it back, and removes it. Nothing stays.
    ///
    /// # Errors
    /// When a process cannot be started here, or the node cannot be reached.
    pub async fn probe_writing(&self, probe: &Probe, examined: &Examination) -> Result<Probed, Failure> {
        let site = probe::bare(&self.target.site);
        // A receiver that rejects missing entries says nothing else then.
        let mirror = if examined.deletions29 { self.look(&site, false).await?.0 } else { examined.mirror };
        let (node, place) = match mirror {
            Mirror::Equal | Mirror::Other => (Some(self.target.node.clone()), ProbePlace::Mirror),
            Mirror::Absent => match self.existing(&site).await? {
                Some(node) => (Some(node.clone()), ProbePlace::Above(shown(&node))),
                None => (None, ProbePlace::Nowhere),
            },
        };
        let Some(node) = node else { return Ok(Probed { place, findings: Vec::new(), limits: Traits::default() }) };
        if mirror == Mirror::Absent
            && let Some(finding) = self.leads_nowhere(&site, &node, &probe.nowhere()).await?
        {
            return Ok(Probed { place, findings: vec![finding], limits: Traits::default() });
        }
        let is_mirror = place == ProbePlace::Mirror;
        let restores = mirror == Mirror::Equal && !examined.deletions29;
        let limits = RefCell::default();
        let visit = Visit { examiner: self, probe, site: &site, node: &node, is_mirror, restores, limits };
        let findings = visit.findings().await?;
        Ok(Probed { place, findings, limits: visit.limits.take() })
    }

    /// The nearest directory above the mirror that is there.
    async fn existing(&self, site: &Site) -> Result<Option<Node>, Failure> {
        if self.target.version < Version::MAKES_PATHS {
            return Ok(None);
        }
        let (_, levels) = self.look(site, true).await?;
        Ok(levels.and_then(|levels| self.target.node.above(levels)))
    }

    /// Tells if what is missing first on the way from the directory `above` to the mirror is a symlink: rsync makes no
    /// directory in its place.
    async fn leads_nowhere(&self, site: &Site, above: &Node, nowhere: &Path) -> Result<Option<Finding>, Failure> {
        let below = self.target.node.mirror_root().strip_prefix(above.mirror_root()).unwrap_or_default();
        let name = below.split(|&byte| byte == b'/').find(|name| !name.is_empty());
        let Some(path) = name.and_then(|name| RelPath::new(name).ok()) else { return Ok(None) };
        let mut is_link = false;
        let mut line = |said: &[u8]| is_link |= said.get(..2).is_some_and(|item| item.ends_with(b"L"));
        let mut ears = Ears::to(&mut line);
        let invocation =
            probe::at(self.runner.context(false), site, above).reading(recipe::entries([&path], false), nowhere);
        let process = self.runner.process_at_large(self.target.source()?, &invocation.arguments)?;
        // A node that does not tell, such as a module for writing alone, is tried all the same.
        self.runner
            .finish(
                process,
                Input::of(&invocation.list),
                &Claims::ANY,
                (Patience::of(PATIENCE), self.runner.speed.small()),
                &mut ears,
            )
            .await?;
        Ok(is_link.then(|| Finding::Dangling(format!("{}/{path}", shown(above).trim_end_matches('/')))))
    }

    /// Looks at the place of the mirror, and counts the directories that are missing there if the node tells.
    async fn look(&self, site: &Site, make_path: bool) -> Result<(Mirror, Option<usize>), Failure> {
        let mut heard = NodeReplies { protocol: None, mirror: Mirror::Equal };
        let mut levels = None;
        let mut line = |said: &[u8]| {
            heard.hear(said);
            levels = levels.or(missing(said));
        };
        let mut ears = Ears::to(&mut line);
        let Invocation { arguments, list } =
            probe::at(self.runner.context(false), site, &self.target.node).looking(make_path);
        let process = self.runner.process(self.target.source()?, &arguments).await?;
        let finished = self
            .runner
            .finish(
                process,
                Input::of(&list),
                &Claims::ANY,
                (Patience::of(PATIENCE), self.runner.speed.small()),
                &mut ears,
            )
            .await?;
        match failure::of(&finished) {
            // The node's rsync is too old to count them.
            Some(failure) if make_path && failure.cause == Cause::UnknownOption => Ok((heard.mirror, None)),
            Some(failure) if !is_excluded(&finished.stderr) => Err(failure),
            _ => Ok((heard.mirror, levels)),
        }
    }
}

impl Visit<'_> {
    async fn findings(&self) -> Result<Vec<Finding>, Failure> {
        for _ in 0..HANG_UPS {
            match self.visit().await? {
                Visited::Done(findings) => return Ok(findings),
                // The node notices late that a connection has ended.
                Visited::Full => tokio::time::sleep(HANG_UP).await,
            }
        }
        self.one_by_one().await
    }

    /// The node has room for one connection: what removes the probe cannot be there before it is written.
    async fn one_by_one(&self) -> Result<Vec<Finding>, Failure> {
        let mut written = self.write(None)?.release().await;
        for _ in 0..HANG_UPS {
            if !written.as_ref().is_ok_and(is_full) {
                break;
            }
            tokio::time::sleep(HANG_UP).await;
            written = self.write(None)?.release().await;
        }
        let mut findings = self.judge(&written.map_err(|error| self.broken(&error))?).await;
        let mut removed = self.remove()?.release().await;
        for _ in 0..HANG_UPS {
            if !removed.as_ref().is_ok_and(is_full) {
                break;
            }
            tokio::time::sleep(HANG_UP).await;
            removed = self.remove()?.release().await;
        }
        findings.extend(self.left(&removed.map_err(|error| self.broken(&error))?, &findings));
        findings.push(Finding::OneAtATime);
        Ok(findings)
    }

    async fn visit(&self) -> Result<Visited, Failure> {
        let broken = |error: io::Error| self.broken(&error);
        let mut removes = self.remove()?;
        if !removes.connected().await.map_err(broken)? {
            let refused = removes.release().await.map_err(broken)?;
            let failure = failure::of(&refused.finished).map(Finding::Failed);
            return Ok(if is_full(&refused) { Visited::Full } else { Visited::Done(failure.into_iter().collect()) });
        }
        let written = self.write(Some(&removes))?.release().await.map_err(broken)?;
        if is_full(&written) {
            removes.release().await.map_err(broken)?;
            return Ok(Visited::Full);
        }
        let mut findings = self.judge(&written).await;
        findings.extend(self.rewritten(&findings).await);
        if !findings.iter().any(Finding::is_unproven) {
            self.limits.replace(self.limits().await);
        }
        let removed = removes.release().await.map_err(broken)?;
        findings.extend(self.left(&removed, &findings));
        Ok(Visited::Done(findings))
    }

    pub(super) fn broken(&self, error: &io::Error) -> Failure {
        Failure::not_started(&self.site.rsync, error)
    }

    pub(super) fn context(&self) -> recipe::Context<'_> {
        probe::at(self.examiner.runner.context(false), self.site, self.node)
    }

    fn write(&self, after: Option<&Apart>) -> Result<Apart, Failure> {
        let list = recipe::entries(self.probe.names(), false);
        let Invocation { arguments, list } = self.context().invocation(Recipe::Present, list, &[]);
        let started = File::open(self.probe.sent())
            .and_then(|sent| Apart::before(after, &self.site.rsync, sent.into(), &arguments, &list));
        started.map_err(|error| self.broken(&error))
    }

    fn remove(&self) -> Result<Apart, Failure> {
        let names = self.probe.names();
        let (recipe, list) = match self.examiner.target.learned.borrow().deletions() {
            Deletions::Protocol29 => (Recipe::Deletions29, recipe::deletions29(names)),
            Deletions::Listed | Deletions::Unknown => (Recipe::Missing, recipe::entries(names, self.restores)),
        };
        let directory = if self.restores {
            self.examiner.target.source()?
        } else {
            File::open(self.probe.nowhere()).map_err(|error| self.broken(&error))?.into()
        };
        let Invocation { arguments, list } = self.context().invocation(recipe, list, &[]);
        let started = Apart::waiting(&self.site.rsync, directory, &arguments, &list);
        started.map_err(|error| self.broken(&error))
    }

    /// Reads the findings from the run that writes the probe.
    async fn judge(&self, written: &Ended) -> Vec<Finding> {
        let complaints = complaints(&written.finished.stderr);
        let mut findings = Vec::new();
        if written.lines().chain(complaints.iter().copied()).any(is_excluded) {
            return vec![Finding::Excluded];
        }
        let is_sent = written.lines().any(|line| output::stored(line).as_ref() == self.probe.names().first());
        let Some(failure) = failure::of(&written.finished) else {
            findings.extend((!is_sent).then_some(Finding::NotSent));
            return findings;
        };
        let denied = complaints.iter().find_map(|line| denial(line));
        let link = complaints.iter().find(|line| is_about_symlink(line));
        let file_is_denied = complaints.iter().any(|line| !is_about_symlink(line) && denial(line).is_some());
        match (denied.filter(|_| file_is_denied), link) {
            (Some(said), _) => findings.push(Finding::NotWritable {
                path: shown(self.node),
                user: self.examiner.writer().await,
                said: said.to_owned(),
                is_here: self.node.kind() == Kind::Local,
                is_mirror: self.is_mirror,
            }),
            (None, Some(line)) if complaints.iter().all(|line| is_about_symlink(line)) => {
                findings.push(Finding::NoLinks(Escaped(line).to_string()));
            }
            _ => findings.push(Finding::Failed(failure)),
        }
        findings
    }

    /// Compares the symlinks as the node has them, if the node tells.
    async fn rewritten(&self, so_far: &[Finding]) -> Option<Finding> {
        if self.node.kind() == Kind::Local || !so_far.is_empty() {
            return None;
        }
        let links = self.probe.links();
        let list = recipe::entries(links.iter().map(|link| &link.path), false);
        let invocation = self.context().reading(list, &self.probe.nowhere());
        let read = self.examiner.read(&invocation, &links, &self.probe.nowhere()).await;
        read.ok()?.into_iter().next().map(Finding::Rewritten)
    }

    /// Reads a finding from the run that removes the probe. A node where nothing could be written has nothing to
    /// remove.
    fn left(&self, removed: &Ended, so_far: &[Finding]) -> Option<Finding> {
        let failure = failure::of(&removed.finished)?;
        let nothing_was_written = so_far.iter().any(|finding| finding.is_fault() || *finding == Finding::Excluded);
        let deleted =
            |line: &[u8]| matches!(Line::parse(line), Line::Deleted(path) if self.probe.names().contains(&path));
        if nothing_was_written || removed.lines().any(deleted) && failure.cause != Cause::Partial {
            return None;
        }
        let name = self.probe.names().first().map(|name| format!("{}{name}*", shown(self.node)));
        Some(Finding::Stays(name.unwrap_or_default(), failure))
    }
}

/// The outcome of a visit.
enum Visited {
    /// The visit is over, with these findings.
    Done(Vec<Finding>),
    /// Nothing: another connection has the place.
    Full,
}

/// Tells if the node let nobody in because others are there: an rsync daemon with `max connections`, rrsync without
/// -no-lock.
fn is_full(ended: &Ended) -> bool {
    let is_busy = |failure: Failure| failure.cause == Cause::Busy;
    failure::of(&ended.finished).is_some_and(is_busy) || holds(&ended.finished.stderr, "Another instance of rrsync")
}

/// A destination, for people.
fn shown(node: &Node) -> String {
    let path = node.local_path().map_or(node.dest().as_encoded_bytes(), |path| path.as_os_str().as_encoded_bytes());
    if path.is_empty() { "/".to_owned() } else { Escaped(path).to_string() }
}
