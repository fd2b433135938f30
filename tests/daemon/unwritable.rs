//! What a node refuses to store is never told as stored: a mirror that its account may not write, and attributes that it may
//! not set.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::support::{self, Local, Node, Rsyncd, Site, Ssh, wait};

/// root without what makes root different from other users, where files and directories are concerned.
const PLAIN: &str = "setpriv --bounding-set=-dac_override,-dac_read_search,-fowner,-chown";
/// The user nobody of Debian and most others.
const NOBODY: u32 = 65534;

/// A site whose nodes are written by an account with no more rights than any other, and whose hook notes that it ran.
fn plain(nodes: &[Node]) -> Option<Site> {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can take rights from a daemon");
        return None;
    }
    let mut site = Site::on(nodes);
    site.always_start_by(&PLAIN.split(' ').collect::<Vec<_>>());
    let (hook, note) = (site.beside("hook.sh"), site.beside("hook.ran"));
    support::program(&hook, &format!("#!/bin/sh\ncat >>{}\n", note.display()));
    site.config(&format!("on_synced: [{hook:?}]"));
    if nodes.contains(&Ssh) {
        site.config(&format!("extra: \"--rsync-path='{PLAIN} rsync'\""));
    }
    if nodes.contains(&Rsyncd) {
        site.module_option("uid = nobody");
    }
    Some(site)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives what is at this place on a node to the account that writes there, or to another one. rsync makes writable what its own
/// account owns.
fn set_writable(site: &Site, node: Node, path: &str, writable: bool) {
    let full = site.mirror(node).join(path);
    fs::create_dir_all(&full).unwrap();
    let writes_as = if node == Rsyncd { NOBODY } else { 0 };
    chown(&full, Some(if writable { writes_as } else { NOBODY - writes_as }), None).unwrap();
}

