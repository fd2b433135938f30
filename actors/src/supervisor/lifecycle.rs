//! The lives of the daemon, of a reload, of a node and of its SyncActor, as the supervisor leads them, from start to
//! end. Pure: [`stop`](super::stop), [`reload`](super::reload) and [`leaving`](super::leaving) do what each step takes.

use crate::reload::{ConfigDiff, ConfigSnapshot};
use crate::status;
use crate::work_order::WorkOrder;

/// The phase of the daemon's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// The first scan is not complete.
    Starting,
    /// Nobody asked for a stop.
    Running,
    /// The daemon is about to end.
    Stopping {
        /// The step that the stop has come to.
        step: Step,
        /// The purpose of the stop.
        then: Then,
    },
    /// The end has been announced.
    Ended {
        /// The purpose of the end.
        then: Then,
    },
}

/// The steps of a stop, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The watcher hands over what it still has.
    Flush,
    /// The SyncActors work off what is pending.
    Drain,
    /// The hooks are told of all that arrived, and nothing more is sent.
    Tell,
    /// The state is saved.
    Save,
}

/// The purpose of a stop: what comes after the end of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The end of the process.
    Exit,
    /// A new start, as somebody or a reload asked for it.
    Restart,
    /// A new start on the directory that took the place of the source, which was empty.
    Supersede,
}

/// An event that moves the daemon on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LifecycleEvent {
    /// The first scan is complete: all watches stand.
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

impl Lifecycle {
    /// The phase after an event.
    pub(super) fn next(self, event: LifecycleEvent) -> Lifecycle {
        use Lifecycle::{Ended, Running, Starting, Stopping};
        match (self, event) {
            (Starting, LifecycleEvent::Watching) => Running,
            (Starting, LifecycleEvent::Stop) => Ended { then: Then::Exit },
            (Starting, LifecycleEvent::Restart) => Ended { then: Then::Restart },
            (Running, LifecycleEvent::Stop) => Stopping { step: Step::Flush, then: Then::Exit },
            (Running, LifecycleEvent::Restart) => Stopping { step: Step::Flush, then: Then::Restart },
            // Nothing of an empty source is left to be sent.
            (Starting | Running, LifecycleEvent::Superseded) => Stopping { step: Step::Save, then: Then::Supersede },
            (Stopping { then: Then::Exit, .. }, LifecycleEvent::Stop) => Ended { then: Then::Exit },
            // The first one during a stop for a new start is no impatience.
            (Stopping { step, .. }, LifecycleEvent::Stop) => Stopping { step, then: Then::Exit },
            (Stopping { step: Step::Flush, then }, LifecycleEvent::Flushed) => Stopping { step: Step::Drain, then },
            (Stopping { step: Step::Drain, then }, LifecycleEvent::Drained) => Stopping { step: Step::Tell, then },
            (Stopping { step: Step::Tell, then }, LifecycleEvent::Told) => Stopping { step: Step::Save, then },
            (Stopping { step: Step::Save, then }, LifecycleEvent::Saved | LifecycleEvent::TimeIsUp) => Ended { then },
            // What is pending now stays so for the next run.
            (Stopping { then, .. }, LifecycleEvent::TimeIsUp) => Stopping { step: Step::Save, then },
            _ => self,
        }
    }

    /// The step of a stop.
    pub(super) fn step(self) -> Option<Step> {
        match self {
            Lifecycle::Stopping { step, .. } => Some(step),
            Lifecycle::Starting | Lifecycle::Running | Lifecycle::Ended { .. } => None,
        }
    }

    /// The purpose of the stop, if the daemon stops or has ended.
    pub(super) fn then(self) -> Option<Then> {
        match self {
            Lifecycle::Stopping { then, .. } | Lifecycle::Ended { then } => Some(then),
            Lifecycle::Starting | Lifecycle::Running => None,
        }
    }

    /// `true` once the end has been announced.
    pub(super) fn has_ended(self) -> bool {
        matches!(self, Lifecycle::Ended { .. })
    }

    /// The order with which the SyncActor of such a node begins.
    pub(super) fn first_order(self, node: Membership, is_paused: bool) -> WorkOrder {
        let order = if is_paused { WorkOrder::Pause } else { WorkOrder::Work };
        match self.step() {
            Some(Step::Tell | Step::Save) => order.next(WorkOrder::drain()).next(WorkOrder::Rest),
            Some(Step::Drain) => order.next(WorkOrder::drain()),
            _ if node == Membership::Leaving => order.next(WorkOrder::drain()),
            Some(Step::Flush) | None => order,
        }
    }

    /// The phase, as others need to know it.
    pub(super) fn told(self) -> status::Phase {
        match self {
            Lifecycle::Starting => status::Phase::Starting,
            Lifecycle::Running => status::Phase::Running,
            Lifecycle::Stopping { .. } | Lifecycle::Ended { .. } => status::Phase::Stopping,
        }
    }
}

