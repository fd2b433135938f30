//! Any sequence of operations ends with equal trees; with moves of directories among them, after the next reconcile.
//!
//! A failure prints its seed; `INOSYNC_TEST_SEED=... cargo test random` runs the same sequence again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Local, Rsyncd, Site};

/// A small generator (xorshift): a test needs no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[usize::try_from(self.below(choice.len() as u64)).unwrap()]
    }

    /// One of a few paths, so that operations meet.
    fn path(&mut self) -> PathBuf {
        (0..=self.below(3)).map(|_| self.of(&["a", "b", "c d", "#e"])).collect()
    }
}

/// One operation on the tree. Many fail, because what they need is not there: that is part of the game.
fn operate(site: &Site, random: &mut Random, step: usize, dir_moves: bool) -> io::Result<()> {
    let path = site.at(random.path());
    // Contents of few sizes, so that size alone does not tell them apart.
    let content = format!("{step:>width$}", width = 4 + step % 3);
    match random.below(12) {
        0..=2 => fs::write(path, content),
        3 => OpenOptions::new().append(true).open(path)?.write_all(content.as_bytes()),
        4 => OpenOptions::new().write(true).open(path)?.set_len(1000 + step as u64),
        5 => fs::create_dir_all(path),
        6 => {
            fs::create_dir_all(&path)?;
            fs::write(path.join("a"), &content)?;
            fs::create_dir_all(path.join("b/c d"))?;
            fs::write(path.join("b/c d/#e"), content)
        }
        7 => fs::remove_file(path),
        8 => fs::remove_dir_all(path),
        9 if path.symlink_metadata()?.is_dir() && !dir_moves => Ok(()),
        9 => fs::rename(path, site.at(random.path())),
        10 => symlink(random.of(&["a", "nowhere", "b/a", "#e"]), path),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(random.of(&[0o755, 0o700, 0o775]))),
    }
}

fn random() -> Random {
    let now = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let seed = std::env::var("INOSYNC_TEST_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("INOSYNC_TEST_SEED={seed}");
    Random(seed | 1 << 40)
}

fn run(site: &mut Site, rounds: usize, steps: usize, dir_moves: bool) {
    let mut random = random();
    site.start_mirrored();
    for round in 0..rounds {
        for step in 0..steps {
            // Whether it failed or not, the trees have to become equal.
            let _ = operate(site, &mut random, round * steps + step, dir_moves);
        }
        if dir_moves {
            // The old names are still there: a start makes them equal.
            site.stop();
            site.start();
        }
        site.expect_identical();
    }
}

#[test]
fn after_any_sequence_of_operations_a_stop_that_ends_well_has_sent_all_of_them() {
    let (mut site, mut random) = (Site::on(&[Local, Rsyncd]), random());
    site.config("dir_moves: Replicate");
    for round in 0..20 {
        site.start_mirrored();
        for step in 0..5 * (round % 4) + 1 {
            let _ = operate(&site, &mut random, 100 * round + step, true);
        }
        let ended = site.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        site.assert_identical(&ended.log);
    }
}

#[test]
fn any_sequence_of_operations_ends_with_equal_trees() {
    run(&mut Site::new(), 5, 100, false);
}

#[test]
fn any_sequence_of_operations_in_small_steps_ends_with_equal_trees() {
    run(&mut Site::on(&[Local]), 60, 5, false);
}

#[test]
fn any_sequence_with_moves_of_directories_ends_with_equal_trees_after_the_next_start() {
    run(&mut Site::on(&[Local]), 8, 100, true);
}
