//! Each way for a node to fail has words, a cure and an end of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Local, Node, Served, Site, Ssh, program, wait};

/// A small file system at a directory, until the end of the test.
pub struct Mount(PathBuf);

impl Mount {
    /// `None`, said in the output, where this machine allows no mounts.
    pub fn new(at: &Path, options: &str) -> Option<Mount> {
        fs::create_dir_all(at).unwrap();
        let mounted = Mount::run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], at);
        if !mounted {
            println!("not tested: no file system can be mounted here");
        }
        mounted.then(|| Mount(at.to_owned()))
    }

    /// Takes a while if it is to be read-only and something in it is open for writing, as what a try has begun.
    pub fn remount(&self, options: &str) {
        let done = || Mount::run("mount", &["-o", &format!("remount,{options}")], &self.0).then_some(());
        assert!(wait::until(done).is_some(), "{options}");
    }

    fn run(program: &str, args: &[&str], at: &Path) -> bool {
        Command::new(program).args(args).arg(at).status().unwrap().success()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whatever still works in it keeps it until it ends.
        Mount::run("umount", &["-l"], &self.0);
    }
}

/// The lines that say that a node fails.
fn failing(site: &Site) -> Vec<String> {
    site.log_lines().into_iter().filter(|line| line.contains("node failing")).collect()
}

#[test]
fn a_local_node_that_is_full_takes_everything_when_there_is_room() {
    fill_and_make_room(Local);
}

#[test]
fn an_ssh_node_that_is_full_takes_everything_when_there_is_room() {
    fill_and_make_room(Ssh);
}

/// The node is full for a while: that is one change of its state, however rsync's runs end meanwhile.
fn fill_and_make_room(node: Node) {
    let mut site = Site::on(&[node]);
    let Some(mount) = Mount::new(&site.mirror(node), "size=1m") else { return };
    site.start_mirrored();
    let filler = site.mirror(node).join("filler");
    // All that there is room for.
    let _ = fs::write(&filler, vec![b'x'; 3_000_000]);
    site.write("first", "x".repeat(5000));
    site.expect_log_line(&["node failing", "the node is full", "No space left on device", "make room"]);
    site.write("small", "x");
    site.expect_status(node, "several tries", |status| status["totals"]["failures"].as_u64() >= Some(4));
    mount.remount("size=8m");
    fs::remove_file(&filler).unwrap();
    site.expect_identical();
    site.expect_log("node recovered");
    assert_eq!(failing(&site).len(), 1, "{:?}", site.troubles());
}

#[test]
fn a_node_that_is_read_only_is_one_failure_and_not_one_of_each_path() {
    let mut site = Site::on(&[Local]);
    let Some(mount) = Mount::new(&site.mirror(Local), "size=8m") else { return };
    site.mkdir("dir");
    site.write("dir/old", "x");
    site.start_mirrored();
    mount.remount("ro");
    site.write("a", "x");
    site.write("dir/b", "x");
    site.mkdir("new/deep");
    site.remove("dir/old");
    site.expect_log_line(&["node failing", "the node is read-only", "Read-only file system", "remount it writable"]);
    site.write("c", "x");
    mount.remount("rw");
    site.expect_identical();
    site.expect_log("node recovered");
    let troubles = site.troubles();
    assert_eq!(failing(&site).len(), 1, "{troubles:?}");
    assert!(!troubles.iter().any(|line| line.contains("some paths failed")), "{troubles:?}");
}

#[test]
fn a_read_only_part_of_a_node_does_not_hold_up_the_rest() {
    let mut site = Site::on(&[Local]);
    site.mkdir("part");
    site.write("part/file", "1");
    site.start_mirrored();
    let Some(mount) = Mount::new(&site.mirror(Local).join("part"), "size=1m") else { return };
    mount.remount("ro");
    site.write("part/file", "2");
    site.write("beside", "1");
    site.expect_on_nodes("beside", "1");
    for round in 2..6 {
        site.write("beside", round.to_string());
        site.expect_on_nodes("beside", &round.to_string());
    }
    mount.remount("rw");
    site.expect_on_nodes("part/file", "2");
}

