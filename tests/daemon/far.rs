//! A node behind a long line: changes go to it beside each other, and nothing else does.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::{Site, Ssh};

const ROUND_TRIP: Duration = Duration::from_millis(120);
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(40);
/// Changes until the round trip is known.
const KNOWN: usize = 4;

/// A site whose node is far away, which is known.
fn far_away() -> Site {
    let mut site = Site::on(&[Ssh]);
    site.relay(Ssh).lengthen(ROUND_TRIP);
    (0..4).for_each(|dir| fs::create_dir(site.source().join(format!("d{dir}"))).unwrap());
    site.start_warm();
    for change in 0..KNOWN {
        site.write("first", change.to_string());
        site.expect_identical();
    }
    site
}

/// The most batches that had begun and not ended at one time.
fn most_at_once(site: &Site) -> usize {
    let mut most = (0, 0);
    for line in site.log_lines() {
        if line.contains("lane: Fast") {
            most.0 += 1;
            most.1 = most.0.max(most.1);
        } else if line.contains("mirrored") {
            most.0 -= 1;
        }
    }
    most.1
}

#[test]
fn changes_go_beside_each_other_over_a_long_line_and_directories_have_their_times() {
    let site = far_away();
    for change in 0..60 {
        site.write(format!("d{}/file{change}", change % 4), "x");
        site.write("d0/changes", change.to_string());
        thread::sleep(PAUSE);
    }
    site.expect_identical();
    // Of two, one may have done its work.
    assert!(most_at_once(&site) > 2, "{:?}", site.log_lines());
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn removals_renames_and_links_among_the_changes_of_a_long_line_lose_nothing() {
    let site = far_away();
    let path = |name: String| site.source().join(name);
    for change in 0..60 {
        site.write(format!("d{}/file{change}", change % 3), "x".repeat(change * 200));
        if let Some(before) = change.checked_sub(7).filter(|_| change % 5 == 2) {
            fs::remove_file(path(format!("d{}/file{before}", before % 3))).unwrap();
        }
        if let Some(before) = change.checked_sub(3).filter(|_| change % 5 == 1) {
            fs::rename(path(format!("d{}/file{before}", before % 3)), path(format!("d3/named{before}"))).unwrap();
        }
        if change % 15 == 0 {
            std::os::unix::fs::symlink(format!("../d{}/file{change}", change % 3), path(format!("d3/link{change}")))
                .unwrap();
            fs::create_dir_all(path(format!("d3/new{change}/deep"))).unwrap();
        }
        thread::sleep(PAUSE);
    }
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}
