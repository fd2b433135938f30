//! What a person did who wrote a file that RON does not take: goes over the text once more, guesses where each value was to
//! end, and says each mistake at its place. Keys and values that were found can be checked like those of a file that is right.
//!
//! Never decides that a file is right: that is for [`notation`](super::notation).

mod scan;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::scan::Scanner;
pub use self::scan::is_identifier;
use super::complaint::Complaints;
use super::other_format::foreign;
use super::text::Source;

/// One mistake in the text.
#[derive(Debug)]
struct Mistake {
    at: Range<usize>,
    what: String,
    cure: String,
}

/// What was found in a text.
pub struct Found<'a> {
    /// The mistakes; none if only RON knows what is wrong.
    pub complaints: Complaints,
    /// Keys with their values, but those whose value is a mistake by its notation.
    pub entries: Vec<(&'a str, &'a str)>,
    /// Keys whose value is one.
    pub broken: Vec<&'a str>,
    /// Where the configuration ends, if all keys were found.
    pub end: Option<usize>,
}

/// Goes over a text.
pub fn find(source: Source<'_>) -> Found<'_> {
    if let Some(foreign) = foreign(source.text) {
        let complaints = source.complaint(foreign.at, foreign.what, foreign.cure).into();
        return Found { complaints, entries: Vec::new(), broken: Vec::new(), end: None };
    }
    let mut scanner = Scanner::of(source.text);
    let end = scanner.file();
    let Scanner { mistakes, entries, .. } = scanner;
    let is_sound = |value: &str| {
        let range = source.range(value);
        !mistakes.iter().any(|mistake| mistake.at.start >= range.start && mistake.at.start < range.end)
    };
    let (sound, broken): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, value)| is_sound(value));
    let complaints: Vec<_> =
        mistakes.iter().map(|Mistake { at, what, cure }| source.complaint(at.clone(), what, cure)).collect();
    Found {
        complaints: complaints.into(),
        entries: sound,
        broken: broken.into_iter().map(|(key, _)| key).collect(),
        end,
    }
}
