//! A file system that is mounted in the source and does not answer, as a network file system whose server is gone: the rest
//! goes on, what is below it waits, and it recovers by itself. Mounting takes root: where it is forbidden, these tests say
//! so and pass.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::disk::{Disk, Kind};
use crate::support::{Local, Site, wait};

/// What ends by itself although a file system hangs does so within this time.
const BOUND: Duration = Duration::from_secs(30);

/// A site with FUSE mounts in the source. Each holds `d/f`, and has its files in a directory beside it that is excluded.
fn site_with(mounts: &[&str]) -> Option<Site> {
    let mut site = Site::on(&[Local]);
    site.config("rexcludes: [\"*.below\", \"*.log\"], stop_timeout: 5");
    site.compare_without(|path| path.ends_with(b".below") || path.ends_with(b".log"));
    for at in mounts {
        if !site.mount_in_source(Kind::Bindfs, at) {
            return None;
        }
        site.mkdir(format!("{at}/d"));
        site.write(format!("{at}/d/f"), "1");
    }
    site.mkdir("rest");
    Some(site)
}

fn disk<'s>(site: &'s Site, at: &str) -> &'s Disk {
    site.disk(&site.at(at)).unwrap()
}

/// Changes a file of a mount, and lets the mount hang at once.
fn change_and_hang(site: &Site, at: &str) {
    let hang = disk(site, at).when_told();
    site.write(format!("{at}/d/f"), "2");
    hang();
}

/// The mount is known to hang when something is about to be looked at there.
#[track_caller]
fn expect_unreachable(site: &Site, at: &str) {
    let names = |status: &serde_json::Value| {
        status["source"]["silent"].as_array().is_some_and(|all| all.iter().any(|silent| silent["path"] == at))
    };
    if wait::until(|| names(&site.status()).then_some(())).is_none() {
        site.fail(&format!("{at} is not told: {:#}", site.status()));
    }
}

#[track_caller]
fn expect_all_reachable(site: &Site) {
    let all_answer = || site.status()["source"]["silent"].as_array().is_some_and(Vec::is_empty).then_some(());
    if wait::until(all_answer).is_none() {
        site.fail("something is still told not to answer");
    }
}

#[track_caller]
fn bounded<T>(what: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = what();
    assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
    done
}

#[test]
fn while_a_mount_hangs_the_rest_goes_on_and_what_changed_in_it_arrives_when_it_answers() {
    let Some(mut site) = site_with(&["n/m"]) else { return };
    site.start_mirrored();
    change_and_hang(&site, "n/m");
    for round in ["1", "2"] {
        site.write("rest/live", round);
        site.expect_on_nodes("rest/live", round);
        expect_unreachable(&site, "n/m");
    }
    let asked = bounded(|| site.ask(&["status"]));
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stdout.contains("NOT reachable: n/m (fuse"), "{asked:?}");
    let asked = bounded(|| site.ask(&["explain", "n/m/d/f"]));
    assert!(asked.stdout.contains("its file system does not answer"), "{asked:?}");
    site.expect_log_line(&["a file system does not answer", "path: n/m"]);
    disk(&site, "n/m").answer();
    site.expect_identical();
    site.expect_on_nodes("n/m/d/f", "2");
    expect_all_reachable(&site);
    site.expect_log_line(&["a file system answers again", "path: n/m"]);
    site.expect_state(Local, "idle");
    // What changes there afterwards is seen.
    site.mkdir("n/m/new");
    site.write("n/m/new/f", "3");
    site.expect_on_nodes("n/m/new/f", "3");
    assert_eq!(site.troubles().len(), 1, "{:?}", site.troubles());
    site.stop();
}

