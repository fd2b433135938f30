//! Decides when a hook runs, and repeats the changes of failed runs. A pure state machine.
//!
//! One run at a time; changes that arrive during a run go to the next one. The changes of a failed run are told again,
//! together with newer ones, after a pause that doubles with each failure up to a minute: a cache that was not purged
//! stays wrong until it is.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ChangeList;
use crate::backoff::backoff;

/// The state of one hook.
#[derive(Debug, Default)]
pub(crate) struct HookRunner {
    next: ChangeList,
    stage: HookStage,
    /// Number of failed runs in a row, and the fault of the last one.
    failing: Option<(u32, Fault)>,
}

/// The present activity of a hook.
#[derive(Debug, Default)]
enum HookStage {
    /// The hook may run.
    #[default]
    Ready,
    /// The hook runs and was given this list.
    Running(Rc<ChangeList>),
    /// The hook failed and does not run before this time.
    Resting(Instant),
}

/// The kind of failure. Equal faults count as the same trouble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The program could not be started.
    #[error("it cannot be started: {0}")]
    NotStarted(String),
    /// The program ended with an error code.
    #[error("it ended with exit code {0}")]
    Exit(i32),
    /// A signal ended the program.
    #[error("signal {0} ended it")]
    Signal(i32),
    /// The program exceeded its time limit.
    #[error("it took longer than hook_timeout ({} s) and was ended", .0.as_secs())]
    TimedOut(Duration),
}

/// The log message that the end of a run calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookNews {
    /// No message is needed.
    None,
    /// The hook begins to fail, or fails in another way than before.
    Fails,
    /// The hook fails in the same way as before.
    FailsStill,
    /// The hook succeeds again.
    Recovered {
        /// Number of failed runs before the success.
        failures: u32,
    },
}

impl HookRunner {
    /// Returns the list for the next run.
    pub(crate) fn next_list(&mut self) -> &mut ChangeList {
        &mut self.next
    }

    /// Returns the number of paths that no successful run was given yet.
    pub(crate) fn untold(&self) -> usize {
        let running = if let HookStage::Running(given) = &self.stage { given.len() } else { 0 };
        self.next.len() + running
    }

