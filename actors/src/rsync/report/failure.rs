//! Tells what an unsuccessful rsync run means: its cause, its cure, and whether trying again soon can help.
//! Decided by what rsync and ssh wrote first and by the exit code second: for one cause several codes race.

mod line;
mod texts;

use crate::transport::failure::Failure;

use crate::path::Escaped;
use crate::rsync::report::failure::line::ErrorLine;
use crate::rsync::report::failure::texts::{ErrorMeaning, More, verdict};
use crate::rsync::runner::process::{Code, Finished};

/// Tells what a finished run means; `None` if it was a success.
pub(crate) fn of(finished: &Finished) -> Option<Failure> {
    if finished.code == Code::Exit(0) {
        return None;
    }
    let lines = ErrorLine::all(&finished.stderr);
    let verdict = verdict(&lines, finished.code);
    let failure = Failure::new(verdict.cause, said(&lines, &verdict, finished.code));
    Some(match verdict.cure {
        Some(cure) => Failure { cure: Escaped(cure.as_bytes()).to_string().into(), ..failure },
        None => failure,
    })
}

/// The line that decided the cause, else the first that is rsync's or ssh's own, else the first; and how rsync ended.
fn said(lines: &[ErrorLine<'_>], verdict: &ErrorMeaning, code: Code) -> String {
    let end = match code {
        Code::Exit(code) => format!("rsync exit code {code}"),
        Code::Signal(signal) => format!("rsync ended by signal {signal}"),
    };
    let decided = verdict.line.or_else(|| lines.iter().position(ErrorLine::is_own));
    let Some(at) = decided.or(if lines.is_empty() { None } else { Some(0) }) else { return end };
    let told = |line: &ErrorLine<'_>| Escaped(line.bytes).to_string();
    let is_foreign = |line: &&ErrorLine<'_>| !line.is_own() && !line.is_end();
    let more = match verdict.more {
        More::Nothing => None,
        More::Next => lines.get(at + 1).filter(is_foreign).map(|next| format!(" {}", told(next))),
        More::Foreign => lines[..at].iter().rev().find(is_foreign).map(|last| format!(", after \"{}\"", told(last))),
    };
    format!("{}{} ({end})", told(&lines[at]), more.unwrap_or_default())
}

#[cfg(test)]
mod tests;