#[test]
fn a_node_that_took_a_part_while_it_was_full_is_a_failure_when_it_is_read_only() {
    let mut site = Site::on(&[Local]);
    let Some(mount) = Mount::new(&site.mirror(Local), "nr_inodes=6") else { return };
    site.start_mirrored();
    // All go together.
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    (0..9).for_each(|number| site.write(format!("f{number}"), "x"));
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.expect_state(Local, "incomplete");
    mount.remount("ro");
    site.write("seed", "other");
    site.expect_log_line(&["node failing", "the node is read-only"]);
    site.expect_state(Local, "backoff");
}

#[test]
fn a_path_that_the_node_refuses_does_not_hold_up_the_others() {
    let mut site = Site::on(&[Local]);
    site.write("stuck", "1");
    site.start_mirrored();
    let stuck = site.mirror(Local).join("stuck");
    if !Mount::run("chattr", &["+i"], &stuck) {
        return println!("not tested: no file can be made immutable here");
    }
    for round in 0..4 {
        site.write("stuck", format!("new {round}"));
        site.write("other", format!("{round}"));
        site.expect_on_nodes("other", &round.to_string());
    }
    site.expect_log_line(&["some paths failed", "stuck", "Operation not permitted"]);
    assert!(Mount::run("chattr", &["-i"], &stuck));
    site.expect_identical();
    assert_eq!(failing(&site), [""; 0]);
}

/// A site whose ssh node runs this as its rsync.
fn with_rsync(path: &Path) -> Site {
    let mut site = Site::on(&[Ssh]);
    site.config(&format!("extra: \"--rsync-path={}\"", path.display()));
    site
}

#[test]
fn a_node_without_rsync_is_told_from_one_that_is_down() {
    let mut site = with_rsync(Path::new("/nonexistent/rsync"));
    site.start();
    site.expect_log_line(&["ERRO", "node failing", "the node has no rsync", "install rsync", "--rsync-path"]);
    assert_eq!(failing(&site).len(), 1);
}

#[test]
fn a_node_of_another_protocol_is_told_from_a_shell_that_prints_something() {
    for (prints, words) in [("\\023\\000\\000\\000", "do not understand each other"), ("Welcome", "login shell prints")]
    {
        let site = Site::on(&[Ssh]);
        let stub = site.beside("stub");
        program(&stub, &format!("#!/bin/sh\nprintf '{prints}'\nexec sleep 1\n"));
        let mut site = site;
        site.config(&format!("extra: \"--rsync-path={}\"", stub.display()));
        site.start();
        site.expect_log_line(&["ERRO", "node failing", words]);
    }
}

#[test]
fn a_node_that_refuses_the_key_takes_everything_when_it_accepts_it() {
    let mut site = Site::on(&[Ssh]);
    let keys = site.beside("authorized_keys");
    let accepted = fs::read(&keys).unwrap();
    fs::write(&keys, "").unwrap();
    site.start();
    site.expect_log_line(&["ERRO", "node failing", "the node refuses the login", "Permission denied", "ssh key"]);
    site.write("meanwhile", "x");
    fs::write(&keys, accepted).unwrap();
    site.expect_identical();
    site.expect_log("node recovered");
    assert_eq!(failing(&site).len(), 1);
}

#[test]
fn a_mirror_of_which_the_file_system_has_failed_is_named_and_served_again_when_it_is_mounted_anew() {
    let mut site = Site::on(&[Local]);
    let mirror = site.mirror(Local);
    let below = mirror.with_file_name("below");
    fs::create_dir_all(&below).unwrap();
    fs::create_dir_all(&mirror).unwrap();
    let Some(mut served) = Served::new(&below, &mirror) else { return };
    site.start_mirrored();
    served.server.kill().unwrap();
    site.write("meanwhile", "x");
    let line = ["node failing", "a place on this machine cannot be reached", mirror.to_str().unwrap(), "endpoint"];
    site.expect_log_line(&line);
    assert!(!site.daemon().log().lines().any(|line| line.contains("rsync cannot be started")));
    drop(served);
    let _served = Served::new(&below, &mirror).unwrap();
    site.expect_on_nodes("meanwhile", "x");
    site.expect_identical();
    site.stop();
}
