//! Snapshots of btrfs that come and go in the source: the kernel keeps what is watched, so nothing of them may be.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::disk::{Disk, Kind};
use crate::support::{Local, Site, plant, wait};

/// The number of them at a time, and in all unless the environment says otherwise.
const KEPT: usize = 3;
const SNAPSHOTS: usize = 20;
/// Directories in each.
const DIRECTORIES: usize = 20;

/// The number of deleted subvolumes that the kernel has not freed yet. One that can be freed is, at the next commit.
fn unfreed(disk: &Disk) -> usize {
    let btrfs = |words: &[&str]| Command::new("btrfs").args(words).arg(&disk.at).output().unwrap().stdout;
    btrfs(&["filesystem", "sync"]);
    String::from_utf8(btrfs(&["subvolume", "list", "-d"])).unwrap().lines().count()
}

#[test]
fn snapshots_that_are_made_and_deleted_while_others_write_leave_no_watch_and_are_freed() {
    let mut site = Site::on(&[Local]);
    site.config("dir_moves: Replicate");
    // The usual place is on another file system, of which a warning tells.
    site.config("staging: \"\"");
    if !site.source_on(Kind::Btrfs) {
        return;
    }
    site.disk(&site.source()).unwrap().subvolume("live");
    (0..DIRECTORIES).for_each(|number| plant(&site.at(format!("live/{number}/f")), "f"));
    site.mkdir("snapshots");
    site.start_mirrored();
    let disk = site.disk(&site.source()).unwrap();
    let directories = DIRECTORIES + 3;
    let watches = site.kernel_watches();
    let many = std::env::var("INOSYNC_TEST_SNAPSHOTS").ok().map_or(SNAPSHOTS, |number| number.parse().unwrap());
    let (at, done) = (site.at("live"), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Acquire) {
                number += 1;
                let dir = at.join((number % DIRECTORIES).to_string());
                plant(&dir.join("made/w"), &number.to_string());
                let _ = fs::remove_dir_all(dir.join("moved"));
                fs::rename(dir.join("made"), dir.join("moved")).unwrap();
                // As fast as a program that does something between.
                thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let name = |number: usize| format!("snapshots/{number}");
        for number in 0..many + KEPT {
            if number < many {
                disk.snapshot("live", name(number));
            }
            if number >= KEPT && number - KEPT < many {
                // Some are watched as a whole when they go, and some in part.
                if number % 2 == 0 {
                    wait::until(|| (site.kernel_watches() > watches + DIRECTORIES).then_some(()));
                }
                disk.delete_subvolume(name(number - KEPT));
            }
        }
        done.store(true, Ordering::Release);
    });
    site.expect_identical();
    let moved = fs::read_dir(&at).unwrap().flatten().filter(|entry| entry.path().join("moved").exists()).count();
    let settled = wait::until(|| (site.status()["source"]["watched_directories"] == directories + moved).then_some(()));
    assert!(settled.is_some(), "{} directories, {}", directories + moved, site.status()["source"]);
    assert!(
        wait::until(|| (site.kernel_watches() == watches + moved).then_some(())).is_some(),
        "{}",
        site.kernel_watches()
    );
    assert!(wait::until(|| (unfreed(disk) == 0).then_some(())).is_some(), "{} are kept", unfreed(disk));
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}
