//! The saved state of a large tree: the size of its file, and the time until it is compared with the tree at a restart.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Arena, Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::scenarios;
use crate::sizes::Sizes;
use crate::trouble::{At, Outcome};

/// Starts of each build, in turn.
const ROUNDS: usize = 5;
const FILES_IN_DIR: usize = 50;
/// What a restart logs when the comparison has found nothing.
const COMPARED: &str = "compared with the state, differences: 0";

/// The tree of one build, with its state.
struct Build {
    who: Who,
    arena: Arena,
    /// Bytes of the state's file and of the disk for each entry.
    length: f64,
    on_disk: f64,
    /// Milliseconds from the start of the process until the comparison is over.
    compared: Vec<f64>,
}

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let mut builds = Vec::new();
    for who in scenarios::present(ground, &[Who::Inosync]) {
        ground.say(&format!("  {who}, first start"));
        builds.push(save(ground, who, sizes.state_files)?);
    }
    for round in 1..=ROUNDS {
        for Build { who, arena, compared, .. } in &mut builds {
            ground.say(&format!("  {who}, restart {round}"));
            let mut daemon = Contestant::start(*who, ground, arena, &job(arena))?;
            let at = daemon.wait_for(COMPARED)?;
            compared.push((at - daemon.started).as_secs_f64() * 1000.0);
            daemon.settle();
            daemon.stop()?;
        }
    }

    let files = sizes.state_files;
    let mut length = Row::new(format!("state of {files} files, length of its file for each entry"), Unit::Bytes);
    let mut on_disk = Row::new("the same, room on the disk", Unit::Bytes);
    let mut compared = Row::new("restart with it, until compared", Unit::Milliseconds);
    for build in &builds {
        length.median(build.who, &[build.length]);
        on_disk.median(build.who, &[build.on_disk]);
        compared.median(build.who, &build.compared);
    }
    report.add("state", length.at_most(150.0));
    report.add("state", on_disk.at_most(150.0));
    report.add("state", compared.compared(Who::OtherBuild, 1.0, "≤ the other build"));
    Ok(())
}

/// Makes a tree, and lets a first run save its state.
fn save(ground: &Ground, who: Who, files: usize) -> Outcome<Build> {
    let arena = ground.arena()?;
    let entries = make_tree(&arena.source(), files)?;
    // A mirror that a restart makes is compared as a whole.
    let mirror = arena.mirror(Way::Local);
    fs::create_dir_all(&mirror).at(mirror.display())?;
    let mut daemon = Contestant::start(who, ground, &arena, &job(&arena))?;
    daemon.wait_for("watching")?;
    daemon.settle();
    daemon.stop()?;
    let file = state_file(&arena.path().join("state"))?;
    let meta = fs::metadata(&file).at(file.display())?;
    let each = |bytes: u64| bytes as f64 / entries as f64;
    Ok(Build { who, length: each(meta.len()), on_disk: each(meta.blocks() * 512), arena, compared: Vec::new() })
}

/// A node that is never reconciled: only the state is measured.
fn job(arena: &Arena) -> Job {
    Job { inosync_keys: "initial_sync: Off, ", ..Job::new(arena, &[Way::Local]) }
}

fn state_file(dir: &Path) -> Outcome<PathBuf> {
    let mut found = fs::read_dir(dir).at(dir.display())?.filter_map(Result::ok).map(|entry| entry.path());
    found.find(|path| path.extension().is_some_and(|end| end == "redb")).at("the state has no file")
}

/// Makes empty files with names as people give them. Returns the number of entries.
fn make_tree(root: &Path, files: usize) -> Outcome<usize> {
    let dirs = files / FILES_IN_DIR;
    for number in 0..dirs {
        let dir = root.join(format!("customers/site-{:03}/orders-{number:05}", number / 100));
        fs::create_dir_all(&dir).at(dir.display())?;
        for file in 0..FILES_IN_DIR {
            let number = (number * FILES_IN_DIR + file) * 7_919 % 100_000;
            let path = dir.join(format!("product-{number:05}-banner.jpg"));
            File::create(&path).at(path.display())?;
        }
    }
    // The directories above them, the seed with its directory, and the root.
    Ok(files + dirs + dirs.div_ceil(100) + 1 + 2 + 1)
}
