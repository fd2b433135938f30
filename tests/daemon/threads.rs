//! Nodes that are served by threads of their own (`node_threads`): all of a node goes on there, and nothing else changes.

use std::fs;

use crate::support::{Local, Rsyncd, Site, Ssh, wait};

/// The threads of the daemon on which actors live.
fn actor_threads(site: &Site) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", site.daemon().id())).unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("actix-rt")).count()
}

/// Those that do not serve nodes: one with watcher and filter, and that of the StateActor.
const OTHERS: usize = 2;

/// A site with so many threads, which is mirrored.
fn start(site: &mut Site, threads: usize) {
    site.config(&format!("node_threads: {threads}"));
    site.start_mirrored();
}

/// There are so many threads for the nodes. A thread that has no name yet has that of the one that started it.
#[track_caller]
fn expect_threads(site: &Site, threads: usize) {
    if wait::until(|| (actor_threads(site) == OTHERS + threads).then_some(())).is_none() {
        site.fail(&format!("there are {} threads of actors", actor_threads(site)));
    }
}

#[test]
fn there_are_as_many_threads_as_are_wanted_and_changes_reach_every_node() {
    let mut site = Site::new();
    start(&mut site, 0);
    expect_threads(&site, 0);
    assert_eq!(site.stop().code, Some(0));
    start(&mut site, 2);
    expect_threads(&site, 2);
    site.mkdir("dir");
    for round in 0..20 {
        site.write(format!("dir/file {round}"), "x");
    }
    site.expect_identical();
    fs::rename(site.at("dir/file 2"), site.at("other")).unwrap();
    fs::remove_file(site.at("dir/file 3")).unwrap();
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_node_that_fails_recovers_and_its_rsync_is_known_to_the_status() {
    let mut site = Site::new();
    start(&mut site, 3);
    site.stop_server(Ssh);
    site.write("file", "x");
    site.expect_on_node(Rsyncd, "file", "x");
    site.expect_state(Ssh, "backoff");
    site.start_server(Ssh);
    site.expect_identical();
    for node in [Local, Ssh] {
        let told = |status: &serde_json::Value| status["rsync"]["version"].is_string();
        site.expect_status(node, "the version of its rsync is known", told);
    }
}

#[test]
fn pauses_reloads_and_new_starts_reach_the_nodes_on_their_threads() {
    let mut site = Site::new();
    site.serve(&[Local, Ssh]);
    start(&mut site, 2);
    assert_eq!(site.ask(&["pause", &site.name(Ssh)]).code, Some(0));
    site.write("while paused", "x");
    site.expect_on_node(Local, "while paused", "x");
    assert_eq!(site.ask(&["resume", &site.name(Ssh)]).code, Some(0));
    site.expect_identical();
    site.serve(&[Local, Ssh, Rsyncd]);
    assert!(site.reload().contains("reloaded"));
    site.expect_identical();
    site.config("bulk_size: 2");
    assert!(site.reload().contains("reloaded: changed bulk_size"));
    site.write("after the reload", "x");
    site.expect_identical();
    site.config("watch_poll: 5");
    site.config_file();
    site.daemon().signal(rustix::process::Signal::HUP);
    let is_anew = wait::until(|| (site.daemon().log().contains("starting anew") && site.watches()).then_some(()));
    is_anew.unwrap_or_else(|| site.fail("the daemon does not start anew"));
    site.write("after the new start", "x");
    site.expect_identical();
    // Those of the start before have ended.
    expect_threads(&site, 2);
    assert_eq!(site.stop().code, Some(0));
}
