//! What takes a start anew, in the same process.

use std::fs;

use super::{expect_watches, in_a_long_transfer};
use crate::support::Site;

/// Counts the descriptors of inotify queues that a process has open.
fn inotify_descriptors(id: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).unwrap().flatten();
    let is_inotify = |path: std::path::PathBuf| path.to_string_lossy().contains("inotify");
    descriptors.filter(|fd| fs::read_link(fd.path()).is_ok_and(is_inotify)).count()
}

#[test]
fn another_source_is_mirrored_by_the_same_process() {
    let mut site = Site::new();
    site.start_warm();
    let id = site.daemon().id();
    site.write("old", "x");
    let before = inotify_descriptors(id);
    site.serve_from("other");
    (0..50).for_each(|n| site.mkdir(format!("dir {n}")));
    assert!(site.reload().contains("reloaded: changed wpath: starting anew"));
    site.expect_identical();
    assert_eq!(site.daemon().id(), id);
    site.write("file", "x");
    site.expect_identical();
    for node in site.live() {
        site.expect_waiting(node);
    }
    expect_watches(&site, 51 + 1);
    assert_eq!(inotify_descriptors(id), before, "the watches before are kept");
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_stop_while_it_starts_anew_is_a_stop() {
    let mut site = in_a_long_transfer(5);
    site.serve_from("other");
    site.reload();
    site.expect_log("starting anew: working off");
    let ended = site.stop();
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert!(ended.left.is_empty() && ended.log.matches("inosync starts").count() == 1, "{}", ended.log);
}

#[test]
fn a_reload_while_it_starts_anew_counts() {
    let mut site = in_a_long_transfer(5);
    site.serve_from("other");
    site.reload();
    site.expect_log("starting anew: working off");
    site.serve_from("third");
    site.write("file", "x");
    site.config("rspeed: 0");
    assert!(site.reload().contains("reloaded: changed wpath rspeed: starting anew"));
    site.expect_watching();
    site.expect_identical();
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.log.matches("inosync starts").count(), 2, "{}", ended.log);
}
