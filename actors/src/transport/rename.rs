//! Renamed files and moved directories, and how a node makes them from the entries that it has.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::path::RelPath;

/// The entry at the node from which a new name in the source can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Name of the entry at the node.
    pub old: RelPath,
    /// `true` if the entry is a directory.
    pub is_dir: bool,
    /// Trust in size and time of the entry at the node.
    pub doubt: Doubt,
}

/// The way in which a node makes a renamed file from the file that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Name of the file at the node.
    pub old: RelPath,
    /// A spare name beside the new name: the node links the old file to the spare name first, and the new name to the
    /// spare name in a second run. rsync handles the spare name before the new one.
    pub via: Option<RelPath>,
}

/// A directory to be made from another directory that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// Name of the directory in the source.
    pub to: RelPath,
    /// Name of the directory at the node.
    pub from: RelPath,
    /// Trust in size and time of the files in the directory at the node.
    pub doubt: Doubt,
}

/// The degree to which size and time of a file at the node prove its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// Equal size and time prove equal content.
    None,
    /// Some change below the entry was pending, or in flight, at the time of the rename: contents are compared.
    Changing,
    /// The node has another directory at the new name, and the files in that directory may be hard links: they are
    /// replaced, never changed in place.
    Replaced,
}

/// Start of the names that [`detour`] makes; hexadecimal digits follow.
const DETOUR: &str = ".-inosync.";

const DETOUR_DIGITS: usize = 16;

/// Returns the temporary name beside `new` for a file that is linked in two runs. The name depends on `new` alone, and
/// rsync handles it before most others.
pub(crate) fn detour(new: &RelPath) -> RelPath {
    let mut hasher = DefaultHasher::new();
    new.as_bytes().hash(&mut hasher);
    let name = format!("{DETOUR}{:0DETOUR_DIGITS$x}", hasher.finish());
    new.parent().unwrap_or_else(RelPath::root).join(name.as_ref())
}

/// Tells if the path ends in a name that [`detour`] makes.
pub(crate) fn is_detour(path: &RelPath) -> bool {
    let digits = path.name().strip_prefix(DETOUR.as_bytes());
    digits.is_some_and(|digits| digits.len() == DETOUR_DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Tells if rsync handles the file `a` before the file `b` when both are in its list: the files of a directory come
/// before those of its subdirectories, and names are compared byte by byte, directories with a slash at the end
/// (`f_name_cmp` in rsync's flist.c).
pub fn goes_first(a: &RelPath, b: &RelPath) -> bool {
    let mut a = a.as_bytes().split(|&c| c == b'/').peekable();
    let mut b = b.as_bytes().split(|&c| c == b'/').peekable();
    loop {
        let (Some(first), Some(second)) = (a.next(), b.next()) else { return false };
        match (a.peek().is_none(), b.peek().is_none()) {
            (false, false) if first == second => (),
            (true, false) => return true,
            (false, true) => return false,
            (true, true) => return first < second,
            (false, false) => return [first, b"/"].concat() < [second, b"/"].concat(),
        }
    }
}
