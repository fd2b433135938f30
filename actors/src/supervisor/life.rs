//! The lives of the daemon, of a reload, of a node and of its SyncActor, as the supervisor leads them, from start to end.
//! Pure: [`stop`](super::stop) and [`reload`](super::reload) do what each step takes.

use crate::reload::{Difference, Edition};
use crate::status;

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first scan is not complete.
    Starting,
    /// Nobody asked for a stop.
    Running,
    /// The daemon is about to end.
    Stopping {
        /// How far the stop is.
        step: Step,
        /// What comes after the end.
        then: Then,
    },
    /// The end has been announced.
    Ended {
        /// What comes after it.
        then: Then,
    },
}

/// The steps of a stop, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The watcher hands over what it still has.
    Flush,
    /// The SyncActors work off what is pending.
    Drain,
    /// The hooks are told of all that arrived, and nothing more is sent.
    Tell,
    /// The state is saved.
    Save,
}

/// What comes after the end of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The end of the process.
    Exit,
    /// A new start, as somebody or a reload asked for it.
    Restart,
    /// A new start on the directory that took the place of the source, which was empty.
    Supersede,
}

/// What moves the daemon on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// All watches stand.
    Watching,
    /// Somebody asks for a stop.
    Stop,
    /// Somebody, or a reload, asks for a new start.
    Restart,
    /// Another directory has taken the place of an empty source.
    Superseded,
    /// Everything that the kernel had reported is in the outboxes.
    Flushed,
    /// Each node has what it is to get before the end.
    Drained,
    /// The hooks are told of everything.
    Told,
    /// The state is saved, or none is kept.
    Saved,
    /// The step may not take longer.
    TimeIsUp,
}

impl Phase {
    /// The phase after an event.
    pub fn next(self, event: Event) -> Phase {
        use Phase::{Ended, Running, Starting, Stopping};
        match (self, event) {
            (Starting, Event::Watching) => Running,
            (Starting, Event::Stop) => Ended { then: Then::Exit },
            (Starting, Event::Restart) => Ended { then: Then::Restart },
            (Running, Event::Stop) => Stopping { step: Step::Flush, then: Then::Exit },
            (Running, Event::Restart) => Stopping { step: Step::Flush, then: Then::Restart },
            // Nothing of an empty source is left to be sent.
            (Starting | Running, Event::Superseded) => Stopping { step: Step::Save, then: Then::Supersede },
            (Stopping { then: Then::Exit, .. }, Event::Stop) => Ended { then: Then::Exit },
            // The first one during a stop for a new start is no impatience.
            (Stopping { step, .. }, Event::Stop) => Stopping { step, then: Then::Exit },
            (Stopping { step: Step::Flush, then }, Event::Flushed) => Stopping { step: Step::Drain, then },
            (Stopping { step: Step::Drain, then }, Event::Drained) => Stopping { step: Step::Tell, then },
            (Stopping { step: Step::Tell, then }, Event::Told) => Stopping { step: Step::Save, then },
            (Stopping { step: Step::Save, then }, Event::Saved | Event::TimeIsUp) => Ended { then },
            // What is pending now stays so for the next run.
            (Stopping { then, .. }, Event::TimeIsUp) => Stopping { step: Step::Save, then },
            _ => self,
        }
    }

    /// The step of a stop.
    pub fn step(self) -> Option<Step> {
        match self {
            Phase::Stopping { step, .. } => Some(step),
            Phase::Starting | Phase::Running | Phase::Ended { .. } => None,
        }
    }

    /// What comes after the end, if the daemon stops or has ended.
    pub fn then(self) -> Option<Then> {
        match self {
            Phase::Stopping { then, .. } | Phase::Ended { then } => Some(then),
            Phase::Starting | Phase::Running => None,
        }
    }

    /// `true` once the end has been announced.
    pub fn has_ended(self) -> bool {
        matches!(self, Phase::Ended { .. })
    }

    /// The phase, as others need to know it.
    pub fn told(self) -> status::Phase {
        match self {
            Phase::Starting => status::Phase::Starting,
            Phase::Running => status::Phase::Running,
            Phase::Stopping { .. } | Phase::Ended { .. } => status::Phase::Stopping,
        }
    }
}

/// A reload. One is carried out at a time; of those that wait, the latest.
#[derive(Debug, Default)]
pub enum Reloading {
    /// None goes on.
    #[default]
    Idle,
    /// The watcher and the filter are about to go by other patterns.
    Excluding {
        /// The configuration that is to hold then.
        edition: Edition,
        /// What is different in it.
        difference: Difference,
        /// The reload after this one, with the keys of all that wait that others go by already.
        next: Option<(Edition, Vec<&'static str>)>,
    },
}

/// The relation of a node to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It was added a moment ago: the filter does not know its outbox yet, so changes might be missed.
    Joining,
    /// It is one of the site's.
    Staying,
    /// It was removed, and gets what was pending then.
    Leaving,
}

