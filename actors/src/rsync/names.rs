//! Names that a node may take for one: many file systems ignore case, some the form in which Unicode writes a letter, some
//! what stands at the end of a name. Names are bytes; what is no UTF-8 is compared as it is.

use unicode_normalization::UnicodeNormalization;

/// The same for all names that NTFS, exFAT, FAT, SMB, APFS, HFS+ or ext4 with `casefold` take for one. It may be the same for
/// a few more: that costs a comparison, and the opposite would cost a file.
pub(super) fn folded(name: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(name.len());
    if name.is_ascii() {
        folded.extend(name.iter().map(u8::to_ascii_lowercase));
    } else {
        for chunk in name.utf8_chunks() {
            folded.extend(fold(chunk.valid()).as_bytes());
            folded.extend(chunk.invalid());
        }
    }
    // Windows drops them.
    let end = folded.iter().rposition(|byte| !b". ".contains(byte)).map_or(0, |last| last + 1);
    folded.truncate(end);
    folded
}

/// The tables of file systems map to either case, and not all letters have one of each: `ẞ` is `ß`, and that is `SS`.
fn fold(text: &str) -> String {
    let letters = text.nfd().filter(|&letter| !is_ignorable(letter)).flat_map(char::to_lowercase);
    letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect()
}

/// Tells if HFS+ and ext4 skip a character in a comparison: most of those that Unicode calls ignorable by default.
fn is_ignorable(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// The other forms in which Unicode writes a name: with its letters composed, and taken apart.
pub(super) fn other_forms(name: &[u8]) -> Vec<Vec<u8>> {
    let Some(text) = std::str::from_utf8(name).ok().filter(|text| !text.is_ascii()) else { return Vec::new() };
    let forms = [text.nfc().collect::<String>(), text.nfd().collect()];
    forms.into_iter().filter(|form| form != text).map(String::into_bytes).collect()
}

/// Letters that a name must have for [`uncommon`]: fewer leave too few cases that nobody writes.
const LETTERS: usize = 4;
/// Letters whose case is varied.
const VARIED: usize = 8;

/// The name in a case that nobody writes, another one for each `turn` until all have been used; `None` if it has too few letters.
pub(super) fn uncommon(name: &[u8], turn: usize) -> Option<Vec<u8>> {
    let letters: Vec<usize> = (0..name.len()).filter(|&at| name[at].is_ascii_alphabetic()).take(VARIED).collect();
    if letters.len() < LETTERS {
        return None;
    }
    let mut capitalised = name.to_ascii_lowercase();
    capitalised[letters[0]].make_ascii_uppercase();
    let common = [name.to_vec(), name.to_ascii_lowercase(), name.to_ascii_uppercase(), capitalised];
    let in_case = |capitals: usize| {
        let mut other = name.to_ascii_lowercase();
        let chosen = letters.iter().enumerate().filter(|(bit, _)| capitals >> bit & 1 == 1);
        chosen.for_each(|(_, &at)| other[at].make_ascii_uppercase());
        other
    };
    // Every second letter comes first.
    let all = 1 << letters.len();
    let mut uncommon: Vec<_> = (0..all).map(|change| in_case(0b1010_1010 ^ change)).collect();
    uncommon.retain(|other| !common.contains(other));
    let turn = turn % uncommon.len().max(1);
    (turn < uncommon.len()).then(|| uncommon.swap_remove(turn))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_that_some_file_system_takes_for_one_fold_to_the_same() {
        for (one, other) in [
            ("Album", "aLBUM"),
            ("a", "a"),
            ("É", "é"),
            ("\u{e9}", "e\u{301}"),
            ("\u{c9}T\u{c9}", "e\u{301}te\u{301}"),
            ("straße", "STRASSE"),
            ("stra\u{1e9e}e", "straße"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("\u{212a}", "k"),
            ("ſ", "S"),
            ("\u{130}", "i\u{307}"),
            ("\u{1e69}", "s\u{307}\u{323}"),
            ("ԱԲ", "աբ"),
            ("\u{1f80}", "\u{1f88}"),
            ("na\u{200d}me", "NAME"),
            ("name.", "Name"),
            ("name .", "name"),
            ("한", "\u{1112}\u{1161}\u{11ab}"),
        ] {
            assert_eq!(folded(one.as_bytes()), folded(other.as_bytes()), "{one} {other}");
        }
        assert_eq!(folded(b"A\xff\xc9"), folded(b"a\xff\xc9"), "bytes that are no text stay");
    }

    #[test]
    fn other_names_stay_apart() {
        for (one, other) in [
            (&b"a"[..], &b"b"[..]),
            (b"a b", b"ab"),
            (b".a", b"a"),
            (b"a.b", b"ab"),
            ("é".as_bytes(), b"e"),
            (b"\xe9", b"\xc9"),
            (b"\xff", b"\xfe"),
            ("ö".as_bytes(), b"o"),
        ] {
            assert_ne!(folded(one), folded(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_name_has_another_form_where_unicode_writes_it_in_two_ways() {
        let (composed, apart) = ("caf\u{e9}".as_bytes(), "cafe\u{301}".as_bytes());
        assert_eq!(other_forms(composed), [apart]);
        assert_eq!(other_forms(apart), [composed]);
        for name in [&b"cafe"[..], "ß".as_bytes(), b"caf\xe9"] {
            assert!(other_forms(name).is_empty(), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_four_letters_has_cases_that_nobody_writes() {
        for (name, others) in [
            ("Photo-1.JPG", Some(["pHoTo-1.JpG", "PHoTo-1.JpG"])),
            ("name", Some(["nAmE", "NAmE"])),
            ("nAmE", Some(["NAmE", "namE"])),
            ("1.c.hpp", Some(["1.c.HpP", "1.C.HpP"])),
            ("abc", None),
            ("é1", None),
        ] {
            let found = [0, 1].map(|turn| uncommon(name.as_bytes(), turn));
            assert_eq!(found, others.map_or([None, None], |others| others.map(|other| Some(other.into()))), "{name}");
        }
        let all: HashSet<_> = (0..12).filter_map(|turn| uncommon(b"name", turn)).collect();
        assert!(all.len() == 12 && [&b"name"[..], b"NAME", b"Name"].iter().all(|common| !all.contains(*common)));
    }
}
