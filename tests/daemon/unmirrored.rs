//! Directory moves that are not mirrored (`dir_moves: Log`): the daemon knows that the nodes differ, and says so until they are
//! equal.

use std::fs;

use serde_json::Value;

use crate::support::{Local, Node, Site, Ssh, wait};

const WARNING: &str = "nodes differ from the source: directories were moved, which is not mirrored (dir_moves: Log)";

/// A mirrored site with these directories, of which nothing was compared a moment ago.
fn settled(nodes: &[Node], directories: &[&str]) -> Site {
    let mut site = Site::on(nodes);
    for dir in directories {
        site.mkdir(dir);
        site.write(format!("{dir}/file"), "x");
    }
    site.start_mirrored();
    restart(&mut site);
    site
}

/// Goes on from the state: no directory is compared.
fn restart(site: &mut Site) {
    site.stop();
    site.start_mirrored();
    site.settle();
}

/// The node is idle, and so many moves are not mirrored there.
#[track_caller]
fn expect_moves(site: &Site, node: Node, moves: u64) -> Value {
    site.expect_status(node, &format!("idle with {moves} moves"), |status| {
        status["state"]["is"] == "idle" && status["unmirrored_moves"] == moves
    })
}

fn warnings(site: &Site) -> usize {
    site.log_lines().iter().filter(|line| line.contains(WARNING)).count()
}

/// Waits for the line of a move, and for what is said some time after it.
#[track_caller]
fn rename(site: &Site, from: &str, to: &str) {
    site.rename(from, to);
    site.expect_log_line(&["directory moved", &format!("from: {from}, to: {to}")]);
}

#[test]
fn a_move_that_is_not_mirrored_wants_attention_everywhere_until_the_directory_is_back() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.mkdir("a");
    site.write("a/file", "x");
    site.start_mirrored();
    restart(&mut site);
    assert_eq!(site.ask(&["status"]).code, Some(0));
    rename(&site, "a", "b");
    let status = expect_moves(&site, Local, 1);
    assert_eq!((&status["unmirrored_first"][0], &status["lag"]), (&"a to b".into(), &Value::Null), "{status:#}");
    let asked = site.ask(&["status"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stdout.contains("  NOT mirrored: directory moves: 1 (dir_moves: Log): a to b\n"), "{asked:?}");
    assert_eq!(site.metric(port, "inosync_unmirrored_moves{node=\"local\"}"), 1.0);
    assert_eq!(site.metric(port, "inosync_verdict"), 1.0);
    assert_eq!(site.get(port, "/status.json").json()["verdict"], "attention");
    assert_eq!(site.get(port, "/healthz").body, "ok\n");
    let line = site.expect_log_line(&["WARN", WARNING, "moves: 1", "first: a to b"]);
    assert!(line.contains("inosync once makes them equal") && line.contains("dir_moves: Replicate"), "{line}");
    rename(&site, "b", "a");
    expect_moves(&site, Local, 0);
    site.expect_identical();
    assert_eq!(site.ask(&["status"]).code, Some(0));
    assert_eq!(warnings(&site), 1, "{:?}", site.troubles());
}

#[test]
fn once_beside_the_daemon_makes_the_nodes_equal_and_the_daemon_learns_of_it() {
    let site = settled(&[Local, Ssh], &["a", "c", "e"]);
    rename(&site, "a", "b");
    fs::rename(site.at("c"), site.beside("c")).unwrap();
    for node in [Local, Ssh] {
        expect_moves(&site, node, 2);
    }
    site.expect_log_line(&["WARN", WARNING, "nodes: 2"]);
    let once = site.ask(&["once"]);
    assert_eq!(once.code, Some(0), "{once:?}");
    for node in [Local, Ssh] {
        expect_moves(&site, node, 0);
        site.expect_log_line(&["directory moves were mirrored by another process", &site.shown(node)]);
    }
    site.expect_identical();
    assert_eq!(site.ask(&["status"]).code, Some(0));
    rename(&site, "e", "f");
    let told = wait::until(|| (warnings(&site) == 2).then_some(()));
    assert!(told.is_some(), "what is moved after that is told again: {:?}", site.troubles());
}

#[test]
fn moves_count_until_the_next_start_has_mirrored_them() {
    let mut site = settled(&[Local], &["a", "c", "e"]);
    rename(&site, "a", "b");
    expect_moves(&site, Local, 1);
    restart(&mut site);
    expect_moves(&site, Local, 0);
    rename(&site, "c", "d");
    rename(&site, "e", "g");
    site.mkdir("e");
    site.write("e/file", "another one");
    expect_moves(&site, Local, 2);
    site.settle();
    // Saved a second after the change.
    let saved = |site: &Site| fs::metadata(site.at("d")).is_ok();
    assert!(saved(&site));
    site.crash();
    site.start_mirrored();
    expect_moves(&site, Local, 0);
    assert_eq!(warnings(&site), 0, "{:?}", site.troubles());
}

#[test]
fn a_start_anew_mirrors_what_was_moved_and_a_node_that_comes_later_has_it() {
    let mut site = Site::on(&[Local, Ssh]);
    site.serve(&[Local]);
    site.mkdir("a");
    site.write("a/file", "x");
    site.start_mirrored();
    restart(&mut site);
    rename(&site, "a", "b");
    expect_moves(&site, Local, 1);
    site.serve(&[Local, Ssh]);
    site.reload();
    expect_moves(&site, Ssh, 0);
    expect_moves(&site, Local, 1);
    site.config("dir_moves: Replicate");
    site.reload();
    site.expect_watching();
    site.expect_identical();
    for node in [Local, Ssh] {
        expect_moves(&site, node, 0);
    }
    rename(&site, "b", "c");
    site.expect_identical();
    expect_moves(&site, Local, 0);
}

#[test]
fn what_was_moved_and_then_deleted_stays_at_the_node_and_counts() {
    let site = settled(&[Local], &["a", "c"]);
    rename(&site, "a", ".a-x");
    site.remove(".a-x");
    site.write("after", "x");
    site.expect_on_nodes("after", "x");
    let status = expect_moves(&site, Local, 1);
    assert_eq!(status["unmirrored_first"][0], "a", "{status:#}");
    site.assert_on_nodes("a/file", "x");
    // The next one of the name is mirrored, and nothing differs any more.
    site.mkdir("a");
    site.write("a/file", "new");
    site.expect_identical();
    expect_moves(&site, Local, 0);
}

#[test]
fn a_directory_that_is_renamed_before_any_of_it_is_sent_is_no_move_that_is_missed() {
    let site = settled(&[Local], &[]);
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    site.mkdir("tmp");
    site.write("tmp/file", "x");
    rename(&site, "tmp", "ready");
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.expect_identical();
    expect_moves(&site, Local, 0);
    assert_eq!(site.ask(&["status"]).code, Some(0));
}
