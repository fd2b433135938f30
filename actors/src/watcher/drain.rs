//! Waits until all that has happened was reported: a flush, or the answer to a question, comes behind it.

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::WatcherActor;
use crate::messages::{AskReported, Flush};

/// The interval at which it is looked if all events have come.
const FLUSH_POLL: Duration = Duration::from_millis(1);

/// WatcherActor -> itself: look again whether a flush is complete.
#[derive(Message)]
#[rtype(result = "()")]
struct LookIfDrained {
    /// `true` if the last look found no event.
    calm: bool,
    /// As many events as this are all that happened before the question.
    goal: usize,
    then: BehindReports,
}

/// The message that comes behind all that was reported.
#[derive(Debug)]
enum BehindReports {
    Flush,
    Answer(AskReported),
}

impl WatcherActor {
    /// Lets something come behind all that has happened until now.
    fn drain(&self, then: BehindReports, ctx: &mut Context<Self>) {
        let goal = self.watching.as_ref().map_or(0, |(_, gauge)| gauge.goal());
        ctx.notify(LookIfDrained { calm: false, goal, then });
    }
}

impl Handler<Flush> for WatcherActor {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.drain(BehindReports::Flush, ctx);
    }
}

impl Handler<AskReported> for WatcherActor {
    type Result = ();

    fn handle(&mut self, asked: AskReported, ctx: &mut Self::Context) {
        self.drain(BehindReports::Answer(asked), ctx);
    }
}

impl Handler<LookIfDrained> for WatcherActor {
    type Result = ();

    /// Two looks in a row must find nothing: between the kernel and the mailbox an event is seen by neither. Where changes
    /// never cease, what was changed later is counted.
    fn handle(&mut self, LookIfDrained { calm, goal, then }: LookIfDrained, ctx: &mut Self::Context) {
        let drained = self.watching.as_ref().is_none_or(|(_, gauge)| gauge.is_drained());
        let has_all = self.watching.as_ref().is_none_or(|(_, gauge)| gauge.has_taken(goal));
        let complete = drained && calm;
        // What was lost is repaired at once for a flush, and waited for by others.
        let is_repaired = self.watching.as_ref().is_none_or(|(observer, _)| !observer.is_to_repair());
        let waits = !is_repaired && matches!(then, BehindReports::Answer(_));
        if waits || !(has_all || complete) {
            ctx.notify_later(LookIfDrained { calm: drained, goal, then }, FLUSH_POLL);
            return;
        }
        if let (BehindReports::Flush, Some((observer, _))) = (&then, &mut self.watching) {
            observer.flush(complete, Instant::now());
        }
        self.pass_on(ctx);
        match then {
            BehindReports::Flush => self.outlets.flush.do_send(Flush),
            BehindReports::Answer(asked) => self.outlets.reported.do_send(asked),
        }
    }
}
