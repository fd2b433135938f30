//! SIGHUP: the configuration is read again. What it does not change goes on undisturbed, and no change is lost on the way.

mod anew;
mod included;
mod nodes;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Dead, Local, Node, Rsyncd, Site, Ssh, plant, program, wait};

fn mode(site: &Site, node: Node, path: &str) -> u32 {
    site.mirror(node).join(path).metadata().map_or(0, |meta| meta.permissions().mode() & 0o777)
}

/// The file gets this mode at the node.
#[track_caller]
fn expect_mode(site: &Site, node: Node, path: &str, expected: u32) {
    if wait::until(|| (mode(site, node, path) == expected).then_some(())).is_none() {
        site.fail(&format!("{path} on {node} does not get mode {expected:o}, it has {:o}", mode(site, node, path)));
    }
}

// === what is in the file ===

#[test]
fn a_wrong_configuration_is_refused_in_one_line_and_the_one_before_stays() {
    let mut site = Site::new();
    site.start_mirrored();
    for (key, fragment) in [("rspeed: fast", "`rspeed` must be"), ("max_speed: 7", "unknown key `max_speed`")] {
        let config = fs::read_to_string(site.config_file()).unwrap();
        fs::write(site.beside("site.ron"), config.replace("rnodes", &format!("{key},\n    rnodes"))).unwrap();
        let line = site.reload_file();
        assert!(line.contains("ERRO reload refused: ") && line.contains(fragment), "{line}");
        site.write("file", key);
        site.expect_identical();
    }
    fs::remove_file(site.beside("site.ron")).unwrap();
    assert!(site.reload_file().contains("cannot read the configuration"));
    site.write("file", "x");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn an_rsync_that_cannot_be_run_is_refused_too() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let no_rsync = site.beside("no rsync");
    program(&no_rsync, "#!/bin/sh\nexit 3\n");
    site.config(&format!("rsync: {no_rsync:?}"));
    assert!(site.reload().contains("reload refused: rsync cannot be run"));
    site.write("file", "x");
    site.expect_identical();
}

