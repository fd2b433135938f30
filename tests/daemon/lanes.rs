//! Small changes overtake bulk on the way to the same node, and order on one path is kept.

use std::fs;
use std::io::Read;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, program, wait};

const MIB: usize = 1 << 20;

/// A daemon that is sending `dir/big`, half a second for each of its MiB.
fn sending_bulk(nodes: &[Node], mib: usize) -> Site {
    let mut site = Site::on(nodes);
    site.config("bulk_size: 1");
    site.config("rspeed: 2000");
    // A receiver that loses its file leaves it.
    site.compare_without(|path| path.starts_with(b"dir/.big.") || path.starts_with(b"dir/.big2."));
    site.mkdir("dir");
    site.write("dir/sibling", "x");
    site.start_with(&["-v"]);
    site.expect_identical();
    expect_arriving(&site, mib);
    site
}

/// `dir/big` is written, and then is being written on every node, below its temporary name. A busy machine may have sent it
/// to one node before it begins with another one: then another content is written.
#[track_caller]
fn expect_arriving(site: &Site, mib: usize) {
    let begins = |content: u8| {
        site.write("dir/big", vec![content; mib * MIB]);
        let has_it = |node| {
            let mut first = [0];
            let read = fs::File::open(site.mirror(node).join("dir/big")).and_then(|mut big| big.read_exact(&mut first));
            read.is_ok() && first[0] == content
        };
        let all = wait::until(|| {
            let all = site.live().all(|node| is_arriving(site, node));
            (all || site.live().any(has_it)).then_some(all)
        });
        all.unwrap_or_else(|| site.fail("nothing is being sent"))
    };
    assert!((b'a'..=b'z').any(begins), "it is never being sent to all nodes at a time");
}

fn is_arriving(site: &Site, node: Node) -> bool {
    let entries = fs::read_dir(site.mirror(node).join("dir")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".big."))
}

#[test]
fn a_small_change_overtakes_a_large_file() {
    // A busy machine takes longer for small changes, but not for a file of which the speed is limited.
    let overtakes = [8, 16, 32, 64].into_iter().any(|mib| {
        let site = sending_bulk(&[Local, Ssh, Rsyncd], mib);
        for round in 0..5 {
            let content = format!("round {round}");
            site.write("small", &content);
            site.write("dir/sibling", &content);
            site.expect_on_nodes("small", &content);
            site.expect_on_nodes("dir/sibling", &content);
        }
        site.write("dir/new", "x");
        site.expect_on_nodes("dir/new", "x");
        site.remove("dir/sibling");
        site.expect_gone("dir/sibling");
        let overtakes = site.live().all(|node| is_arriving(&site, node));
        site.expect_identical();
        overtakes
    });
    assert!(overtakes, "the large file is sent before");
}

/// What is done to a tree whose `dir/big` is in flight is what the nodes have at last.
fn order_is_kept(change: impl Fn(&Site)) {
    let site = sending_bulk(&[Local, Ssh], 3);
    change(&site);
    site.expect_identical();
    site.settle();
    site.expect_identical();
}

#[test]
fn a_large_file_that_is_written_while_it_is_in_flight_arrives_as_it_is_at_last() {
    order_is_kept(|site| site.append("dir/big", "more"));
    order_is_kept(|site| site.write("dir/big", "small now"));
}

#[test]
fn a_large_file_that_is_removed_while_it_is_in_flight_is_gone_at_last() {
    order_is_kept(|site| site.remove("dir/big"));
    order_is_kept(|site| {
        site.remove("dir/big");
        site.mkdir("dir/big/below");
    });
}

#[test]
fn a_large_file_that_is_renamed_while_it_is_in_flight_has_its_new_name_at_last() {
    order_is_kept(|site| site.rename("dir/big", "dir/big2"));
    order_is_kept(|site| {
        site.rename("dir/big", "elsewhere");
        site.rename("dir/sibling", "dir/big");
    });
}

#[test]
fn the_directory_of_a_large_file_in_flight_is_at_last_what_it_is_at_the_source() {
    order_is_kept(|site| site.chmod("dir", 0o700));
    order_is_kept(|site| {
        for n in 0..50 {
            site.write(format!("dir/{n}"), "x");
        }
        (0..50).step_by(2).for_each(|n| site.remove(format!("dir/{n}")));
    });
    order_is_kept(|site| {
        site.remove("dir");
        site.write("dir", "a file now");
    });
}

/// Whatever the lane, the node has the content under one name or the other at any time.
#[test]
fn a_large_file_keeps_its_old_name_on_the_node_until_it_has_its_new_one() {
    let mut site = Site::on(&[Local]);
    site.config("bulk_size: 1");
    site.config("state_dir: \"\"");
    site.write("old", vec![b'x'; 4 * MIB]);
    site.start_mirrored();
    site.stop();
    site.config("rspeed: 1500");
    site.start();
    // Which would not wait with its deletions.
    site.expect_log("reconciled");
    site.rename("old", "new");
    let mirror = site.mirror(Local);
    let has_new = wait::until(|| {
        // In this order: the new one may come between the two looks.
        let old = mirror.join("old").exists();
        let new = mirror.join("new").exists();
        if !old && !new {
            site.fail("the node has neither");
        }
        new.then_some(())
    });
    assert!(has_new.is_some());
    site.expect_identical();
}

#[test]
fn the_runs_to_a_node_have_shares_of_its_limit() {
    let mut site = Site::on(&[Local]);
    let (rsync, runs) = (site.beside("rsync"), site.beside("runs"));
    program(&rsync, &format!("#!/bin/sh\necho \"$*\" >>{}\nexec rsync \"$@\"\n", runs.display()));
    site.config(&format!("rsync: {rsync:?}, rspeed: 8000"));
    site.start_mirrored();
    let limits = |which: &str| -> Vec<String> {
        let runs = fs::read_to_string(&runs).unwrap();
        let limit = |run: &str| run.split(' ').find_map(|word| word.strip_prefix("--bwlimit=").map(str::to_owned));
        runs.lines().filter(|run| run.contains(which)).filter_map(limit).collect()
    };
    assert_eq!(limits("--info=progress2"), ["6000"]);
    site.write("small", "x");
    site.expect_on_nodes("small", "x");
    // What waits for changes while the comparison goes on, and for some seconds after it. Later it has the whole limit.
    assert!(limits("--ignore-times").contains(&"1000".to_owned()), "{:?}", limits("--ignore-times"));
    site.stop();
    assert_eq!(site.run(&["once"]).code, Some(0));
    assert_eq!(limits("--info=progress2"), ["6000", "8000"]);
}
