//! What the daemon knows from one run to the next: a restart sends what differs, and no more.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Local, Rsyncd, Site, Ssh, plant, wait};

/// A file that nobody but a full comparison would find at the nodes.
const DRIFT: &str = "drift";

/// A site that was mirrored and stopped in order, and whose nodes then got a file too many.
fn stopped(mut site: Site) -> Site {
    for n in 0..30 {
        site.mkdir(format!("{}/deep", n % 5));
        site.write(format!("{}/deep/{n}", n % 5), n.to_string());
    }
    site.start_mirrored();
    assert_eq!(site.stop().code, Some(0));
    drift(&site);
    site.compare_without(|path| path == DRIFT.as_bytes());
    site
}

fn drift(site: &Site) {
    site.live().for_each(|node| plant(&site.mirror(node).join(DRIFT), "of the node"));
}

fn state_file(site: &Site) -> PathBuf {
    let mut files = fs::read_dir(site.beside("state")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|file| file.extension().is_some_and(|end| end == "redb")).expect("a state was kept")
}

/// Starts the daemon for the first time and waits until the state says that every node has everything. One that was saved
/// before the last of them was compared says that it is to be.
#[track_caller]
fn start_saved(site: &mut Site) {
    site.start_with(&["-v"]);
    site.expect_identical();
    site.expect_compared();
    let saved = || {
        let log = site.daemon().log();
        log.rfind("state saved") > log.rfind("reconciled")
    };
    assert!(wait::until(|| saved().then_some(())).is_some(), "{}", site.daemon().log());
}

/// What was done while the daemon was down is mirrored, and nobody compared the whole tree.
#[track_caller]
fn expect_differences_only(site: &Site) {
    site.expect_identical();
    site.settle();
    site.assert_on_nodes(DRIFT, "of the node");
    assert!(!site.daemon().log().contains("reconciled"), "{}", site.daemon().log());
}

#[test]
fn a_restart_after_an_orderly_stop_sends_what_changed_meanwhile_and_no_more() {
    let mut site = stopped(Site::new());
    site.write("seed", "SEED");
    site.remove("0/deep/5");
    site.remove("1");
    site.mkdir("new/deep");
    site.write("new/deep/file", "x");
    site.rename("2/deep/7", "3/7");
    site.rename("4", "5");
    site.chmod("3/deep", 0o700);
    site.remove("3/deep/8");
    site.symlink("3/deep/8", "target");
    site.start();
    expect_differences_only(&site);
}

#[test]
fn a_restart_with_nothing_changed_sends_nothing() {
    let mut site = stopped(Site::new());
    site.start();
    site.expect_log_line(&["compared with the state", "differences: 0"]);
    expect_differences_only(&site);
    site.write("later", "x");
    site.expect_on_nodes("later", "x");
}

#[test]
fn a_rewrite_of_the_same_size_and_time_is_found_by_a_restart() {
    let mut site = stopped(Site::new());
    let time = fs::metadata(site.at("seed")).unwrap().modified().unwrap();
    site.write("seed", "SEED");
    site.touch("seed", time.duration_since(std::time::UNIX_EPOCH).unwrap());
    site.start();
    site.expect_on_nodes("seed", "SEED");
}

#[test]
fn what_a_killed_daemon_had_sent_and_is_gone_when_it_starts_again_is_deleted() {
    let mut site = Site::new();
    site.mkdir("dir");
    start_saved(&mut site);
    site.write("dir/file", "x");
    site.expect_on_nodes("dir/file", "x");
    site.daemon().signal(Signal::KILL);
    site.wait();
    site.remove("dir/file");
    site.start();
    site.expect_gone("dir/file");
    site.expect_identical();
    assert!(!site.daemon().log().contains("reconciled"), "{}", site.daemon().log());
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.start_mirrored();
    for round in 0..12 {
        for n in 0..40 {
            site.mkdir(format!("{}", n % 7));
            site.write(format!("{}/{n}", n % 7), format!("{round} {n}"));
            if n % 3 == 0 {
                site.remove(format!("{}/{n}", n % 7));
            }
        }
        // At another moment of the work each time.
        wait::until(|| (site.daemon().log().len() > round * 40).then_some(()));
        site.daemon().signal(Signal::KILL);
        site.wait();
        site.remove(format!("{}", round % 7));
        site.start();
    }
    site.expect_identical();
}

#[test]
fn a_directory_that_was_away_when_the_daemon_was_killed_and_comes_back_is_on_the_nodes_again() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.config("dir_moves: Replicate");
    let away = site.source().with_file_name("away");
    for path in ["d/sub/file", "d/other", "e/sub/file"] {
        site.mkdir(Path::new(path).parent().unwrap());
        site.write(path, path);
    }
    site.start_mirrored();
    assert_eq!(site.stop().code, Some(0));
    site.start_mirrored();
    // The state of the orderly stop is the last one: the moves are not in it.
    fs::rename(site.at("d"), &away).unwrap();
    site.rename("e", "f");
    site.expect_gone("d");
    site.expect_gone("e");
    site.crash();
    fs::rename(&away, site.at("d")).unwrap();
    site.rename("f", "e");
    site.start();
    site.expect_on_nodes("d/sub/file", "d/sub/file");
    site.expect_identical();
}

