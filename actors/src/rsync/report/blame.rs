//! Finds the paths that rsync's error output names, so that one bad path does not hold up the others of its batch.

use crate::transport::blame::Blame;
use std::collections::BTreeSet;

use crate::node::Node;
use crate::path::RelPath;
use crate::rsync::report::complaint::{Complaint, End};
use crate::rsync::report::temporary;

/// Reads an error output of a run that ended with code 23 or 24. `source` is the absolute path of the source. `originals` finds
/// the files of the source that the receiver may have written under a name that looks like a temporary one.
pub(crate) fn blame(stderr: &[u8], source: &[u8], node: &Node, originals: impl Fn(&RelPath) -> Vec<RelPath>) -> Blame {
    let mut paths = BTreeSet::new();
    for complaint in Complaint::all(stderr) {
        let path = complaint.name.and_then(|name| inside(&name, source, node.mirror_root()));
        let Some(path) = path.map(shortened) else { return Blame::Anything };
        // A file of the source may have such a name by itself.
        let file = temporary::stems(&path).next().filter(|_| complaint.end != Some(End::Source));
        match file {
            None => _ = paths.insert(path),
            Some(file) => {
                let found = originals(&path);
                // It is gone meanwhile.
                paths.extend(if found.is_empty() { vec![file] } else { found });
            }
        }
    }
    if paths.is_empty() { Blame::Anything } else { Blame::Paths(paths.into_iter().collect()) }
}

/// A path that rsync can be told again, in a list or a pattern: it takes none of PATH_MAX bytes (path_resolution(7)) or
/// more. Of a longer one the deepest directory that leaves room for a name.
fn shortened(path: RelPath) -> RelPath {
    const MOST: usize = 4096 - 256;
    let fits = |path: &RelPath| path.as_bytes().len() <= MOST;
    if fits(&path) { path } else { path.ancestors().filter(fits).last().unwrap_or(path) }
}

/// The path in the tree that an absolute name at the source or at the node stands for.
pub(crate) fn inside(name: &[u8], source: &[u8], mirror: &[u8]) -> Option<RelPath> {
    let below = |root: &[u8]| {
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let tail = name.strip_prefix(root)?;
        if tail.is_empty() { Some(tail) } else { tail.strip_prefix(b"/") }
    };
    let relative = if name.starts_with(b"/") { below(source).or_else(|| below(mirror))? } else { name };
    // The mirror itself is `.` inside of it.
    let relative =
        relative.strip_suffix(b".").filter(|rest| rest.is_empty() || rest.ends_with(b"/")).unwrap_or(relative);
    RelPath::new(relative.strip_suffix(b"/").unwrap_or(relative)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blamed(stderr: &str) -> Option<Vec<String>> {
        let node = Node::parse("", "/mnt/mirror").unwrap();
        match blame(stderr.as_bytes(), b"/srv/www", &node, |_| Vec::new()) {
            Blame::Paths(paths) => Some(paths.iter().map(RelPath::to_string).collect()),
            Blame::Anything => None,
        }
    }

    #[test]
    fn paths_are_found_in_what_either_end_says() {
        for (line, path) in [
            (r#"rsync: [sender] send_files failed to open "/srv/www/d/f": Permission denied (13)"#, "d/f"),
            (r#"rsync: [sender] link_stat "/srv/www/a" failed: No such file or directory (2)"#, "a"),
            (r#"rsync: [generator] failed to set permissions on "/mnt/mirror/d": Operation not permitted (1)"#, "d"),
            (r#"rsync: [receiver] write failed on "/mnt/mirror/x"y": No space left on device (28)"#, "x\"y"),
            (
                r#"rsync: [sender] send_files failed to open "/srv/www/.env.secret": Permission denied (13)"#,
                ".env.secret",
            ),
            (r#"file has vanished: "/srv/www/.env.secret""#, ".env.secret"),
            (r#"file has vanished: "/srv/www/a\#012b""#, "a\\x0ab"),
            ("could not make way for new regular file: d/f", "d/f"),
            ("rsync: [generator] delete_file: rmdir(d(1)) failed: Device or resource busy (16)", "d(1)"),
            ("rsync: [generator] delete_file: unlink(f) failed: Operation not permitted (1)", "f"),
            (r#"rsync: [sender] readlink_stat("/srv/www/d") failed: Permission denied (13)"#, "d"),
            ("filename overflows max-path len by 3: d/f", "d/f"),
            (r#"directory has vanished: "/srv/www/d""#, "d"),
            (r#"rsync: [generator] failed to set times on "/mnt/mirror/.": Operation not permitted (1)"#, "."),
            (r#"rsync: [generator] failed to set times on "/mnt/mirror/d/.": Operation not permitted (1)"#, "d"),
            (r#"ERROR: daemon refused to receive file "d/f""#, "d/f"),
        ] {
            let stderr = format!("{line}\nrsync error: some files could not be transferred (code 23) at main.c(1)\n");
            assert_eq!(blamed(&stderr), Some(vec![path.to_string()]), "{line}");
        }
    }

    #[test]
    fn a_temporary_name_at_the_node_stands_for_the_file_of_the_source_once() {
        let node = Node::parse("", "/mnt/mirror").unwrap();
        let rel = |path: &str| RelPath::new(path.as_bytes()).unwrap();
        let stderr = br#"rsync: [receiver] mkstemp "/mnt/mirror/d/.f.aBcDeF" failed: Permission denied (13)
rsync: [receiver] mkstemp "/mnt/mirror/d/.f.aBcDeF" failed: Permission denied (13)
rsync: [receiver] rename "/mnt/mirror/d/.f.gHiJkL" -> "f": Is a directory (21)
"#;
        for (there, blamed) in
            [(vec![], vec!["d/f"]), (vec!["d/.f"], vec!["d/.f"]), (vec!["d/.f.x", "d/f"], vec!["d/.f.x", "d/f"])]
        {
            let originals = |_: &RelPath| there.iter().map(|path| rel(path)).collect();
            let expected = Blame::Paths(blamed.iter().map(|path| rel(path)).collect());
            assert_eq!(blame(stderr, b"/srv/www", &node, originals), expected, "{there:?}");
        }
    }

    #[test]
    fn of_a_path_that_is_too_long_the_deepest_directory_that_fits_is_blamed() {
        let dirs = |count: usize| vec!["x".repeat(199); count].join("/");
        let line = format!("filename overflows max-path len by 9: {}/f", dirs(25));
        assert_eq!(blamed(&line), Some(vec![dirs(19)]));
    }

    #[test]
    fn when_a_line_names_no_path_of_ours_any_may_have_failed() {
        for stderr in [
            "",
            "rsync error: code 23",
            "rsync: [sender] something else broke\n",
            "ERROR: something else\n",
            "rsync: [receiver] \"/etc/x\": no",
        ] {
            assert_eq!(blamed(stderr), None, "{stderr}");
        }
    }
}
