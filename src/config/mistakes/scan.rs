//! One pass over the text of a configuration that has mistakes in it.

mod blanks;
mod quotes;

use std::ops::Range;

use self::quotes::CURLY;
use super::Mistake;
use crate::config::KEYS;
use crate::config::names::{self, example};

/// A place in the text, and what was found up to it.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    pub mistakes: Vec<Mistake>,
    /// Keys of the file with their values.
    pub entries: Vec<(&'a str, &'a str)>,
    /// Kinds of mistakes that are told once, however often they are made.
    hash_told: bool,
    blank_told: bool,
    /// The number of values around this place.
    depth: usize,
    /// Whether the rest of the text is not looked at.
    gave_up: bool,
}

/// Values in each other past which nothing is looked at: each takes room on the stack. RON takes 128.
const DEEPEST: usize = 100;
/// Mistakes, and keys, past which none is taken down: the place of each is counted out in the text.
const MOST: usize = 100;

/// What closes the brackets that a value stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Record,
    List,
}

/// Ends a word in any place.
const DELIMITERS: [char; 11] = [',', '(', ')', '[', ']', '{', '}', '"', '\'', ';', '`'];

impl<'a> Scanner<'a> {
    pub fn of(text: &'a str) -> Self {
        let (mistakes, entries) = (Vec::new(), Vec::new());
        Scanner { text, at: 0, mistakes, entries, hash_told: false, blank_told: false, depth: 0, gave_up: false }
    }

