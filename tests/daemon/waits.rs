//! Waiting until the nodes have what changed, and the orders about nodes that fail: retry, a pause that lasts, deletions.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Dead, Local, Rsyncd, Site, Ssh, plant, program, wait};

/// The script of docs/operating.md, for this site.
fn deploy_script(site: &Site) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
    let section = page.split_once("## A deploy script").unwrap().1;
    let script = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    script.replace("/srv/www", site.source().to_str().unwrap()).replace("-c www", "-c site")
}

/// Runs the script for a release. Returns its exit code, what it says, and its errors.
fn deploy(site: &Site, release: &str) -> (Option<i32>, String, String) {
    site.mkdir(format!("releases/{release}"));
    (0..20).for_each(|n| site.write(format!("releases/{release}/{n}"), release));
    let script = site.beside("deploy");
    program(&script, &deploy_script(site));
    let bin = site.beside("deploy-bin");
    if fs::create_dir(&bin).is_ok() {
        symlink(env!("CARGO_BIN_EXE_inosync"), bin.join("inosync")).unwrap();
    }
    let search = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(script);
    command.arg(release).env("PATH", search).env("RUNTIME_DIRECTORY", site.beside("run"));
    let output = command.env("CONFIGURATION_DIRECTORY", site.beside("")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_deploy_script_ends_when_the_nodes_have_the_release_and_names_the_one_that_fails() {
    let mut site = Site::on(&[Ssh, Rsyncd]);
    site.start_mirrored();
    for release in ["1", "2", "3"] {
        let (code, said, errors) = deploy(&site, release);
        assert_eq!(code, Some(0), "{said}{errors}");
        assert!(said.contains(&format!("{release} is on all nodes\n")), "{said}");
        for node in [Ssh, Rsyncd] {
            let current = site.mirror(node).join("current");
            assert_eq!(
                fs::read_link(&current).unwrap().to_str(),
                Some(format!("releases/{release}").as_str()),
                "{node}"
            );
            (0..20)
                .for_each(|n| assert_eq!(fs::read_to_string(current.join(n.to_string())).unwrap(), release, "{node}"));
        }
    }
    site.stop();
    let mut site = Site::on(&[Ssh, Rsyncd, Dead]);
    site.start();
    let (code, said, errors) = deploy(&site, "4");
    assert_eq!(code, Some(2), "{said}{errors}");
    assert!(errors.contains(&format!("node {} does not get it by itself: backoff: ", site.name(Dead))), "{errors}");
    site.assert_on_nodes("releases/4/19", "4");
}

#[test]
fn a_wait_says_what_keeps_a_node_from_its_changes() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    assert_eq!(site.ask(&["wait"]).code, Some(0));
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    site.write("file", "x");
    let asked = site.ask(&["wait"]);
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.stderr.contains("node local does not get it by itself: paused"), "{asked:?}");
    assert!(site.mirror(Rsyncd).join("file").exists(), "the other node has it");
    assert_eq!(site.ask(&["wait", &site.name(Rsyncd)]).code, Some(0));
    assert_eq!(site.ask(&["wait", "nobody:"]).code, Some(64));
    let told = site.ask(&["wait", "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["is"], &told[1]["is"]), (&"stuck".into(), &"has".into()), "{told:#}");
    site.config("rspeed: 100");
    assert_eq!(site.ask(&["reload"]).code, Some(0));
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.write("big", vec![b'x'; 5_000_000]);
    let asked = site.ask(&["wait", "--timeout", "1"]);
    assert_eq!(asked.code, Some(75), "{asked:?}");
    assert!(asked.stderr.contains("does not have it yet"), "{asked:?}");
}

#[test]
fn what_changed_while_no_daemon_ran_is_waited_for() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    for round in 0..3 {
        site.stop();
        (0..200).for_each(|n| site.write(format!("file {n}"), format!("{round}")));
        site.start();
        let asked = wait::until(|| Some(site.ask(&["wait"])).filter(|asked| asked.code != Some(3)));
        assert_eq!(asked.unwrap().code, Some(0));
        (0..200).for_each(|n| site.assert_on_nodes(format!("file {n}"), &format!("{round}")));
    }
}

#[test]
fn a_pause_outlives_a_restart_and_a_retry_leaves_it() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    assert_eq!(site.ask(&["retry"]).code, Some(0));
    assert_eq!(site.ask(&["retry", "nobody:"]).code, Some(64));
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    site.stop();
    site.start();
    site.expect_log_line(&["the node is paused since before this start", "local"]);
    site.expect_state(Local, "paused");
    site.write("file", "x");
    let asked = site.ask(&["retry", "local"]);
    assert_eq!(asked.code, Some(64), "{asked:?}");
    assert!(asked.stderr.contains("node local is paused: use inosync resume"), "{asked:?}");
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.expect_on_nodes("file", "x");
    site.stop();
    site.start();
    site.expect_state(Local, "idle");
}

#[test]
fn a_reconcile_that_is_held_may_delete_once_when_somebody_allows_it() {
    let mut site = Site::on(&[Local]);
    site.config("max_delete: 3");
    site.start_mirrored();
    site.expect_state(Local, "idle");
    let asked = site.ask(&["allow-deletes", "local"]);
    assert_eq!(asked.code, Some(64), "{asked:?}");
    assert!(asked.stderr.contains("no reconcile is held by max_delete"), "{asked:?}");
    for (round, patterns) in ["[\"*.a\"]", "[\"*.b\"]"].into_iter().enumerate() {
        (0..10).for_each(|n| plant(&site.mirror(Local).join(format!("extra {n}")), "x"));
        site.config(&format!("rexcludes: {patterns}"));
        assert_eq!(site.ask(&["reload"]).code, Some(0));
        let is_held = |status: &serde_json::Value| status["reconcile_held"].is_string();
        site.expect_status(Local, "held", is_held);
        let asked = site.ask(&["wait"]);
        assert_eq!(asked.code, Some(2), "{round} {asked:?}");
        assert!(asked.stderr.contains("a reconcile is held by max_delete"), "{asked:?}");
        assert_eq!(site.ask(&["allow-deletes", "local"]).code, Some(0));
        let is_gone = || (!site.mirror(Local).join("extra 9").exists()).then_some(());
        assert!(wait::until(is_gone).is_some(), "{round}");
        site.expect_status(Local, "no longer held", |status| status["reconcile_held"].is_null());
    }
}
