//! What is sent in large runs yields to other programs, and small changes do not.

use std::fs;

use crate::support::{Local, Node, Site, Ssh, wait};

/// The nice value of a process, and that of its session if there is one.
fn nice(process: u32) -> Option<(i32, Option<i32>)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may have anything in it.
    let of_process = stat.rsplit(") ").next()?.split(' ').nth(16)?.parse().ok()?;
    let session = fs::read_to_string(format!("/proc/{process}/autogroup")).ok();
    let of_session = session.and_then(|text| text.trim_end().rsplit(' ').next()?.parse().ok());
    Some((of_process, of_session))
}

/// The nice values of the processes of the daemon whose command line has this in it.
fn values(site: &Site, program: &str, word: &str) -> Vec<(i32, Option<i32>)> {
    let is_meant = |process: &u32| {
        fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    };
    site.daemon().running(program).into_iter().filter(is_meant).filter_map(nice).collect()
}

/// A site in which a reconcile goes on.
fn reconciling(node: Node, priority: &str) -> Site {
    let mut site = Site::on(&[node]);
    site.config(&format!("rspeed: 100, priority: {priority}"));
    (0..30).for_each(|n| site.write(format!("file {n}"), vec![b'x'; 60_000]));
    site.start();
    site
}

const LARGE: &str = "--info=progress2";

/// Waits until all processes that are meant, at least one, have this nice value; with autogroups their sessions, too.
#[track_caller]
fn expect_nice(site: &Site, program: &str, word: &str, expected: i32) {
    let all = || {
        let found = values(site, program, word);
        let is_right =
            |(process, session): &(i32, Option<i32>)| *process == expected && session.unwrap_or(expected) == expected;
        (!found.is_empty() && found.iter().all(is_right)).then_some(())
    };
    if wait::until(all).is_none() {
        site.fail(&format!("{program} {word}: {:?}", values(site, program, word)));
    }
}

#[test]
fn a_reconcile_yields_with_all_its_processes_and_a_standby_does_not() {
    let site = reconciling(Local, "Low");
    expect_nice(&site, "rsync", LARGE, 5);
    expect_nice(&site, "rsync", "--ignore-times", 0);
    let site = reconciling(Ssh, "Low");
    expect_nice(&site, "rsync", LARGE, 5);
    // The connection of its own.
    expect_nice(&site, "ssh", "ControlPath=none", 5);
}

#[test]
fn with_normal_priority_a_reconcile_yields_to_nobody() {
    let site = reconciling(Local, "Normal");
    expect_nice(&site, "rsync", LARGE, 0);
}
