//! What moves cost: the bytes that go to a node, counted on the wire, when content that it has gets another name.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Node, Rsyncd, Site, Ssh, Wire, wait};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A file like no other of its size that takes no room: its name, then a hole.
fn fill(site: &Site, path: &str, size: u64) {
    let mut file = File::create(site.at(path)).unwrap();
    file.write_all(path.as_bytes()).unwrap();
    file.set_len(size).unwrap();
}

/// A site whose one node has all that `fill` makes, at rest, and its wire.
fn counted(node: Node, fill: impl FnOnce(&mut Site)) -> (Site, Wire) {
    let mut site = Site::with_servers_down(&[node]);
    let wire = if node == Rsyncd {
        site.start_servers();
        site.count_rsyncd()
    } else {
        site.count_ssh("")
    };
    fill(&mut site);
    site.copy_to(node);
    site.start_with(&["-v"]);
    site.expect_rest(&wire);
    (site, wire)
}

/// The change is mirrored for less than this.
#[track_caller]
fn expect_cost_below(site: &Site, wire: &Wire, limit: u64, what: &str, change: impl FnOnce()) {
    let cost = site.cost(wire, change);
    println!("{what}: {cost} bytes");
    if cost >= limit {
        site.fail(&format!("{what} costs {cost} bytes, not less than {limit}"));
    }
}

