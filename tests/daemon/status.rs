//! Asking a running daemon: `status`, `explain`, `pause`, `resume`, SIGUSR1.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::{Dead, Local, Rsyncd, Site, Ssh, wait};

#[test]
fn at_rest_every_node_is_idle_and_what_was_sent_is_counted() {
    let mut site = Site::new();
    site.start_mirrored();
    site.mkdir("d");
    site.write("d/file", "content");
    site.expect_identical();
    // All that the kernel reported of it is dealt with then.
    site.settle();
    for node in [Local, Ssh, Rsyncd] {
        let status = site.expect_state(node, "idle");
        assert_eq!((&status["pending"], &status["lag"]), (&0.into(), &serde_json::Value::Null), "{status:#}");
        assert!(status["totals"]["sent"].as_u64() >= Some(2) && status["totals"]["reconciles"] == 1, "{status:#}");
        assert!(status["last_success_at"].as_u64() > Some(0), "{status:#}");
    }
    let asked = site.ask(&["status"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(asked.stdout.contains("node local: idle"), "{asked:?}");
    assert_eq!(site.status()["source"]["watched_directories"], 2);
    // The node is asked, for a moment: who asks later may be told more.
    let tells = |key: &'static str| move |status: &serde_json::Value| !status["rsync"][key].is_null();
    let version = |node| site.expect_status(node, "asked", tells("version"))["rsync"]["version"].clone();
    assert_eq!([Local, Ssh].map(version), [site.status()["rsync"].clone(), site.status()["rsync"].clone()]);
    let protocol = site.expect_status(Rsyncd, "asked", tells("protocol"))["rsync"]["protocol"].as_u64();
    assert!(protocol >= Some(30), "{protocol:?}");
}

#[test]
fn a_node_that_is_down_is_told_with_its_lag_until_it_is_back() {
    let mut site = Site::on(&[Local, Ssh]);
    site.start_mirrored();
    site.stop_servers();
    site.write("file", "while it is down");
    let status = site.expect_status(Ssh, "failing", |status| status["state"]["lasts"] == true);
    assert_eq!(status["state"]["is"], "backoff", "{status:#}");
    assert!(status["lag"].as_f64() > Some(0.0) && status["pending"].as_u64() >= Some(1), "{status:#}");
    assert!(status["last_error"]["text"].is_string() && status["totals"]["failures"].as_u64() >= Some(1), "{status:#}");
    assert_eq!(site.ask(&["status"]).code, Some(2));
    site.expect_state(Local, "idle");
    site.start_servers();
    site.expect_identical();
    site.expect_state(Ssh, "idle");
    assert_eq!(site.ask(&["status"]).code, Some(0));
}

#[test]
fn a_paused_node_gets_nothing_until_it_is_resumed_and_others_go_on() {
    let mut site = Site::on(&[Local, Ssh]);
    site.start_mirrored();
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    site.write("file", "new");
    site.expect_on_node(Ssh, "file", "new");
    let status = site.expect_status(Local, "behind", |status| status["pending"].as_u64() >= Some(1));
    assert_eq!(status["state"]["is"], "paused", "{status:#}");
    assert!(!site.mirror(Local).join("file").exists());
    assert_eq!(site.ask(&["status"]).code, Some(1));
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.expect_identical();
    site.expect_state(Local, "idle");
    site.expect_log("node paused");
    site.expect_log("node resumed");
}

#[test]
fn nodes_stay_paused_over_a_new_start_and_a_stop_does_not_wait_for_them() {
    let mut site = Site::new();
    site.start_mirrored();
    let nodes = [Local, Ssh, Rsyncd];
    for node in nodes {
        site.expect_state(node, "idle");
        assert_eq!(site.ask(&["pause", &site.shown(node)]).code, Some(0));
    }
    site.write("file", "new");
    for poll in ["watch_poll: 7", "watch_poll: 8", "watch_poll: 9"] {
        site.config(poll);
        site.reload();
        site.expect_watching();
        for node in nodes {
            site.expect_status(node, "behind", |status| status["pending"].as_u64() >= Some(1));
            site.expect_state(node, "paused");
        }
    }
    let ended = site.stop();
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert!(nodes.iter().all(|&node| !site.mirror(node).join("file").exists()), "{}", ended.log);
    site.start();
    for node in nodes {
        site.expect_state(node, "paused");
        assert_eq!(site.ask(&["resume", &site.shown(node)]).code, Some(0));
    }
    site.expect_identical();
}

#[test]
fn a_paused_node_has_no_rsync_that_waits_and_a_resumed_one_has() {
    let mut site = Site::on(&[Local]);
    site.start_warm();
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    let waiting = |site: &Site| site.daemon().running("rsync").len();
    assert!(wait::until(|| (waiting(&site) == 0).then_some(())).is_some(), "an rsync waits");
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    assert!(wait::until(|| (waiting(&site) > 0).then_some(())).is_some(), "no rsync waits");
}

#[test]
fn a_node_that_was_paused_by_its_destination_is_resumed_by_its_name() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let dest = format!("{}/", site.mirror(Local).display());
    assert_eq!(site.ask(&["pause", &dest]).code, Some(0));
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.config("watch_poll: 7");
    site.reload();
    site.expect_watching();
    site.write("file", "new");
    site.expect_on_nodes("file", "new");
}

#[test]
fn a_source_without_content_is_told_as_held() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    fs::rename(site.at("seed"), site.beside("kept")).unwrap();
    let status = site.expect_state(Local, "held");
    assert!(status["state"]["why"].as_str().is_some_and(|why| why.contains("the source is empty")), "{status:#}");
    assert_eq!(site.ask(&["status"]).code, Some(2));
    fs::rename(site.beside("kept"), site.at("seed")).unwrap();
    site.expect_identical();
}

