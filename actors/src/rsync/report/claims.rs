//! The names that a run may speak of. The lines of a run are in part the node's own words: of what was not in the run
//! they are not believed.

use std::collections::BTreeSet;

use crate::rsync::recipe::Recipe;
use crate::rsync::report::output;
use crate::rsync::report::output::Line;

/// The entries that the lines of one run may be about.
pub(crate) struct Claims<'l> {
    /// The listed entries; `None` if the run is about the whole tree.
    listed: Option<BTreeSet<&'l [u8]>>,
    /// `true` if it sends what is below what is listed.
    sends_below: bool,
}

/// The bearing of a line on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearing {
    /// It is about what is in the run.
    Ours,
    /// It is about something else, and not to be believed.
    Foreign,
    /// It names nothing: a notice.
    Nothing,
}

impl<'l> Claims<'l> {
    /// Those of a run about which nothing is counted.
    pub(crate) const ANY: Claims<'static> = Claims { listed: None, sends_below: true };

    /// Those of a run with this list, as [`Invocation`](crate::rsync::recipe::Invocation) has it.
    pub(crate) fn of(recipe: Recipe, list: &'l [u8]) -> Self {
        let name = |entry: &'l [u8]| {
            let entry = entry.strip_prefix(b"./").or(entry.strip_prefix(b"/")).unwrap_or(entry);
            entry.strip_suffix(b"/").unwrap_or(entry)
        };
        let entries = || list.split(|&byte| byte == 0).filter(|entry| !entry.is_empty()).map(name);
        Claims { listed: recipe.is_listed().then(|| entries().collect()), sends_below: recipe.sends_below() }
    }

    /// Tells how a line bears on the run.
    pub(crate) fn bearing(&self, line: &[u8]) -> Bearing {
        let mut bearing = Bearing::Nothing;
        for line in output::parts(line) {
            let has = match &line {
                Line::Sent(path, _) => self.has(path.as_bytes(), self.sends_below),
                // What is below goes with its directory, and with what takes the place of one.
                Line::Deleted(path) => self.has(path.as_bytes(), true),
                Line::Progress(_) => true,
                Line::MadeMirror | Line::DeletionsSkipped | Line::Notice => continue,
            };
            if !has {
                return Bearing::Foreign;
            }
            bearing = Bearing::Ours;
        }
        bearing
    }

    /// Tells if a path is listed, above what is listed, or, where `below` says so, below it.
    fn has(&self, path: &[u8], below: bool) -> bool {
        let Some(listed) = &self.listed else { return true };
        if path.is_empty() || listed.contains(path) {
            return true;
        }
        let dir = [path, b"/"].concat();
        let is_above = || listed.range(&dir[..]..).next().is_some_and(|entry| entry.starts_with(&dir));
        let above = || path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
        is_above() || below && (listed.contains(&b""[..]) || above().any(|dir| listed.contains(dir)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::report::claims::Bearing::{Foreign, Nothing, Ours};

    #[test]
    fn a_run_speaks_of_what_is_listed_and_of_what_goes_with_it() {
        let list = b"./d/f\0/e\0/e-1/x\0";
        for (recipe, line, expected) in [
            (Recipe::Present, &b"<f+++++++++|6|42|d/f"[..], Ours),
            (Recipe::Present, b".d..t......|6|0|d/", Ours),
            (Recipe::Present, b".d..t......|6|0|./", Ours),
            (Recipe::Present, b"cd+++++++++|6|0|e-1/", Ours),
            // Of a directory that a file replaces.
            (Recipe::Present, b"*deleting|0|0|e/below", Ours),
            (Recipe::Present, b"<f+++++++++|6|42|e/below", Foreign),
            (Recipe::Present, b"<f+++++++++|6|42|d/other", Foreign),
            (Recipe::Present, b"<f+++++++++|6|42|etc/passwd", Foreign),
            (Recipe::Present, b"*deleting|0|0|d/other", Foreign),
            (Recipe::Present, b"skipping non-regular file \"d/other\"", Nothing),
            (Recipe::Present, b"created directory /m", Nothing),
            (Recipe::Subtrees, b"<f+++++++++|6|42|e/below/it", Ours),
            (Recipe::Subtrees, b"<f+++++++++|6|42|f", Foreign),
            (Recipe::Missing, b"*deleting|0|0|e/below", Ours),
            (Recipe::Full, b"<f+++++++++|6|42|f", Ours),
        ] {
            assert_eq!(Claims::of(recipe, list).bearing(line), expected, "{recipe:?} {}", line.escape_ascii());
        }
        let levels = Claims::of(Recipe::Levels, b"./\0/d/\0");
        assert_eq!(levels.bearing(b"*deleting|0|0|any"), Ours);
        assert_eq!(Claims::of(Recipe::Levels, b"/d/\0").bearing(b"*deleting|0|0|any"), Foreign);
    }
}