/// Whether a line names a file by what rsync calls it until it is complete.
fn names_temporary(line: &str) -> bool {
    line.split([' ', '"', ',']).any(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        let suffix = name.rsplit_once('.').filter(|(stem, _)| stem.starts_with('.')).map_or("", |(_, suffix)| suffix);
        suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[test]
fn a_mirror_that_may_not_be_written_is_a_failure_of_the_node_on_every_transport() {
    let nodes = [Local, Ssh, Rsyncd];
    let Some(mut site) = plain(&nodes) else { return };
    site.mkdir("dir/deep");
    for (path, content) in [("dir/aux.h", "1"), (".env", "2"), ("dir/deep/f", "3")] {
        site.write(path, content);
    }
    for node in nodes {
        set_writable(&site, node, "", false);
        // Also its own time differs, and may not be set.
        std::fs::File::open(site.mirror(node)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    site.start();
    for node in nodes {
        let name = format!("node: {},", site.shown(node));
        let words = ["ERRO", "node failing", &name, "the mirror cannot be written", "Permission denied", "chown"];
        site.expect_log_line(&words);
        let status = site.expect_state(node, "backoff");
        assert_eq!(status["state"]["lasts"], true, "{status:#}");
        assert!(status["last_success_at"].is_null(), "{status:#}");
        assert_eq!((&status["totals"]["sent"], &status["totals"]["bytes"]), (&0.into(), &0.into()), "{status:#}");
        assert_eq!(status["totals"]["reconciles"], 0, "{status:#}");
    }
    assert_eq!(site.ask(&["status"]).code, Some(2));
    assert!(site.ask(&["explain", "seed"]).stdout.lines().all(|line| !line.contains("last sent")));
    let lines = site.log_lines();
    assert!(!lines.iter().any(|line| line.contains("reconciled") || names_temporary(line)), "{}", lines.join("\n"));
    assert_eq!(site.troubles().len(), nodes.len(), "{}", lines.join("\n"));
    assert!(!site.beside("hook.ran").exists());
    // The end tells a hook all that is to be told.
    site.stop();
    assert!(!site.beside("hook.ran").exists());
    site.start();
    for node in nodes {
        site.expect_state(node, "backoff");
    }
    nodes.iter().for_each(|&node| set_writable(&site, node, "", true));
    // Somebody who mends it need not wait for the next try.
    site.reload();
    site.expect_identical();
    for node in nodes {
        site.expect_state(node, "idle");
        site.expect_log_line(&["node recovered", &site.shown(node)]);
    }
    assert!(wait::until(|| site.beside("hook.ran").exists().then_some(())).is_some(), "the hook is told");
}

#[test]
fn a_node_that_becomes_unwritable_fails_and_a_resume_is_a_try() {
    let Some(mut site) = plain(&[Local]) else { return };
    site.start_mirrored();
    let before = site.expect_state(Local, "idle");
    set_writable(&site, Local, "", false);
    site.write("new", "x");
    site.expect_log_line(&["ERRO", "node failing", "the mirror cannot be written"]);
    let status = site.expect_state(Local, "backoff");
    assert_eq!(status["totals"]["sent"], before["totals"]["sent"], "{status:#}");
    assert_eq!(status["last_success_at"], before["last_success_at"], "{status:#}");
    set_writable(&site, Local, "", true);
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.expect_on_nodes("new", "x");
    site.expect_state(Local, "idle");
}

#[test]
fn a_comparison_that_max_delete_holds_does_not_show_that_a_node_can_be_written() {
    let Some(mut site) = plain(&[Local]) else { return };
    site.config("max_delete: 1");
    set_writable(&site, Local, "", true);
    ["x", "y", "z"].iter().for_each(|name| fs::write(site.mirror(Local).join(name), "").unwrap());
    site.start();
    site.expect_log_line(&["ERRO", "it would delete"]);
    set_writable(&site, Local, "", false);
    site.write("new", "x");
    site.expect_log_line(&["ERRO", "node failing", "the mirror cannot be written"]);
    // Both are tried, and either may end first.
    for tries in 2..6 {
        site.reload();
        site.expect_status(Local, "another try", |status| status["totals"]["failures"].as_u64() >= Some(tries));
    }
    let lines = site.log_lines();
    assert!(!lines.iter().any(|line| line.contains("recovered")), "{}", lines.join("\n"));
}

#[test]
fn a_mirror_that_cannot_be_made_names_the_directory_and_the_account() {
    let Some(mut site) = plain(&[Local]) else { return };
    site.mirror_at("below/mirror");
    let above = site.beside("local");
    fs::create_dir_all(&above).unwrap();
    mode(&above, 0o555);
    site.start();
    let mirror = site.mirror(Local).display().to_string();
    site.expect_log_line(&["ERRO", "node failing", "the mirror cannot be written", &mirror, " by root", "mkdir"]);
    mode(&above, 0o755);
    site.reload();
    site.expect_identical();
}

#[test]
fn one_directory_that_may_not_be_written_is_told_by_the_names_of_the_source_and_the_rest_arrives() {
    let Some(mut site) = plain(&[Local]) else { return };
    site.mkdir("dir");
    site.write("dir/old", "x");
    site.start_mirrored();
    site.expect_state(Local, "idle");
    let before = site.status_of(Local);
    set_writable(&site, Local, "dir", false);
    site.write("dir/aux.h", "1");
    site.write("dir/.env", "2");
    site.write("beside", "3");
    site.expect_on_nodes("beside", "3");
    let line = site.expect_log_line(&["some paths failed", "Permission denied"]);
    assert!(line.contains("first: dir/"), "{line}");
    let troubles = site.troubles();
    assert!(!troubles.iter().any(|line| line.contains("first") && names_temporary(line.split("why").next().unwrap())));
    let status = site.expect_status(Local, "failing", |status| status["failing_paths"] == 2);
    let sent = |status: &serde_json::Value| status["totals"]["sent"].as_u64().unwrap();
    assert!(site.mirror(Local).join("beside").exists() && sent(&status) > sent(&before), "{status:#}");
    set_writable(&site, Local, "dir", true);
    site.reload();
    site.expect_identical();
    site.expect_state(Local, "idle");
}

#[test]
fn attributes_that_cannot_be_set_are_told_once_and_what_changes_goes_on() {
    let Some(mut site) = plain(&[Local]) else { return };
    let names = ["one", "two", "three"];
    // Small files are sent whole, and so get another owner.
    names.iter().for_each(|name| site.write(name, vec![b'x'; 100_000]));
    site.start_mirrored();
    site.expect_state(Local, "idle");
    for name in names {
        chown(site.mirror(Local).join(name), Some(NOBODY), None).unwrap();
        mode(&site.at(name), 0o600);
    }
    site.expect_log_line(&["WARN", "without all of their attributes", "failed to set permissions", "chown -R"]);
    let status = site.expect_status(Local, "at rest without them", |status| status["attributes_unset"] == 3);
    assert_eq!((&status["state"]["is"], &status["pending"]), (&"idle".into(), &0.into()), "{status:#}");
    assert_eq!(site.ask(&["status"]).code, Some(1));
    site.write("content", "new");
    site.expect_on_nodes("content", "new");
    assert_eq!(site.troubles().len(), 1, "{:?}", site.troubles());
    for name in names {
        chown(site.mirror(Local).join(name), Some(0), None).unwrap();
    }
    site.reload();
    site.expect_identical();
    site.expect_status(Local, "whole", |status| status["attributes_unset"] == 0);
    assert_eq!(site.ask(&["status"]).code, Some(0));
}

#[test]
fn a_mirror_that_belongs_to_somebody_else_gets_what_changes_and_is_not_compared_again_for_its_own_times() {
    let Some(mut site) = plain(&[Local, Ssh]) else { return };
    site.write("file", "1");
    for node in [Local, Ssh] {
        set_writable(&site, node, "", true);
        chown(site.mirror(node), Some(NOBODY), None).unwrap();
        mode(&site.mirror(node), 0o777);
    }
    site.start();
    for node in [Local, Ssh] {
        let status = site.expect_state(node, "idle");
        assert_eq!(status["attributes_unset"], 0, "what is in it has arrived: {status:#}");
        site.expect_log_line(&["WARN", "the mirror's own directory does not take all attributes", &site.shown(node)]);
    }
    site.write("other", "2");
    site.expect_on_nodes("other", "2");
    site.settle();
    for node in [Local, Ssh] {
        let status = site.expect_state(node, "idle");
        assert_eq!(status["totals"]["reconciles"], 1, "{status:#}");
    }
    assert_eq!(site.troubles().len(), 2, "{:?}", site.troubles());
}

#[test]
fn paths_that_fail_alone_are_told_with_the_end_where_they_are_cured() {
    let Some(mut site) = plain(&[Local, Ssh]) else { return };
    site.write("secret", "x");
    mode(&site.source().join("secret"), 0o600);
    chown(site.source().join("secret"), Some(NOBODY), None).unwrap();
    site.mkdir("d");
    site.write("d/file", "x");
    set_writable(&site, Ssh, "", true);
    set_writable(&site, Ssh, "d", false);
    site.start();
    let name = site.name(Ssh);
    site.expect_log_line(&["some paths failed", "node: local", "secret", "let root read it here, or exclude it"]);
    site.expect_log_line(&["some paths failed", &name]);
    site.expect_status(Ssh, "incomplete", |status| status["failing_paths"].as_u64() == Some(2));
    chown(site.source().join("secret"), Some(0), None).unwrap();
    set_writable(&site, Ssh, "d", true);
    site.expect_identical();
}

#[test]
fn what_cannot_be_deleted_at_a_node_is_told_and_the_tree_is_not_compared_again_for_it() {
    let nodes = [Local, Ssh, Rsyncd];
    let Some(mut site) = plain(&nodes) else { return };
    site.mkdir("d");
    for node in nodes {
        set_writable(&site, node, "", true);
        set_writable(&site, node, "d", true);
        for kept in ["kept/deep", "d/kept/deep"] {
            set_writable(&site, node, kept, false);
            fs::write(site.mirror(node).join(kept).join("file"), "x").unwrap();
        }
    }
    site.start();
    for node in nodes {
        let name = site.name(node);
        let name = if name.is_empty() { "local" } else { &name };
        let line = site.expect_log_line(&["some paths failed", name, "kept"]);
        assert!(line.contains("write the directory that it is in there"), "{line}");
        site.expect_status(node, "incomplete", |status| {
            status["state"]["is"] == "incomplete" && status["failing_paths"].as_u64() == Some(2)
        });
    }
    assert_eq!(site.ask(&["status"]).code, Some(1));
    let again = |line: &&String| line.contains("comparing a directory");
    assert_eq!(site.log_lines().iter().find(again), None);
    for node in nodes {
        ["kept", "kept/deep", "d/kept", "d/kept/deep"].iter().for_each(|dir| set_writable(&site, node, dir, true));
    }
    site.expect_identical();
    site.expect_status(Local, "well", |status| status["state"]["is"] == "idle");
}
