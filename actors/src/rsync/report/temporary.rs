//! The names under which a receiver writes a file until it is complete: `.NAME.XXXXXX` beside it (rsync(1), `--temp-dir`).
//! rsync's complaints name these; people want to hear of the file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::path::RelPath;
use crate::root::Root;
use crate::temp_name;

/// rsync cuts what it takes of a name at 247 bytes, and before that where a character would be cut in two.
const LONGEST_WHOLE: usize = 243;

/// The names that a file may have that is written under this one; none if this is no temporary name. rsync adds no second
/// dot in front of a name that begins with one.
pub(crate) fn stems(path: &RelPath) -> impl Iterator<Item = RelPath> + use<> {
    let stem = temp_name::stem(path.name()).unwrap_or_default();
    let names = [stem.to_vec(), [b".", stem].concat()];
    let dir = path.parent().filter(|_| !stem.is_empty());
    dir.into_iter().flat_map(move |dir| names.clone().map(|name| dir.join(OsStr::from_bytes(&name))))
}

/// The files below `root` that may be written under this name at a node; this one itself among them if it exists.
pub(crate) fn originals(root: &Root, path: &RelPath) -> Vec<RelPath> {
    let exists = |path: &RelPath| root.look_at(path).is_ok();
    let mut found: Vec<RelPath> = stems(path).chain([path.clone()]).filter(exists).collect();
    if found.is_empty() && path.name().len() > LONGEST_WHOLE {
        found = cut(root, path);
    }
    found
}

/// The entries whose names begin as a long temporary one.
fn cut(root: &Root, path: &RelPath) -> Vec<RelPath> {
    let (stems, dir): (Vec<RelPath>, _) = (stems(path).collect(), path.parent().unwrap_or_else(RelPath::root));
    let entries = root.names(&dir, usize::MAX).into_iter().map(|name| dir.join(&name));
    entries.filter(|entry| stems.iter().any(|stem| entry.as_bytes().starts_with(stem.as_bytes()))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rel(path: impl AsRef<[u8]>) -> RelPath {
        RelPath::new(path.as_ref()).unwrap()
    }

    #[test]
    fn a_temporary_name_stands_for_the_file_with_or_without_a_dot_in_front() {
        for (path, expected) in [
            ("d/.f.aBcDeF", &["d/f", "d/.f"][..]),
            (".aux.h.WQun0s", &["aux.h", ".aux.h"]),
            (".f.aBcDe", &[]),
            (".f.aBc-eF", &[]),
            ("f.aBcDeF", &[]),
            ("..aBcDeF", &[]),
            ("", &[]),
        ] {
            assert_eq!(stems(&rel(path)).collect::<Vec<_>>(), expected.iter().map(rel).collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn the_file_of_the_source_is_found_also_where_its_name_was_cut() {
        let root = tempfile::tempdir().unwrap();
        let long = "l".repeat(255);
        for name in ["f", ".env", ".g.aBcDeF", &long] {
            fs::write(root.path().join(name), "").unwrap();
        }
        let cut = format!(".{}.aBcDeF", &long[..247]);
        for (path, expected) in [
            (".f.aBcDeF", &["f"][..]),
            (".env.aBcDeF", &[".env"]),
            (".g.aBcDeF", &[".g.aBcDeF"]),
            (".gone.aBcDeF", &[]),
            (&cut, &[long.as_str()]),
        ] {
            let root = Root::of(root.path()).unwrap();
            assert_eq!(originals(&root, &rel(path)), expected.iter().map(rel).collect::<Vec<_>>(), "{path}");
        }
    }
}
