//! Bytes: sizes for people, and texts with escaped bytes.

use std::fmt;

/// A size in bytes that is shown as `817 B`, `1.2 KiB` or `3.4 GiB`.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024.0 {
                return if unit == "B" { write!(f, "{} B", self.0) } else { write!(f, "{value:.1} {unit}") };
            }
            value /= 1024.0;
        }
        write!(f, "{value:.1} TiB")
    }
}

/// Decodes a text in which `mark` and three octal digits stand for one byte.
pub(crate) fn unescape(text: &[u8], mark: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = rest.strip_prefix(mark).and_then(|rest| rest.split_at_checked(3));
        let escaped = digits
            .and_then(|(digits, rest)| Some((u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?, rest)));
        let (byte, after) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = after;
    }
    bytes
}
