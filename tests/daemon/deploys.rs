//! Whoever reads a site at a node while it is deployed at the source finds a whole release at any time: the new one is
//! there before the link leads to it, and the old one until then.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Local, Node, Site, Ssh, wait};

/// Of what `make test` does; by hand it is 100.
const DEPLOYS: usize = 4;
/// Of a release, beside its small files.
const LARGE: usize = 1_500_000;
/// In KiB/s: a release takes longer than anything else that is done for it.
const SPEED: u32 = 3_000;

/// What a reader saw.
#[derive(Debug, Default)]
struct Reading {
    reads: usize,
    failed: Vec<String>,
}

/// Reads two files by the link as fast as it can until it is told to stop. Those of one release say the same.
fn read_until(stop: &AtomicBool, link: &Path, names: [&str; 2]) -> Reading {
    let mut reading = Reading::default();
    while !stop.load(Ordering::Relaxed) {
        for name in names {
            reading.reads += 1;
            if let Err(error) = fs::read(link.join(name)) {
                reading.failed.push(format!("{name}, read {}: {error}", reading.reads));
            }
        }
    }
    reading
}

/// Deploys again and again while somebody reads at each node. `deploy` makes release `n` and leads the link to it.
fn nobody_misses_anything(
    nodes: &[Node],
    link: &str,
    names: [&str; 2],
    deploy: impl Fn(&Site, usize),
    is_there: impl Fn(&Path, usize) -> bool,
) {
    let deploys = std::env::var("INOSYNC_TEST_DEPLOYS").map_or(DEPLOYS, |count| count.parse().unwrap());
    let mut site = Site::on(nodes);
    site.config(&format!("rspeed: {SPEED}"));
    deploy(&site, 0);
    site.start_mirrored();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = nodes
            .iter()
            .map(|node| {
                let (path, stop) = (site.mirror(*node).join(link), &stop);
                (*node, scope.spawn(move || read_until(stop, &path, names)))
            })
            .collect();
        let mut late = None;
        for n in 1..=deploys {
            deploy(&site, n);
            let arrived = || nodes.iter().all(|node| is_there(&site.mirror(*node), n)).then_some(());
            if wait::until(arrived).is_none() {
                late = Some(n);
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for (node, reader) in readers {
            let Reading { reads, failed } = reader.join().unwrap();
            println!("{node}: {deploys} deploys, {reads} reads, {} failed", failed.len());
            assert!(
                failed.is_empty(),
                "{node}: {} of {reads} failed: {:?}",
                failed.len(),
                &failed[..failed.len().min(5)]
            );
        }
        assert_eq!(late, None, "a release does not arrive");
    });
    site.expect_identical();
}

/// Leads a link elsewhere in one step.
fn switch(site: &Site, link: &str, target: &str) {
    let new = site.at(format!("{link}.new"));
    symlink(target, &new).unwrap();
    fs::rename(new, site.at(link)).unwrap();
}

/// A release with a large file and small ones; the one before the last goes.
fn deploy_release(site: &Site, n: usize) {
    let dir = format!("releases/{n}");
    site.mkdir(format!("{dir}/assets"));
    for at in 0..20 {
        site.write(format!("{dir}/assets/{at}.css"), vec![b'a' + (n % 26) as u8; 20_000]);
    }
    site.write(format!("{dir}/assets/app.js"), vec![b'A' + (n % 26) as u8; LARGE]);
    site.write(format!("{dir}/index"), format!("release {n}"));
    switch(site, "current", &dir);
    if n > 1 {
        site.remove(format!("releases/{}", n - 2));
    }
}

/// A volume as the kubelet updates it: a new directory beside the old one, `..data` switched to it, the old one
/// removed.
fn swap_volume(site: &Site, n: usize) {
    let dir = format!("..2026_{n}");
    site.mkdir(&dir);
    for key in ["config", "key"] {
        site.write(format!("{dir}/{key}"), format!("{key} {n}"));
    }
    switch(site, "..data", &dir);
    if n == 0 {
        ["config", "key"].into_iter().for_each(|key| site.symlink(key, &format!("..data/{key}")));
    } else {
        site.remove(format!("..2026_{}", n - 1));
    }
}

#[test]
fn a_release_can_be_read_at_any_moment_of_its_deployment() {
    let is_there = |mirror: &Path, n: usize| {
        fs::read(mirror.join("current/index")).is_ok_and(|text| text == format!("release {n}").as_bytes())
    };
    nobody_misses_anything(&[Local, Ssh], "current", ["index", "assets/app.js"], deploy_release, is_there);
}

#[test]
fn a_key_of_a_volume_can_be_read_at_any_moment_of_its_update() {
    let is_there =
        |mirror: &Path, n: usize| fs::read(mirror.join("key")).is_ok_and(|text| text == format!("key {n}").as_bytes());
    nobody_misses_anything(&[Local, Ssh], "", ["config", "key"], swap_volume, is_there);
}

/// Updates that come faster than the line takes them: the link has another target by the time its turn has come.
#[test]
fn what_the_node_reads_stays_until_the_link_leads_elsewhere_however_fast_it_is_switched() {
    let mut site = Site::on(&[Local]);
    // A second for each update, whatever else is under way.
    site.config("extra: \"--bwlimit=20\"");
    let update = |site: &Site, n: usize| {
        let dir = format!("..2026_{n}");
        site.mkdir(&dir);
        site.write(format!("{dir}/key"), format!("key {n}"));
        site.write(format!("{dir}/token"), vec![b'a' + (n % 26) as u8; 20_000]);
        switch(site, "..data", &dir);
        if n > 0 {
            site.remove(format!("..2026_{}", n - 1));
        }
    };
    update(&site, 0);
    site.start_mirrored();
    let (stop, link) = (AtomicBool::new(false), site.mirror(Local).join("..data"));
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_until(&stop, &link, ["key", "token"]));
        for n in 1..=16 {
            update(&site, n);
            // The pace of the updates.
            thread::sleep(Duration::from_millis(300));
        }
        let arrived = || fs::read(link.join("key")).is_ok_and(|text| text == b"key 16").then_some(());
        let arrived = wait::until(arrived);
        stop.store(true, Ordering::Relaxed);
        let Reading { reads, failed } = reader.join().unwrap();
        assert!(failed.is_empty(), "{} of {reads} failed: {:?}", failed.len(), &failed[..failed.len().min(5)]);
        assert!(arrived.is_some(), "the last one does not arrive");
    });
    site.expect_identical();
}
