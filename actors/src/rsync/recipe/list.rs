//! Writes and reads the lists that rsync gets on its standard input.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::rsync::staging::Twins;

/// A name that nobody uses, listed where a run needs an entry and has none.
const NOBODY: &str = ".inosync-probe";

/// The list of a run that needs an entry and has none.
pub(super) fn nobody() -> Vec<u8> {
    format!("./{NOBODY}\0").into_bytes()
}

/// The list for every recipe that takes one, but [`Levels`](super::Recipe::Levels) and [`Deletions29`](super::Recipe::Deletions29). `root`: the attributes of the root go with it.
pub(crate) fn entries<'p>(paths: impl IntoIterator<Item = &'p RelPath>, root: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for path in paths {
        // The slash keeps rsync from taking `#` and `;` for comments; the dot makes it send the root's attributes.
        let start: &[u8] = if root && list.is_empty() { b"./" } else { b"/" };
        list.extend([start, path.as_bytes(), b"\0"].concat());
    }
    list
}

/// The paths that a list of [`entries`] or [`levels`] names; `true` if the attributes of the root go with it.
pub(crate) fn named(list: &[u8]) -> (Vec<RelPath>, bool) {
    let paths =
        list.split(|&byte| byte == 0).filter_map(|entry| entry.strip_prefix(b"./").or(entry.strip_prefix(b"/")));
    let paths = paths.map(|path| path.strip_suffix(b"/").unwrap_or(path));
    (paths.filter_map(|path| RelPath::new(path).ok()).collect(), list.starts_with(b"./"))
}

/// The list for [`VerifyEntries`](super::Recipe::VerifyEntries) and [`Recall`](super::Recipe::Recall): the root may be among the paths, for its attributes.
pub(crate) fn verified<'p>(paths: impl IntoIterator<Item = &'p RelPath>) -> Vec<u8> {
    let (roots, paths): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_root());
    if paths.is_empty() { nobody() } else { entries(paths, !roots.is_empty()) }
}

/// The list for [`Link`](super::Recipe::Link).
pub(crate) fn twins<'t>(twins: impl IntoIterator<Item = &'t Twins>) -> Vec<u8> {
    twins.into_iter().flat_map(|Twins { has, gets, .. }| entries([has, gets], false)).collect()
}

/// The list for [`Levels`](super::Recipe::Levels): the slash at the end makes rsync list what is in a directory, and delete what is not.
pub(crate) fn levels<'p>(paths: impl IntoIterator<Item = &'p RelPath>) -> Vec<u8> {
    let entry = |path: &RelPath| match path.is_root() {
        true => b"./\0".to_vec(),
        false => [b"/", path.as_bytes(), b"/\0"].concat(),
    };
    paths.into_iter().flat_map(entry).collect()
}

/// The list for [`Deletions29`](super::Recipe::Deletions29): all missing paths, then all directories above them. The directories keep the
/// receiver from following a symlink that is planted in their place.
pub(crate) fn deletions29<'p>(missing: impl IntoIterator<Item = &'p RelPath> + Clone) -> Vec<u8> {
    let mut list = entries(missing.clone(), false);
    list.extend(entries(&ancestors(missing), false));
    list
}

/// All directories above some paths, without the root.
pub(crate) fn ancestors<'p>(paths: impl IntoIterator<Item = &'p RelPath>) -> BTreeSet<RelPath> {
    paths.into_iter().flat_map(|path| path.ancestors().collect::<Vec<_>>()).collect()
}
