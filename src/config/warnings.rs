//! What is taken, and does most likely other things than it seems to.

use std::path::Path;

use inosync_actors::filter::excludes;
use inosync_actors::path::Escaped;
use inosync_actors::rsync::extra::Extra;
use inosync_actors::rsync::node::{Kind, Node};

use super::check::Own;
use super::complaint::Complaint;
use super::paths::shown;
use super::reader::Reader;
use super::text::Value;
use super::values::{extra_warnings, patterns};

/// A complaint about each such value. `wpath` is the tree as it is named.
pub fn warnings(read: &Reader<'_>, own: &Own<'_>, extra: Option<&Extra>, wpath: Option<&Path>) -> Vec<Complaint> {
    let mut warnings = Vec::new();
    let excludes = read.value("rexcludes").zip(wpath).zip(own.wpath);
    if let Some(((list, named), resolved)) = excludes {
        let (values, patterns) = (list.list().unwrap_or_default(), patterns(&list).unwrap_or_default());
        for (value, pattern) in values.iter().zip(&patterns) {
            let warning = excludes::warning(pattern, named).or_else(|| excludes::warning(pattern, resolved));
            warnings.extend(warning.map(|warning| value.refuse(&warning, warning.cure())));
        }
    }
    if let Some((value, extra)) = read.value("extra").zip(extra) {
        warnings.extend(extra_warnings(&value, extra));
    }
    let rpath = read.value("rpath").and_then(|value| value.string().ok()).unwrap_or_default();
    let nodes = read.value("rnodes").and_then(|list| list.list().ok()).unwrap_or_default();
    let with_blank = read.value("rpath").into_iter().chain(nodes.iter().cloned()).filter_map(|value| {
        let text = value.string().ok().filter(|text| text.trim() != text)?;
        let what = "the path has a blank at its beginning or end, which is a part of the name";
        Some(value.refuse(&what, format!("write \"{}\"", Escaped(text.trim().as_bytes()))))
    });
    warnings.extend(with_blank);
    for (value, node) in nodes.iter().zip(own.nodes) {
        warnings.extend(doubtful(value, node, &rpath));
    }
    warnings
}

/// A node that names another place than its author means, most likely.
fn doubtful(value: &Value<'_>, node: &Node, rpath: &str) -> Option<Complaint> {
    let text = value.string().ok()?;
    let path = match node.kind() {
        Kind::Local => text.as_str(),
        Kind::Ssh => text.split_once(':')?.1,
        Kind::Daemon => return None,
    };
    let several: Vec<&str> = text.split([',', ' ', ';']).filter(|part| !part.is_empty()).collect();
    if several.len() > 1 && several.iter().all(|part| part.contains(':')) {
        let quoted: Vec<String> = several.iter().map(|part| format!("\"{part}\"")).collect();
        return Some(value.refuse(&"is one node with a strange path", format!("write a list: {}", quoted.join(", "))));
    }
    let (path, rpath) = (path.trim_end_matches('/'), rpath.trim_end_matches('/'));
    let whole = shown(Path::new(node.dest()));
    if rpath.len() > 1 && path == rpath {
        let bare = text.strip_suffix('/').unwrap_or(&text).strip_suffix(path).unwrap_or_default();
        let what = format!("`{whole}` has rpath twice: it is appended to each node");
        return Some(value.refuse(&what, format!("write \"{bare}\"")));
    }
    if node.kind() == Kind::Ssh && !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_digit()) {
        let what = format!("`{whole}` is a directory named {path} in the home of the user, and no port");
        return Some(
            value.refuse(&what, format!("write Port {path} into ssh_config, or extra: \"--rsh='ssh -p {path}'\"")),
        );
    }
    None
}
