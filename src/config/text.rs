//! The text of a configuration file: its values with their positions, and how a complaint about one is shown.
//! Knows RON and types of values, but no meaning of a key.
//!
//! ron tells positions only for errors of its own. So each value is first taken as raw text, which is a piece of the
//! file's text and thereby knows its position, and is read afterwards.

use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use inosync_actors::path::Escaped;
use ron::error::{Error as Ron, Position, SpannedError};
use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::Deserialize;

/// Something wrong at one place of the configuration.
#[derive(Debug)]
pub struct Complaint {
    file: String,
    /// `None` if and only if it is about something that the file does not mention.
    place: Option<Place>,
    /// What is wrong; one line.
    what: String,
    /// What is allowed, or what to do; one line.
    cure: String,
}

#[derive(Debug)]
struct Place {
    /// Both count from 1; a column is one character.
    line: usize,
    column: usize,
    /// The whole line, made printable.
    excerpt: String,
    /// How many characters of the line are meant.
    width: usize,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            None => write!(f, "{}: {}", self.file, self.what)?,
            Some(Place { line, column, excerpt, width }) => {
                writeln!(f, "{}:{line}:{column}: {}", self.file, self.what)?;
                writeln!(f, "{line:>5} | {excerpt}")?;
                write!(f, "{:>5} | {}{}", "", " ".repeat(column - 1), "^".repeat(*width))?;
            }
        }
        write!(f, "\n  {}", self.cure)
    }
}

/// A configuration file that has been read into memory.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its name, for people.
    pub file: &'a Path,
    /// Its text.
    pub text: &'a str,
}