#[test]
fn what_a_node_lacked_when_the_daemon_stopped_is_sent_after_the_next_start() {
    let mut site = stopped(Site::on(&[Local, Ssh]));
    site.start();
    site.expect_log("compared with the state");
    site.stop_servers();
    site.write("pending", "x");
    site.remove("seed");
    site.expect_on_node(Local, "pending", "x");
    assert_eq!(site.stop().code, Some(75), "the other node has not got it");
    site.start_servers();
    site.start();
    expect_differences_only(&site);
}

#[test]
fn a_mirror_that_vanished_while_the_daemon_was_down_is_made_again() {
    let mut site = stopped(Site::new());
    for node in site.live() {
        fs::remove_dir_all(site.mirror(node)).unwrap();
    }
    site.start();
    site.expect_identical();
}

/// A reconcile of the running daemon: the source is away for a moment.
fn force_reconcile(site: &Site) {
    let before = site.log_lines().iter().filter(|line| line.contains("reconciled")).count();
    fs::rename(site.source(), site.beside("aside")).unwrap();
    fs::rename(site.beside("aside"), site.source()).unwrap();
    let more = || site.log_lines().iter().filter(|line| line.contains("reconciled")).count() > before;
    assert!(wait::until(|| more().then_some(())).is_some());
}

#[test]
fn a_directory_that_comes_back_after_a_reconcile_without_it_comes_back_to_the_nodes() {
    let mut site = Site::on(&[Local]);
    site.mkdir("d/deep");
    site.write("d/deep/file", "x");
    start_saved(&mut site);
    fs::rename(site.at("d"), site.beside("outside")).unwrap();
    site.expect_log("moved out");
    force_reconcile(&site);
    site.expect_gone("d");
    assert_eq!(site.stop().code, Some(0));
    fs::rename(site.beside("outside"), site.at("d")).unwrap();
    site.start();
    site.expect_identical();
}

#[test]
fn a_directory_that_was_moved_and_changed_much_is_at_its_new_name_after_the_next_start() {
    let mut site = Site::on(&[Local]);
    site.mkdir("a/d");
    site.write("a/d/file", "x");
    site.start_mirrored();
    site.settle();
    site.rename("a/d", "a/e");
    site.expect_log("directory moved");
    // The new name is saved with all that is below `a`, although no node has it.
    site.rename("a", "b");
    site.rename("b", "a");
    site.settle();
    site.stop();
    site.start();
    site.expect_identical();
}

#[test]
fn a_damaged_state_leads_to_a_full_comparison() {
    let mut site = stopped(Site::on(&[Local]));
    let file = state_file(&site);
    let whole = fs::read(&file).unwrap();
    let middle: Vec<usize> = (0..whole.len()).step_by(97).collect();
    let flipped = |whole: &[u8]| {
        let mut bytes = whole.to_vec();
        middle.iter().for_each(|&at| bytes[at] ^= 0x55);
        bytes
    };
    for damaged in [flipped(&whole), whole[..whole.len() / 2].to_vec(), b"something else".to_vec()] {
        fs::write(&file, damaged).unwrap();
        drift(&site);
        site.start();
        site.expect_log("reconciled");
        assert!(!site.mirror(Local).join(DRIFT).exists());
        site.settle();
        site.stop();
    }
}

#[test]
fn a_state_of_other_exclusions_leads_to_a_full_comparison() {
    let mut site = stopped(Site::on(&[Local]));
    site.config("rexcludes: [\"*.tmp\"]");
    site.start();
    site.expect_log("reconciled");
    assert!(!site.mirror(Local).join(DRIFT).exists());
}

#[test]
fn a_source_that_was_made_anew_leads_to_a_full_comparison() {
    let mut site = stopped(Site::on(&[Local]));
    fs::rename(site.source(), site.beside("old")).unwrap();
    fs::create_dir(site.source()).unwrap();
    site.write("other", "x");
    site.start();
    site.expect_log("reconciled");
    site.expect_identical();
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let second = site.run(&[]);
    // Both write to one file here: its words are not looked at.
    assert_eq!(second.code, Some(69));
}

#[test]
fn without_a_state_directory_each_start_compares_everything() {
    let mut site = Site::on(&[Local]);
    site.config("state_dir: \"\"");
    for _ in 0..2 {
        site.start_mirrored();
        site.stop();
        drift(&site);
    }
    assert!(!site.beside("state").exists());
}

#[test]
fn a_state_that_cannot_be_kept_keeps_nobody_from_mirroring() {
    let mut site = Site::on(&[Local]);
    fs::write(site.beside("state"), "in the way").unwrap();
    site.start_mirrored();
    site.expect_log("no state is kept");
}
