//! An rsync waits at each node, connected: changes go by it, nothing depends on it, and it is never fed over a source
//! that is not the one it sits in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Local, Node, Site, Ssh, wait};

/// A change goes by what waits at each node, and another one waits afterwards.
#[track_caller]
fn expect_changes_go_by_standbys(site: &Site) {
    for round in ["first", "second"] {
        site.expect_only_waiting();
        let before: Vec<(Node, BTreeSet<u32>)> = site.live().map(|node| (node, site.waiting(node))).collect();
        site.write("file", round);
        site.expect_on_nodes("file", round);
        for (node, fed) in before {
            site.expect_fed(node, &fed);
        }
    }
    site.expect_identical();
}

#[test]
fn a_change_goes_by_the_rsync_that_waits_at_each_node() {
    let mut site = Site::new();
    site.start_warm();
    expect_changes_go_by_standbys(&site);
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn the_attributes_of_the_root_go_by_a_standby_too() {
    let mut site = Site::new();
    site.start_warm();
    for mode in [0o700, 0o711, 0o750, 0o755] {
        site.chmod("", mode);
        site.expect_identical();
    }
}

#[test]
fn standbys_work_with_the_options_of_the_user() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config(&format!("extra: {:?}", format!("-a -vv {}", site.rsh())));
    site.config(&format!("logfile: {:?}", site.beside("rsync.log")));
    site.start_warm();
    expect_changes_go_by_standbys(&site);
    assert!(fs::read_to_string(site.beside("rsync.log")).unwrap().contains("file"));
}

#[test]
fn a_mirror_that_is_made_with_the_directories_above_it_has_a_standby() {
    let mut site = Site::new();
    site.mirror_at("deep/er/mirror");
    site.start_warm();
    expect_changes_go_by_standbys(&site);
}

#[test]
fn without_standbys_no_rsync_runs_while_nothing_changes() {
    let mut site = Site::new();
    site.config("standby: false");
    site.start_with(&["-v"]);
    site.expect_identical();
    site.write("file", "x");
    site.expect_identical();
    let ended = wait::until(|| site.own_rsyncs().is_empty().then_some(()));
    assert!(ended.is_some(), "{:?}", site.own_rsyncs());
    site.live().for_each(|node| assert!(site.waiting(node).is_empty(), "{node}"));
}

#[test]
fn all_nodes_together_have_no_more_standbys_than_allowed() {
    let mut site = Site::new();
    site.config("max_standbys: 1");
    site.start_with(&["-v"]);
    site.expect_identical();
    for round in 0..3 {
        site.write("file", format!("round {round}"));
        site.expect_on_nodes("file", &format!("round {round}"));
        let alone = wait::until(|| {
            let waiting: usize = site.live().map(|node| site.waiting(node).len()).sum();
            (waiting == 1 && site.own_rsyncs().len() == 1).then_some(())
        });
        assert!(alone.is_some(), "{:?}", site.own_rsyncs());
    }
}

// === the source is another ===

/// Nothing may be deleted once the source is replaced, and what waited in it leaves it.
fn expect_replacement_deletes_nothing(replace: impl FnOnce(&Site)) {
    let mut site = Site::new();
    site.write("precious", "x");
    site.start_warm();
    replace(&site);
    let left = wait::until(|| site.own_rsyncs().is_empty().then_some(()));
    assert!(left.is_some(), "still in the old source: {:?}", site.own_rsyncs());
    site.expect_log("the source was");
    site.assert_on_nodes("precious", "x");
    let ended = site.stop();
    site.assert_on_nodes("precious", "x");
    assert!(ended.left.is_empty(), "{:?}", ended.left);
}

/// All this happens in one moment, as far as the daemon can see.
fn at_once(site: &Site, replace: impl FnOnce()) {
    site.daemon().signal(Signal::STOP);
    replace();
    site.daemon().signal(Signal::CONT);
}

#[test]
fn a_source_that_is_moved_away_and_replaced_is_left_by_standbys_and_deletes_nothing() {
    expect_replacement_deletes_nothing(|site| {
        fs::rename(site.source(), site.beside("moved away")).unwrap();
        fs::create_dir(site.source()).unwrap();
    });
}