/// A reload. One is carried out at a time; of those that wait, the latest.
#[derive(Debug, Default)]
pub(super) enum Reloading {
    /// No reload goes on.
    #[default]
    Idle,
    /// The watcher and the filter are about to go by other patterns.
    Excluding {
        /// The configuration that is to hold then.
        config: ConfigSnapshot,
        /// The difference from the one that holds.
        difference: ConfigDiff,
        /// The reload after this one, with the keys of all that wait that others go by already.
        next: Option<(ConfigSnapshot, Vec<&'static str>)>,
    },
}

/// The relation of a node to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// It was added a moment ago: the filter does not know its outbox yet, so changes might be missed.
    Joining,
    /// It is one of the site's.
    Staying,
    /// It was removed, and gets what was pending then.
    Leaving,
}

/// The SyncActor of a node, by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Worker<A> {
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

/// The consequence of the end of a SyncActor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Succession {
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
    pub(super) fn actor(&self) -> Option<&A> {
        match self {
            Worker::None => None,
            Worker::Working(actor) | Worker::Retiring(actor) | Worker::Aborting(actor) | Worker::Dismissed(actor) => {
                Some(actor)
            }
        }
    }

    /// Decides what follows its end.
    pub(super) fn succession(&self, panicked: bool, node: Membership) -> Succession {
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

    const EVENTS: [LifecycleEvent; 9] = [
        LifecycleEvent::Watching,
        LifecycleEvent::Stop,
        LifecycleEvent::Restart,
        LifecycleEvent::Superseded,
        LifecycleEvent::Flushed,
        LifecycleEvent::Drained,
        LifecycleEvent::Told,
        LifecycleEvent::Saved,
        LifecycleEvent::TimeIsUp,
    ];

    /// The phases after each of [`EVENTS`]; `None` stays.
    fn after(phase: Lifecycle) -> [Option<Lifecycle>; 9] {
        EVENTS.map(|event| Some(phase.next(event)).filter(|next| *next != phase))
    }

    #[test]
    fn a_daemon_starts_runs_and_stops_step_by_step() {
        let at = |step, then| Some(Lifecycle::Stopping { step, then });
        let ended = |then| Some(Lifecycle::Ended { then });
        let (exit, restart, supersede) = (Then::Exit, Then::Restart, Then::Supersede);
        let (flush, save) = (Step::Flush, Step::Save);
        let superseded = at(save, supersede);
        let rows = [
            (
                Lifecycle::Starting,
                [Some(Lifecycle::Running), ended(exit), ended(restart), superseded, None, None, None, None, None],
            ),
            (Lifecycle::Running, [None, at(flush, exit), at(flush, restart), superseded, None, None, None, None, None]),
            (Lifecycle::Ended { then: restart }, [None; 9]),
        ];
        for (phase, expected) in rows {
            assert_eq!(after(phase), expected, "{phase:?}");
        }
    }

    #[test]
    fn each_step_of_a_stop_ends_by_what_it_waits_for_or_by_time() {
        for then in [Then::Exit, Then::Restart, Then::Supersede] {
            let at = |step| Lifecycle::Stopping { step, then };
            for (step, waits_for, next, in_time) in [
                (Step::Flush, LifecycleEvent::Flushed, at(Step::Drain), at(Step::Save)),
                (Step::Drain, LifecycleEvent::Drained, at(Step::Tell), at(Step::Save)),
                (Step::Tell, LifecycleEvent::Told, at(Step::Save), at(Step::Save)),
                (Step::Save, LifecycleEvent::Saved, Lifecycle::Ended { then }, Lifecycle::Ended { then }),
            ] {
                // The first stop during a stop for a new start is no impatience.
                let stopped = match then {
                    Then::Exit => Lifecycle::Ended { then },
                    Then::Restart | Then::Supersede => Lifecycle::Stopping { step, then: Then::Exit },
                };
                for event in EVENTS {
                    let expected = match event {
                        LifecycleEvent::Stop => stopped,
                        LifecycleEvent::TimeIsUp => in_time,
                        event if event == waits_for => next,
                        _ => at(step),
                    };
                    assert_eq!(at(step).next(event), expected, "{step:?} {then:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_sync_actor_begins_with_the_order_that_its_predecessor_would_have() {
        use Membership::{Leaving, Staying};
        let at = |step| Lifecycle::Stopping { step, then: Then::Exit };
        let word = |order| match order {
            WorkOrder::Work => "work",
            WorkOrder::Pause => "pause",
            WorkOrder::Drain { .. } => "drain",
            WorkOrder::Finish { .. } => "finish",
            WorkOrder::Rest | WorkOrder::Retire | WorkOrder::Abort => "another",
        };
        for (phase, expected) in [
            (Lifecycle::Running, ["work", "pause", "drain", "finish"]),
            (at(Step::Flush), ["work", "pause", "drain", "finish"]),
            (at(Step::Drain), ["drain", "finish", "drain", "finish"]),
            (at(Step::Tell), ["finish"; 4]),
            (at(Step::Save), ["finish"; 4]),
        ] {
            let cases = [(Staying, false), (Staying, true), (Leaving, false), (Leaving, true)];
            assert_eq!(cases.map(|(node, paused)| word(phase.first_order(node, paused))), expected, "{phase:?}");
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
