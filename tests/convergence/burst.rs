//! A node is down for the whole of a burst: the daemon stays small, the other node is served as ever, and the one that
//! was down is equal when it is back, without a restart of the daemon.

use std::fs;
use std::time::{Duration, Instant};

use crate::campaign::turn;
use crate::settings::variable;
use crate::support::{Local, Site, Ssh, wait};

/// Of what `make test` does; by hand it is 50,000.
const FILES: usize = 5000;
const FILES_OF_A_DIRECTORY: usize = 250;
/// Single changes that are timed, during the burst and after it.
const PROBES: usize = 40;
/// The most that the daemon may ever have had in memory.
const MEMORY_KB: u64 = 40_000;
/// 95 of 100 single changes after the burst are on the node that is up within this.
const LATENCY: Duration = Duration::from_millis(100);

#[test]
fn a_node_that_is_down_during_a_burst_costs_neither_memory_nor_the_other_node_its_pace() {
    let _turn = turn();
    let files = variable("INOSYNC_TEST_BURST").unwrap_or(FILES);
    let mut site = Site::on(&[Local, Ssh]);
    site.start_mirrored();
    let mut before: Vec<Duration> = (0..PROBES).map(|at| latency(&site, files + PROBES + at)).collect();
    site.stop_server(Ssh);
    let mut during = Vec::new();
    for at in 0..files {
        let dir = format!("burst/{}", at / FILES_OF_A_DIRECTORY);
        if at % FILES_OF_A_DIRECTORY == 0 {
            site.mkdir(&dir);
        }
        site.write(format!("{dir}/{at}"), format!("content of {at}"));
        if at % (files / PROBES).max(1) == 0 {
            during.push(latency(&site, at));
        }
    }
    let last = format!("burst/{}/{}", (files - 1) / FILES_OF_A_DIRECTORY, files - 1);
    site.expect_on_node(Local, &last, &format!("content of {}", files - 1));
    let mut after: Vec<Duration> = (0..PROBES).map(|at| latency(&site, files + at)).collect();
    site.start_server(Ssh);
    site.expect_identical();
    let memory = peak_memory(&site);
    before.sort();
    during.sort();
    after.sort();
    println!(
        "{files} files: single changes at the local node took {:?} (median) and {:?} (95 %) during the burst, {:?} and \
         {:?} after it; the daemon had at most {memory} kB in memory",
        percent(&during, 50),
        percent(&during, 95),
        percent(&after, 50),
        percent(&after, 95),
    );
    assert!(memory < MEMORY_KB, "{memory} kB in memory");
    // Other tests, and whatever else the machine does, slow down both.
    let pace = LATENCY.max(percent(&before, 95) * 3);
    assert!(percent(&after, 95) < pace, "{before:?}\n{after:?}");
    assert_eq!(site.stop().code, Some(0));
}

/// How long a change takes to the local node.
fn latency(site: &Site, number: usize) -> Duration {
    let (start, content) = (Instant::now(), format!("probe {number}"));
    site.write("probe", &content);
    let probe = site.mirror(Local).join("probe");
    let arrived = wait::until(|| (fs::read(&probe).ok()? == content.as_bytes()).then_some(()));
    assert!(arrived.is_some(), "a single change does not arrive");
    start.elapsed()
}

fn percent(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// VmHWM, in kB.
fn peak_memory(site: &Site) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.daemon().id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
