//! Trouble costs time and nothing else: rsync is killed, nodes are down, the source is taken away.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Dead, Local, Node, Rsyncd, Site, Ssh, signal, wait};

/// Content that keeps rsync busy for a while at `rspeed`.
const BIG: usize = 6_000_000;

/// A file that rsync is writing at this moment, below its temporary name.
fn is_arriving(site: &Site, node: Node) -> bool {
    let entries = std::fs::read_dir(site.mirror(node)).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".big."))
}

/// Starts to mirror, then a transfer that is still under way on this node.
fn busy(site: &mut Site, node: Node) {
    // A receiver that was killed leaves its temporary file, whichever it was writing.
    site.compare_without(|path| path.starts_with(b"."));
    site.start_mirrored();
    site.write("small", "x");
    site.write("big", vec![b'x'; BIG]);
    site.write("last", "x");
    assert!(wait::until(|| is_arriving(site, node).then_some(())).is_some(), "nothing is being sent");
}

fn kill_each_rsync(site: &mut Site, node: Node) {
    site.config("rspeed: 3000");
    busy(site, node);
    for pid in site.daemon().running("rsync") {
        signal(pid, Signal::KILL);
        site.write("while they die", pid.to_string());
    }
    site.expect_identical();
    site.daemon().running("rsync").into_iter().for_each(|pid| signal(pid, Signal::KILL));
    site.write("after that", "x");
    site.expect_identical();
}

#[test]
fn a_killed_rsync_loses_nothing_on_a_local_node() {
    kill_each_rsync(&mut Site::on(&[Local]), Local);
}

#[test]
fn a_killed_rsync_loses_nothing_on_an_ssh_node() {
    kill_each_rsync(&mut Site::on(&[Ssh]), Ssh);
}

#[test]
fn a_killed_rsync_loses_nothing_on_an_rsync_daemon() {
    kill_each_rsync(&mut Site::on(&[Rsyncd]), Rsyncd);
}

#[test]
fn nodes_that_are_down_at_the_start_are_served_when_they_come_up() {
    let mut site = Site::with_servers_down(&[Ssh, Rsyncd]);
    site.start();
    site.write("meanwhile", "x");
    for node in [Ssh, Rsyncd] {
        site.expect_log_line(&["failing", &site.name(node)]);
    }
    site.remove("seed");
    site.write("later", "x");
    site.start_servers();
    site.expect_identical();
    site.write("live", "x");
    site.expect_identical();
}

#[test]
fn nodes_that_go_down_and_come_back_lose_nothing() {
    let mut site = Site::new();
    site.mkdir("dir");
    site.write("dir/file", "x");
    site.start_mirrored();
    site.stop_servers();
    site.write("while down", "x");
    site.remove("dir");
    for node in [Ssh, Rsyncd] {
        site.expect_log_line(&["failing", &site.name(node)]);
    }
    site.expect_on_node(Local, "while down", "x");
    site.start_servers();
    site.expect_identical();
}

#[test]
fn a_node_that_always_fails_neither_slows_down_the_others_nor_floods_the_log() {
    let mut site = Site::on(&[Local, Ssh, Dead]);
    site.serve(&[Local, Ssh]);
    site.start_mirrored();
    let pace = |site: &Site, what: &str| {
        let start = Instant::now();
        for round in 0..30 {
            site.write("file", format!("{what} {round}"));
            site.expect_on_nodes("file", &format!("{what} {round}"));
        }
        start.elapsed() / 30
    };
    let without = pace(&site, "without");
    site.serve(&[Local, Ssh, Dead]);
    site.reload();
    site.expect_log_line(&["failing", &site.name(Dead)]);
    let each = pace(&site, "with");
    // Whatever else the machine does slows down both.
    assert!(each < Duration::from_secs(1).max(without * 3), "{each:?} for one change, {without:?} without the node");
    let troubles = site.troubles();
    assert!(troubles.len() <= 5, "{}", troubles.join("\n"));
}

#[test]
fn a_source_that_is_replaced_by_an_empty_directory_deletes_nothing() {
    let mut site = Site::new();
    site.mkdir("dir");
    site.write("dir/file", "precious");
    site.start_mirrored();
    std::fs::rename(site.source(), site.beside("moved away")).unwrap();
    std::fs::create_dir(site.source()).unwrap();
    let warned = wait::until(|| (!site.troubles().is_empty()).then_some(()));
    assert!(warned.is_some(), "nobody is told:\n{}", site.log_lines().join("\n"));
    let ended = site.stop();
    site.assert_on_nodes("dir/file", "precious");
    assert!(ended.left.is_empty());
}

#[test]
fn a_source_that_is_replaced_while_changes_are_pending_deletes_nothing() {
    let mut site = Site::new();
    site.mkdir("dir");
    for n in 0..200 {
        site.write(format!("dir/{n}"), "precious");
    }
    site.start_mirrored();
    for n in 0..200 {
        site.write(format!("dir/{n}"), "precious");
    }
    std::fs::rename(site.source(), site.beside("moved away")).unwrap();
    std::fs::create_dir(site.source()).unwrap();
    site.expect_log("the source was");
    site.stop();
    for n in 0..200 {
        site.assert_on_nodes(format!("dir/{n}"), "precious");
    }
}
