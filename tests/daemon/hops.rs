//! A relay between the source and a leaf: two daemons, the second of which mirrors on what the first one brings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use serde_json::Value;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, Wire, wait};

const NAME: &str = ".inosync-heartbeat";
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A source, its relay, and the wire from the relay to the leaf, all at rest.
struct Hops {
    relay: Site,
    first: Site,
    wire: Wire,
}

/// Fills a file with what is like nothing else.
fn fill(site: &Site, path: &str, size: u64, number: u64) {
    let numbers = (0..size / 8).flat_map(|n| (n + (number << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    fs::write(site.at(path), numbers.collect::<Vec<u8>>()).unwrap();
}

impl Hops {
    fn start(first_hop: Node, fill: impl FnOnce(&Site)) -> Hops {
        let mut first = Site::on(&[first_hop]);
        first.config("dir_moves: Replicate");
        fill(&first);
        first.start_with(&["-v"]);
        first.expect_identical();
        let mut relay = Site::behind(&first, first_hop, &[Rsyncd]);
        relay.config("dir_moves: Replicate");
        let wire = relay.count_rsyncd();
        relay.copy_to(Rsyncd);
        relay.start_with(&["-v"]);
        relay.expect_compared();
        relay.expect_rest(&wire);
        // The state of the relay knows what has arrived.
        relay.stop();
        relay.start_with(&["-v"]);
        relay.expect_rest(&wire);
        let hops = Hops { relay, first, wire };
        hops.see_rsync();
        hops
    }

    /// Lets the relay see that an rsync writes there.
    fn see_rsync(&self) {
        self.first.write("seen", "by its temporary name");
        self.first.expect_identical();
        self.relay.expect_rest(&self.wire);
    }

    /// The bytes that a change of the source costs on the second hop.
    #[track_caller]
    fn cost(&self, what: &str, change: impl FnOnce(&Site)) -> u64 {
        self.relay.expect_rest(&self.wire);
        let before = self.wire.bytes();
        change(&self.first);
        self.first.expect_identical();
        self.first.settle();
        self.relay.expect_rest(&self.wire);
        let cost = self.wire.bytes() - before;
        println!("{what}: {cost} bytes on the second hop");
        cost
    }
}

fn renames_cost_little_on_the_second_hop(first_hop: Node) {
    let hops = Hops::start(first_hop, |first| {
        first.mkdir("large");
        fill(first, "file", 100 * MIB, 1);
    });
    // On a busy machine the old name may go at the relay later than a new one waits for that, and the file is sent.
    let names = ["file", "large/name", "other", "large/another"];
    let is_cheap = |pair: &[&str]| hops.cost("a rename", |site| site.rename(pair[0], pair[1])) < 16 * KIB;
    if !names.windows(2).any(is_cheap) {
        hops.relay.fail("each rename costs more than 16 KiB");
    }
    assert!(hops.relay.troubles().is_empty(), "{:?}", hops.relay.troubles());
}

#[test]
fn a_rename_costs_little_behind_a_relay_on_the_same_machine() {
    renames_cost_little_on_the_second_hop(Local);
}

#[test]
fn a_rename_costs_little_behind_a_relay_that_is_reached_by_ssh() {
    renames_cost_little_on_the_second_hop(Ssh);
}

/// A directory of 200 MiB in 40 files, and some small ones.
fn fill_directory(first: &Site) {
    first.mkdir("large/below/deep");
    first.mkdir("other");
    for number in 0..40 {
        let dir = ["large", "large/below", "large/below/deep"][number % 3];
        fill(first, &format!("{dir}/{number}"), 5 * MIB, number as u64);
        first.write(format!("{dir}/{number} small"), "small");
    }
}

fn moves_of_a_directory_cost_little_on_the_second_hop(first_hop: Node) {
    let hops = Hops::start(first_hop, fill_directory);
    // As of renames: on a busy machine the old name may go late.
    let names = ["large", "renamed", "other/into", "before", "large"];
    let cost = |pair: &[&str]| hops.cost("a move", |site| site.rename(pair[0], pair[1]));
    let mut costs: Vec<u64> = names.windows(2).map(cost).collect();
    for _ in 0..2 {
        if costs.iter().any(|&cost| cost >= 128 * KIB) {
            costs = names.windows(2).map(cost).zip(costs).map(|(now, before)| now.min(before)).collect();
        }
    }
    if costs.iter().any(|&cost| cost >= 128 * KIB) {
        hops.relay.fail(&format!("moves cost {costs:?} bytes"));
    }
    hops.relay.expect_identical();
    assert!(hops.relay.troubles().is_empty(), "{:?}", hops.relay.troubles());
}

#[test]
fn a_move_of_a_directory_costs_little_behind_a_relay_on_the_same_machine() {
    moves_of_a_directory_cost_little_on_the_second_hop(Local);
}

#[test]
fn a_move_of_a_directory_costs_little_behind_a_relay_that_is_reached_by_ssh() {
    moves_of_a_directory_cost_little_on_the_second_hop(Ssh);
}

#[test]
fn a_move_of_a_directory_while_the_relay_does_not_run_costs_little_when_it_does() {
    let mut hops = Hops::start(Local, fill_directory);
    for names in ["large", "renamed", "other/into"].windows(2) {
        hops.relay.stop();
        let before = hops.wire.bytes();
        hops.first.rename(names[0], names[1]);
        hops.first.expect_identical();
        hops.first.settle();
        hops.relay.start_with(&["-v"]);
        hops.relay.expect_compared();
        hops.relay.expect_rest(&hops.wire);
        let cost = hops.wire.bytes() - before;
        println!("a move while the relay does not run: {cost} bytes");
        assert!(cost < 128 * KIB, "{} to {} costs {cost} bytes", names[0], names[1]);
        hops.relay.expect_identical();
    }
}

#[test]
fn a_large_file_that_arrives_slowly_is_sent_on_once() {
    let mut first = Site::on(&[Local]);
    first.config("rspeed: 4000");
    first.start_mirrored();
    let mut relay = Site::behind(&first, Local, &[Rsyncd]);
    let wire = relay.count_rsyncd();
    relay.start_with(&["-v"]);
    relay.expect_rest(&wire);
    let before = wire.bytes();
    fill(&first, "slow", 20 * MIB, 1);
    first.expect_identical();
    relay.expect_rest(&wire);
    let cost = wire.bytes() - before;
    assert!(cost <= 20 * MIB * 101 / 100, "{cost} bytes");
}

/// The heartbeat at a node of a site.
fn heartbeat(site: &Site, node: Node) -> Value {
    let text = fs::read(site.mirror(node).join(NAME)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[track_caller]
fn expect_heartbeat(site: &Site, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let found = wait::until(|| Some(heartbeat(site, Local)).filter(&is_so));
    found.unwrap_or_else(|| site.fail(&format!("no heartbeat {what}, but {}", heartbeat(site, Local))))
}

fn is_heartbeat(path: &[u8]) -> bool {
    path == NAME.as_bytes()
}

fn beating(mut site: Site) -> Site {
    site.config("heartbeat: 1");
    site.compare_without(is_heartbeat);
    site
}

#[test]
fn a_leaf_says_how_far_it_is_behind_the_first_source() {
    let mut first = beating(Site::on(&[Local]));
    first.start_mirrored();
    let mut relay = beating(Site::behind(&first, Local, &[Local]));
    relay.start_mirrored();
    let is_complete = |beat: &Value| beat["hops"] == 2 && beat["state"] == "complete" && beat["until"].is_u64();
    let told = expect_heartbeat(&relay, "of two hops", is_complete);
    let until = told["until"].as_u64().unwrap();
    expect_heartbeat(&relay, "of later", |beat| beat["until"].as_u64().is_some_and(|later| later > until + 1));
    assert_eq!(told["via"].as_array().map(Vec::len), Some(1), "{told}");
    // The source is gone: what the leaf has is of then, once no new name waits, and the relay says how old that is.
    first.crash();
    let lag = || relay.status()["source"]["upstream"]["lag"].as_f64();
    assert!(wait::until(|| lag().filter(|lag| *lag > 8.0)).is_some(), "{:?}", relay.status());
    let still = heartbeat(&relay, Local);
    relay.settle();
    assert_eq!(heartbeat(&relay, Local)["until"], still["until"]);
}

/// The files below a directory that a mirror has, with their content.
fn content(site: &Site, node: Node, dir: &str) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(site.mirror(node).join(dir)).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name(), fs::read(entry.path()).ok()?))).collect()
}

/// What is new where the relay was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaced {
    /// The disk with the mirror. The daemon still has its state.
    Disk,
    /// The whole machine.
    Machine,
}

