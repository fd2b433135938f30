//! Values that are accepted, and most likely do something else than their author means.

use std::path::Path;

use inosync_actors::node::{Kind, Node};
use inosync_actors::path::Escaped;
use inosync_actors::patterns::excludes;
use inosync_actors::site::extra::{Extra, ExtraWarning};

use super::complaint::ConfigComplaint;
use super::keys::Draft;
use super::paths::shown;
use super::record::Record;
use super::value::Value;
use super::values::patterns;

/// A complaint about each such value of a configuration that is right.
pub fn warnings(record: &Record<'_>, draft: &Draft<'_>) -> Vec<ConfigComplaint> {
    let list = |key| record.value(key).and_then(|list| list.list().ok()).unwrap_or_default();
    let mut warnings = Vec::new();
    let patterns = record.value("rexcludes").and_then(|list| patterns(&list).ok()).unwrap_or_default();
    let directories: Vec<&Path> =
        [Some(&draft.site.wpath), draft.watched.as_ref()].into_iter().flatten().map(|path| &**path).collect();
    warnings.extend(draft.pattern_files.iter().flat_map(|file| file.warnings(&directories)));
    for (value, pattern) in list("rexcludes").iter().zip(&patterns) {
        let warning = directories.iter().find_map(|directory| excludes::warning(pattern, directory));
        warnings.extend(warning.map(|warning| value.refuse(&warning, warning.cure())));
    }
    warnings.extend(record.value("extra").iter().flat_map(|value| of_extra(value, &draft.site.extra)));
    let rpath = record.value("rpath");
    warnings.extend(rpath.iter().filter_map(with_blank));
    for (entry, node) in draft.entries.iter().zip(&draft.site.nodes) {
        let own = draft.site.options.get(node.name()).and_then(|own| own.extra.as_ref());
        let extra = entry.value("extra");
        warnings.extend(extra.iter().zip(own).flat_map(|(value, own)| of_extra(value, own)));
        warnings.extend(entry.value("rpath").iter().chain([&entry.place]).filter_map(with_blank));
        let rpath = entry.value("rpath").or(rpath.clone()).and_then(|value| value.string().ok()).unwrap_or_default();
        warnings.extend(other_place(&entry.place, node, &rpath));
        if extra.is_none() && node.kind() == Kind::Daemon && draft.site.spares_daemons() {
            let what = "the remote shell of `extra` is for the ssh nodes: this rsync daemon is reached without it";
            let cure = "to reach it through a shell, or to say that it needs none, give it an `extra` of its own: \
                        (node: \"host::module\", extra: \"...\")";
            warnings.push(entry.place.refuse(&what, cure));
        }
    }
    warnings
}

/// The warnings about parameters of rsync, each at the value that has the parameter.
fn of_extra(value: &Value<'_>, extra: &Extra) -> Vec<ConfigComplaint> {
    let places = if value.is_list() { value.list().unwrap_or_default() } else { Vec::new() };
    let complaint =
        |(at, warning): &(usize, ExtraWarning)| places.get(*at).unwrap_or(value).refuse(warning, warning.cure());
    extra.warnings().iter().map(complaint).collect()
}

/// A path that begins or ends with a blank.
fn with_blank(value: &Value<'_>) -> Option<ConfigComplaint> {
    let text = value.string().ok().filter(|text| text.trim() != text)?;
    let what = "the path has a blank at its beginning or end, which is a part of the name";
    Some(value.refuse(&what, format!("write \"{}\"", Escaped(text.trim().as_bytes()))))
}

/// A node that most likely names another place than its author means.
fn other_place(value: &Value<'_>, node: &Node, rpath: &str) -> Option<ConfigComplaint> {
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
    let path = path.trim_end_matches('/');
    let rpath = rpath.trim_end_matches('/');
    let whole = shown(Path::new(node.dest()));
    if rpath.len() > 1 && path == rpath {
        let bare = text.strip_suffix('/').unwrap_or(&text).strip_suffix(path).unwrap_or_default();
        let what = format!("`{whole}` has rpath twice: it is appended to each node");
        return Some(value.refuse(&what, format!("write \"{bare}\"")));
    }
    if node.kind() == Kind::Ssh && !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_digit()) {
        let what = format!("`{whole}` is a directory named {path} in the home of the user, and no port");
        let cure = format!("write Port {path} into ssh_config, or extra: \"--rsh='ssh -p {path}'\"");
        return Some(value.refuse(&what, cure));
    }
    None
}