#[test]
fn a_path_is_explained_with_its_pattern_and_when_it_was_sent() {
    let mut site = Site::on(&[Local, Dead]);
    site.config("rexcludes: [\"*.tmp\"]");
    site.start_mirrored();
    site.mkdir("d");
    site.write("d/file", "x");
    site.expect_on_node(Local, "d/file", "x");
    site.expect_state(Local, "idle");
    let asked = site.ask(&["explain", &site.at("d/file").display().to_string()]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    for words in ["excluded: no", "watched: yes", "node local: sent or compared: last 20", ": pending now;"] {
        assert!(asked.stdout.contains(words), "wanted {words}\n{}", asked.stdout);
    }
    let asked = site.ask(&["explain", "d/x.tmp"]);
    for words in ["excluded: by `*.tmp` (rexcludes[0])", "--filter='- *.tmp'", "watched: no, it is excluded"] {
        assert!(asked.stdout.contains(words), "wanted {words}\n{}", asked.stdout);
    }
    assert_eq!(site.ask(&["explain", "/etc/passwd"]).code, Some(64));
}

#[test]
fn questions_that_nobody_can_answer_end_with_the_reason() {
    let mut site = Site::on(&[Local]);
    let asked = site.ask(&["status"]);
    assert_eq!(asked.code, Some(3), "{asked:?}");
    assert!(asked.stderr.contains("no daemon answers"), "{asked:?}");
    site.start_mirrored();
    let asked = site.ask(&["pause", "nobody:"]);
    assert_eq!(asked.code, Some(64), "{asked:?}");
    assert!(asked.stderr.contains("no node `nobody:`: name one of: local"), "{asked:?}");
    site.config("socket_dir: \"\"");
    site.reload();
    let asked = site.ask(&["status"]);
    assert_eq!(asked.code, Some(3), "{asked:?}");
    assert!(asked.stderr.contains("no control socket"), "{asked:?}");
}

#[test]
fn the_status_is_told_although_the_source_is_gone() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let config = site.config_file().display().to_string();
    fs::rename(site.source(), site.beside("away")).unwrap();
    site.expect_log("the source was moved");
    site.expect_state(Local, "held");
    let asked = site.ask_about(&config, &["status"]);
    assert!(asked.stdout.contains("node local: held: the source is missing"), "{asked:?}");
}

#[test]
fn only_its_user_may_enter_the_directory_of_the_socket_and_it_is_gone_at_the_end() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.status();
    let dirs = || fs::read_dir(site.beside("run")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let found = dirs();
    assert!(!found.is_empty());
    for dir in found {
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", dir.display());
    }
    site.stop();
    let left: Vec<_> = fs::read_dir(site.beside("run")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_signal_writes_the_status_to_the_log() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    site.daemon().signal(Signal::USR1);
    site.expect_log_line(&["status, node: local", "state: idle"]);
}
