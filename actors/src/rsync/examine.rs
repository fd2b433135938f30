//! Asks a node what its rsync is, without changing anything there.

use std::rc::Rc;

use super::failure::{Cause, Failure};
use super::greeting::Greeting;
use super::node::Kind;
use super::recipe::Question;
use super::run::{Finished, PATIENCE};
use super::version::Version;
use super::{Deletions, Ears, Rsync};

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

/// What a node says of its rsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remote {
    /// This.
    Version(Version),
    /// Nothing, as rsync daemons and forced commands do.
    Silent,
}

impl Rsync {
    /// What the node is. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn examine(self: &Rc<Self>) -> Result<Examination, Failure> {
        // A forced command at the node may refuse the question for the version.
        let mut finished = self.question(Question::Version).await?;
        if Failure::of(&finished.0).is_some_and(|failure| failure.cause != Cause::RejectsMissing) {
            finished = self.question(Question::Protocol).await?;
        }
        let (finished, protocol) = finished;
        self.learn(&finished)?;
        let version = match self.node.kind() {
            Kind::Local => Some(self.version),
            // The remote shell may have said something before.
            Kind::Ssh | Kind::Daemon => String::from_utf8_lossy(&finished.stderr).lines().find_map(Version::parse),
        };
        self.remote.set(Some(version.map_or(Remote::Silent, Remote::Version)));
        Ok(Examination { version, protocol, deletions29: self.deletions.get() == Deletions::Protocol29 })
    }

    async fn question(self: &Rc<Self>, question: Question) -> Result<(Finished, Option<u32>), Failure> {
        let mut protocol = None;
        let invocation = self.context(false).question(question);
        let mut ears = Ears {
            line: &mut |said| protocol = protocol.or(Greeting::read(said).and_then(Greeting::protocol)),
            worked: None,
        };
        let process = self.process(self.source()?, &invocation.arguments)?;
        let finished = self.finish(process, &invocation.list, PATIENCE, &mut ears).await?;
        Ok((finished, protocol))
    }
}
