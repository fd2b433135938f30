//! What becomes of symlinks at a node. An rsync daemon without chroot puts `/rsyncd-munged/` in front of what a symlink
//! holds, or takes from it what leads out of the module (rsyncd.conf(5), `munge symlinks`). Whoever sends the same link again
//! sees no difference, since the daemon rewrites both; when the node is the one that sends, it tells what it has: the target,
//! without that prefix, and the length, with it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::rc::Rc;

use crate::path::{Escaped, RelPath};
use crate::rsync::failure::Failure;
use crate::rsync::node::Kind;
use crate::rsync::output::unescape;
use crate::rsync::recipe::{self, Invocation};
use crate::rsync::run::{PATIENCE, Process};
use crate::rsync::{Ears, Rsync};

/// What an rsync daemon puts in front of a target.
const MUNGED: &[u8] = b"/rsyncd-munged/";

/// A symlink of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub path: RelPath,
    /// What it holds.
    pub target: Vec<u8>,
}

/// A symlink that reads otherwise at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// As it is in the source.
    pub link: Link,
    /// What it holds at the node.
    pub there: Vec<u8>,
}

impl Rewritten {
    /// What to change at the node.
    pub const CURE: &str = "they stay what they are with `use chroot = yes` and `munge symlinks = no` in rsyncd.conf there, \
        or over ssh without -munge of rrsync";

    fn is_munged(&self) -> bool {
        self.there.starts_with(MUNGED)
    }
}

/// The cause and an example.
impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_munged() {
            "the node's rsync munges symlinks, so that they lead nowhere"
        } else {
            "the node's rsync cuts from symlinks what leads out of the module"
        };
        let (target, there) = (Escaped(&self.link.target), Escaped(&self.there));
        write!(f, "{how}: `{target}` is `{there}` there")
    }
}

impl Rsync {
    /// Those of the links that the node has otherwise. Empty where it does not tell: a module or key for writing alone.
    ///
    /// # Errors
    /// When the node cannot be reached.
    pub async fn rewritten(self: &Rc<Self>, links: &[Link]) -> Result<Vec<Rewritten>, Failure> {
        if self.node.kind() == Kind::Local || links.is_empty() {
            return Ok(Vec::new());
        }
        let nowhere = tempfile::tempdir().map_err(|error| Failure::not_staged(&error))?;
        let list = recipe::entries(links.iter().map(|link| &link.path), false);
        let invocation = self.context(false).reading(list, nowhere.path());
        self.read(&invocation, links, nowhere.path()).await
    }

    /// The same by an invocation of [`Context::reading`](recipe::Context).
    pub(super) async fn read(
        self: &Rc<Self>,
        invocation: &Invocation,
        links: &[Link],
        nowhere: &std::path::Path,
    ) -> Result<Vec<Rewritten>, Failure> {
        let expected: BTreeMap<&[u8], &Link> = links.iter().map(|link| (link.path.as_bytes(), link)).collect();
        let mut found = Vec::new();
        let mut line = |said: &[u8]| found.extend(rewritten(said, &expected));
        let mut ears = Ears { line: &mut line, worked: None };
        let directory = File::open(nowhere).map_err(|error| Failure::not_staged(&error))?;
        let process = Process::start(&self.children, &self.site.rsync, Some(directory.into()), &invocation.arguments);
        let process = process.map_err(|error| Failure::not_started(&self.site.rsync, &error))?;
        self.finish(process, &invocation.list, PATIENCE, &mut ears).await?;
        Ok(found)
    }
}

/// Whether a line, `%i|%l|%b|%n%L`, tells of one of these links that it reads otherwise.
fn rewritten(line: &[u8], expected: &BTreeMap<&[u8], &Link>) -> Option<Rewritten> {
    let mut fields = line.splitn(4, |&byte| byte == b'|');
    let (item, length, named) = (fields.next()?, fields.next()?, fields.nth(1)?);
    if !item.get(..2).is_some_and(|item| item.ends_with(b"L")) {
        return None;
    }
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    const ARROW: &[u8] = b" -> ";
    let (link, there) = (0..named.len()).filter(|&at| named[at..].starts_with(ARROW)).find_map(|at| {
        let link = expected.get(unescape(&named[..at]).as_slice())?;
        Some((*link, unescape(&named[at + ARROW.len()..])))
    })?;
    let is_munged = length == there.len() + MUNGED.len();
    if there == link.target && !is_munged {
        return None;
    }
    let there = if is_munged { [MUNGED, &there].concat() } else { there };
    Some(Rewritten { link: link.clone(), there })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_node_tells_what_a_link_is_there() {
        let link =
            |path: &str, target: &str| Link { path: RelPath::new(path.as_bytes()).unwrap(), target: target.into() };
        let links = [link("a", "/etc/hostname"), link("d/b -> c", "../x"), link("n\nl", "f")];
        let expected = links.iter().map(|link| (link.path.as_bytes(), link)).collect();
        for (line, there) in [
            ("cL+++++++++|13|0|a -> /etc/hostname", None),
            ("cL+++++++++|28|0|a -> /etc/hostname", Some("/rsyncd-munged//etc/hostname")),
            ("cL+++++++++|12|0|a -> etc/hostname", Some("etc/hostname")),
            ("cL+++++++++|4|0|d/b -> c -> ../x", None),
            ("cL+++++++++|1|0|d/b -> c -> x", Some("x")),
            ("cL+++++++++|1|0|n\\#012l -> f", None),
            ("cL+++++++++|2|0|n\\#012l -> ff", Some("ff")),
            ("cL+++++++++|2|0|other -> ff", None),
            (">f+++++++++|2|0|a", None),
            ("receiving file list", None),
        ] {
            let found = rewritten(line.as_bytes(), &expected).map(|rewritten| rewritten.there);
            assert_eq!(found.as_deref(), there.map(str::as_bytes), "{line}");
        }
    }
}
