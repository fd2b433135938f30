//! Directories whose files differ in nothing but their content: size and time tell rsync nothing of them.

use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::Signal;

use super::{expect_done, site};
use crate::support::Site;

fn write(site: &Site, path: &str, content: &str) {
    site.write(path, content.repeat(50_000));
    site.touch(path, Duration::new(1_000_000_000, 0));
}

/// A site with directories that have a file each, mirrored.
fn alike() -> Site {
    let mut site = site();
    for (dir, content) in [("a", "1"), ("b", "2"), ("c", "3")] {
        site.mkdir(dir);
        write(&site, &format!("{dir}/x"), content);
    }
    site.start_mirrored();
    site
}

/// As it happens, and as the daemon sees it in one go.
fn either_way(change: impl Fn(&Site)) {
    for at_once in [false, true] {
        let site = alike();
        if at_once {
            site.daemon().signal(Signal::STOP);
        }
        change(&site);
        if at_once {
            site.daemon().signal(Signal::CONT);
        }
        expect_done(&site);
    }
}

#[test]
fn directories_that_change_places_by_one_call_keep_their_own_content() {
    either_way(|site| renameat_with(CWD, site.at("a"), CWD, site.at("b"), RenameFlags::EXCHANGE).unwrap());
}

#[test]
fn a_file_that_is_written_in_a_directory_just_moved_has_its_new_content() {
    either_way(|site| {
        site.rename("b", "d");
        write(site, "d/x", "4");
    });
}

#[test]
fn a_file_that_is_replaced_in_a_directory_just_moved_has_its_new_content() {
    either_way(|site| {
        site.rename("b", "d");
        site.rename("a/x", "q");
        site.rename("q", "d/x");
    });
    either_way(|site| {
        site.remove("b/x");
        site.rename("b", "d");
        write(site, "d/x", "4");
    });
}
