//! Files that are sent only when nobody touched them for a while.

use std::time::{Duration, Instant};

use crate::support::{Local, Site, wait};

/// In seconds; longer than other changes take to arrive.
const SETTLE: u64 = 5;
/// What is due within one second is waited for by a stop.
const DUE: Duration = Duration::from_secs(2);

fn site() -> Site {
    let mut site = Site::on(&[Local]);
    site.config(&format!("settle: [(\"*.part\", {SETTLE})]"));
    site.start_mirrored();
    site
}

/// Writes a file that settles, and asks whether it waits as wanted. If that took longer than the file has to wait, as it may on
/// a busy machine, it says nothing and is done again with another file. Returns the file and when it was written.
#[track_caller]
fn expect_waits(site: &mut Site, waits: impl Fn(&mut Site, &str) -> bool) -> (String, Instant) {
    let mut round = 0;
    let in_time = wait::until(|| {
        round += 1;
        let (file, start) = (format!("upload {round}.part"), Instant::now());
        site.write(&file, "half");
        let waits = waits(site, &file);
        (start.elapsed() + DUE < Duration::from_secs(SETTLE)).then_some((waits, file, start))
    });
    let Some((waits, file, start)) = in_time else { site.fail("this machine is never fast enough") };
    assert!(waits, "{file}:\n{}", site.log_lines().join("\n"));
    (file, start)
}

#[test]
fn a_file_that_settles_arrives_late_and_holds_nothing_up() {
    let mut site = site();
    // What is made in a new directory while that is sent goes along with it.
    site.mkdir("dir");
    site.expect_identical();
    site.settle();
    let (file, start) = expect_waits(&mut site, |site, file| {
        let below = format!("dir/{file}");
        site.write(&below, "half");
        site.settle();
        !site.mirror(Local).join(file).exists() && !site.mirror(Local).join(below).exists()
    });
    site.append(&file, " and half");
    site.expect_on_nodes(&file, "half and half");
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
    expect_waits(&mut site, |site, file| {
        site.settle();
        let code = site.stop().code;
        let waits = code == Some(75) && !site.mirror(Local).join(file).exists();
        site.start();
        waits
    });
    site.expect_identical();
}
