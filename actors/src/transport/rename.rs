//! Renamed files and moved directories, and how a node gets them out of what it has.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::path::RelPath;

/// Where the node has something that has another name here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What the node has it as.
    pub old: RelPath,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// What size and time prove of what the node has.
    pub doubt: Doubt,
}

/// How a node gets a renamed file out of the one that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// What the node has the file as.
    pub old: RelPath,
    /// A name that nobody uses, to which the node links the old file first, and the new name to that in a second run. It
    /// is beside the new name and sorts before it.
    pub via: Option<RelPath>,
}

/// A directory that is to be made out of another one that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// What it is called in the source.
    pub to: RelPath,
    /// What the node has it as.
    pub from: RelPath,
    /// What size and time of a file prove.
    pub doubt: Doubt,
}

/// How far size and time of a file at the node can be trusted to tell its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// Equal ones stand for equal content.
    None,
    /// Something of it was pending, or in flight, when it was renamed: the content is compared.
    Changing,
    /// The node has another directory by the new name, whose files may have other names besides: they are replaced, and
    /// not given other attributes.
    Replaced,
}

/// How the names of detours begin; hexadecimal digits follow.
const DETOUR: &str = ".-inosync.";

const DETOUR_DIGITS: usize = 16;

/// The name by which a file goes that is linked in two runs: beside its new name, and always the same. rsync handles it
/// before most others.
pub fn detour(new: &RelPath) -> RelPath {
    let mut hasher = DefaultHasher::new();
    new.as_bytes().hash(&mut hasher);
    let name = format!("{DETOUR}{:0DETOUR_DIGITS$x}", hasher.finish());
    new.parent().unwrap_or_else(RelPath::root).join(name.as_ref())
}

/// Whether a path has such a name.
pub fn is_detour(path: &RelPath) -> bool {
    let digits = path.name().strip_prefix(DETOUR.as_bytes());
    digits.is_some_and(|digits| digits.len() == DETOUR_DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Whether rsync handles the file `a` before the file `b` when both are in its list: what is in a directory before what is
/// in its subdirectories, else by bytes, directories with a slash at their end (`f_name_cmp` in rsync's flist.c).
pub fn goes_first(a: &RelPath, b: &RelPath) -> bool {
    let (mut a, mut b) = (a.as_bytes().split(|&c| c == b'/').peekable(), b.as_bytes().split(|&c| c == b'/').peekable());
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
