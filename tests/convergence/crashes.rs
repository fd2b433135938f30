//! The daemon is killed again and again while things change, and started again: nothing is lost over all of it.

use std::path::PathBuf;

use fastrand::Rng;

use crate::campaign::{run, turn};
use crate::faults::Fault;
use crate::generate::{self, Moves, Recipe};
use crate::operation::{Operation, Verb};
use crate::script::Step;
use crate::settings::{seeds, variable};

/// Of what `make test` plays: some seconds.
const CRASHES: usize = 5;
/// The same where each life is longer.
const MOVING_CRASHES: usize = 3;
/// Operations between two crashes, on average.
const OPERATIONS: usize = 100;
/// How long a daemon may be left alone before it is killed: its start, its first comparison and live changes are all hit.
const LONGEST_LIFE: u64 = 700;
/// Milliseconds until the state has what there is.
const SAVED: u64 = 2500;

#[test]
fn a_daemon_that_is_killed_at_any_moment_loses_nothing() {
    let _turn = turn();
    let crashes = variable("INOSYNC_TEST_CRASHES").unwrap_or(CRASHES);
    for seed in seeds(1) {
        let recipe = Recipe { operations: crashes * OPERATIONS, faults: Vec::new(), moves: Moves::None };
        let steps = with_crashes(generate::script(seed, &recipe), crashes, &mut Rng::with_seed(seed));
        run(&format!("crashes-{seed}"), &steps, &[Fault::Crash], Moves::None);
    }
}

#[test]
fn a_daemon_that_is_killed_while_directories_are_moved_that_come_back_meanwhile_loses_nothing() {
    let _turn = turn();
    let crashes = variable("INOSYNC_TEST_CRASHES").unwrap_or(MOVING_CRASHES);
    for seed in seeds(1) {
        let recipe = Recipe { operations: crashes * OPERATIONS, faults: Vec::new(), moves: Moves::Mirrored };
        let rng = &mut Rng::with_seed(seed);
        let steps = with_crashes(generate::script(seed, &recipe), crashes, rng);
        run(&format!("moving-crashes-{seed}"), &with_returns(steps, rng), &[Fault::Crash], Moves::Mirrored);
    }
}

/// The steps with a move before each crash that is undone before the next start: the nodes may have followed it, and the state
/// may not have it.
fn with_returns(steps: Vec<Step>, rng: &mut Rng) -> Vec<Step> {
    let (mut all, mut planted, mut known, mut away) = (Vec::new(), None, None, None);
    for step in steps {
        match &step {
            Step::Do(operation) if operation.verb == Verb::Plant => planted = operation.paths.first().cloned(),
            Step::Begin(Fault::Crash, _) => {
                away = known.clone().map(|dir: PathBuf| (dir, PathBuf::from("away")));
                all.push(Step::pause(SAVED));
                all.extend(away.clone().map(|(dir, aside)| moved(dir, aside)));
                all.push(Step::pause(rng.u64(..LONGEST_LIFE)));
            }
            Step::End(Fault::Crash) => {
                all.extend(away.take().map(|(dir, aside)| moved(aside, dir)));
                known = planted.clone();
            }
            _ => (),
        }
        all.push(step);
    }
    all
}

fn moved(from: PathBuf, to: PathBuf) -> Step {
    Step::Do(Operation { verb: Verb::MoveDir, paths: vec![from, to], number: 0 })
}

/// The steps with so many crashes among them, each healed a few operations later.
fn with_crashes(steps: Vec<Step>, crashes: usize, rng: &mut Rng) -> Vec<Step> {
    let length = steps.len() / crashes;
    let mut all = Vec::new();
    for life in steps.chunks(length.max(1)) {
        let crash = rng.usize(..life.len());
        let heal = crash + rng.usize(..10).min(life.len() - crash);
        all.extend_from_slice(&life[..crash]);
        all.extend([Step::pause(rng.u64(..LONGEST_LIFE)), Step::Begin(Fault::Crash, 0)]);
        all.extend_from_slice(&life[crash..heal]);
        all.push(Step::End(Fault::Crash));
        all.extend_from_slice(&life[heal..]);
    }
    all
}
