//! Blanks and comments between values, also those of other notations.

use super::Scanner;

impl Scanner<'_> {
    /// Skips blanks and comments.
    pub(super) fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else { return };
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.block_comment();
            } else if c == '#' && !rest.starts_with("#![") || rest.starts_with("-- ") {
                let length = rest.find('\n').unwrap_or(rest.len());
                let sign = if c == '#' { "#" } else { "--" };
                let what = format!("`{sign}` begins no comment here");
                self.mistake_once(self.at..self.at + sign.len(), what, "begin each comment with `//`");
                self.at += length;
            } else if matches!(c, ' ' | '\t'..='\r' | '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}') {
                self.at += c.len_utf8();
            } else if c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}') {
                let what = "a blank here is none of the keyboard's (a no-break space, perhaps pasted from a page)";
                self.mistake_once(self.at..self.at + c.len_utf8(), what, "write plain blanks instead");
                self.at += c.len_utf8();
            } else {
                return;
            }
        }
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0;
        loop {
            let rest = self.rest();
            match () {
                () if rest.starts_with("/*") => (depth, self.at) = (depth + 1, self.at + 2),
                () if rest.starts_with("*/") => (depth, self.at) = (depth - 1, self.at + 2),
                () => match rest.chars().next() {
                    Some(c) => self.at += c.len_utf8(),
                    None => {
                        return self.mistake(start..start + 2, "a `/*` comment is not closed", "write `*/` at its end");
                    }
                },
            }
            if depth == 0 {
                return;
            }
        }
    }
}
