//! Nodes come, go and move.

use std::fs;
use std::io::Write;
use std::thread;

use crate::support::{Dead, Local, Rsyncd, Site, Ssh, plant, wait};

#[test]
fn a_node_that_is_added_gets_everything_and_the_others_are_left_alone() {
    let mut site = Site::new();
    site.serve(&[Local, Rsyncd]);
    site.mkdir("dir/deep");
    site.write("dir/deep/file", "x");
    site.start_warm();
    let waiting = [Local, Rsyncd].map(|node| site.waiting(node));
    plant(&site.mirror(Ssh).join("extra/file"), "too many");
    site.serve(&[Local, Rsyncd, Ssh]);
    let line = site.reload();
    assert!(line.contains("reloaded: added mirror:"), "{line}");
    site.expect_identical();
    site.expect_waiting(Ssh);
    assert_eq!([Local, Rsyncd].map(|node| site.waiting(node)), waiting, "others lost their standbys");
    site.write("file", "x");
    site.expect_identical();
    site.expect_log_line(&["reconciled", &site.shown_name(Ssh)]);
    let reconciles = site.log_lines().iter().filter(|line| line.contains("reconciled")).count();
    assert_eq!(reconciles, 3, "one for each node:\n{}", site.log_lines().join("\n"));
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn what_changes_while_a_node_is_added_is_not_missed() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.serve(&[Local]);
    for n in 0..2000 {
        site.mkdir(format!("{}", n % 50));
        site.write(format!("{}/{n}", n % 50), n.to_string());
    }
    site.start_mirrored();
    let root = site.source();
    let writer = thread::spawn(move || {
        for n in 0..2000 {
            fs::write(root.join(format!("{}/{n}", n % 50)), format!("changed {n}")).unwrap();
            let _ = fs::remove_file(root.join(format!("{}/{}", n % 50, n / 2)));
        }
    });
    site.serve(&[Local, Rsyncd]);
    site.reload();
    writer.join().unwrap();
    site.expect_identical();
}

#[test]
fn a_node_that_is_removed_gets_what_was_changed_before_and_nothing_after() {
    let mut site = Site::new();
    site.start_warm();
    for n in 0..300 {
        site.write(format!("file {n}"), n.to_string());
    }
    // One that stays open is not sent yet, but was changed before too.
    let mut open = fs::File::create(site.at("open")).unwrap();
    open.write_all(b"x").unwrap();
    site.serve(&[Local, Rsyncd]);
    assert!(site.reload().contains("reloaded: removed mirror:"));
    site.expect_log_line(&["node removed"]);
    assert_eq!(fs::read_to_string(site.mirror(Ssh).join("open")).unwrap_or_default(), "x");
    for n in 0..300 {
        site.expect_on_node(Ssh, format!("file {n}"), &n.to_string());
    }
    let gone = wait::until(|| site.sessions(Ssh).is_empty().then_some(()));
    assert!(gone.is_some(), "still connected: {:?}", site.sessions(Ssh));
    let ended = wait::until(|| site.daemon().running("ssh").is_empty().then_some(()));
    assert!(ended.is_some(), "still running: {:?}", site.daemon().running("ssh"));
    site.write("later", "x");
    site.expect_identical();
    site.settle();
    assert!(!site.mirror(Ssh).join("later").exists());
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_node_that_is_down_can_be_removed_at_once() {
    let mut site = Site::on(&[Local, Dead]);
    site.start();
    site.expect_log_line(&["failing", &site.name(Dead)]);
    site.serve(&[Local]);
    site.reload();
    site.expect_log_line(&["node removed, with changes that it does not have"]);
    site.write("file", "x");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0), "it does not count any more");
}

#[test]
fn a_node_that_moves_to_another_directory_is_made_anew_there() {
    let mut site = Site::new();
    site.start_mirrored();
    let before: Vec<_> = site.live().map(|node| site.mirror(node)).collect();
    site.mirror_at("deeper");
    let line = site.reload();
    assert!(line.contains("added local ") && line.contains("removed local "), "{line}");
    // The new mirror is inside the old one: it waits until nobody writes there any more.
    let removed = || site.log_lines().iter().filter(|line| line.contains("node removed")).count();
    assert!(wait::until(|| (removed() == 3).then_some(())).is_some(), "{} are removed", removed());
    site.write("file", "x");
    site.expect_identical();
    assert!(before.iter().all(|mirror| !mirror.join("file").exists()));
}

#[test]
fn a_node_can_be_removed_and_added_again_in_a_moment() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.start_mirrored();
    for round in 0..5 {
        (0..100).for_each(|n| site.write(format!("file {n}"), format!("{round}")));
        site.serve(&[Local]);
        site.reload();
        site.serve(&[Local, Rsyncd]);
        site.reload();
    }
    site.write("last", "x");
    site.expect_identical();
}
