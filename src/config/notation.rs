//! Reads the keys and values of a file, or of a group in it, as RON. Decides what is right; what is meant by something wrong
//! is for [`mistakes`](super::mistakes).

use std::fmt;
use std::ops::Range;

use ron::error::{Error as Ron, Position, SpannedError};
use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::complaint::{Complaint, Complaints};
use super::mistakes::is_identifier;
use super::names;
use super::text::{Source, Value};

/// For errors in the notation itself.
pub const CURE: &str = "notation: (key: value, key: [value, value]), texts in double quotes, // before a comment";

/// Keys that are looked at for what is meant by them. There are far fewer.
const MOST: usize = 500;

/// Lets an optional key be written without `Some(...)`.
pub fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

/// Keys with their values, each a piece of the text.
pub struct Entries<'a> {
    source: Source<'a>,
    list: Vec<(&'a str, &'a str)>,
}

impl<'a> Entries<'a> {
    /// Entries that were found otherwise.
    pub fn found(source: Source<'a>, list: Vec<(&'a str, &'a str)>) -> Self {
        Entries { source, list }
    }

    /// Reads `text`, a part of `source`: a record that may have this name in front of it.
    pub fn of(source: Source<'a>, text: &'a str, name: &'static str) -> Result<Self, SpannedError> {
        let list = options().from_str_seed(text, Record(name))?;
        Ok(Entries { source, list })
    }

    /// The value of a key. Of a key that is given twice, the first.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let (_, text) = self.list.iter().find(|(found, _)| *found == key).filter(|(_, text)| *text != "None")?;
        // `Some(...)` is the long form of an optional value.
        let inner = text.strip_prefix("Some").map(str::trim_start).and_then(|rest| rest.strip_prefix('('));
        let inner = inner.and_then(|rest| rest.strip_suffix(')')).map(str::trim);
        Some(self.source.value(key, inner.unwrap_or(text)))
    }

    /// Whether one of the keys is most likely meant to be this one.
    pub fn mean(&self, key: &str) -> bool {
        self.list.iter().take(MOST).any(|(found, _)| names::meant(found) == Some(key))
    }

    /// Complaints about keys that are not among `known`, or given twice. `group` is the key whose value this is.
    pub fn strangers(&self, known: &[&'static str], group: Option<&str>) -> Complaints {
        let place = group.map_or(String::new(), |group| format!(" in `{group}`"));
        let mut wrong = Vec::new();
        for (at, (key, _)) in self.list.iter().take(MOST).enumerate() {
            let complaint = |what: String, cure: String| self.source.complaint(self.source.range(key), what, cure);
            if !is_identifier(key) {
                // That it can be none was said already.
            } else if !known.contains(key) {
                let cure = if group.is_some() { names::part(key, known) } else { names::key(key) };
                wrong.push(complaint(format!("unknown key `{key}`{place}"), cure));
            } else if self.list[..at].iter().any(|(earlier, _)| earlier == key) {
                let what = if group.is_some() { format!("`{key}` is given twice{place}") } else { twice(key) };
                wrong.push(complaint(what, "keep one of them".into()));
            }
        }
        wrong.into()
    }
}

fn twice(key: &str) -> String {
    format!("the key `{key}` is given twice")
}

/// A record with any keys, which serde's derive cannot read.
struct Record(&'static str);

impl<'a> DeserializeSeed<'a> for Record {
    type Value = Vec<(&'a str, &'a str)>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_struct(self.0, &[], self)
    }
}

impl<'a> Visitor<'a> for Record {
    type Value = Vec<(&'a str, &'a str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values in parentheses")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            entries.push((key, map.next_value::<&RawValue>()?.trim().get_ron()));
        }
        Ok(entries)
    }
}

/// The name of a key.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'a str) -> Result<Self::Value, E> {
        Ok(key)
    }
}

/// The part of a text that an error of ron is about.
pub fn error_range(text: &str, error: &SpannedError) -> Range<usize> {
    let offset = |position: &Position| {
        let line: usize = text.split_inclusive('\n').take(position.line - 1).map(str::len).sum();
        let rest = text.get(line..).unwrap_or_default();
        line + rest.chars().take(position.col - 1).map(char::len_utf8).sum::<usize>()
    };
    let (start, end) = (offset(&error.span.start), offset(&error.span.end));
    // ron's span may begin with the blanks in front of what is meant, and ends before a wrong character.
    let blanks = text.get(start..end).map_or(0, |span| span.len() - span.trim_start().len());
    let start = if error.code == Ron::Eof { end } else { start + blanks };
    start..end.max(start)
}

/// What ron says of a whole file, where nothing better is known.
pub fn complaint(source: Source<'_>, error: &SpannedError) -> Complaint {
    let (what, cure) = in_sentence(&error.code);
    source.complaint(error_range(source.text, error), what, cure)
}

/// An error of the notation in our words, and its cure.
pub fn in_sentence(error: &Ron) -> (String, &'static str) {
    let what = match error {
        Ron::ExpectedStructLike | Ron::ExpectedNamedStructLike(_) | Ron::ExpectedDifferentStructName { .. } => {
            "the configuration must be one pair of parentheses"
        }
        Ron::Eof => "the file ends too early: a bracket, parenthesis or quote is not closed",
        Ron::ExpectedStringEnd => "a quote is not closed",
        Ron::ExpectedComma => "a comma is missing, or a bracket is not closed",
        Ron::ExpectedArrayEnd => "a list is not closed: `]` is missing",
        Ron::ExpectedStructLikeEnd | Ron::ExpectedOptionEnd => "the closing `)` is missing",
        Ron::ExpectedMapColon => "a colon is missing behind the key",
        Ron::ExpectedIdentifier | Ron::SuggestRawIdentifier(_) | Ron::InvalidIdentifier(_) => "a key is missing here",
        Ron::TrailingCharacters => "there is text behind the closing `)`",
        Ron::UnclosedBlockComment => "a `/*` comment is not closed",
        Ron::InvalidEscape(_) => "a `\\` in a text begins no character that is known",
        Ron::ExceededRecursionLimit => "brackets are in each other too often",
        Ron::UnexpectedChar(c) => {
            return (
                format!("`{}` cannot stand here: a value or a closing bracket is missing", c.escape_debug()),
                CURE,
            );
        }
        _ => "a value is missing or wrong here",
    };
    (what.to_owned(), CURE)
}
