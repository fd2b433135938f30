//! A timer of an actor: one call at most that is due, at the time that was set last.

use std::time::Instant;

use actix::prelude::*;

/// One call of an actor that is due at some time.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<SpawnHandle>);

impl Timer {
    /// Makes the call due at this time, or never.
    pub(crate) fn set<A>(&mut self, at: Option<Instant>, ctx: &mut Context<A>, call: fn(&mut A, &mut Context<A>))
    where
        A: Actor<Context = Context<A>>,
    {
        self.cancel(ctx);
        self.0 = at.map(|at| ctx.run_later(at.saturating_duration_since(Instant::now()), call));
    }

    /// Makes no call due.
    pub(crate) fn cancel<A: Actor<Context = Context<A>>>(&mut self, ctx: &mut Context<A>) {
        if let Some(due) = self.0.take() {
            ctx.cancel_future(due);
        }
    }
}
