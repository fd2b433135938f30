//! What a daemon costs when nothing happens.

use std::thread;
use std::time::Duration;

use crate::contestant::{Contestant, Job, Who};
use crate::ground::{Ground, Way};
use crate::report::{Report, Row, Unit};
use crate::sizes::Sizes;
use crate::trouble::Outcome;
use crate::{mirror, process, scenarios};

const SETTLE: Duration = Duration::from_secs(2);

pub fn run(ground: &Ground, sizes: &Sizes, report: &mut Report) -> Outcome<()> {
    let ways: Vec<Way> = [Way::Local, Way::Ssh].into_iter().filter(|way| ground.lacks(*way).is_none()).collect();
    let seconds = sizes.idle_seconds;
    let mut own = Row::new(format!("idle for {seconds} s, CPU of the daemon"), Unit::Milliseconds);
    let mut tree = Row::new("the same, with its children", Unit::Milliseconds);
    for who in scenarios::present(ground, &[Who::Inosync, Who::Lsyncd(0)]) {
        ground.say(&format!("  {who}"));
        let arena = ground.arena()?;
        mirror::make_files(&arena.source(), 100, 1000)?;
        let last = ways.last().copied().unwrap_or(Way::Local);
        let job = Job::new(&arena, &ways);
        let daemon = Contestant::start_settled(who, ground, &arena, &job, &arena.mirror(last))?;
        // Of a run by ssh most is done by others, so that its end is not seen.
        thread::sleep(SETTLE);
        let cpu = || (process::own_cpu(daemon.id()), process::tree_cpu(daemon.id()));
        let before = cpu();
        thread::sleep(Duration::from_secs(seconds));
        let after = cpu();
        own.median(who, &[(after.0 - before.0).as_secs_f64() * 1000.0]);
        tree.median(who, &[(after.1 - before.1).as_secs_f64() * 1000.0]);
    }
    report.add("idle", own.at_most(0.0));
    report.add("idle", tree);
    Ok(())
}
