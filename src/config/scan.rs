//! Finds the mistakes in a file that RON refuses: goes over the text, guesses where each value was to end, and complains
//! about each mistake at its place. The keys and values that it finds can be checked like those of a file that is right.
//!
//! Never decides that a file is right: that is for [`record`](super::record).

mod blanks;
mod quotes;
#[cfg(test)]
mod tests;
mod values;

use std::ops::Range;

use self::values::OpenBracket;
use super::complaint::ConfigComplaint;
use super::keys::Key;
use super::names;
use super::node_record::NODE_KEYS;
use super::other_format;
use super::value::ConfigText;

/// The result of a scan.
#[derive(Default)]
pub struct Scan<'a> {
    /// The mistakes; none if only RON knows the fault.
    pub complaints: Vec<ConfigComplaint>,
    /// Keys of the file with their values.
    pub entries: Vec<(&'a str, &'a str)>,
    /// Keys with a mistake in the notation of their value.
    pub broken: Vec<&'a str>,
    /// The end of the configuration, if all keys were found.
    pub end: Option<usize>,
}

/// Goes over a file.
pub fn scan(source: ConfigText<'_>) -> Scan<'_> {
    if let Some(complaint) = other_format::recognise(source) {
        return Scan { complaints: vec![complaint], ..Scan::default() };
    }
    let mut scanner = Scanner {
        source,
        text: source.text,
        at: 0,
        complaints: Vec::new(),
        entries: Vec::new(),
        depth: 0,
        gave_up: false,
    };
    let end = scanner.file();
    let Scanner { complaints, entries, .. } = scanner;
    let is_broken = |value: &str| complaints.iter().any(|complaint| complaint.starts_in(&source.range(value)));
    let (broken, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, value)| is_broken(value));
    Scan { complaints, entries, broken: broken.into_iter().map(|(key, _)| key).collect(), end }
}

/// A place in the text, and the findings up to it.
struct Scanner<'a> {
    source: ConfigText<'a>,
    text: &'a str,
    at: usize,
    complaints: Vec<ConfigComplaint>,
    entries: Vec<(&'a str, &'a str)>,
    /// The number of values around this place.
    depth: usize,
    /// True if the rest of the text is left alone.
    gave_up: bool,
}

/// Mistakes, and keys, at which a scan ends: to find the line of each takes a pass over the text.
const MOST: usize = 100;

/// Ends a word in any place.
const DELIMITERS: [char; 11] = [',', '(', ')', '[', ']', '{', '}', '"', '\'', ';', '`'];

impl<'a> Scanner<'a> {
    /// The whole file. Returns its end, if everything in it was found.
    fn file(&mut self) -> Option<usize> {
        self.blank();
        while self.rest().starts_with("#![") {
            self.at = self.rest().find(']').map_or(self.text.len(), |end| self.at + end + 1);
            self.blank();
        }
        self.word(&[]);
        self.blank();
        if !self.eat('(') {
            return None;
        }
        let end = self.record(true);
        self.blank();
        self.trailing();
        end
    }

    /// Text behind the end.
    fn trailing(&mut self) {
        let rest = self.rest();
        if rest.is_empty() {
            return;
        }
        let cure = match rest.chars().next() {
            Some(',') => "remove the comma",
            Some(')') => "remove the `)`, or open one more `(`",
            Some('(') => "one file mirrors one tree: write a file for each, and run one inosync for each",
            _ => "move the `)` behind the last value, or remove the text",
        };
        self.mistake(self.at..self.at + 1, "there is text behind the closing `)`", cure);
    }

