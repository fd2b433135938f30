//! Hooks at the end of a daemon while the source goes on changing.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{hold, hook, told};
use crate::support::{Local, Site, wait};

/// Writes files of this word and a number, from 0 on, at this pace until it is dropped.
struct Writer {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(source: PathBuf, word: String, pace: Duration) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let thread = thread::spawn(move || {
            for n in (0..).take_while(|_| !ended.load(Ordering::Relaxed)) {
                fs::write(source.join(format!("{word} {n}")), "x").unwrap();
                thread::sleep(pace);
            }
        });
        Writer { ends, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

#[track_caller]
fn expect_told_of(site: &Site, key: &str, path: &str) {
    let is_told = || told(site, key).iter().any(|run| run.has(path.as_bytes())).then_some(());
    assert!(wait::until(is_told).is_some(), "{key} is not told of {path}");
}

#[test]
fn a_stop_under_steady_change_is_over_when_the_hooks_were_told_once_more() {
    let mut site = Site::on(&[Local]);
    hook(&mut site, "on_synced");
    hook(&mut site, "on_all_synced");
    site.config("stop_timeout: 60");
    site.start_mirrored();
    ["on_synced", "on_all_synced"].iter().for_each(|key| hold(&site, key, "slow"));
    let writer = Writer::start(site.source(), "load".to_owned(), Duration::from_millis(300));
    expect_told_of(&site, "on_synced", "load 5");
    let start = Instant::now();
    let stopped = site.stop();
    drop(writer);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(stopped.left.is_empty() && !stopped.log.contains("stop_timeout is over"), "{}", stopped.log);
    assert!(told(&site, "on_synced").iter().all(|run| run.done), "{}", stopped.log);
}

#[test]
fn hooks_are_told_of_all_that_arrived_before_the_daemon_stopped_or_started_anew() {
    let mut site = Site::on(&[Local]);
    let keys = ["on_synced", "on_all_synced"];
    keys.iter().for_each(|key| hook(&mut site, key));
    site.start_mirrored();
    for round in 0..6 {
        let word = format!("round {round}");
        let writer = Writer::start(site.source(), word.clone(), Duration::from_millis(10));
        site.expect_on_nodes(format!("{word} 9"), "x");
        if round % 2 == 0 {
            site.stop();
            site.start();
        } else {
            site.config(&format!("watch_poll: {}", 10 + round));
            site.reload();
            site.expect_watching();
        }
        drop(writer);
        site.settle();
        for file in (0..).map(|n| format!("{word} {n}")).take_while(|file| site.at(file).exists()) {
            keys.iter().for_each(|key| expect_told_of(&site, key, &file));
        }
    }
}
