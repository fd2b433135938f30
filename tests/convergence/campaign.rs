//! The campaigns: scripts from seeds, a script that is replayed, and the table that tells how they went.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::faults::{ALL, Fault};
use crate::generate::{self, Moves, Recipe};
use crate::ground::Ground;
use crate::operation::Verb;
use crate::play::{Manner, Outcome, keep, kept, play, play_on};
use crate::script::{self, Step};
use crate::settings::{ground_variables, is_set, moves, moves_variable, recipe, repeat, seeds, variable};
use crate::shrink::shrink;

/// Of what `make test` plays: some 10 s for each seed.
const SEEDS: u64 = 2;
const OPERATIONS: usize = 2500;
/// How long the trees may take to become equal. A node that failed for long is tried again after up to 75 s.
const PATIENCE: Duration = Duration::from_secs(150);
/// When a script is made smaller: few steps are soon worked off.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
const SHRINK_TRIES: usize = 100;

/// One campaign at a time: each takes the whole machine.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the environment says of the manner.
fn manner(faults: Vec<Fault>, moves: Moves) -> Manner {
    let threads = variable("INOSYNC_TEST_THREADS").unwrap_or(1);
    let patience = variable("INOSYNC_TEST_PATIENCE").map_or(PATIENCE, Duration::from_secs);
    Manner { faults, moves, only_after_start: false, threads, patience }
}

fn print_head() {
    let names: String = ALL.iter().map(|fault| format!(" {:>9}", fault.name())).collect();
    print!("{:>20} {:>10} {:>6} {:>6}", "seed", "operations", "done", "paths");
    println!("{names} {:>9} {:>6} {:>8} {:>9}", "overflows", "moved", "seconds", "differing");
}

fn print_row(name: &str, steps: &[Step], outcome: &Outcome) {
    let counts: String = outcome.counts.iter().map(|count| format!(" {count:>9}")).collect();
    let operations = steps.iter().filter(|step| matches!(step, Step::Do(operation) if operation.verb != Verb::Pause));
    let (operations, seconds, lost) = (operations.count(), outcome.took.as_secs_f64(), outcome.lost.len());
    let overflows = outcome.log().matches("event queue overflowed").count();
    let (done, paths) = (outcome.done(steps), outcome.paths);
    // Directories that a node made out of what it had.
    let moved = outcome.log().matches("directory moved: mirrored, ").count();
    println!(
        "{name:>20} {operations:>10} {done:>6} {paths:>6}{counts} {overflows:>9} {moved:>6} {seconds:>8.1} {lost:>9}"
    );
}

/// Keeps what failed: the script, the log of the daemon, and the report. Returns the report.
fn keep_all(name: &str, steps: &[Step], manner: &Manner, outcome: &Outcome, repeat: &str) -> String {
    let file = keep(&format!("{name}.ops"), steps, repeat);
    fs::write(kept(&format!("{name}.log")), outcome.log()).unwrap();
    let how = format!("{repeat}\n{}\nINOSYNC_TEST_SHRINK=1 {}", replay(manner, &file), replay(manner, &file));
    let report = outcome.report(steps, &how);
    fs::write(kept(&format!("{name}.report")), &report).unwrap();
    report
}

fn replay(manner: &Manner, file: &Path) -> String {
    let (ground, moves) = (ground_variables(), moves_variable(manner.moves));
    format!("{ground}{moves} INOSYNC_TEST_REPLAY={} {TEST}", file.display())
}

/// Keeps what failed, makes it smaller if that is asked for, and fails.
fn fail(name: &str, steps: &[Step], manner: &Manner, outcome: &Outcome, repeat: &str) -> ! {
    let report = keep_all(name, steps, manner, outcome, repeat);
    if is_set("INOSYNC_TEST_SHRINK") {
        println!("{report}\nmaking it smaller ...");
        let smallest = make_smaller(name, steps, manner);
        let file = keep(&format!("{name}.min.ops"), &smallest, "the smallest script found");
        let how = format!("{} steps are left of {}:\n{}", smallest.len(), steps.len(), replay(manner, &file));
        let outcome = play(&smallest, manner);
        panic!("{}", outcome.report(&smallest, &how));
    }
    panic!("{report}");
}

fn make_smaller(name: &str, steps: &[Step], manner: &Manner) -> Vec<Step> {
    let patience = SHORT_PATIENCE.min(manner.patience);
    let manner = Manner { patience, threads: 1, ..manner.clone() };
    shrink(steps, SHRINK_TRIES, &mut |steps| {
        let fails = !play(steps, &manner).is_good();
        println!("{:>6} steps {}", steps.len(), if fails { "fail" } else { "pass" });
        if fails {
            keep(&format!("{name}.min.ops"), steps, "not the smallest yet");
        }
        fails
    })
}

