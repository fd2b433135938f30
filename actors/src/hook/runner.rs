//! When a hook is run, and what becomes of what it was told when it fails. A pure state machine.
//!
//! One run at a time; what comes meanwhile is told to the next. When a run fails, what it was told is told again together
//! with that, after a pause that doubles up to a minute: a cache that was not purged stays wrong until it is.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::List;
use crate::backoff::backoff;

/// When a hook is run.
#[derive(Debug, Default)]
pub struct Runner {
    next: List,
    stage: Stage,
    /// Runs that failed in a row, and how the last of them did.
    failing: Option<(u32, Fault)>,
}

/// What a hook does.
#[derive(Debug, Default)]
enum Stage {
    /// It may be run.
    #[default]
    Ready,
    /// It runs, and was told this.
    Running(Rc<List>),
    /// It failed, and is not run again before that time.
    Resting(Instant),
}

/// How a run failed. Two that are equal are the same trouble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The program could not be started.
    #[error("it cannot be started: {0}")]
    NotStarted(String),
    /// It said so.
    #[error("it ended with exit code {0}")]
    Exit(i32),
    /// Somebody ended it.
    #[error("signal {0} ended it")]
    Signal(i32),
    /// It took too long.
    #[error("it took longer than hook_timeout ({} s) and was ended", .0.as_secs())]
    TimedOut(Duration),
}

/// What the log is to say of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// It begins to fail, or fails in another way.
    Fails,
    /// It fails as it did before.
    FailsStill,
    /// It is well again.
    Recovered {
        /// After so many failures.
        failures: u32,
    },
}

impl Runner {
    /// What the next run is told.
    pub fn next_list(&mut self) -> &mut List {
        &mut self.next
    }

    /// The number of paths that are not told, or not yet with success.
    pub fn untold(&self) -> usize {
        let running = if let Stage::Running(given) = &self.stage { given.len() } else { 0 };
        self.next.len() + running
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// How the last run failed, if it did.
    pub fn fault(&self) -> Option<&Fault> {
        self.failing.as_ref().map(|(_, fault)| fault)
    }

    /// Whether there is something to tell, now or later.
    pub fn has_work(&self) -> bool {
        self.runs() || !self.next.is_empty()
    }

    /// When the next run is due; `None` if there is nothing to tell, or one runs.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        match self.stage {
            _ if self.next.is_empty() => None,
            Stage::Ready => Some(now),
            Stage::Running(_) => None,
            Stage::Resting(until) => Some(until.max(now)),
        }
    }

    /// Begins the run that is due, and says what it is told.
    pub fn start(&mut self, now: Instant) -> Option<Rc<List>> {
        if self.due(now).is_none_or(|at| at > now) {
            return None;
        }
        let given = Rc::new(std::mem::take(&mut self.next));
        self.stage = Stage::Running(given.clone());
        Some(given)
    }

    /// The run has ended.
    pub fn ended(&mut self, result: Result<(), Fault>, now: Instant, chance: f64) -> News {
        let Stage::Running(given) = std::mem::take(&mut self.stage) else { return News::None };
        let before = self.failing.take();
        let Err(fault) = result else {
            return before.map_or(News::None, |(failures, _)| News::Recovered { failures });
        };
        self.next.merge(&given);
        let news =
            if before.as_ref().is_some_and(|(_, known)| *known == fault) { News::FailsStill } else { News::Fails };
        let failures = before.map_or(1, |(failures, _)| failures.saturating_add(1));
        self.stage = Stage::Resting(now + backoff(failures, chance));
        self.failing = Some((failures, fault));
        news
    }

    /// It may be run at once, although it failed: it is another one, or there is no later.
    pub fn hurry(&mut self) {
        if matches!(self.stage, Stage::Resting(_)) {
            self.stage = Stage::Ready;
        }
    }

    /// Nobody is to be told any more.
    pub fn clear(&mut self) {
        (self.next, self.failing) = Default::default();
        self.hurry();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;

    fn add(runner: &mut Runner, paths: &[&str]) {
        paths.iter().for_each(|path| runner.next_list().add(RelPath::new(path.as_bytes()).unwrap()));
    }

    fn told(list: Option<Rc<List>>) -> Option<String> {
        list.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_comes_while_it_runs_is_the_next_runs() {
        let (mut runner, now) = (Runner::default(), Instant::now());
        assert_eq!(told(runner.start(now)), None);
        add(&mut runner, &["a"]);
        assert_eq!(told(runner.start(now)).as_deref(), Some("a"));
        add(&mut runner, &["c", "b", "c"]);
        assert_eq!((told(runner.start(now)), runner.untold(), runner.due(now)), (None, 3, None));
        assert_eq!(runner.ended(Ok(()), now, 0.5), News::None);
        assert_eq!(told(runner.start(now)).as_deref(), Some("b c"));
        assert_eq!((runner.ended(Ok(()), now, 0.5), runner.has_work()), (News::None, false));
    }

    #[test]
    fn what_a_run_that_failed_was_told_is_told_again_with_the_rest_after_a_pause() {
        let (mut runner, now) = (Runner::default(), Instant::now());
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
        let (mut runner, now) = (Runner::default(), Instant::now());
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
        let (mut runner, now) = (Runner::default(), Instant::now());
        for (result, expected) in [
            (Ok(()), News::None),
            (Err(Fault::Exit(1)), News::Fails),
            (Err(Fault::Exit(1)), News::FailsStill),
            (Err(Fault::Exit(2)), News::Fails),
            (Err(Fault::Signal(2)), News::Fails),
            (Err(Fault::Signal(2)), News::FailsStill),
            (Ok(()), News::Recovered { failures: 5 }),
            (Ok(()), News::None),
        ] {
            add(&mut runner, &["a"]);
            runner.hurry();
            runner.start(now);
            assert_eq!(runner.ended(result.clone(), now, 0.5), expected, "{result:?}");
        }
    }

    #[test]
    fn what_nobody_is_to_be_told_any_more_is_forgotten() {
        let (mut runner, now) = (Runner::default(), Instant::now());
        add(&mut runner, &["a"]);
        runner.start(now);
        runner.ended(Err(Fault::Exit(1)), now, 0.5);
        runner.clear();
        assert_eq!((runner.untold(), runner.has_work(), runner.fault()), (0, false, None));
        add(&mut runner, &["b"]);
        assert_eq!(told(runner.start(now)).as_deref(), Some("b"));
    }
}
