//! Takes the values of a file one by one, and collects what is wrong with each.

use std::time::Duration;

use super::complaint::{Complaint, Complaints};
use super::names::{self, example};
use super::notation::{self, Entries};
use super::text::{Source, Value};
use super::{ConfigError, KEYS, mistakes};

/// The keys and values of a file, and all complaints about them so far.
pub struct Reader<'a> {
    source: Source<'a>,
    entries: Entries<'a>,
    /// Keys about whose values something was said already.
    broken: Vec<&'a str>,
    wrong: Complaints,
    /// What RON says of the whole, for when nothing else is said.
    last_resort: Option<Complaint>,
}

impl<'a> Reader<'a> {
    /// Finds the keys. What is wrong with the notation, and keys that are missing or unknown, are complaints.
    pub fn of(source: Source<'a>) -> Self {
        if source.text.trim().is_empty() {
            let cure = "at least: (wpath: \"/from\", rpath: \"/to\", rnodes: [\"user@host:\"])";
            let wrong = source.complaint(0..0, "the file is empty", cure).into();
            return Reader {
                source,
                entries: Entries::found(source, Vec::new()),
                broken: Vec::new(),
                wrong,
                last_resort: None,
            };
        }
        let read = Entries::of(source, source.text, "Site");
        let found = mistakes::find(source);
        let (mut reader, keys_are_known) = match read {
            Ok(entries) => {
                (Reader { source, entries, broken: Vec::new(), wrong: Complaints::default(), last_resort: None }, true)
            }
            Err(error) => {
                let known = found.end.is_some();
                let mut reader = Reader::guessed(source, found.entries, found.broken, found.complaints);
                reader.last_resort = Some(notation::complaint(source, &error));
                (reader, known)
            }
        };
        let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        reader.wrong.add(reader.entries.strangers(&keys, None));
        if keys_are_known {
            reader.find_missing(found.end.unwrap_or(source.text.trim_end().len()));
        }
        reader
    }

    /// The keys of a file that RON does not take, as far as their values can be read alone.
    fn guessed(source: Source<'a>, list: Vec<(&'a str, &'a str)>, broken: Vec<&'a str>, wrong: Complaints) -> Self {
        let mut reader =
            Reader { source, entries: Entries::found(source, Vec::new()), broken, wrong, last_resort: None };
        let mut sound = Vec::new();
        for (key, text) in list {
            // Numbers and words are looked at as a text.
            let unreadable = source.value(key, text).unreadable().filter(|_| text.starts_with(['"', '[', '(', 'r']));
            match unreadable {
                Some(complaint) => {
                    reader.wrong.add(complaint);
                    reader.broken.push(key);
                }
                None => sound.push((key, text)),
            }
        }
        reader.entries = Entries::found(source, sound);
        reader
    }

    fn find_missing(&mut self, end: usize) {
        for key in ["wpath", "rpath", "rnodes"] {
            if !self.entries.mean(key) && !self.broken.iter().any(|broken| names::meant(broken) == Some(key)) {
                let what = format!("the key `{key}` is missing");
                self.wrong.add(self.source.complaint(end..end + 1, what, format!("add {}", example(key))));
            }
        }
    }

    /// The value of a key, if it is given and can be read.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        self.entries.get(key)
    }

    /// The value of a result; its complaints are kept.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<Complaints>>) -> Option<T> {
        self.wrong.keep(result)
    }

    /// Reads a key, whether it is given or not.
    pub fn key<T, E: Into<Complaints>>(
        &mut self,
        key: &str,
        read: impl FnOnce(Option<Value<'a>>) -> Result<T, E>,
    ) -> Option<T> {
        if self.broken.contains(&key) {
            return None;
        }
        let value = self.value(key);
        self.keep(read(value))
    }

    /// Reads a key that has to be there.
    pub fn required<T, E: Into<Complaints>>(
        &mut self,
        key: &str,
        read: impl FnOnce(Value<'a>) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.value(key)?;
        self.keep(read(value))
    }

    /// Reads a key that may be left out.
    pub fn optional<T, E: Into<Complaints>>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(Value<'a>) -> Result<T, E>,
    ) -> Option<T> {
        self.key(key, |value| value.map_or(Ok(default), read))
    }

    /// Reads a key that has no value of its own when it is left out.
    pub fn maybe<T, E: Into<Complaints>>(
        &mut self,
        key: &str,
        read: impl FnOnce(Value<'a>) -> Result<T, E>,
    ) -> Option<Option<T>> {
        self.key(key, |value| value.map(read).transpose())
    }

    /// Reads a whole number.
    pub fn number(&mut self, key: &str, default: u64, (least, most): (u64, u64), unit: &str) -> Option<u64> {
        self.optional(key, default, |value| value.number_from(least, most, unit))
    }

    /// Reads a number of seconds.
    pub fn seconds(&mut self, key: &str, default: u64, range: (u64, u64)) -> Option<Duration> {
        self.number(key, default, range, "seconds").map(Duration::from_secs)
    }

    /// What was read, if there is nothing to complain about.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, ConfigError> {
        if let Some(complaint) = self.last_resort.filter(|_| self.wrong.is_empty()) {
            return Err(complaint.into());
        }
        match read {
            Some(read) => Ok(self.wrong.or(read)?),
            None => Err(self.wrong.into()),
        }
    }
}
