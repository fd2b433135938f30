//! What the environment says of a campaign. Every variable is described in docs/development.md.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use crate::faults::{ALL, Fault};
use crate::generate::{Moves, Recipe};
use crate::support::disk::Kind;

/// The number or word that a variable holds.
///
/// # Panics
/// When it holds something else.
pub fn variable<T: FromStr>(name: &str) -> Option<T>
where
    T::Err: Debug,
{
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e:?}")))
}

pub fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|text| !text.is_empty() && text != "0")
}

/// The seeds of a campaign. By default always the same, so that a failure is about what was changed.
pub fn seeds(count: u64) -> Vec<u64> {
    let first = variable("INOSYNC_TEST_SEED");
    let count = variable("INOSYNC_TEST_SEEDS").unwrap_or(if first.is_some() { 1 } else { count });
    let first = first.unwrap_or(1);
    (first..first + count).collect()
}

/// What is played, unless the environment says otherwise.
pub fn recipe(operations: usize) -> Recipe {
    Recipe {
        operations: variable("INOSYNC_TEST_OPERATIONS").unwrap_or(operations),
        faults: faults(),
        moves: moves().unwrap_or(Moves::None),
    }
}

/// What the environment says of directory moves; `None` if nothing.
pub fn moves() -> Option<Moves> {
    let text: String = variable("INOSYNC_TEST_MOVES")?;
    Some(match text.as_str() {
        "" | "0" => Moves::None,
        "1" => Moves::Logged,
        "mirrored" => Moves::Mirrored,
        other => panic!("INOSYNC_TEST_MOVES={other}: it is 0, 1 or mirrored"),
    })
}

/// The same for the environment of another run.
pub fn moves_variable(moves: Moves) -> &'static str {
    match moves {
        Moves::None => "INOSYNC_TEST_MOVES=0",
        Moves::Logged => "INOSYNC_TEST_MOVES=1",
        Moves::Mirrored => "INOSYNC_TEST_MOVES=mirrored",
    }
}

/// What is between the local mirror and a leaf behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// A relay.
    Relay,
    /// A relay; it and the source send heartbeats.
    BeatingRelay,
}

/// The relay that the environment wants; `None` for none.
pub fn between() -> Option<Between> {
    match variable::<String>(RELAY).as_deref() {
        None | Some("" | "0") => None,
        Some("1") => Some(Between::Relay),
        Some("heartbeat") => Some(Between::BeatingRelay),
        Some(other) => panic!("{RELAY}={other}: it is 0, 1 or heartbeat"),
    }
}

const RELAY: &str = "INOSYNC_TEST_RELAY";
const DELETE: &str = "INOSYNC_TEST_DELETE";

/// True if the nodes are to keep what the source lost.
pub fn keeps_removed() -> bool {
    match variable::<String>(DELETE).as_deref() {
        None | Some("" | "Always") => false,
        Some("Never") => true,
        Some(other) => panic!("{DELETE}={other}: it is Always or Never"),
    }
}

/// The runs that each reconcile is divided into; `None` for as many as help.
pub fn reconcile_jobs() -> Option<usize> {
    variable(JOBS)
}

/// The round trip to the node behind sshd, if it is to be behind a long line.
pub fn round_trip() -> Option<Duration> {
    variable(LINE).map(Duration::from_millis)
}

const JOBS: &str = "INOSYNC_TEST_JOBS";
const LINE: &str = "INOSYNC_TEST_LINE";

/// True if the nodes are to keep hard links, of which the script makes more.
pub fn hard_links() -> bool {
    is_set(HARD_LINKS)
}

const HARD_LINKS: &str = "INOSYNC_TEST_HARD_LINKS";

fn faults() -> Vec<Fault> {
    let text: String = variable("INOSYNC_TEST_FAULTS").unwrap_or_else(|| "all".to_owned());
    match text.as_str() {
        "all" => ALL.to_vec(),
        "none" => Vec::new(),
        list => {
            let known = || ALL.map(Fault::name).join(", ");
            let fault = |name| Fault::named(name).unwrap_or_else(|| panic!("no fault `{name}`; there are {}", known()));
            list.split(',').map(fault).collect()
        }
    }
}

/// The file systems that the mirrors are on: of the local node, the one behind sshd, and the one behind an rsync daemon, as many
/// as are named.
pub fn node_fs() -> Vec<Kind> {
    file_systems(NODE_FS)
}

/// The file system that the source is on.
pub fn source_fs() -> Option<Kind> {
    file_systems(SOURCE_FS).into_iter().next()
}

const NODE_FS: &str = "INOSYNC_TEST_NODE_FS";
const SOURCE_FS: &str = "INOSYNC_TEST_SOURCE_FS";

fn file_systems(variable_name: &str) -> Vec<Kind> {
    let text: String = variable(variable_name).unwrap_or_default();
    let known = || Kind::ALL.map(|(name, _)| name).join(", ");
    let named = |name| {
        Kind::named(name).unwrap_or_else(|| panic!("{variable_name}={text}: no `{name}`; there are {}", known()))
    };
    text.split(',').filter(|name| !name.is_empty()).map(named).collect()
}

/// The variables that make the same ground again.
pub fn ground_variables() -> String {
    let told = |name| variable::<String>(name).map(|text| format!("{name}={text} "));
    [NODE_FS, SOURCE_FS, DELETE, RELAY, JOBS, LINE, HARD_LINKS].into_iter().filter_map(told).collect()
}

/// The variables that make the same script again.
pub fn repeat(seed: u64, recipe: &Recipe) -> String {
    let names: Vec<&str> = recipe.faults.iter().map(|fault| fault.name()).collect();
    let faults = if names.is_empty() { "none".to_owned() } else { names.join(",") };
    let (moves, operations, ground) = (moves_variable(recipe.moves), recipe.operations, ground_variables());
    format!(
        "{ground}INOSYNC_TEST_SEED={seed} INOSYNC_TEST_OPERATIONS={operations} INOSYNC_TEST_FAULTS={faults} {moves}"
    )
}