    /// The whole file. Returns where it ends, if everything in it was found.
    pub fn file(&mut self) -> Option<usize> {
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

    /// What is behind the end.
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
            if self.mistakes.len() == MOST || self.entries.len() == MOST {
                self.give_up();
            }
            match self.peek() {
                None => {
                    let end = self.text.trim_end().len();
                    self.mistake(
                        end..end,
                        "the file ends too early: the closing `)` is missing",
                        "write `)` at the end",
                    );
                    return None;
                }
                Some(')') => {
                    self.at += 1;
                    return Some(self.at - 1);
                }
                Some(c @ (']' | '}')) => {
                    let last = self.text[self.at + 1..].trim().is_empty();
                    let cure = if last { "write `)` instead" } else { "remove it, or open a bracket in front of it" };
                    self.mistake(self.at..self.at + 1, format!("`{c}` closes nothing here"), cure);
                    self.at += 1;
                    if last {
                        return Some(self.at - 1);
                    }
                }
                Some(',' | ';') => {
                    self.mistake(self.at..self.at + 1, "a comma is too many here", "remove it");
                    self.at += 1;
                }
                Some('(') => {
                    let what = "a parenthesis is too many here";
                    self.mistake(self.at..self.at + 1, what, "remove it: one pair is around all keys");
                    self.at += 1;
                }
                Some(_) => self.entry(is_file),
            }
        }
    }

    /// One key with its value, and what separates it from the next.
    fn entry(&mut self, is_file: bool) {
        let before = self.at;
        let Some(key) = self.key() else {
            if self.at == before {
                let c = self.peek().unwrap_or(' ');
                self.mistake(before..before + 1, format!("`{}` cannot stand here", c.escape_debug()), "write a key");
                self.at += c.len_utf8();
            }
            return;
        };
        let value = self.value(key, Within::Record);
        if let Some(value) = value.clone().filter(|_| is_file) {
            self.entries.push((key, &self.text[value]));
        }
        match value {
            Some(value) => self.separator(key, value.end),
            None => _ = self.eat(','),
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<&'a str> {
        let start = self.at;
        let (name, quoted) = match self.peek()? {
            quote @ ('"' | '\'' | '`') => (self.quoted_key(quote)?, true),
            _ => (self.word(&[':', '=']), false),
        };
        let whole = start..self.at;
        if name.is_empty() {
            return None;
        }
        let meant = names::meant(name).unwrap_or(name);
        self.blank();
        let rest = self.rest();
        let colon = ["::", ":=", "=>", "==", "=", ":"].iter().find(|sign| rest.starts_with(**sign));
        if quoted && colon.is_none() {
            self.mistake(whole, "a value without a key", "write a key and a colon in front of it");
            self.separator(name, self.at);
            return None;
        }
        if quoted {
            self.mistake(whole, "a key in quotes", format!("write it without: {}", example(meant)));
        } else if !is_identifier(name) {
            let cure = if name == meant { "keys have letters and `_` alone".to_owned() } else { names::key(name) };
            self.mistake(whole, format!("`{name}` cannot be a key"), cure);
        }
        match colon {
            Some(&":") => self.at += 1,
            Some(sign) => {
                let what = format!("`{sign}` behind the key `{name}`");
                self.mistake(self.at..self.at + sign.len(), what, format!("write a colon: `{meant}:`"));
                self.at += sign.len();
            }
            None if self.peek().is_none_or(|c| ",)]};".contains(c)) => (),
            None => {
                let what = format!("a colon is missing behind the key `{name}`");
                let is_known = KEYS.iter().any(|(key, _)| *key == meant);
                let cure = if is_known { format!("write {}", example(meant)) } else { names::key(name) };
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

    /// What separates a value that ended at `end` from the next key.
    fn separator(&mut self, key: &str, end: usize) {
        self.blank();
        match self.peek() {
            None | Some(')' | ']' | '}') => (),
            Some(',') => self.at += 1,
            // A list that is not closed took the comma.
            Some(_) if self.text[..end].ends_with(',') => (),
            Some(';') => {
                self.mistake(self.at..self.at + 1, "`;` behind a value", "write a comma");
                self.at += 1;
            }
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
        let (what, cure) = match adjacent {
            true => (
                "a quote inside a text ends it",
                "write `\\\"` for a quote inside, or single quotes in extra".to_owned(),
            ),
            false => ("there is text behind the value", format!("write one value and a comma: {}", example(key))),
        };
        let start = if adjacent { start - 1 } else { start };
        self.mistake(start..self.at, what, cure);
        self.blank();
        self.eat(',');
    }

    /// One value. `None` if there is none.
    fn value(&mut self, key: &str, within: Within) -> Option<Range<usize>> {
        if self.depth == DEEPEST {
            let what = "brackets are in each other too often";
            self.mistake(self.at..self.at, what, "remove those that are too many");
            self.give_up();
            return None;
        }
        self.depth += 1;
        let found = self.value_here(key, within);
        self.depth -= 1;
        found
    }

    fn value_here(&mut self, key: &str, within: Within) -> Option<Range<usize>> {
        self.blank();
        let start = self.at;
        match self.peek() {
            None | Some(',' | ')' | ']' | '}' | ';') => {
                let what = format!("the key `{key}` has no value");
                let cure = format!("write one: {}", example(names::meant(key).unwrap_or(key)));
                self.mistake(start..start, what, cure);
                return None;
            }
            Some('"') => self.string(key),
            Some('\'' | '`') => self.other_quotes(key),
            Some(c) if CURLY.contains(&c) => self.other_quotes(key),
            Some('[') => self.list(key),
            Some('(') => {
                self.at += 1;
                self.group(key, start, ')');
            }
            Some('{') => {
                self.at += 1;
                self.group(key, start, '}');
                let closing = if example(key).contains(": [") { "`[` and `]`" } else { "`(` and `)`" };
                self.mistake(start..start + 1, "braces are not used here", format!("write {closing} instead"));
            }
            Some(_) if within == Within::Record && self.is_known_key_ahead() => {
                let what = format!("the key `{key}` has no value");
                self.mistake(start..start, what, format!("write one: {}", example(names::meant(key).unwrap_or(key))));
                return None;
            }
            Some(_) => self.bare(key, within),
        }
        Some(start..self.at.max(start))
    }

    /// A value without quotes: a number, a choice, a raw string, or a text whose quotes are missing.
    fn bare(&mut self, key: &str, within: Within) {
        let start = self.at;
        let rest = self.rest();
        let raw = rest.strip_prefix(['r', 'b']).unwrap_or(rest).trim_start_matches(['r', '#']);
        if raw.starts_with('"') && raw.len() < rest.len() {
            return self.raw_string(key, rest.len() - raw.len());
        }
        let word = self.word(&[]);
        if self.rest().starts_with('(') && is_identifier(word) {
            self.at += 1;
            return self.group(key, start, ')');
        }
        if word.chars().all(|c| c.is_ascii_digit()) && self.thousands() {
            let what = "a comma inside a number ends it";
            let digits: String = self.text[start..self.at].chars().filter(char::is_ascii_digit).collect();
            return self.mistake(start..self.at, what, format!("write {digits}"));
        }
        if within == Within::Record && !self.is_key_ahead() {
            // Up to the end of the line, or to what ends a value in it.
            let more = self.rest().find(['\n', ',', ';', ')', '"']).unwrap_or(self.rest().len());
            let more = self.rest()[..more].find("//").filter(|at| !self.rest()[..*at].ends_with(':')).unwrap_or(more);
            self.at += self.rest()[..more].trim_end().len();
        }
        let text = &self.text[start..self.at];
        let wants_text = example(names::meant(key).unwrap_or(key)).contains('"');
        let is_word = ["true", "false", "None"].contains(&text) || text.chars().all(|c| c.is_ascii_digit());
        if self.at == start {
            let c = self.peek().unwrap_or(' ');
            self.at += c.len_utf8();
            self.mistake(start..self.at, format!("`{}` cannot stand here", c.escape_debug()), "write a value");
        } else if wants_text && !is_word {
            let cure = match within {
                _ if text.starts_with(['~', '$']) => {
                    "write the whole path in double quotes: nothing is expanded".to_owned()
                }
                Within::Record if example(key).contains(": [") => {
                    format!("write a list of texts in double quotes: {key}: [\"{text}\"]")
                }
                Within::Record => format!("write it in double quotes: {key}: \"{text}\""),
                Within::List => format!("write it in double quotes: \"{text}\""),
            };
            self.mistake(start..self.at, "a text without quotes", cure);
        }
    }

    /// Groups of three digits behind a number.
    fn thousands(&mut self) -> bool {
        let mut found = false;
        while let Some(group) = self.rest().strip_prefix(',') {
            let digits = group.len() - group.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits != 3 {
                break;
            }
            self.at += 4;
            found = true;
        }
        found
    }

    /// A list. One that is not closed ends in front of the next key.
    fn list(&mut self, key: &str) {
        let start = self.at;
        self.at += 1;
        loop {
            self.blank();
            let next = self.peek();
            match next {
                Some(']') => {
                    self.at += 1;
                    return;
                }
                Some(',') => {
                    self.mistake(self.at..self.at + 1, "a comma is too many here", "remove it");
                    self.at += 1;
                }
                Some(')' | '}') if !self.text[self.at + 1..].trim().is_empty() => {
                    let what = format!("`{}` does not close the list", next.unwrap_or(')'));
                    self.mistake(self.at..self.at + 1, what, "write `]` instead");
                    self.at += 1;
                    return;
                }
                None | Some(')' | '}') => return self.unclosed_list(start),
                Some(_) if self.is_known_key_ahead() => return self.unclosed_list(start),
                Some(_) => self.element(key),
            }
        }
    }

    fn unclosed_list(&mut self, start: usize) {
        self.mistake(start..start + 1, "a list is not closed: `]` is missing", "write `]` behind its last value");
        self.at = self.text[..self.at].trim_end().len();
    }

    /// One value of a list, and what separates it from the next.
    fn element(&mut self, key: &str) {
        self.value(key, Within::List);
        let end = self.at;
        self.blank();
        match self.peek() {
            None | Some(']' | ')' | '}') => (),
            Some(',') => self.at += 1,
            Some(c @ (';' | ':')) => {
                self.mistake(self.at..self.at + 1, format!("`{c}` between two values"), "write a comma");
                self.at += 1;
            }
            Some(_) if self.is_known_key_ahead() => (),
            Some(_) if self.at == end && self.text[..end].ends_with('"') => {
                let what = "a quote inside a text ends it, or a comma is missing";
                self.mistake(end..end, what, "write `\\\"` for a quote inside a text, `,` between two texts");
            }
            Some(_) => self.mistake(end..end, "a comma is missing between two values", "write `,` there"),
        }
    }

    /// What is between parentheses, keys with values or values alone, up to what closes it.
    fn group(&mut self, key: &str, start: usize, close: char) {
        loop {
            self.blank();
            match self.peek() {
                Some(c) if c == close => {
                    self.at += 1;
                    return;
                }
                None | Some(')' | ']' | '}') => {
                    let what = format!("a group is not closed: `{close}` is missing");
                    return self.mistake(start..start + 1, what, format!("write `{close}` behind its last value"));
                }
                Some(',') => self.at += 1,
                Some(_) if self.is_known_key_ahead() => {
                    self.at = self.text[..self.at].trim_end().len();
                    let what = format!("a group is not closed: `{close}` is missing");
                    return self.mistake(start..start + 1, what, format!("write `{close}` behind its last value"));
                }
                Some(_) if self.is_key_ahead() => self.entry(false),
                Some(_) => self.element(key),
            }
        }
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

    /// Whether a key with its colon or `=` is next.
    fn is_key_ahead(&self) -> bool {
        starts_with_key(self.rest())
    }

    /// Whether it is one that there is: a node without quotes looks like a key.
    fn is_known_key_ahead(&self) -> bool {
        let rest = self.rest();
        let name = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
        KEYS.iter().any(|(key, _)| *key == name) && self.is_key_ahead()
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
        (self.at, self.gave_up) = (self.text.len(), true);
    }

    fn mistake(&mut self, at: Range<usize>, what: impl Into<String>, cure: impl Into<String>) {
        if !self.gave_up && self.mistakes.len() < MOST {
            self.mistakes.push(Mistake { at, what: what.into(), cure: cure.into() });
        }
    }
}

pub fn is_identifier(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether a text begins, behind blanks, with a word, also in quotes, and a colon or `=`; but no `::`, and no URL.
fn starts_with_key(text: &str) -> bool {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c));
    let name = quote.map_or(text, |quote| &text[quote.len_utf8()..]);
    let word = name.find(|c: char| !c.is_alphanumeric() && !"_-".contains(c)).unwrap_or(name.len());
    let behind = match quote {
        Some(quote) => name[word..].strip_prefix(quote),
        None => Some(&name[word..]),
    };
    let behind = behind.unwrap_or_default().trim_start_matches([' ', '\t']);
    let is_colon = behind.starts_with(':') && !["::", "://"].iter().any(|other| behind.starts_with(other));
    word > 0 && (is_colon || behind.starts_with('='))
}