/// The relay comes to be on an empty disk, while the source goes on: something is changed before anybody knows, something is
/// removed meanwhile, and to fill the relay takes long.
fn a_leaf_loses_nothing_while_its_relay_is_filled(what: Replaced) {
    let mut first = beating(Site::on(&[Local]));
    first.mkdir("kept");
    (0..40).for_each(|number| fill(&first, &format!("kept/{number}"), MIB / 4, number));
    first.write("removed", "removed");
    first.start_mirrored();
    let mut relay = beating(Site::behind(&first, Local, &[Local]));
    if what == Replaced::Machine {
        relay.config(&format!("marker: {NAME:?}"));
    }
    relay.start_mirrored();
    let is_complete = |beat: &Value| beat["hops"] == 2 && beat["state"] == "complete";
    expect_heartbeat(&relay, "that is complete", is_complete);
    let had = content(&relay, Local, "kept");
    assert_eq!(had.len(), 40);
    first.config(&format!("rspeed: {}", 2 * MIB / KIB));
    first.reload();

    relay.crash();
    fs::rename(first.mirror(Local), first.beside("old disk")).unwrap();
    fs::create_dir(first.mirror(Local)).unwrap();
    if what == Replaced::Machine {
        fs::remove_dir_all(relay.beside("state")).unwrap();
    }
    first.write("changed", "before anybody knows");
    first.expect_on_nodes("changed", "before anybody knows");
    relay.launch();
    first.remove("removed");
    let is_passed_on = wait::until(|| {
        let has = content(&relay, Local, "kept");
        let lost: Vec<_> = had.iter().filter(|(name, old)| has.get(*name) != Some(old)).map(|(name, _)| name).collect();
        if !lost.is_empty() {
            relay.fail(&format!("the leaf has lost {} files: {lost:?}", lost.len()));
        }
        let is_filled = content(&first, Local, "kept") == had;
        (is_filled && !relay.mirror(Local).join("removed").exists()).then_some(())
    });
    if is_passed_on.is_none() {
        relay.fail("the relay is not filled, or does not pass on the removal");
    }
    first.expect_identical();
    relay.expect_identical();
    expect_heartbeat(&relay, "that is complete", is_complete);
    first.write("later", "later");
    relay.expect_on_nodes("later", "later");
}

#[test]
fn a_leaf_loses_nothing_while_its_relay_is_filled_that_has_an_empty_disk() {
    a_leaf_loses_nothing_while_its_relay_is_filled(Replaced::Disk);
}

#[test]
fn a_leaf_loses_nothing_while_a_new_relay_is_filled_whose_marker_is_the_heartbeat() {
    a_leaf_loses_nothing_while_its_relay_is_filled(Replaced::Machine);
}