#[test]
fn a_configuration_that_says_the_same_disturbs_nothing() {
    let mut site = Site::new();
    site.start_warm();
    let before = site.live().map(|node| site.waiting(node)).collect::<Vec<_>>();
    assert!(site.reload().contains("reloaded: nothing changed"));
    site.config("stop_timeout: 7");
    assert!(site.reload().contains("reloaded: changed stop_timeout"));
    assert_eq!(site.live().map(|node| site.waiting(node)).collect::<Vec<_>>(), before);
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

// === ways ===

#[test]
fn another_parameter_takes_effect_at_once_and_for_what_is_there() {
    let mut site = Site::new();
    site.write("file", "x");
    site.chmod("file", 0o644);
    site.start_warm();
    site.config(r#"extra: "--chmod=F600""#);
    assert!(site.reload().contains("reloaded: changed extra"));
    for node in [Local, Ssh, Rsyncd] {
        expect_mode(&site, node, "file", 0o600);
    }
    site.write("later", "x");
    site.chmod("later", 0o644);
    for node in [Local, Ssh, Rsyncd] {
        expect_mode(&site, node, "later", 0o600);
    }
    site.config(r#"extra: "-a""#);
    site.reload();
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn standbys_can_be_turned_off_and_on_and_keep_within_their_number() {
    let mut site = Site::new();
    site.start_warm();
    site.config("standby: false");
    site.reload();
    assert!(wait::until(|| site.own_rsyncs().is_empty().then_some(())).is_some(), "{:?}", site.own_rsyncs());
    site.write("file", "off");
    site.expect_identical();
    site.config("standby: true");
    site.config("max_standbys: 2");
    site.reload();
    site.write("file", "on");
    site.expect_identical();
    let two = wait::until(|| (site.own_rsyncs().len() == 2).then_some(()));
    assert!(two.is_some(), "{:?}", site.own_rsyncs());
    site.config("max_standbys: 20");
    site.reload();
    site.write("file", "more");
    site.expect_identical();
    for node in site.live() {
        site.expect_waiting(node);
    }
}

#[test]
fn the_shared_connection_can_be_turned_off_and_on() {
    let mut site = Site::on(&[Local, Ssh]);
    site.serve(&[Local]);
    site.start_warm();
    let masters = |site: &Site| {
        let line = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_master = |line: Vec<u8>| String::from_utf8_lossy(&line).contains("ControlMaster=yes");
        site.daemon().running("ssh").iter().map(line).filter(|line| is_master(line.clone())).count()
    };
    for (ssh_master, expected) in [(true, 1), (false, 0), (true, 1)] {
        site.serve(&[Local, Ssh]);
        site.config(&format!("ssh_master: {ssh_master}"));
        site.reload();
        site.write("file", format!("{ssh_master}"));
        site.expect_identical();
        let as_expected = wait::until(|| (masters(&site) == expected).then_some(()));
        assert!(as_expected.is_some(), "{ssh_master}: {}", masters(&site));
    }
}

#[test]
fn a_reload_reaches_a_node_that_could_not_be_reached() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config(r#"extra: "--rsync-path=/no/such/rsync""#);
    site.serve(&[Ssh]);
    site.start();
    site.expect_log_line(&["node failing", "has no rsync"]);
    site.write("file", "x");
    site.config(r#"extra: "-a""#);
    let start = Instant::now();
    site.reload();
    site.expect_identical();
    assert!(start.elapsed() < Duration::from_secs(30), "the backoff before is waited for: {:?}", start.elapsed());
}

/// A daemon in the middle of a transfer that would take minutes.
fn in_a_long_transfer(stop_timeout: u32) -> Site {
    let mut site = Site::on(&[Local]);
    site.config("rspeed: 100");
    site.config(&format!("stop_timeout: {stop_timeout}"));
    site.start_mirrored();
    site.write("big", vec![b'x'; 50_000_000]);
    let mirror = site.mirror(Local);
    let arriving = || fs::read_dir(&mirror).ok()?.flatten().any(|e| e.file_name() != "seed").then_some(());
    assert!(wait::until(arriving).is_some(), "nothing is being sent");
    site
}

#[test]
fn a_transfer_that_takes_longer_than_stop_timeout_is_sent_the_new_way() {
    let mut site = in_a_long_transfer(1);
    site.config("rspeed: 0");
    assert!(site.reload().contains("reloaded: changed rspeed"));
    site.write("file", "x");
    site.expect_identical();
    assert!(site.troubles().is_empty(), "a planned end is no trouble: {:?}", site.troubles());
}

#[test]
fn a_transfer_goes_on_during_a_reload_that_does_not_concern_it() {
    let mut site = in_a_long_transfer(1);
    let sending = site.own_rsyncs();
    site.serve(&[Local, Dead]);
    site.reload();
    site.expect_log_line(&["failing", &site.name(Dead)]);
    site.serve(&[Local]);
    site.reload();
    site.expect_log_line(&["node removed, with"]);
    site.settle();
    let left: Vec<u32> = site.own_rsyncs();
    assert!(sending.iter().any(|pid| left.contains(pid)), "{sending:?} {left:?}");
}

#[test]
fn a_stop_during_a_reload_is_a_stop() {
    let mut site = in_a_long_transfer(2);
    site.config("rspeed: 0");
    site.config("rexcludes: [\"*.tmp\"]");
    site.reload();
    let ended = site.stop();
    assert!(ended.left.is_empty() && matches!(ended.code, Some(0 | 75)), "{ended:?}");
}

// === exclusions ===

#[test]
fn other_exclusions_are_compared_and_watched() {
    let mut site = Site::new();
    site.config(r#"rexcludes: ["hidden/", "*.tmp"]"#);
    for dir in ["hidden/deep", "shown/deep"] {
        site.mkdir(dir);
        site.write(format!("{dir}/file"), "x");
    }
    site.write("x.tmp", "x");
    site.compare_without(|path| path.starts_with(b"hidden") || path.ends_with(b"x.tmp"));
    site.start_mirrored();
    site.config(r#"rexcludes: ["shown/"]"#);
    assert!(site.reload().contains("reloaded: changed rexcludes"));
    site.expect_on_nodes("hidden/deep/file", "x");
    site.expect_on_nodes("x.tmp", "x");
    // What is not excluded any more is watched, what is excluded now is not.
    site.write("hidden/deep/file", "changed");
    site.write("x.tmp", "changed");
    site.write("shown/deep/file", "changed");
    site.remove("shown/deep");
    site.expect_on_nodes("hidden/deep/file", "changed");
    site.expect_on_nodes("x.tmp", "changed");
    site.settle();
    site.assert_on_nodes("shown/deep/file", "x");
    // The root, `hidden` and what is in it.
    expect_watches(&site, 3 + 1);
    site.mkdir("shown/a/b/c");
    site.settle();
    expect_watches(&site, 3 + 1);
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

/// The daemon comes to have so many watches. Where a state is kept, the one by which moments are told is away for a moment.
#[track_caller]
fn expect_watches(site: &Site, count: usize) {
    let found = wait::until(|| (site.kernel_watches() == count).then_some(()));
    assert!(found.is_some(), "{} watches instead of {count}", site.kernel_watches());
}

#[test]
fn a_newly_excluded_directory_loses_its_watches_and_a_newly_included_one_gets_them() {
    let mut site = Site::on(&[Local]);
    site.config("state_dir: \"\"");
    (0..20).for_each(|n| site.mkdir(format!("many/{n}")));
    site.start_mirrored();
    assert_eq!(site.kernel_watches(), 22);
    for (rexcludes, expected) in [("[\"many/\"]", 1), ("[\"/many/1*\"]", 11), ("[]", 22)] {
        site.config(&format!("rexcludes: {rexcludes}"));
        site.reload();
        assert_eq!(site.kernel_watches(), expected, "{rexcludes}");
    }
}

// === many ===

#[test]
fn many_reloads_in_a_row_under_load_lose_nothing() {
    let mut site = Site::new();
    (0..20).for_each(|n| site.mkdir(format!("dir {n}/deep")));
    site.start_mirrored();
    let root = site.source();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = done.clone();
    let writer = thread::spawn(move || {
        for n in 0.. {
            if ended.load(std::sync::atomic::Ordering::Relaxed) {
                return n;
            }
            let dir = root.join(format!("dir {}/deep", n % 20));
            fs::write(dir.join(format!("{}", n % 97)), n.to_string()).unwrap();
            let _ = fs::rename(dir.join(format!("{}", n % 13)), dir.join("renamed"));
            let _ = fs::remove_file(dir.join(format!("{}", n % 31)));
            thread::sleep(Duration::from_millis(1));
        }
        0
    });
    for round in 0..20 {
        site.serve(match round % 4 {
            0 => &[Local, Ssh],
            1 => &[Local, Ssh, Rsyncd],
            2 => &[Rsyncd, Local],
            _ => &[Local],
        });
        site.config(&format!("rspeed: {}", 100_000 + round % 3));
        site.config(if round % 5 < 2 { "rexcludes: [\"*.tmp\"]" } else { "rexcludes: [\"1*/\"]" });
        site.config_file();
        if round % 2 == 0 {
            site.reload();
        } else {
            site.daemon().signal(Signal::HUP);
        }
    }
    site.serve(&[Local, Ssh, Rsyncd]);
    site.config("rexcludes: []");
    site.reload();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.join().unwrap() > 0);
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

// === resync_every ===

#[test]
fn a_drift_at_a_node_is_repaired_by_and_by() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.config("resync_every: 60");
    site.write("file", "right");
    site.start_mirrored();
    for node in site.live() {
        plant(&site.mirror(node).join("file"), "another size");
        plant(&site.mirror(node).join("extra/file"), "too many");
    }
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}