impl<'a> Source<'a> {
    /// A complaint about a part of the text.
    pub fn complaint(&self, at: Range<usize>, what: impl Into<String>, cure: impl Into<String>) -> Complaint {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].split('\n').next().unwrap_or_default();
        let column = before[start..].chars().count() + 1;
        let meant = self.text.get(at).unwrap_or_default().split('\n').next().unwrap_or_default().trim_end();
        Complaint {
            place: Some(Place {
                line: before.matches('\n').count() + 1,
                column,
                excerpt: line.trim_end().replace(char::is_control, " "),
                width: meant.chars().count().max(1),
            }),
            ..self.complaint_without_place(what, cure)
        }
    }

    /// A complaint about something that the file does not mention.
    pub fn complaint_without_place(&self, what: impl Into<String>, cure: impl Into<String>) -> Complaint {
        let file = Escaped(self.file.as_os_str().as_bytes()).to_string();
        Complaint { file, place: None, what: what.into(), cure: cure.into() }
    }

    /// Where `piece`, a part of this text, stands in it.
    fn range(&self, piece: &str) -> Range<usize> {
        let start = (piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + piece.len()
    }

    /// The part of the text that an error of ron is about.
    pub fn error_range(&self, error: &SpannedError) -> Range<usize> {
        let offset = |position: &Position| {
            let line: usize = self.text.split_inclusive('\n').take(position.line - 1).map(str::len).sum();
            let rest = self.text.get(line..).unwrap_or_default();
            line + rest.chars().take(position.col - 1).map(char::len_utf8).sum::<usize>()
        };
        let (start, end) = (offset(&error.span.start), offset(&error.span.end));
        // ron's span may begin with the blanks in front of what is meant, and ends before a wrong character.
        let blanks = self.text.get(start..end).map_or(0, |span| span.len() - span.trim_start().len());
        let start = if error.code == Ron::Eof { end } else { start + blanks };
        start..end.max(start)
    }

    /// The value of a key that may be left out.
    pub fn optional(&self, key: &str, raw: Option<&'a RawValue>) -> Option<Value<'a>> {
        raw.map(|raw| self.value(key, raw))
    }

    /// A value of the key `key`.
    pub fn value(&self, key: impl Into<String>, raw: &'a RawValue) -> Value<'a> {
        Value { source: *self, key: key.into(), text: raw.trim().get_ron() }
    }
}

/// One value as it is written.
pub struct Value<'a> {
    source: Source<'a>,
    /// `wpath`, `rnodes[0]`.
    key: String,
    text: &'a str,
}

impl<'a> Value<'a> {
    /// A complaint about this value.
    pub fn complaint(&self, what: impl Into<String>, cure: impl Into<String>) -> Complaint {
        self.source.complaint(self.source.range(self.text), what, cure)
    }

    /// A complaint made of a message that names the cure behind its first colon.
    pub fn refuse(&self, message: &dyn fmt::Display) -> Complaint {
        let message = message.to_string();
        let mut quoted = false;
        let colon = message.char_indices().find(|&(at, c)| {
            quoted ^= c == '`';
            !quoted && message[at..].starts_with(": ")
        });
        let (what, cure) = colon.map_or((&*message, ""), |(at, _)| (&message[..at], &message[at + 2..]));
        self.complaint(format!("`{}`: {what}", self.key), cure)
    }

    /// The line it stands on, counted from 1.
    pub fn line(&self) -> usize {
        self.source.text[..self.source.range(self.text).start].matches('\n').count() + 1
    }

    /// The key that it is of.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.text.starts_with('[')
    }

    /// A text in double quotes, or a raw string.
    pub fn string(&self) -> Result<String, Complaint> {
        let cure = format!("write it in double quotes, such as {}: \"...\"", self.bare_key());
        self.read("a string", &cure)
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, Complaint> {
        self.read("true or false", "allowed: true, false (without quotes)")
    }

    /// A whole number from 0 to `most`. `unit` is for people.
    pub fn number(&self, most: u64, unit: &str) -> Result<u64, Complaint> {
        self.number_from(0, most, unit)
    }

    /// A whole number from `least` to `most`.
    pub fn number_from(&self, least: u64, most: u64, unit: &str) -> Result<u64, Complaint> {
        let wrong = || {
            let what = format!("`{}` must be a whole number from {least} to {most}, but is {}", self.key, self.kind());
            let quotes = if self.text.starts_with('"') { ", without quotes" } else { "" };
            self.complaint(what, format!("write a whole number of {unit} from {least} to {most}{quotes}"))
        };
        ron::from_str::<u64>(self.text).ok().filter(|number| (least..=most).contains(number)).ok_or_else(wrong)
    }

    /// One of the given words, without quotes.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Complaint> {
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == self.text) {
            return Ok(*chosen);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let what = format!("`{}` cannot be {}", self.key, self.kind());
        Err(self.complaint(what, format!("allowed: {} (without quotes)", words.join(", "))))
    }

    /// The elements of a list.
    pub fn list(&self) -> Result<Vec<Value<'a>>, Complaint> {
        let example = if self.text.starts_with('"') { self.text } else { "\"...\"" };
        let cure = format!("write it in brackets: {}: [{example}]", self.bare_key());
        let raws: Vec<&'a RawValue> = self.read("a list", &cure)?;
        Ok(raws.iter().enumerate().map(|(at, raw)| self.source.value(format!("{}[{at}]", self.key), raw)).collect())
    }

    /// Two values in parentheses. `example` shows them.
    pub fn pair(&self, example: &str) -> Result<(Value<'a>, Value<'a>), Complaint> {
        let wrong = |_| {
            let what = format!("`{}` must be a pair in parentheses, but is {}", self.key, self.kind());
            self.complaint(what, format!("write it as {example}"))
        };
        let (first, second): (&'a RawValue, &'a RawValue) = ron::from_str(self.text).map_err(wrong)?;
        let value = |raw| self.source.value(self.key.clone(), raw);
        Ok((value(first), value(second)))
    }

    /// Keys with values in parentheses. `example` shows one, `allowed` has the keys.
    pub fn group<T: Deserialize<'a>>(&self, example: &str, allowed: &str) -> Result<T, Complaint> {
        notation().from_str(self.text).map_err(|error: SpannedError| {
            let within = Source { text: self.text, ..self.source }.error_range(&error);
            let start = self.source.range(self.text).start;
            let at = start + within.start..start + within.end;
            let complaint = |what, cure| self.source.complaint(at, what, cure);
            match &error.code {
                Ron::NoSuchStructField { found, .. } => {
                    complaint(format!("unknown key `{found}` in `{}`", self.key), format!("allowed: {allowed}"))
                }
                Ron::DuplicateStructField { field, .. } => {
                    complaint(format!("`{field}` is given twice in `{}`", self.key), "keep one of them".to_owned())
                }
                _ => {
                    let what = format!("`{}` must be a group in parentheses, but is {}", self.key, self.kind());
                    self.complaint(what, format!("write it as {example}"))
                }
            }
        })
    }

    /// A value of a group, that may be left out.
    pub fn part(&self, key: &str, raw: Option<&'a RawValue>) -> Option<Value<'a>> {
        raw.map(|raw| self.source.value(format!("{}.{key}", self.key), raw))
    }

    /// Reads a value whose notation is known to be right.
    fn read<T: Deserialize<'a>>(&self, wanted: &str, cure: &str) -> Result<T, Complaint> {
        let wrong = |_| self.complaint(format!("`{}` must be {wanted}, but is {}", self.key, self.kind()), cure);
        ron::from_str(self.text).map_err(wrong)
    }

    /// What was written, in words.
    fn kind(&self) -> String {
        let start = self.text.chars().next().unwrap_or(' ');
        let kind = match start {
            '[' => "a list",
            '(' => "a group in parentheses",
            '{' => "a map",
            '\'' => "a character in single quotes",
            '"' => "the string",
            '0'..='9' | '+' | '-' | '.' => "the number",
            _ => "",
        };
        let shown = self.text.len() <= 40 && !self.text.contains('\n');
        match (kind, shown && !matches!(start, '[' | '(' | '{')) {
            ("", true) => format!("`{}`", self.text),
            (kind, true) => format!("{kind} `{}`", self.text),
            ("", false) => "something else".to_owned(),
            (kind, false) => kind.to_owned(),
        }
    }

    /// The key without the number of a list element.
    fn bare_key(&self) -> &str {
        self.key.split('[').next().unwrap_or(&self.key)
    }
}

/// For errors in the notation itself.
pub const SYNTAX_CURE: &str =
    "notation: (key: value, key: [value, value]), texts in double quotes, // before a comment";

/// ron's own words for an error of notation, as a part of a sentence.
pub fn in_sentence(error: &Ron) -> String {
    let text = match error {
        Ron::Eof => "the file ends too early: a bracket, parenthesis or quote is not closed".to_owned(),
        Ron::ExpectedStringEnd => "a quote is not closed".to_owned(),
        Ron::ExpectedComma => "a comma is missing, or a bracket is not closed".to_owned(),
        Ron::ExpectedArrayEnd => "a list is not closed: `]` is missing".to_owned(),
        Ron::ExpectedStructLikeEnd => "the closing `)` is missing".to_owned(),
        Ron::ExpectedMapColon => "a colon is missing behind the key".to_owned(),
        Ron::ExpectedIdentifier => "a key is missing here".to_owned(),
        Ron::TrailingCharacters => "there is text behind the closing `)`".to_owned(),
        Ron::UnexpectedChar(c) => format!("`{c}` cannot stand here: a value or a closing bracket is missing"),
        Ron::UnclosedBlockComment => "a `/*` comment is not closed".to_owned(),
        other => other.to_string(),
    };
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Lets an optional key be written without `Some(...)`.
pub fn notation() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}
