//! The directory in which renamed files are linked: it holds nothing at rest, and where it is of no use nothing else is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::process::Signal;

use super::{KIB, expect_done, fill};
use crate::support::{Local, Site, Ssh, tree, wait};

/// What is in the staging directory; nothing if there is none.
fn staged(site: &Site) -> Vec<PathBuf> {
    let kept = fs::read_dir(site.beside("state")).into_iter().flatten().flatten().map(|entry| entry.path());
    let staging = kept.filter(|path| path.extension().is_some_and(|extension| extension == "staging"));
    staging.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten()).map(|entry| entry.path()).collect()
}

fn files(site: &Site, count: usize) {
    site.mkdir("dir");
    (0..count).for_each(|n| fill(site, n.to_string(), 10 * KIB));
}

#[test]
fn nothing_is_staged_once_the_renames_are_mirrored_and_the_daemon_ended() {
    let mut site = Site::new();
    files(&site, 50);
    site.start_mirrored();
    (0..50).for_each(|n| site.rename(n.to_string(), format!("dir/{n}")));
    expect_done(&site);
    let cleared = wait::until(|| staged(&site).iter().all(|path| tree::read(path, |_| false).len() <= 1).then_some(()));
    assert!(cleared.is_some(), "at rest: {:?}", staged(&site));
    assert_eq!(site.stop().code, Some(0));
    assert_eq!(staged(&site), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_daemon_had_staged_is_cleared_away_by_the_next_one() {
    let mut site = Site::on(&[Local, Ssh]);
    files(&site, 300);
    site.start_mirrored();
    let at = |n: usize, round: usize| if round == 0 { n.to_string() } else { format!("dir/{n}.{round}") };
    for round in 0..4 {
        (0..300).for_each(|n| site.rename(at(n, round), at(n, round + 1)));
        // While links are there, if the moment is seen.
        wait::until_within(std::time::Duration::from_millis(300), || {
            staged(&site).iter().any(|path| tree::read(path, |_| false).len() > 1).then_some(())
        });
        site.daemon().signal(Signal::KILL);
        site.wait();
        site.start();
    }
    expect_done(&site);
    assert_eq!(site.stop().code, Some(0));
    assert_eq!(staged(&site), Vec::<PathBuf>::new());
}

#[test]
fn a_staging_directory_on_another_file_system_is_told_once_and_costs_nothing_else() {
    let Ok(other) = tempfile::Builder::new().prefix("inosync-test-").tempdir_in("/dev/shm") else {
        println!("not tested, there is no /dev/shm to write to");
        return;
    };
    let mut site = Site::new();
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(site.source()).unwrap().dev() {
        println!("not tested, the temporary directory is in /dev/shm, too");
        return;
    }
    site.config(&format!("staging: {:?}", other.path()));
    files(&site, 10);
    site.start_mirrored();
    (0..10).for_each(|n| site.rename(n.to_string(), format!("dir/{n}")));
    site.expect_log("staging");
    site.expect_identical();
    (0..10).for_each(|n| site.rename(format!("dir/{n}"), n.to_string()));
    expect_done(&site);
    let told: Vec<String> = site.log_lines().into_iter().filter(|line| line.contains("staging")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}