fn a_large_file_is_renamed_for_next_to_nothing(node: Node) {
    let (site, wire) = counted(node, |site| {
        site.mkdir("dir");
        site.mkdir("other");
        fill(site, "large", 100 * MIB);
    });
    let names = ["large", "renamed", "another, sorted first", "dir/another, sorted first", "other/name", "up"];
    for pair in names.windows(2) {
        let [from, to] = pair else { continue };
        expect_cost_below(&site, &wire, 4 * KIB, &format!("{from} to {to}"), || site.rename(from, to));
    }
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_large_file_is_renamed_for_next_to_nothing_by_a_remote_shell() {
    a_large_file_is_renamed_for_next_to_nothing(Ssh);
}

#[test]
fn a_large_file_is_renamed_for_next_to_nothing_at_an_rsync_daemon() {
    a_large_file_is_renamed_for_next_to_nothing(Rsyncd);
}

#[test]
fn a_rename_while_the_node_is_down_costs_next_to_nothing_when_it_is_back() {
    let (mut site, wire) = counted(Rsyncd, |site| fill(site, "large", 20 * MIB));
    let before = wire.bytes();
    site.stop_servers();
    site.rename("large", "renamed");
    site.expect_log("node failing");
    site.start_servers();
    site.expect_rest(&wire);
    let cost = wire.bytes() - before;
    assert!(cost < 16 * KIB, "{cost} bytes");
}

fn a_rotation_of_logs_costs_next_to_nothing(node: Node) {
    let (site, wire) = counted(node, |site| {
        ["log", "log.1", "log.2"].into_iter().for_each(|path| fill(site, path, 20 * MIB));
    });
    for round in 0..5 {
        expect_cost_below(&site, &wire, 16 * KIB, "a rotation", || {
            for (from, to) in [("log.2", "log.3"), ("log.1", "log.2"), ("log", "log.1")] {
                site.rename(from, to);
            }
            site.write("log", format!("new, round {round}"));
        });
        fill(&site, "log", 20 * MIB + round);
    }
}

#[test]
fn a_rotation_of_logs_costs_next_to_nothing_by_a_remote_shell() {
    a_rotation_of_logs_costs_next_to_nothing(Ssh);
}

#[test]
fn a_rotation_of_logs_costs_next_to_nothing_at_an_rsync_daemon() {
    a_rotation_of_logs_costs_next_to_nothing(Rsyncd);
}

const MANY: usize = 1000;

/// Moves all files of a directory into another one, one by one.
fn move_each(site: &Site, from: &str, to: &str) {
    (0..MANY).for_each(|n| site.rename(format!("{from}/{n}"), format!("{to}/{n}")));
}

/// The time until the node has all of them, and none is left where they were.
#[track_caller]
fn time_of(site: &Site, node: Node, from: &str, to: &str, change: impl FnOnce()) -> Duration {
    let count = |dir: &str| fs::read_dir(site.mirror(node).join(dir)).map_or(0, Iterator::count);
    let start = Instant::now();
    change();
    let there = wait::until(|| (count(from) == 0 && count(to) == MANY).then_some(()));
    let time = start.elapsed();
    if there.is_none() {
        site.fail("the node does not follow the moves");
    }
    time
}

#[test]
fn many_files_that_are_moved_one_by_one_cost_little_and_no_more_time_than_at_once() {
    let (site, wire) = counted(Ssh, |site| {
        site.mkdir("from");
        site.mkdir("to");
        (0..MANY).for_each(|n| fill(site, &format!("from/{n}"), MIB));
    });
    // What else the machine does may slow down either of them.
    let no_more = (0..5).any(|_| {
        let (mut single, mut at_once) = (Duration::ZERO, Duration::ZERO);
        expect_cost_below(&site, &wire, 512 * KIB, "one by one", || {
            single = time_of(&site, Ssh, "from", "to", || move_each(&site, "from", "to"));
        });
        expect_cost_below(&site, &wire, 512 * KIB, "at once", || {
            site.daemon().signal(Signal::STOP);
            move_each(&site, "to", "from");
            at_once = time_of(&site, Ssh, "to", "from", || site.daemon().signal(Signal::CONT));
        });
        println!("one by one: {single:?}, at once: {at_once:?}");
        single <= at_once * 2
    });
    assert!(no_more, "it takes longer one by one, again and again");
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

fn a_large_directory_is_moved_for_little(node: Node) {
    let (site, wire) = counted(node, |site| {
        site.config("dir_moves: Replicate");
        site.mkdir("large/below");
        site.mkdir("other");
        (0..MANY).for_each(|n| fill(site, &format!("large/{}{n}", ["", "below/"][n % 2]), 200 * MIB / MANY as u64));
    });
    for (from, to) in [("large", "renamed"), ("renamed", "other/into")] {
        expect_cost_below(&site, &wire, 64 * KIB, &format!("{from} to {to}"), || site.rename(from, to));
    }
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_large_directory_is_moved_for_little_by_a_remote_shell() {
    a_large_directory_is_moved_for_little(Ssh);
}

#[test]
fn a_large_directory_is_moved_for_little_at_an_rsync_daemon() {
    a_large_directory_is_moved_for_little(Rsyncd);
}

/// What is renamed while no daemon runs is mirrored by the next one for less than this.
#[track_caller]
fn expect_cost_of_a_start_below(site: &mut Site, wire: &Wire, limit: u64, what: &str, change: impl FnOnce(&Site)) {
    site.settle();
    site.stop();
    change(site);
    let before = wire.bytes();
    site.start_with(&["-v"]);
    site.expect_compared();
    site.expect_rest(wire);
    let cost = wire.bytes() - before;
    println!("{what}: {cost} bytes");
    if cost >= limit {
        site.fail(&format!("{what} costs {cost} bytes, not less than {limit}"));
    }
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

fn what_is_renamed_while_no_daemon_runs_costs_little_at_the_next_start(node: Node) {
    let (mut site, wire) = counted(node, |site| {
        site.mkdir("large/below");
        fill(site, "file", 100 * MIB);
        (0..MANY).for_each(|n| fill(site, &format!("large/{}{n}", ["", "below/"][n % 2]), 200 * MIB / MANY as u64));
    });
    expect_cost_of_a_start_below(&mut site, &wire, 16 * KIB, "a file", |site| site.rename("file", "large/name"));
    expect_cost_of_a_start_below(&mut site, &wire, 16 * KIB, "a link and a removal", |site| {
        site.hard_link("large/name", "first");
        site.remove("large/name");
    });
    expect_cost_of_a_start_below(&mut site, &wire, 128 * KIB, "a directory", |site| site.rename("large", "renamed"));
    expect_cost_of_a_start_below(&mut site, &wire, 128 * KIB, "a directory and a file out of it", |site| {
        site.rename("renamed/0", "out");
        site.write("renamed/below/1", "other");
        site.rename("renamed", "again");
    });
    assert_eq!(fs::read_dir(site.mirror(node)).unwrap().count(), 4, "first, out, again, seed");
}

#[test]
fn what_is_renamed_while_no_daemon_runs_costs_little_by_a_remote_shell() {
    what_is_renamed_while_no_daemon_runs_costs_little_at_the_next_start(Ssh);
}

#[test]
fn what_is_renamed_while_no_daemon_runs_costs_little_at_an_rsync_daemon() {
    what_is_renamed_while_no_daemon_runs_costs_little_at_the_next_start(Rsyncd);
}
