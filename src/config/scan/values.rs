//! Values of any kind, and the place where each was to end.

use std::ops::Range;

use super::quotes::CURLY;
use super::{Scanner, is_identifier};
use crate::config::names::{example_has, shown};

/// The depth of values in each other at which a scan ends: each takes room on the stack. RON takes 128.
const DEEPEST: usize = 100;

/// The brackets that a value stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenBracket {
    Record,
    List,
}

impl Scanner<'_> {
    /// One value. `None` if there is none.
    pub(super) fn value(&mut self, key: &str, within: OpenBracket) -> Option<Range<usize>> {
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

    fn value_here(&mut self, key: &str, within: OpenBracket) -> Option<Range<usize>> {
        self.blank();
        let start = self.at;
        match self.peek() {
            None | Some(',' | ')' | ']' | '}' | ';') => return self.no_value(key),
            Some(_) if within == OpenBracket::Record && self.is_known_key_ahead() => return self.no_value(key),
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
                let closing = if example_has(key, "[") { "`[` and `]`" } else { "`(` and `)`" };
                self.mistake(start..start + 1, "braces are not used here", format!("write {closing} instead"));
            }
            Some(_) => self.bare(key, within),
        }
        Some(start..self.at)
    }

    fn no_value(&mut self, key: &str) -> Option<Range<usize>> {
        let what = format!("the key `{key}` has no value");
        self.mistake(self.at..self.at, what, format!("write one: {}", shown(key)));
        None
    }

    /// A value without quotes: a number, a choice, a raw string, or a text whose quotes are missing.
    fn bare(&mut self, key: &str, within: OpenBracket) {
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
        if within == OpenBracket::Record && !self.is_key_ahead() {
            // Up to the end of the line, or to what ends a value in it.
            let more = self.rest().find(['\n', ',', ';', ')', '"']).unwrap_or(self.rest().len());
            let more = self.rest()[..more].find("//").filter(|at| !self.rest()[..*at].ends_with(':')).unwrap_or(more);
            self.at += self.rest()[..more].trim_end().len();
        }
        let text = &self.text[start..self.at];
        let wants_text = example_has(key, "\"");
        let is_word = ["true", "false", "None"].contains(&text) || text.chars().all(|c| c.is_ascii_digit());
        if self.at == start {
            self.misplaced_character("write a value");
        } else if wants_text && !is_word {
            let cure = match within {
                _ if text.starts_with(['~', '$']) => {
                    "write the whole path in double quotes: nothing is expanded".to_owned()
                }
                OpenBracket::Record if example_has(key, "[") => {
                    format!("write a list of texts in double quotes: {key}: [\"{text}\"]")
                }
                OpenBracket::Record => format!("write it in double quotes: {key}: \"{text}\""),
                OpenBracket::List => format!("write it in double quotes: \"{text}\""),
            };
            self.mistake(start..self.at, "a text without quotes", cure);
        }
    }

    /// Groups of three digits behind a number.
    fn thousands(&mut self) -> bool {
        let start = self.at;
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        while self.rest().strip_prefix(',').map(digits) == Some(3) {
            self.at += 4;
        }
        self.at > start
    }

    /// A list. One that is not closed ends in front of the next key.
    fn list(&mut self, key: &str) {
        let start = self.at;
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                Some(']') => {
                    self.at += 1;
                    return;
                }
                Some(',') => self.skip_mistake(1, "a comma is too many here", "remove it"),
                Some(c @ (')' | '}')) if !self.rest()[1..].trim().is_empty() => {
                    return self.skip_mistake(1, format!("`{c}` does not close the list"), "write `]` instead");
                }
                None | Some(')' | '}') => return self.unclosed(start, "a list", ']'),
                Some(_) if self.is_known_key_ahead() => return self.unclosed(start, "a list", ']'),
                Some(_) => self.element(key),
            }
        }
    }

    fn unclosed(&mut self, start: usize, noun: &str, close: char) {
        let what = format!("{noun} is not closed: `{close}` is missing");
        self.mistake(start..start + 1, what, format!("write `{close}` behind its last value"));
        self.at = self.text[..self.at].trim_end().len();
    }

    /// One value of a list, and the separator behind it.
    fn element(&mut self, key: &str) {
        self.value(key, OpenBracket::List);
        let end = self.at;
        self.blank();
        match self.peek() {
            None | Some(']' | ')' | '}') => (),
            Some(',') => self.at += 1,
            Some(c @ (';' | ':')) => self.skip_mistake(1, format!("`{c}` between two values"), "write a comma"),
            Some(_) if self.is_known_key_ahead() => (),
            Some(_) if self.at == end && self.text[..end].ends_with('"') => {
                let what = "a quote inside a text ends it, or a comma is missing";
                self.mistake(end..end, what, "write `\\\"` for a quote inside a text, `,` between two texts");
            }
            Some(_) => self.mistake(end..end, "a comma is missing between two values", "write `,` there"),
        }
    }

    /// The content of parentheses, keys with values or values alone, up to the closing sign.
    fn group(&mut self, key: &str, start: usize, close: char) {
        loop {
            self.blank();
            match self.peek() {
                Some(c) if c == close => {
                    self.at += 1;
                    return;
                }
                None | Some(')' | ']' | '}') => return self.unclosed(start, "a group", close),
                Some(',') => self.at += 1,
                Some(_) if self.is_known_key_ahead() && !self.is_node_key_ahead(key) => {
                    return self.unclosed(start, "a group", close);
                }
                Some(_) if self.is_key_ahead() => self.entry(false),
                Some(_) => self.element(key),
            }
        }
    }
}
