//! What an unsuccessful rsync run means: its cause, its cure, and whether trying again soon can help.
//! Decided by what rsync and ssh wrote first and by the exit code second: for one cause several codes race.

mod cause;
mod line;
mod texts;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

pub use self::cause::Cause;
use self::line::Line;
use self::texts::{More, Verdict, verdict};
use super::run::{Code, Finished};
use crate::path::Escaped;
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

    /// What a finished run means; `None` if it was a success.
    pub fn of(finished: &Finished) -> Option<Failure> {
        if finished.code == Code::Exit(0) {
            return None;
        }
        let lines = Line::all(&finished.stderr);
        let verdict = verdict(&lines, finished.code);
        let failure = Failure::new(verdict.cause, said(&lines, &verdict, finished.code));
        Some(match verdict.cure {
            Some(cure) => Failure { cure: Escaped(cure.as_bytes()).to_string().into(), ..failure },
            None => failure,
        })
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

/// The line that decided the cause, else the first that is rsync's or ssh's own, else the first; and how rsync ended.
fn said(lines: &[Line<'_>], verdict: &Verdict, code: Code) -> String {
    let end = match code {
        Code::Exit(code) => format!("rsync exit code {code}"),
        Code::Signal(signal) => format!("rsync ended by signal {signal}"),
    };
    let decided = verdict.line.or_else(|| lines.iter().position(Line::is_own));
    let Some(at) = decided.or(if lines.is_empty() { None } else { Some(0) }) else { return end };
    let told = |line: &Line<'_>| Escaped(line.bytes).to_string();
    let is_foreign = |line: &&Line<'_>| !line.is_own() && !line.is_end();
    let more = match verdict.more {
        More::Nothing => None,
        More::Next => lines.get(at + 1).filter(is_foreign).map(|next| format!(" {}", told(next))),
        More::Foreign => lines[..at].iter().rev().find(is_foreign).map(|last| format!(", after \"{}\"", told(last))),
    };
    format!("{}{} ({end})", told(&lines[at]), more.unwrap_or_default())
}

#[cfg(test)]
mod tests;
