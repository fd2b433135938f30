//! Asks a node what its rsync is, and with `check` whether a mirror can be written there. Nothing stays there.

mod apart;
mod finding;
mod limits;
mod links;
mod probe;
mod user;

use crate::rsync::report::failure;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

pub use self::finding::Finding;
pub(super) use self::finding::is_excluded;
pub(super) use self::links::links_of;
pub use self::probe::{Probe, ProbePlace, Probed};
pub use self::user::own_name;
use super::deliver::{NameRule, NamesSeen, Sampler, is_still_sample};
use super::learned::Deletions;
use super::recipe::{self, ProbeQuestion, Recipe};
use super::target::Target;
use crate::node::Kind;
use crate::path::{Escaped, RelPath};
use crate::rsync::report::claims::Claims;
use crate::rsync::report::complaint;
use crate::rsync::report::output::{Line, difference};
use crate::rsync::runner::Runner;
use crate::rsync::runner::greeting::Greeting;
use crate::rsync::runner::process::{Finished, Input, PATIENCE, Patience};
use crate::rsync::runner::run_order::{Ears, Order, Work};
use crate::site::version::Version;
use crate::transport::failure::{Cause, Failure};

/// The facts that `check` learns about a node without changing anything there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examination {
    /// The version of its rsync, if it tells.
    pub version: Option<Version>,
    /// The protocol that it speaks.
    pub protocol: Option<u32>,
    /// `true` if it takes deletions only in protocol 29.
    pub deletions29: bool,
    /// The state of the mirror's place.
    pub mirror: Mirror,
}

/// The state of the place where the mirror is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirror {
    /// Nothing is there yet.
    Absent,
    /// A directory whose times and permissions are those of the source.
    Equal,
    /// A directory that differs from the source.
    Other,
}

/// The answers of a node while it is asked.
struct NodeReplies {
    protocol: Option<u32>,
    mirror: Mirror,
}

impl NodeReplies {
    fn hear(&mut self, said: &[u8]) {
        self.protocol = self.protocol.or(Greeting::read(said).and_then(Greeting::protocol));
        // The run also tells of entries that are as they should be.
        let differs = || difference(said).is_some_and(|(path, _)| path.is_root());
        match Line::parse(said) {
            Line::MadeMirror => self.mirror = Mirror::Absent,
            _ if self.mirror == Mirror::Equal && differs() => self.mirror = Mirror::Other,
            _ => (),
        }
    }
}

/// The answer of a node to one question about names.
struct NamesAnswer {
    finished: Finished,
    names: NameRule,
    /// The file that it was asked about.
    file: Option<RelPath>,
}

/// Asks one node for its facts.
pub struct Examiner {
    target: Rc<Target>,
    runner: Rc<Runner>,
    /// The number of questions about names.
    asked: Cell<usize>,
}

impl Examiner {
    pub(super) fn new(target: Rc<Target>, runner: Rc<Runner>) -> Rc<Self> {
        Rc::new(Examiner { target, runner, asked: Cell::new(0) })
    }

    /// Finds out how the node takes deletions, and asks it once how it tells names apart, when these were `removed`.
    pub(super) async fn probe(&self, removed: &BTreeSet<RelPath>) -> Result<(), Failure> {
        let NamesAnswer { finished, names, file } = self.ask_about_names(None, removed).await?;
        self.target.learned.borrow_mut().tells_names_once(names, file);
        if names == NameRule::One {
            self.target.note_case(true);
        }
        self.learn(&finished)
    }

    /// Finds out how the node tells names apart, when these were `removed`. Where it was asked once, it is asked only whether it
    /// says so again.
    pub(super) async fn probe_names(&self, removed: &BTreeSet<RelPath>) -> Result<(), Failure> {
        let asked_by = || self.target.learned.borrow().told_apart_by().cloned();
        if asked_by().is_none() {
            self.probe(removed).await?;
        }
        let Some(file) = asked_by() else { return Ok(()) };
        let NamesAnswer { finished, names, .. } = self.ask_about_names(Some(&file), removed).await?;
        let names = NameRule::Apart.confirmed_by(names);
        self.target.learned.borrow_mut().tells_names(names);
        if matches!(names, NameRule::One | NameRule::Apart) {
            self.target.note_case(names == NameRule::One);
        }
        self.learn(&finished)
    }

