//! Programs that are faster than the mirror: what they leave is mirrored, whatever they did in between.

use std::fs;
use std::path::Path;
use std::thread;

use crate::support::{Local, Site};

/// How often each program does its work.
const ROUNDS: usize = 150;

/// What fails meets the work of another program: that is part of the game.
fn build_and_destroy(source: &Path, program: usize) {
    for round in 0..ROUNDS {
        let dir = source.join(format!("{}/{}/{}", round % 3, program % 2, round % 5));
        let _ = fs::create_dir_all(&dir);
        let _ = fs::write(dir.join(format!("{program}")), format!("{round}"));
        if round % 4 == program % 4 {
            let _ = fs::remove_dir_all(source.join(format!("{}/{}", round % 3, program % 2)));
        }
    }
}

#[test]
fn directories_that_are_made_filled_and_deleted_faster_than_watched_are_mirrored() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    thread::scope(|scope| {
        for program in 0..4 {
            let source = site.source();
            scope.spawn(move || build_and_destroy(&source, program));
        }
    });
    site.expect_identical();
    // Each directory that is left is watched.
    for round in 0..3 {
        site.mkdir(format!("{round}/0/{round}"));
        site.write(format!("{round}/0/{round}/late"), "x");
    }
    site.expect_identical();
}

#[test]
fn directories_that_trade_names_are_watched_under_the_right_ones() {
    let mut site = Site::on(&[Local]);
    for name in ["a", "b"] {
        site.mkdir(format!("{name}/sub"));
    }
    site.start_mirrored();
    for _ in 0..ROUNDS {
        site.rename("a", "tmp");
        site.rename("b", "a");
        site.rename("tmp", "b");
    }
    site.write("a/sub/one", "in a");
    site.write("b/sub/two", "in b");
    site.expect_on_nodes("a/sub/one", "in a");
    site.expect_on_nodes("b/sub/two", "in b");
    // The moves themselves are not mirrored before the next start.
    site.stop();
    site.start_mirrored();
}
