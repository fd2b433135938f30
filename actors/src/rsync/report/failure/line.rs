//! One line of an error output: whose it is, and what it says.

/// The first words of the messages that rsync and ssh write themselves.
const OWN: &[&str] = &[
    "rsync: ",
    "@ERROR",
    "ERROR: ",
    "ssh: ",
    "file has vanished: ",
    "directory has vanished: ",
    "could not make way for ",
    "protocol version mismatch",
    "Host key ",
    "kex_exchange_identification: ",
    "Connection closed by ",
    "Connection to ",
    "Connection reset by ",
    "client_loop: ",
    "the node prints ",
    "the node speaks ",
];
/// The first words of rsync's last line, which explains the exit code.
const END: &str = "rsync error: ";

/// A line of an error output.
#[derive(Debug)]
pub(super) struct ErrorLine<'o> {
    /// As it was written.
    pub(super) bytes: &'o [u8],
    /// Without what stands between the first and the last double quote.
    bare: String,
    /// The text between the first and the last double quote.
    name: Option<String>,
}

impl<'o> ErrorLine<'o> {
    /// `bytes` is without its end.
    pub(super) fn new(bytes: &'o [u8]) -> ErrorLine<'o> {
        let bytes = bytes.trim_ascii();
        let text = String::from_utf8_lossy(bytes);
        // A name may have quotes in it. In `rename "A" -> "B"` both are names.
        let quotes = text.find('"').zip(text.rfind('"')).filter(|(first, last)| first < last);
        let (bare, name) = match quotes {
            Some((first, last)) => {
                (format!("{}{}", &text[..=first], &text[last..]), Some(text[first + 1..last].to_owned()))
            }
            None => (text.into_owned(), None),
        };
        ErrorLine { bytes, bare, name }
    }

    /// The lines of an error output that are not empty.
    pub(super) fn all(stderr: &'o [u8]) -> Vec<ErrorLine<'o>> {
        let lines = stderr.split(|&byte| byte == b'\n' || byte == b'\r').map(ErrorLine::new);
        lines.filter(|line| !line.bytes.is_empty()).collect()
    }

    /// The line without the name in it.
    pub(super) fn bare(&self) -> &str {
        &self.bare
    }

    /// Tells if rsync or ssh says this itself, and it is more than the exit code in words.
    pub(super) fn is_own(&self) -> bool {
        OWN.iter().any(|start| self.bare.starts_with(start))
    }

    /// Tells if it is the exit code in words.
    pub(super) fn is_end(&self) -> bool {
        self.bare.starts_with(END)
    }

    /// The texts that stand for the `{}` of a pattern, if the line has it; see [`texts`](crate::rsync::report::failure::texts).
    pub(super) fn find(&self, pattern: &str) -> Option<Vec<String>> {
        let (pattern, at_start) = match pattern.strip_prefix('^') {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        let mut parts = pattern.split("{}");
        let first = parts.next().unwrap_or_default();
        let at = self.bare.find(first).filter(|&at| at == 0 || !at_start)?;
        let mut before = first;
        let mut rest = &self.bare[at + first.len()..];
        let mut texts = Vec::new();
        for part in parts {
            let at = if part.is_empty() { rest.len() } else { rest.find(part)? };
            let text = match &self.name {
                Some(name) if at == 0 && before.ends_with('"') && part.starts_with('"') => name,
                _ => rest[..at].trim_end_matches('.'),
            };
            texts.push(text.to_owned());
            (before, rest) = (part, &rest[at + part.len()..]);
        }
        Some(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_texts_and_names_but_nothing_inside_a_name() {
        for (line, pattern, expected) in [
            ("Load key \"/k\": bad permissions", "Load key \"{}\":", Some(&["/k"][..])),
            ("mkdir \"/a\"b\" failed: No", "mkdir \"{}\" failed: No", Some(&["/a\"b"])),
            ("Offending ED25519 key in /k h:1", "^Offending {} key in {}:{}", Some(&["ED25519", "/k h", "1"])),
            ("a Offending x", "^Offending", None),
            ("rsync: open \"/s/Connection refused\": no", "Connection refused", None),
            ("refuse --delete.", "refuse {}", Some(&["--delete"])),
            ("nothing", "refuse {}", None),
        ] {
            let found = ErrorLine::new(line.as_bytes()).find(pattern);
            assert_eq!(found, expected.map(|texts| texts.iter().map(ToString::to_string).collect()), "{line}");
        }
    }
}
