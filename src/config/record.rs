//! The keys and values of a file, as RON reads them. Of a file that RON refuses, those that the [`scan`] finds.

use std::fmt;
use std::ops::Range;

use ron::error::{Error as Ron, Position, SpannedError};
use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::keys::{KEYS, Key};
use super::names;
use super::scan::{self, is_identifier};
use super::value::{ConfigText, Value};

/// The cure of errors in the notation itself.
pub const NOTATION: &str = "notation: (key: value, key: [value, value]), texts in double quotes, // before a comment";

/// Keys that are compared with the known ones. A configuration has far fewer.
const MOST: usize = 500;

/// Lets an optional key be written without `Some(...)`.
pub fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

/// A file with the complaints about it so far.
pub struct Record<'a> {
    source: ConfigText<'a>,
    entries: RecordEntries<'a>,
    /// Keys whose values have a complaint about their notation.
    broken: Vec<&'a str>,
    wrong: ConfigComplaints,
    /// The error of RON, which is shown if nothing else is wrong.
    refusal: Option<ConfigComplaint>,
    /// The place of a missing key; `None` if the scan may have overlooked keys.
    end: Option<usize>,
}

impl<'a> Record<'a> {
    /// Finds the keys. Complains about the notation, and about keys that are not known or given twice.
    pub fn of(source: ConfigText<'a>) -> Self {
        let entries = RecordEntries { source, list: Vec::new() };
        let mut record = Record {
            source,
            entries,
            broken: Vec::new(),
            wrong: ConfigComplaints::default(),
            refusal: None,
            end: None,
        };
        if source.text.trim().is_empty() {
            let cure = "at least: (wpath: \"/from\", rpath: \"/to\", rnodes: [\"user@host:\"])";
            record.wrong.add(source.complaint(0..0, "the file is empty", cure));
            return record;
        }
        let scan = scan::scan(source);
        match RecordEntries::of(source, source.text, "Site") {
            Ok(entries) => {
                record.entries = entries;
                record.end = Some(scan.end.unwrap_or(source.text.trim_end().len()));
            }
            Err(error) => {
                record.refusal = Some(refusal(source, source.text, &error));
                (record.wrong, record.broken, record.end) = (scan.complaints.into(), scan.broken, scan.end);
                record.take(scan.entries);
            }
        }
        let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        record.wrong.add(record.entries.unknown_keys(&known, None));
        let missing: Vec<ConfigComplaint> = KEYS.iter().filter_map(|key| record.missing(key)).collect();
        record.wrong.add(missing);
        record
    }

    /// Takes the entries of a scan, as far as each value can be read alone.
    fn take(&mut self, entries: Vec<(&'a str, &'a str)>) {
        for (key, text) in entries {
            // Numbers and words are checked as they are written.
            let is_bracketed = text.starts_with(['"', '[', '(', 'r']);
            let error = options().from_str::<&RawValue>(text).err().filter(|_| is_bracketed);
            match error {
                Some(error) => {
                    self.wrong.add(refusal(self.source, text, &error));
                    self.broken.push(key);
                }
                None => self.entries.list.push((key, text)),
            }
        }
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        self.entries.get(key)
    }

    /// True if there is a complaint about the notation of the key's value.
    pub fn is_broken(&self, key: &str) -> bool {
        self.broken.contains(&key)
    }

    /// A complaint about a required key that is missing, unless it is there under a name that is nearly right.
    fn missing(&self, key: &Key) -> Option<ConfigComplaint> {
        if !key.is_required() || self.value(key.name).is_some() || self.is_broken(key.name) {
            return None;
        }
        let mut names = self.entries.list.iter().take(MOST).map(|(name, _)| name).chain(&self.broken);
        if names.any(|name| *name != key.name && names::meant(name) == Some(key.name)) {
            return None;
        }
        let at = self.end?;
        let what = format!("the key `{}` is missing", key.name);
        Some(self.source.complaint(at..at + 1, what, format!("add {}", key.shown())))
    }

