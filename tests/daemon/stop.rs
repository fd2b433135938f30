//! How the daemon ends: what was changed before the signal arrives, nothing runs on, the exit code tells the rest.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Dead, Ended, Local, Rsyncd, Site, wait};

/// A stop that waits for nothing is over by then also on a busy machine; one that waits takes `stop_timeout`, 30 s by default.
const QUICK: Duration = Duration::from_secs(20);

#[track_caller]
fn expect_end(ended: &Ended, code: i32) {
    assert_eq!(ended.code, Some(code), "{}", ended.log);
    assert!(ended.left.is_empty(), "still running: {:?}", ended.left);
}

#[test]
fn a_stop_while_busy_delivers_everything_that_was_changed_before() {
    let mut site = Site::new();
    site.mkdir("deleted");
    site.start_mirrored();
    for n in 0..300 {
        site.mkdir(format!("dir {n}"));
        site.write(format!("dir {n}/file"), n.to_string());
    }
    site.remove("deleted");
    expect_end(&site.stop(), 0);
    site.expect_identical();
}

#[test]
fn a_stop_where_changes_never_cease_ends_when_what_was_changed_before_has_arrived() {
    let mut site = Site::on(&[Local, Rsyncd]);
    site.config("stop_timeout: 3600");
    site.mkdir("stream");
    site.start_mirrored();
    let (root, done) = (site.at("stream"), Arc::new(AtomicBool::new(false)));
    let ended = done.clone();
    let writer = thread::spawn(move || {
        for n in (0..5_000).cycle().take_while(|_| !ended.load(Ordering::Relaxed)) {
            fs::write(root.join(n.to_string()), "x").unwrap();
        }
    });
    site.expect_on_nodes("stream/99", "x");
    site.write("z", "x");
    let ended = site.stop();
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(ended.left.is_empty(), "still running: {:?}", ended.left);
    let is_trouble = |line: &&str| line.contains(" WARN ") || line.contains(" ERRO ");
    let unexpected =
        |line: &&str| is_trouble(line) && !line.contains("stopped with changes that the node does not have");
    assert_eq!(ended.log.lines().find(unexpected), None);
    for node in site.live() {
        assert!(site.mirror(node).join("z").exists(), "{node}: {}", ended.log);
    }
}

#[test]
fn a_stop_at_rest_is_quick() {
    let mut site = Site::new();
    site.start_mirrored();
    let start = Instant::now();
    expect_end(&site.stop(), 0);
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
}

#[test]
fn an_interrupt_is_a_stop_too() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.write("file", "x");
    site.daemon().signal(Signal::INT);
    expect_end(&site.wait(), 0);
    site.expect_identical();
}

#[test]
fn a_stop_with_a_node_down_does_not_wait_for_it_and_says_what_is_pending() {
    let mut site = Site::on(&[Local, Dead]);
    site.start_mirrored();
    site.expect_log_line(&["failing", &site.name(Dead)]);
    site.write("file", "x");
    let start = Instant::now();
    expect_end(&site.stop(), 75);
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
    site.expect_identical();
}

/// A daemon in the middle of a transfer that would take minutes.
fn in_a_long_transfer(stop_timeout: u32) -> Site {
    let mut site = Site::on(&[Local]);
    site.config("rspeed: 100");
    site.config(&format!("stop_timeout: {stop_timeout}"));
    site.start_mirrored();
    site.write("big", vec![b'x'; 50_000_000]);
    let mirror = site.mirror(Local);
    let arriving = || std::fs::read_dir(&mirror).ok()?.flatten().any(|e| e.file_name() != "seed").then_some(());
    assert!(wait::until(arriving).is_some(), "nothing is being sent");
    site
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut site = in_a_long_transfer(600);
    site.daemon().signal(Signal::TERM);
    // The first signal is in the log, so the second one is not merged with it by the kernel.
    site.expect_log("stop");
    let start = Instant::now();
    site.daemon().signal(Signal::TERM);
    // Impatience does no harm.
    site.expect_log("stopping at once");
    site.daemon().signal(Signal::TERM);
    expect_end(&site.wait(), 75);
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
}

#[test]
fn a_stop_takes_no_longer_than_its_timeout() {
    let mut site = in_a_long_transfer(1);
    let start = Instant::now();
    expect_end(&site.stop(), 75);
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
}

/// Runs what follows at a terminal that goes away with this program; its errors go where ours go.
const AT_TERMINAL: [&str; 4] = ["sh", "-c", "exec script --quiet --command \"exec $* 2>&3\" /dev/null 3>&2", "sh"];

/// Whether a terminal can be made here whose end a program would notice.
fn can_lose_terminals() -> bool {
    if std::process::Command::new("script").arg("--version").output().is_err() {
        println!("not tested: script(1) is not there");
        return false;
    }
    // Under nohup the daemon is meant to outlive its terminal. SigIgn: proc_pid_status(5), signal 1 is the lowest bit.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    if u64::from_str_radix(ignored, 16).unwrap() & 1 == 1 {
        println!("not tested: SIGHUP is ignored here (nohup)");
        return false;
    }
    true
}

#[test]
fn a_terminal_that_goes_away_is_a_stop() {
    if !can_lose_terminals() {
        return;
    }
    let mut site = Site::on(&[Local]);
    site.start_by(&AT_TERMINAL, &[]);
    site.expect_identical();
    site.write("file", "x");
    site.daemon().signal(Signal::KILL);
    site.expect_log("stopped");
    site.expect_log("the terminal is gone");
    site.expect_identical();
    let ended = site.wait();
    assert!(ended.left.is_empty(), "{:?}", ended.left);
}

#[test]
fn a_terminal_that_goes_away_while_a_bar_is_drawn_is_no_more_than_a_stop() {
    if !can_lose_terminals() {
        return;
    }
    let mut site = Site::on(&[Local]);
    site.config("rspeed: 100");
    (0..30).for_each(|n| site.write(n.to_string(), vec![b'x'; 6_000]));
    site.start_by(&["sh", "-c", "exec script --quiet --command \"TERM=xterm exec $*\" /dev/null >&2", "sh"], &[]);
    site.expect_log("% local: ");
    site.daemon().signal(Signal::KILL);
    // All of it was wanted before the stop. What is said meanwhile, nobody can read.
    site.expect_identical();
    let ended = site.wait();
    assert!(ended.left.is_empty(), "{:?}", ended.left);
}
