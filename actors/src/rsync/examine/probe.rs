//! The probe: a file and two symlinks of a name that nobody else has, written to a node, read back and removed.
//!
//! The rsync that removes them is connected before they are written, and neither that one nor the one that writes ends with
//! inosync ([`Apart`]): when inosync is killed, what was begun is written to its end, and then removed. What is left when the
//! machine dies has the same name at the next check, which removes it; so does a comparison that deletes.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

use super::apart::{Apart, Ended};
use super::links::{Link, Rewritten};
use super::{Examination, Heard, Mirror};
use crate::path::{Escaped, RelPath};
use crate::rsync::failure::{Cause, Failure};
use crate::rsync::node::{Kind, Node};
use crate::rsync::output::{self, Line};
use crate::rsync::recipe::{self, Invocation, Recipe, probe};
use crate::rsync::run::PATIENCE;
use crate::rsync::version::Version;
use crate::rsync::{Deletions, Ears, HANG_UP, HANG_UPS, Rsync};
use crate::site::Site;

/// How long a process may take to end once nobody waits for it.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of the file: a block, so that a file system without room says so.
const SIZE: usize = 4096;
/// What the symlinks hold: what a daemon without chroot would rewrite.
const TARGETS: [&str; 2] = ["/inosync-probe", "../inosync-probe"];

/// The probe on this machine, for all nodes: two directories outside of the source. They are gone with the process, however
/// it ends.
#[derive(Debug)]
pub struct Probe {
    directory: TempDir,
    /// The file, then the symlinks.
    names: Vec<RelPath>,
    sweeper: Apart,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Where it was written.
    pub place: Place,
    /// What is wrong, or worth a look; empty when all is well.
    pub findings: Vec<Finding>,
}

/// Where a probe is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the mirror.
    Mirror,
    /// In a directory above it: there is no mirror yet.
    Above(String),
    /// Nowhere: there is no mirror, and the node does not tell which directory above it is there.
    Nowhere,
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing can be written.
    NotWritable {
        /// Where.
        path: String,
        /// Who writes.
        user: String,
        /// What the node said.
        said: String,
        /// Whether it is on this machine.
        is_here: bool,
        /// Whether it is the mirror itself.
        is_mirror: bool,
    },
    /// The run failed in another way.
    Failed(Failure),
    /// It was written and cannot be removed.
    Stays(String, Failure),
    /// The node keeps no symlinks.
    NoLinks(String),
    /// The node rewrites symlinks.
    Rewritten(Rewritten),
    /// What the node's rsync excludes by itself cannot be tried.
    Excluded,
    /// rsync ended well and did not say that it sent the probe.
    NotSent,
    /// The node lets one connection in at a time.
    OneAtATime,
}

impl Finding {
    /// Whether the node was not seen to take the probe.
    pub fn is_unproven(&self) -> bool {
        self.is_fault() || matches!(self, Finding::Excluded | Finding::NotSent)
    }

    /// Whether it would keep the daemon from its work.
    pub fn is_fault(&self) -> bool {
        matches!(self, Finding::NotWritable { .. } | Finding::Failed(_) | Finding::Stays(..))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::NotWritable { path, user, said, is_here, is_mirror } => {
                let (at, there) = if *is_here { ("", "") } else { (" at the node", " there") };
                let what = if *is_mirror { "the mirror" } else { "the mirror cannot be made:" };
                let can = if *is_mirror { "cannot be written by" } else { "may not be written by" };
                let cure = if *is_mirror { "chown it" } else { "make the mirror and chown it" };
                write!(f, "{what} {path} {can} {user}{at}: {said}; {cure}{there}, or correct rpath")
            }
            Finding::Failed(failure) => write!(f, "{failure}"),
            Finding::Stays(name, failure) => {
                write!(
                    f,
                    "a probe could be written but not deleted, so removals will fail: {failure}; remove {name} there"
                )
            }
            Finding::NoLinks(said) => {
                write!(f, "symlinks cannot be made at the node: {said}; each symlink of the source will fail there")
            }
            Finding::Rewritten(rewritten) => write!(f, "{rewritten}; {}", Rewritten::CURE),
            Finding::NotSent => {
                f.write_str("not tried to write: rsync sent no probe, by an option in `extra` perhaps (a limit of size)")
            }
            Finding::OneAtATime => f.write_str(
                "the node let no second connection in, which the daemon has (standbys, lanes): raise `max connections` in \
                 rsyncd.conf there, or start rrsync with -no-lock",
            ),
            Finding::Excluded => f.write_str(
                "not tried to write: the node's rsync excludes the name of the probe (`exclude` in rsyncd.conf)",
            ),
        }
    }
}

