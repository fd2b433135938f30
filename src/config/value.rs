//! The text of a configuration file, and its values by type. Knows nothing of the meaning of a key.
//!
//! Each value is a piece of the file's text, and thereby knows its position.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use ron::value::RawValue;
use serde::Deserialize;

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::names;
use super::record::RecordEntries;

/// A configuration file that has been read into memory.
#[derive(Clone, Copy)]
pub struct ConfigText<'a> {
    /// The path of the file.
    pub file: &'a Path,
    /// The content of the file.
    pub text: &'a str,
}

impl<'a> ConfigText<'a> {
    /// A complaint about a part of the text.
    pub fn complaint(&self, at: Range<usize>, what: impl Into<String>, cure: impl Into<String>) -> ConfigComplaint {
        ConfigComplaint::at(self.file, self.text, at, what, cure)
    }

    /// A complaint about something that the file does not mention.
    pub fn complaint_without_place(&self, what: impl Into<String>, cure: impl Into<String>) -> ConfigComplaint {
        ConfigComplaint::of(self.file, what, cure)
    }

    /// The place of `piece`, a part of this text.
    pub fn range(&self, piece: &str) -> Range<usize> {
        let start = (piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + piece.len()
    }

    /// A value of the key `key`.
    pub fn value(&self, key: impl Into<String>, text: &'a str) -> Value<'a> {
        Value { source: *self, key: key.into(), text }
    }
}

/// One value as it is written.
#[derive(Clone)]
pub struct Value<'a> {
    source: ConfigText<'a>,
    /// The key with its place, as `wpath` or `rnodes[0]`.
    key: String,
    text: &'a str,
}

impl<'a> Value<'a> {
    /// The value of a key of the group `group`.
    pub fn within(self, group: &str) -> Value<'a> {
        Value { key: format!("{group}.{}", self.key), ..self }
    }

    /// A complaint about this value.
    pub fn complaint(&self, what: impl Into<String>, cure: impl Into<String>) -> ConfigComplaint {
        self.source.complaint(self.source.range(self.text), what, cure)
    }

    /// A complaint that begins with the key.
    pub fn refuse(&self, what: &dyn fmt::Display, cure: impl Into<String>) -> ConfigComplaint {
        self.complaint(format!("`{}`: {what}", self.key), cure)
    }

    /// The line of the value, counted from 1.
    pub fn line(&self) -> usize {
        self.source.text[..self.source.range(self.text).start].matches('\n').count() + 1
    }

