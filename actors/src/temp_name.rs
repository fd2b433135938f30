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

/// Tells if a file of this name may be one that rsync is writing.
pub(crate) fn is_of_file(path: &RelPath) -> bool {
    stem(path.name()).is_some()
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
    fn two_names_of_directories_are_of_rsync() {
        for (path, is_it) in [("d/.~tmp~", true), (".rsync-partial", true), (".~tmp~/d", false), ("", false)] {
            assert_eq!(is_of_directory(&RelPath::new(path.as_bytes()).unwrap()), is_it, "{path}");
        }
    }
}
