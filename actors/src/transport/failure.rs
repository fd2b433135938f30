//! A run that failed as a whole: the cause, rsync's message and the cure.

mod cause;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use self::cause::Cause;
use crate::path::Escaped;
use crate::root::RootError;

/// The reason why a node could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub cause: Cause,
    /// The message of rsync, ssh or the kernel, on one line.
    pub said: String,
    /// Advice for the admin; empty if the failure passes by itself.
    pub cure: Cow<'static, str>,
}

impl Failure {
    /// Makes a failure with the usual cure of its cause; `said` is the message, on one line.
    pub fn new(cause: Cause, said: impl Into<String>) -> Failure {
        Failure { cause, said: said.into(), cure: cause.cure().into() }
    }

    /// Reports that the source is missing or is not the one that the daemon started with.
    pub(crate) fn source_gone(why: RootError) -> Failure {
        Failure::new(Cause::SourceGone, why.to_string())
    }

    /// Reports a reconcile that would delete `count` entries although only `most` are allowed; `first` names the first
    /// of them.
    pub(crate) fn too_many_deletions(count: u64, most: u64, first: &[String]) -> Failure {
        let count = grouped(count);
        let most = grouped(most);
        let first = first.join(", ");
        let said = format!("it would delete {count} entries, more than max_delete ({most}): {first}, ...");
        Failure::new(Cause::TooManyDeletions, said)
    }

    /// Reports that the local directory for a run cannot be prepared or opened.
    pub(crate) fn not_staged(error: &io::Error) -> Failure {
        Failure::new(Cause::Vanished, error.to_string())
    }

    /// Reports that the file system of a place on this machine has failed, so that no rsync was started.
    pub(crate) fn place_fails(place: &Path, error: &io::Error) -> Failure {
        Failure::new(Cause::PlaceFails, format!("{}: {error}", Escaped(place.as_os_str().as_bytes())))
    }

    /// Reports that rsync could not be started.
    pub(crate) fn not_started(program: &Path, error: &io::Error) -> Failure {
        Failure::new(Cause::NotStarted, format!("{}: {error}", program.display()))
    }
}

/// Shows cause, message and cure on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.words(), self.said)?;
        if self.cure.is_empty() { Ok(()) } else { write!(f, "; {}", self.cure) }
    }
}

impl std::error::Error for Failure {}

/// Formats a number with a comma before each group of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let starts_group = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    let group = |(at, digit)| starts_group(at).then_some(',').into_iter().chain([digit]);
    digits.chars().enumerate().flat_map(group).collect()
}
