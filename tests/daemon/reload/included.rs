//! Files that the configuration names: what they say counts like the configuration itself, and is read again with it.

use std::fs;

use crate::support::{Local, Rsyncd, Site, Ssh};

#[test]
fn what_an_included_file_says_is_in_force_and_is_read_again_at_a_reload() {
    let mut site = Site::new();
    fs::write(site.beside("common.ron"), "(extra: \"--chmod=F600\", stop_timeout: 7)").unwrap();
    site.config("include: \"common.ron\"");
    site.config("stop_timeout: 20");
    site.write("file", "x");
    site.chmod("file", 0o644);
    site.start();
    for node in [Local, Ssh, Rsyncd] {
        super::expect_mode(&site, node, "file", 0o600);
    }
    fs::write(site.beside("common.ron"), "(extra: \"--chmod=F640\", stop_timeout: 8)").unwrap();
    assert!(site.reload_file().contains("reloaded: changed extra"), "stop_timeout is the file's own");
    for node in [Local, Ssh, Rsyncd] {
        super::expect_mode(&site, node, "file", 0o640);
    }
    fs::write(site.beside("common.ron"), "(\nextra: \"--files-from=x\")").unwrap();
    let line = site.reload_file();
    let place = format!("{}:2:8: ", site.beside("common.ron").display());
    assert!(line.contains("reload refused: ") && line.contains(&place), "{line}");
}

#[test]
fn patterns_of_a_file_hold_at_every_node_and_are_read_again_at_a_reload() {
    let mut site = Site::new();
    fs::write(site.beside("list"), "# what nobody needs\n*.tmp\ncache/\n").unwrap();
    site.config("exclude_from: \"list\"");
    site.mkdir("cache");
    site.write("cache/a", "x");
    site.write("b.tmp", "x");
    site.write("c.log", "x");
    site.start();
    site.expect_on_nodes("c.log", "x");
    let has = |site: &Site, path: &str| [Local, Ssh, Rsyncd].map(|node| site.mirror(node).join(path).exists());
    assert_eq!((has(&site, "cache"), has(&site, "b.tmp")), ([false; 3], [false; 3]));

    fs::write(site.beside("list"), "*.log\n").unwrap();
    assert!(site.reload_file().contains("reloaded: changed rexcludes"));
    site.expect_on_nodes("cache/a", "x");
    site.write("d.log", "x");
    site.write("e", "x");
    site.expect_on_nodes("e", "x");
    assert_eq!(has(&site, "d.log"), [false; 3]);

    fs::write(site.beside("list"), "\na/b\n").unwrap();
    let line = site.reload_file();
    let place = format!("{}:2:1: ", site.beside("list").display());
    assert!(line.contains("reload refused: ") && line.contains(&place), "{line}");
}
