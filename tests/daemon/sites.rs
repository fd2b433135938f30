//! The sites of one machine: a look at all of them, and a daemon that is reached although its file is broken by now.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Dead, Local, Site, wait};

/// The line of a table about this site and node.
fn line<'a>(table: &'a str, words: &[&str]) -> &'a str {
    let found = table.lines().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no line with {words:?} in\n{table}"))
}

#[test]
fn all_sites_of_the_machine_are_seen_at_once_the_worst_first() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    // Another site, whose daemon has its socket in the same directory.
    let mut other = Site::on(&[Local, Dead]);
    symlink(site.beside("run"), other.beside("run")).unwrap();
    other.start();
    let status_of_dead = || other.status_of(Dead)["state"]["lasts"].as_bool();
    assert!(wait::until(|| (status_of_dead() == Some(true)).then_some(())).is_some(), "{:#}", other.status());
    fs::copy(site.config_file(), site.beside("idle.ron")).unwrap();
    let asked = site.ask_all(&["status"]);
    assert_eq!(asked.code, Some(2), "{asked:?}");
    let table = &asked.stdout;
    assert!(line(table, &["SITE", "SOURCE", "NODE", "STATE", "LAG", "PENDING", "LAST ERROR"]).starts_with("SITE"));
    let other_file = other.beside("site.ron").display().to_string();
    let source = site.source().display().to_string();
    assert!(line(table, &[&other_file, &other.name(Dead), "backoff"]).contains("cannot be reached"), "{table}");
    line(table, &["site ", &source, "local", "idle"]);
    line(table, &["idle ", "not running"]);
    let places: Vec<usize> = [" backoff ", "not running", "site "].map(|word| table.find(word).unwrap()).into();
    assert!(places.is_sorted(), "{table}");
    let told: Value = serde_json::from_str(&site.ask_all(&["status", "--json"]).stdout).unwrap();
    let sites = told["sites"].as_array().unwrap();
    assert_eq!(sites.len(), 3, "{told:#}");
    let own = sites.iter().find(|one| one["site"] == "site").unwrap();
    assert_eq!(own["answer"]["status"]["config"], site.beside("site.ron").display().to_string().as_str());
}

#[test]
fn a_daemon_that_hangs_does_not_hide_the_others() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    let mut other = Site::on(&[Local]);
    symlink(site.beside("run"), other.beside("run")).unwrap();
    other.start_mirrored();
    other.daemon().signal(Signal::STOP);
    // On a busy machine the one that is well may answer too late as well.
    let told = wait::until(|| {
        let start = Instant::now();
        let asked = site.ask_all(&["status"]);
        let is_well = |line: &str| ["site ", "local", "idle"].iter().all(|word| line.contains(word));
        asked.stdout.lines().any(is_well).then(|| (asked, start.elapsed()))
    });
    other.daemon().signal(Signal::CONT);
    let (asked, took) = told.expect("the site that is well is told");
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    line(&asked.stdout, &["no answer", "does not answer within 1 s"]);
}

#[test]
fn where_the_only_site_is_the_default_one_its_whole_status_is_told() {
    let site = Site::on(&[Local]);
    let asked = site.ask_all(&["status"]);
    assert_eq!(asked.code, Some(3), "{asked:?}");
    assert!(asked.stderr.contains("there is no site"), "{asked:?}");
    fs::rename(site.config_file(), site.beside("default.ron")).unwrap();
    let asked = site.ask_all(&["status"]);
    assert_eq!(asked.code, Some(3), "{asked:?}");
    assert!(asked.stderr.contains("no daemon answers for"), "{asked:?}");
}

#[test]
fn a_daemon_is_asked_and_directed_although_its_file_is_broken_or_gone() {
    for socket_dir in [None, Some("elsewhere")] {
        let mut site = Site::on(&[Local]);
        if let Some(name) = socket_dir {
            site.config(&format!("socket_dir: {:?}", site.beside(name)));
        }
        site.config("rexcludes: [\"*.tmp\"]");
        site.start_mirrored();
        site.expect_state(Local, "idle");
        let file = site.config_file().display().to_string();
        let links = || fs::read_dir(site.beside("run")).unwrap().flatten().count();
        assert!(wait::until(|| (links() == 1).then_some(())).is_some(), "{socket_dir:?}");
        for broken in ["(wpath: \"/srv\", rexcludes: [", ""] {
            if broken.is_empty() {
                fs::remove_file(&file).unwrap()
            } else {
                fs::write(&file, broken).unwrap()
            }
            let asked = site.ask_about(&file, &["status"]);
            assert_eq!(asked.code, Some(0), "{asked:?}");
            assert!(asked.stderr.contains("its file is wrong by now"), "{asked:?}");
            let asked = site.ask_about(&file, &["explain", "d/x.tmp"]);
            assert_eq!(asked.code, Some(0), "{asked:?}");
            assert!(asked.stdout.contains("excluded: by `*.tmp` (rexcludes[0])"), "{asked:?}");
            assert_eq!(site.ask_about(&file, &["pause", "local"]).code, Some(0));
            assert_eq!(site.ask_about(&file, &["status"]).code, Some(1));
            assert_eq!(site.ask_about(&file, &["resume", "local"]).code, Some(0));
            let asked = site.ask_about(&file, &["reload"]);
            assert_eq!(asked.code, Some(78), "{asked:?}");
            assert!(asked.stderr.contains("reload refused: ") && asked.stderr.contains("site.ron"), "{asked:?}");
        }
        assert_eq!(site.stop().code, Some(0));
        assert_eq!(fs::read_dir(site.beside("run")).unwrap().flatten().count(), 0, "{socket_dir:?}");
    }
}

#[test]
fn a_reload_is_answered_when_it_is_in_force_also_by_a_new_start() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let reload = |site: &mut Site, key: &str, word: &str| {
        site.config(key);
        let asked = site.ask(&["reload"]);
        assert_eq!(asked.code, Some(0), "{asked:?}");
        assert!(site.daemon().log().contains(word), "{}", site.daemon().log());
    };
    reload(&mut site, "rspeed: 100000", "reloaded: changed rspeed");
    reload(&mut site, "rexcludes: [\"*.tmp\"]", "reloaded: changed rexcludes");
    reload(&mut site, "dir_moves: Replicate", "reloaded: changed dir_moves: starting anew");
    assert!(site.watches());
    site.config("rsync: \"/no/such/rsync\"");
    let asked = site.ask(&["reload"]);
    assert_eq!(asked.code, Some(69), "{asked:?}");
    assert!(asked.stderr.contains("/no/such/rsync"), "{asked:?}");
}
