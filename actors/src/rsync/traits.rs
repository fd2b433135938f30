//! What a node cannot hold, as it was found out by what came back: it is asked about some of what a comparison has just sent.
//! A comparison passes over what would differ for ever; what changes is sent all the same.

pub(crate) mod known;
mod learn;
mod looks;
mod sample;

pub(super) use self::learn::learn_traits;
pub(super) use self::looks::NodeLooks;
pub(super) use self::sample::{Sample, SampleSeen, differs};