impl Probe {
    /// Makes it.
    ///
    /// # Errors
    /// When there is no place for it on this machine, or rsync cannot be started.
    pub fn new(site: &Site) -> io::Result<Probe> {
        let parent = place(site);
        let directory = tempfile::Builder::new().prefix("inosync-check-").tempdir_in(&parent)?;
        let name = name(site);
        let names: Vec<RelPath> = ["", "-absolute", "-outside"]
            .iter()
            .filter_map(|end| RelPath::new(format!("{name}{end}").as_bytes()).ok())
            .collect();
        let (sent, nowhere) = (directory.path().join("sent"), directory.path().join("nowhere"));
        fs::create_dir(&sent)?;
        fs::create_dir(nowhere)?;
        let sweeper = sweeper(site, &parent, directory.path())?;
        for (at, name) in names.iter().enumerate() {
            match at.checked_sub(1).and_then(|at| TARGETS.get(at)) {
                None => fs::write(name.under(&sent), [b'\n'; SIZE])?,
                Some(target) => symlink(target, name.under(&sent))?,
            }
        }
        Ok(Probe { directory, names, sweeper })
    }

    /// Removes it from this machine.
    pub async fn close(mut self) {
        // The directory itself goes with `self`, whatever comes of this.
        let _ = tokio::time::timeout(GRACE, self.sweeper.release()).await;
    }

    fn links(&self) -> Vec<Link> {
        let links = self.names.iter().skip(1).zip(TARGETS);
        links.map(|(path, target)| Link { path: path.clone(), target: target.into() }).collect()
    }

    fn sent(&self) -> PathBuf {
        self.directory.path().join("sent")
    }

    fn nowhere(&self) -> PathBuf {
        self.directory.path().join("nowhere")
    }
}

/// The process that removes the probe from this machine when inosync was killed.
fn sweeper(site: &Site, parent: &Path, directory: &Path) -> io::Result<Apart> {
    const OPTIONS: [&str; 8] =
        ["--dirs", "--no-recursive", "--from0", "--files-from=-", "--delete-missing-args", "--delete", "--force", "--"];
    let name = directory.file_name().unwrap_or_default().as_encoded_bytes();
    let list = [b"/", name, b"\0"].concat();
    let mut arguments: Vec<std::ffi::OsString> = OPTIONS.iter().map(Into::into).collect();
    arguments.extend([".".into(), parent.join("").into_os_string()]);
    // There is no such name in there, so the receiver deletes what has it.
    let elsewhere = File::open(directory.join("nowhere"))?;
    Apart::waiting(&site.rsync, elsewhere.into(), &arguments, &list)
}

/// A directory for it which nobody watches.
fn place(site: &Site) -> PathBuf {
    let root = site.wpath.canonicalize().unwrap_or_else(|_| site.wpath.clone());
    let is_watched = |path: &Path| {
        let below =
            path.strip_prefix(&root).ok().and_then(|below| RelPath::new(below.as_os_str().as_encoded_bytes()).ok());
        below.is_some_and(|below| !site.excludes.excludes(&below, true))
    };
    let fits = |path: &PathBuf| path.is_dir() && path.canonicalize().is_ok_and(|path| !is_watched(&path));
    let state = site.state_file.as_ref().and_then(|file| file.parent()).map(Path::to_owned);
    let usual = ["/var/tmp", "/dev/shm", "/run"].map(PathBuf::from);
    let mut places = [std::env::temp_dir()].into_iter().chain(state).chain(usual);
    places.find(fits).unwrap_or_else(std::env::temp_dir)
}

