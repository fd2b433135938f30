//! How nodes become equal to the source when the daemon starts: `initial_sync`, `once`, `dry-run`.

use std::time::Duration;

use crate::support::{Dead, Local, Site, plant, wait};

/// A site whose nodes have an old copy of `changed`, a file too many, and lack the rest.
fn differing(nodes: Site) -> Site {
    nodes.mkdir("dir/deep");
    nodes.write("dir/deep/file", "x");
    nodes.write("changed", "new");
    for node in nodes.live() {
        plant(&nodes.mirror(node).join("changed"), "old, and longer");
        plant(&nodes.mirror(node).join("extra/file"), "too many");
    }
    nodes
}

#[test]
fn by_default_the_nodes_become_equal_to_the_source() {
    let mut site = differing(Site::new());
    site.start_mirrored();
}

#[test]
fn what_changes_while_the_daemon_starts_is_not_missed() {
    let mut site = Site::on(&[Local]);
    for n in 0..3000 {
        site.mkdir(format!("{}", n % 100));
        site.write(format!("{}/{n}", n % 100), n.to_string());
    }
    let writer = {
        let root = site.source();
        std::thread::spawn(move || {
            for n in 0..3000 {
                std::fs::write(root.join(format!("{}/{n}", n % 100)), format!("changed {n}")).unwrap();
                let _ = std::fs::remove_file(root.join(format!("{}/{}", n % 100, n / 2)));
            }
        })
    };
    site.start();
    writer.join().unwrap();
    site.expect_identical();
}

#[test]
fn a_mirror_that_the_first_comparison_makes_is_compared_once() {
    let mut site = Site::on(&[Local]);
    site.config("rspeed: 100");
    site.config("bulk_size: 1");
    site.write("large", vec![b'x'; 500_000]);
    site.start();
    assert!(wait::until(|| site.mirror(Local).exists().then_some(())).is_some(), "no mirror is made");
    site.write("file", "x");
    site.expect_on_nodes("file", "x");
    site.expect_identical();
    site.expect_log("reconciled");
    site.settle();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
    let ended = site.stop();
    assert_eq!(ended.log.matches("reconciled").count(), 1, "{}", ended.log);
}

#[test]
fn an_initial_update_sends_what_differs_and_deletes_nothing() {
    let mut site = differing(Site::new());
    site.config("initial_sync: Update");
    site.start();
    site.expect_on_nodes("dir/deep/file", "x");
    site.expect_on_nodes("changed", "new");
    site.settle();
    site.assert_on_nodes("extra/file", "too many");
    site.remove("changed");
    site.expect_gone("changed");
}

#[test]
fn without_an_initial_sync_only_what_changes_from_now_on_is_sent() {
    let mut site = differing(Site::new());
    site.config("initial_sync: Off");
    site.start();
    site.settle();
    site.assert_on_nodes("changed", "old, and longer");
    site.assert_on_nodes("extra/file", "too many");
    site.assert_absent("dir");
    site.write("dir/deep/file", "touched");
    site.expect_on_nodes("dir/deep/file", "touched");
}

#[test]
fn once_makes_the_nodes_equal_and_ends() {
    let site = differing(Site::new());
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.left.is_empty());
    site.expect_identical();
}

#[test]
fn once_with_a_failing_node_serves_the_others_and_says_so() {
    let site = differing(Site::on(&[Local, Dead]));
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert!(ended.log.contains(&site.name(Dead)), "{}", ended.log);
    site.expect_identical();
}

#[test]
fn a_dry_run_lists_what_would_change_and_changes_nothing() {
    let site = differing(Site::new());
    let ended = site.run(&["dry-run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let said = ended.stdout + &ended.log;
    for path in ["dir/deep/file", "changed", "extra"] {
        assert_eq!(said.matches(path).count().min(3), 3, "{path}, once for each node:\n{said}");
    }
    site.assert_on_nodes("changed", "old, and longer");
    site.assert_on_nodes("extra/file", "too many");
    site.assert_absent("dir");
}

#[test]
fn a_second_start_finds_everything_done() {
    let mut site = Site::on(&[Local]);
    site.write("file", "x");
    site.touch("file", Duration::new(1_000_000_000, 5));
    site.start_mirrored();
    assert_eq!(site.stop().code, Some(0));
    site.write("while it was down", "x");
    site.remove("file");
    site.start_mirrored();
}