/// Plays one script and prints its row.
pub fn run(name: &str, steps: &[Step], faults: &[Fault], moves: Moves) {
    run_on(Ground::new(faults, moves), name, steps, manner(Vec::new(), moves));
}

fn run_on(ground: Ground, name: &str, steps: &[Step], manner: Manner) -> Outcome {
    print_head();
    let outcome = play_on(ground, steps, &manner);
    print_row(name, steps, &outcome);
    if !outcome.is_good() {
        fail(name, steps, &manner, &outcome, "the script is kept:");
    }
    outcome
}

const TEST: &str = "cargo test --test convergence any_sequence -- --nocapture";

#[test]
fn any_sequence_of_operations_and_faults_ends_with_equal_trees() {
    let _turn = turn();
    print_head();
    if let Some(file) = variable::<String>("INOSYNC_TEST_REPLAY") {
        let steps = script::parse(&fs::read_to_string(&file).unwrap());
        let manner = manner(ALL.to_vec(), moves().unwrap_or(Moves::None));
        let outcome = play(&steps, &manner);
        print_row("replay", &steps, &outcome);
        if !outcome.is_good() {
            fail("replay", &steps, &manner, &outcome, &format!("INOSYNC_TEST_REPLAY={file} {TEST}"));
        }
        return;
    }
    let mut failed = Vec::new();
    for seed in seeds(SEEDS) {
        // Every other one with moves of directories, unless the environment says what to do.
        let moves = moves().unwrap_or(if seed % 2 == 0 { Moves::Mirrored } else { Moves::None });
        let recipe = Recipe { moves, ..recipe(OPERATIONS) };
        let manner = manner(recipe.faults.clone(), recipe.moves);
        let steps = generate::script(seed, &recipe);
        let outcome = play(&steps, &manner);
        print_row(&seed.to_string(), &steps, &outcome);
        if !outcome.is_good() {
            // At once: what follows may take long.
            keep_all(&seed.to_string(), &steps, &manner, &outcome, &format!("{} {TEST}", repeat(seed, &recipe)));
            failed.push((seed, steps, outcome, manner, format!("{} {TEST}", repeat(seed, &recipe))));
        }
    }
    if let Some((seed, steps, outcome, manner, repeat)) = failed.first() {
        fail(&seed.to_string(), steps, manner, outcome, repeat);
    }
}

#[test]
fn what_cannot_be_read_for_a_while_is_not_lost() {
    let _turn = turn();
    for seed in seeds(1) {
        // One mode in three that the script sets is one that only root can read.
        let recipe = Recipe { faults: Vec::new(), ..recipe(OPERATIONS / 5) };
        let steps = generate::script(seed, &recipe);
        if let Some(ground) = Ground::of_nobody() {
            let outcome = run_on(ground, &format!("nobody-{seed}"), &steps, manner(Vec::new(), Moves::None));
            assert!(outcome.log().contains("ermission denied"), "everything could be read:\n{}", outcome.log());
        }
    }
}

#[test]
fn what_is_not_watched_for_lack_of_watches_is_not_lost() {
    let _turn = turn();
    for seed in seeds(1) {
        let recipe = Recipe { faults: Vec::new(), ..recipe(OPERATIONS / 5) };
        let steps = generate::script(seed, &recipe);
        if let Some(ground) = Ground::of_few_watches() {
            // No event tells of what is not watched, so what is promised is that the next start finds it.
            let manner = Manner { only_after_start: true, ..manner(Vec::new(), Moves::None) };
            let outcome = run_on(ground, &format!("watches-{seed}"), &steps, manner);
            assert!(outcome.log().contains("max_user_watches"), "all could be watched:\n{}", outcome.log());
        }
    }
}

#[test]
fn a_script_is_the_same_each_time_and_survives_being_written() {
    let recipe = Recipe { operations: 2000, faults: ALL.to_vec(), moves: Moves::Mirrored };
    let steps = generate::script(7, &recipe);
    assert_eq!(steps, generate::script(7, &recipe));
    assert_ne!(steps, generate::script(8, &recipe));
    assert_eq!(script::parse(&script::text(&steps)), steps);
}

#[test]
fn of_a_script_that_fails_only_what_it_takes_is_left() {
    let recipe = Recipe { operations: 300, faults: Vec::new(), moves: Moves::None };
    let steps = generate::script(7, &recipe);
    let (one, other) = (steps[40].clone(), steps[260].clone());
    let left = shrink(&steps, 1000, &mut |steps| steps.contains(&one) && steps.contains(&other));
    assert!(left.contains(&one) && left.contains(&other) && left.len() < 4, "{left:?}");
}
