//! The line by which rsync says that the other end has answered (`--debug=PROTO`), and what that was.

use std::ops::RangeInclusive;

use crate::path::Escaped;

/// The beginning of the line.
const GREETING: &[u8] = b"(Client) Protocol versions: ";
/// The highest number that a protocol may have; they are at 32. What is larger is text.
const HIGHEST: u32 = 255;
/// Protocols that any rsync since 3.1 (2013) speaks with all options. The highest that rsync takes is 40 (MAX_PROTOCOL_VERSION in
/// rsync.h). Over one of these it ends with code 2 for another reason: a list that no longer fits what is on disk.
const SUFFICIENT: RangeInclusive<u32> = 31..=40;

/// The first words of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// It speaks this protocol.
    Protocol(u32),
    /// It is no rsync: the first bytes of a text.
    Text([u8; 4]),
}

impl Greeting {
    /// `None` if the line is another one.
    pub(crate) fn read(line: &[u8]) -> Option<Greeting> {
        let versions = std::str::from_utf8(line.strip_prefix(GREETING)?).ok()?;
        let number: i64 = versions.strip_prefix("remote=")?.split(',').next()?.parse().ok()?;
        // rsync takes four bytes for a number with a sign, the lowest first.
        let number = u32::try_from(number).or_else(|_| i32::try_from(number).map(i32::cast_unsigned)).ok()?;
        Some(if (1..=HIGHEST).contains(&number) {
            Greeting::Protocol(number)
        } else {
            Greeting::Text(number.to_le_bytes())
        })
    }

    /// The protocol that the other end speaks.
    pub(crate) fn protocol(self) -> Option<u32> {
        match self {
            Greeting::Protocol(number) => Some(number),
            Greeting::Text(_) => None,
        }
    }

    /// Words the fault, where rsync ended with `code`, as a line of its error output: rsync says the same of a protocol
    /// that it cannot speak and of a shell that prints something.
    pub(crate) fn complaint(self, code: i32) -> Option<String> {
        match self {
            Greeting::Protocol(number) if code == 2 && !SUFFICIENT.contains(&number) => {
                Some(format!("the node speaks protocol {number}\n"))
            }
            Greeting::Text(text) if code != 0 => {
                Some(format!("the node prints '{}...' where rsync should answer\n", Escaped(text.trim_ascii_end())))
            }
            Greeting::Protocol(_) | Greeting::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_protocol_has_is_the_text_that_was_read_for_one() {
        for (line, expected) in [
            ("(Client) Protocol versions: remote=32, negotiated=32", Some(Greeting::Protocol(32))),
            ("(Client) Protocol versions: remote=19, negotiated=19", Some(Greeting::Protocol(19))),
            ("(Client) Protocol versions: remote=1936287828, negotiated=32", Some(Greeting::Text(*b"This"))),
            ("(Client) Protocol versions: remote=1668048215, negotiated=32", Some(Greeting::Text(*b"Welc"))),
            (
                "(Client) Protocol versions: remote=-1460813375, negotiated=32",
                Some(Greeting::Text([0xc1, 0xc1, 0xed, 0xa8])),
            ),
            ("(Client) Protocol versions: remote=0, negotiated=0", Some(Greeting::Text([0; 4]))),
            ("(Server) Protocol versions: remote=32, negotiated=32", None),
            ("(Client) Protocol versions: remote=x", None),
            ("Protocol versions: remote=32", None),
        ] {
            assert_eq!(Greeting::read(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Greeting::Text(*b"This").protocol(), None);
        assert_eq!(
            Greeting::Text(*b"a\n\x1b[").complaint(2).unwrap(),
            "the node prints 'a\\x0a\\x1b[...' where rsync should answer\n"
        );
    }

    #[test]
    fn a_protocol_that_both_ends_speak_is_no_fault() {
        for (number, code, is_fault) in
            [(19, 2, true), (29, 2, true), (31, 2, false), (32, 2, false), (41, 2, true), (19, 0, false)]
        {
            assert_eq!(Greeting::Protocol(number).complaint(code).is_some(), is_fault, "{number} {code}");
        }
    }
}
