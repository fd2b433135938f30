//! The pieces of work that are measured, each in a module of its own.

mod bulk;
mod burst;
mod edits;
mod idle;
mod latency;
mod load;
mod many;
mod moves;
mod siblings;
mod start;
mod state;
mod topology;

use crate::contestant::{Who, has_other_build};
use crate::ground::Ground;
use crate::report::Report;
use crate::sizes::Sizes;
use crate::trouble::Outcome;

/// Round trips of the long lines, in milliseconds.
const LINES: [u64; 3] = [50, 150, 300];

/// One piece of work.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// Whether it runs unless others are named.
    pub by_default: bool,
    pub run: fn(&Ground, &Sizes, &mut Report) -> Outcome<()>,
}

/// All of them, in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "latency", what: "one change on an idle machine, each way", by_default: true, run: latency::run },
    Scenario {
        name: "edits",
        what: "files that are overwritten, deleted and renamed",
        by_default: true,
        run: edits::run,
    },
    Scenario { name: "line", what: "the same over long lines", by_default: false, run: edits::run_over_lines },
    Scenario {
        name: "line-load",
        what: "200 changes per second over long lines",
        by_default: false,
        run: load::run_over_lines,
    },
    Scenario { name: "siblings", what: "one change in a large directory", by_default: true, run: siblings::run },
    Scenario { name: "load", what: "200 changes per second", by_default: true, run: load::run },
    Scenario { name: "burst", what: "many new files at once", by_default: true, run: burst::run },
    Scenario { name: "start", what: "start on a large tree", by_default: true, run: start::run },
    Scenario { name: "start-many", what: "start on a very large tree", by_default: false, run: start::run_many },
    Scenario { name: "state", what: "restart on a million files", by_default: false, run: state::run },
    Scenario { name: "bulk", what: "small changes while a large file is sent", by_default: true, run: bulk::run },
    Scenario { name: "nodes", what: "many nodes", by_default: true, run: many::run },
    Scenario { name: "moves", what: "renamed files and directories", by_default: true, run: moves::run },
    Scenario { name: "topology", what: "changes over two hops", by_default: false, run: topology::run },
    Scenario { name: "outages", what: "relays that fail and return", by_default: false, run: topology::run_outages },
    Scenario { name: "node-cost", what: "what a node costs its daemon", by_default: false, run: topology::run_cost },
    Scenario { name: "idle", what: "nothing happens", by_default: true, run: idle::run },
];

/// These contestants without lsyncd if there is none, and with the other build beside inosync if there is one.
fn present(ground: &Ground, all: &[Who]) -> Vec<Who> {
    let is_here = |who: &Who| !who.is_lsyncd() || ground.has_lsyncd();
    let both = |who: Who| match who {
        Who::Inosync if has_other_build() => vec![Who::Inosync, Who::OtherBuild],
        _ => vec![who],
    };
    all.iter().copied().filter(is_here).flat_map(both).collect()
}