#[test]
fn beside_a_mount_that_hangs_from_the_start_all_else_is_compared_and_the_mirror_of_it_is_kept() {
    let Some(mut site) = site_with(&["n/m", "other"]) else { return };
    site.mkdir("n/sibling");
    site.write("n/sibling/f", "1");
    let mirror = site.mirror(Local);
    for path in ["n/m/d/at_the_node", "n/sibling/stale", "n/stale"] {
        crate::support::plant(&mirror.join(path), "old");
    }
    disk(&site, "n/m").hang();
    disk(&site, "other").hang();
    bounded(|| site.start());
    site.expect_on_nodes("n/sibling/f", "1");
    site.expect_on_nodes("seed", "seed");
    site.expect_gone("n/sibling/stale");
    site.expect_state(Local, "incomplete");
    assert!(mirror.join("n/m/d/at_the_node").exists(), "what hangs is not gone");
    // One answers again, and the other one does not.
    disk(&site, "other").answer();
    site.expect_on_nodes("other/d/f", "1");
    expect_unreachable(&site, "n/m");
    disk(&site, "n/m").answer();
    site.expect_identical();
    site.expect_state(Local, "idle");
    site.stop();
}

#[test]
fn a_restart_beside_a_mount_that_hangs_goes_on_from_the_state_and_deletes_nothing() {
    let Some(mut site) = site_with(&["n/m"]) else { return };
    site.start_mirrored();
    site.stop();
    disk(&site, "n/m").hang();
    site.write("rest/while_down", "1");
    bounded(|| site.start());
    site.expect_on_nodes("rest/while_down", "1");
    site.settle();
    assert!(site.mirror(Local).join("n/m/d/f").exists(), "what hangs is not gone");
    let ended = bounded(|| site.stop());
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    disk(&site, "n/m").answer();
    site.write("n/m/d/f", "3");
    site.start();
    site.expect_identical();
    site.stop();
}

#[test]
fn a_reconcile_in_which_a_mount_begins_to_hang_is_broken_off_and_the_rest_is_compared() {
    let Some(mut site) = site_with(&["a"]) else { return };
    for number in 0..300 {
        site.write(format!("a/d/{number}"), "x");
    }
    site.mkdir("z");
    site.write("z/last", "1");
    site.write("a/d/large", vec![b'x'; 4 << 20]);
    site.config("rspeed: 1000");
    site.start();
    let is_in_it = || site.mirror(Local).join("a/d").exists().then_some(());
    wait::until(is_in_it).unwrap();
    disk(&site, "a").hang();
    site.expect_on_nodes("z/last", "1");
    site.write("rest/live", "1");
    site.expect_on_nodes("rest/live", "1");
    disk(&site, "a").answer();
    site.expect_identical();
    assert_eq!(site.status_of(Local)["totals"]["failures"], 0, "it is no fault of the node");
    site.stop();
}

#[test]
fn an_excluded_mount_that_hangs_keeps_no_comparison_of_the_rest() {
    let Some(mut site) = site_with(&["m"]) else { return };
    site.config("rexcludes: [\"*.below\", \"*.log\", \"/m\"]");
    site.compare_without(|path| path.ends_with(b".below") || path.ends_with(b".log") || path.starts_with(b"m"));
    disk(&site, "m").hang();
    bounded(|| site.start());
    // rsync looks at what it leaves out.
    expect_unreachable(&site, "m");
    site.expect_identical();
    disk(&site, "m").answer();
    site.expect_state(Local, "idle");
    site.stop();
}

#[test]
fn a_stop_ends_while_a_mount_hangs_and_keeps_what_waits_for_the_next_start() {
    let Some(mut site) = site_with(&["m"]) else { return };
    site.start_mirrored();
    change_and_hang(&site, "m");
    site.write("rest/live", "1");
    site.expect_on_nodes("rest/live", "1");
    expect_unreachable(&site, "m");
    let ended = bounded(|| site.stop());
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    disk(&site, "m").answer();
    site.start();
    site.expect_identical();
    site.stop();
}

#[test]
fn a_mount_that_hangs_and_is_unmounted_is_waited_for_no_longer() {
    let Some(mut site) = site_with(&["m"]) else { return };
    site.start_mirrored();
    change_and_hang(&site, "m");
    expect_unreachable(&site, "m");
    assert!(Command::new("umount").arg("-l").arg(site.at("m")).status().unwrap().success());
    expect_all_reachable(&site);
    site.expect_log("a file system that did not answer is not mounted any more");
    site.write("m/under", "1");
    site.expect_on_nodes("m/under", "1");
    assert!(site.mirror(Local).join("m/d/f").exists(), "what was mounted is kept");
    site.stop();
}

