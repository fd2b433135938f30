//! What is excluded stays where it is on the nodes, whatever is moved around it.

use crate::support::{Local, Site, plant};

/// What the nodes have of their own, one for each kind of pattern: above, at and below what is moved.
const OWN: [&str; 9] = [
    "a/node.own",
    "a/deep/node.own",
    "a/cache/file",
    "a/keep/file",
    "a/deep/keep/er/file",
    "b/node.own",
    "b/deep/node.own",
    "b/keep/file",
    "node.own",
];

/// A pattern without slash, one with, and one for directories only.
fn site() -> Site {
    let mut site = Site::new();
    site.config("dir_moves: Replicate");
    site.config(r#"rexcludes: ["*.own", "/a/cache/*", "keep/"]"#);
    for n in 0..5 {
        site.mkdir("a/deep/er");
        site.write(format!("a/{n}"), format!("a {n}\n").repeat(3_000));
        site.write(format!("a/deep/{n}"), format!("deep {n}\n").repeat(3_000));
    }
    for node in site.live() {
        OWN.iter().for_each(|path| plant(&site.mirror(node).join(path), "the node's"));
    }
    site
}

#[track_caller]
fn assert_own_stays(site: &Site) {
    OWN.iter().for_each(|path| site.assert_on_nodes(path, "the node's"));
}

fn is_excluded_everywhere(path: &[u8]) -> bool {
    path.ends_with(b".own") || path.split(|&b| b == b'/').any(|part| part == b"keep")
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// What is not compared while the source has `a`: the nodes have `b` for what is excluded there.
fn at_a(path: &[u8]) -> bool {
    is_excluded_everywhere(path) || is_below(path, b"a/cache") || is_below(path, b"b")
}

/// The same while the source has it as `b`.
fn at_b(path: &[u8]) -> bool {
    is_excluded_everywhere(path) || is_below(path, b"a")
}

#[test]
fn the_files_of_a_node_stay_at_the_old_name_and_at_the_new_one() {
    let mut site = site();
    site.compare_without(at_a);
    site.start_mirrored();
    site.rename("a", "b");
    site.compare_without(at_b);
    site.expect_identical();
    site.settle();
    assert_own_stays(&site);
    for path in ["a/1", "a/deep/1", "a/deep/er", "b/cache"] {
        site.assert_absent(path);
    }
    site.rename("b", "a");
    site.compare_without(at_a);
    site.expect_identical();
    site.settle();
    assert_own_stays(&site);
    for path in ["b/1", "b/deep/1", "b/deep/er"] {
        site.assert_absent(path);
    }
}

#[test]
fn what_a_pattern_excludes_at_the_old_name_only_arrives_at_the_new_one() {
    let mut site = site();
    site.compare_without(at_a);
    site.mkdir("a/cache/sub");
    site.write("a/cache/of the source", "x".repeat(9_000));
    site.write("a/cache/file", "the source's".repeat(900));
    site.write("a/cache/sub/file", "the source's".repeat(900));
    site.write("a/excluded.own", "the source's".repeat(900));
    site.start_mirrored();
    site.rename("a", "b");
    site.compare_without(at_b);
    site.expect_identical();
    site.settle();
    assert_own_stays(&site);
    site.expect_on_nodes("b/cache/file", &"the source's".repeat(900));
    site.assert_absent("b/excluded.own");
    site.assert_absent("a/cache/of the source");
    // Back again, where they are excluded and the node has its own.
    site.rename("b", "a");
    site.compare_without(at_a);
    site.expect_identical();
    site.settle();
    assert_own_stays(&site);
}

#[test]
fn a_directory_that_takes_an_excluded_name_leaves_the_nodes_and_one_that_loses_it_arrives() {
    let mut site = site();
    site.compare_without(at_a);
    for dir in ["goes", "also goes", "comes.own", "keep"] {
        site.mkdir(format!("{dir}/deep"));
        site.write(format!("{dir}/deep/file"), format!("{dir}\n").repeat(3_000));
    }
    site.start_mirrored();
    site.rename("goes", "goes.own");
    site.rename("also goes", "a/keep");
    site.rename("comes.own", "came");
    site.rename("keep", "kept");
    // Where only excluded names come and go, its time is not looked at.
    site.chmod("a", 0o750);
    site.expect_gone("goes");
    site.expect_gone("also goes");
    site.expect_identical();
    site.settle();
    assert_own_stays(&site);
    site.assert_absent("goes.own");
    site.assert_absent("a/keep/deep");
    site.assert_absent("comes.own");
    site.expect_on_node(Local, "kept/deep/file", &"keep\n".repeat(3_000));
}
