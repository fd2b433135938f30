//! Standbys that are of no use: killed, frozen, refused by a server, or left over when the daemon ends.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{self, Dead, Local, Rsyncd, Site, Ssh, descendants, signal, wait};

/// Soon enough that no timeout has had to pass.
const SOON: Duration = Duration::from_secs(10);

// === killed and frozen ===

#[test]
fn a_standby_that_is_killed_costs_no_change_and_is_replaced() {
    let mut site = Site::new();
    site.start_warm();
    for round in 0..3 {
        site.live().for_each(|node| site.kill_waiting(node));
        let content = format!("round {round}");
        site.write("file", &content);
        site.live().for_each(|node| site.expect_within(SOON, node, "file", &content));
        site.live().for_each(|node| _ = site.expect_waiting(node));
        // By that one: a node has no standby for long when three in a row were fed before their death was noticed.
        site.write("file", "between");
        site.live().for_each(|node| site.expect_within(SOON, node, "file", "between"));
        site.live().for_each(|node| _ = site.expect_waiting(node));
    }
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_standby_whose_far_side_is_killed_costs_no_change_and_is_replaced() {
    let mut site = Site::new();
    site.start_warm();
    for node in [Local, Ssh, Rsyncd] {
        site.far_side(node).into_iter().for_each(|pid| signal(pid, Signal::KILL));
        site.write("file", node.to_string());
        site.expect_within(SOON, node, "file", &node.to_string());
        site.live().for_each(|node| _ = site.expect_waiting(node));
    }
}

#[test]
fn a_shared_connection_that_breaks_costs_no_change_and_is_made_again() {
    let mut site = Site::on(&[Ssh]);
    site.start_warm();
    for round in ["first", "second"] {
        let own = site.daemon().id();
        let masters = site.daemon().running("ssh").into_iter().filter(|&pid| descendants(own).contains(&pid));
        masters.for_each(|pid| signal(pid, Signal::KILL));
        site.write("file", round);
        site.expect_within(SOON, Ssh, "file", round);
        site.expect_waiting(Ssh);
    }
}

#[test]
fn standbys_that_always_die_are_not_started_again_and_again() {
    let mut site = Site::on(&[Local]);
    let starts = counted_rsync(&mut site);
    site.start_warm();
    // Two, if one was missing before.
    let kept = site.waiting(Local).len();
    let before = starts();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        site.kill_waiting(Local);
        std::thread::yield_now();
    }
    assert!(starts() - before <= 6 * kept, "{} starts of {kept}", starts() - before);
    site.write("file", "x");
    site.expect_within(SOON, Local, "file", "x");
    site.expect_waiting(Local);
}

/// A change arrives at every node although these processes are frozen.
fn expect_change_despite_frozen(site: &Site, frozen: &[u32]) {
    frozen.iter().for_each(|&pid| signal(pid, Signal::STOP));
    site.write("file", "x");
    site.live().for_each(|node| site.expect_within(Duration::from_secs(40), node, "file", "x"));
    frozen.iter().for_each(|&pid| signal(pid, Signal::CONT));
    site.expect_identical();
    site.live().for_each(|node| _ = site.expect_waiting(node));
}

#[test]
fn a_change_arrives_although_standbys_are_frozen_at_this_end_or_at_the_other() {
    let mut site = Site::new();
    site.start_warm();
    let ends = [site.waiting(Local).into_iter().collect(), site.far_side(Ssh), site.far_side(Rsyncd)];
    assert!(ends.iter().all(|pids| !pids.is_empty()), "{ends:?}");
    expect_change_despite_frozen(&site, &ends.concat());
}

#[test]
fn a_change_arrives_although_the_shared_connection_is_frozen() {
    let mut site = Site::on(&[Ssh]);
    site.start_warm();
    let own = site.daemon().id();
    let ssh: Vec<u32> =
        site.daemon().running("ssh").into_iter().filter(|&pid| descendants(own).contains(&pid)).collect();
    expect_change_despite_frozen(&site, &ssh);
}

// === servers with limits ===