    /// Keys and values up to the closing parenthesis, of the file itself or of a group in it.
    fn record(&mut self, is_file: bool) -> Option<usize> {
        loop {
            self.blank();
            if self.complaints.len() == MOST || self.entries.len() == MOST {
                self.give_up();
            }
            match self.peek() {
                None => {
                    let end = self.text.trim_end().len();
                    let what = "the file ends too early: the closing `)` is missing";
                    self.mistake(end..end, what, "write `)` at the end");
                    return None;
                }
                Some(')') => {
                    self.at += 1;
                    return Some(self.at - 1);
                }
                Some(c @ (']' | '}')) => {
                    let last = self.rest()[1..].trim().is_empty();
                    let cure = if last { "write `)` instead" } else { "remove it, or open a bracket in front of it" };
                    self.skip_mistake(1, format!("`{c}` closes nothing here"), cure);
                    if last {
                        return Some(self.at - 1);
                    }
                }
                Some(',' | ';') => self.skip_mistake(1, "a comma is too many here", "remove it"),
                Some('(') => {
                    self.skip_mistake(1, "a parenthesis is too many here", "remove it: one pair is around all keys");
                }
                Some(_) => self.entry(is_file),
            }
        }
    }

    /// One key with its value, and the separator behind it.
    fn entry(&mut self, is_file: bool) {
        let before = self.at;
        let Some(key) = self.key(is_file) else {
            if self.at == before {
                self.misplaced_character("write a key");
            }
            return;
        };
        let Some(value) = self.value(key, OpenBracket::Record) else {
            self.eat(',');
            return;
        };
        self.separator(key, value.end);
        if is_file {
            self.entries.push((key, &self.text[value]));
        }
    }

