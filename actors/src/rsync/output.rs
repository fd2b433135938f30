//! Reads what rsync prints: a line for each change (`--out-format=%i|%l|%b|%n`), and its notices.

use std::fmt;

use super::progress::Piece;
use crate::path::RelPath;

/// What one line of the output says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An entry was sent or got other attributes: its name and the bytes that went over the wire for it.
    Sent(RelPath, u64),
    /// An entry was deleted at the node.
    Deleted(RelPath),
    /// The mirror itself did not exist and was made.
    MadeMirror,
    /// Something could not be read, so nothing was deleted in the whole run (rsync(1), `--ignore-errors`).
    DeletionsSkipped,
    /// How far the run is: see [`parts`].
    Progress(Piece),
    /// Anything else.
    Notice,
}

impl Line {
    /// Reads one line, as the recipes ask for them. The characters of `%i` are in rsync(1), `--itemize-changes`.
    pub fn parse(line: &[u8]) -> Line {
        if line.starts_with(b"created ") {
            return Line::MadeMirror;
        }
        if line.starts_with(b"IO error encountered -- skipping file deletion") {
            return Line::DeletionsSkipped;
        }
        let mut fields = line.splitn(4, |&b| b == b'|');
        let (Some(item), Some(_), Some(bytes), Some(name)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Line::Notice;
        };
        let bytes = std::str::from_utf8(bytes).ok().and_then(|digits| digits.parse().ok());
        match (bytes, path(name), item) {
            (Some(_), Some(path), [b'*', ..]) => Line::Deleted(path),
            (Some(bytes), Some(path), [b'<' | b'>' | b'c' | b'h' | b'.', ..]) => Line::Sent(path, bytes),
            _ => Line::Notice,
        }
    }
}

/// What one line of the output says, where the run tells its progress: that may stand before something else.
pub fn parts(line: &[u8]) -> impl Iterator<Item = Line> {
    let (piece, rest) = match Piece::split_from(line) {
        Some((piece, rest)) => (Some(Line::Progress(piece)), Some(rest).filter(|rest| !rest.is_empty())),
        None => (None, Some(line)),
    };
    piece.into_iter().chain(rest.map(Line::parse))
}

/// The file of which a line says that its content is at the node now: sent, or linked to another one that has it.
pub fn stored(line: &[u8]) -> Option<RelPath> {
    let is_stored = [&b"<f"[..], b">f", b"hf"].iter().any(|item| line.starts_with(item));
    match Line::parse(line) {
        Line::Sent(path, _) if is_stored => Some(path),
        _ => None,
    }
}

/// What one or more runs did at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Entries that were sent or got other attributes.
    pub sent: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Bytes that went over the wire for them.
    pub bytes: u64,
    /// Whether the mirror itself did not exist before.
    pub made_mirror: bool,
}

impl Tally {
    /// Counts one line.
    pub fn count(&mut self, line: &Line) {
        match line {
            Line::Sent(_, bytes) => (self.sent, self.bytes) = (self.sent + 1, self.bytes + bytes),
            Line::Deleted(_) => self.deleted += 1,
            Line::MadeMirror => self.made_mirror = true,
            Line::DeletionsSkipped | Line::Progress(_) | Line::Notice => (),
        }
    }

    /// Adds what another run did.
    pub fn add(&mut self, other: Tally) {
        self.sent += other.sent;
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.made_mirror |= other.made_mirror;
    }

    /// Entries that are different now.
    pub fn changes(&self) -> usize {
        usize::try_from(self.sent + self.deleted).unwrap_or(usize::MAX)
    }
}

/// A number of bytes for people: `817 B`, `1.2 KiB`, `3.4 GiB`.
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

/// The protocol that the other end speaks, from a line of `--debug=PROTO`.
pub fn protocol(line: &[u8]) -> Option<u32> {
    let (_, number) = std::str::from_utf8(line).ok()?.split_once("Protocol versions: remote=")?;
    number.split(',').next()?.parse().ok()
}

/// A name as rsync prints it; directories end with a slash, the root is `./`.
fn path(name: &[u8]) -> Option<RelPath> {
    let name = unescape(name);
    let name = name.strip_suffix(b"/").unwrap_or(&name);
    if name == b"." { Some(RelPath::root()) } else { RelPath::new(name).ok() }
}

/// Reverses rsync's `\#ooo`, which stands for a byte that does not print; a literal `\#123` comes as `\#134#123`.
pub fn unescape(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let digits = tail.strip_prefix(b"#").filter(|_| first == b'\\').and_then(|digits| digits.get(..3));
        let escaped = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        if escaped.is_some() {
            rest = &tail[4..];
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &[u8]) -> RelPath {
        RelPath::new(path).unwrap()
    }

    #[test]
    fn a_line_says_what_became_of_which_entry() {
        for (line, expected) in [
            (&b"<f+++++++++|6|42|d/f"[..], Line::Sent(rel(b"d/f"), 42)),
            (b".d..t......|4096|0|./", Line::Sent(RelPath::root(), 0)),
            (b"cd+++++++++|4096|0|d/", Line::Sent(rel(b"d"), 0)),
            (b"*deleting  |0|0|a|b", Line::Deleted(rel(b"a|b"))),
            (b">f..t......|6|42|n\\#012\\#134#012\\#xyz", Line::Sent(rel(b"n\n\\#012\\#xyz"), 42)),
            (b"created directory /m", Line::MadeMirror),
            (b"IO error encountered -- skipping file deletion", Line::DeletionsSkipped),
            (b"skipping non-regular file \"fifo\"", Line::Notice),
            (b"x|y|z|name", Line::Notice),
        ] {
            assert_eq!(Line::parse(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_file_is_at_the_node_when_it_was_sent_or_linked() {
        for (line, expected) in [
            (&b"<f..t......|6|42|d/f"[..], Some(rel(b"d/f"))),
            (b">f+++++++++|6|42|f", Some(rel(b"f"))),
            (b"hf+++++++++|6|0|d/f", Some(rel(b"d/f"))),
            (b".f..t......|6|0|f", None),
            (b"cd+++++++++|4096|0|d/", None),
            (b"hL+++++++++|4|0|link", None),
            (b"*deleting  |0|0|f", None),
            (b"hf", None),
        ] {
            assert_eq!(stored(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn bytes_are_shown_with_a_unit() {
        for (bytes, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }
}