#[test]
fn a_source_that_is_deleted_and_made_again_is_left_by_standbys_and_deletes_nothing() {
    expect_replacement_deletes_nothing(|site| {
        at_once(site, || {
            fs::remove_dir_all(site.source()).unwrap();
            fs::create_dir(site.source()).unwrap();
            site.write("new", "x");
        });
    });
}

#[test]
fn a_source_that_is_moved_away_and_then_deleted_deletes_nothing() {
    expect_replacement_deletes_nothing(|site| {
        at_once(site, || {
            fs::rename(site.source(), site.beside("moved away")).unwrap();
            fs::create_dir(site.source()).unwrap();
            fs::remove_dir_all(site.beside("moved away")).unwrap();
        });
    });
}

#[test]
fn a_source_that_comes_back_is_mirrored_by_standbys_again() {
    let mut site = Site::new();
    site.start_warm();
    fs::rename(site.source(), site.beside("moved away")).unwrap();
    assert!(wait::until(|| site.own_rsyncs().is_empty().then_some(())).is_some(), "{:?}", site.own_rsyncs());
    fs::rename(site.beside("moved away"), site.source()).unwrap();
    site.write("file", "x");
    site.expect_identical();
    // More than one may: a change may come before the next one is connected.
    site.expect_only_waiting();
}

/// Runs a program where the daemon lives, if that is a namespace of its own.
fn in_its_namespace(site: &Site, program: &[&str]) {
    let pid = site.daemon().id().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--user", "--mount", "--preserve-credentials", "--target", &pid]).args(program);
    // What is looked at in this moment cannot be unmounted.
    let done = wait::until(|| command.status().unwrap().success().then_some(()));
    assert!(done.is_some(), "{command:?}");
}

#[test]
fn a_source_that_is_covered_by_a_mount_is_left_by_standbys_and_deletes_nothing() {
    let launcher = ["unshare", "--user", "--map-root-user", "--mount"];
    let attempt =
        Command::new(launcher[0]).args(&launcher[1..]).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !attempt.as_ref().is_ok_and(|output| output.status.success()) {
        println!("not tested, no namespace here: {attempt:?}");
        return;
    }
    let mut site = Site::on(&[Local]);
    site.write("precious", "x");
    site.start_by(&launcher, &["-v"]);
    site.expect_identical();
    site.expect_only_waiting();
    let source = site.source().display().to_string();
    in_its_namespace(&site, &["mount", "-t", "tmpfs", "none", &source]);
    // The watches are below the mount, where the test is.
    site.write("file", "x");
    site.remove("precious");
    site.expect_log("nothing is sent");
    let left = wait::until(|| site.own_rsyncs().is_empty().then_some(()));
    assert!(left.is_some(), "they keep it busy: {:?}", site.own_rsyncs());
    site.assert_on_nodes("precious", "x");
    site.assert_absent("file");
    in_its_namespace(&site, &["umount", &source]);
    site.expect_identical();
    site.expect_waiting(Local);
}

// === order ===

/// Runs that belong together keep their order although each of them goes by a standby.
#[test]
fn a_file_keeps_its_old_name_on_the_node_while_it_cannot_have_its_new_one() {
    let mut site = Site::on(&[Local]);
    site.mkdir("dir");
    site.write("old", "x");
    site.start_warm();
    // Both kinds of runs have a standby now.
    site.write("other", "x");
    site.expect_on_nodes("other", "x");
    site.remove("other");
    site.expect_gone("other");
    let Some(locked) = Locked::new(site.mirror(Local).join("dir")) else {
        println!("not tested, nothing here can keep root from writing");
        return;
    };
    site.rename("old", "dir/new");
    site.expect_log_line(&["some paths failed"]);
    site.settle();
    site.assert_on_nodes("old", "x");
    drop(locked);
    site.expect_identical();
}

/// A directory that nobody may write in, until this is dropped.
struct Locked(PathBuf);

impl Locked {
    fn new(dir: PathBuf) -> Option<Locked> {
        Self::set(&dir, "+i").then_some(Locked(dir))
    }

    /// Even root is kept out by this attribute, which some file systems have; others are by the mode.
    fn set(dir: &Path, immutable: &str) -> bool {
        if rustix::process::geteuid().is_root() {
            let output = Command::new("chattr").arg(immutable).arg(dir).output();
            return output.is_ok_and(|output| output.status.success());
        }
        let mode = if immutable == "+i" { 0o555 } else { 0o755 };
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).is_ok()
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        Self::set(&self.0, "-i");
    }
}
