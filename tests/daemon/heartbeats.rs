//! The file at the root of each mirror that says up to when the mirror has everything.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, wait};

const NAME: &str = ".inosync-heartbeat";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn site(nodes: &[Node]) -> Site {
    let mut site = Site::on(nodes);
    site.config("heartbeat: 1");
    site.compare_without(|path| path == NAME.as_bytes());
    site
}

/// The heartbeat that a node has; null if it has none that can be read.
fn heartbeat(site: &Site, node: Node) -> Value {
    let text = fs::read(site.mirror(node).join(NAME)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn chattr(flag: &str, file: &std::path::Path) -> bool {
    std::process::Command::new("chattr").arg(flag).arg(file).status().is_ok_and(|status| status.success())
}

/// The node comes to have a heartbeat like that.
#[track_caller]
fn expect_heartbeat(site: &Site, node: Node, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let found = wait::until(|| Some(heartbeat(site, node)).filter(&is_so));
    found.unwrap_or_else(|| site.fail(&format!("no heartbeat {what}, but {}", heartbeat(site, node))))
}

/// What the heartbeat says of a time, and the time of the file.
fn is_of(since: u64) -> impl Fn(&Value) -> bool {
    move |beat| beat["state"] == "complete" && beat["until"].as_u64().is_some_and(|until| until >= since)
}

#[test]
fn each_mirror_says_up_to_when_it_has_everything_and_that_goes_on() {
    let nodes = [Local, Ssh, Rsyncd];
    let mut site = site(&nodes);
    site.config(r#"rexcludes: [".*-*"]"#);
    site.config(r#"extra: "--partial-dir=.partial""#);
    site.start_mirrored();
    for node in nodes {
        expect_heartbeat(&site, node, "of now", is_of(now()));
        let changed = now() + 1;
        let later = expect_heartbeat(&site, node, "of later", is_of(changed));
        assert_eq!((later["hops"].as_u64(), later["via"].as_array().map(Vec::len)), (Some(1), Some(0)), "{later}");
        assert!(later["source"].as_str().is_some_and(|source| source.ends_with("/source")), "{later}");
    }
    site.expect_identical();
    let file = site.mirror(Local).join(NAME);
    let same = wait::until(|| {
        let time = file.metadata().ok()?.mtime();
        (heartbeat(&site, Local)["until"].as_i64() == Some(time) && file.metadata().ok()?.mtime() == time).then_some(())
    });
    assert!(same.is_some(), "the time of the file is another one");
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_heartbeat_is_neither_deleted_nor_a_difference_and_goes_when_nobody_wants_it() {
    let mut site = site(&[Local]);
    site.start_mirrored();
    expect_heartbeat(&site, Local, "at all", |beat| beat["state"] == "complete");
    site.expect_identical();
    site.stop();
    let verified = site.run(&["--verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    assert!(!verified.stdout.contains(NAME), "{}", verified.stdout);
    let dry = site.run(&["--dry-run"]);
    assert!(!dry.stdout.contains(NAME), "{}", dry.stdout);
    assert_eq!(site.run(&["--once"]).code, Some(0));
    assert!(site.mirror(Local).join(NAME).exists());
    site.forget_config();
    assert_eq!(site.run(&["--once"]).code, Some(0));
    assert!(!site.mirror(Local).join(NAME).exists());
}

#[test]
fn a_heartbeat_stands_still_while_a_node_lacks_something() {
    let mut site = site(&[Local]);
    site.start_mirrored();
    expect_heartbeat(&site, Local, "of now", is_of(now()));
    site.write("stuck", "old");
    site.expect_on_nodes("stuck", "old");
    let stuck = site.mirror(Local).join("stuck");
    if !chattr("+i", &stuck) {
        return println!("not tested: no file can be made immutable here");
    }
    let written = now();
    site.write("stuck", "new");
    site.expect_log("stuck");
    site.settle();
    let since = now() + 2;
    let passed = wait::until(|| (now() > since).then_some(()));
    assert!(passed.is_some());
    let until = heartbeat(&site, Local)["until"].as_u64().unwrap();
    assert!(until <= written + 1, "{until}, and since {written} it lacks a change");
    assert!(chattr("-i", &stuck));
    expect_heartbeat(&site, Local, "of now", is_of(since));
}

/// Writes the heartbeat of the source, as the daemon before it does.
fn write_upstream(site: &Site, state: &str, until: u64) {
    let text = format!(r#"{{"source":"first:/s","state":"{state}","until":{until},"hops":1,"via":[]}}"#);
    fs::write(site.at(NAME), text).unwrap();
    fs::set_permissions(site.at(NAME), Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_relay_passes_on_what_its_source_says_and_deletes_nothing_before_that_is_complete() {
    let mut site = site(&[Local]);
    site.write("old", "old");
    site.start_mirrored();
    site.stop();
    site.remove("old");
    let began = now();
    write_upstream(&site, "reconciling", began);
    site.start();
    site.expect_log("removals wait");
    site.write("new", "new");
    site.write("gone", "gone");
    site.expect_on_nodes("new", "new");
    site.expect_on_nodes("gone", "gone");
    site.remove("gone");
    let told = expect_heartbeat(&site, Local, "of the source", |beat| beat["hops"] == 2);
    assert_eq!((told["source"].as_str(), told["state"].as_str()), (Some("first:/s"), Some("reconciling")));
    assert_eq!(told["via"].as_array().map(Vec::len), Some(1));
    let status = site.status();
    let upstream = &status["source"]["upstream"];
    assert_eq!((&upstream["source"], &upstream["hops"]), (&"first:/s".into(), &1.into()), "{status}");
    assert_eq!(upstream["holds_removals"], true, "{status}");
    assert!(site.mirror(Local).join("old").exists() && site.mirror(Local).join("gone").exists());
    write_upstream(&site, "complete", began + 1);
    site.expect_log("removals go");
    site.expect_identical();
    let told = expect_heartbeat(&site, Local, "that is complete", |beat| beat["until"] == began + 1);
    assert_eq!(told["state"], "complete");
}

#[test]
fn a_relay_deletes_nothing_while_the_heartbeat_of_its_source_is_old() {
    let mut site = site(&[Local]);
    site.write("old", "old");
    site.start_mirrored();
    write_upstream(&site, "complete", now() - 4000);
    site.expect_log("removals wait");
    site.remove("old");
    site.write("new", "new");
    site.expect_on_nodes("new", "new");
    assert!(site.mirror(Local).join("old").exists());
    site.remove(NAME);
    site.expect_identical();
}
