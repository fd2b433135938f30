//! `verify`: compares every node with the source by the content of the files, and lists the differences. Changes nothing.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use inosync_actors::children::Children;
use inosync_actors::path::{Escaped, RelPath};
use inosync_actors::rsync::{Rsync, Shared};
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;
use inosync_actors::sync::report::log_verified;
use inosync_actors::transport::comparison::{Comparison, Difference};
use inosync_actors::transport::comparison::{Link, Rewritten};
use serde::Serialize;
use slog::{Logger, error, info, o};

use crate::commands::once::{broken_off, print_json, source};
use crate::exit::Exit;

/// The result at one node, for programs.
#[derive(Serialize)]
struct NodeVerified {
    node: String,
    /// False if something could not be compared.
    complete: bool,
    differences: Vec<DifferenceInJson>,
    /// The reason why the node could not be compared at all.
    error: Option<String>,
}

/// An entry that differs.
#[derive(Serialize)]
struct DifferenceInJson {
    path: String,
    /// `content`, `attributes`, `missing`, `only_there` or `symlink`.
    is: &'static str,
    /// The target of a symlink here and at the node, if that is what differs.
    targets: Option<[String; 2]>,
}

/// Compares the nodes one after the other, since all comparisons read from the same disk. Each difference is one line on
/// standard output, or all are printed as JSON at the end.
pub async fn verify(site: Site, version: Version, json: bool, log: &Logger) -> Exit {
    let root = match source(&site, "nothing is compared", log) {
        Ok(root) => root,
        Err(exit) => return exit,
    };
    let site = Arc::new(site);
    let children = Children::default();
    let mut all = Vec::new();
    let mut differs = false;
    let mut complete = true;
    for node in &site.nodes {
        let rsync = Rsync::new(site.clone(), root.clone(), node.clone(), version, Shared::once(children.clone()));
        let started = Instant::now();
        let log = log.new(o!("node" => node.name().to_owned()));
        let result = tokio::select! {
            // Without a daemon no change is known to be on its way.
            result = rsync.compare(&[], &|_| false) => result,
            () = broken_off(&root, &log) => {
                children.end_all().await;
                return Exit::Pending;
            }
        };
        match result {
            Ok(comparison) => {
                if !json {
                    print(node.name(), &comparison);
                }
                all.push(in_json(node.name(), &comparison));
                log_verified(&log, &comparison, started, false);
                for limit in rsync.known_traits().iter() {
                    info!(log, "a limit of the node"; "what" => %limit);
                }
                differs |= comparison.differ() > 0;
                complete &= comparison.is_complete();
            }
            Err(why) => {
                error!(log, "not verified"; "why" => %why);
                let node = node.name().to_owned();
                all.push(NodeVerified { node, complete: false, differences: Vec::new(), error: Some(why.to_string()) });
                complete = false;
            }
        }
    }
    if json {
        print_json(&all);
    }
    match (complete, differs) {
        (false, _) => Exit::Pending,
        (true, true) => Exit::Attention,
        (true, false) => Exit::Done,
    }
}

fn in_json(node: &str, comparison: &Comparison) -> NodeVerified {
    let differing = comparison.differing.iter().map(|(path, difference)| DifferenceInJson {
        path: path.to_string(),
        is: match difference {
            Difference::Content => "content",
            Difference::Attributes => "attributes",
            Difference::Missing => "missing",
            Difference::OnlyThere => "only_there",
        },
        targets: None,
    });
    let rewritten = comparison.rewritten.iter().map(|Rewritten { link, there }| DifferenceInJson {
        path: link.path.to_string(),
        is: "symlink",
        targets: Some([Escaped(&link.target).to_string(), Escaped(there).to_string()]),
    });
    let differences = differing.chain(rewritten).collect();
    NodeVerified { node: node.to_owned(), complete: comparison.is_complete(), differences, error: None }
}

fn print(node: &str, comparison: &Comparison) {
    let node = Escaped(node.as_bytes());
    let mut out = std::io::stdout().lock();
    for (path, difference) in &comparison.differing {
        // A reader that went away, such as `head`, is no reason to fail.
        let _ = writeln!(out, "{node}: {}", line_of(path, *difference));
    }
    for rewritten in &comparison.rewritten {
        let Rewritten { link: Link { path, target }, there } = rewritten;
        let _ = writeln!(out, "{node}: differs: {path} (symlink `{}`, there `{}`)", Escaped(target), Escaped(there));
    }
}

fn line_of(path: &RelPath, difference: Difference) -> String {
    match difference {
        Difference::Content => format!("differs: {path} (content)"),
        Difference::Attributes => format!("differs: {path} (attributes)"),
        Difference::Missing => format!("missing: {path}"),
        Difference::OnlyThere => format!("only there: {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_one_line_with_an_escaped_name() {
        let path = RelPath::new(b"a\nb").unwrap();
        for (difference, expected) in [
            (Difference::Content, "differs: a\\x0ab (content)"),
            (Difference::Attributes, "differs: a\\x0ab (attributes)"),
            (Difference::Missing, "missing: a\\x0ab"),
            (Difference::OnlyThere, "only there: a\\x0ab"),
        ] {
            assert_eq!(line_of(&path, difference), expected);
        }
    }
}