#[test]
fn an_rsync_daemon_with_a_short_timeout_comes_to_keep_a_standby() {
    let mut site = Site::on(&[Rsyncd]);
    site.module_option("timeout = 2");
    let starts = counted_rsync(&mut site);
    site.start_with(&["-v"]);
    site.expect_identical();
    let before = starts();
    // Long enough for the server to end it, if it waited in silence.
    let stays = wait::until(|| {
        let one = site.waiting(Rsyncd).first().copied()?;
        wait::until_within(Duration::from_secs(4), || (!site.waiting(Rsyncd).contains(&one)).then_some(()))
            .is_none()
            .then_some(())
    });
    assert!(stays.is_some(), "none stays");
    assert!(starts() - before <= 6, "{} starts", starts() - before);
    site.write("file", "x");
    site.expect_within(SOON, Rsyncd, "file", "x");
}

#[test]
fn an_rsync_daemon_with_one_connection_gets_everything() {
    let mut site = Site::on(&[Rsyncd]);
    site.module_option(&format!("max connections = 1\nlock file = {}", site.beside("lock").display()));
    site.mkdir("dir");
    site.start_with(&["-v"]);
    site.expect_identical();
    site.write("file", "x");
    site.expect_identical();
    site.remove("dir");
    site.rename("file", "other");
    site.expect_identical();
}

#[test]
fn a_node_that_is_down_costs_nothing_until_it_is_back() {
    let mut site = Site::on(&[Rsyncd]);
    let starts = counted_rsync(&mut site);
    site.start_warm();
    site.stop_servers();
    // It gives up after a few tries, which take some two seconds.
    let rests = wait::until(|| {
        let before = starts();
        let started = wait::until_within(Duration::from_secs(4), || (starts() > before).then_some(()));
        started.is_none().then_some(())
    });
    assert!(rests.is_some(), "{} starts", starts());
    assert!(starts() <= 12, "{} starts", starts());
    site.write("file", "x");
    site.start_servers();
    site.expect_identical();
    site.expect_waiting(Rsyncd);
}

/// An rsync that counts its starts, as the one that the daemon uses. Returns how to ask for them.
fn counted_rsync(site: &mut Site) -> impl Fn() -> usize + use<> {
    let (program, starts) = (site.beside("counted-rsync"), site.beside("starts"));
    let script = format!("#!/bin/sh\nprintf x >> {}\nexec /usr/bin/rsync \"$@\"\n", starts.display());
    support::program(&program, &script);
    site.config(&format!("rsync: {program:?}"));
    move || fs::read(&starts).map_or(0, |bytes| bytes.len())
}

// === the end ===

fn private_directories(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.beside("run")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("inosync-ssh-")).collect()
}

#[test]
fn a_stop_leaves_no_process_and_no_private_directory() {
    let mut site = Site::new();
    for threads in [0, 2] {
        site.config(&format!("node_threads: {threads}"));
        site.start_with(&["-v"]);
        site.live().for_each(|node| _ = site.expect_waiting(node));
        assert_eq!(private_directories(&site).len(), 1, "the test looks in the wrong place");
        let ended = site.stop();
        assert_eq!((ended.code, ended.left), (Some(0), Vec::new()), "{}", ended.log);
        assert_eq!(private_directories(&site), Vec::<String>::new(), "{threads} threads");
    }
}

#[test]
fn a_killed_daemon_leaves_no_process_and_changes_nothing() {
    let mut site = Site::new();
    site.start_warm();
    site.write("file", "x");
    site.expect_identical();
    site.daemon().signal(Signal::KILL);
    let ended = site.wait();
    assert_eq!(ended.left, Vec::<u32>::new());
    site.expect_identical();
    let served = wait::until(|| [Ssh, Rsyncd].iter().all(|&node| site.far_side(node).is_empty()).then_some(()));
    assert!(served.is_some(), "the servers still serve it");
    // The next one clears up behind it. It may find something to send before anything waits, and then keep more than one.
    site.start_with(&["-v"]);
    site.live().for_each(|node| _ = site.expect_waiting(node));
    site.stop();
    assert_eq!(private_directories(&site), Vec::<String>::new());
}

#[test]
fn a_node_that_is_down_does_not_hold_up_the_standbys_of_the_others() {
    let mut site = Site::on(&[Local, Dead]);
    site.start_with(&["-v"]);
    site.expect_identical();
    site.expect_waiting(Local);
    let before = site.waiting(Local);
    site.write("file", "x");
    site.expect_within(SOON, Local, "file", "x");
    site.expect_fed(Local, &before);
}
