//! The nodes that are paused, by their names. A pause outlives a reload and, where a state is kept, the process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::node::Node;

/// The names of the nodes that somebody paused. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Paused(Rc<RefCell<PausedNodes>>);

#[derive(Debug, Default)]
struct PausedNodes {
    names: BTreeSet<String>,
    /// The file of the names, one on a line; `None` while they are kept in memory alone.
    file: Option<PathBuf>,
}

impl Paused {
    /// Keeps the names beside the file of the state from now on. Returns those that an earlier process has kept there.
    ///
    /// # Errors
    /// When the names that are there cannot be read.
    pub fn keep_beside(&self, state_file: Option<&Path>) -> io::Result<Vec<String>> {
        let file = state_file.map(|file| file.with_extension("paused"));
        let mut nodes = self.0.borrow_mut();
        if file == nodes.file {
            return Ok(Vec::new());
        }
        nodes.file = file;
        let text = match nodes.file.as_ref().map(fs::read_to_string) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
            text => text.and_then(Result::ok).unwrap_or_default(),
        };
        let kept: Vec<String> = text.lines().map(str::to_owned).collect();
        nodes.names.extend(kept.iter().cloned());
        Ok(kept)
    }

    /// Returns true if this node is paused.
    pub(super) fn has(&self, node: &Node) -> bool {
        self.0.borrow().names.contains(node.name())
    }

    /// Pauses this node, or lets it go on. Returns true if that is news.
    ///
    /// # Errors
    /// When it is news, and cannot be kept for the next process.
    pub(super) fn set(&self, node: &Node, paused: bool) -> io::Result<bool> {
        let mut nodes = self.0.borrow_mut();
        let name = node.name();
        let is_news = if paused { nodes.names.insert(name.to_owned()) } else { nodes.names.remove(name) };
        if is_news {
            nodes.save()?;
        }
        Ok(is_news)
    }
}

impl PausedNodes {
    /// Writes the file anew, in one step.
    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let Some(directory) = file.parent() else { return Ok(()) };
        fs::create_dir_all(directory)?;
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        self.names.iter().try_for_each(|name| writeln!(new, "{name}"))?;
        new.as_file().sync_all()?;
        new.persist(file).map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_known_to_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state/site.redb");
        let node = |name: &str| Node::parse(name, "/m").unwrap();
        let first = Paused::default();
        assert_eq!(first.keep_beside(Some(&state)).unwrap(), Vec::<String>::new());
        for (name, paused, is_news) in
            [("a:", true, true), ("b:", true, true), ("a:", true, false), ("b:", false, true)]
        {
            assert_eq!(first.set(&node(name), paused).unwrap(), is_news, "{name} {paused}");
        }
        let second = Paused::default();
        assert_eq!(second.keep_beside(Some(&state)).unwrap(), ["a:"]);
        assert!(second.has(&node("a:")) && !second.has(&node("b:")));
        assert_eq!(second.keep_beside(Some(&state)).unwrap(), Vec::<String>::new(), "told once");
    }

    #[test]
    fn a_pause_that_cannot_be_kept_holds_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state"), "a file").unwrap();
        let paused = Paused::default();
        let _ = paused.keep_beside(Some(&dir.path().join("state/site.redb")));
        let node = Node::parse("a:", "/m").unwrap();
        assert!(paused.set(&node, true).is_err());
        assert!(paused.has(&node));
    }
}
