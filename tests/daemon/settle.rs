//! Files that are sent only when nobody touched them for a while.

use std::time::Instant;

use crate::support::{Local, Site, wait};

/// In seconds; longer than other changes take to arrive.
const SETTLE: u64 = 5;

fn site() -> Site {
    let mut site = Site::on(&[Local]);
    site.config(&format!("settle: [(\"*.part\", {SETTLE})]"));
    // Otherwise the first batch finds that it made the mirror, and a second reconcile follows, which waits for no file.
    std::fs::create_dir(site.mirror(Local)).unwrap();
    site.start_mirrored();
    site
}

#[test]
fn a_file_that_settles_arrives_late_and_holds_nothing_up() {
    let site = site();
    let start = Instant::now();
    site.write("upload.part", "half");
    // What is made in a new directory while that is sent goes along with it.
    site.mkdir("dir");
    assert!(wait::until(|| site.mirror(Local).join("dir").is_dir().then_some(())).is_some());
    site.settle();
    site.write("dir/upload.part", "half");
    site.settle();
    site.assert_absent("upload.part");
    site.assert_absent("dir/upload.part");
    site.append("upload.part", " and half");
    site.expect_on_nodes("upload.part", "half and half");
    assert!(start.elapsed().as_secs() >= SETTLE);
    site.expect_identical();
}

#[test]
fn the_final_name_of_a_file_that_settles_does_not_wait() {
    let site = site();
    site.write("upload.part", "whole");
    site.rename("upload.part", "upload");
    site.settle();
    site.assert_on_nodes("upload", "whole");
}

#[test]
fn a_stop_leaves_what_settles_to_the_next_start() {
    let mut site = site();
    site.write("upload.part", "half");
    site.settle();
    assert_eq!(site.stop().code, Some(75));
    site.assert_absent("upload.part");
    site.start_mirrored();
}
