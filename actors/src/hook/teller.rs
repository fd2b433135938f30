//! A hook of one node, or of all nodes, with its status and the changes that it was not told yet. Makes decisions and
//! runs nothing.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::ChangeList;
use super::barrier::{AwaitedNode, HookBarrier};
use super::run::Failed;
use super::runner::{HookNews, HookRunner};
use crate::path::Escaped;
use crate::site::Hook;
use crate::status::{Event, HookStatus, unix};
use crate::transport::Tally;
use crate::transport::heard::ChangedPaths;

/// Number of paths that are checked in one go, which takes some milliseconds.
pub(crate) const PORTION: usize = 2000;
/// While more than [`PORTION`] paths are due, a run waits for the rest, but for no longer than this.
const GATHERS: Duration = Duration::from_secs(2);

/// A hook of one node, or of all nodes.
#[derive(Debug)]
pub(crate) struct Teller {
    /// The program and its arguments.
    pub hook: Hook,
    barrier: HookBarrier,
    runner: HookRunner,
    /// Time since which the next run has been waiting for more paths.
    gathers: Option<Instant>,
    runs: u64,
    failures: u64,
    last_error: Option<Event>,
    last_run: Option<SystemTime>,
}

impl Teller {
    /// Makes a teller without changes.
    pub(crate) fn new(hook: Hook) -> Self {
        let (barrier, runner, gathers) = (HookBarrier::default(), HookRunner::default(), None);
        Teller { hook, barrier, runner, gathers, runs: 0, failures: 0, last_error: None, last_run: None }
    }

    /// Adds the changes of a delivery to some node.
    pub(crate) fn hear(&mut self, news: &ChangedPaths, tally: Tally) {
        news.paths.iter().for_each(|(path, at)| self.barrier.add(path.clone(), *at));
        news.cut.iter().for_each(|at| self.barrier.cut(*at));
        if tally.changes() > 0 {
            self.runner.next_list().count(tally);
        }
    }

    /// Makes the changes that a node lacked due for a check; `None` stands for all nodes.
    pub(crate) fn settled(&mut self, node: Option<usize>) {
        self.barrier.settled(node);
    }

    /// Finds the changes that may be told. `in_full` checks all of them, however long that takes.
    pub(crate) fn look(&mut self, now: Instant, nodes: &[AwaitedNode], in_full: bool) {
        let portion = if in_full { usize::MAX } else { PORTION };
        let is_cut = self.barrier.is_cut();
        let next = self.runner.next_list();
        let looked = self.barrier.look(portion, nodes, |path| {
            next.add(path);
            // Other paths changed as well, and their names are not known.
            is_cut.then(|| next.cut());
        });
        if is_cut && self.barrier.take_cut(nodes) {
            next.cut();
        }
        let gathers_on = looked == portion && !next.is_empty();
        self.gathers = gathers_on.then(|| self.gathers.unwrap_or(now));
    }

    /// Tells if [`Teller::look`] has more to do.
    pub(crate) fn is_due(&self) -> bool {
        self.barrier.is_due()
    }

    /// Tells if some change is held back for a node.
    pub(crate) fn waits(&self) -> bool {
        !self.barrier.is_empty()
    }

    /// Returns the time of the next run, once no more paths are waited for.
    pub(crate) fn run_due(&self, now: Instant) -> Option<Instant> {
        let gathered = self.gathers.map(|since| since + GATHERS);
        Some(self.runner.due(now)?.max(gathered.unwrap_or(now)))
    }

