//! The names that a receiving rsync gives to what is not complete yet (rsync(1): `--temp-dir`, `--partial-dir`,
//! `--delay-updates`).

use crate::path::RelPath;

/// Directories in which rsync keeps files until they are complete: that of `--delay-updates`, and the one that the manual
/// names for `--partial-dir`.
const DIRECTORIES: [&[u8]; 2] = [b".~tmp~", b".rsync-partial"];

/// Returns `NAME` of a file `.NAME.XXXXXX`; `None` if the name has another form.
pub(crate) fn stem(name: &[u8]) -> Option<&[u8]> {
    match name.strip_prefix(b".")?.split_last_chunk::<7>()? {
        (stem, [b'.', suffix @ ..]) if !stem.is_empty() && suffix.iter().all(u8::is_ascii_alphanumeric) => Some(stem),
        _ => None,
    }
}

/// Tells if a file of this name may be one that rsync is writing. A name such as `.db.sqlite`, `.env.BACKUP` or `.log.202412`
/// is none: of the letters and digits that rsync draws, one in sixty is like a word or a number.
pub(crate) fn is_of_file(path: &RelPath) -> bool {
    let name = path.name();
    stem(name).is_some() && name.last_chunk::<6>().is_some_and(|drawn| !is_like_a_word(drawn))
}

fn is_like_a_word(suffix: &[u8; 6]) -> bool {
    let [first, rest @ ..] = suffix;
    let is_lower = |byte: &u8| byte.is_ascii_lowercase();
    let has_case_of_a_word = first.is_ascii_alphabetic() && rest.iter().all(is_lower);
    let is_upper = suffix.iter().all(u8::is_ascii_uppercase);
    has_case_of_a_word || is_upper || suffix.iter().all(u8::is_ascii_digit)
}

/// Tells if a directory of this name may be one in which rsync keeps files until they are complete.
pub(crate) fn is_of_directory(path: &RelPath) -> bool {
    DIRECTORIES.contains(&path.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_has_a_dot_before_it_and_six_letters_or_digits_behind() {
        for (name, stem_of_it) in [
            (".f.aBcDe0", Some("f")),
            (".aux.h.WQun0s", Some("aux.h")),
            (".f.aBcDe", None),
            (".f.aBc-eF", None),
            ("f.aBcDeF", None),
            ("..aBcDeF", None),
            (".aBcDeF", None),
            ("", None),
        ] {
            assert_eq!(stem(name.as_bytes()), stem_of_it.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn a_name_that_ends_in_a_word_or_a_number_is_no_temporary_one() {
        for (name, is_it) in [
            (".f.aBcDe0", true),
            (".aux.h.WQun0s", true),
            (".f.abcdE1", true),
            (".f.20241a", true),
            (".db.sqlite", false),
            (".app.config", false),
            (".env.Docker", false),
            (".env.BACKUP", false),
            (".log.202412", false),
        ] {
            assert_eq!(is_of_file(&RelPath::new(name.as_bytes()).unwrap()), is_it, "{name}");
        }
    }

    #[test]
    fn two_names_of_directories_are_of_rsync() {
        for (path, is_it) in [("d/.~tmp~", true), (".rsync-partial", true), (".~tmp~/d", false), ("", false)] {
            assert_eq!(is_of_directory(&RelPath::new(path.as_bytes()).unwrap()), is_it, "{path}");
        }
    }
}
