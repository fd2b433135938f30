//! What becomes of symlinks at a node. An rsync daemon without chroot puts `/rsyncd-munged/` in front of what a symlink
//! holds, or takes from it what leads out of the module (rsyncd.conf(5), `munge symlinks`). Whoever sends the same link again
//! sees no difference, since the daemon rewrites both; when the node is the one that sends, it tells what it has: the target,
//! without that prefix, and the length, with it.

use crate::transport::comparison::Link;
use crate::transport::comparison::MUNGED;
use crate::transport::comparison::Rewritten;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rustix::fs::FileType;

use super::Examiner;
use crate::node::Kind;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::rsync::recipe::{self, Invocation};
use crate::rsync::report::claims::Claims;
use crate::rsync::report::output::unescape;
use crate::rsync::runner::process::{Input, PATIENCE, Patience};
use crate::rsync::runner::run_order::Ears;
use crate::transport::failure::Failure;

/// So many links tell what a node does with them, and so many entries are looked at for them.
const MOST_LINKS: usize = 1000;
const MOST_ENTRIES: usize = 1_000_000;

impl Examiner {
    /// Those of the links that the node has otherwise. Empty where it does not tell: a module or key for writing alone.
    ///
    /// # Errors
    /// When the node cannot be reached.
    pub(crate) async fn rewritten(&self, links: &[Link]) -> Result<Vec<Rewritten>, Failure> {
        if self.target.node.kind() == Kind::Local || links.is_empty() {
            return Ok(Vec::new());
        }
        let nowhere = tempfile::tempdir().map_err(|error| Failure::not_staged(&error))?;
        let list = recipe::entries(links.iter().map(|link| &link.path), false);
        let invocation = self.runner.context(false).reading(list, nowhere.path());
        self.read(&invocation, links, nowhere.path()).await
    }

    /// The same by an invocation of [`Context::reading`](recipe::Context).
    pub(super) async fn read(
        &self,
        invocation: &Invocation,
        links: &[Link],
        nowhere: &Path,
    ) -> Result<Vec<Rewritten>, Failure> {
        let expected: BTreeMap<&[u8], &Link> = links.iter().map(|link| (link.path.as_bytes(), link)).collect();
        let mut found = Vec::new();
        let mut line = |said: &[u8]| found.extend(rewritten(said, &expected));
        let mut ears = Ears::to(&mut line);
        let directory = File::open(nowhere).map_err(|error| Failure::not_staged(&error))?;
        let process = self.runner.process_at_large(directory.into(), &invocation.arguments)?;
        self.runner
            .finish(
                process,
                Input::of(&invocation.list),
                &Claims::ANY,
                (Patience::of(PATIENCE), self.runner.speed.small()),
                &mut ears,
            )
            .await?;
        Ok(found)
    }
}

/// Tells if a line, `%i|%l|%b|%n%L`, tells of one of these links that it reads otherwise.
fn rewritten(line: &[u8], expected: &BTreeMap<&[u8], &Link>) -> Option<Rewritten> {
    let mut fields = line.splitn(4, |&byte| byte == b'|');
    let item = fields.next()?;
    let length = fields.next()?;
    let named = fields.nth(1)?;
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
    // Anything else is on its way, or another difference, which a comparison finds.
    if !is_munged && !is_cut(&link.target, &there) {
        return None;
    }
    let there = if is_munged { [MUNGED, &there].concat() } else { there };
    Some(Rewritten { link: link.clone(), there })
}

/// Tells if a target differs from another by what a daemon cuts: slashes at its start and steps up. It also drops steps
/// that lead nowhere, which change nothing.
fn is_cut(target: &[u8], there: &[u8]) -> bool {
    let steps = |path: &[u8]| {
        let parts = path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        parts.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let down = |steps: &[Vec<u8>]| steps.iter().filter(|step| *step != b"..").cloned().collect::<Vec<_>>();
    let full = steps(target);
    let left = steps(there);
    let means_the_same = full == left && target.starts_with(b"/") == there.starts_with(b"/");
    !means_the_same && down(&full) == down(&left)
}

/// The symlinks of the source, or the first of them that are found.
pub(crate) fn links_of(reach: &Reach, excludes: &Excludes) -> Vec<Link> {
    let mut links = Vec::new();
    let mut directories = vec![RelPath::root()];
    let mut looked_at = 0;
    while let Some(directory) = directories.pop() {
        for (name, kind) in reach.entries(&directory).unwrap_or_default() {
            let path = directory.join(&name);
            looked_at += 1;
            if excludes.matching(&path, kind == FileType::Directory).is_some() {
                continue;
            }
            if kind == FileType::Directory {
                directories.push(path);
            } else if let Some(target) = (kind == FileType::Symlink).then(|| reach.read_link(&path).ok()).flatten() {
                links.push(Link { path, target });
            }
            if links.len() == MOST_LINKS || looked_at == MOST_ENTRIES {
                return links;
            }
        }
    }
    links
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
            ("cL+++++++++|2|0|n\\#012l -> ff", None),
            ("cL+++++++++|17|0|n\\#012l -> ff", Some("/rsyncd-munged/ff")),
            ("cL+++++++++|2|0|other -> ff", None),
            (">f+++++++++|2|0|a", None),
            ("receiving file list", None),
        ] {
            let found = rewritten(line.as_bytes(), &expected).map(|rewritten| rewritten.there);
            assert_eq!(found.as_deref(), there.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn what_a_daemon_cuts_is_told_from_what_means_the_same_and_from_another_target() {
        for (target, there, expected) in [
            ("/etc/hostname", "etc/hostname", true),
            ("../../../shared/conf", "../shared/conf", true),
            ("./f", "f", false),
            ("a//b", "a/b", false),
            ("a", "a", false),
            ("/etc/hostname", "/etc/hosts", false),
            ("../a", "b", false),
        ] {
            assert_eq!(is_cut(target.as_bytes(), there.as_bytes()), expected, "{target} {there}");
        }
    }
}