/// The same at each check of this source from this machine.
fn name(site: &Site) -> String {
    let mut hasher = DefaultHasher::new();
    fs::read("/proc/sys/kernel/hostname").unwrap_or_default().hash(&mut hasher);
    site.wpath.hash(&mut hasher);
    format!(".inosync-probe-{:016x}", hasher.finish())
}

/// What one probe does at one node.
struct Visit<'a> {
    rsync: &'a Rc<Rsync>,
    probe: &'a Probe,
    site: &'a Site,
    node: &'a Node,
    is_mirror: bool,
    /// Whether the times of the mirror are those of the source, and are to be so again.
    restores: bool,
}

impl Rsync {
    /// Writes the probe to the node, reads it back, and removes it. Nothing stays.
    ///
    /// # Errors
    /// When a process cannot be started here, or the node cannot be reached.
    pub async fn probe_writing(self: &Rc<Self>, probe: &Probe, examined: &Examination) -> Result<Probed, Failure> {
        let site = probe::bare(&self.site);
        // A receiver that rejects missing entries says nothing else then.
        let mirror = if examined.deletions29 { self.look(&site, false).await?.0 } else { examined.mirror };
        let (node, place) = match mirror {
            Mirror::Equal | Mirror::Other => (Some(self.node.clone()), Place::Mirror),
            Mirror::Absent => match self.existing(&site).await? {
                Some(node) => (Some(node.clone()), Place::Above(shown(&node))),
                None => (None, Place::Nowhere),
            },
        };
        let Some(node) = node else { return Ok(Probed { place, findings: Vec::new() }) };
        let is_mirror = place == Place::Mirror;
        let restores = mirror == Mirror::Equal && !examined.deletions29;
        let visit = Visit { rsync: self, probe, site: &site, node: &node, is_mirror, restores };
        Ok(Probed { place, findings: visit.findings().await? })
    }

    /// The nearest directory above the mirror that is there.
    async fn existing(self: &Rc<Self>, site: &Site) -> Result<Option<Node>, Failure> {
        if self.version < Version::MAKES_PATHS {
            return Ok(None);
        }
        let (_, levels) = self.look(site, true).await?;
        Ok(levels.and_then(|levels| self.node.above(levels)))
    }

    /// What is at the place of the mirror, and how many directories are missing there if that is told.
    async fn look(self: &Rc<Self>, site: &Site, make_path: bool) -> Result<(Mirror, Option<usize>), Failure> {
        let (mut heard, mut levels) = (Heard { protocol: None, mirror: Mirror::Equal }, None);
        let mut line = |said: &[u8]| {
            heard.hear(said);
            levels = levels.or(missing(said));
        };
        let mut ears = Ears { line: &mut line, worked: None };
        let Invocation { arguments, list } = probe::at(self.context(false), site, &self.node).looking(make_path);
        let process = self.process(self.source()?, &arguments)?;
        let finished = self.finish(process, &list, PATIENCE, &mut ears).await?;
        match Failure::of(&finished) {
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
            let failure = Failure::of(&refused.finished).map(Finding::Failed);
            return Ok(if is_full(&refused) { Visited::Full } else { Visited::Done(failure.into_iter().collect()) });
        }
        let written = self.write(Some(&removes))?.release().await.map_err(broken)?;
        if is_full(&written) {
            removes.release().await.map_err(broken)?;
            return Ok(Visited::Full);
        }
        let mut findings = self.judge(&written).await;
        findings.extend(self.rewritten(&findings).await);
        let removed = removes.release().await.map_err(broken)?;
        findings.extend(self.left(&removed, &findings));
        Ok(Visited::Done(findings))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        Failure::not_started(&self.site.rsync, error)
    }

