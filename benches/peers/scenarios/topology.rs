//! Relays: how long a change takes over two hops and what it costs on each, what a relay that fails costs its leaves, and what
//! a node costs its daemon.

mod changes;
mod cost;
mod outages;

use std::time::Duration;

use crate::ground::{Ground, Way};
use crate::relays::Shape;
use crate::report::{Report, Table};
use crate::sizes::Sizes;
use crate::trouble::Outcome;

/// Round trips from the source to a relay, and from a relay to a leaf.
const ROUND_TRIPS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(10)];

/// A source, one relay and one leaf.
const LINE: Shape = Shape { relays: 1, leaves: 1, way: Way::Ssh, round_trips: ROUND_TRIPS, keys: [""; 2] };
/// Three relays with four leaves each.
const FANNED: Shape = Shape { relays: 3, leaves: 4, way: Way::Daemon, ..LINE };

/// As docs/topology.md has it.
const BEATING: [&str; 2] = ["heartbeat: 10, ", "heartbeat: 10, marker: \".inosync-heartbeat\", "];

/// Changes over two hops.
pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    for shape in [LINE, FANNED] {
        part(ground, report, changes::measure(ground, sizes, &shape));
    }
    Ok(())
}

pub fn run_outages(ground: &Ground, _: &Sizes, report: &mut Report) -> Outcome<()> {
    part(ground, report, outages::measure(ground, &Shape { keys: BEATING, ..FANNED }));
    Ok(())
}

pub fn run_cost(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    part(ground, report, cost::measure(ground, sizes));
    Ok(())
}

/// A part that fails costs its table.
fn part(ground: &Ground, report: &mut Report, table: Outcome<Table>) {
    match table {
        Ok(table) => report.add_table(table),
        Err(trouble) => {
            ground.say(&format!("  {trouble}"));
            report.skip(format!("topology: {trouble}"));
        }
    }
}

/// The tree in words.
fn describe(shape: &Shape) -> String {
    let Shape { relays, leaves, way, round_trips: [near, far], .. } = shape;
    let tree = if *relays == 1 { "two hops".to_owned() } else { format!("{relays} relays with {leaves} leaves each") };
    format!("{tree}, {}, round trips of {} and {} ms", way.name(), near.as_millis(), far.as_millis())
}
