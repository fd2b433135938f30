//! What `rexcludes` names is neither sent, nor deleted, nor touched.

use std::fs;

use crate::support::{Local, Site, plant, wait};

/// A site with one pattern of each kind, and an excluded file of the node's own for each of them.
fn site() -> Site {
    let mut site = Site::new();
    site.config(r#"rexcludes: ["*.own", "cache/", "/top/*.x"]"#);
    site.compare_without(|path| {
        path.ends_with(b".own") || path.split(|&b| b == b'/').any(|part| part == b"cache") || path.ends_with(b".x")
    });
    for dir in ["tree/deep", "top/deep", "other"] {
        site.mkdir(dir);
        site.write(format!("{dir}/file"), "x");
    }
    for node in site.live() {
        for path in ["tree/deep/node.own", "tree/cache/file", "top/node.x", "top/deep/node.x"] {
            plant(&site.mirror(node).join(path), "the node's");
        }
    }
    site
}

#[test]
fn excluded_files_of_a_node_survive_the_first_reconcile() {
    let mut site = site();
    plant(&site.mirror(Local).join("not excluded"), "goes");
    site.start_mirrored();
    for path in ["tree/deep/node.own", "tree/cache/file", "top/node.x", "top/deep/node.x"] {
        site.assert_on_nodes(path, "the node's");
    }
    site.assert_absent("not excluded");
}

#[test]
fn excluded_files_survive_the_deletion_of_their_directory() {
    let mut site = site();
    site.start_mirrored();
    site.remove("tree");
    site.remove("top");
    site.expect_gone("tree/deep/file");
    site.expect_gone("top/deep/file");
    site.settle();
    for path in ["tree/deep/node.own", "tree/cache/file", "top/node.x", "top/deep/node.x"] {
        site.assert_on_nodes(path, "the node's");
    }
}

#[test]
fn excluded_files_of_the_source_never_arrive() {
    let mut site = site();
    site.write("before.own", "x");
    site.start_mirrored();
    for path in ["live.own", "tree/live.own", "top/live.x", "other/live.own"] {
        site.write(path, "x");
    }
    for dir in ["cache", "tree/cache/deeper", "other/cache"] {
        site.mkdir(dir);
        site.write(format!("{dir}/live"), "x");
    }
    site.write("other/kept.x", "an anchored pattern excludes nothing elsewhere");
    site.write("cache not a directory", "x");
    site.settle();
    site.expect_on_nodes("other/kept.x", "an anchored pattern excludes nothing elsewhere");
    for path in ["before.own", "live.own", "tree/live.own", "top/live.x", "other/live.own", "cache", "other/cache"] {
        site.assert_absent(path);
    }
    site.assert_absent("tree/cache/deeper");
}

#[test]
fn a_rename_across_the_border_of_exclusion_is_a_creation_or_a_deletion() {
    let mut site = site();
    site.write("becomes excluded", "x");
    site.write("was.own", "x");
    site.start_mirrored();
    site.rename("becomes excluded", "is.own");
    site.rename("was.own", "was excluded");
    site.expect_on_nodes("was excluded", "x");
    site.expect_gone("becomes excluded");
    site.settle();
    site.assert_absent("is.own");
    site.assert_absent("was.own");
}

#[test]
fn a_name_that_only_directories_are_excluded_by_is_a_fine_name_for_a_file() {
    let mut site = Site::new();
    site.config(r#"rexcludes: ["cache/"]"#);
    site.start_mirrored();
    site.write("cache", "a file");
    site.expect_identical();
    site.remove("cache");
    site.expect_identical();
}

#[test]
fn a_mirror_below_the_source_is_taken_as_long_as_it_is_excluded() {
    let mut site = Site::on(&[Local]);
    site.config(r#"rexcludes: ["/mnt"]"#);
    site.compare_without(|path| path == b"mnt");
    site.mkdir("mnt/disk");
    let node = site.at("mnt/disk");
    site.also_serve(node.to_str().unwrap());
    let inner = node.join(site.mirror(Local).strip_prefix("/").unwrap());
    let expect_in_it = |site: &Site, name: &str| {
        let there = || inner.join(name).exists().then_some(());
        assert!(wait::until(there).is_some(), "{name}:\n{}", site.log_lines().join("\n"));
    };
    site.start_mirrored();
    site.write("live", "live");
    site.expect_identical();
    expect_in_it(&site, "live");
    site.config("rexcludes: []");
    let line = site.reload();
    assert!(line.contains("refused") && line.contains("lies inside the watched directory"), "{line}");
    site.write("later", "later");
    site.expect_identical();
    expect_in_it(&site, "later");
    assert!(!inner.join("mnt").exists(), "it is mirrored into itself");
    assert!(fs::read_dir(site.mirror(Local)).unwrap().flatten().all(|entry| entry.file_name() != "mnt"));
    let ended = site.run(&["check"]);
    assert!(ended.stdout.contains("lies inside") || ended.log.contains("lies inside"), "{ended:?}");
}
