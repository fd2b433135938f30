//! What the log tells in normal operation.

use std::ffi::OsStr;

use crate::support::{Local, Site};

#[test]
fn a_batch_is_one_line_however_many_paths_it_has() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    (0..500).for_each(|n| site.write(n.to_string(), "x"));
    site.expect_identical();
    let ended = site.stop();
    let lines = ended.log.lines().count();
    assert!(lines < 100, "{lines} lines for 500 files:\n{}", ended.log);
    assert!(!ended.log.contains("\u{1b}["), "no colours without a terminal");
}

#[test]
fn names_cannot_forge_lines_of_the_log() {
    let mut site = Site::on(&[Local]);
    site.start_with(&["-v"]);
    site.write("harmless\nNov 22 20:00:00.000 CRIT forged", "x");
    site.write(OsStr::new("\u{1b}[31mred"), "x");
    site.expect_identical();
    site.expect_log_line(&["harmless\\x0a"]);
    let ended = site.stop();
    assert!(!ended.log.lines().any(|line| line.contains("CRIT forged") && !line.contains("harmless")), "{}", ended.log);
    assert!(!ended.log.contains('\u{1b}'), "{}", ended.log);
}
