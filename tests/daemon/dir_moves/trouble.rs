//! Moves of directories while something goes wrong, or where the default is kept.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::{expect_done, plant, site};
use crate::support::{Local, Rsyncd, Site, Ssh, signal, wait};

/// Directories that are moved and deleted, each after another while.
const ROUNDS: u64 = 12;

#[test]
fn directories_moved_while_nodes_are_down_are_at_their_new_names_when_these_are_back() {
    let mut site = site();
    ["a", "b", "c", "gone"].iter().for_each(|dir| plant(&site, dir));
    site.mkdir("into");
    site.start_mirrored();
    site.stop_servers();
    site.rename("a", "into/a");
    site.write("into/a/deep/later", "x");
    site.rename("b", "third");
    site.rename("c", "b");
    site.rename("third", "c");
    fs::rename(site.at("gone"), site.beside("outside")).unwrap();
    site.expect_on_node(Local, "into/a/deep/later", "x");
    site.rename("into", "onto");
    site.start_servers();
    site.expect_identical();
    site.settle();
    site.expect_identical();
}

#[test]
fn a_directory_that_took_the_name_of_another_is_moved_on_while_the_node_fails() {
    let mut site = site();
    site.serve(&[Rsyncd]);
    for (dir, content) in [("a", "x"), ("b", "y")] {
        let file = format!("{dir}/alike");
        site.mkdir(dir);
        site.write(&file, content.repeat(9000));
        site.touch(&file, Duration::new(1_000_000_000, 0));
    }
    site.mkdir("other");
    site.start_mirrored();
    let failures = |site: &Site| site.log_lines().iter().filter(|line| line.contains("node failing")).count();
    for _ in 0..4 {
        let before = failures(&site);
        site.stop_servers();
        site.rename("a", "between");
        site.rename("b", "a");
        site.rename("between", "b");
        wait::until(|| (failures(&site) > before).then_some(())).expect("the node is told to fail");
        site.rename("a", "other/a");
        site.start_servers();
        site.expect_identical();
        site.rename("other/a", "a");
        site.expect_identical();
        site.settle();
    }
}

#[test]
fn an_rsync_that_is_killed_during_a_large_move_costs_nothing_but_time() {
    let mut site = site();
    for n in 0..2_000 {
        site.mkdir(format!("a/{}", n % 20));
        site.write(format!("a/{}/{n}", n % 20), format!("{n}\n").repeat(1_500));
    }
    site.start_with(&["-v"]);
    site.expect_identical();
    let names = ["a", "b", "into", "c", "d"];
    for pair in names.windows(2) {
        // More than one may: what is tried again may come before the next one is connected.
        site.expect_only_waiting();
        let idle = site.own_rsyncs();
        site.rename(pair[0], pair[1]);
        // Whatever is started for it, and what was fed.
        let busy = wait::until(|| site.own_rsyncs().into_iter().find(|pid| !idle.contains(pid)));
        busy.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        site.own_rsyncs().into_iter().for_each(|pid| signal(pid, Signal::KILL));
        site.expect_identical();
    }
    // What killed receivers had begun is no business of the next run.
    site.settle();
    site.expect_identical();
}

#[test]
fn a_daemon_that_is_killed_during_moves_ends_them_when_it_is_started_again() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config("dir_moves: Replicate");
    (0..5).for_each(|n| plant(&site, &n.to_string()));
    site.start_mirrored();
    for round in 0..5_usize {
        for n in 0..5 {
            let at = |round: usize| {
                if round.is_multiple_of(2) { n.to_string() } else { format!("{}{n}", "into ".repeat(round)) }
            };
            site.rename(at(round), at(round + 1));
        }
        wait::until_within(Duration::from_millis(40 * round as u64), || None::<()>);
        site.daemon().signal(Signal::KILL);
        site.wait();
        site.start();
    }
    expect_done(&site);
}

#[test]
fn by_default_the_nodes_keep_the_old_name_until_the_next_comparison_of_the_whole_tree() {
    let mut site = Site::new();
    plant(&site, "old");
    site.start_mirrored();
    site.settle();
    site.rename("old", "new");
    let line = site.expect_log_line(&["moved", "from: old", "to: new"]);
    assert!(line.contains("not mirrored (dir_moves: Log)"), "{line}");
    site.write("new/deep/later", "x");
    site.expect_on_nodes("new/deep/later", "x");
    site.settle();
    site.assert_on_nodes("old/deep/1", &"old 1\n".repeat(100));
    site.stop();
    fs::remove_dir_all(site.beside("state")).unwrap();
    site.start_mirrored();
    site.assert_absent("old");
}

#[test]
fn a_node_that_lacks_the_old_directory_gets_the_new_one_all_the_same() {
    let mut site = site();
    ["lacking", "in part", "a file"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    for node in [Local, Ssh, Rsyncd] {
        let mirror = site.mirror(node);
        fs::remove_dir_all(mirror.join("lacking")).unwrap();
        fs::remove_dir_all(mirror.join("in part/deep")).unwrap();
        fs::remove_dir_all(mirror.join("a file")).unwrap();
        fs::write(mirror.join("a file"), "of the node").unwrap();
    }
    for dir in ["lacking", "in part", "a file"] {
        site.rename(dir, format!("new {dir}"));
    }
    site.expect_identical();
    site.settle();
    site.expect_identical();
}

#[test]
fn a_directory_that_is_moved_and_deleted_at_once_leaves_the_nodes_without_a_word() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config("dir_moves: Replicate");
    for round in 0..ROUNDS {
        for file in 0..20 {
            site.mkdir(format!("modules/{round}/d"));
            site.write(format!("modules/{round}/d/{file}"), "content");
        }
    }
    site.start_mirrored();
    for round in 0..ROUNDS {
        // As npm and others remove what they replace.
        let (old, aside) = (format!("modules/{round}"), format!("modules/.{round}-aside"));
        site.rename(&old, &aside);
        // Somewhere between the report and the end of the runs.
        std::thread::sleep(Duration::from_millis(10 * round));
        fs::remove_dir_all(site.at(&aside)).unwrap();
    }
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}