    /// Begins the run that is due and returns its list.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Rc<ChangeList>> {
        self.run_due(now).filter(|at| *at <= now)?;
        self.gathers = None;
        self.runner.start(now)
    }

    /// Notes the end of the run.
    pub(crate) fn ended(&mut self, result: Result<(), Failed>, now: Instant, chance: f64) -> HookNews {
        self.runs += 1;
        self.last_run = Some(SystemTime::now());
        if let Err(Failed { fault, said }) = &result {
            self.failures += 1;
            let text = if said.is_empty() { fault.to_string() } else { format!("{fault}: {said}") };
            self.last_error = Some(Event { at: unix(SystemTime::now()), text, is_error: true });
        }
        self.runner.ended(result.map_err(|failed| failed.fault), now, chance)
    }

    /// Lets a hook that failed run at once: its program was replaced, or the daemon is stopping.
    pub(crate) fn hurry(&mut self) {
        self.runner.hurry();
    }

    /// Drops all changes, since no hook is configured any more.
    pub(crate) fn clear(&mut self) {
        (self.barrier, self.gathers) = Default::default();
        self.runner.clear();
    }

    /// Tells if the hook runs now.
    pub(crate) fn runs(&self) -> bool {
        self.runner.runs()
    }

    /// Tells if the hook runs, or has a run to come that is not the repetition of a failed one.
    pub(crate) fn is_busy(&self) -> bool {
        self.runs() || self.runner.has_work() && self.runner.fault().is_none()
    }

    /// Returns the number of paths that no successful run was given yet.
    pub(crate) fn untold(&self) -> usize {
        self.runner.untold()
    }

    /// Returns the hook's part of the status.
    pub(crate) fn status(&self) -> HookStatus {
        HookStatus {
            program: Escaped(self.hook.program.as_os_str().as_encoded_bytes()).to_string(),
            running: self.runs(),
            fails: self.runner.fault().is_some(),
            runs: self.runs,
            failures: self.failures,
            untold: self.untold(),
            waiting: self.barrier.len(),
            last_run_at: self.last_run.map(unix),
            last_error: self.last_error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::hook::barrier::ReconcilePart;
    use crate::hook::runner::Fault;
    use crate::outbox::Outbox;
    use crate::path::RelPath;

    /// Two nodes, of which the second lacks what changed then of some paths.
    fn lacking(paths: &[&str], at: Instant) -> [AwaitedNode; 2] {
        let nodes =
            [0, 1].map(|number| AwaitedNode { number, outbox: Outbox::default(), reconcile: ReconcilePart::Counted });
        for path in paths {
            let path = RelPath::new(path.as_bytes()).unwrap();
            nodes[1].outbox.lock().add(&Change::Touched { path, is_dir: false, rewritten: true }, at);
        }
        nodes
    }

    fn teller() -> Teller {
        Teller::new(Hook { program: "/p".into(), arguments: Vec::new() })
    }

    fn heard(paths: impl IntoIterator<Item = String>, at: Instant) -> ChangedPaths {
        let paths = paths.into_iter().map(|path| (RelPath::new(path.as_bytes()).unwrap(), at));
        ChangedPaths { paths: paths.collect(), cut: None }
    }

    const ONE: Tally = Tally { sent: 1, deleted: 0, bytes: 0, made_mirror: false };

    #[test]
    fn what_every_node_has_is_told_and_the_rest_when_the_last_one_has_it() {
        let (mut teller, now) = (teller(), Instant::now());
        teller.hear(&heard(["a".into(), "b".into()], now), ONE);
        teller.look(now, &lacking(&["a"], now), false);
        assert_eq!(teller.start(now).map(|list| list.len()), Some(1));
        assert!(teller.waits());
        teller.ended(Ok(()), now, 0.5);
        teller.settled(Some(1));
        teller.look(now, &lacking(&[], now), false);
        assert_eq!(teller.start(now).map(|list| list.len()), Some(1));
        assert!(!teller.waits());
    }

    #[test]
    fn many_paths_are_looked_at_in_portions_and_told_together() {
        let (mut teller, now) = (teller(), Instant::now());
        teller.hear(&heard((0..PORTION + 5).map(|n| n.to_string()), now), ONE);
        teller.look(now, &lacking(&[], now), false);
        assert!(teller.start(now).is_none() && teller.is_due());
        teller.look(now, &lacking(&[], now), false);
        assert_eq!(teller.start(now).map(|list| list.len()), Some(PORTION + 5));
    }

    #[test]
    fn a_run_does_not_gather_for_ever() {
        let (mut teller, now) = (teller(), Instant::now());
        teller.hear(&heard((0..2 * PORTION).map(|n| n.to_string()), now), ONE);
        teller.look(now, &lacking(&[], now), false);
        assert_eq!(teller.run_due(now), Some(now + GATHERS));
        assert!(teller.start(now + GATHERS).is_some());
    }

    #[test]
    fn while_something_is_missing_in_the_list_each_run_says_so() {
        let (mut teller, now) = (teller(), Instant::now());
        teller.hear(&ChangedPaths { cut: Some(now), ..heard(["a".into(), "b".into()], now) }, ONE);
        for lacked in [&["b"][..], &[]] {
            teller.settled(None);
            teller.look(now, &lacking(lacked, now), false);
            let list = teller.start(now).unwrap();
            assert_eq!((list.len(), list.is_complete()), (1, false));
            teller.ended(Ok(()), now, 0.5);
        }
        teller.hear(&heard(["c".into()], now), ONE);
        teller.look(now, &lacking(&[], now), false);
        assert!(teller.start(now).unwrap().is_complete());
    }

    #[test]
    fn the_status_counts_runs_and_tells_the_last_error() {
        let (mut teller, now) = (teller(), Instant::now());
        teller.hear(&heard(["a".into()], now), ONE);
        teller.look(now, &lacking(&[], now), true);
        teller.start(now);
        assert!(teller.is_busy() && teller.status().running);
        teller.ended(Err(Failed { fault: Fault::Exit(3), said: "no cache".into() }), now, 0.5);
        let status = teller.status();
        assert_eq!((status.runs, status.failures, status.untold, status.fails), (1, 1, 1, true));
        assert_eq!(status.last_error.unwrap().text, "it ended with exit code 3: no cache");
        assert!(!teller.is_busy(), "nobody waits for its next try");
    }
}