    /// Tells if the hook runs now.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.stage, HookStage::Running(_))
    }

    /// Returns the fault of the last run, if it failed.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.failing.as_ref().map(|(_, fault)| fault)
    }

    /// Tells if a run goes on or another one is needed.
    pub(crate) fn has_work(&self) -> bool {
        self.runs() || !self.next.is_empty()
    }

    /// Returns the time of the next run; `None` if there is nothing to tell, or while the hook runs.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        match self.stage {
            _ if self.next.is_empty() => None,
            HookStage::Ready => Some(now),
            HookStage::Running(_) => None,
            HookStage::Resting(until) => Some(until.max(now)),
        }
    }

    /// Begins the run that is due and returns its list.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Rc<ChangeList>> {
        if self.due(now).is_none_or(|at| at > now) {
            return None;
        }
        let given = Rc::new(std::mem::take(&mut self.next));
        self.stage = HookStage::Running(given.clone());
        Some(given)
    }

    /// Notes the end of the run. `chance`, from 0 to 1, spreads the pause after a failure.
    pub(crate) fn ended(&mut self, result: Result<(), Fault>, now: Instant, chance: f64) -> HookNews {
        let HookStage::Running(given) = std::mem::take(&mut self.stage) else { return HookNews::None };
        let before = self.failing.take();
        let Err(fault) = result else {
            return before.map_or(HookNews::None, |(failures, _)| HookNews::Recovered { failures });
        };
        self.next.merge(&given);
        let news = if before.as_ref().is_some_and(|(_, known)| *known == fault) {
            HookNews::FailsStill
        } else {
            HookNews::Fails
        };
        let failures = before.map_or(1, |(failures, _)| failures.saturating_add(1));
        self.stage = HookStage::Resting(now + backoff(failures, chance));
        self.failing = Some((failures, fault));
        news
    }

    /// Lets a hook that failed run at once: its program was replaced, or the daemon is stopping.
    pub(crate) fn hurry(&mut self) {
        if matches!(self.stage, HookStage::Resting(_)) {
            self.stage = HookStage::Ready;
        }
    }

    /// Drops all changes, since no hook is configured any more.
    pub(crate) fn clear(&mut self) {
        (self.next, self.failing) = Default::default();
        self.hurry();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;

    fn add(runner: &mut HookRunner, paths: &[&str]) {
        paths.iter().for_each(|path| runner.next_list().add(RelPath::new(path.as_bytes()).unwrap()));
    }

    fn told(list: Option<Rc<ChangeList>>) -> Option<String> {
        list.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_comes_while_it_runs_is_the_next_runs() {
        let (mut runner, now) = (HookRunner::default(), Instant::now());
        assert_eq!(told(runner.start(now)), None);
        add(&mut runner, &["a"]);
        assert_eq!(told(runner.start(now)).as_deref(), Some("a"));
        add(&mut runner, &["c", "b", "c"]);
        assert_eq!((told(runner.start(now)), runner.untold(), runner.due(now)), (None, 3, None));
        assert_eq!(runner.ended(Ok(()), now, 0.5), HookNews::None);
        assert_eq!(told(runner.start(now)).as_deref(), Some("b c"));
        assert_eq!((runner.ended(Ok(()), now, 0.5), runner.has_work()), (HookNews::None, false));
    }

    #[test]
    fn what_a_run_that_failed_was_told_is_told_again_with_the_rest_after_a_pause() {
        let (mut runner, now) = (HookRunner::default(), Instant::now());
        add(&mut runner, &["a"]);
        runner.start(now);
        add(&mut runner, &["b"]);
        runner.ended(Err(Fault::Exit(3)), now, 0.5);
        assert_eq!(told(runner.start(now)), None);
        let due = runner.due(now).unwrap();
        assert!(due > now);
        assert_eq!(told(runner.start(due)).as_deref(), Some("a b"));
        runner.ended(Err(Fault::Exit(3)), due, 0.5);
        runner.hurry();
        assert_eq!(told(runner.start(due)).as_deref(), Some("a b"));
    }

    #[test]
    fn the_pause_grows_to_a_minute_and_begins_anew_after_a_success() {
        let (mut runner, now) = (HookRunner::default(), Instant::now());
        let mut pause = |result: Result<(), Fault>| {
            add(&mut runner, &["a"]);
            runner.hurry();
            runner.start(now);
            runner.ended(result, now, 0.5);
            runner.due(now).map(|at| at - now)
        };
        let pauses: Vec<_> = (0..20).filter_map(|_| pause(Err(Fault::Exit(1)))).collect();
        assert!(pauses.is_sorted() && pauses[0] < Duration::from_secs(2), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&Duration::from_secs(60)));
        assert_eq!(pause(Ok(())), None);
        assert_eq!(pause(Err(Fault::Exit(1))), Some(pauses[0]));
    }

    #[test]
    fn a_trouble_is_told_when_it_begins_when_it_changes_and_when_it_is_over() {
        let (mut runner, now) = (HookRunner::default(), Instant::now());
        for (result, expected) in [
            (Ok(()), HookNews::None),
            (Err(Fault::Exit(1)), HookNews::Fails),
            (Err(Fault::Exit(1)), HookNews::FailsStill),
            (Err(Fault::Exit(2)), HookNews::Fails),
            (Err(Fault::Signal(2)), HookNews::Fails),
            (Err(Fault::Signal(2)), HookNews::FailsStill),
            (Ok(()), HookNews::Recovered { failures: 5 }),
            (Ok(()), HookNews::None),
        ] {
            add(&mut runner, &["a"]);
            runner.hurry();
            runner.start(now);
            assert_eq!(runner.ended(result.clone(), now, 0.5), expected, "{result:?}");
        }
    }

    #[test]
    fn what_nobody_is_to_be_told_any_more_is_forgotten() {
        let (mut runner, now) = (HookRunner::default(), Instant::now());
        add(&mut runner, &["a"]);
        runner.start(now);
        runner.ended(Err(Fault::Exit(1)), now, 0.5);
        runner.clear();
        assert_eq!((runner.untold(), runner.has_work(), runner.fault()), (0, false, None));
        add(&mut runner, &["b"]);
        assert_eq!(told(runner.start(now)).as_deref(), Some("b"));
    }
}