    /// Asks the node about a file, the given one if that can be, and its name in another case; and how it takes deletions.
    async fn ask_about_names(
        &self,
        file: Option<&RelPath>,
        removed: &BTreeSet<RelPath>,
    ) -> Result<NamesAnswer, Failure> {
        let turn = self.asked.replace(self.asked.get().wrapping_add(1));
        let sampler = Sampler::new(&self.target.root, &self.target.site.excludes, turn, removed);
        let sample = file.and_then(|file| sampler.of_file(file)).or_else(|| sampler.of_any());
        let list = sample.as_ref().map_or_else(Vec::new, |(name, other)| recipe::entries([name, other], true));
        let mut seen = NamesSeen::default();
        let mut hear = |said: &[u8]| seen.hear(said, sample.as_ref());
        let order = Order { work: Work::List(&list), ..Order::of(Recipe::Probe) };
        let finished = self.runner.run(&order, &mut Ears::to(&mut hear)).await?;
        let is_sound = sample.as_ref().is_some_and(|sample| is_still_sample(&self.target.root, sample));
        Ok(NamesAnswer { finished, names: seen.names(is_sound), file: sample.map(|(name, _)| name) })
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
            Some(Failure { cause: Cause::Partial | Cause::NodeExcludes, .. }) if is_excluded(&probed.stderr) => {
                self.target.learned.borrow_mut().takes_deletions(Deletions::Listed);
            }
            Some(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Asks the node for its facts. Changes nothing there.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn examine(&self) -> Result<Examination, Failure> {
        // A forced command at the node may refuse the question for the version.
        let mut finished = self.question(ProbeQuestion::Version).await?;
        is_rsync(&finished.0)?;
        if failure::of(&finished.0).is_some_and(|failure| failure.cause != Cause::RejectsMissing) {
            finished = self.question(ProbeQuestion::Protocol).await?;
        }
        let (finished, NodeReplies { protocol, mirror }) = finished;
        is_rsync(&finished)?;
        self.learn(&finished)?;
        let version = match self.target.node.kind() {
            Kind::Local => Some(self.target.version),
            // The remote shell may have said something before.
            Kind::Ssh | Kind::Daemon => String::from_utf8_lossy(&finished.stderr).lines().find_map(Version::parse),
        };
        self.target.learned.borrow_mut().tells_version(version);
        Ok(Examination {
            version,
            protocol,
            deletions29: self.target.learned.borrow().deletions() == Deletions::Protocol29,
            mirror,
        })
    }

    async fn question(&self, question: ProbeQuestion) -> Result<(Finished, NodeReplies), Failure> {
        let mut heard = NodeReplies { protocol: None, mirror: Mirror::Equal };
        let invocation = self.runner.context(false).question(question);
        let mut hear = |said: &[u8]| heard.hear(said);
        let mut ears = Ears::to(&mut hear);
        let process = self.runner.process(self.target.source()?, &invocation.arguments).await?;
        let finished = self
            .runner
            .finish(
                process,
                Input::of(&invocation.list),
                &Claims::ANY,
                (Patience::of(PATIENCE), self.runner.speed.small()),
                &mut ears,
            )
            .await?;
        Ok((finished, heard))
    }
}

/// macOS and OpenBSD have another program by the name of rsync, which tells its version, and a forced command may allow that
/// alone.
fn is_rsync(finished: &Finished) -> Result<(), Failure> {
    let lines = || complaint::lines(&finished.stderr).map(|line| Escaped(line.trim_ascii()).to_string());
    let told = |words: &str| lines().find(|line| line.contains(words));
    match (told("openrsync"), told("option --delete has been disabled on this server")) {
        (Some(line), _) => Err(Failure::new(Cause::OpenRsync, line)),
        (None, Some(line)) => Err(Failure::new(Cause::RrsyncNoDeletions, line)),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::runner::process::Code;

    #[test]
    fn the_lines_of_a_dry_run_say_whether_there_is_a_mirror() {
        for (lines, expected) in [
            (&[&b"(Client) Protocol versions: remote=32, negotiated=32"[..]][..], Mirror::Equal),
            (&[b".d          |40|0|./"], Mirror::Equal),
            (&[b".d..t......|40|0|./"], Mirror::Other),
            (&[b"created directory /m", b"cd+++++++++|60|0|./"], Mirror::Absent),
        ] {
            let mut heard = NodeReplies { protocol: None, mirror: Mirror::Equal };
            lines.iter().for_each(|line| heard.hear(line));
            assert_eq!(heard.mirror, expected, "{lines:?}");
        }
    }

    #[test]
    fn what_only_bears_the_name_of_rsync_or_may_not_delete_is_told() {
        for (stderr, is_one) in [
            ("openrsync: protocol version 29, rsync version 2.6.9 compatible\n", false),
            ("/usr/bin/rrsync error: option --delete has been disabled on this server.\n", false),
            ("rsync  version 3.2.7  protocol version 31\n", true),
            ("", true),
        ] {
            let finished = Finished { code: Code::Exit(0), stderr: stderr.into() };
            assert_eq!(is_rsync(&finished).is_ok(), is_one, "{stderr}");
        }
    }
}
