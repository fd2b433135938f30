//! Directories at a node that options name. rsync keeps files there that are not in the source, so a comparison of the
//! mirror deletes them unless the directory lies outside of the mirror or is excluded.

use crate::node::{Kind, Node};
use crate::path::{RelPath, Shown};
use crate::patterns::excludes::Excludes;
use crate::site::extra::options::Opt;
use crate::site::extra::{ExtraError, ExtraWarning};

/// A directory or file at the node that an option names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeps {
    what: What,
    option: String,
    path: String,
    word: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Backups,
    Partial,
    Scratch,
    Log,
}

/// The error for a directory that lies inside the mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{option} `{path}` lies inside the mirror of node `{node}`: the next comparison would delete what is kept there"
)]
pub struct Misplaced {
    option: String,
    path: Shown,
    node: Shown,
    /// Pattern for `rexcludes`; `None` if the directory is the mirror itself.
    pattern: Option<String>,
}

impl Misplaced {
    /// Returns advice on what to write instead.
    pub fn cure(&self) -> String {
        match &self.pattern {
            Some(pattern) => {
                format!("name a directory outside of the mirror, or exclude it: rexcludes: [\"{pattern}\"]")
            }
            None => "name a directory outside of the mirror".into(),
        }
    }
}

impl Keeps {
    /// Returns the directory that an option names; `None` for all other options.
    pub(super) fn of(option: &Opt<'_>, value: &str, word: usize) -> Option<Keeps> {
        let (what, path) = match (option.name, value.strip_prefix("--log-file=")) {
            ("backup-dir", _) => (What::Backups, value),
            ("partial-dir", _) => (What::Partial, value),
            ("temp-dir", _) => (What::Scratch, value),
            ("remote-option", Some(file)) => (What::Log, file),
            _ => return None,
        };
        let option = if what == What::Log { "--log-file".to_owned() } else { format!("--{}", option.name) };
        Some(Keeps { what, option, path: path.to_owned(), word })
    }

    pub(super) fn is_backup(&self) -> bool {
        self.what == What::Backups
    }

    /// Returns a warning about a relative partial directory with a plain name: rsync makes one in each directory, and
    /// leaves all directories of that name out of comparisons.
    pub(super) fn warning(&self) -> Option<ExtraWarning> {
        let plain = self.what == What::Partial && !self.path.starts_with(['/', '.']);
        plain.then_some(ExtraWarning::PartialName)
    }

    pub(super) fn check(&self) -> Result<(), ExtraError> {
        let refused = match self.what {
            _ if self.path.starts_with('/') => false,
            What::Backups => return Err(ExtraError::BackupInMirror),
            What::Partial => self.path.split('/').any(|component| component == ".."),
            What::Scratch => true,
            What::Log => false,
        };
        let option = self.option.clone();
        let dir = Shown::from(self.path.as_str());
        if refused { Err(ExtraError::RelativeDir { option, dir }) } else { Ok(()) }
    }

    /// Returns the index of the word with the option.
    pub fn word(&self) -> usize {
        self.word
    }

    /// Returns the name of the option, such as `--backup-dir`.
    pub fn option(&self) -> &str {
        &self.option
    }

    /// Returns the path at the node as written, if it is absolute; for an rsync daemon it is inside the module.
    pub fn absolute(&self) -> Option<&str> {
        Some(self.path.as_str()).filter(|path| path.starts_with('/'))
    }

    /// Checks by the text alone that the path lies outside of the mirror of `node`, or is excluded.
    ///
    /// # Errors
    /// [`Misplaced`] when the path lies in the mirror and is not excluded.
    pub fn check_at(&self, node: &Node, excludes: &Excludes) -> Result<(), Misplaced> {
        match self.absolute().and_then(|path| inside(node, path)) {
            Some(inner) => self.check_inside(&inner, node, excludes),
            None => Ok(()),
        }
    }

    /// Checks that `inner`, the location of the path in the mirror, is excluded.
    ///
    /// # Errors
    /// [`Misplaced`] when `inner` is not excluded.
    pub fn check_inside(&self, inner: &RelPath, node: &Node, excludes: &Excludes) -> Result<(), Misplaced> {
        let is_dir = self.what != What::Log;
        if !inner.is_root() && excludes.excludes(inner, is_dir) {
            return Ok(());
        }
        let slash = if is_dir { "/" } else { "" };
        Err(Misplaced {
            option: self.option.clone(),
            path: Shown::from(self.path.as_str()),
            node: Shown::from(node.name()),
            pattern: (!inner.is_root()).then(|| format!("/{inner}{slash}")),
        })
    }
}

/// Returns the location of an absolute path in the mirror; `None` if the path is outside.
fn inside(node: &Node, path: &str) -> Option<RelPath> {
    let root = node.mirror_root();
    // The mirror is below the home of an ssh user, whose path is not known.
    if node.kind() == Kind::Ssh && !root.starts_with(b"/") {
        return None;
    }
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => (),
            ".." => _ = components.pop(),
            name => components.push(name),
        }
    }
    let path = format!("/{}", components.join("/"));
    match path.as_bytes().strip_prefix(root)? {
        [] => Some(RelPath::root()),
        [b'/', below @ ..] => RelPath::new(below).ok(),
        _ => None,
    }
}
