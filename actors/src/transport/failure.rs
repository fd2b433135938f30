//! A run that failed as a whole: the cause, rsync's words and the cure.

mod cause;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

pub use self::cause::Cause;
use crate::root::RootError;

/// Why a node could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub cause: Cause,
    /// What rsync said, on one line.
    pub said: String,
    /// What the admin can do; empty where it passes by itself.
    pub cure: Cow<'static, str>,
}

impl Failure {
    /// A failure of this cause; `said` is what rsync said, on one line.
    pub fn new(cause: Cause, said: impl Into<String>) -> Failure {
        Failure { cause, said: said.into(), cure: cause.cure().into() }
    }

    /// The source is not the one that the daemon started with.
    pub fn source_gone(why: RootError) -> Failure {
        Failure::new(Cause::SourceGone, why.to_string())
    }

    /// A reconcile would delete `count` entries, of which the first are named, and `most` are allowed.
    pub fn too_many_deletions(count: u64, most: u64, first: &[String]) -> Failure {
        let (count, most, first) = (grouped(count), grouped(most), first.join(", "));
        let said = format!("it would delete {count} entries, more than max_delete ({most}): {first}, ...");
        Failure::new(Cause::TooManyDeletions, said)
    }

    /// The directory that a run was to work in is not to be had.
    pub fn not_staged(error: &io::Error) -> Failure {
        Failure::new(Cause::Vanished, error.to_string())
    }

    /// rsync could not even be started.
    pub fn not_started(program: &Path, error: &io::Error) -> Failure {
        Failure::new(Cause::NotStarted, format!("{}: {error}", program.display()))
    }
}

/// Cause, rsync's words and cure on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.words(), self.said)?;
        if self.cure.is_empty() { Ok(()) } else { write!(f, "; {}", self.cure) }
    }
}

impl std::error::Error for Failure {}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let starts_group = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    let group = |(at, digit)| starts_group(at).then_some(',').into_iter().chain([digit]);
    digits.chars().enumerate().flat_map(group).collect()
}