/// The SyncActor of a node, by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worker<A> {
    /// The last one has ended, or none was started yet.
    None,
    /// It serves the node; its end is unexpected.
    Working(A),
    /// It makes room for the next one when nothing is in flight.
    Retiring(A),
    /// It makes room at once.
    Aborting(A),
    /// It ends for good: the node leaves.
    Dismissed(A),
}

/// What follows the end of a SyncActor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// The next one takes over now.
    Now,
    /// The next one takes over when the rsyncs that were given up are gone.
    SoonAfter,
    /// The next one starts after a backoff.
    AfterBackoff,
    /// The node gets nothing more.
    Dismiss,
    /// The node is gone.
    Forget,
}

impl<A> Worker<A> {
    /// The address, while there is a SyncActor.
    pub fn actor(&self) -> Option<&A> {
        match self {
            Worker::None => None,
            Worker::Working(actor) | Worker::Retiring(actor) | Worker::Aborting(actor) | Worker::Dismissed(actor) => {
                Some(actor)
            }
        }
    }

    /// What follows its end.
    pub fn succession(&self, panicked: bool, node: Membership) -> Succession {
        match (self, node) {
            (Worker::Dismissed(_), _) => Succession::Forget,
            (Worker::Retiring(_), _) if !panicked => Succession::Now,
            (Worker::Aborting(_), _) if !panicked => Succession::SoonAfter,
            (_, Membership::Leaving) => Succession::Dismiss,
            (_, Membership::Joining | Membership::Staying) => Succession::AfterBackoff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 9] = [
        Event::Watching,
        Event::Stop,
        Event::Restart,
        Event::Superseded,
        Event::Flushed,
        Event::Drained,
        Event::Told,
        Event::Saved,
        Event::TimeIsUp,
    ];

    /// The phases after each of [`EVENTS`]; `None` stays.
    fn after(phase: Phase) -> [Option<Phase>; 9] {
        EVENTS.map(|event| Some(phase.next(event)).filter(|next| *next != phase))
    }

    #[test]
    fn a_daemon_starts_runs_and_stops_step_by_step() {
        let at = |step, then| Some(Phase::Stopping { step, then });
        let ended = |then| Some(Phase::Ended { then });
        let (exit, restart, supersede) = (Then::Exit, Then::Restart, Then::Supersede);
        let (flush, save) = (Step::Flush, Step::Save);
        let superseded = at(save, supersede);
        let rows = [
            (
                Phase::Starting,
                [Some(Phase::Running), ended(exit), ended(restart), superseded, None, None, None, None, None],
            ),
            (Phase::Running, [None, at(flush, exit), at(flush, restart), superseded, None, None, None, None, None]),
            (Phase::Ended { then: restart }, [None; 9]),
        ];
        for (phase, expected) in rows {
            assert_eq!(after(phase), expected, "{phase:?}");
        }
    }

    #[test]
    fn each_step_of_a_stop_ends_by_what_it_waits_for_or_by_time() {
        for then in [Then::Exit, Then::Restart, Then::Supersede] {
            let at = |step| Phase::Stopping { step, then };
            for (step, waits_for, next, in_time) in [
                (Step::Flush, Event::Flushed, at(Step::Drain), at(Step::Save)),
                (Step::Drain, Event::Drained, at(Step::Tell), at(Step::Save)),
                (Step::Tell, Event::Told, at(Step::Save), at(Step::Save)),
                (Step::Save, Event::Saved, Phase::Ended { then }, Phase::Ended { then }),
            ] {
                // The first stop during a stop for a new start is no impatience.
                let stopped = match then {
                    Then::Exit => Phase::Ended { then },
                    Then::Restart | Then::Supersede => Phase::Stopping { step, then: Then::Exit },
                };
                for event in EVENTS {
                    let expected = match event {
                        Event::Stop => stopped,
                        Event::TimeIsUp => in_time,
                        event if event == waits_for => next,
                        _ => at(step),
                    };
                    assert_eq!(at(step).next(event), expected, "{step:?} {then:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn only_an_end_that_nobody_asked_for_takes_a_backoff() {
        use Membership::{Leaving, Staying};
        use Succession::{AfterBackoff, Dismiss, Forget, Now, SoonAfter};
        for (worker, expected) in [
            (Worker::Working(()), [AfterBackoff, AfterBackoff, Dismiss, Dismiss]),
            (Worker::Retiring(()), [Now, AfterBackoff, Now, Dismiss]),
            (Worker::Aborting(()), [SoonAfter, AfterBackoff, SoonAfter, Dismiss]),
            (Worker::Dismissed(()), [Forget; 4]),
        ] {
            let cases = [(false, Staying), (true, Staying), (false, Leaving), (true, Leaving)];
            assert_eq!(cases.map(|(panicked, node)| worker.succession(panicked, node)), expected, "{worker:?}");
        }
    }
}
