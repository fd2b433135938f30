//! Describes one node and the source that is mirrored to it, with what was learned of the node. What a run says is read against
//! the target: `report` adds to its methods.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use slog::{Logger, debug, info};

use super::learned::{Learned, Warning};
use super::report::blame::{self, blame};
use super::report::complaint::{self, Complaint, Why};
use super::report::temporary;
use super::runner::process::Finished;
use super::traits::known;
use crate::node::Node;
use crate::path::RelPath;
use crate::root::Root;
use crate::site::Site;
use crate::site::version::Version;
use crate::transport::blame::Blame;
use crate::transport::failure::Failure;
use crate::transport::traits::{Trait, Traits};

/// A node, and the source that is mirrored to it.
pub(crate) struct Target {
    /// The site as it is for this node: see [`Site::at`].
    pub site: Rc<Site>,
    pub root: Root,
    pub node: Node,
    /// The version of the local rsync.
    pub version: Version,
    /// The facts about the node.
    pub learned: RefCell<Learned>,
    /// `true` until the next reconcile has succeeded, which may delete as much as it takes.
    allows_deletions: Cell<bool>,
    /// The warnings that were logged.
    warned: RefCell<BTreeSet<Warning>>,
    pub log: Logger,
}

impl Target {
    /// A target of which that is known which an earlier daemon has kept.
    pub(crate) fn new(site: Rc<Site>, root: Root, node: Node, version: Version, log: Logger) -> Rc<Target> {
        let learned = Learned::of(site.state_file.as_deref().and_then(|file| known::of(file, &node)));
        let learned = RefCell::new(learned);
        let warned = RefCell::default();
        let allows_deletions = Cell::default();
        Rc::new(Target { site, root, node, version, learned, allows_deletions, warned, log })
    }

    /// The most entries that a reconcile may delete; `None` if it may delete as many as it takes.
    pub(crate) fn max_delete(&self) -> Option<u64> {
        self.site.max_delete.filter(|_| !self.allows_deletions.get())
    }

    /// Lets reconciles delete as many entries as they take, or no longer.
    pub(crate) fn allow_deletions(&self, allows: bool) {
        self.allows_deletions.set(allows);
    }

    /// Opens the directory of the source.
    ///
    /// # Errors
    /// When it is gone, or is another one.
    pub(crate) fn source(&self) -> Result<OwnedFd, Failure> {
        self.root.open().map_err(Failure::source_gone)
    }

    /// Returns true if a warning was not logged before, and notes that it is now.
    pub(crate) fn warns_first(&self, warning: Warning) -> bool {
        self.warned.borrow_mut().insert(warning)
    }

    /// Tells if the names of one file are to be one file at the node, and can be. Not where what the node has is written in
    /// place, through all its names, or where an entry of another kind must stay although a name needs its place.
    pub(crate) fn links_hard(&self) -> bool {
        let is_safe = !self.site.extra.writes_in_place() && !self.site.delete.keeps_removed();
        self.site.extra.links_hard() && is_safe && self.learned.borrow().tries_hard_links(Instant::now())
    }

    /// Notes that the node has no hard links, if an error output says so.
    pub(crate) fn note_refused_links(&self, stderr: &[u8]) {
        if complaint::lines(stderr).any(has_no_links) {
            self.learned.borrow_mut().refuses_hard_links(Instant::now());
        }
    }

    /// Returns the traits that are known of the node.
    pub(crate) fn known_traits(&self) -> Traits {
        self.learned.borrow().traits.clone().unwrap_or_default()
    }

    /// The node was asked how it tells names apart.
    pub(crate) fn note_case(&self, is_one: bool) {
        let mut traits = self.known_traits();
        if traits.set(Trait::OneCase, is_one) {
            self.keep_traits(Some(traits));
        }
    }

    /// Replaces what is known, also on disk, and tells what is new. `None`: nothing is known.
    pub(crate) fn keep_traits(&self, traits: Option<Traits>) {
        let before = std::mem::replace(&mut self.learned.borrow_mut().traits, traits.clone());
        if before == traits {
            return;
        }
        let before = before.unwrap_or_default();
        let now = traits.clone().unwrap_or_default();
        for gained in now.iter().filter(|one| !before.has(*one)) {
            info!(self.log, "learned of the node"; "what" => %gained);
        }
        for lost in before.iter().filter(|one| !now.has(*one) && traits.is_some()) {
            info!(self.log, "the node is not so any more"; "what" => %lost);
        }
        let kept =
            self.site.state_file.as_deref().map_or(Ok(()), |file| known::keep(file, &self.node, traits.as_ref()));
        if let Err(why) = kept {
            debug!(self.log, "what is known of the node is not kept"; "why" => %why);
        }
    }

    /// The path of the tree that a name in a complaint stands for.
    pub(crate) fn inside(&self, name: &[u8]) -> Option<RelPath> {
        blame::inside(name, self.source_name().as_os_str().as_bytes(), self.node.mirror_root())
    }

    pub(crate) fn blamed(&self, finished: &Finished) -> Blame {
        self.blamed_in(&finished.stderr)
    }

    pub(crate) fn blamed_in(&self, stderr: &[u8]) -> Blame {
        let originals = |path: &RelPath| temporary::originals(&self.root, path);
        blame(stderr, self.source_name().as_os_str().as_bytes(), &self.node, originals)
    }

    /// rsync names what it reads by the path that it was started in, with symlinks resolved.
    fn source_name(&self) -> PathBuf {
        self.root.reach().resolved()
    }
}

/// Tells if a line says that a file system has no hard links: FAT answers so with EPERM. EACCES is about one directory.
fn has_no_links(line: &[u8]) -> bool {
    let is_denied = |why: Why| why == Why::Denied && line.trim_ascii_end().ends_with(b"(1)");
    complaint::words(line) == Some(b"link ")
        && Complaint::read(line).is_some_and(|said| said.why == Why::Unsupported || is_denied(said.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_no_hard_links_if_the_file_system_says_so_and_not_if_a_directory_is_closed() {
        for (line, expected) in [
            (r#"rsync: [generator] link "/m/b" => a failed: Operation not supported (95)"#, true),
            (r#"rsync: [generator] link "/m/b" => a failed: Operation not permitted (1)"#, true),
            (r#"rsync: [generator] link "/m/b" => a failed: Permission denied (13)"#, false),
            (r#"rsync: [generator] link "/m/b" => a failed: Too many links (31)"#, false),
            (r#"rsync: [generator] link "/m/b" => a failed: No space left on device (28)"#, false),
            (r#"rsync: [generator] chown "/m/b" failed: Operation not permitted (1)"#, false),
        ] {
            assert_eq!(has_no_links(line.as_bytes()), expected, "{line}");
        }
    }
}
