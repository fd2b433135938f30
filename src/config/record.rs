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

/// A configuration, of one file or several, with the complaints about it so far.
pub struct Record<'a> {
    /// A key counts in the first of these that has it. At least one.
    files: Vec<FileRecord<'a>>,
    wrong: ConfigComplaints,
}

/// The keys of one file.
struct FileRecord<'a> {
    source: ConfigText<'a>,
    entries: RecordEntries<'a>,
    /// Keys whose values have a complaint about their notation.
    broken: Vec<&'a str>,
    /// The error of RON, which is shown if nothing else is wrong.
    refusal: Option<ConfigComplaint>,
    /// The place of a missing key; `None` if the scan may have overlooked keys.
    end: Option<usize>,
}

impl<'a> Record<'a> {
    /// Finds the keys of all files. Complains about the notation, and about keys that are missing, not known, or given
    /// twice in one file. `wrong` are the complaints about files that are not here.
    pub fn of(sources: impl IntoIterator<Item = ConfigText<'a>>, wrong: ConfigComplaints) -> Self {
        let is_whole = wrong.is_empty();
        let mut record = Record { files: Vec::new(), wrong };
        sources.into_iter().for_each(|source| record.read(source));
        if is_whole && record.files.iter().all(|file| file.end.is_some()) {
            let missing: Vec<ConfigComplaint> = KEYS.iter().filter_map(|key| record.missing(key)).collect();
            record.wrong.add(missing);
        }
        record
    }

    /// Finds the keys of one file alone, which need not be all.
    pub fn of_file(source: ConfigText<'a>) -> Self {
        let mut record = Record { files: Vec::new(), wrong: ConfigComplaints::default() };
        record.read(source);
        record
    }

    fn read(&mut self, source: ConfigText<'a>) {
        let entries = RecordEntries { source, list: Vec::new() };
        let mut file = FileRecord { source, entries, broken: Vec::new(), refusal: None, end: None };
        if source.text.trim().is_empty() {
            let cure = "at least: (wpath: \"/from\", rpath: \"/to\", rnodes: [\"user@host:\"])";
            self.wrong.add(source.complaint(0..0, "the file is empty", cure));
            return self.files.push(file);
        }
        let scan = scan::scan(source);
        match RecordEntries::of(source, source.text, "Site") {
            Ok(entries) => {
                file.entries = entries;
                file.end = Some(scan.end.unwrap_or(source.text.trim_end().len()));
            }
            Err(error) => {
                file.refusal = Some(refusal(source, source.text, &error));
                self.wrong.add(scan.complaints);
                (file.broken, file.end) = (scan.broken, scan.end);
                self.wrong.add(file.take(scan.entries));
            }
        }
        let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        self.wrong.add(file.entries.unknown_keys(&known, None));
        self.files.push(file);
    }

    /// The file in which a key counts.
    fn file_with(&self, key: &str) -> Option<&FileRecord<'a>> {
        self.files.iter().find(|file| file.mentions(key))
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        self.file_with(key)?.entries.get(key)
    }

    /// True if there is a complaint about the notation of the key's value.
    pub fn is_broken(&self, key: &str) -> bool {
        self.file_with(key).is_some_and(|file| file.broken.contains(&key))
    }

    /// A complaint about a required key that is missing, unless it is there under a name that is nearly right.
    fn missing(&self, key: &Key) -> Option<ConfigComplaint> {
        if !key.is_required() || self.value(key.name).is_some() || self.is_broken(key.name) {
            return None;
        }
        let mut names = self.files.iter().flat_map(FileRecord::names);
        if names.any(|name| name != key.name && names::meant(name) == Some(key.name)) {
            return None;
        }
        let main = self.files.first()?;
        let at = main.end?;
        let what = format!("the key `{}` is missing", key.name);
        Some(main.source.complaint(at..at + 1, what, format!("add {}", key.shown())))
    }

    /// The value of a result; its complaints are kept.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<ConfigComplaints>>) -> Option<T> {
        self.wrong.keep(result)
    }

    /// The result of the whole configuration, if nothing is wrong.
    pub fn finish(&self) -> Result<(), ConfigComplaints> {
        match self.files.iter().find_map(|file| file.refusal.as_ref()) {
            Some(refusal) if self.wrong.is_empty() => Err(refusal.clone().into()),
            _ => self.wrong.clone().or(()),
        }
    }
}

impl<'a> FileRecord<'a> {
    /// Takes the entries of a scan, as far as each value can be read alone.
    fn take(&mut self, entries: Vec<(&'a str, &'a str)>) -> Vec<ConfigComplaint> {
        let mut wrong = Vec::new();
        for (key, text) in entries {
            // Numbers and words are checked as they are written.
            let is_bracketed = text.starts_with(['"', '[', '(', 'r']);
            let error = options().from_str::<&RawValue>(text).err().filter(|_| is_bracketed);
            match error {
                Some(error) => {
                    wrong.push(refusal(self.source, text, &error));
                    self.broken.push(key);
                }
                None => self.entries.list.push((key, text)),
            }
        }
        wrong
    }

    /// The first keys, also those whose value is broken.
    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.list.iter().take(MOST).map(|(name, _)| *name).chain(self.broken.iter().copied())
    }

    fn mentions(&self, key: &str) -> bool {
        self.entries.list.iter().any(|(name, _)| *name == key) || self.broken.contains(&key)
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