    /// The file that the value is in.
    pub fn file(&self) -> &'a Path {
        self.source.file
    }

    /// The key of the value.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// True for a list.
    pub fn is_list(&self) -> bool {
        self.text.starts_with('[')
    }

    /// True for keys with values in parentheses.
    pub fn is_group(&self) -> bool {
        self.text.trim_start_matches("Node").trim_start().starts_with('(')
    }

    /// A text in double quotes, or a raw string.
    pub fn string(&self) -> Result<String, ConfigComplaint> {
        let key = self.bare_key();
        let cure = match self.text.as_bytes() {
            [b'\'', .., b'\''] => format!("write double quotes: \"{}\"", &self.text[1..self.text.len() - 1]),
            _ if self.sole_element().is_some() => {
                let place = if key == self.key { format!("{key}: ") } else { String::new() };
                format!("write it without brackets: {place}{}", self.sole_element().unwrap_or_default())
            }
            _ => format!("write it in double quotes, such as {key}: \"...\""),
        };
        self.read("a string", &cure)
    }

    /// Reads `true` or `false`.
    pub fn boolean(&self) -> Result<bool, ConfigComplaint> {
        let meant = match self.text.trim_matches(['"', '\'']).to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "y" | "enabled" => "write true; ",
            "false" | "no" | "off" | "0" | "n" | "disabled" => "write false; ",
            _ => "",
        };
        self.read("true or false", &format!("{meant}allowed: true, false (without quotes)"))
    }

    /// A whole number in `range`. `unit` is for people.
    pub fn number(&self, range: RangeInclusive<u64>, unit: &str) -> Result<u64, ConfigComplaint> {
        let number = ron::from_str::<u64>(self.text).ok().filter(|number| range.contains(number));
        number.ok_or_else(|| self.no_number(*range.start(), *range.end(), unit))
    }

    fn no_number(&self, least: u64, most: u64, unit: &str) -> ConfigComplaint {
        let bare = self.text.trim_matches(['"', '\'']);
        let behind = bare.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &bare[..bare.len() - behind.len()];
        let instead = match behind.trim() {
            "" if bare.len() < self.text.len() => format!(", without quotes: {digits}"),
            unit if !unit.is_empty() && unit.chars().all(char::is_alphabetic) => ", without a unit".to_owned(),
            _ => String::new(),
        };
        let instead = if digits.is_empty() { String::new() } else { instead };
        let cure = format!("write a whole number of {unit} from {least} to {most}{instead}");
        self.mismatch(&format!("a whole number from {least} to {most}"), &cure)
    }

    /// One of the given words, without quotes.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigComplaint> {
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == self.text) {
            return Ok(*chosen);
        }
        let bare = self.text.trim_matches(['"', '\'']);
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let allowed = format!("allowed: {} (without quotes)", words.join(", "));
        let cure = names::nearest(bare, &words).map_or(allowed.clone(), |word| format!("write {word}; {allowed}"));
        let what = format!("`{}` cannot be {}", self.key, self.kind());
        Err(self.complaint(what, cure))
    }

    /// The elements of a list.
    pub fn list(&self) -> Result<Vec<Value<'a>>, ConfigComplaint> {
        let key = self.bare_key();
        let cure = match ron::from_str::<String>(self.text) {
            Ok(text) => {
                let parts: Vec<_> = text.split([',', ' ', ';']).filter(|part| !part.is_empty()).collect();
                let parts = if parts.is_empty() { vec![text.as_str()] } else { parts };
                let quoted: Vec<_> = parts.iter().map(|part| format!("{part:?}")).collect();
                format!("write it in brackets: {key}: [{}]", quoted.join(", "))
            }
            Err(_) => format!("write it in brackets, such as {}", names::shown(key)),
        };
        let raws: Vec<&'a RawValue> = self.read("a list", &cure)?;
        let value =
            |(at, raw): (usize, &&'a RawValue)| self.source.value(format!("{}[{at}]", self.key), raw.trim().get_ron());
        Ok(raws.iter().enumerate().map(value).collect())
    }

    /// The elements of a list, or the value itself if it is none.
    pub fn one_or_more(&self) -> Result<Vec<Value<'a>>, ConfigComplaint> {
        if self.is_list() { self.list() } else { Ok(vec![self.clone()]) }
    }

    /// Two values in parentheses. `example` shows them.
    pub fn pair(&self, example: &str) -> Result<(Value<'a>, Value<'a>), ConfigComplaint> {
        let cure = format!("write it as {example}");
        let (first, second): (&'a RawValue, &'a RawValue) = self.read("a pair in parentheses", &cure)?;
        let value = |raw: &'a RawValue| self.source.value(self.key.clone(), raw.trim().get_ron());
        Ok((value(first), value(second)))
    }

    /// Keys with values in parentheses, a record of this name. `example` shows one.
    pub fn group(&self, name: &'static str, example: &str) -> Result<RecordEntries<'a>, ConfigComplaint> {
        let entries = RecordEntries::of(self.source, self.text, name);
        entries.map_err(|_| self.mismatch("a group in parentheses", &format!("write it as {example}")))
    }

    /// Reads a value whose notation is known to be right.
    fn read<T: Deserialize<'a>>(&self, wanted: &str, cure: &str) -> Result<T, ConfigComplaint> {
        ron::from_str(self.text).map_err(|_| self.mismatch(wanted, cure))
    }

    fn mismatch(&self, wanted: &str, cure: &str) -> ConfigComplaint {
        self.complaint(format!("`{}` must be {wanted}, but is {}", self.key, self.kind()), cure)
    }

    /// The text of the one element of a list.
    fn sole_element(&self) -> Option<&'a str> {
        match ron::from_str::<Vec<&'a RawValue>>(self.text).ok()?[..] {
            [only] => Some(only.trim().get_ron()),
            _ => None,
        }
    }

    /// The value in words.
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

    /// The key alone: without the group that it is in, and without the number of a list element.
    fn bare_key(&self) -> &str {
        let name = self.key.rsplit('.').next().unwrap_or(&self.key);
        name.split('[').next().unwrap_or(name)
    }
}

/// The values of all, or every complaint about one of them.
pub fn all<T>(values: impl IntoIterator<Item = Result<T, ConfigComplaint>>) -> Result<Vec<T>, ConfigComplaints> {
    let mut wrong = ConfigComplaints::default();
    let kept: Vec<T> = values.into_iter().filter_map(|value| wrong.keep(value)).collect();
    wrong.or(kept)
}
