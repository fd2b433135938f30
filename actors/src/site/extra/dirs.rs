//! Directories at a node that options name: what rsync keeps there is not in the source, so a comparison of the mirror
//! deletes it, unless it lies outside of the mirror or is excluded.

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

/// Why such a directory is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{option} `{path}` lies inside the mirror of node `{node}`: the next comparison would delete what is kept there"
)]
pub struct Misplaced {
    option: String,
    path: Shown,
    node: Shown,
    /// As a pattern of `rexcludes`; `None` if it is the mirror itself.
    pattern: Option<String>,
}

impl Misplaced {
    /// What to write instead.
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
    /// What an option names, if it is one of these.
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

    /// rsync itself leaves a relative partial directory alone: it is one in each directory.
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
        let (option, dir) = (self.option.clone(), Shown::from(self.path.as_str()));
        if refused { Err(ExtraError::RelativeDir { option, dir }) } else { Ok(()) }
    }

    /// The number of the word that it stands in.
    pub fn word(&self) -> usize {
        self.word
    }

    /// The option, such as `--backup-dir`.
    pub fn option(&self) -> &str {
        &self.option
    }

    /// The path at the node as it is written, if it is absolute: on an rsync daemon, inside its module.
    pub fn absolute(&self) -> Option<&str> {
        Some(self.path.as_str()).filter(|path| path.starts_with('/'))
    }

    /// Refuses it where it lies in the mirror of `node` and is not excluded there, as far as the text tells.
    ///
    /// # Errors
    /// [`Misplaced`].
    pub fn check_at(&self, node: &Node, excludes: &Excludes) -> Result<(), Misplaced> {
        match self.absolute().and_then(|path| inside(node, path)) {
            Some(inner) => self.check_inside(&inner, node, excludes),
            None => Ok(()),
        }
    }

    /// The same where it is known to be at `inner`, a path in the mirror.
    ///
    /// # Errors
    /// [`Misplaced`].
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

/// Where an absolute path at the node lies in the mirror, if it does.
fn inside(node: &Node, path: &str) -> Option<RelPath> {
    let root = node.mirror_root();
    // Below the home of an ssh user, which is not known.
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
