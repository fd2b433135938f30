//! Texts in quotes of any kind, and quotes that are not closed.

use super::{Scanner, starts_with_key};
use crate::config::names::example_has;

/// Quotes of word processors, with those that may close them.
pub const CURLY: [char; 8] =
    ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{ab}', '\u{bb}'];

impl Scanner<'_> {
    /// Skips a text in double quotes. One that is not closed ends with its line.
    pub(super) fn string(&mut self, key: &str) {
        let start = self.at;
        let body = &self.text[start + 1..];
        let Some(length) = closing_quote(body) else { return self.unclosed_quote(start) };
        let inner = &body[..length];
        let behind = &body[length + 1..];
        let goes_on = behind.starts_with(|c: char| !c.is_whitespace() && !",)]}/:".contains(c));
        let swallows = inner.split_once('\n').is_some_and(|(_, rest)| goes_on || starts_with_key(rest));
        if swallows {
            return self.unclosed_quote(start);
        }
        self.at = start + length + 2;
        self.escapes(start + 1, inner, key);
    }

    fn unclosed_quote(&mut self, start: usize) {
        let line = self.text[start..].split('\n').next().unwrap_or_default();
        let line = line.split_once(" //").map_or(line, |(text, _)| text);
        let text = line.trim_end().trim_end_matches([',', ' ', ']', ')']);
        self.mistake(start..start + 1, "a quote is not closed", format!("write {}\"", text));
        self.at = start + text.len().max(1);
    }

    /// Complains about backslashes in a text that mean nothing.
    fn escapes(&mut self, start: usize, inner: &str, key: &str) {
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                continue;
            }
            let Some((_, next)) = chars.next() else { return };
            let rest = &inner[at + 1 + next.len_utf8()..];
            let is_hex =
                |text: Option<&str>| text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let known = match next {
                '\\' | '"' | '\'' | 'n' | 'r' | 't' | '0' => true,
                'x' => is_hex(rest.get(..2)),
                'u' => rest.starts_with('{') && rest.split_once('}').is_some_and(|(digits, _)| is_hex(digits.get(1..))),
                _ => false,
            };
            if !known {
                let what = format!("`\\{}` in a text means nothing", next.escape_debug());
                let cure = format!("write `\\\\` for a backslash, or r in front of the text: {key}: r\"...\"");
                self.mistake(start + at..start + at + 1 + next.len_utf8(), what, cure);
            }
        }
    }

    /// Skips a raw string whose quote is `skipped` bytes ahead.
    pub(super) fn raw_string(&mut self, key: &str, skipped: usize) {
        let start = self.at;
        let close = format!("\"{}", "#".repeat(self.rest()[..skipped].matches('#').count()));
        let body = &self.rest()[skipped + 1..];
        match body.find(&close) {
            Some(length) => self.at += skipped + 1 + length + close.len(),
            None => {
                let what = "a raw text is not closed";
                let end = body.find('\n').unwrap_or(body.len());
                self.mistake(start..start + skipped + 1, what, format!("write {close} behind it: {key}: r\"...\""));
                self.at += skipped + 1 + body[..end].trim_end().trim_end_matches(',').len();
            }
        }
    }

    /// Skips a text in quotes that are not `"`.
    pub(super) fn other_quotes(&mut self, key: &str) {
        let start = self.at;
        let open = self.peek().unwrap_or('\'');
        let body = &self.rest()[open.len_utf8()..];
        let closing: &[char] = if CURLY.contains(&open) { &CURLY } else { std::slice::from_ref(&open) };
        let line = body.split('\n').next().unwrap_or_default();
        let end = line.find(|c| closing.contains(&c) || (c == '"' && CURLY.contains(&open)));
        let inner = end.map_or_else(|| line.trim_end().trim_end_matches([',', ']', ')']), |end| &line[..end]);
        let close = end.and_then(|end| line[end..].chars().next()).map_or(0, char::len_utf8);
        self.at += open.len_utf8() + inner.len() + close;
        let what = match open {
            '\'' => "a text in single quotes",
            '`' => "a text in backticks",
            _ => "a text in typographic quotes",
        };
        let place = if example_has(key, "[") { String::new() } else { format!("{key}: ") };
        self.mistake(start..self.at, what, format!("write double quotes: {place}\"{inner}\""));
    }
}

/// The place of the quote that closes a text.
fn closing_quote(body: &str) -> Option<usize> {
    let mut escaped = false;
    body.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}