#[test]
fn a_part_of_a_mount_that_hangs_holds_up_no_more_than_the_mount() {
    let Some(mut site) = site_with(&["m"]) else { return };
    let inner: PathBuf = site.at("m.below/inner");
    let Some(part) = Disk::mount(Kind::Bindfs, &inner) else { return };
    fs::write(inner.join("g"), "1").unwrap();
    site.compare_without(|path| {
        [&b".below"[..], b".log"].iter().any(|end| path.ends_with(end)) || path.starts_with(b"m/inner.")
    });
    site.start_mirrored();
    site.write("m/inner/g", "2");
    part.hang();
    site.write("rest/live", "1");
    site.expect_on_nodes("rest/live", "1");
    part.answer();
    site.expect_identical();
    site.stop();
}

#[test]
fn commands_that_read_the_whole_source_end_with_the_name_of_what_hangs() {
    let Some(site) = site_with(&["m"]) else { return };
    disk(&site, "m").hang();
    for (options, code) in [(["once"], 69), (["dry-run"], 69), (["verify"], 69), (["check"], 69)] {
        let asked = bounded(|| site.ask(&options));
        let said = format!("{}{}", asked.stdout, asked.stderr);
        assert!(
            asked.code == Some(code) && said.contains("the file system at `m` (fuse) does not answer"),
            "{asked:?}"
        );
    }
}

#[test]
fn a_mount_that_answers_late_breaks_no_run_off() {
    let Some(mut site) = site_with(&["a"]) else { return };
    for number in 0..300 {
        site.write(format!("a/d/{number}"), "x");
    }
    site.write("a/d/large", vec![b'x'; 4 << 20]);
    site.config("rspeed: 1000");
    site.config("log: (level: Debug)");
    site.start();
    wait::until(|| site.mirror(Local).join("a/d").exists().then_some(())).unwrap();
    let begun = Instant::now();
    disk(&site, "a").hang();
    expect_unreachable(&site, "a");
    disk(&site, "a").answer();
    let is_late = begun.elapsed() > Duration::from_secs(8);
    site.expect_identical();
    let is_broken_off = site.log_lines().iter().any(|line| line.contains("is broken off"));
    assert!(is_late || !is_broken_off, "{:#?}", site.log_lines());
    site.stop();
}

#[test]
fn a_source_that_lies_on_a_mount_that_hangs_is_told_and_mirrored_when_it_answers() {
    let mut site = Site::on(&[Local]);
    if !site.source_on(Kind::Bindfs) {
        return;
    }
    site.config("stop_timeout: 5");
    let port = site.listen();
    site.start_mirrored();
    let change_and_hang = |site: &Site, content: &str| {
        let hang = disk(site, "").when_told();
        site.write("seed", content);
        hang();
        expect_unreachable(site, ".");
    };
    change_and_hang(&site, "1");
    let asked = bounded(|| site.ask(&["status"]));
    assert!(asked.code == Some(2) && asked.stdout.contains("NOTHING IS SENT"), "{asked:?}");
    assert_eq!(bounded(|| site.get(port, "/")).status, 200);
    site.expect_log_line(&["nothing is sent", "does not answer"]);
    disk(&site, "").answer();
    site.expect_identical();
    site.expect_state(Local, "idle");
    // Its watches are those that it had.
    site.mkdir("new");
    site.write("new/f", "1");
    site.expect_on_nodes("new/f", "1");
    change_and_hang(&site, "2");
    let ended = bounded(|| site.stop());
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    disk(&site, "").answer();
    site.start();
    site.expect_identical();
    site.stop();
}

#[test]
fn a_stop_ends_while_a_mirror_of_this_machine_hangs() {
    let mut site = Site::on(&[Local]);
    if !site.mirror_on(Local, Kind::Bindfs) {
        return;
    }
    site.config("stop_timeout: 5");
    site.start_mirrored();
    let mirror = site.disk(&site.mirror(Local)).unwrap();
    mirror.hang();
    for round in ["1", "2", "3"] {
        site.write("live", round);
        let counted = || site.status_of(Local)["pending"].as_u64().filter(|pending| *pending > 0);
        wait::until(counted).unwrap();
    }
    bounded(|| site.ask(&["--status"]));
    let ended = bounded(|| site.stop());
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    site.disk(&site.mirror(Local)).unwrap().answer();
    site.start();
    site.expect_identical();
    site.stop();
}