    /// The value of a result; its complaints are kept.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<ConfigComplaints>>) -> Option<T> {
        self.wrong.keep(result)
    }

    /// The result of the whole file, if nothing is wrong.
    pub fn finish(&self) -> Result<(), ConfigComplaints> {
        match &self.refusal {
            Some(refusal) if self.wrong.is_empty() => Err(refusal.clone().into()),
            _ => self.wrong.clone().or(()),
        }
    }
}

/// Keys with their values, each a piece of the text.
pub struct RecordEntries<'a> {
    source: ConfigText<'a>,
    list: Vec<(&'a str, &'a str)>,
}

impl<'a> RecordEntries<'a> {
    /// Reads `text`, a part of `source`: keys and values in parentheses, with or without this name in front.
    pub fn of(source: ConfigText<'a>, text: &'a str, name: &'static str) -> Result<Self, SpannedError> {
        Ok(RecordEntries { source, list: options().from_str_seed(text, Struct(name))? })
    }

    /// The value of a key. Of a key that is given twice, the first.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let (_, text) = self.list.iter().find(|(found, _)| *found == key).filter(|(_, text)| *text != "None")?;
        // `Some(...)` is the long form of an optional value.
        let inner = text.strip_prefix("Some").map(str::trim_start).and_then(|rest| rest.strip_prefix('('));
        let inner = inner.and_then(|rest| rest.strip_suffix(')')).map(str::trim);
        Some(self.source.value(key, inner.unwrap_or(text)))
    }

    /// Complaints about keys that are not among `known`, or given twice. `group` is the key whose value this is.
    pub fn unknown_keys(&self, known: &[&'static str], group: Option<&str>) -> ConfigComplaints {
        let place = group.map_or(String::new(), |group| format!(" in `{group}`"));
        let mut wrong = Vec::new();
        // The scan complains about a word that cannot be a key.
        let keys = self.list.iter().take(MOST).map(|(key, _)| *key).enumerate().filter(|(_, key)| is_identifier(key));
        for (at, key) in keys {
            let is_repeated = self.list[..at].iter().any(|(earlier, _)| *earlier == key);
            let (what, cure) = match group {
                Some(_) if !known.contains(&key) => (format!("unknown key `{key}`{place}"), names::part(key, known)),
                None if !known.contains(&key) => (format!("unknown key `{key}`"), names::key(key)),
                Some(_) if is_repeated => (format!("`{key}` is given twice{place}"), "keep one of them".to_owned()),
                None if is_repeated => (format!("the key `{key}` is given twice"), "keep one of them".to_owned()),
                _ => continue,
            };
            wrong.push(self.source.complaint(self.source.range(key), what, cure));
        }
        wrong.into()
    }
}

/// A struct with any keys, which serde's derive cannot read.
struct Struct(&'static str);

impl<'a> DeserializeSeed<'a> for Struct {
    type Value = Vec<(&'a str, &'a str)>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_struct(self.0, &[], self)
    }
}

impl<'a> Visitor<'a> for Struct {
    type Value = Vec<(&'a str, &'a str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values in parentheses")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value::<&RawValue>()?.trim().get_ron()));
        }
        Ok(entries)
    }
}

/// RON's own error about `text`, a part of `source`, at its place.
fn refusal(source: ConfigText<'_>, text: &str, error: &SpannedError) -> ConfigComplaint {
    let offset = |position: &Position| {
        let line: usize = text.split_inclusive('\n').take(position.line - 1).map(str::len).sum();
        let rest = text.get(line..).unwrap_or_default();
        line + rest.chars().take(position.col - 1).map(char::len_utf8).sum::<usize>()
    };
    let from = offset(&error.span.start);
    let to = offset(&error.span.end);
    // The span may begin with the blanks in front of the fault, and ends before a wrong character.
    let blanks = text.get(from..to).map_or(0, |span| span.len() - span.trim_start().len());
    let from = if error.code == Ron::Eof { to } else { from + blanks };
    let start = source.range(text).start;
    let at = Range { start: start + from, end: start + to.max(from) };
    source.complaint(at, format!("this is not RON: {}", error.code), NOTATION)
}