    fn context(&self) -> recipe::Context<'_> {
        probe::at(self.rsync.context(false), self.site, self.node)
    }

    fn write(&self, after: Option<&Apart>) -> Result<Apart, Failure> {
        let list = recipe::entries(&self.probe.names, false);
        let Invocation { arguments, list } = self.context().invocation(Recipe::Present, list, &[]);
        let started = File::open(self.probe.sent())
            .and_then(|sent| Apart::before(after, &self.site.rsync, sent.into(), &arguments, &list));
        started.map_err(|error| self.broken(&error))
    }

    fn remove(&self) -> Result<Apart, Failure> {
        let names = &self.probe.names;
        let (recipe, list) = match self.rsync.deletions.get() {
            Deletions::Protocol29 => (Recipe::Deletions29, recipe::deletions29(names)),
            Deletions::Listed | Deletions::Unknown => (Recipe::Missing, recipe::entries(names, self.restores)),
        };
        let directory = if self.restores {
            self.rsync.source()?
        } else {
            File::open(self.probe.nowhere()).map_err(|error| self.broken(&error))?.into()
        };
        let Invocation { arguments, list } = self.context().invocation(recipe, list, &[]);
        let started = Apart::waiting(&self.site.rsync, directory, &arguments, &list);
        started.map_err(|error| self.broken(&error))
    }

    /// What the writing run tells.
    async fn judge(&self, written: &Ended) -> Vec<Finding> {
        let complaints = complaints(&written.finished.stderr);
        let mut findings = Vec::new();
        if written.lines().chain(complaints.iter().copied()).any(is_excluded) {
            return vec![Finding::Excluded];
        }
        let is_sent = written.lines().any(|line| output::stored(line).as_ref() == self.probe.names.first());
        let Some(failure) = Failure::of(&written.finished) else {
            findings.extend((!is_sent).then_some(Finding::NotSent));
            return findings;
        };
        let denied = complaints.iter().find_map(|line| denial(line));
        let link = complaints.iter().find(|line| is_about_symlink(line));
        let file_is_denied = complaints.iter().any(|line| !is_about_symlink(line) && denial(line).is_some());
        match (denied.filter(|_| file_is_denied), link) {
            (Some(said), _) => findings.push(Finding::NotWritable {
                path: shown(self.node),
                user: self.rsync.writer().await,
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

    /// What the node has of the symlinks, where it tells that.
    async fn rewritten(&self, so_far: &[Finding]) -> Option<Finding> {
        if self.node.kind() == Kind::Local || !so_far.is_empty() {
            return None;
        }
        let links = self.probe.links();
        let list = recipe::entries(links.iter().map(|link| &link.path), false);
        let invocation = self.context().reading(list, &self.probe.nowhere());
        let read = self.rsync.read(&invocation, &links, &self.probe.nowhere()).await;
        read.ok()?.into_iter().next().map(Finding::Rewritten)
    }

    /// What the removing run tells; a node where nothing could be written has nothing to remove.
    fn left(&self, removed: &Ended, so_far: &[Finding]) -> Option<Finding> {
        let failure = Failure::of(&removed.finished)?;
        let nothing_was_written = so_far.iter().any(|finding| finding.is_fault() || *finding == Finding::Excluded);
        let deleted =
            |line: &[u8]| matches!(Line::parse(line), Line::Deleted(path) if self.probe.names.contains(&path));
        if nothing_was_written || removed.lines().any(deleted) && failure.cause != Cause::Partial {
            return None;
        }
        let name = self.probe.names.first().map(|name| format!("{}{name}*", shown(self.node)));
        Some(Finding::Stays(name.unwrap_or_default(), failure))
    }
}

/// What comes of a probe.
enum Visited {
    /// This.
    Done(Vec<Finding>),
    /// Nothing: another connection has the place.
    Full,
}

/// Whether the node let nobody in because others are there: an rsync daemon with `max connections`, rrsync without -no-lock.
fn is_full(ended: &Ended) -> bool {
    let is_busy = |failure: Failure| failure.cause == Cause::Busy;
    Failure::of(&ended.finished).is_some_and(is_busy) || holds(&ended.finished.stderr, "Another instance of rrsync")
}

/// A destination, for people.
fn shown(node: &Node) -> String {
    let path = node.local_path().map_or(node.dest().as_encoded_bytes(), |path| path.as_os_str().as_encoded_bytes());
    if path.is_empty() { "/".to_owned() } else { Escaped(path).to_string() }
}

/// How many directories are missing down to the mirror: rsync says `created 2 directories for /a/b`.
fn missing(line: &[u8]) -> Option<usize> {
    let (number, rest) = std::str::from_utf8(line).ok()?.strip_prefix("created ")?.split_once(' ')?;
    let is_it = rest.starts_with("directory for ") || rest.starts_with("directories for ");
    number.parse().ok().filter(|_| is_it)
}

/// The lines that tell of a single fault, without the one at the end that sums them up.
fn complaints(stderr: &[u8]) -> Vec<&[u8]> {
    let lines = stderr.split(|&byte| byte == b'\n');
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"rsync error: ")).collect()
}

fn holds(line: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(line).contains(word)
}

/// Whether the node's rsync daemon says that it excludes a name.
pub(in crate::rsync) fn is_excluded(line: &[u8]) -> bool {
    holds(line, "daemon-excluded") || holds(line, "daemon refused")
}

fn is_about_symlink(line: &[u8]) -> bool {
    call(line).as_deref() == Some("symlink")
}

/// The node's words, when it denied to make the file.
fn denial(line: &[u8]) -> Option<&'static str> {
    let makes = matches!(call(line)?.as_str(), "mkstemp" | "mkdir" | "open" | "symlink");
    let words = ["Permission denied", "Operation not permitted"];
    words.into_iter().find(|said| makes && holds(line, &format!("failed: {said} (")))
}

