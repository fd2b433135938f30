//! `rpath` and `rnodes`: the nodes, checked against each other and against the source.

use std::path::Path;

use inosync_actors::node::{self, Node};
use inosync_actors::path::{Escaped, RelPath};
use inosync_actors::patterns::excludes::Excludes;

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::node_record::NodeEntry;
use super::paths::{inside, lies_in, other_notation, resolve_existing, shown};
use super::value::Value;

/// The text of `rpath`.
pub fn rpath(value: &Value<'_>) -> Result<String, ConfigComplaint> {
    let path = value.string()?;
    if let Some((what, cure)) = other_notation(&path, "rpath", "/") {
        return Err(value.complaint(what, cure));
    }
    node::check_rpath(&path).map_err(|error| value.refuse(&error, error.cure()))?;
    Ok(path)
}

/// The nodes with their entries: at least one, each destination and each name once, none in the mirrored part of the watched
/// directory. Without `rpath` or the source, where these are wrong, the checks that need them are left out.
pub fn nodes<'a>(
    rnodes: &Value<'a>,
    rpath: Option<&(Value<'a>, String)>,
    mirrored: Option<(&Path, &Excludes)>,
) -> Result<Vec<(NodeEntry<'a>, Node)>, ConfigComplaints> {
    let values = rnodes.list()?;
    let mut wrong = ConfigComplaints::default();
    if values.is_empty() {
        let cure = "name at least one: \"user@host:\" (ssh), \"host::module\" (rsync daemon), \"\" (this machine)";
        wrong.add(rnodes.complaint("`rnodes` is empty: there is nothing to mirror to", cure));
    }
    let mut nodes: Vec<(NodeEntry<'a>, Node)> = Vec::new();
    for value in values {
        let Some(entry) = wrong.keep(NodeEntry::of(value)) else { continue };
        let Some(rpath) = wrong.keep(entry.rpath(rpath)) else { continue };
        let Some(parsed) = wrong.keep(node(&entry.place, rpath.as_ref())) else { continue };
        // The place of a node depends on `rpath`.
        if rpath.is_some() {
            if let Some((local, (wpath, excludes))) = parsed.local_path().zip(mirrored) {
                wrong.keep(separate(&entry.place, local, wpath, excludes));
            }
            let collided = nodes.iter().find_map(|(earlier, node)| Some((earlier, collision(&parsed, node)?)));
            if let Some((earlier, how)) = collided {
                let earlier = &earlier.place;
                let dest = Escaped(parsed.dest().as_encoded_bytes());
                let what =
                    format!("`{}`: {dest} {how} `{}` on line {}", entry.place.key(), earlier.key(), earlier.line());
                wrong.add(
                    entry.place.complaint(what, "keep one of them, or give them directories apart from each other"),
                );
                continue;
            }
        }
        if let Some(named) = wrong.keep(entry.named(parsed, &nodes)) {
            nodes.push((entry, named));
        }
    }
    wrong.or(nodes)
}

/// One node; below a directory of any name if `rpath` is not known.
fn node(value: &Value<'_>, rpath: Option<&(Value<'_>, String)>) -> Result<Node, ConfigComplaint> {
    let text = value.string()?;
    if let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.eq_ignore_ascii_case("rsync")) {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let what = format!("`{}`: `{}://` is no notation of rsync's", value.key(), Escaped(scheme.as_bytes()));
        let cure = match scheme {
            "file" => format!("write a directory of this machine: \"/{path}\""),
            _ => format!("write \"{host}:\" for a host by ssh, \"{host}::MODULE\" for an rsync daemon"),
        };
        return Err(value.complaint(what, cure));
    }
    if text.starts_with(['~', '$'])
        && let Some((what, cure)) = other_notation(&text, value.key(), "/")
    {
        return Err(value.complaint(what, cure));
    }
    Node::parse(&text, rpath.map_or("/unknown", |(_, path)| path)).map_err(|error| match rpath {
        Some((rpath, path)) if error.is_about_rpath(path) => rpath.refuse(&error, error.cure()),
        _ => value.refuse(&error, error.cure()),
    })
}

/// The relation of two nodes that cannot both be mirrored to: rsync would delete the inner one as not in the source.
fn collision(node: &Node, earlier: &Node) -> Option<&'static str> {
    let (inside, around) = match (node.local_path(), earlier.local_path()) {
        (Some(node), Some(earlier)) => {
            let node = resolve_existing(node);
            let earlier = resolve_existing(earlier);
            (lies_in(&node, &earlier), lies_in(&earlier, &node))
        }
        _ => (node == earlier || earlier.encloses(node), node == earlier || node.encloses(earlier)),
    };
    match (inside, around) {
        (true, true) => Some("is the same destination as"),
        (true, false) => Some("lies inside the mirror of"),
        (false, true) => Some("lies around the mirror of"),
        (false, false) => None,
    }
}

/// Refuses a mirror inside its source, which would mirror itself unless it is excluded as a whole, and one around the
/// source, which would delete the source.
fn separate(value: &Value<'_>, local: &Path, wpath: &Path, excludes: &Excludes) -> Result<(), ConfigComplaint> {
    let target = resolve_existing(local);
    let inside = inside(&target, wpath);
    let how = match (lies_in(&target, wpath), lies_in(wpath, &target)) {
        (true, true) => "is",
        (true, false) if inside.as_ref().is_some_and(|inside| excludes.excludes(inside, true)) => return Ok(()),
        (true, false) => "lies inside",
        (false, true) => "lies around",
        (false, false) => return Ok(()),
    };
    let what = format!("the local mirror `{}` {how} the watched directory `{}`", shown(local), shown(wpath));
    let apart = "choose an rpath or node whose directory is apart from wpath";
    let plain =
        |path: &RelPath| path.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte));
    // Another name would have to be written as a pattern.
    match inside.filter(|inside| !inside.is_root() && plain(inside)) {
        Some(inside) => {
            Err(value.complaint(what, format!("{apart}, or exclude the mirror from it: rexcludes: [\"/{inside}\"]")))
        }
        None => Err(value.complaint(what, apart)),
    }
}
