//! What a node costs the daemon that serves it: processor time, memory, and bytes on the line.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{Ground, Way};
use crate::relays::{Relays, Shape, until_all};
use crate::report::{Table, number};
use crate::sizes::Sizes;
use crate::trouble::{At, Outcome};
use crate::{mirror, process};

const MIB: f64 = 1024.0 * 1024.0;
/// Changes one by one, and their distance.
const SINGLE: usize = 30;
const APART: Duration = Duration::from_millis(700);
/// Changes at once.
const BURST: usize = 1000;

/// All that is measured with so many nodes.
struct Sample {
    memory: f64,
    with_children: f64,
    single: Cost,
    burst: Cost,
}

/// The cost of one change for one node: processor milliseconds of the daemon with its children, the same at the nodes, and bytes.
struct Cost {
    cpu: f64,
    cpu_at_node: f64,
    bytes: f64,
}

pub fn measure(ground: &Ground, sizes: &Sizes) -> Outcome<Table> {
    let heads = [
        "nodes",
        "daemon, RSS",
        "with its processes",
        "CPU for 1,000 changes and a node, one by one",
        "the same at the node",
        "bytes for a change, one by one",
        "CPU for 1,000 changes and a node, at once",
        "the same at the node",
        "bytes for a change, at once",
    ];
    let title = format!("What a node costs; files of 1 KiB, {} s apart or {BURST} at once", APART.as_secs_f64());
    let mut table = Table::new(title, &heads);
    for (way, nodes) in
        [(Way::Ssh, 1), (Way::Ssh, 10), (Way::Daemon, 1), (Way::Daemon, 10), (Way::Daemon, sizes.fan_out)]
    {
        ground.say(&format!("  {nodes} nodes, {}", way.name()));
        let sample = one(ground, way, nodes)?;
        let cost = |Cost { cpu, cpu_at_node, bytes }: Cost| {
            // Milliseconds for one are seconds for 1,000.
            [format!("{} s", number(cpu)), format!("{} s", number(cpu_at_node)), number(bytes)]
        };
        let mut cells = vec![
            format!("{nodes}, {}", way.name()),
            format!("{} MiB", number(sample.memory / MIB)),
            format!("{} MiB", number(sample.with_children / MIB)),
        ];
        cells.extend(cost(sample.single));
        cells.extend(cost(sample.burst));
        table.line(cells);
    }
    Ok(table)
}

fn one(ground: &Ground, way: Way, nodes: usize) -> Outcome<Sample> {
    let keys = ["max_standbys: 400, ", ""];
    let shape = Shape { relays: nodes, leaves: 0, way, round_trips: [Duration::ZERO; 2], keys };
    let tree = Relays::start(ground, &shape, |source| mirror::make_files(source, 10, 1000))?;
    fs::create_dir(tree.arena.at("new")).at("new")?;
    let server = ground.server(way)?.id();
    // The first changes make the standbys for all later ones.
    (0..3).try_for_each(|number| change(&tree, number))?;
    tree.rest()?;
    let single = costs(&tree, server, SINGLE, || {
        (3..3 + SINGLE).try_for_each(|number| {
            thread::sleep(APART);
            change(&tree, number)
        })
    })?;
    let daemon = tree.first.id();
    let (memory, with_children) = (process::rss(daemon) as f64, process::family_memory(daemon) as f64);
    let burst = costs(&tree, server, BURST, || {
        let start = Instant::now();
        mirror::make_files(&tree.arena.at("burst"), 10, BURST)?;
        let last = mirror::write(&tree.arena.at("zz/last"), 16)?.number;
        until_all(start, tree.ends(), |mirror| mirror::version(&mirror.join("zz/last")) == Some(last))?;
        let source = tree.arena.at("burst");
        tree.ends().try_for_each(|node| {
            mirror::identical(&source, &node.mirror.join("burst"), Duration::from_secs(120)).map(drop)
        })
    })?;
    Ok(Sample { memory, with_children, single, burst })
}

/// Makes a file, and waits for it at all nodes.
fn change(tree: &Relays, number: usize) -> Outcome<()> {
    let path = format!("new/{number}");
    let start = Instant::now();
    let written = mirror::write(&tree.arena.at(&path), 1024)?.number;
    until_all(start, tree.ends(), |mirror| mirror::version(&mirror.join(&path)) == Some(written)).map(drop)
}

/// The cost of this work of so many changes, until all is at rest again.
fn costs(tree: &Relays, server: u32, changes: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
    let daemon = tree.first.id();
    let now = || {
        Ok::<_, crate::trouble::Trouble>((tree.rest()?[0], process::family_cpu(daemon), process::family_cpu(server)))
    };
    let before = now()?;
    work()?;
    let after = now()?;
    let per = |total: f64| total / changes as f64 / tree.first.nodes.len() as f64;
    let milliseconds = |after: Duration, before: Duration| per(after.saturating_sub(before).as_secs_f64() * 1000.0);
    Ok(Cost {
        cpu: milliseconds(after.1, before.1),
        cpu_at_node: milliseconds(after.2, before.2),
        bytes: per((after.0 - before.0) as f64),
    })
}
