//! Reads what rsync prints: a line for each change (`--out-format=%i|%l|%b|%n`), and its notices.

use crate::bytes;
use crate::transport::Tally;
use crate::transport::comparison::Difference;

use crate::path::RelPath;
use crate::transport::progress::Piece;

/// The content of one line of the output.
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
    /// The progress of the run: see [`parts`].
    Progress(Piece),
    /// A line that reports none of these.
    Notice,
}

impl Line {
    /// Counts this line in the tally of its run.
    pub fn count_in(&self, tally: &mut Tally) {
        match self {
            Line::Sent(_, bytes) => (tally.sent, tally.bytes) = (tally.sent + 1, tally.bytes + bytes),
            Line::Deleted(_) => tally.deleted += 1,
            Line::MadeMirror => tally.made_mirror = true,
            Line::DeletionsSkipped | Line::Progress(_) | Line::Notice => (),
        }
    }

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

/// Reads one line of the output, where the run tells its progress: that may stand before something else.
pub(crate) fn parts(line: &[u8]) -> impl Iterator<Item = Line> {
    let (piece, rest) = match Piece::split_from(line) {
        Some((piece, rest)) => (Some(Line::Progress(piece)), Some(rest).filter(|rest| !rest.is_empty())),
        None => (None, Some(line)),
    };
    piece.into_iter().chain(rest.map(Line::parse))
}

/// Tells if a line says that an entry would be made anew, whatever the node has by its name.
pub(crate) fn is_new(line: &[u8]) -> bool {
    line.split(|&byte| byte == b'|').next().is_some_and(|item| item.ends_with(b"+++++++++"))
}

/// The directory of which a line says that it cannot make way for another entry, since it is not empty.
pub(crate) fn in_the_way(line: &[u8]) -> Option<RelPath> {
    path(line.strip_prefix(b"cannot delete non-empty directory: ")?)
}

/// The file of which a line says that its content is at the node now: sent, or linked to another one that has it.
pub(crate) fn stored(line: &[u8]) -> Option<RelPath> {
    let is_stored = [&b"<f"[..], b">f", b"hf"].iter().any(|item| line.starts_with(item));
    match Line::parse(line) {
        Line::Sent(path, _) if is_stored => Some(path),
        _ => None,
    }
}

/// Tells if a line says that the node has linked a file to another one: this is told when it is done.
pub(crate) fn is_linked(line: &[u8]) -> bool {
    line.starts_with(b"hf")
}

/// The entry of which a line of a dry run by checksum says that it differs, and how.
pub(crate) fn difference(line: &[u8]) -> Option<(RelPath, Difference)> {
    let [update, _, attributes @ ..] = line.split(|&b| b == b'|').next()? else { return None };
    let (path, is_there) = match Line::parse(line) {
        Line::Sent(path, _) => (path, true),
        Line::Deleted(path) => (path, false),
        Line::MadeMirror | Line::DeletionsSkipped | Line::Progress(_) | Line::Notice => return None,
    };
    // Of the letters `cstpoguax`, the first two are about the content. The time of the last access changes as a file is read.
    let (content, others) = attributes.split_at_checked(2)?;
    let other = |&(at, &letter): &(usize, &u8)| letter != b'.' && letter != b' ' && (at, letter) != (4, b'u');
    let difference = match update {
        _ if !is_there => Difference::OnlyThere,
        _ if attributes.contains(&b'+') => Difference::Missing,
        b'<' | b'>' | b'c' => Difference::Content,
        _ if content.iter().any(u8::is_ascii_alphabetic) => Difference::Content,
        b'h' => Difference::Attributes,
        _ => others.iter().enumerate().find(other).map(|_| Difference::Attributes)?,
    };
    Some((path, difference))
}

/// A name as rsync prints it; directories end with a slash, the root is `./`.
fn path(name: &[u8]) -> Option<RelPath> {
    let name = unescape(name);
    let name = name.strip_suffix(b"/").unwrap_or(&name);
    if name == b"." { Some(RelPath::root()) } else { RelPath::new(name).ok() }
}

/// Reverses rsync's `\#ooo`, which stands for a byte that does not print; a literal `\#123` comes as `\#134#123`.
pub(crate) fn unescape(name: &[u8]) -> Vec<u8> {
    bytes::unescape(name, b"\\#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;

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
    fn a_line_of_a_dry_run_says_how_an_entry_differs() {
        use Difference::{Attributes, Content, Missing, OnlyThere};
        for (line, expected) in [
            (&b">fc........|2|0|d/f"[..], Some(("d/f", Content))),
            (b"<fcst......|2|0|f", Some(("f", Content))),
            (b">f.st......|2|0|f", Some(("f", Content))),
            (b"cLc.t......|1|0|link", Some(("link", Content))),
            (b"cDc........|1|0|device", Some(("device", Content))),
            (b"hfc........|1|0|f", Some(("f", Content))),
            (b"hf..t......|1|0|f", Some(("f", Attributes))),
            (b".f..t......|2|0|f", Some(("f", Attributes))),
            (b".f...p.....|2|0|f", Some(("f", Attributes))),
            (b".d...pog...|4096|0|d/", Some(("d", Attributes))),
            (b".d..t......|4096|0|./", Some(("", Attributes))),
            (b".f.......ax|2|0|f", Some(("f", Attributes))),
            (b".f......n..|2|0|f", Some(("f", Attributes))),
            (b".f......u..|2|0|f", None),
            (b".f         |2|0|f", None),
            (b">f+++++++++|2|0|f", Some(("f", Missing))),
            (b"cd+++++++++|4096|0|d/", Some(("d", Missing))),
            (b"cL+++++++++|4096|0|l", Some(("l", Missing))),
            (b"*deleting  |0|0|d/f", Some(("d/f", OnlyThere))),
            (b"*deleting  |0|0|d/", Some(("d", OnlyThere))),
            (b"created directory /m", None),
            (b"skipping non-regular file \"a|b|c|d\"", None),
            (b"", None),
        ] {
            let expected = expected.map(|(path, difference)| (rel(path.as_bytes()), difference));
            assert_eq!(difference(line), expected, "{}", line.escape_ascii());
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