    /// A key and its colon, of the file itself or of a group in it.
    fn key(&mut self, is_file: bool) -> Option<&'a str> {
        let start = self.at;
        let (name, quoted) = match self.peek()? {
            quote @ ('"' | '\'' | '`') => (self.quoted_key(quote)?, true),
            _ => (self.word(&[':', '=']), false),
        };
        let whole = start..self.at;
        if name.is_empty() {
            return None;
        }
        let meant = names::meant(name).filter(|_| is_file).unwrap_or(name);
        self.blank();
        let rest = self.rest();
        let colon = ["::", ":=", "=>", "==", "=", ":"].iter().find(|sign| rest.starts_with(**sign));
        if quoted && colon.is_none() {
            self.mistake(whole, "a value without a key", "write a key and a colon in front of it");
            self.separator(name, self.at);
            return None;
        }
        if quoted {
            self.mistake(whole, "a key in quotes", format!("write it without: {}", names::shown(name)));
        } else if !is_identifier(name) {
            let cure = if name == meant { "keys have letters and `_` alone".to_owned() } else { names::key(name) };
            self.mistake(whole, format!("`{name}` cannot be a key"), cure);
        }
        match colon {
            Some(&":") => self.at += 1,
            Some(sign) => {
                let what = format!("`{sign}` behind the key `{name}`");
                self.skip_mistake(sign.len(), what, format!("write a colon: `{meant}:`"));
            }
            None if self.peek().is_none_or(|c| ",)]};".contains(c)) => (),
            None => {
                let what = format!("a colon is missing behind the key `{name}`");
                let cure = match Key::named(meant) {
                    Some(key) => format!("write {}", key.shown()),
                    None => names::key(name),
                };
                self.mistake(self.at..self.at, what, cure);
            }
        }
        Some(name)
    }

    fn quoted_key(&mut self, quote: char) -> Option<&'a str> {
        let inner = &self.rest()[1..];
        let end = inner.find([quote, '\n']).filter(|end| inner[*end..].starts_with(quote))?;
        self.at += end + 2;
        Some(&inner[..end])
    }

    /// The separator between a value that ended at `end` and the next key.
    fn separator(&mut self, key: &str, end: usize) {
        self.blank();
        match self.peek() {
            None | Some(')' | ']' | '}') => (),
            Some(',') => self.at += 1,
            // A list that is not closed took the comma.
            Some(_) if self.text[..end].ends_with(',') => (),
            Some(';') => self.skip_mistake(1, "`;` behind a value", "write a comma"),
            Some(_) if self.is_key_ahead() => {
                self.mistake(end..end, format!("a comma is missing behind the value of `{key}`"), "write `,` there");
            }
            Some(_) => self.text_behind(key, end),
        }
    }

    /// Text behind a value, up to the next comma or line.
    fn text_behind(&mut self, key: &str, end: usize) {
        let start = self.at;
        let adjacent = start == end && self.text[..end].ends_with('"');
        let length = self.rest().find(['\n', ',', ')']).unwrap_or(self.rest().len());
        self.at += length.max(1).min(self.rest().len());
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        if adjacent {
            let cure = "write `\\\"` for a quote inside, or single quotes in extra";
            self.mistake(start - 1..self.at, "a quote inside a text ends it", cure);
        } else {
            let cure = format!("write one value and a comma: {}", names::shown(key));
            self.mistake(start..self.at, "there is text behind the value", cure);
        }
        self.blank();
        self.eat(',');
    }

    /// Letters up to a blank, a bracket, a quote, a comma, or one of `ends`; also a `//` behind a colon, as in a URL.
    fn word(&mut self, ends: &[char]) -> &'a str {
        let rest = self.rest();
        let is_end = |(at, c): (usize, char)| {
            let comment = c == '/' && rest[at..].starts_with("//") && !rest[..at].ends_with(':');
            (c.is_whitespace() || DELIMITERS.contains(&c) || ends.contains(&c) || comment).then_some(at)
        };
        let length = rest.char_indices().find_map(is_end).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// True if a key with its colon or `=` is next.
    fn is_key_ahead(&self) -> bool {
        starts_with_key(self.rest())
    }

    /// True if one of the known keys is next: a node without quotes looks like a key.
    fn is_known_key_ahead(&self) -> bool {
        Key::named(self.name_ahead()).is_some() && self.is_key_ahead()
    }

    /// True if a setting of a node may be next in a group of this key.
    fn is_node_key_ahead(&self, key: &str) -> bool {
        key == "rnodes" && NODE_KEYS.contains(&self.name_ahead())
    }

    fn name_ahead(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.rest().starts_with(c);
        self.at += if there { c.len_utf8() } else { 0 };
        there
    }

    /// Leaves the rest of the text alone.
    fn give_up(&mut self) {
        self.at = self.text.len();
        self.gave_up = true;
    }

    fn mistake(&mut self, at: Range<usize>, what: impl Into<String>, cure: impl Into<String>) {
        if !self.gave_up && self.complaints.len() < MOST {
            self.complaints.push(self.source.complaint(at, what, cure));
        }
    }

    /// Complains about the next bytes, and goes on behind them.
    fn skip_mistake(&mut self, length: usize, what: impl Into<String>, cure: impl Into<String>) {
        self.mistake(self.at..self.at + length, what, cure);
        self.at += length;
    }

    fn misplaced_character(&mut self, cure: &str) {
        let c = self.peek().unwrap_or(' ');
        self.skip_mistake(c.len_utf8(), format!("`{}` cannot stand here", c.escape_debug()), cure);
    }

    /// Complains about a habit, which has one cure, at its first place only.
    fn mistake_once(&mut self, at: Range<usize>, what: impl Into<String>, cure: &str) {
        if !self.complaints.iter().any(|complaint| complaint.cure() == cure) {
            self.mistake(at, what, cure);
        }
    }
}

pub fn is_identifier(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// True if a text begins, behind blanks, with a word, also in quotes, and a colon or `=`; but no `::`, and no URL.
fn starts_with_key(text: &str) -> bool {
    let text = text.trim_start();
    let name = text.trim_start_matches(['"', '\'']);
    let behind = name.trim_start_matches(|c: char| c.is_alphanumeric() || "_-".contains(c));
    let is_word = behind.len() < name.len();
    // As many quotes behind the word as in front of it.
    let quotes = &text[..text.len() - name.len()];
    let behind = behind.strip_prefix(quotes).unwrap_or_default().trim_start_matches([' ', '\t']);
    let is_colon = behind.starts_with(':') && !["::", "://"].iter().any(|other| behind.starts_with(other));
    is_word && (is_colon || behind.starts_with('='))
}
