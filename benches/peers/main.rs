//! Measures inosync against lsyncd and plain rsync, in turn on the same trees, and prints one table: `make bench`.
//! Everything runs on loopback and in one temporary directory, which is removed with all that was started.

mod contestant;
mod ground;
mod line;
mod machine;
mod meter;
mod mirror;
mod process;
mod relays;
mod report;
mod rsync;
mod scenarios;
mod server;
mod sizes;
mod stats;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use ground::Ground;
use report::Report;
use scenarios::{SCENARIOS, Scenario};
use sizes::Sizes;
use trouble::{At, Outcome};

const USAGE: &str = "usage: make bench, or cargo bench -p inosync-benches --bench peers -- [--quick] [--list] \
     [against=PATH] [SCENARIO ...]";

/// The start of the argument that names another inosync to compare with.
const AGAINST: &str = "against=";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    if arguments.iter().any(|argument| argument == "--list") {
        for Scenario { name, what, by_default, .. } in SCENARIOS {
            println!("{name:12} {what}{}", if *by_default { "" } else { " (only if named)" });
        }
        return Ok(());
    }
    let sizes = if arguments.iter().any(|argument| argument == "--quick") { Sizes::QUICK } else { Sizes::FULL };
    let chosen = choose(arguments)?;
    if let Some(other) = arguments.iter().find_map(|argument| argument.strip_prefix(AGAINST)) {
        contestant::measure_against(Path::new(other))?;
    }

    process::adopt_orphans()?;
    let (target, load) = (target(), machine::load());
    let ground = Ground::new(&target)?;
    end_on_signal(ground.path().to_owned());
    let mut report = Report::default();
    if !ground.has_lsyncd() {
        report.skip("lsyncd: there is no /usr/bin/lsyncd");
    }
    for scenario in chosen {
        ground.say(scenario.what);
        // One that fails costs its rows, not the table.
        let outcome = (scenario.run)(&ground, &sizes, &mut report);
        while process::is_ending() {
            // Whoever received the signal ends the program.
            thread::park();
        }
        if let Err(trouble) = outcome {
            ground.say(&format!("{} fails: {trouble}", scenario.name));
            report.skip(format!("{}: {trouble}", scenario.name));
        }
    }
    ground.say("done");

    let machine = machine::describe(ground.path(), &load);
    drop(ground);
    print!("{}", report.markdown(&machine));
    let json = target.join("bench/peers.json");
    fs::create_dir_all(target.join("bench")).at(json.display())?;
    fs::write(&json, format!("{:#}\n", report.json(&machine))).at(json.display())?;
    eprintln!("the same with all samples: {}", json.display());
    Ok(())
}

fn choose(arguments: &[String]) -> Outcome<Vec<&'static Scenario>> {
    let names: Vec<&String> = arguments.iter().filter(|argument| !is_option(argument)).collect();
    for argument in arguments {
        let known = ["--quick", "--list"].contains(&argument.as_str())
            || argument.starts_with(AGAINST)
            || SCENARIOS.iter().any(|scenario| scenario.name == argument);
        known.then_some(()).at(format_args!("{argument} is neither an option nor a scenario; {USAGE}"))?;
    }
    let is_chosen = |scenario: &&Scenario| match names.is_empty() {
        true => scenario.by_default,
        false => names.iter().any(|name| *name == scenario.name),
    };
    Ok(SCENARIOS.iter().filter(is_chosen).collect())
}

fn is_option(argument: &str) -> bool {
    argument.starts_with("--") || argument.starts_with(AGAINST)
}

/// Cargo's target directory, which holds the one for the temporary files of tests and benchmarks.
fn target() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).to_owned()
}

/// Ends and removes everything on Ctrl-C, too.
fn end_on_signal(dir: PathBuf) {
    thread::spawn(move || {
        let wait = async {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            match terminate {
                Ok(mut terminate) => tokio::select! {
                    _ = tokio::signal::ctrl_c() => (),
                    _ = terminate.recv() => (),
                },
                Err(_) => drop(tokio::signal::ctrl_c().await),
            }
        };
        actix::System::new().block_on(wait);
        process::end_all();
        let _ = fs::remove_dir_all(dir);
        std::process::exit(130);
    });
}