/// The system call that a complaint is about: `rsync: [receiver] mkstemp "/m/.f.a" failed: ...`.
fn call(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let rest = text.strip_prefix("rsync: ")?;
    let rest = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(rest, |(_, rest)| rest);
    let rest = rest.strip_prefix("recv_generator: ").unwrap_or(rest);
    rest.split_once(" \"").map(|(call, _)| call.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_directories_are_missing() {
        for (line, expected) in [
            ("created 1 directory for /m", Some(1)),
            ("created 3 directories for /a/b/c", Some(3)),
            ("created directory /m", None),
            ("created 3 files for /m", None),
            ("cd+++++++++|60|0|./", None),
        ] {
            assert_eq!(missing(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn only_what_the_receiver_may_not_make_is_a_denial() {
        for (line, expected) in [
            ("rsync: [receiver] mkstemp \"/m/.f.MEc3xI\" failed: Permission denied (13)", Some("Permission denied")),
            (
                "rsync: [receiver] mkstemp \"/m/.f.MEc3xI\" failed: Operation not permitted (1)",
                Some("Operation not permitted"),
            ),
            ("rsync: [receiver] mkstemp \"/m/.f.MEc3xI\" failed: Read-only file system (30)", None),
            ("rsync: [generator] chown \"/m/.f\" failed: Operation not permitted (1)", None),
            ("rsync: [generator] chown \"/open mkdir \" failed: Operation not permitted (1)", None),
            ("rsync: mkstemp \"/m/.f.MEc3xI\" failed: Permission denied (13)", Some("Permission denied")),
            (
                "rsync: [generator] recv_generator: mkdir \"/m/d\" failed: Permission denied (13)",
                Some("Permission denied"),
            ),
            ("rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)", None),
        ] {
            assert_eq!(denial(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_mirror_that_may_not_be_written_is_told_with_its_user_and_cure() {
        let finding = |is_here, is_mirror| {
            let (path, user, said) = ("/srv/m".to_owned(), "www".to_owned(), "Permission denied".to_owned());
            Finding::NotWritable { path, user, said, is_here, is_mirror }.to_string()
        };
        let here = "the mirror /srv/m cannot be written by www: Permission denied; chown it, or correct rpath";
        assert_eq!(finding(true, true), here);
        let there = "the mirror /srv/m cannot be written by www at the node: Permission denied; chown it there, or correct rpath";
        assert_eq!(finding(false, true), there);
        let above = "the mirror cannot be made: /srv/m may not be written by www at the node: Permission denied; \
                     make the mirror and chown it there, or correct rpath";
        assert_eq!(finding(false, false), above);
    }
}
