//! The limit of a node: its runs keep it together, and it may differ by the time of the day.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Local, Site, program, wait};

const KIB: u64 = 1024;

/// The bytes of all files below a directory; those of a file that is being written count as they come.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

#[test]
fn a_reconcile_and_both_lanes_together_keep_the_limit() {
    const LIMIT: u64 = 1000;
    /// Files of the reconcile, which takes half a minute.
    const OLD: u64 = 120;
    let mut site = Site::on(&[Local]);
    site.config(&format!("rspeed: {LIMIT}, bulk_size: 1"));
    site.mkdir("old");
    for n in 0..OLD {
        site.write(format!("old/{n}"), vec![b'x'; 200 * KIB as usize]);
    }
    site.start();
    let mirror = site.mirror(Local);
    assert!(wait::until(|| (bytes_below(&mirror) > 0).then_some(())).is_some(), "the reconcile sends nothing");
    let (start, before) = (Instant::now(), bytes_below(&mirror));
    site.write("large", vec![b'x'; 20_000 * KIB as usize]);
    let has = |name: &str| {
        fs::read_dir(&mirror).unwrap().flatten().any(|found| found.file_name().to_string_lossy().contains(name))
    };
    // Many small runs, each of which sends less than rsync lets pass at once. On a busy machine both lanes take a while to begin.
    let mut small = 0;
    while start.elapsed() < Duration::from_secs(4)
        || start.elapsed() < Duration::from_secs(15) && !(has("small ") && has("large"))
    {
        site.write(format!("small {small}"), vec![b'x'; 20 * KIB as usize]);
        small += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = bytes_below(&mirror) - before;
    let rate = sent as f64 / KIB as f64 / start.elapsed().as_secs_f64();
    assert!(rate <= 1.2 * LIMIT as f64, "{rate} KiB/s");
    assert!(has("small "), "no small change was sent");
    assert!(has("large"), "the large file is not being sent");
    assert!(bytes_below(&mirror.join("old")) < OLD * 200 * KIB, "the reconcile did not last");
}

#[test]
fn small_changes_in_a_long_row_keep_the_limit() {
    const LIMIT: u64 = 1000;
    let mut site = Site::on(&[Local]);
    site.config(&format!("rspeed: {LIMIT}"));
    // No reconcile: small changes would have a part of the limit for some seconds.
    site.config("initial_sync: Off");
    let mirror = site.mirror(Local);
    fs::create_dir_all(&mirror).unwrap();
    site.start();
    let mut written = 0;
    let mut rate = || {
        let (start, before) = (Instant::now(), bytes_below(&mirror));
        while start.elapsed() < Duration::from_secs(4) {
            site.write(format!("small {written}"), vec![b'x'; 40 * KIB as usize]);
            written += 1;
            std::thread::sleep(Duration::from_millis(25));
        }
        let rate = (bytes_below(&mirror) - before) as f64 / KIB as f64 / start.elapsed().as_secs_f64();
        assert!(rate <= 1.2 * LIMIT as f64, "{rate} KiB/s");
        rate
    };
    // What else a machine does may slow down small runs, and not always.
    let rates: Vec<f64> = (0..8).map(|_| rate()).take_while(|rate| *rate < 0.4 * LIMIT as f64).collect();
    assert!(rates.len() < 8, "{rates:?} KiB/s");
}

/// A time zone in which it is so many seconds before 08:00 now.
fn zone_before_eight(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400;
    // POSIX counts west of Greenwich: the hours that are added to local time for that of Greenwich.
    let west = (now + seconds + 86_400 - 8 * 3_600) % 86_400;
    let (sign, west) = if west > 43_200 { ("-", 86_400 - west) } else { ("", west) };
    format!("TZ=TST{sign}{}:{:02}:{:02}", west / 3600, west / 60 % 60, west % 60)
}

/// Starts the daemon some seconds before 08:00, so that its reconcile begins before that, with this limit: on a busy machine a
/// start takes longer.
#[track_caller]
fn start_before_eight(site: &mut Site, leads: [u64; 3], limit: &str, limits: &dyn Fn() -> Vec<String>) {
    for lead in leads {
        site.start_by(&["env", &zone_before_eight(lead)], &[]);
        let begun = wait::until(|| limits().first().cloned());
        if begun.as_deref() == Some(limit) {
            return;
        }
        site.crash();
        fs::remove_file(site.beside("runs")).unwrap();
    }
    site.fail("no reconcile begins before 08:00");
}

#[test]
fn a_reconcile_begins_anew_when_a_window_with_a_lower_limit_begins() {
    let mut site = Site::on(&[Local]);
    let (rsync, runs) = (site.beside("rsync"), site.beside("runs"));
    program(&rsync, &format!("#!/bin/sh\necho \"$*\" >>{}\nexec rsync \"$@\"\n", runs.display()));
    site.config(&format!("rsync: {rsync:?}"));
    site.config("rspeed: [(\"08:00-18:00\", 8000), (\"18:00-08:00\", 80)]");
    site.mkdir("dir");
    for n in 0..40 {
        site.write(format!("dir/{n}"), vec![b'x'; 200 * KIB as usize]);
    }
    let runs = || fs::read_to_string(&runs).unwrap_or_default();
    let limits = || -> Vec<String> {
        let runs = runs();
        let reconciles = runs.lines().filter(|run| run.contains("--info=progress2"));
        let limit = |run: &str| run.split(' ').find_map(|word| word.strip_prefix("--bwlimit=").map(str::to_owned));
        reconciles.map(|run| limit(run).unwrap_or_default()).collect()
    };
    // A higher limit ends nothing: the run goes on with what it has, and small changes get their part of the new one.
    start_before_eight(&mut site, [2, 8, 20], "60", &limits);
    let has_risen = |n: usize| {
        site.write("small", format!("{n}"));
        runs().contains("--bwlimit=1000").then_some(())
    };
    let mut n = 0;
    assert!(
        wait::until(|| {
            n += 1;
            has_risen(n)
        })
        .is_some(),
        "{}",
        runs()
    );
    assert_eq!(limits(), ["60"]);
    site.crash();
    fs::remove_file(site.beside("runs")).unwrap();
    site.config("rspeed: [(\"08:00-18:00\", 400), (\"18:00-08:00\", 800)]");
    start_before_eight(&mut site, [3, 6, 9], "600", &limits);
    site.expect_log("a run begins anew: the limit of this node is lower now");
    site.expect_identical();
    assert_eq!(limits(), ["600", "300"]);
}
