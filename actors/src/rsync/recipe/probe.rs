//! The runs of `check`: one that writes a probe at a node, one that removes it, one that reads it back.

use std::ffi::OsString;

use super::{Context, Invocation, Recipe, is_plain, option};
use crate::node::Node;
use crate::patterns::excludes::Excludes;
use crate::site::{DeleteMode, Site};

/// The `%i` and `%n` for the reader, with the target of a symlink behind the name.
const READ_FORMAT: &str = "--out-format=%i|%l|%b|%n%L";

/// The site for a probe: its name may be one that is excluded, and what is removed leaves neither a copy nor a line in
/// rsync's log.
pub(crate) fn bare(site: &Site) -> Site {
    let extra = site.extra.without_backups();
    Site { excludes: Excludes::default(), logfile: None, extra, delete: DeleteMode::Always, ..site.clone() }
}

impl Context<'_> {
    /// A dry run that tells whether there is a mirror, also of a receiver that rejects missing entries; with
    /// `make_path`, how many directories are missing. For a [`bare`] site.
    pub(crate) fn looking(&self, make_path: bool) -> Invocation {
        let mut invocation = Context { make_path, ..self.clone() }.invocation(Recipe::Root, Vec::new(), &[]);
        let end = invocation.arguments.iter().rposition(|word| word == "--").unwrap_or(0);
        invocation.arguments.insert(end, "--dry-run".into());
        invocation
    }

    /// A dry run to this machine: it names the listed entries as the node tells them. `nowhere` is an empty directory.
    pub(crate) fn reading(&self, list: Vec<u8>, nowhere: &std::path::Path) -> Invocation {
        let mut arguments: Vec<OsString> = vec!["-l".into(), format!("--timeout={}", super::TIMEOUT).into()];
        arguments.extend(self.remote_shell());
        if self.version < super::PROTECTS_ARGUMENTS && !is_plain(self.node.dest()) {
            arguments.push("-s".into());
        }
        arguments.extend(self.extra().comparing().iter().map(OsString::from));
        let forced =
            ["--links", "--dirs", "--no-recursive", "--from0", "--files-from=-", "--dry-run", READ_FORMAT, "--"];
        arguments.extend(forced.into_iter().map(OsString::from));
        arguments.extend([self.node.dest().to_owned(), option("", nowhere.as_os_str())]);
        Invocation { arguments, list }
    }
}

/// The same to another place of the node.
pub(crate) fn at<'a>(context: Context<'a>, site: &'a Site, node: &'a Node) -> Context<'a> {
    Context { site, node, make_path: false, ..context }
}
