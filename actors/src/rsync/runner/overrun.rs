//! Ends a run that sends more than the limit of its node allows since a window of the day began.

use std::cell::Cell;
use std::convert::Infallible;

use crate::children::Children;

/// The part of its life that the process of a run is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendPhase {
    /// The run sends, as far as is known.
    Goes,
    /// rsync said that its work is done.
    Done,
    /// The process was told to end.
    Ended,
}

/// Ends the processes of a run when its share of the limit falls, if the run still sends then.
pub(super) async fn end(
    children: &Children,
    falls: impl Future<Output = ()>,
    leader: i32,
    phase: &Cell<SendPhase>,
) -> Infallible {
    falls.await;
    if phase.get() == SendPhase::Goes {
        phase.set(SendPhase::Ended);
        children.end(leader);
    }
    std::future::pending().await
}
